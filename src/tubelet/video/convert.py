"""From decoded frames to RGB of the wanted size and part, in one step.

Frames that change size are scaled as luma and chroma by an antialiased bilinear filter, each sample from where the
video says it was taken, and the colour matrix is applied to what comes out. ``rescale.py`` does it for the formats of
nearly all videos, and, where the frame need not be turned, only for the part that is kept; swscale for all others.
Frames that keep their size go swscale's faster way, as in every other reader; it rounds down, 1.3 of 255 darker on
average. ``tests/video/test_convert.py`` holds all three.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from torch import Tensor
from torch.nn.functional import interpolate

from tubelet.types import VideoError
from tubelet.video.rescale import Filter, colour_matrix, plane_filter, plane_rows, rescale, wide_rows
from tubelet.video.rescale_loops import BLOCK, F32

BYTE_PLANES = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"})
"""Formats that ``rescale.py`` reads: luma and two chroma planes, a byte a sample."""
KR_KB: Mapping[int, tuple[float, float]] = {
    1: (0.2126, 0.0722),
    2: (0.299, 0.114),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Share of red and blue in luma by the number of a colour space in ITU-T H.273: BT.709, unsaid, FCC, BT.601 twice,
SMPTE 240M and BT.2020. Others are no such matrix; swscale reads some of them and refuses the rest."""
FULL_RANGE = 2
PROBE_SIDE, PROBE_LEVEL = 16, 140
SAYS_LATER = frozenset({"h264", "hevc", "libdav1d", "av1"})
"""Decoders whose streams say where chroma lies, and may say it anew between frames if they have no header apart."""
MOST_SITINGS = 1000
_sitings: dict[tuple[str, bytes, str], tuple[float, float]] = {}
"""Where chroma lies in streams of a decoder, a header and a pixel format: looking costs 0.1 to 0.25 ms."""


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
        coded: The stream's decoder and header, by which what is known of one stream is known of the next.
    """

    def __init__(self, path: str, size: FrameSize, count: int, *, coded: tuple[str, bytes] | None = None) -> None:
        self._path, self._size, self._count, self._coded = path, size, count, coded
        self._is_said_once = _is_said_once(coded)
        self._reformatter = VideoReformatter()  # keeps one swscale context
        self._scaled: tuple[int, int] | None = None  # (width, height), after rotation
        self._planar = False
        self._ready: dict[object, tuple[Sequence[Filter], F32]] = {}  # what ``rescale`` needs, by ``_kind_of`` frame
        self._added = 0

    def add(self, frame: VideoFrame, seconds: float | None) -> int:
        """Convert a frame and return its place.

        Raises:
            VideoError: The decoder marked the frame as damaged.
        """
        if frame.is_corrupt:
            raise VideoError(self._path, "the frame is damaged", seconds)
        planes = frame.planes
        strides = [plane.line_size for plane in planes]
        kind = _kind_of(frame)
        ready = self._ready.get(kind)
        place, self._added = self._added, self._added + 1
        if ready is None or min(strides) < BLOCK:
            self._convert(frame, planes, strides, kind, place)
        else:
            rescale([plane.buffer_ptr for plane in planes], strides, *ready, self._memory[place])
        return place

    def _convert(
        self, frame: VideoFrame, planes: Sequence[VideoPlane], strides: Sequence[int], kind: object, place: int
    ) -> None:
        """Write a frame into its place: the first of its kind, or of one that has no faster way."""
        turns = round(frame.rotation / 90) % 4
        if self._scaled is None:
            sides = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
            self._scaled = self._size.scaled(*sides)
            self._planar = self._scaled != sides
            self._allocate(*self._scaled)
        width, height = self._scaled[::-1] if turns % 2 else self._scaled
        if (width, height) == (frame.width, frame.height):
            picture = self._reformatter.reformat(frame, format="rgb24", threads=1)
            self._frames[place] = self._kept(_samples(picture.planes[0], 3), turns)
        elif not _is_plain(frame, strides):
            # Planes of green, blue and red: swscale's vector code for a scaled frame writes no other RGB.
            picture = self._reformatter.reformat(frame, width=width, height=height, format="gbrp", threads=1)
            for channel, plane in zip((1, 2, 0), picture.planes, strict=True):
                self._frames[place, :, :, channel] = self._kept(_samples(plane, 1), turns)
        else:
            straight = self._planar and not turns
            part = (self._top, self._left, *self._hw) if straight else (0, 0, height, width)
            out = self._memory[place] if straight else np.empty((3, height, width), dtype=np.uint8)
            ready = self._filters(frame, planes, (height, width), part)
            rows = [wide_rows(plane_rows(plane)) for plane in planes]
            rescale([each.ctypes.data for each in rows], [each.shape[1] for each in rows], *ready, out)
            if not straight:
                self._frames[place] = self._kept(out.transpose(1, 2, 0), turns)
            elif self._is_said_once:
                self._ready[kind] = ready

    def again(self) -> "FrameBatch":
        """Return an empty batch of the same size, so that later frames take the size of the first."""
        other = FrameBatch(self._path, self._size, self._count, coded=self._coded)
        other._reformatter, other._scaled, other._planar = self._reformatter, self._scaled, self._planar
        other._ready = self._ready
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
        self._memory = np.empty(shape, dtype=np.uint8)
        self._frames = self._memory.transpose(0, 2, 3, 1) if self._planar else self._memory

    def _filters(
        self,
        frame: VideoFrame,
        planes: Sequence[VideoPlane],
        wanted_hw: tuple[int, int],
        kept: tuple[int, int, int, int],
    ) -> tuple[Sequence[Filter], F32]:
        """Return what makes a part of a plain frame in the wanted size."""
        luma, chroma = ((plane.height, plane.width) for plane in planes[:2])
        siting = self._stream_siting(frame) if self._is_said_once else chroma_siting(frame)
        full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
        filters = plane_filter(luma, wanted_hw, kept), plane_filter(chroma, wanted_hw, kept, siting)
        return filters, colour_matrix(*KR_KB[frame.colorspace], full)

    def _stream_siting(self, frame: VideoFrame) -> tuple[float, float]:
        assert self._coded is not None
        key = (*self._coded, frame.format.name)
        if key not in _sitings:
            if len(_sitings) >= MOST_SITINGS:
                _sitings.clear()
            _sitings[key] = chroma_siting(frame)
        return _sitings[key]

    def _kept(self, pixels: np.ndarray, turns: int) -> np.ndarray:
        turned = np.rot90(pixels, turns) if turns else pixels
        return turned[self._top : self._top + self._hw[0], self._left : self._left + self._hw[1]]


def _kind_of(frame: VideoFrame) -> object:
    """Return all that decides how a frame is converted, but for where its stream says that chroma lies."""
    return (
        frame.format.name,
        frame.width,
        frame.height,
        frame.colorspace,
        frame.color_range,
        frame.rotation,
        frame.interlaced_frame,
    )


def _is_said_once(coded: tuple[str, bytes] | None) -> bool:
    """Return whether all frames of a format have their chroma in one place: a header says where, or the format does.

    Headers of mp4 and Matroska are records that begin with a version; others are a copy of what is in the stream.
    """
    return coded is not None and (coded[0] not in SAYS_LATER or coded[1][:1] not in (b"", b"\0"))


def _is_plain(frame: VideoFrame, strides: Sequence[int]) -> bool:
    """Return whether ``rescale.py`` can read a frame.

    Planes upside down in memory have negative rows; swscale scales the two fields of an interlaced frame apart.
    """
    is_known = frame.format.name in BYTE_PLANES and frame.colorspace in KR_KB
    return is_known and not frame.interlaced_frame and min(strides) > 0


def chroma_siting(frame: VideoFrame) -> tuple[float, float]:
    """Return how far up and left of the middle of the pixels that share it a chroma sample was taken, in samples.

    PyAV does not say where; but a picture that is made of the frame has its properties, and swscale goes by them. So
    one with a step in each direction is enlarged, and looked at.
    """
    sides = [(plane.height, plane.width) for plane in frame.planes[:2]]
    if sides[0] == sides[1]:
        return 0.0, 0.0
    pixels = frame.format.name
    if frame.width == PROBE_SIDE:  # one that has the size would be handed back itself, and painted over
        frame = frame.reformat(width=2 * PROBE_SIDE, height=2 * PROBE_SIDE, format=pixels, threads=1)
    probe = frame.reformat(width=PROBE_SIDE, height=PROBE_SIDE, format=pixels, threads=1)
    luma, blue, red = (plane_rows(plane) for plane in probe.planes)
    luma[:], blue[:], red[:] = 128, 128, 128
    blue[len(blue) // 2 :] = 228
    red[:, probe.planes[2].width // 2 : probe.planes[2].width] = 228
    large = probe.reformat(width=2 * PROBE_SIDE, height=2 * PROBE_SIDE, format="gbrp", threads=1)
    down, across = plane_rows(large.planes[1])[:, PROBE_SIDE], plane_rows(large.planes[2])[PROBE_SIDE]
    # Of samples in the middle the third pixel before the step is the last that does not feel it.
    steps = [(line[PROBE_SIDE - 3 : PROBE_SIDE - 1] > PROBE_LEVEL).sum() for line in (down, across)]
    shared = [chroma < whole for whole, chroma in zip(*sides, strict=True)]
    shifts = [0.25 * (int(felt) - 1) if shares else 0.0 for felt, shares in zip(steps, shared, strict=True)]
    return shifts[0], shifts[1]


def _samples(plane: VideoPlane, channels: int) -> np.ndarray:
    """Return a view of a plane as (H, W), or (H, W, channels) where those are several."""
    rows = plane_rows(plane)[:, : channels * plane.width]
    return rows if channels == 1 else rows.reshape(-1, plane.width, channels)


def resize_rgb(frames: Tensor, height: int, width: int) -> Tensor:
    """Return frames (N, 3, H, W) in another size, antialiased; as they are where they have it."""
    if frames.shape[-2:] == (height, width):
        return frames
    return interpolate(frames, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
