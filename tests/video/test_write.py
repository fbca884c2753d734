import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_video import number_of, painted, write_numbered

from tubelet.types import InputError
from tubelet.video.decode import iter_frames
from tubelet.video.write import VideoWriter


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "new" / "a.mp4", num_frames=30)
    with av.open(str(path)) as box:
        stream = box.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    frames = [frame for _, frame in iter_frames(path)]
    assert [number_of(f.transpose(2, 0, 1)) for f in frames] == list(range(30))
    # Colours too, up to compression and half-size chroma: a wrong matrix would be off by tens.
    assert np.abs(frames[7].astype(int) - painted(7)).mean() < 4


@pytest.mark.parametrize(
    ("fps", "second"), [(12.5, 0.08), (29.97, 1001 / 30000), (23.976, 1001 / 24000), (30, 1 / 30), (7.3, 1 / 7.3)]
)
def test_fractional_rates_are_kept(tmp_path: Path, fps: float, second: float) -> None:
    path = write_numbered(tmp_path / "a.mp4", num_frames=3, fps=fps)
    times = [time for time, _ in iter_frames(path)]
    assert times == pytest.approx([0.0, second, 2 * second], abs=2e-5)


def test_key_frames_come_as_asked(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", num_frames=50, gop=10)
    with av.open(str(path)) as box:
        keys = sorted(p.pts * p.time_base for p in box.demux(video=0) if p.pts is not None and p.is_keyframe)
    assert [round(float(k) * 25) for k in keys] == [0, 10, 20, 30, 40]


def test_the_same_frames_give_the_same_bytes_whatever_memory_held(tmp_path: Path) -> None:
    """``MALLOC_PERTURB_`` fills new memory: x264's code for AVX-512 read it (docs/log.md)."""
    first, *others = (written_where_memory_is(fill, tmp_path) for fill in ("0", "85", "170"))
    assert first == others[0] == others[1]


def written_where_memory_is(fill: str, folder: Path) -> list[str]:
    """Return the digests of videos that a new process writes, whose fresh memory is filled with a byte."""
    environment = os.environ | {"MALLOC_PERTURB_": fill, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITE, str(folder / fill)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split()


WRITE = """
import hashlib, sys
from pathlib import Path
from moving_squares import hash_of, write_video

for number in range(12):
    path = Path(sys.argv[1]) / f"{number}.mp4"
    write_video(path, colour="green", direction="right", seed=hash_of("kinetics", "train", number))
    print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_an_exception_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def render() -> None:
        with VideoWriter(path, width=160, height=96, fps=25) as writer:
            writer.write(painted(0))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        render()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_appears_under_the_name_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with VideoWriter(path, width=160, height=96, fps=25) as writer:
        writer.write(painted(0))
        assert not path.exists()
    assert path.exists()


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="no frame was written"),
        VideoWriter(tmp_path / "a.mp4", width=160, height=96, fps=25),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("width", "height", "fps"), [(161, 96, 25), (160, 95, 25), (0, 96, 25), (160, 96, 0)])
def test_sizes_and_rates_that_cannot_be_written(tmp_path: Path, width: int, height: int, fps: float) -> None:
    with pytest.raises(InputError, match=r"a\.mp4"):
        VideoWriter(tmp_path / "a.mp4", width=width, height=height, fps=fps)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_another_shape_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"expected uint8 \(96, 160, 3\)"),
        VideoWriter(tmp_path / "a.mp4", width=160, height=96, fps=25) as writer,
    ):
        writer.write(np.zeros((160, 96, 3), dtype=np.uint8))
