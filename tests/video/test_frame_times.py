"""The times that the packets tell are those at which the reader shows the frames."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_video import painted, write_at, write_numbered, write_with_b_frames

from tubelet.types import VideoError
from tubelet.video.decode import iter_frames
from tubelet.video.frame_times import frame_times


def uneven(folder: Path) -> Path:
    """A camera that left out every third picture of the second half."""
    return write_at(folder / "uneven.mp4", [i / 25 for i in range(60) if i < 30 or i % 3])


def late(folder: Path) -> Path:
    """Pictures begin 1.5 s after the sound."""
    path = folder / "late.mp4"
    with av.open(str(path), "w") as box:
        pictures, sound = box.add_stream("libx264", rate=25), box.add_stream("aac", rate=16000)
        pictures.codec_context.time_base = Fraction(1, 1000)
        pictures.width, pictures.height, pictures.pix_fmt = 160, 96, "yuv420p"
        for number in range(30):
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            heard.sample_rate, heard.pts = 16000, 1024 * number
            box.mux(sound.encode(heard))
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(painted(number), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = 1500 + 40 * number, Fraction(1, 1000)
            box.mux(pictures.encode(frame))
        box.mux(pictures.encode(None))
        box.mux(sound.encode(None))
    return path


def edited(folder: Path) -> Path:
    """The first frames are there to be decoded and not shown."""
    path = folder / "edited.mp4"
    with (
        av.open(str(write_numbered(folder / "unedited.mp4", num_frames=40))) as old,
        av.open(str(path), "w") as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None and packet.pts is not None and packet.time_base:
                packet.pts -= round(0.4 / packet.time_base)
                packet.dts -= round(0.4 / packet.time_base)
                packet.stream = stream
                new.mux(packet)
    return path


def joined_late(folder: Path) -> Path:
    """A broadcast that is recorded from the middle of a group of pictures on."""
    path = folder / "joined.ts"
    with (
        av.open(str(write_numbered(folder / "whole.mp4", num_frames=40))) as old,
        av.open(str(path), "w", format="mpegts") as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            if number >= 7:
                packet.stream = stream
                new.mux(packet)
    return path


def hidden(folder: Path) -> Path:
    """VP8 in which one frame, an alternate reference, is not shown."""
    path = write_at(folder / "hidden.webm", [i / 25 for i in range(20)], codec="libvpx")
    with av.open(str(path)) as box:
        packets = [bytes(packet) for packet in box.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    data[data.index(packets[7])] &= 0xEF
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("write", "number", "first"),
    [(uneven, 50, 0.0), (late, 20, 1.5), (edited, None, 0.0), (joined_late, None, None), (hidden, 19, 0.0)],
    ids=["uneven", "late", "edited", "joined_late", "hidden"],
)
def test_the_times_are_those_of_the_frames_shown(
    tmp_path: Path, write: Callable[[Path], Path], number: int | None, first: float | None
) -> None:
    path = write(tmp_path)
    shown = [time for time, _ in iter_frames(path)]
    times = frame_times(path)
    assert times == shown
    assert number is None or len(shown) == number
    assert first is None or shown[0] == pytest.approx(first)


def test_frames_of_an_avi_with_b_frames_have_no_times(tmp_path: Path) -> None:
    path = tmp_path / "b_frames.avi"
    write_with_b_frames(path, 10, codec="mpeg4")
    assert frame_times(path) is None
    with pytest.raises(VideoError, match=r"gone\.mp4: no such file"):
        frame_times(tmp_path / "gone.mp4")
