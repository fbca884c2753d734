"""Which detections of a keyframe are true positives: ordered inside it and matched, without a loop over keyframes.

Rows are boxes with one class each. ``keyframe`` and ``column`` are small integers that stand for them.
"""

import heapq
from dataclasses import dataclass

import numpy as np

CHUNK = 1 << 21
"""Rows looked up at a time, so that what is needed on the way does not grow with the rows."""

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
    # several times as fast as rows by two keys; the few rows whose bits are the same are then put in order exactly.
    row_bits = len(keyframe).bit_length()
    score_bits = min(32, 64 - row_bits - int(keyframe.max(initial=0)).bit_length())
    with np.errstate(over="ignore"):
        bits = (scores + 0.0).astype(np.float32).view(np.uint32)  # + 0.0: minus zero is zero
    falling = np.where(bits >> 31, bits, ~(bits | np.uint32(1 << 31)))
    key = keyframe.astype(np.uint64)
    key <<= np.uint64(score_bits)
    key |= falling >> np.uint32(32 - score_bits)
    key <<= np.uint64(row_bits)
    key |= np.arange(len(keyframe), dtype=np.uint64)
    key.sort()
    order: np.ndarray = (key & np.uint64((1 << row_bits) - 1)).view(np.int64)
    key >>= np.uint64(row_bits)
    is_tied = np.zeros(len(key), dtype=bool)
    np.equal(key[1:], key[:-1], out=is_tied[1:])
    is_tied[:-1] |= is_tied[1:]
    places = np.flatnonzero(is_tied)
    tied = order[places]
    order[places] = tied[np.lexsort((tied, -scores[tied], key[places]))]
    return order if chosen is None else chosen[order]


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
    keyframe, score = rows.keyframe[order], rows.scores[order]
    same_as_next = (keyframe[1:] == keyframe[:-1]) & (score[1:] == score[:-1])
    del score
    starts = np.append(0, np.flatnonzero(keyframe[1:] != keyframe[:-1]) + 1)[: len(keyframe)]
    counts = np.diff(np.append(starts, len(keyframe)))
    rank = np.arange(len(keyframe), dtype=np.int32) - np.repeat(starts.astype(np.int32), counts)
    keep = rank < capacity
    across = np.flatnonzero(same_as_next & (rank[1:] == capacity))
    for place, group in zip(across.tolist(), np.searchsorted(keyframe[starts], keyframe[across]).tolist(), strict=True):
        at = int(starts[group])
        _choose_at_cut(rows, order[at : at + int(counts[group])], same_as_next[at:], place - at, capacity)
    tied_keyframes = _keyframes_with_tied_class(keyframe, rows.column[order], same_as_next & keep[1:])
    for group in np.searchsorted(keyframe[starts], tied_keyframes).tolist():
        at = int(starts[group])
        kept = heap_order(rows, np.sort(order[at : at + int(counts[group])]), capacity)
        order[at : at + len(kept)] = kept
    return order[keep]


def _choose_at_cut(rows: ClassBoxes, order: np.ndarray, same_as_next: np.ndarray, place: int, capacity: int) -> None:
    """Put the rows that the heap keeps first among those that tie at the cut of one keyframe, in place.

    With s the score at the cut, the heap holds only rows of s and above once ``capacity`` of them have come. No row of
    s enters after that, and every better one that comes removes the smallest tuple of those that are in.

    Args:
        rows: All rows.
        order: The keyframe's rows by falling score, ties in file order; a view.
        same_as_next: Whether the score of a place is that of the next.
        place: The last one before the cut.
        capacity: Rows kept of a keyframe.
    """
    better = np.flatnonzero(~same_as_next[:place])
    first = int(better[-1]) + 1 if len(better) else 0
    worse = np.flatnonzero(~same_as_next[place : len(order) - 1])
    end = place + int(worse[0]) + 1 if len(worse) else len(order)
    tied = order[first:end]
    inside = tied[tied <= np.sort(order[:end])[capacity - 1]]
    too_many = len(inside) - (capacity - first)
    if too_many:
        y1, x1, y2, x2 = rows.boxes[inside][:, [1, 0, 3, 2]].T
        inside = np.delete(inside, np.lexsort((x2, y2, x1, y1, rows.label_id[inside]))[:too_many])
    order[first:end] = np.concatenate([inside, np.setdiff1d(tied, inside)])


def _keyframes_with_tied_class(keyframe: np.ndarray, column: np.ndarray, same_as_next: np.ndarray) -> np.ndarray:
    """Return the keyframes where two rows of equal score have the same class (rows sorted by keyframe and score)."""
    tied = np.zeros(len(keyframe), dtype=bool)
    tied[1:] |= same_as_next
    tied[:-1] |= same_as_next
    run = np.cumsum(~np.concatenate([[False], same_as_next]), dtype=np.int32)[tied]
    keyframe, column = keyframe[tied], column[tied]
    order = np.lexsort((column, run))
    twice = (np.diff(run[order]) == 0) & (np.diff(column[order]) == 0)
    tied_keyframes: np.ndarray = np.unique(keyframe[order][1:][twice])
    return tied_keyframes


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
    claimed = np.full(len(order), -1, dtype=np.int32)
    reaching = np.flatnonzero(best >= 0)
    _, first = np.unique(best[reaching], return_index=True)
    claimed[reaching[first]] = best[reaching[first]]
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
    known, first_of, count_of = np.unique(truth_key[by_key], return_index=True, return_counts=True)
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
        boxes = detections.boxes[part[there]].astype(truth.boxes.dtype, copy=False)
        overlap = paired_iou(np.repeat(boxes, counts, axis=0), truth.boxes[pair_truth])
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
    places: np.ndarray = table.take(np.subtract(wanted, low - 1, dtype=np.int64), mode="clip")
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
    sides = np.minimum(boxes_a[:, 2:], boxes_b[:, 2:]) - np.maximum(boxes_a[:, :2], boxes_b[:, :2])
    sides = np.maximum(0.0, sides.astype(np.float64))
    overlap = sides[:, 1] * sides[:, 0]
    area_a = (boxes_a[:, 3] - boxes_a[:, 1]) * (boxes_a[:, 2] - boxes_a[:, 0])
    area_b = (boxes_b[:, 3] - boxes_b[:, 1]) * (boxes_b[:, 2] - boxes_b[:, 0])
    union = (area_a + area_b) - overlap
    with np.errstate(invalid="ignore", divide="ignore"):
        iou: np.ndarray = overlap / union
    iou[~(union > 0)] = 0.0
    return iou
