"""Why a score is 0: what people get wrong in AVA-format files, found by undoing it and looking whether the files meet.

Three things must agree between ground truth and detections, in this order: the keyframes (video and time), the boxes at
them, the classes of these boxes. Each mistake has an undoing; the one that makes the files meet is what happened.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import PurePosixPath

import numpy as np

from tubelet.data.ava_table import CUT_STARTS_AT, AvaTable
from tubelet.evals.file_pair import (
    KEY_SLACK,
    FilePair,
    common_keyframes,
    commonest_difference,
    keyframes_met,
    mean_ap,
    mean_gap,
    mean_overlap,
    nearest_times,
    shared_part,
    shifted,
    times_of,
)
from tubelet.labels import LabelSpace

MET = 0.5
"""Share of keyframes (of the file that has fewer) that must be in both files; files that agree have nearly all."""
OVERLAP = 0.3
"""Mean over annotated boxes of the best IoU with a detected one: detectors reach 0.8, boxes in a wrong format 0.1."""
BETTER = 0.15
"""Gain of that mean from which another box format is what happened."""
BETTER_SHIFTED = 0.04
"""The same for another time: people hardly move in a second, but where files fit, every other second is worse."""
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
SIZED_FORMATS = tuple(BOX_FORMATS)[:2]
"""Those with a width and a height."""
OUTSIDE = -0.02
"""Boxes that begin farther before the frame's edge, in parts of its size, are not what they were taken for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """One thing that is wrong."""

    trap: str
    """``videos``, ``times``, ``pixels``, ``box_format``, ``overlap``, ``ids``, ``labels``, ``scores`` or ``empty``."""
    text: str


def explain(truth: AvaTable, found: AvaTable, *, label_space: LabelSpace | None = None) -> tuple[Complaint, ...]:
    """Return what is wrong between ground truth and detections; nothing if they fit.

    Args:
        truth: Ground truth, read with ``boxes="any"``.
        found: Detections, read with ``boxes="any"``.
        label_space: The evaluated classes, if known.
    """
    pair = FilePair(truth, found)
    empty = [f"The {NAMES[number]} {HAVE[number]} no boxes." for number in (0, 1) if len(pair[number]) == 0]
    if empty:
        return tuple(Complaint(trap="empty", text=text) for text in empty)
    complaints: list[Complaint] = []
    for stage in (_videos, _times, _pixels, _shift, _box_format):
        pair = stage(pair, complaints)
    _labels(pair, label_space, complaints)
    _scores(found, complaints)
    return tuple(complaints)


def _videos(pair: FilePair, complaints: list[Complaint]) -> FilePair:
    """Compare the names of the videos."""
    if shared_part(pair.truth.video, pair.found.video) >= MET:
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
        if shared_part(*names) >= MET:
            text = f"The video ids differ by {what} {example}: write them alike."
            complaints.append(Complaint(trap="videos", text=text))
            return FilePair(replace(pair.truth, video=names[0]), replace(pair.found, video=names[1]))
    share = shared_part(pair.truth.video, pair.found.video)
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


def _times(pair: FilePair, complaints: list[Complaint]) -> FilePair:
    """Compare the keyframes' times within the videos that both files have."""
    met = keyframes_met(pair)
    if met >= MET or shared_part(pair.truth.video, pair.found.video) < MET:
        return pair
    undoings = _time_undoings(pair)
    shares = [keyframes_met(pair.timed(u.number, u.seconds), u.slack) for u in undoings]
    best = max(shares)
    if best >= MET:
        # In a short video several rates bring every keyframe within half a frame; the true one brings it there exactly.
        equal = [undoing for undoing, share in zip(undoings, shares, strict=True) if share == best]
        undoing = min(equal, key=lambda u: round(mean_gap(pair.timed(u.number, u.seconds), u.slack), 6))
        complaints.append(Complaint(trap="times", text=undoing.text))
        return pair.timed(undoing.number, nearest_times(pair.timed(undoing.number, undoing.seconds), undoing.number))
    spans = [f"{pair[n].pts_seconds.min():g} to {pair[n].pts_seconds.max():g} in the {NAMES[n]}" for n in (0, 1)]
    text = f"The keys never meet: {met:.0%} of the keyframes are in both files; times are {' and '.join(spans)}."
    complaints.append(Complaint(trap="times", text=text))
    return pair


def _time_undoings(pair: FilePair) -> list[_TimeUndoing]:
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
    shift = commonest_difference(pair)
    side = "later" if shift > 0 else "earlier"
    text = (
        f"The times of the detections are {abs(shift):g} s {side} than those of the ground truth: do both count from "
        "the same start? (AVA's films are often cut at 900 s.)"
    )
    made.append(_TimeUndoing(text, 1, pair.found.pts_seconds - shift, KEY_SLACK))
    text = "The times nearly meet, by 0.1 s: write each keyframe's time in the detections as the ground truth has it."
    made.append(_TimeUndoing(text, 1, pair.found.pts_seconds, 0.1))
    return made


