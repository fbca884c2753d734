"""A model's scores of every sample of a data set, by one process or by several that share the samples."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import evaluation_batches
from tubelet.data.manifest import Manifest
from tubelet.evals.ranks import Ranks
from tubelet.evals.salience import SalientClips
from tubelet.evals.views import Averaging, View, Views, list_views, mirrored, unmirrored
from tubelet.labels import LabelSpace
from tubelet.models.model import VideoModel
from tubelet.models.precision import default_autocast
from tubelet.models.vivit import ViViT
from tubelet.types import ClipBatch, InputError


class ScoringTask(Protocol):
    """What evaluation needs of a task."""

    @property
    def name(self) -> str:
        """Names the head and the metrics."""

    @property
    def label_space(self) -> LabelSpace:
        """Classes, in the order of the scores."""

    @property
    def manifest(self) -> Manifest:
        """The data set, which holds the annotated boxes."""

    def scores(self, model: VideoModel, batch: ClipBatch) -> Tensor:
        """Return probabilities (B, K) per clip or (N, K) per box."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredSamples:
    """Scores, a row for each clip or box."""

    sample_ids: tuple[str, ...]
    scores: np.ndarray
    """float32 (R, K) probabilities."""
    targets: np.ndarray
    """float32 (R, K)."""
    boxes_norm: np.ndarray
    """float64 (R, 4) xyxy in 0..1; zero for clips."""
    box_scores: np.ndarray
    """float32 (R,), the detector's confidence of each box, 1 where it is annotated; zero for clips."""
    num_boxes_outside: int


def score_views(
    model: VideoModel,
    task: ScoringTask,
    dataset: ClipDataset,
    *,
    batch_size: int,
    num_workers: int,
    device: torch.device | None,
    views: Views,
    salient: SalientClips | None = None,
    ranks: Ranks | None = None,
    on_batch: Callable[[], None] | None = None,
) -> ScoredSamples:
    """Return the rows of every sample, in order, with the scores of its views averaged.

    Args:
        model: Its mode is restored.
        task: Gives the probabilities.
        dataset: The samples.
        batch_size: Clips per batch.
        num_workers: Processes that prepare batches.
        device: Where the model is; None = where its parameters are.
        views: Which, and what of them is averaged.
        salient: Which clips instead of evenly spread ones, as many of each example as ``views`` says.
        ranks: Processes that do this together; all of them get all rows.
        on_batch: Called after each batch; what it raises ends the scoring.
    """
    device = device if device is not None else next(model.parameters()).device
    place: dict[str, Any] = {} if ranks is None else {"rank": ranks.rank, "world_size": ranks.size}
    exclusive = dataset.kind == "classify" and not dataset.multi_label
    averaging = Averaging(views.average, exclusive=exclusive)
    first: ScoredSamples | None = None
    training = model.training
    model.eval()
    try:
        for view in list_views(dataset, views, salient, step=grid_step(model)):
            check_canvas(model, view.dataset.preprocess.size)
            batches = evaluation_batches(view.dataset, task.name, batch_size, num_workers, **view.arguments, **place)
            mine = _score(model, task, view, batches if ranks is None else ranks.in_step(batches), device, on_batch)
            rows = in_order([mine] if ranks is None else ranks.gathered(mine), dataset)
            first = first or rows
            _check(rows, first, dataset, task.name)
            averaging.add(rows.scores)
    finally:
        model.train(training)
    assert first is not None
    return replace(first, scores=averaging.mean())


def grid_step(model: nn.Module) -> int:
    """Return the pixels that a scaled canvas is a multiple of: those of a cell of the model's grid."""
    step: int = getattr(getattr(model, "backbone", None), "stride", 16)
    return step


def check_canvas(model: nn.Module, size: int) -> None:
    """Raise where a canvas of ``size`` pixels cannot be cut into the patches of a model."""
    step = grid_step(model)
    if isinstance(getattr(model, "backbone", None), ViViT) and size % step:
        raise InputError(
            f"a canvas of {size} x {size} pixels: this model's patches have {step} pixels, expected a multiple; "
            "--square says the size"
        )


def _check(rows: ScoredSamples, first: ScoredSamples, dataset: ClipDataset, task: str) -> None:
    """Raise where a view has not the samples of the first, or its scores are no numbers."""
    if len(set(rows.sample_ids)) != len(dataset) or rows.sample_ids != first.sample_ids:
        raise RuntimeError(f"{len(set(rows.sample_ids))} samples were scored, the data set has {len(dataset)}")
    bad = np.flatnonzero(~np.isfinite(rows.scores).all(axis=1))
    if len(bad):
        raise InputError(f"task {task}: the model's scores of sample {rows.sample_ids[bad[0]]} are not finite numbers")


def in_order(parts: Sequence[ScoredSamples], dataset: ClipDataset) -> ScoredSamples:
    """Return the rows of all ``parts`` in the data set's order; a sample that several have is taken from the first."""
    place = {dataset.sample_id(index): index for index in range(len(dataset))}
    owner: dict[str, int] = {}
    for number, part in enumerate(parts):
        for sample_id in part.sample_ids:
            owner.setdefault(sample_id, number)
    kept = [
        np.array([owner[sample_id] == number for sample_id in part.sample_ids], dtype=bool)
        for number, part in enumerate(parts)
    ]
    ids = [sample_id for part, keep in zip(parts, kept) for sample_id, k in zip(part.sample_ids, keep) if k]
    order = np.argsort([place[sample_id] for sample_id in ids], kind="stable")

    def together(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name)[keep] for part, keep in zip(parts, kept)])[order]

    return ScoredSamples(
        sample_ids=tuple(ids[row] for row in order),
        scores=together("scores"),
        targets=together("targets"),
        boxes_norm=together("boxes_norm"),
        box_scores=together("box_scores"),
        num_boxes_outside=sum(part.num_boxes_outside for part in parts),
    )


@torch.no_grad()  # not inference_mode: sharded weights that are put together here are trained on afterwards
def _score(
    model: VideoModel,
    task: ScoringTask,
    view: View,
    batches: Iterable[ClipBatch],
    device: torch.device,
    on_batch: Callable[[], None] | None,
) -> ScoredSamples:
    """Return the rows of all batches as they come."""
    ids: list[str] = []
    rows: list[tuple[np.ndarray, ...]] = []
    num_boxes_outside = 0
    for batch in batches:
        num_boxes_outside += batch.num_dropped_boxes
        with default_autocast(device):
            shown = batch.to(device)
            scores = task.scores(model, mirrored(shown) if view.flip else shown).float().cpu().numpy()
        if view.flip:
            scores = unmirrored(scores, task.label_space)
        clip = np.arange(len(batch.sample_ids)) if batch.box_clip is None else batch.box_clip.cpu().numpy()
        boxes = np.zeros((len(clip), 4)) if batch.boxes_norm is None else batch.boxes_norm.double().cpu().numpy()
        confidence = np.zeros(len(clip), np.float32) if batch.box_scores is None else batch.box_scores.cpu().numpy()
        rows.append((scores, batch.targets.cpu().numpy(), boxes, confidence))
        ids += [batch.sample_ids[i] for i in clip]
        if on_batch is not None:
            on_batch()
    scores, targets, boxes, confidences = (np.concatenate(columns) for columns in zip(*rows, strict=True))
    return ScoredSamples(
        sample_ids=tuple(ids),
        scores=scores,
        targets=targets,
        boxes_norm=boxes,
        box_scores=confidences,
        num_boxes_outside=num_boxes_outside,
    )
