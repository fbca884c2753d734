"""Which detections of a keyframe are true positives: ordered inside it and matched, without a loop over keyframes.

Rows are boxes with one class each. ``keyframe`` and ``column`` are small integers that stand for them.
"""

import heapq
from dataclasses import dataclass

import numpy as np

CHUNK = 1 << 19
"""Rows looked up at a time, so that what is needed on the way does not grow with the rows."""

LOOKED_UP_AT_ONCE = 1 << 16
"""As many numbers as stay in a processor's cache on the way to the table."""

LARGEST_TABLE = 1 << 25
"""Numbers in a small range are looked up in a table, several times as fast as by searching."""


@dataclass(frozen=True, slots=True)
class ClassBoxes:
    """Boxes with one class each, in the order of their file."""

    keyframe: np.ndarray
    """int32 (R,), keyframe number >= 0."""
    column: np.ndarray
    """int32 (R,), column of the label space; -1 = of none, such rows are never chosen."""
    label_id: np.ndarray
    """int32 (R,), published id of the class."""
    boxes: np.ndarray
    """float (R, 4) xyxy."""
    scores: np.ndarray
    """float (R,); all 1 for ground truth."""

    def __len__(self) -> int:
        return len(self.keyframe)

    def take(self, rows: np.ndarray) -> "ClassBoxes":
        """Return copies of the rows selected by a mask, bool (R,), or by indices, int64 (any,)."""
        return ClassBoxes(
            self.keyframe[rows], self.column[rows], self.label_id[rows], self.boxes[rows], self.scores[rows]
        )


def by_score(rows: ClassBoxes, chosen: np.ndarray | None = None) -> np.ndarray:
    """Return row indices, int64, sorted by keyframe, then falling score; ties keep file order.

    Args:
        rows: All rows; a large set is not copied.
        chosen: Increasing indices of those wanted; None = all.
    """
    keyframe, scores = (rows.keyframe, rows.scores) if chosen is None else (rows.keyframe[chosen], rows.scores[chosen])
    # Whole numbers that hold the keyframe, above as many bits of the falling score as fit, above the row are sorted
    # several times as fast as rows by two keys. Rows whose scores differ, but not in those bits, are then put in order.
    row_bits = len(keyframe).bit_length()
    score_bits = min(32, 64 - row_bits - int(keyframe.max(initial=0)).bit_length())
    key = keyframe.astype(np.uint64)
    key <<= np.uint64(score_bits)
    key |= _falling(scores) >> np.uint32(32 - score_bits)
    key <<= np.uint64(row_bits)
    key |= np.arange(len(keyframe), dtype=np.uint64)
    key.sort()
    order: np.ndarray = (key & np.uint64((1 << row_bits) - 1)).view(np.int64)
    key >>= np.uint64(row_bits)
    same_as_next = np.flatnonzero(key[1:] == key[:-1])
    unequal = same_as_next[scores[order[same_as_next]] != scores[order[same_as_next + 1]]]
    if len(unequal):
        places = np.union1d(same_as_next, same_as_next + 1)
        places = places[np.isin(key[places], key[unequal])]
        tied = order[places]
        order[places] = tied[np.lexsort((tied, -scores[tied], key[places]))]
    return order if chosen is None else chosen[order]


def _falling(scores: np.ndarray) -> np.ndarray:
    """Return uint32 (R,), in float32's precision larger for smaller scores; equal scores have equal ones."""
    with np.errstate(over="ignore"):
        single = scores.astype(np.float32)
    single += 0.0  # minus zero is zero
    bits = single.view(np.uint32)
    if int(bits.max(initial=0)) >> 31:  # some are negative
        return np.where(bits >> 31, bits, ~(bits | np.uint32(1 << 31)))
    return np.bitwise_xor(bits, np.uint32((1 << 31) - 1), out=bits)


