"""Open a video file safely: what may be opened, what a container claims, and one typed error for every failure.

``av.logging.set_level`` is never called: it installs a Python log callback, and a codec that logs while it closes
can then wait for ever on the interpreter lock.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tubelet.types import VideoError, VideoMeta, first_line
from tubelet.video.media import Media
from tubelet.video.pictures import open_pictures

MAX_PIXELS = 8192 * 4320
"""Frames larger than this are refused before they are decoded; 8K UHD is the largest that passes."""

MAX_SECONDS = 24 * 3600.0
"""Videos that claim to be longer, or turn out to be, are refused."""
MAX_FPS = 1000
MIN_FPS = Fraction(1, 3600)
"""Rates outside are a mistake of the container; the number of frames a clip spans would be one too."""
GAP_FACTOR = 4
"""An average rate this much smaller than FFmpeg's guess is looked at again."""
INDEX_LOOKED_AT = 1000
"""Frames of an index that are enough to know its rate."""

# A text file must not become a playlist, nor a picture a video. Names are FFmpeg's.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,ogg"
# Decoders known to honour skip_frame packet by packet with bit-exact results for the frames kept.
SKIPPING_CODECS = frozenset({"h264", "hevc", "mpeg4"})


@dataclass
class OpenVideo:
    """An open file and its first real video stream; times are counted from the start of the file."""

    path: str
    container: InputContainer
    stream: VideoStream
    fps: float
    claimed_seconds: float | None
    """End of the video stream as the container claims it; None where it claims nothing about this stream."""
    offset: float
    """Subtracted from raw times: MPEG-TS and some MKV files do not start at 0."""
    has_times: bool = True
    """False for AVI with B-frames, whose times are out of order: its frames are counted, from the start."""
    at: float | None = field(default=None)
    """Last time decoded or sought, for messages."""

    @property
    def coded(self) -> tuple[str, bytes]:
        """The decoder's name, and the header that it begins with, if the container has one."""
        context = self.stream.codec_context
        return context.name, context.extradata or b""

    def seek(self, seconds: float) -> None:
        """Go to the key frame at or before ``seconds``; the decoder is flushed."""
        time_base = float(self.stream.time_base or 1)
        self.at = max(seconds, 0.0)
        raw = self.at + self.offset
        self.container.seek(math.floor(raw / time_base + 1e-6), stream=self.stream, backward=True)

    def seek_start(self) -> None:
        """Go to the very first packet."""
        self.at = 0.0
        # Ten seconds early, for a seek to the start itself may end behind it in an MPEG-TS; AVI refuses such a time.
        for early in (10.0, 0.0):
            raw = round((self.offset - early) / float(self.stream.time_base or 1))
            try:
                self.container.seek(raw, stream=self.stream, backward=True)
                return
            except av.PermissionError:
                if early == 0.0:
                    raise

    def check_duration(self, seconds: float) -> None:
        """Raise if a video goes on beyond ``MAX_SECONDS``."""
        if seconds > MAX_SECONDS:
            raise VideoError(self.path, f"goes on beyond the limit of {MAX_SECONDS:.0f} s", seconds)

    def goes_backwards(self, before: float, seconds: float) -> VideoError:
        """Return the error of frames whose times are not in their order."""
        return VideoError(self.path, f"the times of its frames go backwards, from {before:.3f} s", seconds)

    def check_complete(self, end_seconds: float) -> None:
        """Raise if the frames ended before the container's claim; a cut file must not pass as a short one.

        Args:
            end_seconds: Time of the last frame plus one frame.
        """
        if self.claimed_seconds is not None and end_seconds < self.claimed_seconds - 0.1 - 2 / self.fps:
            claim = f"the frames end at {end_seconds:.3f} s but {self.claimed_seconds:.3f} s are claimed"
            raise VideoError(self.path, f"the file is cut short or damaged: {claim}", end_seconds)


@contextmanager
def open_video(media: Media | str | Path, *, max_pixels: int = MAX_PIXELS, lossy: bool = False) -> Iterator[OpenVideo]:
    """Open a video file and find its first video stream.

    Decoder failures inside the ``with`` block come out as ``VideoError`` too.

    Args:
        media: A file, a shard's member or a URI; pipes, folders and pictures are refused.
        max_pixels: Largest width times height that is decoded.
        lossy: Decode without the loop filter, as ``read_frames`` says.

    Raises:
        VideoError: The file cannot be opened or has no video.
    """
    media = Media.of(media)
    video: OpenVideo | None = None
    try:
        # A file object: FFmpeg cannot take a strange name for a protocol, nor open a second file.
        with media.open() as file, _open_container(file) as box:
            video = _first_video(str(media), box, max_pixels, lossy)
            yield video
    except VideoError:
        raise
    except (av.FFmpegError, OSError) as error:
        at = video.at if video is not None else None
        what = "cannot be decoded" if video is not None else "not a video file that can be read"
        raise VideoError(media, f"{what} ({_reason(error)})", at) from error


