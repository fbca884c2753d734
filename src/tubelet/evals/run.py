"""Score a model on a data set: every sample once, then the metrics of its kind.

Metric names are ``<task>/<split>/<metric>``. Localisation: ``mAP`` (AVA frame mAP, official protocol) and
``mAP_head``, ``mAP_mid``, ``mAP_tail`` where the label space has buckets. Classification: ``top1`` and, where there are
more than five classes, ``top5``; for multi-label sets ``mAP``.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch

from tubelet.data.ava_table import AvaTable, keyframe_of
from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest import Manifest
from tubelet.evals.ava import AvaResult, frame_map
from tubelet.evals.breakdown import by_bucket
from tubelet.evals.classify import mean_average_precision, top_k
from tubelet.evals.gather import ScoringTask, score_views
from tubelet.evals.ranks import Ranks
from tubelet.evals.salience import LightModel, salient_clips
from tubelet.evals.views import Views
from tubelet.labels import LabelSpace
from tubelet.models.model import VideoModel
from tubelet.types import InputError


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """A model's scores on one split, and the metrics computed from them."""

    task: str
    split: str
    kind: str
    """``classify`` or ``localise``."""
    label_space: LabelSpace
    metrics: dict[str, float]
    sample_ids: tuple[str, ...]
    """One per row of ``scores``: the clip, or the keyframe a box belongs to."""
    scores: np.ndarray
    """float32 (R, K) probabilities, one row per clip or per box."""
    targets: np.ndarray
    """float32 (R, K), multi-hot; for detected boxes what the manifest says of them."""
    videos: tuple[str, ...] = ()
    """Classification: the video of each row."""
    box_scores: np.ndarray | None = None
    """Localisation: float32 (R,), the person detector's confidence of each box, 1 where it is annotated."""
    multi_label: bool = True
    views: Views = field(default_factory=Views)
    boxes: str | None = None
    """Localisation: which person boxes were scored, ``annotated``, ``detected`` or ``both``."""
    ava: AvaResult | None = None
    detections: AvaTable | None = None
    ground_truth: AvaTable | None = None
    num_skipped_keyframes: int = 0
    """Annotated keyframes without a box to score: their ground truth counts as missed."""
    num_boxes_outside: int = 0
    """Boxes that lie outside the part of the frame shown; the nearest edge of it was scored for them."""

    def record(self) -> dict[str, Any]:
        """Return what to write beside a reported number: metrics, protocol, boxes, views and counts."""
        record: dict[str, Any] = {
            "task": self.task,
            "split": self.split,
            "kind": self.kind,
            "metrics": dict(self.metrics),
            "num_samples": len(set(self.sample_ids)),
            "views": self.views.to_json(),
        }
        if self.ava is not None:
            record |= {
                "boxes": self.boxes,
                "num_boxes": len(self.scores),
                "num_skipped_keyframes": self.num_skipped_keyframes,
                "num_boxes_outside": self.num_boxes_outside,
                "ava": self.ava.to_json(),
            }
        return record


