"""Frame mAP on AVA-like data, by the protocol named with every number.

Several evaluations are in circulation and give different numbers for the same detections: ``PROTOCOLS`` has them.
Agreement with each is exact for a given order of rows (equal scores are ranked by that order) and numpy version.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tubelet.data.ava_table import AvaTable, Keyframe
from tubelet.evals import matching
from tubelet.evals.average_precision import all_point_ap
from tubelet.evals.keyframe_numbers import number_keyframes
from tubelet.evals.matching import ClassBoxes
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

    keyframes: str
    """Keyframes whose detections count: ``listed`` in the ground truth file, ``all``, or ``with_truth``."""
    order: Callable[[ClassBoxes, np.ndarray | None], np.ndarray]
    """Which of the chosen detections may claim ground truth, in which order; rows it leaves out are not scored."""
    whole_seconds: bool
    """Cut times to whole seconds, so keyframes of one second fall together."""
    takes_excluded: bool
    """Know a file of excluded timestamps."""
    order_decides: bool = False
    """Boxes are matched in the order of the rows: another order of the same rows gives another number."""
    heap_ties: bool = False
    """Order equal ground truth boxes as the official reader's heap does."""
    drop_degenerate: bool = True
    """Leave out detections with x2 <= x1 or y2 <= y1; else they are false positives."""
    single_precision: bool = False
    """Compare boxes and scores in float32."""
    skip_undetected: bool = False
    """Leave a class without any detection out of the mean, instead of counting 0."""


