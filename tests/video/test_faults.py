"""Damaged videos give their frames or one typed line with the path; nothing crashes, hangs or leaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from make_damaged import CUTS, make_damaged
from numbered_video import faststart, number_of, write_at, write_numbered

from tubelet.types import VideoError
from tubelet.video.container import probe
from tubelet.video.decode import iter_frames, read_frames
from tubelet.video.media import resolve_media

EARLY = [0.2]
LATE = [3.8]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def damaged(folder: Path) -> dict[str, Path]:
    return make_damaged(write_numbered(folder / "good.mp4"), folder / "made")


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# What cannot be read at all, with words of the reason; "read" = whole; the rest is told where it is tested.
REFUSED = {
    "zero length": "the file is empty",
    "header only": "not a video file",
    "cut without index": "not a video file",
    "text with a video's name": "not a video file",
    "10 days claimed": "goes on beyond the limit",
    "no video stream": "has no video stream",
    "pipe": "not a regular file",
    "directory": "is a folder",
    "missing": "no such file",
    "loop of links": "cannot be opened",
}
READ = ("wrong extension", "line\nbreak", "ünï 影片 🎬")


def test_every_kind_is_expected(damaged: dict[str, Path]) -> None:
    told = {
        *REFUSED,
        *READ,
        "one frame",
        "no permission",
        "0x0 claimed",
        "65535x65535 claimed",
        "100000 frames claimed",
    }
    told |= {"zeros in the middle", "random bytes in the middle"}
    assert {name for name in damaged if not name.startswith("cut at")} == told
    assert sum(name.startswith("cut at") for name in damaged) == CUTS


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_read_is_one_line_with_the_path(damaged: dict[str, Path], name: str) -> None:
    path = damaged[name]
    before = open_files()
    for read in (lambda: read_frames(path, EARLY), lambda: probe(path), lambda: list(iter_frames(path))):
        with pytest.raises(VideoError, match=REFUSED[name]) as error:
            read()
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)
    assert open_files() == before


@pytest.mark.parametrize("name", READ)
def test_names_do_not_matter(damaged: dict[str, Path], name: str) -> None:
    assert [number_of(f) for f in read_frames(damaged[name], EARLY + LATE).frames] == [5, 95]


def test_a_cut_file_serves_what_is_before_the_cut_and_refuses_the_rest(damaged: dict[str, Path]) -> None:
    served = []
    for k in range(1, CUTS + 1):
        path = damaged[f"cut at {100 * k // (CUTS + 1)} percent"]
        with pytest.raises(VideoError, match="percent"):
            read_frames(path, LATE)
        seen: list[tuple[float, np.ndarray]] = []
        with pytest.raises(VideoError, match="percent"):
            seen.extend(iter_frames(path))
        assert [number_of(frame.transpose(2, 0, 1)) for _, frame in seen] == list(range(len(seen)))
        served.append(len(seen))
    assert served == sorted(served)
    assert served[0] == 0  # not even the index is whole
    assert served[-1] > 60


@pytest.mark.parametrize("name", ["zeros in the middle", "random bytes in the middle"])
def test_a_hole_is_named_with_its_time(damaged: dict[str, Path], name: str) -> None:
    path = damaged[name]
    assert [number_of(f) for f in read_frames(path, EARLY).frames] == [5]
    with pytest.raises(VideoError, match=r"middle\.mp4 at [12]\.[0-9]+ s: "):
        list(iter_frames(path))


def test_claims_of_the_container_are_not_believed(damaged: dict[str, Path]) -> None:
    frames = sum(1 for _ in iter_frames(damaged["one frame"]))
    assert frames == 1
    # Sizes in the index are wrong, those in the stream are right: the stream decides.
    for claim in ("0x0 claimed", "65535x65535 claimed"):
        assert [number_of(frame) for frame in read_frames(damaged[claim], EARLY).frames] == [5]
    with pytest.raises(VideoError, match="100000 frames"):
        list(iter_frames(damaged["100000 frames claimed"]))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(damaged: dict[str, Path]) -> None:
    with pytest.raises(VideoError, match="Permission denied"):
        read_frames(damaged["no permission"], EARLY)


def test_paths_that_leave_the_media_root(damaged: dict[str, Path], folder: Path) -> None:
    for cell in ("../good.mp4", str(folder / "good.mp4"), "made/../../../etc/passwd"):
        with pytest.raises(VideoError, match="leaves the media root"):
            resolve_media(folder / "made", cell)


def test_a_video_that_goes_on_for_days_stops_at_the_limit(tmp_path: Path) -> None:
    """MPEG-TS claims nothing that could be refused beforehand when its end is cut off."""
    path = write_at(tmp_path / "days.mkv", [0.0, 0.04, 90_000.0, 90_000.04])
    with pytest.raises(VideoError, match="goes on beyond the limit of 86400 s"):
        list(iter_frames(path))


def fuzz(good: Path, folder: Path, *, tries: int, batch: int = 100) -> dict[str, int]:
    """Return counts over all tries; a batch whose process died or hung counts its tries so far as survived."""
    total = {"tries": 0, "answered": 0, "refused": 0, "died": 0, "hung": 0, "peak_mib": 0, "files": 0}
    for seed in range(tries // batch):
        child = [sys.executable, str(Path(__file__).with_name("fuzz_child.py")), str(good), str(folder), str(seed)]
        try:
            done = subprocess.run([*child, str(batch)], capture_output=True, text=True, timeout=300)
            output, died = done.stdout, done.returncode != 0
        except subprocess.TimeoutExpired as error:
            output, died = (error.stdout or b"").decode(), False
            total["hung"] += 1
        total["died"] += died
        last = json.loads(output.splitlines()[-1]) if output else {}
        for name, value in last.items():
            total[name] = max(total[name], value) if name in ("peak_mib", "files") else total[name] + value
    return total


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("tries", [pytest.param(200, marks=pytest.mark.ci), pytest.param(1000, marks=pytest.mark.slow)])
def test_mutated_bytes_never_kill_a_reader(tmp_path: Path, tries: int, suffix: str) -> None:
    if suffix == ".mp4":
        good = faststart(write_numbered(tmp_path / "a.mp4"), tmp_path / "good.mp4")
    else:
        good = write_at(tmp_path / "good.mkv", [i / 25 for i in range(100)])
    counts = fuzz(good, tmp_path, tries=tries)
    print(counts)
    assert (counts["tries"], counts["died"], counts["hung"]) == (tries, 0, 0)
    assert counts["answered"] + counts["refused"] == tries
    assert counts["answered"] > tries // 20
    assert counts["refused"] > tries // 20
    assert counts["peak_mib"] < 1000  # an interpreter with torch takes about 350
    assert counts["files"] < 12


def test_reading_many_times_keeps_no_memory(damaged: dict[str, Path], folder: Path) -> None:
    """Files and clips of 200 reads are given back: the process' resident memory stays."""
    code = (
        "import sys; from pathlib import Path; from tubelet.types import VideoError\n"
        "from tubelet.video.convert import FrameSize; from tubelet.video.decode import read_frames\n"
        "def once():\n"
        "    for path in sys.argv[1:]:\n"
        "        try: read_frames(path, [0.2, 3.0], size=FrameSize(short_side=48))\n"
        "        except VideoError: pass\n"
        "for _ in range(20): once()\n"
        # Not ru_maxrss: the kernel hands a process the peak of the one that started it.
        "def peak(): return int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        "for _ in range(100): once()\n"
        "print((peak() - before) // 1024)\n"
    )
    paths = [str(folder / "good.mp4"), str(damaged["cut at 54 percent"]), str(damaged["zeros in the middle"])]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20  # MiB over 300 reads
