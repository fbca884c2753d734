"""Write ordinary mp4 files: H.264, yuv420p, published by rename only when complete."""

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter
from llvmlite.binding import get_host_cpu_features

from tubelet.types import InputError
from tubelet.video.sound import Sound

X264_WITHOUT_AVX512 = {"x264-params": "asm=avx2"}
"""On processors with AVX-512, x264's own code for it reads memory that nobody wrote (what it calls mbtree; seen with 4,
10 and 11 macroblocks in a row), so that the same frames gave other bytes now and then; AVX2's gives the same always."""
TICKS_PER_SECOND = 90_000
"""Of frames with times of their own; MPEG's clock, which the usual rates divide."""


class VideoWriter:
    """Write RGB frames to an mp4; use as a context manager.

    The file appears under its name when the ``with`` block ends without an exception; otherwise nothing stays behind.
    The same frames and settings give the same bytes (one encoder thread unless asked for more).

    Args:
        path: The mp4 to write; its folder is created.
        width: Pixels, even (4:2:0 chroma has half the size).
        height: Pixels, even.
        fps: Frames per second, fractions kept (29.97 becomes 30000/1001).
        crf: x264's constant quality, 0 (lossless) to 51.
        preset: x264's preset.
        gop: Frames from one key frame to the next; ``None`` = x264's default (250).
        num_threads: Encoder threads; many small files are better spread over processes.
        sound: Written beside the pictures, to the end of the last one.
        timed: Each frame is written with its own time, and ``fps`` is only what is usual; otherwise at a constant rate.

    Raises:
        InputError: Odd or non-positive size or rate, or no frame written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        width: int,
        height: int,
        fps: float,
        crf: int = 23,
        preset: str = "veryfast",
        gop: int | None = None,
        num_threads: int = 1,
        sound: Sound | None = None,
        timed: bool = False,
    ) -> None:
        self.path = Path(path)
        if width <= 0 or height <= 0 or width % 2 or height % 2:
            raise InputError(f"{path}: H.264 with 4:2:0 chroma needs an even width and height, got {width}x{height}")
        if not 0 < fps < 1000:
            raise InputError(f"{path}: frame rate must be above 0 and below 1000, got {fps}")
        self._shape = (height, width, 3)
        self._rate = _as_rate(fps)
        self._num_frames = 0
        self._timed, self._first_pts, self._last_pts = timed, 0, -1
        self._reformatter = VideoReformatter()  # keeps one swscale context for all frames
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._container = av.open(str(self._temporary), "w", format="mp4")
        options = {"crf": str(crf), "preset": preset} | (X264_WITHOUT_AVX512 if _has_avx512() else {})
        if gop is not None:
            options |= {"g": str(gop), "keyint_min": str(min(gop, 25))}
        self._stream = self._container.add_stream("libx264", rate=self._rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.thread_count = num_threads
        self._time_base = Fraction(1, TICKS_PER_SECOND) if timed else 1 / self._rate
        if timed:
            self._stream.codec_context.time_base = self._time_base
        # Tagged, so that players do not guess another matrix for large frames.
        self._stream.codec_context.colorspace = int(Colorspace.ITU601)
        self._stream.codec_context.color_range = 1
        self._sound = sound
        if sound is not None:
            sound.attach(self._container)

    def __enter__(self) -> Self:
        return self

    def write(self, frame: np.ndarray, pts_seconds: float | None = None) -> None:
        """Append one frame, uint8 (H, W, 3) RGB.

        Args:
            frame: The pixels.
            pts_seconds: Its time, where frames are timed: later than the last one's.
        """
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.dtype} {frame.shape}, expected uint8 {self._shape}")
        if (pts_seconds is not None) != self._timed:
            raise ValueError(f"pts_seconds is {pts_seconds}, expected {'a time' if self._timed else 'none'}")
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = self._reformatter.reformat(rgb, format="yuv420p", dst_colorspace=Colorspace.ITU601)
        pts = self._num_frames if pts_seconds is None else round(pts_seconds * TICKS_PER_SECOND)
        if self._num_frames == 0:
            self._first_pts = pts
        pts = max(pts, self._last_pts + 1)  # two frames of one tick: an encoder takes ascending times only
        picture.pts, picture.time_base, self._last_pts = pts, self._time_base, pts
        self._container.mux(self._stream.encode(picture))
        self._num_frames += 1
        if self._sound is not None:  # Now, not at the end: the file would be held in memory until then.
            self._mux_sound(self._sound)

    def _mux_sound(self, sound: Sound) -> None:
        """Write the sound of the pictures so far; its time 0 is the first of them."""
        first = self._first_pts * self._time_base
        for packet in sound.until(float(self._last_pts * self._time_base - first + 1 / self._rate)):
            if first and packet.pts is not None and packet.time_base:
                packet.pts += round(first / packet.time_base)
                packet.dts = packet.pts
            self._container.mux(packet)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._num_frames == 0:
                raise InputError(f"{self.path}: no frame was written")
            if kind is None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if kind is None:
                self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)


def _has_avx512() -> bool:
    return bool(get_host_cpu_features().get("avx512f"))


def _as_rate(fps: float) -> Fraction:
    """Return the rate as a fraction; the NTSC family becomes n*1000/1001 exactly."""
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    if abs(float(ntsc) - fps) < 0.005 and abs(fps - round(fps)) > 0.005:
        return ntsc
    return Fraction(fps).limit_denominator(10_000)
