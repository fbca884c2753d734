"""Training runs for ``faults.py`` to disturb: how they are started, stopped, harmed and compared.

``python faulted_runs.py`` is the process that ``Warm`` starts.
"""

import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from tubelet.models.vivit import ViViTConfig
from tubelet.recipes.playground import cofinetune
from tubelet.train.config import RunConfig

FOLDER = Path(__file__).parent
TESTS = FOLDER.parent / "tests"
TUBELET = Path(sys.executable).with_name("tubelet")
NUM_STEPS = 24
RANK_TIMEOUT = 20.0


def squares_run(squares: Path, *, steps: int = NUM_STEPS, rate: float | None = None) -> RunConfig:
    """The tiny co-finetuning run, with everything on that a resumed run has to continue.

    Args:
        squares: Folder of coloured squares.
        steps: Length of the run.
        rate: Learning rate; None = the recipe's.
    """
    run = cofinetune(squares, size="tiny", learning_rate=rate)
    assert isinstance(run.backbone, ViViTConfig)
    return replace(
        run,
        backbone=replace(run.backbone, stochastic_depth=0.3),
        optim=replace(run.optim, optimizer="adamw", ema_decay=0.9),
        num_epochs=None,
        num_steps=steps,
        batch_size=4,
        checkpoint_every_steps=1,
        rank_timeout_seconds=RANK_TIMEOUT,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the faults happen."""

    folder: Path
    squares: Path
    whole: Path
    """The undisturbed run."""
    seconds_to_first_step: float
    seconds: float
    """It took altogether."""
    moments: random.Random

    def command(self, out: Path, **options: object) -> list[str]:
        """Return the command that trains in ``out``."""
        return train_command(self.squares, out, **options)

    def fresh(self, name: str) -> Path:
        """Return a run folder that is not there."""
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        return out


def train_command(squares: Path, out: Path, **options: object) -> list[str]:
    """Return the command of a run; ``options`` are those of ``squares_run`` and of every run."""
    given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    return [str(TUBELET), "train", "faulted_runs:squares_run", "--squares", str(squares), "--out", str(out), *given]


def environment() -> dict[str, str]:
    """Return this process's environment with one thread each, and with this folder for ``faulted_runs:squares_run``."""
    path = os.pathsep.join([str(FOLDER), str(TESTS), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def start(
    command: list[str], *, env: dict[str, str] | None = None, before: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    """Start a command, its errors in a pipe; ``before`` is called in the new process."""
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=env or environment(),
        preexec_fn=before,
    )


def finish(command: list[str]) -> str:
    """Run a command to its good end; return what it wrote to standard error."""
    done = ended(start(command))
    assert done.status == 0, done.said
    return done.said


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended."""

    status: int
    said: str


def ended(process: subprocess.Popen[str], *, seconds: float = 600) -> Ended:
    """Wait for a process; one that hangs is a failed fault."""
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Ended(process.returncode, said or "")


@contextmanager
def prepared(folder: Path) -> Iterator[Place]:
    """Make the data and the undisturbed run."""
    sys.path.append(str(TESTS))
    from moving_squares import build_moving_squares  # type: ignore[import-not-found]  # of the tests

    squares = build_moving_squares(folder / "squares")
    whole = folder / "whole"
    began = time.monotonic()
    process = start(train_command(squares, whole))
    while not complete(whole) and process.poll() is None:
        time.sleep(0.01)
    first = time.monotonic() - began
    done = ended(process)
    assert done.status == 0, done.said
    seconds = time.monotonic() - began
    yield Place(
        folder=folder,
        squares=squares,
        whole=whole,
        seconds_to_first_step=first,
        seconds=seconds,
        moments=random.Random(2026),
    )


def complete(out: Path) -> list[Path]:
    """Return the checkpoints that have their name, the newest last."""
    return sorted(p for p in (out / "state").glob("step-*") if p.suffix != ".incomplete")


def losses(out: Path) -> list[tuple[Any, ...]]:
    """Return every step's row of each of its tasks in ``metrics.jsonl``, without what tells of the machine."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    kept = ("step", "task", "loss", "gradient_norm", "learning_rate")
    return [tuple(row[name] for name in kept) for row in rows if "task" in row]


def finished(out: Path) -> bool:
    """Return whether a run is trained and scored."""
    return (out / "meta.json").exists() and json.loads((out / "meta.json").read_text())["finished"]


def is_same_json(one: Path, other: Path) -> bool:
    """Return whether two files are JSON of the same value."""
    try:
        return bool(json.loads(one.read_bytes()) == json.loads(other.read_bytes()))
    except ValueError:
        return False


def is_same(out: Path, whole: Path) -> bool:
    """Return whether a run ended as another one: weights byte for byte, and every loss."""
    weights = [(folder / "model.safetensors").read_bytes() for folder in (out, whole)]
    return weights[0] == weights[1] and losses(out) == losses(whole)


def stopped(place: Place, out: Path, number: signal.Signals, *, after: float = 0.0) -> Ended:
    """Start or continue a run and send it a signal ``after`` seconds of training."""
    there = complete(out)
    process = start(place.command(out))
    while complete(out) == there and process.poll() is None:
        time.sleep(0.01)
    time.sleep(after)
    process.send_signal(number)
    return ended(process)


def harm(path: Path, kind: str, moments: random.Random) -> None:
    """Flip one bit of a file, cut it somewhere, or remove it."""
    data = bytearray(path.read_bytes())
    place = moments.randrange(len(data))
    data[place] ^= 1 << moments.randrange(8)
    if kind == "remove":
        path.unlink()
    else:
        path.write_bytes(data if kind == "flip" else data[:place])


def descendants(process: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    try:
        children = [int(c) for c in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
    return [each for child in children for each in (child, *descendants(child))]


def ranks(place: Place, out: Path, number: int, **options: object) -> list[subprocess.Popen[str]]:
    """Start the processes of a run as ``torchrun`` would, each with nobody who ends it when another one dies."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = environment() | {"WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        start(place.command(out, **options), env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(number)
    ]


class Warm:
    """A process that has imported what a run needs, and forks off one run at a time.

    Imports are most of a short run, and a kill in the middle of them tells nothing.
    """

    def __enter__(self) -> Self:
        command = [sys.executable, str(FOLDER / "faulted_runs.py")]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def killed(self, command: list[str], seconds: float) -> bool:
        """Run a command of ours and kill it after some time; return whether it had ended well before."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(command[1:]), file=self._process.stdin, flush=True)
        run = int(self._process.stdout.readline())
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            os.kill(run, signal.SIGKILL)
        status = int(self._process.stdout.readline())
        assert status in (0, -signal.SIGKILL), f"status {status}"
        return status == 0


def fork_runs() -> None:
    """Fork off a process for each command that comes, say its number, and how it ended."""
    import tubelet.train.checkpoint_shards
    import tubelet.train.stages  # noqa: F401  # imported in time
    from tubelet.cli import main

    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            sys.argv = ["tubelet", *json.loads(line)]
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            main()
            sys.exit(0)
        print(process, flush=True)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    fork_runs()
