"""Labels for detected boxes: a person detector finds people, the annotation says what they do."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PAIRS_AT_ONCE = 2_000_000
LABEL_IOU = 0.9
"""Overlap at which PySlowFast and mmaction2 label detected boxes; paper A, which trains on such boxes, has none."""


def label_detected(table: pa.Table, keyframe: np.ndarray, *, min_iou: float) -> pa.Table:
    """Give each detected box without a label the labels of the annotated box it overlaps most.

    A detected box that comes with labels (PySlowFast publishes such files) keeps them.

    Args:
        table: Rows as in ``manifest.BOXES_SCHEMA``; annotated rows must still be there.
        keyframe: int64 (R,), the same number for boxes of the same keyframe.
        min_iou: In (0, 1]; below it the labels stay empty.

    Returns:
        The table with another ``labels`` column. Of equal overlaps the earlier annotated box counts.
    """
    origin, labels = table.column("origin"), table.column("labels").combine_chunks()
    detected = pc.equal(origin, "detected").to_numpy()
    bare = np.flatnonzero(detected & (pc.list_value_length(labels).to_numpy(zero_copy_only=False) == 0))
    annotated = np.flatnonzero(~detected)
    if len(bare) == 0 or len(annotated) == 0:
        return table
    boxes = np.stack([table.column(c).to_numpy() for c in ("x1", "y1", "x2", "y2")], axis=1)
    annotated = annotated[np.argsort(keyframe[annotated], kind="stable")]
    first = np.searchsorted(keyframe[annotated], keyframe[bare], side="left")
    last = np.searchsorted(keyframe[annotated], keyframe[bare], side="right")
    source = np.arange(table.num_rows)
    ends = np.cumsum(last - first)
    begin = 0
    while begin < len(bare):  # many boxes at a time, bounded memory
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + PAIRS_AT_ONCE, side="right")))
        part = slice(begin, end)
        best, overlap = _best(boxes, bare[part], annotated, first[part], last[part])
        found = overlap >= min_iou
        source[bare[part][found]] = best[found]
        begin = end
    taken = labels.take(pa.array(source))
    return table.set_column(table.schema.get_field_index("labels"), table.schema.field("labels"), taken)


def _best(
    boxes: np.ndarray, rows: np.ndarray, others: np.ndarray, first: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row the row of ``others[first:last]`` with the largest IoU, and that IoU (0 without any)."""
    number = last - first
    mine = np.repeat(np.arange(len(rows)), number)
    place = np.arange(len(mine)) - np.repeat(np.cumsum(number) - number, number) + np.repeat(first, number)
    other = others[place]
    overlap = _iou(boxes[rows[mine]], boxes[other])
    order = np.lexsort((place, -overlap, mine))
    begins = np.searchsorted(mine[order], np.arange(len(rows)))
    some = number > 0
    best, value = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows))
    chosen = order[begins[some]]
    best[some], value[some] = other[chosen], overlap[chosen]
    return best, value


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU (P,) of pairs of boxes (P, 4)."""
    size = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None)
    overlap = size.prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - overlap
    return np.asarray(overlap / union)