PROTOCOLS: Mapping[str, Protocol] = {
    # ActivityNet's Evaluation/get_ava_performance.py since 2020: best 50 rows per keyframe over all classes; keyframes
    # are those of the ground truth file, rows with two columns and rows of other classes included.
    "official": Protocol(
        keyframes="listed",
        order=lambda rows, chosen: matching.best_per_keyframe(rows, 50, chosen),
        whole_seconds=False,
        takes_excluded=False,
        heap_ties=True,
    ),
    # The 2018 rules as PySlowFast keeps them: no cap, and no sort before matching, so the result depends on row order.
    "slowfast": Protocol(
        keyframes="all", order=matching.by_keyframe, whole_seconds=True, takes_excluded=True, order_decides=True
    ),
    # mmaction2: keyframes without ground truth and classes without detections are left out of the number.
    "mmaction": Protocol(
        keyframes="with_truth",
        order=matching.by_score,
        whole_seconds=True,
        takes_excluded=True,
        drop_degenerate=False,
        single_precision=True,
        skip_undetected=True,
    ),
    # MultiSports' evaluate_multisports.py: every detection on every frame. (The ACT detector's is in ``tubes``.)
    "multisports": Protocol(
        keyframes="all", order=matching.by_score, whole_seconds=False, takes_excluded=True, drop_degenerate=False
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
        protocol: A key of ``PROTOCOLS`` (``types.FrameProtocol``).
        excluded: Keyframes left out, for the protocols that know them.

    Raises:
        InputError: An unknown protocol or ``iou``, ``excluded`` where the protocol has none, an inverted box in the
            ground truth, scores missing or not finite, or no class with ground truth.
    """
    matched = match_detections(ground_truth, detections, label_space, iou=iou, protocol=protocol, excluded=excluded)
    per_class = _per_class(matched, label_space, PROTOCOLS[protocol])
    values = [c.ap for c in per_class if c.ap is not None]
    if not values:
        also = " and a detection" if PROTOCOLS[protocol].skip_undetected else ""
        raise InputError(
            f"mAP over no classes: none of the {len(label_space)} classes of {label_space.name} has ground truth{also}"
        )
    mean = float(np.mean(values))
    return AvaResult(protocol=protocol, iou=iou, mean_ap=mean, per_class=per_class, counts=matched.counts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """What takes part in a protocol's matching."""

    found: ClassBoxes
    """All detections."""
    order: np.ndarray
    """int64 (P,), rows of ``found`` that count, in matching order."""
    truth: ClassBoxes
    """All ground truth."""
    counted: np.ndarray
    """int64 (T,), rows of ``truth`` to be found."""
    reachable: np.ndarray
    """int64, rows of ``truth`` that a detection may claim."""
    counts: dict[str, int]
    """As in ``AvaResult``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matched:
    """Which detection found what."""

    found: ClassBoxes
    """All detections."""
    order: np.ndarray
    """int64 (P,), rows of ``found`` that count, in the order in which they claimed ground truth."""
    claimed: np.ndarray
    """int32 (P,), the row of ``truth`` that each of them found, -1 = none: a false positive."""
    truth: ClassBoxes
    """All ground truth."""
    counted: np.ndarray
    """int64 (T,), rows of ``truth`` to be found."""
    num_truth: np.ndarray
    """int (K,), of those the number per class."""
    counts: dict[str, int]
    """Rows given, and rows left out by each rule of the protocol."""


def match_detections(
    ground_truth: AvaTable,
    detections: AvaTable,
    label_space: LabelSpace,
    *,
    iou: float = 0.5,
    protocol: str = "official",
    excluded: Keyframes | None = None,
) -> Matched:
    """Return what ``frame_map`` ranks; arguments and errors as there."""
    rules = rules_of(protocol, iou, excluded)
    chosen = _select(ground_truth, detections, label_space, rules, excluded or ())
    rows = chosen.reachable
    truth = chosen.truth.take(rows)
    if rules.single_precision:
        truth = replace(truth, boxes=truth.boxes.astype(np.float32))
    claimed = matching.match(chosen.found, chosen.order, truth, iou=iou, heap_ties=rules.heap_ties)
    hits = np.flatnonzero(claimed >= 0)
    claimed[hits] = rows[claimed[hits]]
    return Matched(
        found=chosen.found,
        order=chosen.order,
        claimed=claimed,
        truth=chosen.truth,
        counted=chosen.counted,
        num_truth=np.bincount(chosen.truth.column[chosen.counted], minlength=len(label_space)),
        counts=chosen.counts,
    )


def rules_of(protocol: str, iou: float, excluded: Keyframes | None) -> Protocol:
    """Return a protocol's rules; raise ``InputError`` if it is unknown or does not go with the rest."""
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
) -> Selected:
    """Number the keyframes, and leave out what the rules leave out."""
    truth = _rows(ground_truth, label_space, None)
    found = _rows(detections, label_space, _scores(detections))
    truth_keyframe, found_keyframe, listed, shut = number_keyframes(
        ground_truth,
        detections,
        truth.column >= 0,
        found.column >= 0,
        excluded,
        whole_seconds=rules.whole_seconds,
        truth_leads=rules.keyframes == "with_truth",
    )
    truth, found = replace(truth, keyframe=truth_keyframe), replace(found, keyframe=found_keyframe)
    counts = {"ground_truth_rows": len(truth), "detection_rows": len(found)}
    inside = np.flatnonzero(truth.column >= 0)
    _check_not_inverted(truth)
    counts["ground_truth_other_class"] = len(truth) - len(inside)
    opened = inside[~np.isin(truth.keyframe[inside], shut)] if len(shut) else inside
    # mmaction2 counts ground truth before it leaves the excluded keyframes out.
    counted = inside if rules.keyframes == "with_truth" else opened
    counts["ground_truth_excluded_keyframe"] = len(inside) - len(opened)
    ignored = np.full(1 + max(found_keyframe.max(initial=-1), listed.max(initial=-1), shut.max(initial=-1)), True)
    if rules.keyframes == "all":
        ignored[:] = False
        ignored[shut] = True
    else:
        ignored[listed if rules.keyframes == "listed" else truth.keyframe[opened]] = False
    order = _in_matching_order(found, ignored, rules, counts)
    return Selected(found=found, order=order, truth=truth, counted=counted, reachable=opened, counts=counts)


def _in_matching_order(found: ClassBoxes, ignored: np.ndarray, rules: Protocol, counts: dict[str, int]) -> np.ndarray:
    """Return the detections that count, in matching order; ``counts`` gets the others, ``ignored`` is by keyframe."""
    out = found.column < 0
    num_other = counts["detections_other_class"] = int(np.count_nonzero(out))
    if ignored.any():
        out |= ignored[found.keyframe]
    num_out = int(np.count_nonzero(out))
    counts["detections_ignored_keyframe"] = num_out - num_other
    chosen = np.flatnonzero(~out) if num_out else None
    order = rules.order(found, chosen)
    counts["detections_over_cap"] = (len(found) if chosen is None else len(chosen)) - len(order)
    if rules.drop_degenerate:
        solid = (found.boxes[:, 0] < found.boxes[:, 2]) & (found.boxes[:, 1] < found.boxes[:, 3])
        kept = order if solid.all() else order[solid[order]]
        counts["detections_degenerate"] = len(order) - len(kept)
        order = kept
    return order


def _columns(table: AvaTable, label_space: LabelSpace) -> np.ndarray:
    """Return the column, int32 (R,), of each row's published id; -1 where the label space has no such id."""
    ids = np.asarray(label_space.published_ids, dtype=np.int64)
    order = np.append(np.argsort(ids), -1).astype(np.int32)  # the last entry answers for the place -1
    columns: np.ndarray = order[matching.find_places(np.sort(ids), np.asarray(table.label_ids))]
    return columns


def _scores(table: AvaTable) -> np.ndarray:
    if table.scores is None:
        raise InputError("detections have no scores, expected one per row")
    scores = np.asarray(table.scores, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise InputError(f"detections row {bad[0] + 1}: score {scores[bad[0]]} is not a finite number")
    return scores


def _rows(table: AvaTable, label_space: LabelSpace, scores: np.ndarray | None) -> ClassBoxes:
    """Return a table's rows, all of them and uncopied; their keyframes are not yet numbered."""
    column = _columns(table, label_space)
    boxes = np.asarray(table.boxes_norm, dtype=np.float64).reshape(-1, 4)
    label_ids = np.asarray(table.label_ids, dtype=np.int32)
    return ClassBoxes(
        np.zeros_like(column), column, label_ids, boxes, np.ones(len(column)) if scores is None else scores
    )


def _check_not_inverted(truth: ClassBoxes) -> None:
    x1, y1, x2, y2 = truth.boxes.T
    bad = np.flatnonzero(((x1 > x2) | (y1 > y2)) & (truth.column >= 0))
    if len(bad):
        raise InputError(
            f"ground truth box {truth.boxes[bad[0]].tolist()} of class {truth.label_id[bad[0]]}: "
            "expected x1 <= x2 and y1 <= y2"
        )


def lists_by_class(matched: Matched) -> list[np.ndarray]:
    """Return for each of the K classes the places in ``matched.order`` of its detections, whole numbers, in that order.

    Numbers that hold the class above the place are sorted where they stand: no other way takes less memory.
    """
    num_classes, place_bits = len(matched.num_truth), len(matched.order).bit_length()
    narrow = num_classes.bit_length() + place_bits <= 32
    key = matched.found.column[matched.order].astype(np.uint32 if narrow else np.uint64)
    key <<= key.dtype.type(place_bits)
    key |= np.arange(len(key), dtype=key.dtype)
    key.sort()
    firsts = np.arange(1, num_classes, dtype=key.dtype) << key.dtype.type(place_bits)
    ends = np.searchsorted(key, firsts)
    key &= key.dtype.type((1 << place_bits) - 1)
    return np.split(key, ends)


def _per_class(matched: Matched, label_space: LabelSpace, rules: Protocol) -> tuple[ClassAp, ...]:
    """Return the average precision of every class."""
    precision = np.float32 if rules.single_precision else np.float64
    results = []
    names = zip(label_space.published_ids, label_space.names, strict=True)
    for (label_id, name), mine, num in zip(names, lists_by_class(matched), matched.num_truth.tolist(), strict=True):
        left_out = num == 0 or (rules.skip_undetected and len(mine) == 0)
        scores = matched.found.scores[matched.order[mine]].astype(precision, copy=False)
        ap = None if left_out else all_point_ap(scores, matched.claimed[mine] >= 0, num)
        results.append(ClassAp(id=label_id, name=name, ap=ap, num_ground_truth=num))
    return tuple(results)
