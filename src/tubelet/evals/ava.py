"""Frame mAP on AVA-like data, by the protocol named with every number.

Three evaluations are in circulation and give different numbers for the same detections; see ``PROTOCOLS``. Agreement
with each is exact for a given order of rows (equal scores are ranked by that order) and numpy version.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tubelet.data.ava_table import AvaTable, Keyframe
from tubelet.evals import matching
from tubelet.evals.average_precision import all_point_ap
from tubelet.evals.matching import Rows
from tubelet.labels import LabelSpace
from tubelet.types import InputError

Keyframes = Collection[Keyframe]
"""Instants as (video, microseconds)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassAp:
    """Average precision of one class."""

    id: int
    """Published id."""
    name: str
    ap: float | None
    """In [0, 1]; None = not part of the mean (no ground truth; for ``mmaction`` also no detection)."""
    num_ground_truth: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AvaResult:
    """Frame mAP with what it was computed from."""

    protocol: str
    iou: float
    mean_ap: float
    """Mean over the classes with an ``ap``, in [0, 1]."""
    per_class: tuple[ClassAp, ...]
    """In the order of the label space."""
    counts: dict[str, int] = field(default_factory=dict)
    """Rows given, and rows left out by each rule of the protocol."""

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict at full precision."""
        return {
            "protocol": self.protocol,
            "iou": self.iou,
            "mAP": self.mean_ap,
            "per_class": [
                {"id": c.id, "name": c.name, "ap": c.ap, "num_ground_truth": c.num_ground_truth} for c in self.per_class
            ],
            "counts": dict(self.counts),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """What the public evaluations do differently."""

    frames: str
    """Keyframes whose detections count: ``listed`` in the ground truth file, ``all``, or ``with_truth``."""
    order: Callable[[Rows], np.ndarray]
    """Which detections may claim ground truth, in which order; rows it leaves out are not scored."""
    whole_seconds: bool
    """Cut times to whole seconds, so keyframes of one second fall together."""
    takes_excluded: bool
    """Know a file of excluded timestamps."""
    heap_ties: bool = False
    """Order equal ground truth boxes as the official reader's heap does."""
    drop_degenerate: bool = True
    """Leave out detections with x2 <= x1 or y2 <= y1; else they are false positives."""
    single_precision: bool = False
    """Compare boxes and scores in float32."""
    skip_undetected: bool = False
    """Leave a class without any detection out of the mean, instead of counting 0."""


PROTOCOLS = {
    # ActivityNet's Evaluation/get_ava_performance.py since 2020: best 50 rows per keyframe over all classes; keyframes
    # are those of the ground truth file, rows with two columns and rows of other classes included.
    "official": Protocol(
        frames="listed",
        order=lambda rows: matching.best_per_frame(rows, 50),
        whole_seconds=False,
        takes_excluded=False,
        heap_ties=True,
    ),
    # The 2018 rules as PySlowFast keeps them: no cap, and no sort before matching, so the result depends on row order.
    "slowfast": Protocol(frames="all", order=matching.by_frame, whole_seconds=True, takes_excluded=True),
    # mmaction2: keyframes without ground truth and classes without detections are left out of the number.
    "mmaction": Protocol(
        frames="with_truth",
        order=matching.by_score,
        whole_seconds=True,
        takes_excluded=True,
        drop_degenerate=False,
        single_precision=True,
        skip_undetected=True,
    ),
}


def frame_map(
    ground_truth: AvaTable,
    detections: AvaTable,
    label_space: LabelSpace,
    *,
    iou: float = 0.5,
    protocol: str = "official",
    excluded: Keyframes | None = None,
) -> AvaResult:
    """Return the mean average precision over keyframes.

    Args:
        ground_truth: Annotated boxes, one row per box and class; its ``keyframes`` count although they have no box.
        detections: Scored boxes, one row per box and class, in any order of scores.
        label_space: The classes evaluated; rows of other ids are left out and counted.
        iou: Smallest overlap of a true positive, in (0, 1].
        protocol: A key of ``PROTOCOLS``.
        excluded: Keyframes left out, for the protocols that know them.

    Raises:
        InputError: An unknown protocol or ``iou``, ``excluded`` where the protocol has none, an inverted box in the
            ground truth, scores missing or not finite, or no class with ground truth.
    """
    rules = _rules(protocol, iou, excluded)
    found, truth, num_truth, counts = _select(ground_truth, detections, label_space, rules, excluded or ())
    hits = matching.match(found, truth, iou=iou, heap_ties=rules.heap_ties)
    per_class = _per_class(found, hits, num_truth, label_space, rules.skip_undetected)
    values = [c.ap for c in per_class if c.ap is not None]
    if not values:
        also = " and a detection" if rules.skip_undetected else ""
        raise InputError(
            f"mAP over no classes: none of the {len(label_space)} classes of {label_space.name} has ground truth{also}"
        )
    mean = float(np.mean(values))
    return AvaResult(protocol=protocol, iou=iou, mean_ap=mean, per_class=per_class, counts=counts)


