"""The other decoder: torchcodec, where it is installed (version 0.13 or newer, with FFmpeg's shared libraries).

Never imported with the package. The frames are chosen by the same rule, from the packets' times, and agree bit for
bit at full size; a picture that changes size is scaled by torch and differs as ``convert.py`` says. What torchcodec
decodes to other frames or colours is refused: streams that an edit list cuts, more than 8 bits, interlaced frames.
"""

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from tubelet.types import Clip, InputError, VideoError, first_line
from tubelet.video.container import MAX_PIXELS, OpenVideo, open_video
from tubelet.video.convert import OWN_SIZE, FrameSize, resize_rgb
from tubelet.video.decode import WantedTimes, wanted_times
from tubelet.video.media import Media
from tubelet.video.sampling import nearest, num_clamped

OTHER_READER = "torchcodec's frames would not be PyAV's: read it with tubelet.video.decode"


def read_frames(
    media: Media | str | Path,
    pts_seconds: WantedTimes,
    *,
    size: FrameSize = OWN_SIZE,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
) -> Clip:
    """Read frames as ``decode.read_frames`` does; a video file, a shard's member or a URI.

    Args:
        media: As there, without pictures.
        pts_seconds: As there.
        size: As there.
        device: Where torchcodec decodes and where the frames stay: ``cpu`` or ``cuda``.
        max_pixels: As there.

    Raises:
        InputError: torchcodec is missing or does not load.
        VideoError: The video cannot be read, or not as PyAV reads it.
    """
    decoder_class = _decoder()
    media = Media.of(media)
    with open_video(media, max_pixels=max_pixels) as video:
        fps = video.fps
        shown = _packet_times(video)
        _check_first_frame(video)
        offset = video.offset
        wanted = wanted_times(pts_seconds, fps)
        if max(wanted) > shown[-1]:
            video.check_complete(shown[-1] + 1 / fps)
    chosen = nearest(np.array(shown), np.array(wanted)).tolist()
    with media.open() as file:
        try:
            decoder = decoder_class(file, num_ffmpeg_threads=1, seek_mode="exact", device=device)
            batch = decoder.get_frames_at(chosen)
        except (RuntimeError, ValueError, IndexError) as error:
            raise VideoError(media, f"torchcodec cannot decode it ({first_line(error)})", min(wanted)) from error
    frames = batch.data
    if len(frames) != len(chosen):  # it has answered with fewer frames than asked, and without an error
        raise VideoError(media, f"torchcodec returned {len(frames)} of {len(chosen)} frames", max(wanted))
    times = [shown[i] for i in chosen]
    for time, answered in zip(times, (batch.pts_seconds - offset).tolist(), strict=True):
        if not abs(answered - time) <= 0.5 / fps:
            raise VideoError(media, f"torchcodec returned the frame of {answered:.3f} s; {OTHER_READER}", time)
    clamped = num_clamped(wanted, times, shown[0], shown[-1], frame_seconds=1 / fps)
    return Clip(frames=_resized(frames, size), pts_seconds=np.array(times), num_clamped=clamped)


def _decoder() -> type:
    try:
        from torchcodec.decoders import VideoDecoder
    except ImportError as error:
        raise InputError(f"torchcodec is not installed: pip install torchcodec==0.13.0 ({error})") from error
    except (OSError, RuntimeError) as error:
        raise InputError(f"torchcodec is installed but does not load: {first_line(error)}") from error
    decoder: type = VideoDecoder
    return decoder


def _packet_times(video: OpenVideo) -> list[float]:
    """Return the sorted times of all frames, from the packets; nothing is decoded.

    Raises:
        VideoError: torchcodec would count other frames.
    """
    base = video.stream.time_base or Fraction(1)
    video.seek_start()
    shown = [packet for packet in video.container.demux(video.stream) if packet.size]
    if any(packet.is_discard for packet in shown):
        raise VideoError(video.path, f"an edit list leaves out some of its frames; {OTHER_READER}")
    if not shown:
        raise VideoError(video.path, "the video stream has no frame")
    if any(packet.pts is None for packet in shown) or not video.has_times:
        raise VideoError(video.path, "has frames without a time, which torchcodec's reader does not take")
    return sorted(float(packet.pts * base) - video.offset for packet in shown if packet.pts is not None)


def _check_first_frame(video: OpenVideo) -> None:
    """Raise where torchcodec turns frames into RGB otherwise than PyAV.

    Raises:
        VideoError: The first frame has more than 8 bits or is interlaced.
    """
    video.seek_start()
    frame = next(video.container.decode(video.stream), None)
    if frame is None:
        raise VideoError(video.path, "the video stream has no frame that can be decoded")
    bits = max(component.bits for component in frame.format.components)
    if bits > 8:
        raise VideoError(video.path, f"its frames have {bits} bits a sample ({frame.format.name}); {OTHER_READER}")
    if frame.interlaced_frame:
        raise VideoError(video.path, f"its frames are interlaced; {OTHER_READER}")


def _resized(frames: torch.Tensor, size: FrameSize) -> torch.Tensor:
    height, width = frames.shape[-2:]
    new_width, new_height = size.scaled(width, height)
    frames = resize_rgb(frames, new_height, new_width)
    if size.crop is None:
        return frames
    top, left = size.crop.place(new_height, new_width)
    return frames[:, :, top : top + size.crop.height, left : left + size.crop.width]
