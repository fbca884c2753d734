"""Two decoders, frame by frame the same; without torchcodec (or FFmpeg's libraries) there is nothing to compare."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_video import number_of, write_at, write_numbered

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