def _rules(protocol: str, iou: float, excluded: Keyframes | None) -> Protocol:
    if protocol not in PROTOCOLS:
        raise InputError(f"unknown AVA protocol {protocol!r}, expected one of: {', '.join(PROTOCOLS)}")
    if not 0 < iou <= 1:
        raise InputError(f"iou must be in (0, 1], got {iou}")
    if excluded is not None and not PROTOCOLS[protocol].takes_excluded:
        raise InputError(
            f"protocol {protocol} takes no excluded timestamps: the ground truth file says which keyframes count"
        )
    return PROTOCOLS[protocol]


def _select(
    ground_truth: AvaTable, detections: AvaTable, label_space: LabelSpace, rules: Protocol, excluded: Keyframes
) -> tuple[Rows, Rows, np.ndarray, dict[str, int]]:
    """Return the detections that count in matching order, the ground truth, its size per class (K,), and counts."""
    truth_columns = _columns(ground_truth, label_space)
    found_columns = _columns(detections, label_space)
    truth_frames, found_frames, listed, shut = _number_frames(
        ground_truth, detections, truth_columns >= 0, found_columns >= 0, excluded, rules
    )
    truth = _rows(ground_truth, truth_columns, truth_frames, np.ones(len(truth_columns)))
    found = _rows(detections, found_columns, found_frames, _scores(detections))
    _check_not_inverted(truth)
    counts = {
        "ground_truth_rows": len(truth_columns),
        "ground_truth_other_class": len(truth_columns) - len(truth),
        "detection_rows": len(found_columns),
        "detections_other_class": len(found_columns) - len(found),
    }
    open_truth = truth.take(~np.isin(truth.frame, shut))
    # mmaction2 counts ground truth before it leaves the excluded keyframes out.
    counted = truth if rules.frames == "with_truth" else open_truth
    num_truth = np.bincount(counted.column, minlength=len(label_space))
    counts["ground_truth_excluded_keyframe"] = len(truth) - len(open_truth)

    if rules.frames == "all":
        inside = ~np.isin(found.frame, shut)
    else:
        inside = np.isin(found.frame, listed if rules.frames == "listed" else open_truth.frame)
    in_order = found if inside.all() else found.take(inside)
    counts["detections_ignored_keyframe"] = len(found) - len(in_order)
    ordered = in_order.take(rules.order(in_order))
    counts["detections_over_cap"] = len(in_order) - len(ordered)
    if rules.drop_degenerate:
        solid = ordered.take(np.flatnonzero((ordered.boxes[:, :2] < ordered.boxes[:, 2:]).all(axis=1)))
        counts["detections_degenerate"] = len(ordered) - len(solid)
        ordered = solid
    if rules.single_precision:
        ordered, open_truth = _single(ordered), _single(open_truth)
    return ordered, open_truth, num_truth, counts


def _columns(table: AvaTable, label_space: LabelSpace) -> np.ndarray:
    """Return the column (R,) of each row's published id; -1 where the label space has no such id."""
    ids = np.asarray(label_space.published_ids, dtype=np.int64)
    order = np.argsort(ids)
    wanted = np.asarray(table.label_ids, dtype=np.int64)
    at = np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)
    return np.where(ids[order][at] == wanted, order[at], -1)


