"""What a frame mAP lost to which kind of error, in shares that sum to exactly what is missing to 1.

The average precision of a class is the mean, over its P annotated boxes, of the precision at which the box was found
(the best precision from its rank on), 0 for a box that was not. So every box loses 1/P times what its precision is
short of 1, and that is lost

- not found: 1/P, to the reason why it was not;
- found at precision t / n: t of the n detections up to there are true, so the others, the false positives, have taken
  (1/P) (n - t) / n together: 1 / (P n) each.

Nothing is undone and scored again, so the shares depend on no order of repairs (as one repair after the other would)
and leave no rest (as repairs one by one do: Bolya et al. 2020, "TIDE", whose kinds of error and least overlap of 0.1
these are).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from tubelet.evals import matching
from tubelet.evals.ava import PROTOCOLS, Matched, lists_by_class
from tubelet.evals.matching import ClassBoxes
from tubelet.labels import LabelSpace

NEAR = 0.1
"""Least overlap at which a box is said to mean a person, wrongly drawn."""

ERRORS: Mapping[str, str] = MappingProxyType(
    {
        "missed person": "an annotated person whom no detected box meets",
        "wrong box": "the box meets a person who does this, but overlaps too little; or no better box does",
        "wrong action": "the box is right, the person does something else",
        "wrong box and action": "the box meets, too little, a person who does something else",
        "duplicate": "the person does this and was found already, by a better box; or two people share one box",
        "nobody there": "the box meets no annotated person",
        "not proposed": "the person has a box, but the action is not among those that count for it (the best 50 of a "
        "keyframe in the official protocol)",
    }
)
NAMES = tuple(ERRORS)
_CODE = {name: i for i, name in enumerate(NAMES)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """What each detection and each annotated box cost. P detections that count, T annotated boxes, K classes."""

    of_detection: np.ndarray
    """float64 (P,), what a false positive took of its class's average precision; 0 for true positives."""
    kind_of_detection: np.ndarray
    """int8 (P,), place in ``NAMES``; -1 for true positives."""
    person_of_detection: np.ndarray
    """int64 (P,), the row of the ground truth that the box of a false positive overlaps most, of any class; -1 = none
    by ``NEAR``."""
    of_truth: np.ndarray
    """float64 (T,), for rows not found: what that cost; 0 for found ones."""
    kind_of_truth: np.ndarray
    """int8 (T,); -1 for found ones."""
    precision_of_truth: np.ndarray
    """float64 (T,), the precision at which the row was found; 0 = not found."""
    counted_classes: tuple[int, ...]
    """Columns of the classes in the mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """What taking one class for another cost."""

    true: str
    """What the person does."""
    predicted: str
    loss: float
    """Of the mAP, in [0, 1]."""


def attribute(matched: Matched, *, iou: float, protocol: str) -> Losses:
    """Return who lost what, of detections matched by ``match_detections`` at ``iou`` and by ``protocol``."""
    hits = matched.claimed >= 0
    scores = matched.found.scores[matched.order]
    if PROTOCOLS[protocol].single_precision:
        scores = scores.astype(np.float32)
    place = np.full(len(matched.truth), -1, dtype=np.int64)
    place[matched.counted] = np.arange(len(matched.counted))
    of_detection, precision = np.zeros(len(hits)), np.zeros(len(matched.counted))
    counted = []
    for column, mine in enumerate(lists_by_class(matched)):
        num_truth = int(matched.num_truth[column])
        if num_truth == 0 or (PROTOCOLS[protocol].skip_undetected and len(mine) == 0):
            continue
        counted.append(column)
        ranked = mine[np.argsort(scores[mine])[::-1]]  # the unstable sort of all_point_ap
        loss, found_at = _ranked_losses(hits[ranked], num_truth)
        of_detection[ranked] = loss
        precision[place[matched.claimed[ranked[hits[ranked]]]]] = found_at
    kind, person = _kinds_of_detections(matched, iou)
    found = np.zeros(len(matched.counted), dtype=bool)
    found[place[matched.claimed[hits]]] = True
    with np.errstate(divide="ignore"):
        of_truth = np.where(found, 0.0, 1 / matched.num_truth[matched.truth.column[matched.counted]])
    return Losses(
        of_detection=of_detection,
        kind_of_detection=kind,
        person_of_detection=person,
        of_truth=of_truth,
        kind_of_truth=_kinds_of_missed(matched, found, iou),
        precision_of_truth=precision,
        counted_classes=tuple(counted),
    )


def _ranked_losses(hits: np.ndarray, num_truth: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what each row of a ranked list took (R,), and at which precision each true one counts, in their order."""
    places = np.flatnonzero(hits)
    if len(places) == 0:
        return np.zeros(len(hits)), np.zeros(0)
    precision = np.arange(1, len(places) + 1) / (places + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # A true row counts at the first peak from its own place on: the rows up to there are the n of its precision.
    peaks = np.flatnonzero(precision == envelope)
    peak = places[peaks[np.searchsorted(peaks, np.arange(len(places)))]]
    share = np.zeros(len(hits))
    np.add.at(share, peak, 1 / (num_truth * (peak + 1)))
    loss = np.cumsum(share[::-1])[::-1]
    loss[places] = 0.0
    return loss, envelope


def _one_class(rows: ClassBoxes) -> ClassBoxes:
    return replace(rows, column=np.zeros_like(rows.column))


def _kinds_of_detections(matched: Matched, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the kind of error of each detection that counts, and the person its box meets."""
    found, truth = matched.found, matched.truth
    wrong = np.flatnonzero(matched.claimed < 0)
    rows = matched.order[wrong]
    own = truth.take(matched.counted)
    same_near, _ = matching.best_truth(found, rows, own, NEAR)
    same, _ = matching.best_truth(found, rows, own, iou)
    anybody, _ = matching.best_truth(_one_class(found), rows, _one_class(truth), NEAR)
    met = np.zeros(len(rows), dtype=bool)
    near = np.flatnonzero(anybody >= 0)
    met[near] = matching.paired_iou(found.boxes[rows[near]], truth.boxes[anybody[near]]) >= iou
    kinds = np.select(
        [same >= 0, met, same_near >= 0, anybody >= 0],
        [_CODE["duplicate"], _CODE["wrong action"], _CODE["wrong box"], _CODE["wrong box and action"]],
        _CODE["nobody there"],
    )
    kind, person = np.full(len(matched.order), -1, dtype=np.int8), np.full(len(matched.order), -1, dtype=np.int64)
    kind[wrong], person[wrong] = kinds, anybody
    return kind, person


def _kinds_of_missed(matched: Matched, found: np.ndarray, iou: float) -> np.ndarray:
    """Return why each annotated box was not found; -1 = it was."""
    kind = np.full(len(found), -1, dtype=np.int8)
    missed = np.flatnonzero(~found)
    truth = matched.truth
    rows = matched.counted[missed]
    # Every box of their keyframes once, whatever its class and whether it counts.
    here = np.flatnonzero(np.isin(matched.found.keyframe, truth.keyframe[rows]))
    keys = np.column_stack([matched.found.keyframe[here], matched.found.boxes[here]])
    boxes = matched.found.take(here[np.unique(keys, axis=0, return_index=True)[1]])
    near, _ = matching.best_truth(_one_class(truth), rows, _one_class(boxes), NEAR)
    reached, _ = matching.best_truth(_one_class(truth), rows, _one_class(boxes), iou)
    proposed, _ = matching.best_truth(truth, rows, matched.found.take(matched.order), iou)
    kind[missed] = np.select(
        [near < 0, reached < 0, proposed < 0],
        [_CODE["missed person"], _CODE["wrong box"], _CODE["not proposed"]],
        _CODE["duplicate"],
    )
    return kind


def by_error(matched: Matched, losses: Losses) -> dict[str, np.ndarray]:
    """Return for each kind of error what it took of each class's average precision, float64 (K,).

    Over the kinds they sum to 1 - AP of a class, and their means over the counted classes to 1 - mAP.
    """
    num_classes = len(matched.num_truth)
    columns = [matched.found.column[matched.order], matched.truth.column[matched.counted]]
    kinds, values = [losses.kind_of_detection, losses.kind_of_truth], [losses.of_detection, losses.of_truth]
    result = {}
    for name, code in _CODE.items():
        total = np.zeros(num_classes)
        for column, kind, value in zip(columns, kinds, values, strict=True):
            mine = kind == code
            total += np.bincount(column[mine], weights=value[mine], minlength=num_classes)
        result[name] = total
    return result


def confusions(matched: Matched, losses: Losses, label_space: LabelSpace) -> tuple[Confusion, ...]:
    """Return which classes were taken for which, what cost most first.

    A false positive of the kind ``wrong action`` is taken for what its person does: of that, the actions of the false
    one's group (a person has one pose, say) if there is any, in equal parts. People who do nothing of the list count
    as ``nothing of the list``.
    """
    wrong = np.flatnonzero(losses.kind_of_detection == _CODE["wrong action"])
    labels_of = _labels_of_people(matched.truth)
    groups = label_space.groups or ("",) * len(label_space)
    costs: dict[tuple[str, str], float] = {}
    columns = matched.found.column[matched.order[wrong]].tolist()
    people, values = losses.person_of_detection[wrong].tolist(), losses.of_detection[wrong].tolist()
    num_classes = max(1, len(losses.counted_classes))
    for column, person, value in zip(columns, people, values, strict=True):
        if value == 0:
            continue
        does = labels_of[person]
        same = [k for k in does if groups[k] == groups[column]] or does
        for k in same or [-1]:
            true = "nothing of the list" if k < 0 else label_space.names[k]
            key = (true, label_space.names[column])
            costs[key] = costs.get(key, 0.0) + value / (max(1, len(same)) * num_classes)
    ranked = sorted(costs.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Confusion(true=true, predicted=predicted, loss=loss) for (true, predicted), loss in ranked)


def _labels_of_people(truth: ClassBoxes) -> list[list[int]]:
    """Return for each row of the ground truth the columns of all rows of the same keyframe and box."""
    _, person = np.unique(np.column_stack([truth.keyframe, truth.boxes]), axis=0, return_inverse=True)
    labels: list[list[int]] = [[] for _ in range(int(person.max(initial=-1)) + 1)]
    for each, column in zip(person.reshape(-1).tolist(), truth.column.tolist(), strict=True):
        if column >= 0 and column not in labels[each]:
            labels[each].append(column)
    return [labels[each] for each in person.reshape(-1).tolist()]
