"""Why a score is 0: what people get wrong in AVA-format files, found by undoing it and looking whether the files meet.

Three things must agree between ground truth and detections, in this order: the keyframes (video and time), the boxes at
them, the classes of these boxes. Each mistake has an undoing; the one that makes the files meet is what happened.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import torch

from tubelet.boxes import box_iou
from tubelet.data.ava_table import CUT_STARTS_AT, AvaTable, microseconds
from tubelet.evals.ava import frame_map
from tubelet.labels import LabelSpace
from tubelet.video.sampling import nearest

MET = 0.5
"""Share of keyframes (of the file that has fewer) that must be in both files; files that agree have nearly all."""
OVERLAP = 0.3
"""Mean over annotated boxes of the best IoU with a detected one: detectors reach 0.8, boxes in a wrong format 0.1."""
BETTER = 0.15
"""Gain of that mean from which another box format is what happened."""
BETTER_SHIFTED = 0.04
"""The same for another time: people hardly move in a second, but where files fit, every other second is worse."""
KEY_SLACK = 5e-4
"""Seconds."""
MAX_KEYFRAMES = 2000
"""Boxes and classes are compared at so many of the common keyframes."""
NAMES = ("ground truth", "detections")
HAVE = ("has", "have")
FRAME_RATES = (23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 60.0)

Boxes = np.ndarray
BOX_FORMATS: Mapping[str, Callable[[Boxes], Boxes]] = {
    "x, y, width, height": lambda b: np.stack([b[:, 0], b[:, 1], b[:, 0] + b[:, 2], b[:, 1] + b[:, 3]], axis=1),
    "centre x, centre y, width, height": lambda b: np.concatenate(
        [b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], axis=1
    ),
    "y1, x1, y2, x2": lambda b: b[:, [1, 0, 3, 2]],
    "mirrored (x counts from the right)": lambda b: np.stack([1 - b[:, 2], b[:, 1], 1 - b[:, 0], b[:, 3]], axis=1),
    "upside down (y counts from below)": lambda b: np.stack([b[:, 0], 1 - b[:, 3], b[:, 2], 1 - b[:, 1]], axis=1),
}
"""What boxes may be instead of x1, y1, x2, y2, and how they become that. All but the first two are their own undoing:
which of the files is wrong cannot be seen, so the detections are named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """One thing that is wrong."""

    trap: str
    """``videos``, ``times``, ``pixels``, ``box_format``, ``overlap``, ``ids``, ``labels``, ``scores`` or ``empty``."""
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How well two files meet as they are."""

    mean_ap: float
    """Frame mAP at IoU 0.5 over the classes of the ground truth, in [0, 1]."""
    videos: float
    """Share of the videos, of the file that has fewer, that are in both."""
    keyframes: float
    """The same of the keyframes."""
    overlap: float
    """Mean over annotated boxes, at keyframes of both, of the best IoU with a detected one; 0 where there are none."""


@dataclass(frozen=True, slots=True)
class _Pair:
    truth: AvaTable
    found: AvaTable

    def __getitem__(self, number: int) -> AvaTable:
        return (self.truth, self.found)[number]

    def timed(self, number: int, pts_seconds: np.ndarray) -> "_Pair":
        return self._with(number, replace(self[number], pts_seconds=pts_seconds))

    def boxed(self, number: int, boxes_norm: np.ndarray) -> "_Pair":
        return self._with(number, replace(self[number], boxes_norm=boxes_norm))

    def _with(self, number: int, table: AvaTable) -> "_Pair":
        return _Pair(table, self.found) if number == 0 else _Pair(self.truth, table)


def agreement(truth: AvaTable, found: AvaTable) -> Agreement:
    """Return how well ground truth and detections meet, nothing undone; both read with boxes ``any``."""
    pair = _Pair(truth, found)
    if not (len(truth) and len(found)):
        return Agreement(mean_ap=0.0, videos=0.0, keyframes=0.0, overlap=0.0)
    return Agreement(
        mean_ap=_mean_ap(pair, 0),
        videos=_shared(truth.video, found.video),
        keyframes=_met(pair),
        overlap=_overlap(pair),
    )


def explain(truth: AvaTable, found: AvaTable, *, label_space: LabelSpace | None = None) -> tuple[Complaint, ...]:
    """Return what is wrong between ground truth and detections; nothing if they fit.

    Args:
        truth: Ground truth, read with ``boxes="any"``.
        found: Detections, read with ``boxes="any"``.
        label_space: The evaluated classes, if known.
    """
    pair = _Pair(truth, found)
    empty = [f"The {NAMES[number]} {HAVE[number]} no boxes." for number in (0, 1) if len(pair[number]) == 0]
    if empty:
        return tuple(Complaint(trap="empty", text=text) for text in empty)
    complaints: list[Complaint] = []
    for stage in (_videos, _times, _pixels, _shift, _box_format):
        pair = stage(pair, complaints)
    _labels(pair, label_space, complaints)
    _scores(found, complaints)
    return tuple(complaints)


def _videos(pair: _Pair, complaints: list[Complaint]) -> _Pair:
    """Compare the names of the videos."""
    if _shared(pair.truth.video, pair.found.video) >= MET:
        return pair
    undoings: Mapping[str, Callable[[str], str]] = {
        "a file ending in one file and not in the other": lambda v: str(PurePosixPath(v).with_suffix("")),
        "a folder before the name in one file and not in the other": lambda v: PurePosixPath(v).name,
        "a folder and a file ending in one file and not in the other": lambda v: PurePosixPath(v).stem,
        "capital letters in one file and small ones in the other": str.lower,
    }
    example = f"({str(pair.truth.video[0])!r} in the ground truth, {str(pair.found.video[0])!r} in the detections)"
    for what, undo in undoings.items():
        names = [np.array([undo(str(v)) for v in table.video], dtype=object) for table in (pair.truth, pair.found)]
        if _shared(*names) >= MET:
            text = f"The video ids differ by {what} {example}: write them alike."
            complaints.append(Complaint(trap="videos", text=text))
            return _Pair(replace(pair.truth, video=names[0]), replace(pair.found, video=names[1]))
    share = _shared(pair.truth.video, pair.found.video)
    text = f"The keys never meet: {share:.0%} of the video ids are in both files {example}. Do both belong to one set?"
    complaints.append(Complaint(trap="videos", text=text))
    return pair


@dataclass(frozen=True, slots=True)
class _TimeUndoing:
    text: str
    number: int
    """Which file's times it changes."""
    seconds: np.ndarray
    slack: float