def probe(media: Media | str | Path, *, max_pixels: int = MAX_PIXELS) -> VideoMeta:
    """Return what the container says about the first video stream, or what there is of frames.

    Rotation is read from the first frame, so one frame is decoded. Where nothing says how long the video is, its
    packets are read to the end.

    Raises:
        VideoError: The file cannot be read as video.
    """
    media = Media.of(media)
    if media.is_pictures:
        pictures = open_pictures(media)
        height, width = pictures.load(0, max_pixels=max_pixels).shape[:2]
        seconds = pictures.duration_seconds
        return VideoMeta(path=str(media), width=width, height=height, fps=pictures.fps, duration_seconds=seconds)
    with open_video(media, max_pixels=max_pixels) as video:
        context = video.stream.codec_context
        width, height = context.width, context.height
        frame = next(video.container.decode(video.stream), None)
        if frame is None:
            raise VideoError(media, "the video stream has no frame")
        if frame.rotation % 180:
            width, height = height, width
        claimed = video.claimed_seconds or (video.container.duration or 0) / av.time_base
        seconds = claimed if claimed > 0 else _counted_seconds(video, frame)
        return VideoMeta(path=str(media), width=width, height=height, fps=video.fps, duration_seconds=seconds)


def _open_container(file: BinaryIO) -> InputContainer:
    options = {"format_whitelist": FORMATS}
    streams: dict[str, str] = {}
    head = file.read(8)
    file.seek(0)
    if head[4:] == b"ftyp":
        # An mp4 says in its index all that is asked here; FFmpeg would decode frames to learn more, 0.3 to 1.3 ms.
        options["analyzeduration"] = "1"
        streams["skip_frame"] = "all"
    # Titles in another encoding must not make a good video unreadable, hence metadata_errors.
    return av.open(file, "r", container_options=options, options=streams, metadata_errors="replace")


def _first_video(path: str, container: InputContainer, max_pixels: int, lossy: bool) -> OpenVideo:
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & pictures]
    if not streams:
        raise VideoError(path, "has no video stream")
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise VideoError(path, "has a video stream of a kind that cannot be decoded")
    if context.width <= 0 or context.height <= 0:
        raise VideoError(path, f"claims frames of {context.width}x{context.height} pixels")
    if context.width * context.height > max_pixels:
        raise VideoError(path, f"frames of {context.width}x{context.height} exceed the limit of {max_pixels} pixels")
    # The size may also change inside the stream. FFmpeg counts padded planes, hence the margin.
    # Strict: without it a stream that does not say how far it reorders may lose its first frames.
    context.options = {"max_pixels": str(2 * max_pixels + 2**17), "strict": "1"}
    if lossy:
        context.options = {**context.options, "skip_loop_filter": "all"}
    # No frame threads: they delay output, and workers already use every core.
    context.thread_type = "NONE"
    rate = _rate(stream)
    if not rate or not MIN_FPS <= rate <= MAX_FPS:
        expected = f"one in {1 / MIN_FPS} s up to {MAX_FPS} in one"
        raise VideoError(path, f"claims {_number(rate)} frames per second, expected {expected}")
    offset = max((container.start_time or 0) / av.time_base, 0.0)
    claimed = _claimed_seconds(container, stream, offset)
    video = OpenVideo(
        path=path,
        container=container,
        stream=stream,
        fps=float(rate),
        claimed_seconds=claimed,
        offset=offset,
        has_times=not (container.format.name == "avi" and stream.codec_context.has_b_frames),
    )
    video.check_duration(claimed or 0.0)
    return video


def _rate(stream: VideoStream) -> Fraction | None:
    """Return frames per second: the average, unless a gap in the times throws that off.

    A jump of an hour makes 25 frames a second one in 36 s. Then an mp4's index knows how far apart most frames are.
    """
    average, guessed = stream.average_rate, stream.guessed_rate
    if average and guessed and stream.time_base and guessed > GAP_FACTOR * average:
        stamps = sorted(entry.timestamp for entry in islice(stream.index_entries, INDEX_LOOKED_AT))
        steps = sorted(later - stamp for stamp, later in pairwise(stamps))
        if steps and steps[len(steps) // 2] > 0:
            return max(average, 1 / (steps[len(steps) // 2] * stream.time_base))
    return average or guessed or stream.base_rate


def _number(rate: Fraction | None) -> str:
    return "no" if not rate else f"{float(rate):g}"


def _claimed_seconds(container: InputContainer, stream: VideoStream, offset: float) -> float | None:
    """Return the end the container claims for this stream; a claim for the whole file may be the sound's."""
    if stream.duration and stream.time_base is not None:  # 0 is no claim
        start = stream.start_time or 0
        return float((start + stream.duration) * stream.time_base) - offset
    tag = stream.metadata.get("DURATION", "")  # Matroska keeps one for each stream
    match = re.fullmatch(r"(\d+):(\d+):([\d.]+)", tag)
    if match:
        return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) - offset
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _counted_seconds(video: OpenVideo, first: VideoFrame) -> float:
    """Return the end of the last packet behind the first frame: live recordings do not say how long they are."""
    base = float(video.stream.time_base or 1)
    last = (first.pts or 0) * base
    for packet in video.container.demux(video.stream):
        if packet.pts is not None:
            last = max(last, packet.pts * base)
            video.check_duration(last - video.offset)
    return last - video.offset + 1 / video.fps


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)
