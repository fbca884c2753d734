"""The command line under ``torchrun``, as ``docs/scale.md`` has it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tubelet.records import read_json

pytestmark = pytest.mark.slow  # several interpreters start


def torchrun(*words: str | Path, ranks: int = 2) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return subprocess.run(
        [*start, "-m", "tubelet", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def own_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("tubelet: ")]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_train_and_one_shows(squares: Path, tmp_path: Path, parallel: str) -> None:
    command = ("train", "transfer_kinetics", "--playground", squares, "--size", "tiny", "--out", tmp_path / "run")
    done = torchrun(*command, "--set", "num_epochs=2", "--set", f"parallel={parallel}", "--set", "device=cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run folder: ") == 1
    assert read_json(tmp_path / "run" / "meta.json")["finished"]


@pytest.mark.parametrize(
    ("option", "said"),
    [("batch_size=5", "batch_size is 5, expected a multiple of 2 (processes)"), ("nonsense=1", "nonsense")],
)
def test_a_mistake_is_said_once_and_ends_all_with_status_2(
    squares: Path, tmp_path: Path, option: str, said: str
) -> None:
    command = ("train", "transfer_kinetics", "--playground", squares, "--size", "tiny", "--out", tmp_path / "run")
    done = torchrun(*command, "--set", option, "--set", "device=cpu")
    (line,) = own_lines(done.stderr)
    assert said in line
    assert "exitcode  : 2" in done.stderr  # of one: torchrun may end the other before it has looked
    assert not (tmp_path / "run" / "state").exists()
