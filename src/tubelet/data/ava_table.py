"""Boxes with actions as AVA's files and its evaluation see them: one row for each box and action."""

from dataclasses import dataclass, field

import numpy as np

Keyframe = tuple[str, int]
"""(video, microseconds), as the official evaluation keys AVA-Kinetics."""
CUT_STARTS_AT = 900.0
"""Time of AVA's films at which the usual copies begin, in seconds."""


@dataclass(frozen=True, kw_only=True)
class AvaTable:
    """Rows of an AVA csv in the order of the file; one row for each (box, action)."""

    video: np.ndarray
    """(R,) of str."""
    pts_seconds: np.ndarray
    """float64 (R,)."""
    boxes_norm: np.ndarray
    """float64 (R, 4) xyxy in 0..1."""
    label_ids: np.ndarray
    """int32 (R,), published ids; -1 = none (predicted boxes)."""
    scores: np.ndarray | None = None
    """float64 (R,) for detections."""
    person_ids: np.ndarray | None = None
    """int64 (R,) for ground truth; -1 = not known."""
    keyframes: frozenset[Keyframe] = field(default_factory=frozenset)
    """Keyframes of two-column rows."""

    def __len__(self) -> int:
        return len(self.label_ids)


def keyframe_of(video: str, pts_seconds: float) -> Keyframe:
    """Return the key of an instant, to the microsecond."""
    return video, round(pts_seconds * 1_000_000)


def microseconds(pts_seconds: np.ndarray) -> np.ndarray:
    """Return times as ``keyframe_of`` does, int64."""
    ticks: np.ndarray = np.rint(pts_seconds * 1_000_000).astype(np.int64)
    return ticks


def instant_numbers(video: np.ndarray, ticks: np.ndarray) -> np.ndarray:
    """Return a number for each instant (microseconds below 12 days) of a numbered video, in order of video and time."""
    numbers: np.ndarray = video.astype(np.int64) * (1 << 40) + ticks
    return numbers
