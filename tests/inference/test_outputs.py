"""What one call of localise leaves behind: three whole files together, in memory that does not grow with the video."""

import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from inference_fakes import RED, PaintDetector, untrained, write_video

from tubelet.data.ava_csv import read_ava_csv
from tubelet.inference import outputs
from tubelet.inference.detections_file import read_detections
from tubelet.inference.outputs import localise_video, results_of
from tubelet.inference.pipeline import Localiser
from tubelet.types import ActionDetections, InputError, VideoError

FILES = ["v.csv", "v.json", "v.mp4"]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    walking = lambda i: [((10 + 2 * i, 20, 34 + 2 * i, 80), RED)]  # noqa: E731
    return write_video(tmp_path / "in" / "v.mp4", walking, num_frames=20)


def test_three_files_that_agree(video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    localiser = Localiser(untrained(), people=PaintDetector())
    done = localise_video(localiser, video, out)
    found = done.files
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert found == results_of(video, out)
    moments = read_detections(found.json).moments
    assert [m.pts_seconds for m in moments] == [0.0, 0.5, 1.0, 1.5]
    table = read_ava_csv(found.ava_csv, detections=True)
    assert sorted(set(table.pts_seconds.tolist())) == [0.0, 0.5, 1.0, 1.5]
    assert set(table.video.tolist()) == {"v"}
    assert table.scores is not None
    written = sorted(float(s) for m in moments for s in m.scores.ravel() if s >= 0.05)
    assert sorted(table.scores.tolist()) == pytest.approx(written, abs=1e-4)
    assert (done.num_moments, done.num_left_out) == (4, sum(m.scores.size for m in moments) - len(written))


def test_the_csv_has_a_threshold_of_its_own_and_says_what_is_below(video: Path, tmp_path: Path) -> None:
    localiser = Localiser(untrained(), people=PaintDetector())
    everything = localise_video(localiser, video, tmp_path / "all", csv_threshold=0.0)
    half = localise_video(localiser, video, tmp_path / "half", csv_threshold=0.5)
    rows = [len(done.files.ava_csv.read_text().splitlines()) for done in (everything, half)]
    assert rows[0] == 4 * 4  # keyframes x classes, of one person
    assert everything.num_left_out == 0
    assert 0 < rows[1] < rows[0]
    assert half.num_left_out == rows[0] - rows[1]
    assert half.files.json.read_text() == everything.files.json.read_text()
    with pytest.raises(InputError, match="threshold is 5"):
        localise_video(localiser, video, tmp_path, csv_threshold=5)


def test_where_the_json_is_the_others_are_even_if_naming_them_fails(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    localiser = Localiser(untrained(), people=PaintDetector())
    files = localise_video(localiser, video, out).files
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if target == files.ava_csv:
            raise OSError("disk full")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        localise_video(localiser, video, out)
    assert not files.json.exists()


def test_memory_does_not_grow_with_the_video(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    localiser = Localiser(untrained(), people=PaintDetector())
    alive: set[int] = set()
    most = 0

    def many(_video: Path) -> Iterator[ActionDetections]:
        nonlocal most
        for i in range(5000):
            scores = np.full((3, 4), 0.5, dtype=np.float32)
            alive.add(i)
            weakref.finalize(scores, alive.discard, i)
            most = max(most, len(alive))
            yield ActionDetections(
                video="v",
                pts_seconds=i / 1000,
                boxes_norm=np.full((3, 4), 0.5, dtype=np.float32),
                scores=scores,
                box_scores=np.ones(3, dtype=np.float32),
                person_ids=np.arange(3, dtype=np.int64),
            )

    monkeypatch.setattr(Localiser, "__call__", lambda self, video: many(video))
    found = localise_video(localiser, video, tmp_path / "out").files
    assert most < 10
    assert len(read_detections(found.json).moments) == 5000
    assert len(found.ava_csv.read_text().splitlines()) == 5000 * 3 * 4


def test_a_failure_leaves_earlier_results_as_they_were(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    localiser = Localiser(untrained(), people=PaintDetector())
    localise_video(localiser, video, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def broken(*_: object, **__: object) -> None:
        raise VideoError(video, "cut short")

    monkeypatch.setattr(outputs, "render", broken)
    with pytest.raises(VideoError, match="cut short"):
        localise_video(localiser, video, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(VideoError):
        localise_video(localiser, video, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="would replace their own input"):
        localise_video(localiser, video, video.parent)


def test_a_killed_run_leaves_no_result_and_the_next_one_tidies_up(video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import sys, time; sys.path[:0] = sys.argv[3:]; from pathlib import Path\n"
        "from inference_fakes import PaintDetector, untrained\n"
        "from tubelet.inference.outputs import localise_video\n"
        "from tubelet.inference.pipeline import Localiser\n"
        "localiser = Localiser(untrained(), people=PaintDetector())\n"
        "localise_video(localiser, Path(sys.argv[1]), Path(sys.argv[2]), on_time=lambda _: time.sleep(0.2))\n"
    )
    here = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", code, str(video), str(out), here])
    try:
        deadline = time.monotonic() + 60
        while not list(out.glob(".v.incomplete/.v.mp4.*")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert [path.name for path in out.iterdir()] == [".v.incomplete"]
    localise_video(Localiser(untrained(), people=PaintDetector()), video, out)
    assert sorted(path.name for path in out.iterdir()) == FILES
