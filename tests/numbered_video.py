"""Videos with the number of each frame painted into it, so that a test can say which frames were read."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from tubelet.video.write import VideoWriter

BITS = 10


def painted(number: int, *, width: int = 160, height: int = 96) -> np.ndarray:
    """Return frame ``number``: moving gradients below, and its bits as white blocks along the top eighth."""
    y, x = np.mgrid[:height, :width]
    frame = np.stack([x + 3 * number, y + 2 * number, (x * y) // 32 + number], axis=-1) % 256
    frame = (frame // 2 + 40).astype(np.uint8)
    block = width // BITS
    frame[: height // 8] = 0
    for bit in range(BITS):
        if number >> bit & 1:
            frame[: height // 8, bit * block : (bit + 1) * block] = 255
    return frame


def number_of(frame: Tensor | np.ndarray) -> int:
    """Read the number back from a frame (3, H, W) of any size."""
    grey = np.asarray(frame).astype(float).mean(axis=0)
    height, width = grey.shape
    block = width / BITS
    row = grey[max(height // 16 - 1, 0) : height // 16 + 1].mean(axis=0)
    return sum(1 << bit for bit in range(BITS) if row[int((bit + 0.5) * block)] > 128)


def write_numbered(path: Path, *, num_frames: int = 100, fps: float = 25, gop: int = 12, first: int = 0) -> Path:
    with VideoWriter(path, width=160, height=96, fps=fps, gop=gop, preset="medium") as writer:
        for number in range(num_frames):
            writer.write(painted(first + number))
    return path


def write_at(
    path: Path,
    times: Iterable[float],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rotation: int = 0,
    container: str | None = None,
) -> Path:
    """Write frame 0, 1, ... shown at the given times: variable rates, other containers and formats."""
    with av.open(str(path), "w", format=container) as box:
        stream = box.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, pixels
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(painted(number), format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    return path


def write_with_b_frames(path: Path, num_frames: int, *, codec: str) -> Path:
    """Write 25 frames a second with B-frames: in an AVI they have no true times."""
    with av.open(str(path), "w") as box:
        stream = box.add_stream(codec, rate=25, options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(num_frames):
            picture = av.VideoFrame.from_ndarray(painted(number), format="rgb24").reformat(format="yuv420p")
            box.mux(stream.encode(picture))
        box.mux(stream.encode(None))
    return path


def faststart(source: Path, target: Path) -> Path:
    """Copy the packets into a file whose index comes first, so that it can be cut and still be opened."""
    with av.open(str(source)) as old, av.open(str(target), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return target
