"""From a video and wanted times to frames: seek, decode each needed frame once, choose by time.

Choosing by time makes a 25 and a 50 frames-per-second copy of a video give the same clip, and needs no frame count of
the container. ``plan.py`` says how little is decoded.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from av.video.frame import VideoFrame

from tubelet.types import Clip, VideoError
from tubelet.video.container import MAX_PIXELS, OpenVideo, open_video
from tubelet.video.convert import OWN_SIZE, FrameBatch, FrameSize
from tubelet.video.media import Media
from tubelet.video.pictures import Pictures, open_pictures, resize_picture
from tubelet.video.plan import Group, Picked, plan, read_planned
from tubelet.video.sampling import nearest, num_clamped

WantedTimes = Sequence[float] | Callable[[float], Sequence[float]]
"""Times in seconds, or a function from the file's frame rate to them: a stride in frames of the file itself."""


def read_frames(
    media: Media | str | Path,
    pts_seconds: WantedTimes,
    *,
    size: FrameSize = OWN_SIZE,
    lossy: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Clip:
    """Read the frames nearest to the wanted times; of two equally near the earlier.

    A time further than one frame interval outside the video is answered by its first or last frame and counted; so is
    one in a hole of its times, ``sampling.HOLE_SECONDS`` or more from the nearest frame.

    Args:
        media: A video file, a folder or tar of frames, a picture, a shard's member or a URI.
        pts_seconds: Wanted times in any order, repeats allowed, at least one; or a function from the file's frame
            rate to them, which saves the ``probe`` that a stride in frames of the file would need.
        size: Which size the frames are returned in, and which part of them.
        lossy: Decode without the loop filter (H.264, HEVC, VP9), about a fifth faster. Frames differ by 1 to 2 of 255
            on average and by up to 60 at block edges, and more towards the end of a long group of pictures.
        max_pixels: Largest frame that is decoded.

    Returns:
        Frames in the order of ``pts_seconds``.

    Raises:
        VideoError: The video cannot be read, its times go backwards, or it is cut short before a wanted time.
    """
    return _read(Media.of(media), [pts_seconds], size, lossy, max_pixels)[0]


def read_clips(
    media: Media | str | Path,
    clips: Sequence[WantedTimes],
    *,
    size: FrameSize = OWN_SIZE,
    lossy: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> list[Clip]:
    """Read several clips of one video in one pass: each frame is decoded once, seeks go forwards only.

    Args and errors are those of ``read_frames``, and so is each clip returned, bit for bit.
    """
    return _read(Media.of(media), clips, size, lossy, max_pixels)


def iter_frames(
    media: Media | str | Path,
    *,
    size: FrameSize = OWN_SIZE,
    start_seconds: float = 0.0,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield ``(pts_seconds, frame)`` in time order, frame uint8 (H, W, 3) RGB, in constant memory.

    Raises:
        VideoError: The video cannot be read, its times go backwards, or, after the last frame, it was cut short.
    """
    media = Media.of(media)
    if media.is_pictures:
        yield from _iter_pictures(open_pictures(media), size, start_seconds, max_pixels)
        return
    with open_video(media, max_pixels=max_pixels) as video:
        last = None
        batch: FrameBatch | None = None
        for time, frame in _decoded_from(video, start_seconds):
            last = time
            if time >= start_seconds - 1e-6:
                batch = FrameBatch(video.path, size, 1, coded=video.coded) if batch is None else batch.again()
                batch.add(frame, video.at)
                yield time, np.ascontiguousarray(batch.finish()[0])
        if last is None:
            raise VideoError(media, "the video stream has no frame that can be decoded")
        video.check_complete(last + 1 / video.fps)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Frames that were read and which of them answers each of the sorted wanted times."""

    frames: np.ndarray
    """uint8 (N, H, W, 3)."""
    places: Sequence[int]
    """Row of ``frames`` for each time."""
    times: Sequence[float]
    """The time that frame really has."""
    first: float
    last: float
    """As in ``plan.Picked``."""


def _read(media: Media, clips: Sequence[WantedTimes], size: FrameSize, lossy: bool, max_pixels: int) -> list[Clip]:
    """Answer all clips from the sorted union of their times.

    In plain lists: between two frames' decoding NumPy's code is in no cache, and costs more than what it does.
    """
    if media.is_pictures:
        pictures = open_pictures(media)
        fps = pictures.fps
        wanted = [wanted_times(clip, fps) for clip in clips]
        times = sorted({time for clip in wanted for time in clip})
        answer = _pick_pictures(pictures, times, size, max_pixels)
    else:
        with open_video(media, max_pixels=max_pixels, lossy=lossy) as video:
            fps = video.fps
            wanted = [wanted_times(clip, fps) for clip in clips]
            times = sorted({time for clip in wanted for time in clip})
            answer = _pick(video, times, size)
    row_of = {time: row for row, time in enumerate(times)}
    return [_clip(answer, clip, [row_of[time] for time in clip], fps, alone=len(clips) == 1) for clip in wanted]


def _clip(answer: _Answer, wanted: Sequence[float], rows: Sequence[int], fps: float, *, alone: bool) -> Clip:
    """Return the clip of wanted times, answered by rows of what was read; its frames are its own."""
    places = [answer.places[row] for row in rows]
    times = [answer.times[row] for row in rows]
    whole = alone and places == list(range(len(answer.frames)))
    frames = answer.frames if whole else answer.frames[places]
    clamped = num_clamped(wanted, times, answer.first, answer.last, frame_seconds=1 / fps)
    seen = torch.from_numpy(frames.transpose(0, 3, 1, 2))  # the other way round is another call into torch
    return Clip(frames=seen, pts_seconds=np.array(times), num_clamped=clamped)


def wanted_times(times: WantedTimes, fps: float) -> list[float]:
    """Return wanted times, of a function those for the file's frame rate.

    Raises:
        ValueError: There is none, or one is not finite.
    """
    given = times(fps) if callable(times) else times
    wanted: list[float] = []
    if not isinstance(given, (str, bytes)) and getattr(given, "ndim", 1) == 1:
        with suppress(TypeError):
            wanted = [float(time) for time in given]
    if not wanted or not all(map(math.isfinite, wanted)):
        raise ValueError(f"pts_seconds must be one or more finite times, got {times!r}")
    return wanted


def _pick(video: OpenVideo, times: list[float], size: FrameSize) -> _Answer:
    """Read the frames for sorted times, group by group; a group whose plan does not hold is read frame by frame."""
    batch = FrameBatch(video.path, size, len(times), coded=video.coded)
    places: list[int] = []
    found: list[float] = []
    first = last = None
    for group in plan(video, times):
        mark = len(batch)
        picked = read_planned(video, group, batch)
        if picked is None:
            batch.rewind(mark)
            picked = _read_plain(video, group, batch)
        places += picked.places
        found += picked.times
        first, last = (picked.first if first is None else first), picked.last
    assert first is not None
    assert last is not None
    return _Answer(batch.finish(), places, found, first, last)


def _pick_pictures(pictures: Pictures, times: list[float], size: FrameSize, max_pixels: int) -> _Answer:
    shown = np.array(pictures.times)
    chosen = nearest(shown, np.array(times))
    read, places = np.unique(chosen, return_inverse=True)
    frames: list[np.ndarray] = []
    scaled: tuple[int, int] | None = None
    for index in read:
        pixels = pictures.load(int(index), max_pixels=max_pixels)
        scaled = scaled or size.scaled(pixels.shape[1], pixels.shape[0])
        frames.append(resize_picture(pixels, size, scaled))
    return _Answer(np.stack(frames), places.tolist(), shown[chosen].tolist(), pictures.times[0], pictures.times[-1])


def _iter_pictures(
    pictures: Pictures, size: FrameSize, start_seconds: float, max_pixels: int
) -> Iterator[tuple[float, np.ndarray]]:
    scaled: tuple[int, int] | None = None
    for index, time in enumerate(pictures.times):
        if time >= start_seconds - 1e-6:
            pixels = pictures.load(index, max_pixels=max_pixels)
            scaled = scaled or size.scaled(pixels.shape[1], pixels.shape[0])
            yield time, resize_picture(pixels, size, scaled)


def _decoded(video: OpenVideo) -> Iterator[tuple[float, VideoFrame]]:
    """Yield frames with their times from where the file stands; a frame without a time follows the one before.

    Raises:
        VideoError: Times go backwards, or beyond the limit.
    """
    step = 1 / video.fps
    following = video.at or 0.0
    last = None
    for frame in video.container.decode(video.stream):
        if video.has_times and frame.pts is not None and frame.time_base is not None:
            following = float(frame.pts * frame.time_base) - video.offset
        # Decoders give frames in the order they are shown in. Times that disagree are wrong, as in a file that lost
        # the table of its B-frames' times; a frame that has none may be guessed too late by less than one.
        if last is not None and following < last - 1.5 * step:
            raise video.goes_backwards(last, following)
        video.at = last = following
        video.check_duration(following)
        yield following, frame
        following += step


def _decoded_from(video: OpenVideo, seconds: float) -> Iterator[tuple[float, VideoFrame]]:
    """Yield frames beginning with one at or before ``seconds``, or with the first of the video.

    Seeking is only a hint: in an MPEG-TS it may end behind the key frame. So the first frame that comes out is looked
    at, and the jump is made longer until it is early enough.
    """
    for back in (0.0, 1.0, 8.0):
        if seconds - back > 0 and video.has_times:
            video.seek(seconds - back)
            frames = _decoded(video)
            first = next(frames, None)
            if first is not None and first[0] <= seconds:
                yield first
                yield from frames
                return
    video.seek_start()
    yield from _decoded(video)


def _read_plain(video: OpenVideo, group: Group, batch: FrameBatch) -> Picked:
    """Decode every frame from the key frame before the first time on; works for streams with missing times too."""
    chooser = _Chooser(video, group.times, batch)
    for time, frame in _decoded_from(video, group.times[0]):
        chooser.offer(time, frame)
        if chooser.done:
            break
    return chooser.finish()


class _Chooser:
    """Match frames offered in time order with sorted wanted times; holds one frame, converts only chosen ones."""

    def __init__(self, video: OpenVideo, times: list[float], batch: FrameBatch) -> None:
        self._video, self._wanted, self._batch = video, times, batch
        self._places: list[int] = []
        self._times: list[float] = []
        self._first: float | None = None
        self._previous: tuple[float, VideoFrame] | None = None

    @property
    def done(self) -> bool:
        return len(self._times) == len(self._wanted)

    def offer(self, time: float, frame: VideoFrame) -> None:
        """Answer every wanted time up to ``time`` by this frame or the one before, whichever is nearer."""
        while not self.done and self._wanted[len(self._times)] <= time:
            target = self._wanted[len(self._times)]
            if self._previous is not None and target - self._previous[0] <= time - target:
                self._choose(*self._previous)
            else:
                self._choose(time, frame)
        self._first = time if self._first is None else self._first
        self._previous = (time, frame)

    def finish(self) -> Picked:
        """Answer what is left by the last frame, if the file is whole."""
        if self._first is None or self._previous is None:
            raise VideoError(self._video.path, "the video stream has no frame that can be decoded", self._wanted[0])
        last = self._previous[0]
        if not self.done:
            self._video.check_complete(last + 1 / self._video.fps)
        while not self.done:
            self._choose(*self._previous)
        return Picked(self._places, self._times, self._first, last)

    def _choose(self, time: float, frame: VideoFrame) -> None:
        repeated = bool(self._times) and self._times[-1] == time
        self._places.append(self._places[-1] if repeated else self._batch.add(frame, self._video.at))
        self._times.append(time)
