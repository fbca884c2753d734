"""Ground truth and detections side by side: which keyframes and boxes of two AVA-format files meet."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from tubelet.boxes import box_iou
from tubelet.data.ava_table import AvaTable, microseconds
from tubelet.evals.ava import frame_map
from tubelet.labels import LabelSpace
from tubelet.video.sampling import nearest

KEY_SLACK = 5e-4
"""Seconds."""
MAX_KEYFRAMES = 2000
"""Boxes and classes are compared at so many of the common keyframes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How well two files meet as they are."""

    mean_ap: float
    """Frame mAP at IoU 0.5 by the official protocol, in [0, 1]."""
    videos: float
    """Share of the videos, of the file that has fewer, that are in both."""
    keyframes: float
    """The same of the keyframes."""
    overlap: float
    """Mean over annotated boxes, at keyframes of both, of the best IoU with a detected one; 0 where there are none."""


@dataclass(frozen=True, slots=True)
class FilePair:
    """Two files, in this order."""

    truth: AvaTable
    found: AvaTable

    def __getitem__(self, number: int) -> AvaTable:
        return (self.truth, self.found)[number]

    def timed(self, number: int, pts_seconds: np.ndarray) -> "FilePair":
        """Return the pair with other times in one of them, float64 (N,)."""
        return self._with(number, replace(self[number], pts_seconds=pts_seconds))

    def boxed(self, number: int, boxes_norm: np.ndarray) -> "FilePair":
        """Return the pair with other boxes in one of them, float64 (N, 4)."""
        return self._with(number, replace(self[number], boxes_norm=boxes_norm))

    def _with(self, number: int, table: AvaTable) -> "FilePair":
        return FilePair(table, self.found) if number == 0 else FilePair(self.truth, table)


def agreement(truth: AvaTable, found: AvaTable, *, label_space: LabelSpace | None = None) -> Agreement:
    """Return how well ground truth and detections meet, nothing undone; both read with boxes ``any``.

    Args:
        truth: Ground truth.
        found: Detections.
        label_space: The evaluated classes; None = every class of either file.
    """
    pair = FilePair(truth, found)
    if not (len(truth) and len(found)):
        return Agreement(mean_ap=0.0, videos=0.0, keyframes=0.0, overlap=0.0)
    return Agreement(
        mean_ap=mean_ap(pair, label_space or _either(pair)),
        videos=shared_part(truth.video, found.video),
        keyframes=keyframes_met(pair),
        overlap=mean_overlap(pair),
    )


def mean_ap(pair: FilePair, space: LabelSpace) -> float:
    """Return the frame mAP at IoU 0.5 over the classes of ``space``; 0 where a file has none of them."""
    inside = np.isin(pair.found.label_ids, space.ids)
    if not inside.any() or not np.isin(pair.truth.label_ids, space.ids).any():
        return 0.0
    return frame_map(pair.truth, _rows(pair.found, inside), space).mean_ap


def shifted(pair: FilePair, shift: int) -> tuple[FilePair, LabelSpace]:
    """Return the files with the detections' ids moved, and the classes of the ground truth."""
    found = replace(pair.found, label_ids=np.where(pair.found.label_ids < 0, -1, pair.found.label_ids + shift))
    return FilePair(pair.truth, found), _classes(pair.truth.label_ids.tolist())


def _either(pair: FilePair) -> LabelSpace:
    """Return the classes of both files: a class without ground truth has no AP, but its detections count to the cap."""
    return _classes(pair.truth.label_ids.tolist() + pair.found.label_ids.tolist())


def _classes(label_ids: list[int]) -> LabelSpace:
    ids = tuple(sorted(set(label_ids) - {-1}))
    return LabelSpace(name="both files", names=tuple(map(str, ids)), ids=ids)