def evaluate_task(
    model: VideoModel,
    task: ScoringTask,
    dataset: ClipDataset,
    *,
    batch_size: int,
    num_workers: int = 0,
    device: torch.device | None = None,
    views: Views | None = None,
    light: LightModel | None = None,
    ranks: Ranks | None = None,
    on_batch: Callable[[], None] | None = None,
) -> TaskResult:
    """Score ``model`` on every sample of ``dataset`` and compute the metrics of its kind.

    Localisation scores every class of the label space on every person box of the data set. Ground truth is all
    annotated boxes of the split in the manifest, whichever boxes are scored.

    Args:
        model: Put into evaluation mode for the call.
        task: Gives the probabilities and the label space.
        dataset: The split; its choice of boxes is reported in the result.
        batch_size: Clips per batch.
        num_workers: Processes that prepare batches.
        device: Where the model is; None = where its parameters are.
        views: What is shown of each sample and averaged; None = one view.
        light: Chooses the clips, for classification; None = they are spread evenly.
        ranks: Processes that call this together: each scores a share of the samples and all get the whole result, in
            which every sample counts once; None = this one alone.
        on_batch: Called after each batch; what it raises ends the scoring.

    Raises:
        InputError: No class has ground truth, scores are not finite, or views that do not fit: several of a keyframe,
            three squares of a letterboxed frame or of boxes, whole frames that differ in size.
    """
    views = views or Views()
    how: dict[str, Any] = {"batch_size": batch_size, "num_workers": num_workers, "ranks": ranks, "on_batch": on_batch}
    salient = None
    if light is not None:
        views = replace(views, salient_by=light.name)
        salient = salient_clips(light, task.manifest, dataset, num_views=views.num_views, **how)
    gathered = score_views(model, task, dataset, device=device, views=views, salient=salient, **how)
    result = TaskResult(
        task=task.name,
        split=dataset.split,
        kind=dataset.kind,
        label_space=task.label_space,
        metrics={},
        sample_ids=gathered.sample_ids,
        scores=gathered.scores,
        targets=gathered.targets,
        multi_label=dataset.multi_label,
        videos=tuple(map(dataset.video, range(len(dataset)))) if dataset.kind == "classify" else (),
        box_scores=gathered.box_scores if dataset.kind == "localise" else None,
        views=views,
        boxes=dataset.boxes,
        num_skipped_keyframes=dataset.num_skipped_keyframes,
        num_boxes_outside=gathered.num_boxes_outside,
    )
    prefix = f"{task.name}/{dataset.split}"
    if dataset.kind == "localise":
        return _localised(result, gathered.boxes_norm, task.manifest, prefix)
    metrics = classification_metrics(result.scores, result.targets, multi_label=dataset.multi_label, prefix=prefix)
    return replace(result, metrics=metrics)


def _localised(result: TaskResult, boxes_norm: np.ndarray, manifest: Manifest, prefix: str) -> TaskResult:
    """Return the result with its boxes scored against the manifest's ground truth."""
    truth = ground_truth_table(manifest, result.split)
    found = detections_table(result.sample_ids, boxes_norm, result.scores, manifest, result.split)
    ava = frame_map(truth, found, result.label_space)
    metrics = localisation_metrics(ava, result.label_space, prefix=prefix)
    return replace(result, metrics=metrics, ava=ava, detections=found, ground_truth=truth)


def classification_metrics(
    scores: np.ndarray, targets: np.ndarray, *, multi_label: bool, prefix: str
) -> dict[str, float]:
    """Return ``mAP`` of a multi-label set, else ``top1`` and ``top5`` (with more than five classes); rows (R, K)."""
    if multi_label:
        return {f"{prefix}/mAP": mean_average_precision(scores, targets).mean_ap}
    return {f"{prefix}/top{k}": top_k(scores, targets, k) for k in (1, 5) if k == 1 or k < scores.shape[1]}


def localisation_metrics(result: AvaResult, label_space: LabelSpace, *, prefix: str) -> dict[str, float]:
    """Return ``mAP`` and the means of the buckets that have ground truth."""
    buckets = by_bucket(result, label_space)
    return {f"{prefix}/mAP": result.mean_ap} | {
        f"{prefix}/mAP_{name}": value for name, value in buckets.items() if value is not None
    }


def ground_truth_table(manifest: Manifest, split: str) -> AvaTable:
    """Return a split's annotated boxes as AVA rows, one per box and class.

    A person without a label keeps a row of id -1: it is of no class, but its keyframe is annotated, and the official
    protocol counts false positives there, as it does on the keyframes that are annotated with nobody.
    """
    if manifest.boxes is None:
        raise InputError(f"{manifest.root}: a set of kind {manifest.kind} has no boxes to score against")
    clips = _clip_videos(manifest, split)
    names = _video_names(clips)
    boxes = [box for box in manifest.boxes.to_pylist() if box["origin"] == "annotated" and box["clip_id"] in clips]
    published = manifest.label_space.published_ids
    rows = [(box, published[k] if k is not None else -1) for box in boxes for k in (box["labels"] or [None])]
    return AvaTable(
        video=np.array([names[clips[box["clip_id"]]] for box, _ in rows], dtype=object),
        pts_seconds=np.array([_rounded_seconds(box["pts_seconds"]) for box, _ in rows], dtype=np.float64),
        boxes_norm=np.array([[box[c] for c in ("x1", "y1", "x2", "y2")] for box, _ in rows]).reshape(-1, 4),
        label_ids=np.array([label for _, label in rows], dtype=np.int32),
        person_ids=np.array([box["person_id"] for box, _ in rows], dtype=np.int64),
        keyframes=frozenset(
            keyframe_of(names[clips[row["clip_id"]]], row["pts_seconds"])
            for row in manifest.keyframes.to_pylist()
            if row["clip_id"] in clips
        ),
    )


