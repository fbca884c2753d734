"""What a browser can play, and a copy of what it cannot: H.264 with each frame at its own time.

A copy is made from the frames and times that everything else here is given, so boxes found in a video are in step with
its copy also where the rate varies, the picture is turned or times are missing (AVI with B-frames).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from av.video.stream import VideoStream

from tubelet.types import VideoMeta
from tubelet.video.container import MAX_PIXELS, OpenVideo, open_video, probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import iter_frames
from tubelet.video.sound import open_sound
from tubelet.video.write import VideoWriter

MOST_LONG_SIDE = 1280
EIGHT_BIT = ("yuv420p", "yuvj420p")
SECONDS_PER_KEY_FRAME = 1.0
"""Of a copy: going to another place decodes at most so much."""
# What Chromium, Firefox and Safari play without a codec of the system.
MP4_SOUND = frozenset({"aac", "mp3", "opus", "flac"})
WEBM_SOUND = frozenset({"opus", "vorbis"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """What a video holds, by reading its packets; one frame is decoded."""

    meta: VideoMeta
    num_frames: int
    end_seconds: float
    """Time of its last frame plus one frame: counted, not claimed."""
    media_type: str | None
    """What a browser is told where it can play the file as it is; None = it needs a copy."""


def look(path: Path, *, max_pixels: int = MAX_PIXELS) -> Looked:
    """Read through a video without decoding it.

    Raises:
        VideoError: It cannot be read, or its frames are too large.
    """
    meta = probe(path, max_pixels=max_pixels)
    with open_video(path, max_pixels=max_pixels) as video:
        first = next(video.container.decode(video.stream), None)
        media_type = None if first is None else _media_type(video, first.format.name)
        video.seek_start()
        num_frames, last = 0, 0.0
        time_base = float(video.stream.time_base or 1)
        for packet in video.container.demux(video.stream):
            if packet.size:
                num_frames += 1
                if packet.pts is not None:
                    last = max(last, packet.pts * time_base - video.offset)
                    video.check_duration(last)
        counted = last + 1 / video.fps if video.has_times else num_frames / video.fps
    return Looked(meta=meta, num_frames=num_frames, end_seconds=counted, media_type=media_type)


def _media_type(video: OpenVideo, pixels: str) -> str | None:
    """Return what browsers play as it is, with the times that we read."""
    container, stream = video.container, video.stream
    sounds = {s.codec_context.codec.canonical_name for s in container.streams.audio if s.codec_context is not None}
    # A file that does not begin at 0 is where players differ.
    if pixels not in EIGHT_BIT or (container.start_time or 0) or (stream.start_time or 0):
        return None
    codec, formats = stream.codec_context.codec.canonical_name, container.format.name
    brand = container.metadata.get("major_brand", "")
    if "mp4" in formats and brand.strip() != "qt" and codec in ("h264", "av1") and sounds <= MP4_SOUND:
        return "video/mp4"
    if "webm" in formats and _is_webm(video.path, stream) and sounds <= WEBM_SOUND:
        return "video/webm"
    return None


def _is_webm(path: str, stream: VideoStream) -> bool:
    """Return whether a Matroska file is a WebM; FFmpeg reads both with one reader."""
    with Path(path).open("rb") as file:
        return b"webm" in file.read(64) and stream.codec_context.codec.canonical_name in ("vp8", "vp9", "av1")


def write_playable(
    video: Path, out: Path, *, max_pixels: int = MAX_PIXELS, on_time: Callable[[float], None] | None = None
) -> None:
    """Write a copy that every browser plays: H.264 4:2:0 and AAC in an mp4, whole or not at all.

    Args:
        video: The video.
        out: The mp4; its longer side has at most 1280 pixels.
        max_pixels: Largest frame that is decoded.
        on_time: Called with the time of each frame.

    Raises:
        VideoError: The video cannot be read.
    """
    meta = probe(video, max_pixels=max_pixels)
    scale = min(1.0, MOST_LONG_SIDE / max(meta.width, meta.height))
    width, height = (max(2, 2 * round(side * scale / 2)) for side in (meta.width, meta.height))
    gop = max(1, round(meta.fps * SECONDS_PER_KEY_FRAME))
    frames = iter_frames(video, size=FrameSize(exact_hw=(height, width)), max_pixels=max_pixels)
    with (
        open_sound(video) as sound,
        VideoWriter(out, width=width, height=height, fps=meta.fps, gop=gop, sound=sound, timed=True) as writer,
    ):
        for pts_seconds, frame in frames:
            writer.write(frame, pts_seconds)
            if on_time is not None:
                on_time(pts_seconds)