def shared_part(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return how much of the smaller of two sets is in the other."""
    first, second = set(ours.tolist()), set(theirs.tolist())
    return len(first & second) / max(1, min(len(first), len(second)))


def times_of(table: AvaTable) -> dict[str, np.ndarray]:
    """Return the sorted distinct times of each video's keyframes; keyframes without a box are keyframes."""
    order = np.argsort(table.video.astype(str), kind="stable")
    videos, first = np.unique(table.video.astype(str)[order], return_index=True)
    times = np.split(table.pts_seconds[order], first[1:])
    gathered = {str(v): [*t.tolist()] for v, t in zip(videos, times, strict=True)}
    for video, ticks in table.keyframes:
        gathered.setdefault(video, []).append(ticks / 1e6)
    return {video: np.unique(np.round(values, 6)) for video, values in gathered.items()}


def keyframes_met(pair: FilePair, slack: float = KEY_SLACK) -> float:
    """Return the share of keyframes, of the file that has fewer, that are in both."""
    truth, found = times_of(pair.truth), times_of(pair.found)
    both = int((_gaps(truth, found) <= slack).sum())
    sizes = [sum(map(len, times.values())) for times in (truth, found)]
    return min(1.0, both / max(1, min(sizes)))


def mean_gap(pair: FilePair, slack: float) -> float:
    """Return how far apart the keyframes lie that meet within ``slack``, seconds; infinity where none does."""
    gaps = _gaps(times_of(pair.truth), times_of(pair.found))
    met = gaps[gaps <= slack]
    return float(met.mean()) if len(met) else float("inf")


def _gaps(truth: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return how far each time of ``found`` lies from the nearest of ``truth``, in the videos of both."""
    gaps = [np.abs(truth[video][nearest(truth[video], t)] - t) for video, t in found.items() if video in truth]
    return np.concatenate([np.empty(0), *gaps])


def nearest_times(pair: FilePair, number: int) -> np.ndarray:
    """Return the times of one file moved to the nearest keyframe of the other."""
    other = times_of(pair[1 - number])
    table = pair[number]
    seconds = table.pts_seconds.copy()
    for video in set(table.video.tolist()) & set(other):
        rows = table.video == video
        seconds[rows] = other[video][nearest(other[video], seconds[rows])]
    return seconds


def commonest_difference(pair: FilePair) -> float:
    """Return the commonest difference between a detection's time and a ground-truth time of the same video, seconds."""
    truth, found = times_of(pair.truth), times_of(pair.found)
    differences: Counter[float] = Counter()
    for video in sorted(set(truth) & set(found))[:50]:
        pairs = found[video][:50, None] - truth[video][None, :100]
        differences.update(np.round(pairs, 3).ravel().tolist())
    return differences.most_common(1)[0][0] if differences else 0.0


def _keys(table: AvaTable) -> list[tuple[str, int]]:
    return list(zip(table.video.tolist(), microseconds(table.pts_seconds).tolist(), strict=True))


def common_keyframes(pair: FilePair) -> FilePair:
    """Return the rows of keyframes with boxes in both files, ``MAX_KEYFRAMES`` at most."""
    keys = [_keys(table) for table in (pair.truth, pair.found)]
    common = set(sorted(set(keys[0]) & set(keys[1]))[:MAX_KEYFRAMES])
    rows = [np.fromiter((key in common for key in k), dtype=bool, count=len(k)) for k in keys]
    return FilePair(_rows(pair.truth, rows[0]), _rows(pair.found, rows[1]))


def mean_overlap(pair: FilePair) -> float:
    """Return the mean over annotated boxes of the best IoU with a detected box of the same keyframe."""
    common = common_keyframes(pair)
    boxes: list[dict[tuple[str, int], list[np.ndarray]]] = []
    for table in (common.truth, common.found):
        grouped: dict[tuple[str, int], list[np.ndarray]] = {}
        for key, box in zip(_keys(table), table.boxes_norm, strict=True):
            grouped.setdefault(key, []).append(box)
        boxes.append(grouped)
    best = [
        box_iou(*(torch.from_numpy(np.unique(side[key], axis=0)) for side in boxes)).amax(dim=1) for key in boxes[0]
    ]
    return float(torch.cat(best).mean()) if best else 0.0


def _rows(table: AvaTable, keep: np.ndarray) -> AvaTable:
    return replace(
        table,
        video=table.video[keep],
        pts_seconds=table.pts_seconds[keep],
        boxes_norm=table.boxes_norm[keep],
        label_ids=table.label_ids[keep],
        scores=None if table.scores is None else table.scores[keep],
        person_ids=None if table.person_ids is None else table.person_ids[keep],
        keyframes=frozenset(),
    )