def _times(pair: _Pair, complaints: list[Complaint]) -> _Pair:
    """Compare the keyframes' times within the videos that both files have."""
    met = _met(pair)
    if met >= MET or _shared(pair.truth.video, pair.found.video) < MET:
        return pair
    undoings = _time_undoings(pair)
    shares = [_met(pair.timed(u.number, u.seconds), u.slack) for u in undoings]
    best = int(np.argmax(shares))
    if shares[best] >= MET:
        undoing = undoings[best]
        complaints.append(Complaint(trap="times", text=undoing.text))
        return pair.timed(undoing.number, _nearest_times(pair.timed(undoing.number, undoing.seconds), undoing.number))
    spans = [f"{pair[n].pts_seconds.min():g} to {pair[n].pts_seconds.max():g} in the {NAMES[n]}" for n in (0, 1)]
    text = f"The keys never meet: {met:.0%} of the keyframes are in both files; times are {' and '.join(spans)}."
    complaints.append(Complaint(trap="times", text=text))
    return pair


def _time_undoings(pair: _Pair) -> list[_TimeUndoing]:
    units = {f"frames of {fps:g} frames a second": (fps, 0.5 / fps) for fps in FRAME_RATES}
    units |= {"milliseconds": (1e3, 1e-3), "microseconds": (1e6, 1e-3)}
    made = [
        _TimeUndoing(
            f"The times of the {NAMES[number]} are {unit}; AVA's are seconds: divide them by {divisor:g}.",
            number,
            pair[number].pts_seconds / divisor,
            slack,
        )
        for number in (1, 0)
        for unit, (divisor, slack) in units.items()
    ]
    made += [  # as PySlowFast numbers them
        _TimeUndoing(
            f"The times of the {NAMES[number]} are frames of {fps:g} frames a second counted from {CUT_STARTS_AT:g} s; "
            f"AVA's are seconds of the whole film: divide them by {fps:g} and add {CUT_STARTS_AT:g}.",
            number,
            pair[number].pts_seconds / fps + CUT_STARTS_AT,
            0.5 / fps,
        )
        for number in (1, 0)
        for fps in FRAME_RATES
    ]
    shift = _commonest_difference(pair)
    side = "later" if shift > 0 else "earlier"
    text = (
        f"The times of the detections are {abs(shift):g} s {side} than those of the ground truth: do both count from "
        "the same start? (AVA's films are often cut at 900 s.)"
    )
    made.append(_TimeUndoing(text, 1, pair.found.pts_seconds - shift, KEY_SLACK))
    text = "The times nearly meet, by 0.1 s: write each keyframe's time in the detections as the ground truth has it."
    made.append(_TimeUndoing(text, 1, pair.found.pts_seconds, 0.1))
    return made


