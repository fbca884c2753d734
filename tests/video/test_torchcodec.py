"""Two decoders, frame by frame the same; without torchcodec (or FFmpeg's libraries) there is nothing to compare."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from numbered_video import number_of, painted, write_at, write_numbered

from tubelet.types import InputError, VideoError
from tubelet.video import torchcodec_reader
from tubelet.video.convert import Crop, FrameSize
from tubelet.video.decode import read_frames


def loads() -> bool:
    try:
        torchcodec_reader._decoder()
    except InputError:
        return False
    return True


needs_torchcodec = pytest.mark.skipif(not loads(), reason="torchcodec does not load here")


@needs_torchcodec
@pytest.mark.parametrize("gop", [12, 250])
def test_both_decoders_give_the_same_frames(tmp_path: Path, gop: int) -> None:
    path = write_numbered(tmp_path / "a.mp4", gop=gop)
    rng = np.random.default_rng(0)
    for _ in range(6):
        times = rng.uniform(-0.5, 4.5, 8).tolist()
        ours, theirs = read_frames(path, times), torchcodec_reader.read_frames(path, times)
        assert torch.equal(ours.frames, theirs.frames)
        assert np.array_equal(ours.pts_seconds, theirs.pts_seconds)
        assert ours.num_clamped == theirs.num_clamped
        for size in (FrameSize(long_side=80), FrameSize(exact_hw=(48, 60), crop=Crop(40, 40))):
            small = read_frames(path, times, size=size).frames.float()
            other = torchcodec_reader.read_frames(path, times, size=size).frames.float()
            assert (small - other).abs().mean() < 1.5


@needs_torchcodec
def test_variable_rates_agree(tmp_path: Path) -> None:
    for name, container in (("vfr.mp4", None), ("vfr.mkv", None)):
        path = write_at(tmp_path / name, [0.0, 0.04, 0.5, 0.54, 1.6, 1.64, 1.7], container=container)
        wanted = [0.26, 0.28, 1.06, 1.08, 1.66]
        ours, theirs = read_frames(path, wanted), torchcodec_reader.read_frames(path, wanted)
        assert [number_of(f) for f in theirs.frames] == [1, 2, 3, 4, 5]
        assert torch.equal(ours.frames, theirs.frames)


@needs_torchcodec
def test_a_cut_file_is_an_error_there_too(tmp_path: Path) -> None:
    whole = write_at(tmp_path / "whole.mkv", [i / 25 for i in range(100)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(VideoError):
        torchcodec_reader.read_frames(cut, [3.8])


class OneFrameLate:
    """Stands in for torchcodec's decoder, of 25 frames a second: answers with the frame after the one asked for."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def get_frames_at(self, indices: list[int]) -> SimpleNamespace:
        pts_seconds = torch.tensor([(index + 1) / 25 for index in indices], dtype=torch.float64)
        return SimpleNamespace(data=torch.zeros(len(indices), 3, 96, 160, dtype=torch.uint8), pts_seconds=pts_seconds)


def test_a_frame_of_another_time_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchcodec_reader, "_decoder", lambda: OneFrameLate)
    path = write_numbered(tmp_path / "a.mp4", num_frames=10)
    with pytest.raises(
        VideoError, match=r"at 0\.200 s: torchcodec returned the frame of 0\.240 s; .*tubelet\.video\.de"
    ):
        torchcodec_reader.read_frames(path, [0.2])


def _edited(folder: Path) -> Path:
    """Write a file whose edit list begins ten frames in, between two key frames."""
    path = write_numbered(folder / "edited.mp4", num_frames=30)
    data = bytearray(path.read_bytes())
    start = data.index(b"elst") + 12  # version, flags and number of entries come first
    seconds, media_time = struct.unpack_from(">Ii", data, start)
    with av.open(str(path)) as box:
        ticks = round(0.4 / (box.streams.video[0].time_base or 1))
    struct.pack_into(">Ii", data, start, seconds - 400, media_time + ticks)
    path.write_bytes(data)
    return path


def _ten_bits(folder: Path) -> Path:
    return write_at(folder / "ten.mp4", [i / 25 for i in range(5)], pixels="yuv420p10le")


def _interlaced(folder: Path) -> Path:
    path = folder / "fields.mp4"
    with av.open(str(path), "w") as box:
        stream = box.add_stream("libx264", rate=25, options={"x264-params": "tff=1"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.flags |= av.codec.context.Flags.interlaced_dct
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(painted(number), format="rgb24").reformat(format="yuv420p")
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("write", "why"),
    [(_edited, "an edit list leaves out"), (_ten_bits, r"10 bits a sample \(yuv420p10le"), (_interlaced, "interlaced")],
)
def test_what_the_decoders_do_not_agree_on_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Path], why: str
) -> None:
    monkeypatch.setattr(torchcodec_reader, "_decoder", lambda: OneFrameLate)
    path = write(tmp_path)
    assert len(read_frames(path, [0.0]).frames) == 1
    with pytest.raises(VideoError, match=f"{path.name}: .*{why}.*read it with tubelet.video.decode"):
        torchcodec_reader.read_frames(path, [0.0])


def test_the_package_does_without_it(tmp_path: Path) -> None:
    """The import says whether it would be used; a machine without it gets one line."""
    path = write_numbered(tmp_path / "a.mp4", num_frames=3)
    code = (
        "import sys; sys.modules['torchcodec'] = None; sys.modules['torchcodec.decoders'] = None\n"
        "from tubelet.video import decode, torchcodec_reader\n"
        f"assert len(decode.read_frames({str(path)!r}, [0.0]).frames) == 1\n"
        f"try: torchcodec_reader.read_frames({str(path)!r}, [0.0])\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("torchcodec is not installed: pip install torchcodec==0.13.0")
    assert done.stdout.count("\n") == 1
    used = subprocess.run(
        [sys.executable, "-c", "import sys, tubelet.video.decode; print('torchcodec' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert used.stdout.strip() == "False"
