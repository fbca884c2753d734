"""The luma plane of a video on a grid of times, small: what compares videos needs no colour and no pixel exactly.

So most of a reader's work is left out: nothing becomes RGB, the loop filter is off, frames that no time of the grid
is nearest to and no other refers to are not decoded, and the plane is averaged down where it lies.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import TypeVar, cast

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tubelet.kernels import kernel
from tubelet.types import VideoError
from tubelet.video.container import MAX_PIXELS, SKIPPING_CODECS, OpenVideo, open_video
from tubelet.video.media import Media
from tubelet.video.pictures import open_pictures
from tubelet.video.plan import MAX_REORDERED, VideoPacket

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Taps = tuple[NDArray[np.int64], F32]
T = TypeVar("T")

LUMA_FIRST = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray"})
"""Formats whose first plane is luma of a byte; any other goes through swscale."""
RGB_TO_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def iter_luma(
    media: Media | str, *, fps: float = 16.0, side: int = 112, max_pixels: int = MAX_PIXELS
) -> Iterator[tuple[float, U8]]:
    """Yield ``(pts_seconds, luma)`` for times 0, 1 / fps, 2 / fps, ... up to the last frame's, in constant memory.

    The frame nearest to a time answers it, of two equally near the earlier; so frames repeat where the video has
    fewer. In a file whose packets carry wrong times a neighbour may answer.

    Args:
        media: A video file, a folder or tar of frames, a picture, a shard's member or a URI.
        fps: Rate of the grid.
        side: Luma comes out as uint8 (side, side), averaged over areas, whatever the aspect; rotation is undone.
        max_pixels: Largest frame that is decoded.

    Raises:
        VideoError: The video cannot be read, its times go backwards, or, after the last frame, it was cut short.
    """
    media = Media.of(media)
    if media.is_pictures:
        pictures = open_pictures(media)
        loads = (partial(pictures.load, index, max_pixels=max_pixels) for index in range(len(pictures.names)))
        for time, load in on_grid(zip(pictures.times, loads, strict=True), fps):
            yield time, _scaled((load() @ RGB_TO_LUMA).astype(np.uint8), side)
        return
    with open_video(media, max_pixels=max_pixels, lossy=True) as video:
        last: tuple[VideoFrame, U8] | None = None
        for time, frame in on_grid(_decoded(video, fps), fps):
            if last is None or frame is not last[0]:
                last = frame, _luma(frame, side)
            yield time, last[1]
        if last is None:
            raise VideoError(media, "the video stream has no frame that can be decoded")
        video.check_complete((video.at or 0.0) + 1 / video.fps)


def on_grid(shown: Iterable[tuple[float, T]], fps: float) -> Iterator[tuple[float, T]]:
    """Yield for every time k / fps up to the last the item nearest to it, of two equally near the earlier."""
    before: tuple[float, T] | None = None
    number = 0
    for time, item in shown:
        while number / fps <= time + 1e-9:
            wanted = number / fps
            nearer = before if before is not None and wanted - before[0] <= time - wanted else (time, item)
            yield wanted, nearer[1]
            number += 1
        before = time, item
    if before is not None and number == 0:
        yield 0.0, before[1]


def _decoded(video: OpenVideo, fps: float) -> Iterator[tuple[float, VideoFrame]]:
    """Yield frames with their times, in order, without those that nobody needs.

    Raises:
        VideoError: Times go backwards.
    """
    step, base = 1 / video.fps, video.stream.time_base
    last = None
    following = 0.0
    for frame in _frames(video, fps):
        if video.has_times and frame.pts is not None and base is not None:  # frames that are flushed out have no base
            following = float(frame.pts * base) - video.offset
        if last is not None and following < last - 1.5 * step:
            raise video.goes_backwards(last, following)
        video.at = last = following
        video.check_duration(following)
        yield following, frame
        following += step


def _frames(video: OpenVideo, fps: float) -> Iterator[VideoFrame]:
    """Decode packets in order; one that refers to no grid time and is referred to by none is skipped."""
    context = video.stream.codec_context
    if not video.has_times or context.name not in SKIPPING_CODECS:
        yield from video.container.decode(video.stream)
        return
    skipping = False
    for packet, needed in _with_need(video, fps):
        if skipping == needed:
            skipping = not needed
            context.skip_frame = "NONREF" if skipping else "DEFAULT"
        yield from context.decode(packet)
    context.skip_frame = "DEFAULT"
    yield from context.decode(None)


def _with_need(video: OpenVideo, fps: float) -> Iterator[tuple[VideoPacket, bool]]:
    """Yield packets in decoding order, and whether a time of the grid is nearest to the frame of each.

    A packet waits for the next ones: only they say when the frames beside its own are shown.
    """
    base = float(video.stream.time_base or 1)
    waiting: deque[VideoPacket] = deque()
    shown: list[float] = []  # times known around the waiting packets, sorted

    def needed(packet: VideoPacket) -> bool:
        if packet.pts is None:
            return True
        time = packet.pts * base - video.offset
        place = bisect_left(shown, time)
        before = (shown[place - 1] + time) / 2 if place else -math.inf
        behind = (shown[place + 1] + time) / 2 if place + 1 < len(shown) else math.inf
        if place > 4 * MAX_REORDERED:
            del shown[: place - 2 * MAX_REORDERED]
        # A grid time in (before, behind], with room for times that containers round to a millisecond.
        return (
            before == -math.inf
            or behind == math.inf
            or math.floor(before * fps - 0.02) < math.floor(behind * fps + 0.02)
        )

    for packet in video.container.demux(video.stream):
        if packet.size == 0:
            break
        if packet.pts is not None:
            insort(shown, packet.pts * base - video.offset)
        waiting.append(packet)
        if len(waiting) > MAX_REORDERED:
            yield waiting[0], needed(waiting[0])
            waiting.popleft()
    while waiting:
        yield waiting[0], needed(waiting[0])
        waiting.popleft()


def _luma(frame: VideoFrame, side: int) -> U8:
    """Return a frame's luma, upright.

    Raises:
        VideoError: The decoder marked the frame as damaged.
    """
    gray = frame if frame.format.name in LUMA_FIRST else frame.reformat(format="gray")
    plane = gray.planes[0]
    pixels = np.frombuffer(cast(memoryview, plane), np.uint8).reshape(-1, plane.line_size)[: gray.height, : gray.width]
    small = _scaled(pixels, side)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(small, turns)) if turns else small


def _scaled(pixels: U8, side: int) -> U8:
    """Return pixels (H, W) averaged over the areas of side x side cells; fewer pixels are repeated."""
    height, width = pixels.shape
    out = np.empty((side, side), dtype=np.uint8)
    _average(pixels, *_taps(height, side), *_taps(width, side), out)
    return out


@lru_cache(maxsize=64)
def _taps(size: int, cells: int) -> Taps:
    """Return for each cell the first pixel (cells,) and the weights (cells, taps) of it and those after it.

    Weights of a cell add up to 1; behind the last pixel they are 0, and pixels there must not be read.
    """
    edges = np.linspace(0, size, cells + 1)
    first = np.minimum(edges[:-1].astype(np.int64), size - 1)
    taps = int(np.max(np.ceil(edges[1:] - 1e-9) - first))
    first = np.minimum(first, size - taps) if taps <= size else np.zeros_like(first)
    pixels = first[:, None] + np.arange(taps)
    share = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(share, 0, None)
    return first, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@kernel(fastmath=True)
def _average(pixels: U8, top: NDArray[np.int64], down: F32, left: NDArray[np.int64], across: F32, out: U8) -> None:
    """Write weighted means of pixels (H, W) into ``out``: rows first, whole rows at a time."""
    row = np.empty(pixels.shape[1], dtype=np.float32)
    for y in range(out.shape[0]):
        row[:] = 0.0
        for k in range(down.shape[1]):
            weight = down[y, k]
            if weight > 0:
                line = pixels[top[y] + k]
                for x in range(row.shape[0]):
                    row[x] += weight * line[x]
        for x in range(out.shape[1]):
            total = np.float32(0.5)
            for k in range(across.shape[1]):
                total += across[x, k] * row[left[x] + k]
            out[y, x] = np.uint8(total)