def _pixels(pair: _Pair, complaints: list[Complaint]) -> _Pair:
    """Look for boxes that are not in 0..1."""
    for number, name in enumerate(NAMES):
        boxes = pair[number].boxes_norm
        if np.median(boxes.max(axis=1)) > 2:
            text = (
                f"The boxes of the {name} are in pixels (the largest number is {boxes.max():g}); AVA's are 0..1 of the "
                "frame: divide x by its width and y by its height."
            )
            complaints.append(Complaint(trap="pixels", text=text))
            # The frame's size is not known here; boxes of people usually reach its edges somewhere.
            size = np.tile([boxes[:, [0, 2]].max(), boxes[:, [1, 3]].max()], 2)
            pair = pair.boxed(number, boxes / size)
    return pair


def _shift(pair: _Pair, complaints: list[Complaint]) -> _Pair:
    """Look for detections whose times are off by a few keyframes, so that most keys meet all the same."""
    if _met(pair) == 0:
        return pair
    gaps = np.concatenate([np.diff(times) for times in _times_of(pair.truth).values()])
    step = float(np.median(gaps)) if len(gaps) else 1.0
    shifts = sorted({round(sign * by, 6) for by in (step, 2 * step, 1.0) for sign in (1, -1)})
    moved = {shift: pair.timed(1, pair.found.pts_seconds - shift) for shift in shifts}
    overlaps = {shift: _overlap(one) for shift, one in moved.items() if _met(one) >= MET}
    best = max(overlaps, key=lambda shift: overlaps[shift], default=0.0)
    before = _overlap(pair)
    if best and overlaps[best] > before + BETTER_SHIFTED:
        side = "later" if best > 0 else "earlier"
        text = (
            f"The times of the detections are {abs(best):g} s {side} than those of the ground truth: moved by it, "
            f"annotated boxes overlap the best detected one by {overlaps[best]:.2f} (IoU, mean), now by {before:.2f}."
        )
        complaints.append(Complaint(trap="times", text=text))
        return moved[best]
    return pair


def _box_format(pair: _Pair, complaints: list[Complaint]) -> _Pair:
    """Compare the boxes at keyframes that both files have."""
    if _met(pair) == 0:
        return pair
    before = _overlap(pair)
    best, found, text = before + BETTER, pair, ""
    for number in (1, 0):
        for name in BOX_FORMATS if number == 1 else tuple(BOX_FORMATS)[:2]:
            undone = pair.boxed(number, BOX_FORMATS[name](pair[number].boxes_norm))
            if (overlap := _overlap(undone)) > best:
                best, found = overlap, undone
                text = f"The boxes of the {NAMES[number]} are {name}; AVA's are x1, y1, x2, y2."
    if text:
        complaints.append(Complaint(trap="box_format", text=text))
    elif before < OVERLAP and not any(c.trap == "pixels" for c in complaints):  # whose frame size is a guess here
        text = (
            f"At the same keyframes the boxes lie elsewhere: an annotated box overlaps the best detected one by "
            f"{before:.2f} (IoU, mean), 0.5 is needed. Were both made from the same videos, at the same aspect?"
        )
        complaints.append(Complaint(trap="overlap", text=text))
    return found


def _labels(pair: _Pair, label_space: LabelSpace | None, complaints: list[Complaint]) -> None:
    """Compare the classes of boxes that fit."""
    outside = False
    for number, name in enumerate(NAMES):
        ids = set(pair[number].label_ids.tolist()) - {-1}
        if label_space is not None and (unknown := sorted(ids - set(label_space.published_ids))):
            shown = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
            low, high = min(label_space.published_ids), max(label_space.published_ids)
            what = f"action ids that are not in the list {label_space.name} ({low} to {high}): {shown}."
            text = f"The {name} {HAVE[number]} {what}"
            complaints.append(Complaint(trap="labels", text=text))
            outside = True
    kept = _common_keyframes(pair)
    scores = {shift: _mean_ap(kept, shift) for shift in (0, 1, -1)}
    shift = max(scores, key=lambda s: scores[s])
    if shift and scores[shift] > 2 * scores[0] + 0.02:
        side = "low" if shift == 1 else "high"
        text = (
            f"The action ids of the detections are one too {side} for the ground truth: moved by {shift:+d}, frame mAP "
            f"is {scores[shift]:.3f}, as they are {scores[0]:.3f}. AVA's ids start at 1, a model's columns at 0."
        )
        complaints.append(Complaint(trap="ids", text=text))
    elif not outside and not set(pair.truth.label_ids.tolist()) & set(pair.found.label_ids.tolist()):
        complaints.append(Complaint(trap="ids", text="No action id is in both files: do they use the same list?"))