def _scores(table: AvaTable) -> np.ndarray:
    if table.scores is None:
        raise InputError("detections have no scores, expected one per row")
    scores = np.asarray(table.scores, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise InputError(f"detections row {bad[0] + 1}: score {scores[bad[0]]} is not a finite number")
    return scores


def _rows(table: AvaTable, columns: np.ndarray, frames: np.ndarray, scores: np.ndarray) -> Rows:
    """Return the rows whose class is evaluated."""
    boxes = np.asarray(table.boxes_norm, dtype=np.float64).reshape(-1, 4)
    label_ids = np.asarray(table.label_ids, dtype=np.int64)
    rows = Rows(frames, columns, label_ids, boxes, scores)
    inside = columns >= 0
    return rows if inside.all() else rows.take(inside)


def _check_not_inverted(truth: Rows) -> None:
    bad = np.flatnonzero((truth.boxes[:, :2] > truth.boxes[:, 2:]).any(axis=1))
    if len(bad):
        raise InputError(
            f"ground truth box {truth.boxes[bad[0]].tolist()} of class {truth.label_id[bad[0]]}: "
            "expected x1 <= x2 and y1 <= y2"
        )


def _number_frames(
    ground_truth: AvaTable,
    detections: AvaTable,
    truth_inside: np.ndarray,
    found_inside: np.ndarray,
    excluded: Keyframes,
    rules: Protocol,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Number the keyframes in the order in which the protocol visits them: that order breaks ties between frames.

    Detections of one class are ranked over all keyframes in the order of the first evaluated row of each, in the
    detections (mmaction2: in the ground truth).

    Returns:
        Numbers of the ground truth rows, of the detection rows, of the listed and of the excluded keyframes.
    """
    truth_video, found_video = pa.array(ground_truth.video, pa.string()), pa.array(detections.video, pa.string())
    groups = [
        (truth_video, np.asarray(ground_truth.pts_seconds, dtype=np.float64)),
        (found_video, np.asarray(detections.pts_seconds, dtype=np.float64)),
        _as_columns(ground_truth.keyframes),
        _as_columns(excluded),
    ]
    sizes = np.cumsum([len(seconds) for _, seconds in groups])[:-1]
    videos = pa.chunked_array([video for video, _ in groups]).combine_chunks().dictionary_encode().indices.to_numpy()
    seconds = np.concatenate([seconds for _, seconds in groups])
    ticks = (np.trunc(seconds) if rules.whole_seconds else np.rint(seconds * 1e6)).astype(np.int64)
    if len(ticks) == 0:
        return (np.empty(0, dtype=np.int64),) * 4
    span = int(ticks.max() - ticks.min()) + 1
    truth, found, listed, shut = np.split(videos.astype(np.int64) * span + (ticks - ticks.min()), sizes)
    leading = [truth[truth_inside], found] if rules.frames == "with_truth" else [found[found_inside], found]
    in_order = pa.array(np.concatenate([*leading, truth, listed, shut])).dictionary_encode()
    numbers = in_order.indices.to_numpy().astype(np.int64)[len(leading[0]) :]
    found, truth, listed, shut = np.split(numbers, np.cumsum([len(found), len(truth), len(listed)]))
    return truth, found, np.concatenate([truth, listed]), shut


def _as_columns(keyframes: Keyframes) -> tuple[pa.Array, np.ndarray]:
    """Return the videos and seconds of a set of (video, microseconds)."""
    rows = sorted(keyframes)
    return pa.array([video for video, _ in rows], pa.string()), np.array(
        [ticks / 1_000_000 for _, ticks in rows], dtype=float
    )


def _single(rows: Rows) -> Rows:
    return Rows(rows.frame, rows.column, rows.label_id, rows.boxes.astype(np.float32), rows.scores.astype(np.float32))


def _per_class(
    found: Rows, hits: np.ndarray, num_truth: np.ndarray, label_space: LabelSpace, skip_undetected: bool
) -> tuple[ClassAp, ...]:
    """Return the average precision of every class; ``hits`` belongs to ``found``."""
    order = np.argsort(found.column, kind="stable")
    bounds = np.searchsorted(found.column[order], np.arange(len(label_space) + 1))
    results = []
    for column, (label_id, name) in enumerate(zip(label_space.published_ids, label_space.names, strict=True)):
        mine = order[bounds[column] : bounds[column + 1]]
        left_out = num_truth[column] == 0 or (skip_undetected and len(mine) == 0)
        ap = None if left_out else all_point_ap(found.scores[mine], hits[mine], int(num_truth[column]))
        results.append(ClassAp(id=label_id, name=name, ap=ap, num_ground_truth=int(num_truth[column])))
    return tuple(results)