def _pixels(pair: FilePair, complaints: list[Complaint]) -> FilePair:
    """Look for boxes that are not in 0..1, and whether these are corners at all."""
    numbers = [number for number in (0, 1) if np.median(pair[number].boxes_norm.max(axis=1)) > 2]
    if not numbers:
        return pair
    tried = {formats: _undone(pair, numbers, formats) for formats in product(("", *SIZED_FORMATS), repeat=len(numbers))}
    overlaps = {formats: mean_overlap(one) for formats, one in tried.items()}
    best = max(overlaps, key=lambda formats: overlaps[formats])
    plain = ("",) * len(numbers)
    corners, centres = ((name,) * 2 for name in SIZED_FORMATS)
    if overlaps[best] <= overlaps[plain] + BETTER:
        best = plain
    elif best in (corners, centres):  # where both files have widths and heights, they meet as either
        best = centres if _inside(tried[centres]) else corners
    for number, name in zip(numbers, best, strict=True):
        text = (
            f"The boxes of the {NAMES[number]} are in pixels (the largest number is "
            f"{pair[number].boxes_norm.max():g}); AVA's are 0..1 of the frame: divide x by its width and y by its "
            "height."
        )
        complaints.append(Complaint(trap="pixels", text=text))
        if name:
            complaints.append(_format_complaint(number, name))
    return tried[best]


def _undone(pair: FilePair, numbers: Sequence[int], formats: Sequence[str]) -> FilePair:
    """Return the pair with pixels of these formats as corners in 0..1 of a frame that they fill.

    The frame's size is not known here; boxes of people usually reach its edges somewhere.
    """
    for number, name in zip(numbers, formats, strict=True):
        boxes = pair[number].boxes_norm
        corners = BOX_FORMATS[name](boxes) if name else boxes
        size = np.tile([corners[:, [0, 2]].max(), corners[:, [1, 3]].max()], 2)
        pair = pair.boxed(number, corners / size)
    return pair


def _inside(pair: FilePair) -> bool:
    return all(np.quantile(table.boxes_norm, 0.01) > OUTSIDE for table in (pair.truth, pair.found))


def _shift(pair: FilePair, complaints: list[Complaint]) -> FilePair:
    """Look for detections whose times are off by a few keyframes, so that most keys meet all the same."""
    if keyframes_met(pair) == 0:
        return pair
    gaps = np.concatenate([np.diff(times) for times in times_of(pair.truth).values()])
    step = float(np.median(gaps)) if len(gaps) else 1.0
    shifts = sorted({round(sign * by, 6) for by in (step, 2 * step, 1.0) for sign in (1, -1)})
    moved = {shift: pair.timed(1, pair.found.pts_seconds - shift) for shift in shifts}
    overlaps = {shift: mean_overlap(one) for shift, one in moved.items() if keyframes_met(one) >= MET}
    best = max(overlaps, key=lambda shift: overlaps[shift], default=0.0)
    before = mean_overlap(pair)
    if best and overlaps[best] > before + BETTER_SHIFTED:
        side = "later" if best > 0 else "earlier"
        text = (
            f"The times of the detections are {abs(best):g} s {side} than those of the ground truth: moved by it, "
            f"annotated boxes overlap the best detected one by {overlaps[best]:.2f} (IoU, mean), now by {before:.2f}."
        )
        complaints.append(Complaint(trap="times", text=text))
        return moved[best]
    return pair


def _box_format(pair: FilePair, complaints: list[Complaint]) -> FilePair:
    """Compare the boxes at keyframes that both files have."""
    if keyframes_met(pair) == 0:
        return pair
    before = mean_overlap(pair)
    best, found = before + BETTER, pair
    said: Complaint | None = None
    for number in (1, 0):
        for name in BOX_FORMATS if number == 1 else SIZED_FORMATS:
            undone = pair.boxed(number, BOX_FORMATS[name](pair[number].boxes_norm))
            if (overlap := mean_overlap(undone)) > best:
                best, found = overlap, undone
                said = _format_complaint(number, name)
    if said is not None:
        complaints.append(said)
    elif before < OVERLAP and not any(c.trap == "pixels" for c in complaints):  # whose frame size is a guess here
        text = (
            f"At the same keyframes the boxes lie elsewhere: an annotated box overlaps the best detected one by "
            f"{before:.2f} (IoU, mean), 0.5 is needed. Were both made from the same videos, at the same aspect?"
        )
        complaints.append(Complaint(trap="overlap", text=text))
    return found


def _format_complaint(number: int, name: str) -> Complaint:
    text = f"The boxes of the {NAMES[number]} are {name}; AVA's are x1, y1, x2, y2."
    return Complaint(trap="box_format", text=text)


def _labels(pair: FilePair, label_space: LabelSpace | None, complaints: list[Complaint]) -> None:
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
    kept = common_keyframes(pair)
    scores = {shift: mean_ap(*shifted(kept, shift)) for shift in (0, 1, -1)}
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