def _scores(found: AvaTable, complaints: list[Complaint]) -> None:
    if found.scores is not None and len(found) > 1 and np.ptp(found.scores) == 0:
        text = f"Every detection has the score {found.scores[0]:g}: the eighth column should hold the model's scores."
        complaints.append(Complaint(trap="scores", text=text))


def _mean_ap(pair: _Pair, shift: int) -> float:
    found = replace(pair.found, label_ids=np.where(pair.found.label_ids < 0, -1, pair.found.label_ids + shift))
    ids = sorted(set(pair.truth.label_ids.tolist()) - {-1})
    inside = np.isin(found.label_ids, ids)
    if not ids or not inside.any():
        return 0.0
    space = LabelSpace(name="both files", names=tuple(map(str, ids)), ids=tuple(ids))
    return frame_map(pair.truth, _rows(found, inside), space).mean_ap


def _shared(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return how much of the smaller of two sets is in the other."""
    first, second = set(ours.tolist()), set(theirs.tolist())
    return len(first & second) / max(1, min(len(first), len(second)))


def _times_of(table: AvaTable) -> dict[str, np.ndarray]:
    """Return the sorted distinct times of each video's keyframes; keyframes without a box are keyframes."""
    order = np.argsort(table.video.astype(str), kind="stable")
    videos, first = np.unique(table.video.astype(str)[order], return_index=True)
    times = np.split(table.pts_seconds[order], first[1:])
    gathered = {str(v): [*t.tolist()] for v, t in zip(videos, times, strict=True)}
    for video, ticks in table.keyframes:
        gathered.setdefault(video, []).append(ticks / 1e6)
    return {video: np.unique(np.round(values, 6)) for video, values in gathered.items()}


def _met(pair: _Pair, slack: float = KEY_SLACK) -> float:
    """Return the share of keyframes, of the file that has fewer, that are in both."""
    truth, found = _times_of(pair.truth), _times_of(pair.found)
    both = sum(int((np.abs(truth[v][nearest(truth[v], t)] - t) <= slack).sum()) for v, t in found.items() if v in truth)
    sizes = [sum(map(len, times.values())) for times in (truth, found)]
    return min(1.0, both / max(1, min(sizes)))


def _nearest_times(pair: _Pair, number: int) -> np.ndarray:
    """Return the times of one file moved to the nearest keyframe of the other."""
    other = _times_of(pair[1 - number])
    table = pair[number]
    seconds = table.pts_seconds.copy()
    for video in set(table.video.tolist()) & set(other):
        rows = table.video == video
        seconds[rows] = other[video][nearest(other[video], seconds[rows])]
    return seconds


def _commonest_difference(pair: _Pair) -> float:
    """Return the commonest difference between a detection's time and a ground-truth time of the same video, seconds."""
    truth, found = _times_of(pair.truth), _times_of(pair.found)
    differences: Counter[float] = Counter()
    for video in sorted(set(truth) & set(found))[:50]:
        pairs = found[video][:50, None] - truth[video][None, :100]
        differences.update(np.round(pairs, 3).ravel().tolist())
    return differences.most_common(1)[0][0] if differences else 0.0


def _keys(table: AvaTable) -> list[tuple[str, int]]:
    return list(zip(table.video.tolist(), microseconds(table.pts_seconds).tolist(), strict=True))


def _common_keyframes(pair: _Pair) -> _Pair:
    """Return the rows of keyframes with boxes in both files, ``MAX_KEYFRAMES`` at most."""
    keys = [_keys(table) for table in (pair.truth, pair.found)]
    common = set(sorted(set(keys[0]) & set(keys[1]))[:MAX_KEYFRAMES])
    rows = [np.fromiter((key in common for key in k), dtype=bool, count=len(k)) for k in keys]
    return _Pair(_rows(pair.truth, rows[0]), _rows(pair.found, rows[1]))


def _overlap(pair: _Pair) -> float:
    """Return the mean over annotated boxes of the best IoU with a detected box of the same keyframe."""
    common = _common_keyframes(pair)
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
