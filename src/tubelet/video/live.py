"""Frames of a camera or a stream as they come: who is too slow for them loses some, evenly spread and counted.

A thread decodes, since compressed frames need those before them; what is not taken in time waits. When too many wait,
every second of them is dropped: what is left still covers the time, at half the rate. A stream with an end that is
known, such as a file behind ``http``, waits instead.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tubelet.types import InputError, VideoError, VideoMeta
from tubelet.video.convert import FrameBatch, FrameSize
from tubelet.video.media import VIDEO_SUFFIXES

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "tcp", "http", "https")
MOST_WAITING = 64
"""Frames, at 640x360 RGB 44 MB."""
SILENCE_SECONDS = 10.0
"""A source that sends nothing for so long has failed."""
CAMERA_FPS = 25.0
"""Of a source that does not say."""


def is_live(place: str) -> bool:
    """Tell whether a name is a camera (``0``, ``/dev/video0``) or a stream, not a video that can be read again.

    ``https`` addresses of video files are read as files (``media.py``).
    """
    scheme, mark, rest = place.partition("://")
    if mark:
        is_file = scheme == "https" and rest.partition("?")[0].lower().endswith(VIDEO_SUFFIXES)
        return scheme.lower() in STREAM_SCHEMES and not is_file
    return place.startswith("/dev/video") or (place.isdecimal() and not Path(place).exists())


@dataclass(frozen=True, slots=True)
class LiveCounts:
    """What became of a live source's frames so far."""

    read: int
    dropped: int
    """Of those read: nobody was there to take them."""
    damaged: int
    """Packets or frames that could not be decoded."""

    def __str__(self) -> str:
        return f"{self.read:,} frames read, {self.dropped:,} dropped to keep up, {self.damaged:,} damaged"


class LiveSource:
    """An open camera or stream; a context manager.

    Its ``place`` is said in messages and files: a device, or an address without name and password.

    Args:
        place: Number or device of a camera, or the address of a stream.
        size: Frames are given in this size.
        most_waiting: Frames that wait, at most, before some are dropped; at least 2.

    Raises:
        VideoError: It cannot be opened, or sends no video.
    """

    def __init__(self, place: str, *, size: FrameSize, most_waiting: int = MOST_WAITING) -> None:
        place = place if "://" in place or place.startswith("/dev/") else f"/dev/video{place}"
        self.place, self._size, self._most = without_password(place), size, most_waiting
        self._container, self._stream = _open(place, self.place)
        self._waits = self._container.duration is not None
        rate = self._stream.average_rate or self._stream.guessed_rate
        context = self._stream.codec_context
        self.meta = VideoMeta(
            path=self.place,
            width=context.width,
            height=context.height,
            fps=float(rate) if rate else CAMERA_FPS,
            duration_seconds=0.0,
        )
        self._waiting: deque[tuple[float, np.ndarray]] = deque()
        self._changed = threading.Condition()
        self._read = self._dropped = self._damaged = 0
        self._closed = self._ended = False
        self._error: VideoError | None = None
        self._thread = threading.Thread(target=self._fill, name="live frames", daemon=True)
        self._thread.start()

    def __enter__(self) -> "LiveSource":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def was_closed(self) -> bool:
        """Whether it was told to stop before the source came to its end."""
        return self._closed

    @property
    def counts(self) -> LiveCounts:
        """What became of the frames so far."""
        with self._changed:
            return LiveCounts(self._read, self._dropped, self._damaged)

    def close(self) -> None:
        """Stop reading; who iterates gets what waits and then the end."""
        with self._changed:
            self._closed = self._closed or not self._ended
            self._changed.notify_all()
        self._thread.join(SILENCE_SECONDS + 1)

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield (seconds since the first frame, RGB uint8 (H, W, 3)), until the source ends or is closed.

        Raises:
            VideoError: The source broke off; frames before that have been yielded.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    break
                frame = self._waiting.popleft()
                self._changed.notify_all()
            yield frame
        if self._error is not None:
            raise self._error

    def _fill(self) -> None:
        """Decode to the end, in the thread."""
        try:
            for frame in self._decoded():
                if not self._put(frame):
                    break
        except (av.FFmpegError, OSError) as error:
            if not self._closed:
                self._error = VideoError(self.place, f"the stream broke off ({_reason(error)})")
        except VideoError as error:
            self._error = error
        finally:
            self._container.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _decoded(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield frames with rising times; a frame without a time follows the one before."""
        first: float | None = None  # the source's clock at our 0; cameras may tell it from a later frame on
        step = 1 / self.meta.fps
        last = -step
        batch = FrameBatch(self.place, self._size, 1)
        for frame in self._whole_frames():
            own = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
            if first is None and own is not None:
                first = own - (last + step)
            last = last + step if own is None or first is None or own - first <= last else own - first
            batch.add(frame, last)
            yield last, np.ascontiguousarray(batch.finish()[0])
            batch = batch.again()

    def _whole_frames(self) -> Iterator[VideoFrame]:
        """Yield what can be decoded; what was lost on the way is counted."""
        for packet in self._container.demux(self._stream):
            try:
                decoded = packet.decode()
            except av.InvalidDataError:
                self._damaged += 1
                continue
            whole = [frame for frame in decoded if isinstance(frame, VideoFrame) and not frame.is_corrupt]
            self._damaged += len(decoded) - len(whole)
            yield from whole

    def _put(self, frame: tuple[float, np.ndarray]) -> bool:
        """Let a frame wait; return whether more are wanted."""
        with self._changed:
            if self._waits:
                self._changed.wait_for(lambda: len(self._waiting) < self._most or self._closed)
            elif len(self._waiting) >= self._most:
                kept = list(self._waiting)[::2]
                self._dropped += len(self._waiting) - len(kept)
                self._waiting = deque(kept)
            self._waiting.append(frame)
            self._read += 1
            self._changed.notify_all()
            return not self._closed


def without_password(place: str) -> str:
    """Return an address without the user's name and password, for messages and files."""
    scheme, mark, rest = place.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def _open(place: str, shown: str) -> tuple[InputContainer, VideoStream]:
    options: dict[str, Any] = {"options": {"rtsp_transport": "tcp"}} if place.startswith("rtsp") else {}
    if "://" not in place:
        if sys.platform != "linux":
            raise InputError(f"{place}: cameras are read on Linux only; expected the address of a stream")
        options = {"format": "v4l2"}
    begun = time.monotonic()
    try:
        container = av.open(place, "r", timeout=SILENCE_SECONDS, **options)
    except (av.FFmpegError, OSError, ValueError) as error:
        kind = "stream" if "://" in place else "camera"
        # Of a server that never answers FFmpeg says that its answer is invalid.
        is_silent = time.monotonic() - begun >= SILENCE_SECONDS
        raise VideoError(
            shown, f"the {kind} cannot be opened ({_silence() if is_silent else _reason(error)})"
        ) from None
    if not container.streams.video:
        container.close()
        raise VideoError(shown, "sends no video")
    stream = container.streams.video[0]
    stream.thread_type = "NONE"
    return container, stream


def _reason(error: Exception) -> str:
    """Return what FFmpeg says without the address, in which a password may be."""
    if isinstance(error, av.ExitError):  # what PyAV's clock ends a call with
        return _silence()
    return getattr(error, "strerror", None) or type(error).__name__


def _silence() -> str:
    return f"nothing came for {SILENCE_SECONDS:g} s"