def by_keyframe(rows: ClassBoxes, chosen: np.ndarray | None = None) -> np.ndarray:
    """Return row indices, int64, sorted by keyframe; inside a keyframe file order. Arguments as for ``by_score``."""
    if chosen is None:
        return np.argsort(rows.keyframe, kind="stable")
    by: np.ndarray = chosen[np.argsort(rows.keyframe[chosen], kind="stable")]
    return by


def best_per_keyframe(rows: ClassBoxes, capacity: int, chosen: np.ndarray | None = None) -> np.ndarray:
    """Return row indices by keyframe, at most ``capacity`` each, as AVA's official reader would order and cut them.

    That reader pushes every row of a keyframe, over all classes, on a min-heap of
    ``(score, id, y1, x1, y2, x2)``, replaces the smallest only by a strictly larger score, and sorts the heap's array
    by falling score, stably. Where no equal scores decide anything this is a plain sort and cut; equal scores at the
    cut are chosen by ``_choose_at_cut``, and only keyframes where two kept rows of a class tie go through a real heap.
    """
    order = by_score(rows, chosen)
    keyframe = rows.keyframe[order]
    starts = np.flatnonzero(keyframe[1:] != keyframe[:-1]) + 1
    starts = np.concatenate([[0], starts]) if len(order) else starts
    counts = np.diff(starts, append=len(order))
    over = np.flatnonzero(counts > capacity)
    first_out = starts[over] + capacity
    at_cut = rows.scores[order[first_out - 1]] == rows.scores[order[first_out]]
    for group in over[at_cut].tolist():
        at = int(starts[group])
        _choose_at_cut(rows, order[at : at + int(counts[group])], capacity)
    kept_counts = np.minimum(counts, capacity)
    kept_starts = np.cumsum(kept_counts) - kept_counts
    best = order
    if len(over):
        best = order[np.arange(int(kept_counts.sum())) + np.repeat(starts - kept_starts, kept_counts)]
    for group in _groups_with_tied_class(rows, best, kept_starts).tolist():
        at, first = int(starts[group]), int(kept_starts[group])
        kept = heap_order(rows, np.sort(order[at : at + int(counts[group])]), capacity)
        best[first : first + len(kept)] = kept
    return best


def _choose_at_cut(rows: ClassBoxes, order: np.ndarray, capacity: int) -> None:
    """Put the rows that the heap keeps first among those that tie at the cut of one keyframe, in place.

    With s the score at the cut, the heap holds only rows of s and above once ``capacity`` of them have come. No row of
    s enters after that, and every better one that comes removes the smallest tuple of those that are in.

    Args:
        rows: All rows.
        order: The keyframe's rows by falling score, ties in file order; a view.
        capacity: Rows kept of a keyframe.
    """
    scores = rows.scores[order]
    at_cut = np.flatnonzero(scores == scores[capacity])
    first, end = int(at_cut[0]), int(at_cut[-1]) + 1
    tied = order[first:end]
    inside = tied <= np.partition(order[:end], capacity - 1)[capacity - 1]
    entered = np.flatnonzero(inside)
    too_many = len(entered) - (capacity - first)
    if too_many:
        y1, x1, y2, x2 = rows.boxes[tied[entered]][:, [1, 0, 3, 2]].T
        inside[entered[np.lexsort((x2, y2, x1, y1, rows.label_id[tied[entered]]))[:too_many]]] = False
    order[first:end] = np.concatenate([tied[inside], tied[~inside]])


