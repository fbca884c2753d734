"""From decoded frames to RGB of the wanted size: planes are scaled and cropped first, the colour matrix comes last.

A frame that changes size stays in luma and chroma until it is small: half the samples are scaled, and the matrix is
applied to the pixels that are kept. A frame that keeps its size goes through swscale, as in every other reader.

The two ways agree up to rounding: swscale truncates where it multiplies by the matrix, and so does this file. Against
scaling the RGB picture by an antialiased bilinear filter the difference is about 1 of 255 on average and up to 8
at edges of saturated colour (``tests/video/test_convert.py``).
"""

import math
from dataclasses import dataclass
from typing import TypedDict, cast

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from torch import Tensor
from torch.nn.functional import interpolate

from tubelet.types import VideoError

CHUNK = 16
"""Frames whose colours are computed together: enough to hide the cost of a call, few enough for the cache."""

PLANAR = frozenset({"yuv420p", "yuv422p", "yuv444p"})
# FFmpeg's AVColorSpace to (kr, kb); what is not tagged is BT.601, as in swscale.
_LUMA = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
_BT601 = (0.299, 0.114)
_FULL_RANGE = 2


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


class Sides(TypedDict):
    """``FrameSize`` without its crop, as arguments of the readers."""

    long_side: int | None
    short_side: int | None
    exact_hw: tuple[int, int] | None
    shrink_only: bool


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

    @property
    def sides(self) -> Sides:
        """The arguments of a reader that give this size."""
        return Sides(
            long_side=self.long_side,
            short_side=self.short_side,
            exact_hw=self.exact_hw,
            shrink_only=self.shrink_only,
        )

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Return (width, height) before the crop."""
        if self.exact_hw is not None:
            return self.exact_hw[1], self.exact_hw[0]
        if self.long_side is not None:
            return _scaled(width, height, max(width, height), self.long_side, self.shrink_only)
        if self.short_side is not None:
            return _scaled(width, height, min(width, height), self.short_side, self.shrink_only)
        return width, height


def _scaled(width: int, height: int, side: int, wanted: int, shrink_only: bool) -> tuple[int, int]:
    if shrink_only and side < wanted:
        return width, height
    # Whole numbers only: the cache and the reader must agree to the pixel. Halves round up.
    new_width, new_height = (max(1, (2 * s * wanted + side) // (2 * side)) for s in (width, height))
    return new_width, new_height


@dataclass(frozen=True, slots=True)
class Matrix:
    """How luma and chroma become RGB."""

    kr: float
    """Share of red in luma."""
    kb: float
    """Share of blue in luma."""
    full_range: bool
    """Luma in 0..255 instead of 16..235."""


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
        self._matrices: list[Matrix | None] = []  # of the frames that are still luma and chroma

    def add(self, frame: VideoFrame, seconds: float | None) -> int:
        """Convert a frame and return its place.

        Raises:
            VideoError: The decoder marked the frame as damaged.
        """
        if frame.is_corrupt:
            raise VideoError(self._path, "the frame is damaged", seconds)
        turns = round(frame.rotation / 90) % 4
        planar = frame.format.name in PLANAR
        if self._scaled is None:
            sides = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
            self._scaled = self._size.scaled(*sides)
            self._planar = planar and self._scaled != sides
            self._allocate(*self._scaled)
        width, height = self._scaled[::-1] if turns % 2 else self._scaled
        place = len(self._matrices)
        if planar and (width, height) != (frame.width, frame.height):
            picture = self._reformatter.reformat(frame, width=width, height=height, format="yuv444p", threads=1)
            for channel, plane in enumerate(picture.planes):
                pixels = np.frombuffer(cast(memoryview, plane), np.uint8).reshape(-1, plane.line_size)[:height, :width]
                self._frames[place, :, :, channel] = self._kept(pixels, turns)
            luma = _LUMA.get(int(frame.colorspace), _BT601)
            self._matrices.append(Matrix(*luma, full_range=frame.color_range == _FULL_RANGE))
        else:
            picture = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
            self._frames[place] = self._kept(picture.to_ndarray(), turns)
            self._matrices.append(None)
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
        del self._matrices[num_added:]

    def __len__(self) -> int:
        return len(self._matrices)

    def finish(self) -> np.ndarray:
        """Return the frames added, uint8 (N, H, W, 3), channels last in memory or as planes. Call it once."""
        # All colours at the end: between decoder calls the same arithmetic takes twice as long, out of cold caches.
        frames = torch.from_numpy(self._frames)
        scratch = torch.empty((4, min(CHUNK, self._count), *frames.shape[1:3]), dtype=torch.int16)
        first = 0
        while first < len(self._matrices):
            last = first + 1
            matrix = self._matrices[first]
            while last < min(first + CHUNK, len(self._matrices)) and self._matrices[last] == matrix:
                last += 1
            if matrix is not None:
                yuv_to_rgb(frames[first:last], matrix, scratch[:, : last - first])
            first = last
        return self._frames[: len(self)] if len(self) < self._count else self._frames

    def _allocate(self, width: int, height: int) -> None:
        rows, columns, self._top, self._left = height, width, 0, 0
        crop = self._size.crop
        if crop is not None:
            self._top, self._left = crop.place(rows, columns)
            rows, columns = crop.height, crop.width
        self._hw = rows, columns
        # (N, H, W, 3) for all, but planes stay planes in memory: interleaving them costs more than computing them.
        shape = (self._count, 3, rows, columns) if self._planar else (self._count, rows, columns, 3)
        memory = np.empty(shape, dtype=np.uint8)
        self._frames = memory.transpose(0, 2, 3, 1) if self._planar else memory

    def _kept(self, pixels: np.ndarray, turns: int) -> np.ndarray:
        turned = np.rot90(pixels, turns) if turns else pixels
        return turned[self._top : self._top + self._hw[0], self._left : self._left + self._hw[1]]


def yuv_to_rgb(frames: Tensor, matrix: Matrix, scratch: Tensor) -> None:
    """Turn luma and chroma into RGB in place, in 16-bit integers; truncated, as swscale's.

    The result is within 1 of 255 of the exact one, within 2 in full range.

    Sums are kept around zero, 1/64 of a level apart: luma reaches +-9,500 and chroma +-18,000, so nothing overflows.

    Args:
        frames: uint8 (N, H, W, 3).
        matrix: What the stream is tagged with.
        scratch: int16 (4, N, H, W), overwritten; fresh memory for each call would cost more than the arithmetic.
    """
    kr, kb = matrix.kr, matrix.kb
    gain, chroma, black = (1.0, 1.0, 0) if matrix.full_range else (255 / 219, 255 / 224, 16)
    red, blue = 2 * (1 - kr) * chroma, 2 * (1 - kb) * chroma
    green = 1 - kr - kb
    from_u, from_v = -2 * kb * (1 - kb) / green * chroma, -2 * kr * (1 - kr) / green * chroma
    y, u, v, level = scratch
    y.copy_(frames[..., 0]).sub_(128).mul_(round(128 * gain)).bitwise_right_shift_(1)
    y.add_(round(64 * (gain * (128 - black) - 128)))
    u.copy_(frames[..., 1]).sub_(128)
    v.copy_(frames[..., 2]).sub_(128)
    _write(torch.add(y, v, alpha=round(64 * red), out=level), frames[..., 0])
    _write(torch.add(y, u, alpha=round(64 * blue), out=level), frames[..., 2])
    _write(y.add_(u, alpha=round(64 * from_u)).add_(v, alpha=round(64 * from_v)), frames[..., 1])


def _write(centred: Tensor, out: Tensor) -> None:
    out.copy_(centred.bitwise_right_shift_(6).clamp_(-128, 127).add_(128))


def resize_rgb(frames: Tensor, height: int, width: int) -> Tensor:
    """Return frames (N, 3, H, W) in another size, antialiased; as they are where they have it."""
    if frames.shape[-2:] == (height, width):
        return frames
    return interpolate(frames, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
