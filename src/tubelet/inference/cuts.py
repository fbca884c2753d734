"""Where one camera shot ends and the next begins, by a small rule on thumbnails.

A cut changes the picture and its colours at once, against a background of much smaller changes. So a frame starts a new
shot when its difference to the frame before is large *and* several times the usual difference of the last half second:
a pan, a shaking camera or a person filling the frame raise the usual difference too. Dissolves and fades are not found.
"""

from collections import deque

import numpy as np

# The thumbnail's short side in pixels: large enough for structure, small enough for 0.1 ms a frame.
THUMBNAIL_SIDE = 32
MIN_CHANGE = 0.12
"""Smallest change in [0, 1] that can be a cut. Hard cuts in street scenes measure 0.15 to 0.5, a hand-held camera or a
person crossing close up stays below 0.09."""
MIN_RATIO = 2.5
"""How many times the usual change a cut must be."""
HISTORY = 12
"""Number of frames that define the usual change."""
MIN_FRAMES = 4
"""Shortest shot. Without it the first frames of a fast pan, which have nothing to be compared with, would each be a
shot of their own."""


class CutFinder:
    """Tell for each frame of a video, in order, whether it is the first of a new shot."""

    def __init__(self) -> None:
        self._changes: deque[float] = deque(maxlen=HISTORY)
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, frame: np.ndarray) -> bool:
        """Take the next frame, uint8 (H, W, 3); return whether it starts a new shot (the first frame does not)."""
        now = _thumbnail(frame), _colours(frame)
        before, self._before = self._before, now
        if before is None or before[0].shape != now[0].shape:
            return before is not None
        change = frame_change(before, now)
        # A shot of n frames has n - 1 changes inside.
        judged = len(self._changes) >= MIN_FRAMES - 1
        if judged and change >= max(MIN_CHANGE, MIN_RATIO * float(np.median(self._changes))):
            self._changes.clear()
            return True
        self._changes.append(change)
        return False


def frame_change(before: tuple[np.ndarray, np.ndarray], now: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the mean of pixel change and colour change, each in [0, 1], of two (thumbnail, histogram) pairs."""
    pixels = float(np.abs(now[0] - before[0]).mean()) / 255
    colours = float(np.abs(now[1] - before[1]).sum()) / 2
    return (pixels + colours) / 2


def _small(frame: np.ndarray) -> np.ndarray:
    step = max(1, min(frame.shape[:2]) // THUMBNAIL_SIDE)
    return frame[::step, ::step]


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    return _small(frame).astype(np.int16)  # signed, so that differences do not wrap around


def _colours(frame: np.ndarray) -> np.ndarray:
    """Return the share (64,) of pixels in each of 4 x 4 x 4 colour cells."""
    cells = (_small(frame) >> 6).astype(np.int64)
    index = cells[..., 0] * 16 + cells[..., 1] * 4 + cells[..., 2]
    return np.bincount(index.ravel(), minlength=64) / index.size