def _groups_with_tied_class(rows: ClassBoxes, order: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return which keyframes have two rows of equal score and class, int64 increasing.

    Args:
        rows: All rows.
        order: int64 (P,), rows by keyframe and falling score.
        starts: int64 (G,), where in ``order`` each keyframe begins.
    """
    scores = rows.scores[order]
    same_as_next = scores[1:] == scores[:-1]
    same_as_next[starts[1:] - 1] = False
    pairs = np.flatnonzero(same_as_next)
    # A place ties with the one before it or after it; a run of equal scores is named by its first place.
    places = np.union1d(pairs, pairs + 1)
    goes_on = np.zeros(len(places), dtype=bool)
    goes_on[1:] = (np.diff(places) == 1) & same_as_next[places[:-1]]
    run, column = np.cumsum(~goes_on), rows.column[order[places]]
    by_class = np.lexsort((column, run))
    twice = (np.diff(run[by_class]) == 0) & (np.diff(column[by_class]) == 0)
    return np.unique(np.searchsorted(starts, places[by_class[1:]][twice], side="right") - 1)


def heap_order(rows: ClassBoxes, indices: np.ndarray, capacity: int | None) -> np.ndarray:
    """Return the indices a heap of ``capacity`` keeps of one keyframe's rows, by falling score, ties in heap order."""
    y1x1y2x2 = rows.boxes[indices][:, [1, 0, 3, 2]].tolist()
    labels, scores = rows.label_id[indices].tolist(), rows.scores[indices].tolist()
    entries = [(score, label, *box) for score, label, box in zip(scores, labels, y1x1y2x2, strict=True)]
    # By object, not by value: the row number must not take part in comparisons, or equal rows would order otherwise.
    row_of = {id(entry): row for entry, row in zip(entries, indices.tolist(), strict=True)}
    heap: list[tuple[float, ...]] = []
    for entry in entries:
        if capacity is None or len(heap) < capacity:
            heapq.heappush(heap, entry)
        elif entry[0] > heap[0][0]:
            heapq.heapreplace(heap, entry)
    return np.array([row_of[id(entry)] for entry in sorted(heap, key=lambda entry: -entry[0])], dtype=np.int64)


def match(detections: ClassBoxes, order: np.ndarray, truth: ClassBoxes, *, iou: float, heap_ties: bool) -> np.ndarray:
    """Return which ground truth each detection claims: those that claim one are the true positives.

    A detection looks only at the ground truth box of its keyframe and class with the largest IoU; the first detection
    to reach it with at least ``iou`` is the true positive, a later one does not fall back to the second-best box.

    Args:
        detections: All rows; they are compared in the precision of the ground truth's boxes.
        order: int64 (P,), those that may claim boxes, in the order in which they do.
        truth: In file order.
        iou: Threshold in (0, 1].
        heap_ties: Where a detection overlaps two boxes equally, the first of the official reader's heap order counts;
            else the first of the file.

    Returns:
        int32 (P,) for the rows of ``order``: a row of ``truth``, -1 = none.
    """
    best, tied_keyframes = best_truth(detections, order, truth, iou)
    if heap_ties and len(tied_keyframes):
        by_heap = _reorder_by_heap(truth, tied_keyframes)
        best, _ = best_truth(detections, order, truth.take(by_heap), iou)
        best = np.where(best >= 0, by_heap[best], -1).astype(np.int32)
    reaching = np.flatnonzero(best >= 0)[::-1]
    first = np.full(len(truth), -1)
    first[best[reaching]] = reaching  # of several, the last one written stays: the first in matching order
    found = np.flatnonzero(first >= 0)
    claimed = np.full(len(order), -1, dtype=np.int32)
    claimed[first[found]] = found
    return claimed


def best_truth(
    detections: ClassBoxes, order: np.ndarray, truth: ClassBoxes, iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best box of each detection (-1 = none reaches ``iou``) and the keyframes where two are equally good.

    Arguments as for ``match``; boxes of one column are compared.
    """
    num_columns = int(max(detections.column.max(initial=0), truth.column.max(initial=0))) + 1
    truth_key = truth.keyframe.astype(np.int64) * num_columns + truth.column
    by_key = np.argsort(truth_key, kind="stable")
    sorted_key = truth_key[by_key]
    first_of = np.flatnonzero(np.diff(sorted_key, prepend=-1))
    known, count_of = sorted_key[first_of], np.diff(first_of, append=len(truth_key))
    best = np.full(len(order), -1, dtype=np.int32)
    tied = [np.empty(0, dtype=np.int32)]
    for start in range(0, len(order) if len(known) else 0, CHUNK):
        part = order[start : start + CHUNK]
        key = detections.keyframe[part].astype(np.int64) * num_columns + detections.column[part]
        place = find_places(known, key)
        there = np.flatnonzero(place >= 0)
        if len(there) == 0:
            continue
        first, counts = first_of[place[there]], count_of[place[there]]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        pair_truth = by_key[np.arange(counts.sum()) + np.repeat(first - starts, counts)]
        boxes = detections.boxes[np.repeat(part[there], counts)].astype(truth.boxes.dtype, copy=False)
        overlap = paired_iou(boxes, truth.boxes[pair_truth])
        chosen, is_tied = _largest(overlap, starts, counts, iou)
        best[start + there] = np.where(chosen >= 0, pair_truth[chosen], -1)
        tied.append(detections.keyframe[part[there[is_tied]]])
    return best, np.unique(np.concatenate(tied))


def find_places(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return where each wanted number is among the known ones, sorted and different; -1 = nowhere.

    Args:
        known: int (M,), at least one.
        wanted: int (P,).

    Returns:
        int32 (P,).
    """
    low, high = int(known[0]), int(known[-1])
    if high - low > LARGEST_TABLE:
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        return np.where(known[at] == wanted, at, -1).astype(np.int32)
    table = np.full(high - low + 3, -1, dtype=np.int32)  # an entry of -1 at each end for what lies outside
    table[known - low + 1] = np.arange(len(known), dtype=np.int32)
    places = np.empty(len(wanted), dtype=np.int32)
    for start in range(0, len(wanted), LOOKED_UP_AT_ONCE):
        part = slice(start, start + LOOKED_UP_AT_ONCE)
        table.take(np.subtract(wanted[part], low - 1, dtype=np.int64), mode="clip", out=places[part])
    return places


def _largest(overlap: np.ndarray, starts: np.ndarray, counts: np.ndarray, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pair of largest overlap of each group (-1 = it is below ``iou``), and which groups have two."""
    largest = np.maximum.reduceat(overlap, starts)
    at_largest = np.flatnonzero(overlap == np.repeat(largest, counts))
    owner = np.repeat(np.arange(len(starts)), counts)[at_largest]
    is_first = np.diff(owner, prepend=-1) > 0
    reaches = largest >= iou
    return np.where(reaches, at_largest[is_first], -1), owner[~is_first & reaches[owner]]


def _reorder_by_heap(truth: ClassBoxes, keyframes: np.ndarray) -> np.ndarray:
    """Return indices of all truth rows, those of ``keyframes`` in the official reader's heap order."""
    order = by_keyframe(truth, None)
    sorted_keyframes = truth.keyframe[order]
    for keyframe in keyframes:
        span = slice(
            np.searchsorted(sorted_keyframes, keyframe), np.searchsorted(sorted_keyframes, keyframe, side="right")
        )
        order[span] = heap_order(truth, order[span], None)
    return order


def paired_iou(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """Return the IoU (P,) of (P, 4) with (P, 4) boxes; two boxes of no area have IoU 0.

    Sides are subtracted in the boxes' own precision and multiplied in float64, the order of operations of the public
    evaluators: a threshold must not be decided by another rounding.
    """
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = boxes_a.T, boxes_b.T
    width = (np.minimum(ax2, bx2) - np.maximum(ax1, bx1)).astype(np.float64, copy=False)
    height = (np.minimum(ay2, by2) - np.maximum(ay1, by1)).astype(np.float64, copy=False)
    overlap = np.maximum(0.0, height) * np.maximum(0.0, width)
    area_a = (ay2 - ay1) * (ax2 - ax1)
    area_b = (by2 - by1) * (bx2 - bx1)
    union = (area_a + area_b) - overlap
    with np.errstate(invalid="ignore", divide="ignore"):
        iou: np.ndarray = overlap / union
    iou[~(union > 0)] = 0.0
    return iou
