"""The luma plane of a video on a grid of times, small: what compares videos needs no colour and no pixel exactly.

So most of a reader's work is left out: nothing becomes RGB, the loop filter is off, frames that no time of the grid
is nearest to and no other refers to are not decoded, and the plane is averaged down where it lies.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tubelet.types import VideoError
from tubelet.video.container import MAX_PIXELS, SKIPPING_CODECS, OpenVideo, open_video
from tubelet.video.convert import BYTE_PLANES
from tubelet.video.media import Media
from tubelet.video.pictures import open_pictures
from tubelet.video.plan import MAX_REORDERED, VideoPacket
from tubelet.video.rescale import area_filter, plane_rows, rescale_plane

U8 = NDArray[np.uint8]
T = TypeVar("T")

LUMA_FIRST = BYTE_PLANES | {"nv12", "gray"}
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
            luma = (load() @ RGB_TO_LUMA).astype(np.uint8)
            yield time, _scaled(luma, (luma.shape[0], luma.shape[1]), side)
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
    plane = frame.planes[0]
    if frame.format.name not in LUMA_FIRST or plane.line_size <= 0:  # below 0: upside down in memory
        plane = frame.reformat(format="gray").planes[0]
    small = _scaled(plane_rows(plane), (frame.height, frame.width), side)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(small, turns)) if turns else small


def _scaled(plane: U8, source_hw: tuple[int, int], side: int) -> U8:
    """Return a plane averaged over the areas of side x side cells."""
    out = np.empty((side, side), dtype=np.uint8)
    rescale_plane(plane, area_filter(source_hw, side), out)
    return out
