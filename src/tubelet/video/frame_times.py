"""When each frame of a video is shown, for annotations that count frames."""

from fractions import Fraction
from pathlib import Path

from tubelet.types import VideoError
from tubelet.video.container import OpenVideo, open_video
from tubelet.video.media import Media
from tubelet.video.plan import VideoPacket


def frame_times(media: Media | str | Path) -> list[float] | None:
    """Return the time of each frame of a video file in the order they are shown, as ``read_frames`` counts time.

    The packets say it, nothing is decoded. What an edit list leaves out and what a decoder cannot show (before the
    first key frame; VP8's hidden frames) is no frame.

    Returns:
        None where packets have no true times, as in an AVI with B-frames: those frames are counted at their rate.

    Raises:
        VideoError: The file cannot be read, or has no frame.
    """
    with open_video(media) as video:
        if not video.has_times:
            return None
        base = video.stream.time_base or Fraction(1)
        stamps: list[int] = []
        begun = False
        for packet in video.container.demux(video.stream):
            begun = begun or packet.is_keyframe
            if not packet.size or not begun or packet.is_discard or _is_hidden(video, packet):
                continue
            if packet.pts is None:
                return None
            stamps.append(packet.pts)
        if not stamps:
            raise VideoError(video.path, "the video stream has no frame")
        return [stamp * base.numerator / base.denominator - video.offset for stamp in sorted(stamps)]


def _is_hidden(video: OpenVideo, packet: VideoPacket) -> bool:
    """Return whether a packet of VP8 holds a frame that others refer to and nobody sees: its bit "show" is 0."""
    return video.stream.codec_context.name in ("vp8", "libvpx") and not memoryview(packet)[0] & 0x10
