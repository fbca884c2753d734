"""Frame mAP on parts of the keyframes and boxes: by size of the box, people on the keyframe, the detector's score.

Average precision depends on how common a class is, which differs between parts: compare models on one part, not parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import PROTOCOLS, Matched, frame_map, lists_by_class
from tubelet.evals.average_precision import all_point_ap
from tubelet.labels import LabelSpace
from tubelet.types import InputError

PEOPLE = ((1, 1), (2, 2), (3, 4), (5, None))
"""Least and most people on a keyframe."""
CONFIDENCES = (0.0, 0.2, 0.5, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """One part."""

    name: str
    mean_ap: float | None
    """Over the classes with ground truth in the part; None = there is none."""
    num_truth: int
    """Annotated boxes times actions in it."""


def by_box_size(matched: Matched, *, protocol: str) -> tuple[Slice, ...]:
    """Return the smallest, the middle and the largest third of the annotated boxes, by their share of the frame.

    A true positive belongs to the part of the box it found, a false positive to that of its own size.
    """
    of_truth, of_found = (_area(rows.boxes) for rows in (matched.truth, matched.found))
    counted = of_truth[matched.counted]
    if len(counted) == 0:
        return ()
    low, high = np.quantile(counted, [1 / 3, 2 / 3])
    claimed = matched.claimed
    size = np.where(claimed >= 0, of_truth[claimed], of_found[matched.order])
    parts = {
        f"small, below {100 * low:.2g} % of the frame": (-np.inf, low),
        f"middle, {100 * low:.2g} to {100 * high:.2g} %": (low, high),
        f"large, from {100 * high:.2g} %": (high, np.inf),
    }
    return tuple(
        _slice(matched, name, (of_truth >= least) & (of_truth < most), (size >= least) & (size < most), protocol)
        for name, (least, most) in parts.items()
    )


def by_people(matched: Matched, *, protocol: str) -> tuple[Slice, ...]:
    """Return the keyframes with 1, 2, 3 to 4, and more annotated people."""
    boxes = np.unique(np.column_stack([matched.truth.keyframe, matched.truth.boxes]), axis=0)
    size = 1 + max(matched.truth.keyframe.max(initial=0), matched.found.keyframe.max(initial=0))
    people = np.bincount(boxes[:, 0].astype(np.int64), minlength=size)
    slices = []
    for least, most in PEOPLE:
        name = f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
        here = (people >= least) & (people <= (most or np.inf))
        kept = here[matched.found.keyframe[matched.order]]
        slices.append(_slice(matched, name, here[matched.truth.keyframe], kept, protocol))
    return tuple(slices)


def by_confidence(
    ground_truth: AvaTable,
    detections: AvaTable,
    box_scores: np.ndarray,
    label_space: LabelSpace,
    *,
    iou: float,
    protocol: str,
    thresholds: Sequence[float] = CONFIDENCES,
) -> tuple[Slice, ...]:
    """Return the whole set, scored with the boxes from a person detector's confidence on.

    Args:
        ground_truth: R rows.
        detections: S rows.
        box_scores: float (S,), the detector's confidence of each row's box; 1 = annotated.
        label_space: The classes.
        iou: Smallest overlap of a true positive.
        protocol: A key of ``PROTOCOLS``.
        thresholds: Least confidences.
    """
    if len(box_scores) != len(detections):
        raise InputError(f"{len(box_scores)} confidences for {len(detections)} detections")
    slices = []
    for threshold in thresholds:
        kept = box_scores >= threshold
        found = AvaTable(
            video=detections.video[kept],
            pts_seconds=detections.pts_seconds[kept],
            boxes_norm=detections.boxes_norm[kept],
            label_ids=detections.label_ids[kept],
            scores=None if detections.scores is None else detections.scores[kept],
        )
        mean = frame_map(ground_truth, found, label_space, iou=iou, protocol=protocol).mean_ap if kept.any() else None
        name = f"confidence from {threshold:g} on, {100 * kept.mean():.0f} % of the boxes"
        slices.append(Slice(name=name, mean_ap=mean, num_truth=len(ground_truth)))
    return tuple(slices)


def _slice(matched: Matched, name: str, truth: np.ndarray, kept: np.ndarray, protocol: str) -> Slice:
    """Return the mean AP of the rows kept.

    Args:
        matched: All of them.
        name: Of the part.
        truth: bool (R,) by row of the ground truth.
        kept: bool (P,) by place in ``matched.order``.
        protocol: What ``matched`` follows.
    """
    rules = PROTOCOLS[protocol]
    counted = matched.counted[truth[matched.counted]]
    num_truth = np.bincount(matched.truth.column[counted], minlength=len(matched.num_truth))
    scores, hits = matched.found.scores[matched.order], matched.claimed >= 0
    if rules.single_precision:
        scores = scores.astype(np.float32)
    values = []
    for mine, number in zip(lists_by_class(matched), num_truth.tolist(), strict=True):
        rows = mine[kept[mine]]
        if number and not (rules.skip_undetected and len(rows) == 0):
            values.append(all_point_ap(scores[rows], hits[rows], number))
    return Slice(name=name, mean_ap=float(np.mean(values)) if values else None, num_truth=len(counted))


def _area(boxes: np.ndarray) -> np.ndarray:
    area: np.ndarray = np.maximum(0.0, boxes[:, 2] - boxes[:, 0]) * np.maximum(0.0, boxes[:, 3] - boxes[:, 1])
    return area
