"""AVA frame mAP written as plainly as possible: loops over keyframes, classes and boxes. Slow; the oracle of tests.

Written from a description of the protocols' rules, not from anybody's code, and it shares nothing with the package.
"""

import heapq
import math
from collections import defaultdict

import numpy as np

Row = list  # video, seconds, x1, y1, x2, y2, id[, score]; only two entries for an empty keyframe


def plain_frame_map(  # noqa: C901
    truth_rows: list[Row], found_rows: list[Row], ids: tuple[int, ...], protocol: str, excluded: list[Row], iou=0.5
) -> dict[int, float]:
    """Return the AP of every class that takes part in the mean, by id."""
    truth, listed = _read(truth_rows, ids, protocol, capacity=None, default_score=1.0)
    found, _ = _read(found_rows, ids, protocol, capacity=50 if protocol == "official" else None, default_score=None)
    shut = set() if protocol == "official" else {_key(row, protocol) for row in excluded}
    num_truth = defaultdict(int)
    for key, rows in truth.items():
        for row in rows:
            if key not in shut or protocol == "mmaction":
                num_truth[row[1]] += 1
    if protocol == "official":
        frames = [key for key in found if key in listed]
    elif protocol in ("slowfast", "multisports"):
        frames = [key for key in found if key not in shut]
    else:
        frames = [key for key in truth if key not in shut]
    scores, hits = defaultdict(list), defaultdict(list)
    for key in frames:
        for label in ids:
            mine = [row for row in found.get(key, []) if row[1] == label]
            if protocol not in ("mmaction", "multisports"):
                mine = [row for row in mine if row[2] < row[4] and row[3] < row[5]]
            boxes = [row for row in truth.get(key, []) if row[1] == label]
            claimed = set()
            for row in mine:
                overlaps = [_iou(row, box, protocol == "mmaction") for box in boxes]
                best = overlaps.index(max(overlaps)) if overlaps else None
                hit = best is not None and overlaps[best] >= iou and best not in claimed
                if hit:
                    claimed.add(best)
                scores[label].append(row[0])
                hits[label].append(hit)
    dtype = np.float32 if protocol == "mmaction" else np.float64
    return {
        label: _area(np.array(scores[label], dtype=dtype), hits[label], num_truth[label])
        for label in ids
        if num_truth[label] and (scores[label] or protocol != "mmaction")
    }


def _key(row: Row, protocol: str) -> tuple:
    return (row[0], f"{float(row[1]):.6f}" if protocol in ("official", "multisports") else int(row[1]))


def _read(rows, ids, protocol, *, capacity, default_score):
    """Return rows (score, id, y1, x1, y2, x2) per keyframe as the protocol's reader orders them, and all keys."""
    entries, keys = {}, set()
    for row in rows:
        key = _key(row, protocol)
        keys.add(key)
        if len(row) == 2 or row[6] not in ids:
            continue
        x1, y1, x2, y2 = row[2:6]
        entry = (default_score if default_score is not None else row[7], row[6], y1, x1, y2, x2)
        heap = entries.setdefault(key, [])
        if protocol != "official":
            heap.append(entry)
        elif capacity is None or len(heap) < capacity:
            heapq.heappush(heap, entry)
        elif entry[0] > heap[0][0]:
            heapq.heapreplace(heap, entry)
    if protocol != "slowfast":
        entries = {key: sorted(heap, key=lambda entry: -entry[0]) for key, heap in entries.items()}
    return entries, keys


def _iou(a, b, single: bool) -> float:
    if single:
        a, b = ([0, 0, *np.array(row[2:], dtype=np.float32)] for row in (a, b))
    height = max(0.0, float(min(a[4], b[4]) - max(a[2], b[2])))
    width = max(0.0, float(min(a[5], b[5]) - max(a[3], b[3])))
    overlap = height * width
    union = float((a[4] - a[2]) * (a[5] - a[3]) + (b[4] - b[2]) * (b[5] - b[3])) - overlap
    return overlap / union if union > 0 else 0.0


def _area(scores: np.ndarray, hits: list[bool], num_truth: int) -> float:
    """Return the area under the precision envelope, visiting each recall step."""
    order = np.argsort(scores)[::-1]
    found, curve = 0, []
    for rank, index in enumerate(order, start=1):
        found += hits[index]
        curve.append((found / num_truth, found / rank))
    area, before = [], 0.0
    for place, (recall, _) in enumerate(curve):
        if recall > before:
            area.append((recall - before) * max(precision for _, precision in curve[place:]))
            before = recall
    return math.fsum(area)
