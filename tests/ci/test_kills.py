"""A demo or a training run that is killed wherever it happens to be goes on, and ends with the same numbers."""

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ci_support import TUBELET, demo_command
from faulted import assert_held

pytestmark = pytest.mark.ci

NUM_KILLS = 4


def killed(command: list[str], *, seconds: tuple[float, float]) -> None:
    """Start a command again and again, and stop it at random moments: Ctrl-C and the plug pulled, in turn."""
    moments = random.Random(2026)
    for number in range(NUM_KILLS):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(*seconds))
        running.send_signal(signal.SIGINT if number % 2 else signal.SIGKILL)
        status = running.wait(timeout=60)
        assert status in (0, 130, -signal.SIGKILL), f"kill {number}: status {status}"


def finish(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def numbers(out: Path) -> dict[str, object]:
    """Return every arm's result without its duration."""
    found = {}
    for path in sorted((out / "runs").glob("*/test.json")):
        result = json.loads(path.read_text())
        found[path.parent.name] = {key: value for key, value in result.items() if key != "seconds"}
    return found


def weights(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted((out / "runs").rglob("model.safetensors"))}


def test_a_killed_playground_has_the_same_annotation(finished_demo, tmp_path):
    """The annotation, byte for byte; the encoder does not promise that of the videos."""
    build = [str(TUBELET), "playground", "build", "--size", "tiny", "--out", str(tmp_path)]
    killed(build, seconds=(3, 8))
    finish(build)
    ava = sorted((finished_demo / "playground/ava").iterdir())
    assert len(ava) == 7
    assert all((tmp_path / "ava" / path.name).read_bytes() == path.read_bytes() for path in ava)


def test_a_killed_demo_ends_with_the_same_numbers_and_weights(finished_demo, tmp_path):
    made_again = shutil.ignore_patterns("cache", "posts")
    shutil.copytree(finished_demo / "playground", tmp_path / "playground", ignore=made_again)
    shutil.copytree(finished_demo / "playground/videos/posts", tmp_path / "playground/videos/posts")
    killed(demo_command(tmp_path), seconds=(4, 14))
    finish(demo_command(tmp_path))
    assert numbers(tmp_path)
    assert numbers(tmp_path) == numbers(finished_demo)
    assert weights(tmp_path) == weights(finished_demo)


def test_a_killed_training_run_ends_with_the_same_losses_and_weights(faults, faulted_place):
    """A round of six; ``tests/train/test_fifty_kills.py`` is the long one."""
    assert_held(faults.kills(faulted_place, 6))


def test_a_second_demo_reuses_everything(finished_demo):
    before = {p: p.stat().st_mtime_ns for p in finished_demo.rglob("*.safetensors")}
    before |= {p: p.stat().st_mtime_ns for p in finished_demo.rglob("*.mp4")}
    done = subprocess.run(demo_command(finished_demo), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {p: p.stat().st_mtime_ns for p in before} == before
