"""From decoded frames to RGB of the wanted size in one step of swscale, which mixes luma and chroma last.

Frames that change size are scaled as luma and chroma by an antialiased bilinear filter, and the colour matrix is
applied to what comes out: within half of 255 of floating point on flat colours, 0.3 on average on real frames. Frames
that keep their size go swscale's faster way, as in every other reader; it rounds down, 1.3 of 255 darker on average.
``tests/video/test_convert.py`` holds both.
"""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from torch import Tensor
from torch.nn.functional import interpolate

from tubelet.types import VideoError


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of the scaled frame that is kept."""

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    y: float = 0.5
    """Place in 0..1: 0 = top, 0.5 = centre, 1 = bottom."""
    x: float = 0.5
    """Place in 0..1: 0 = left, 1 = right."""

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or not (0 <= self.y <= 1 and 0 <= self.x <= 1):
            raise ValueError(f"a crop has at least 1 pixel a side and its place in 0..1, got {self}")

    def place(self, height: int, width: int) -> tuple[int, int]:
        """Return (top, left) in a frame of ``height`` x ``width`` pixels.

        Raises:
            ValueError: The frame is smaller than the crop.
        """
        if self.height > height or self.width > width:
            raise ValueError(f"a crop of {self.height}x{self.width} does not fit a frame of {height}x{width} pixels")
        top, left = ((have - want) * o + 0.5 for have, want, o in self._sides(height, width))
        return math.floor(top), math.floor(left)

    def _sides(self, height: int, width: int) -> tuple[tuple[int, int, float], tuple[int, int, float]]:
        return (height, self.height, self.y), (width, self.width, self.x)


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameSize:
    """Which size frames come out in; at most one of the first three. All are counted after rotation."""

    long_side: int | None = None
    """Longer side in pixels; the aspect is kept."""
    short_side: int | None = None
    """Shorter side in pixels; the aspect is kept."""
    exact_hw: tuple[int, int] | None = None
    """Height and width in pixels; the aspect is not kept."""
    shrink_only: bool = False
    """Leave alone frames that are smaller than the wanted side."""
    crop: Crop | None = None
    """Kept of the scaled frame."""

    def __post_init__(self) -> None:
        given = [v for v in (self.long_side, self.short_side, self.exact_hw) if v is not None]
        if len(given) > 1:
            raise ValueError("give one of long_side, short_side and exact_hw")
        if any(side < 1 for v in given for side in (v if isinstance(v, tuple) else (v,))):
            raise ValueError(f"sides of frames must be at least 1 pixel, got {given[0]}")

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Return (width, height) before the crop."""
        if self.exact_hw is not None:
            return self.exact_hw[1], self.exact_hw[0]
        if self.long_side is not None:
            return _scaled(width, height, max(width, height), self.long_side, self.shrink_only)
        if self.short_side is not None:
            return _scaled(width, height, min(width, height), self.short_side, self.shrink_only)
        return width, height


OWN_SIZE = FrameSize()
"""The size a video's frames have."""


def _scaled(width: int, height: int, side: int, wanted: int, shrink_only: bool) -> tuple[int, int]:
    if shrink_only and side < wanted:
        return width, height
    # Whole numbers only: the cache and the reader must agree to the pixel. Halves round up.
    new_width, new_height = (max(1, (2 * s * wanted + side) // (2 * side)) for s in (width, height))
    return new_width, new_height


class FrameBatch:
    """Collect decoded frames as RGB of one size; frames of another size later in a stream are scaled to the first's.

    Args:
        path: Named in errors.
        size: Wanted size.
        count: Frames that will be added at most.
    """

    def __init__(self, path: str, size: FrameSize, count: int) -> None:
        self._path, self._size, self._count = path, size, count
        self._reformatter = VideoReformatter()  # keeps one swscale context
        self._scaled: tuple[int, int] | None = None  # (width, height), after rotation
        self._planar = False
        self._added = 0

    def add(self, frame: VideoFrame, seconds: float | None) -> int:
        """Convert a frame and return its place.

        Raises:
            VideoError: The decoder marked the frame as damaged.
        """
        if frame.is_corrupt:
            raise VideoError(self._path, "the frame is damaged", seconds)
        turns = round(frame.rotation / 90) % 4
        if self._scaled is None:
            sides = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
            self._scaled = self._size.scaled(*sides)
            self._planar = self._scaled != sides
            self._allocate(*self._scaled)
        width, height = self._scaled[::-1] if turns % 2 else self._scaled
        place, self._added = self._added, self._added + 1
        if (width, height) != (frame.width, frame.height):
            # Planes of green, blue and red: swscale's vector code for a scaled frame writes no other RGB.
            picture = self._reformatter.reformat(frame, width=width, height=height, format="gbrp", threads=1)
            for channel, plane in zip((1, 2, 0), picture.planes, strict=True):
                self._frames[place, :, :, channel] = self._kept(_pixels(plane, 1), turns)
        else:
            picture = self._reformatter.reformat(frame, format="rgb24", threads=1)
            self._frames[place] = self._kept(_pixels(picture.planes[0], 3), turns)
        return place

    def again(self) -> "FrameBatch":
        """Return an empty batch of the same size, so that later frames take the size of the first."""
        other = FrameBatch(self._path, self._size, self._count)
        other._reformatter, other._scaled, other._planar = self._reformatter, self._scaled, self._planar
        if self._scaled is not None:
            other._allocate(*self._scaled)
        return other

    def rewind(self, num_added: int) -> None:
        """Forget the frames added after the first ``num_added``."""
        self._added = num_added

    def __len__(self) -> int:
        return self._added

    def finish(self) -> np.ndarray:
        """Return the frames added, uint8 (N, H, W, 3), channels last in memory or as planes."""
        return self._frames[: self._added]

    def _allocate(self, width: int, height: int) -> None:
        rows, columns, self._top, self._left = height, width, 0, 0
        crop = self._size.crop
        if crop is not None:
            self._top, self._left = crop.place(rows, columns)
            rows, columns = crop.height, crop.width
        self._hw = rows, columns
        # (N, H, W, 3) for all, but planes stay planes in memory: interleaving them costs time, and batches are planes.
        shape = (self._count, 3, rows, columns) if self._planar else (self._count, rows, columns, 3)
        memory = np.empty(shape, dtype=np.uint8)
        self._frames = memory.transpose(0, 2, 3, 1) if self._planar else memory

    def _kept(self, pixels: np.ndarray, turns: int) -> np.ndarray:
        turned = np.rot90(pixels, turns) if turns else pixels
        return turned[self._top : self._top + self._hw[0], self._left : self._left + self._hw[1]]


def _pixels(plane: VideoPlane, channels: int) -> np.ndarray:
    """Return a view of a plane as (H, W), or (H, W, channels) where those are several; rows are padded in memory."""
    rows = np.frombuffer(cast(memoryview, plane), np.uint8).reshape(-1, plane.line_size)[: plane.height]
    return (
        rows[:, : plane.width]
        if channels == 1
        else rows[:, : channels * plane.width].reshape(-1, plane.width, channels)
    )


def resize_rgb(frames: Tensor, height: int, width: int) -> Tensor:
    """Return frames (N, 3, H, W) in another size, antialiased; as they are where they have it."""
    if frames.shape[-2:] == (height, width):
        return frames
    return interpolate(frames, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
