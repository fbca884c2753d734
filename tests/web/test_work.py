"""The process that works on a video: what it hands back, what it refuses, and that its limits hold."""

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from page_server import CHOICES
from untrained_run import ACTIONS, write_untrained_run

from tubelet.inference.detections_file import read_detections
from tubelet.records import to_json
from tubelet.types import VideoError
from tubelet.video.write import VideoWriter
from tubelet.web.order import Choices, Order
from tubelet.web.runner import WORK
from tubelet.web.work import work

LIMITS = {"max_seconds": 100.0, "max_pixels": 1_000_000, "max_frames": 1000}
ROOM = {"max_memory_bytes": 8 << 30, "max_file_bytes": 1 << 30}


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    with VideoWriter(tmp_path / "upload.mp4", width=96, height=64, fps=10) as writer:
        for _ in range(20):
            writer.write(np.full((64, 96, 3), 110, np.uint8))
    return (tmp_path / "upload.mp4").rename(tmp_path / "upload")


@pytest.fixture
def choices(tmp_path: Path) -> Choices:
    rows = [f"street,{t / 10},0.1,0.1,0.5,0.9,,0.9" for t in range(20)]
    (tmp_path / "boxes.csv").write_text("\n".join(rows) + "\n")
    model = write_untrained_run(tmp_path / "model")
    return Choices(**{**to_json(CHOICES), "model": str(model), "people": f"csv:{tmp_path / 'boxes.csv'}"})


def ordered(tmp_path: Path, choices: Choices, **changed: float) -> Order:
    attempt = tmp_path / "attempt-1"
    attempt.mkdir()
    return Order(folder=str(attempt), name="street.mp4", choices=choices, **{**LIMITS, **ROOM, **changed})


def run_process(order: Order) -> tuple[list[dict[str, object]], int]:
    with subprocess.Popen(WORK, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(to_json(order)).encode() + b"\n")
        process.stdin.flush()
        lines = [json.loads(line) for line in process.stdout]
    return lines, process.returncode


def test_a_process_does_an_order_and_says_how_far_it_is(tmp_path, upload, choices):
    order = ordered(tmp_path, choices)
    lines, status = run_process(order)
    assert status == 0
    shares = [line["share"] for line in lines if "share" in line]
    assert shares == sorted(shares)
    outcome = lines[-1]["outcome"]
    folder = Path(order.folder)
    assert json.loads((folder / "outcome.json").read_text()) == outcome
    assert (outcome["video"], outcome["media_type"]) == ("street.mp4", "video/mp4")  # played as it was sent
    assert (outcome["num_people"], outcome["num_moments"]) == (1, 4)
    assert all((folder / file["path"]).stat().st_size == file["num_bytes"] for file in outcome["files"])
    (told,) = (folder / file["path"] for file in outcome["files"] if file["format"] == "json")
    assert read_detections(told).label_space.names == ACTIONS
    assert str(tmp_path) not in told.read_text()  # no path of the server


def test_too_little_memory_is_an_answer(tmp_path, upload, choices):
    order = ordered(tmp_path, choices, max_memory_bytes=64 << 20)
    lines, status = run_process(order)
    # A library that does not look whether it got memory ends the process instead (1 of 6 times): the runner says that.
    assert status == -signal.SIGSEGV or "more than the 64 MiB of memory" in str(lines[-1]["error"])
    assert not (Path(order.folder) / "outcome.json").exists()


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"max_seconds": 1.0}, "is 2 s long; at most 1 s are taken"),
        ({"max_frames": 10}, "has 20 frames; at most 10 are taken"),
        ({"max_pixels": 1000}, "96x64 exceed the limit of 1000 pixels"),
    ],
)
def test_what_is_too_large_is_refused_in_one_line(tmp_path, upload, choices, limit, reason, monkeypatch):
    order = ordered(tmp_path, choices, **limit)
    monkeypatch.chdir(order.folder)
    with pytest.raises(VideoError, match=reason) as error:
        work(order, lambda stage, share: None)
    assert str(tmp_path) not in str(error.value)


def test_a_text_file_is_no_video(tmp_path, upload, choices, monkeypatch):
    upload.write_text("Dear reader, this is no video.\n" * 100)
    order = ordered(tmp_path, choices)
    monkeypatch.chdir(order.folder)
    with pytest.raises(VideoError, match=r"^street\.mp4: not a video file that can be read"):
        work(order, lambda stage, share: None)


def test_a_process_ends_with_its_server(tmp_path):
    """Its standard input ends when the server does, however it does."""
    reading, writing = os.pipe()
    with subprocess.Popen(WORK, stdin=reading, stdout=subprocess.DEVNULL) as process:
        os.close(reading)
        os.close(writing)
        assert process.wait(timeout=60) == 0