def detections_table(
    sample_ids: Sequence[str], boxes_norm: np.ndarray, scores: np.ndarray, manifest: Manifest, split: str
) -> AvaTable:
    """Return one AVA row per box and class of the label space.

    Args:
        sample_ids: R keyframes ``video,pts_seconds``.
        boxes_norm: (R, 4) xyxy in 0..1.
        scores: (R, K).
        manifest: Gives the label space and the names of the videos.
        split: The split the keyframes belong to.
    """
    ids = np.array(manifest.label_space.published_ids, dtype=np.int32)
    parts = [sample.rsplit(",", 1) for sample in sample_ids]
    names = _video_names(_clip_videos(manifest, split))
    return AvaTable(
        video=np.repeat(np.array([names[video] for video, _ in parts], dtype=object), len(ids)),
        pts_seconds=np.repeat(np.array([_rounded_seconds(float(pts)) for _, pts in parts]), len(ids)),
        boxes_norm=np.repeat(boxes_norm.astype(np.float64), len(ids), axis=0),
        label_ids=np.tile(ids, len(parts)),
        scores=scores.astype(np.float64).reshape(-1),
    )


def _rounded_seconds(seconds: float) -> float:
    """Round as sample ids do, so that both sides of an evaluation name a keyframe alike."""
    return float(f"{seconds:.6f}")


def _clip_videos(manifest: Manifest, split: str) -> dict[str, str]:
    """Return the ``video`` cell of each clip of a split."""
    rows = manifest.clips.select(["clip_id", "video", "split"]).to_pylist()
    return {row["clip_id"]: row["video"] for row in rows if row["split"] == split}


def _video_names(clips: Mapping[str, str]) -> dict[str, str]:
    """Return the name of each video in AVA files: the file's name without folder and ending, where that is unique."""
    stems = {video: PurePosixPath(video).stem for video in clips.values()}
    count = Counter(stems.values())
    return {video: stem if count[stem] == 1 else video for video, stem in stems.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class ChanceMap:
    """What uniform random scores reach on the same boxes."""

    mean_ap: float
    """Mean over the seeds."""
    low: float
    high: float
    values: tuple[float, ...]
    """One per seed."""
    per_class: dict[str, float | None]
    """Class name to AP, mean over the seeds; None without ground truth."""


def chance_map(
    ground_truth: AvaTable, boxes: AvaTable, label_space: LabelSpace, *, seeds: Sequence[int] = range(5)
) -> ChanceMap:
    """Return the frame mAP (official protocol) of uniform random scores on the given boxes.

    Args:
        ground_truth: Annotated boxes.
        boxes: The boxes that were scored, such as a result's ``detections``; its classes and scores are not used.
        label_space: The classes.
        seeds: One draw each.
    """
    if not seeds:
        raise InputError("chance_map needs at least one seed")
    keys = np.rec.fromarrays([boxes.video.astype(str), boxes.pts_seconds, *boxes.boxes_norm.T])
    _, first = np.unique(keys, return_index=True)
    rows = np.sort(first)
    ids = np.array(label_space.published_ids, dtype=np.int32)
    results = []
    for seed in seeds:
        scored = AvaTable(
            video=np.repeat(boxes.video[rows], len(ids)),
            pts_seconds=np.repeat(boxes.pts_seconds[rows], len(ids)),
            boxes_norm=np.repeat(boxes.boxes_norm[rows], len(ids), axis=0),
            label_ids=np.tile(ids, len(rows)),
            scores=np.random.default_rng(seed).random(len(rows) * len(ids)),
        )
        results.append(frame_map(ground_truth, scored, label_space))
    values = tuple(result.mean_ap for result in results)
    per_class = {
        classes[0].name: None if classes[0].ap is None else float(np.mean([c.ap for c in classes]))
        for classes in zip(*(result.per_class for result in results), strict=True)
    }
    mean = float(np.mean(values))
    return ChanceMap(mean_ap=mean, low=min(values), high=max(values), values=values, per_class=per_class)
