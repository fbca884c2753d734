"""What a training run survives: every fault of the table below is made to happen, as often as it says.

python benchmarks/faults.py [--kills 50] [--only kill signal ...]

The run is the tiny co-finetuning recipe on coloured squares, started as users start it (``tubelet train``), with a
checkpoint after every step, so that many a fault comes while one is written. ``same`` counts the runs that ended with
the weights of the undisturbed run, bit for bit, and with its losses at every step in ``metrics.jsonl``.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from machine import write_result

from tubelet.recipes.playground import cofinetune
from tubelet.train.config import RunConfig

FOLDER = Path(__file__).parent
TESTS = FOLDER.parent / "tests"
TUBELET = Path(sys.executable).with_name("tubelet")
NUM_STEPS = 40
Row = dict[str, Any]


def squares_run(squares: Path, *, steps: int = NUM_STEPS, every: int = 1, workers: int = 1) -> RunConfig:
    """The tiny co-finetuning run, with everything on that a resumed run has to continue.

    Args:
        squares: Folder of coloured squares.
        steps: Length of the run.
        every: Steps between checkpoints.
        workers: Of the loader.
    """
    run = cofinetune(squares, size="tiny")
    return replace(
        run,
        backbone=replace(run.backbone, stochastic_depth=0.3),
        optim=replace(run.optim, optimizer="adamw", ema_decay=0.9),
        num_epochs=None,
        num_steps=steps,
        batch_size=4,
        num_workers=workers,
        checkpoint_every_steps=every,
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
    """Return the command of a run; ``options`` are those of ``squares_run``."""
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return [str(TUBELET), "train", "faults:squares_run", "--squares", str(squares), "--out", str(out), *given]


def environment() -> dict[str, str]:
    """Return this process's environment with one thread each, and with this folder for ``faults:squares_run``."""
    path = os.pathsep.join([str(FOLDER), str(TESTS), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def start(command: list[str], **options: Any) -> subprocess.Popen[str]:
    """Start a command, its output in pipes."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment(), **(pipes | options))


def finish(command: list[str], **options: Any) -> str:
    """Run a command to its good end; return what it wrote to standard error."""
    done = ended(start(command, **options))
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
    from moving_squares import build_moving_squares

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


def is_same(out: Path, whole: Path) -> bool:
    """Return whether a run ended as another one: weights byte for byte, and every loss."""
    weights = [(folder / "model.safetensors").read_bytes() for folder in (out, whole)]
    return weights[0] == weights[1] and losses(out) == losses(whole)


def row(number: str, fault: str, *, times: int, held: int, detail: str) -> Row:
    """Return a row of the table: how often the fault was made to happen, and how often the run did as promised."""
    return {"row": number, "fault": fault, "times": times, "as promised": held, "detail": detail}


def kills(place: Place, times: int = 50) -> Row:
    """Kill a run at random moments, from its start to its end, and let it go on; begin anew when it has ended."""
    runs = same = inside = 0
    out = place.fresh("kills")
    for _ in range(times):
        process = start(place.command(out), stderr=subprocess.DEVNULL)
        try:
            process.wait(place.moments.uniform(0, 2 * place.seconds_to_first_step))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        inside += any((out / "state").glob("*.incomplete"))
        if process.returncode == 0:
            runs, same, out = runs + 1, same + is_same(out, place.whole), place.fresh("kills")
    finish(place.command(out))
    runs, same = runs + 1, same + is_same(out, place.whole)
    held = times if same == runs else 0
    detail = f"{runs} runs, {same} the same; {inside} kills inside the write of a checkpoint"
    return row("1", "SIGKILL at a random moment", times=times, held=held, detail=detail)


def stopped(place: Place, out: Path, number: signal.Signals, *, after: float = 0.0) -> Ended:
    """Start or continue a run and send it a signal ``after`` seconds of training."""
    there = complete(out)
    process = start(place.command(out))
    while complete(out) == there and process.poll() is None:
        time.sleep(0.01)
    time.sleep(after)
    process.send_signal(number)
    return ended(process)


def signals(place: Place, times: int = 3) -> Row:
    """Send what schedulers send before they take a machine away, some times in one run."""
    held, slowest = 0, 0.0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        out = place.fresh(f"signal-{number}")
        for _ in range(times):
            began = time.monotonic()
            done = stopped(place, out, number, after=place.moments.uniform(0, 0.5))
            slowest = max(slowest, time.monotonic() - began)
            step = int(complete(out)[-1].name.removeprefix("step-"))
            said = f"stopped after step {step} of {NUM_STEPS}; the same command goes on from there"
            held += done.status == 128 + number and said in done.said
        finish(place.command(out))
        held -= times * (not is_same(out, place.whole))
    detail = "exit status 128 + signal, a checkpoint of the step it stopped after, then the same weights"
    return row("3", "SIGINT, SIGTERM, SIGUSR1", times=3 * times, held=held, detail=detail)


def damage(place: Place, times: int = 100) -> Row:
    """Flip a bit, cut or remove each file of the newest checkpoint in turn."""
    kept = place.fresh("damage")
    stopped(place, kept, signal.SIGTERM, after=0.3)
    before, newest = complete(kept)[-2:]
    tried = held = 0
    for kind in ("flip", "cut", "remove"):
        for path in sorted(newest.iterdir()):
            out = place.fresh("damaged")
            shutil.copytree(kept, out)
            harm(out / path.relative_to(kept), kind, place.moments)
            said = finish(place.command(out))
            tried += 1
            held += "checkpoint passed over, the one before is used" in said and is_same(out, place.whole)
    out = place.fresh("damaged")
    shutil.copytree(kept, out)
    for folder in complete(out):
        harm(next(folder.glob("*.safetensors")), "flip", place.moments)
    done = ended(start(place.command(out)))
    held += done.status == 2 and "every checkpoint is damaged" in done.said
    detail = f"step {before.name.removeprefix('step-')} stays in use and it is said; status 2 when none is left"
    return row("2", "a flipped bit, a cut or a missing file", times=tried + 1, held=held, detail=detail)


def harm(path: Path, kind: str, moments: random.Random) -> None:
    """Flip one bit of a file, cut it somewhere, or remove it."""
    data = bytearray(path.read_bytes())
    place = moments.randrange(len(data))
    data[place] ^= 1 << moments.randrange(8)
    if kind == "remove":
        path.unlink()
    else:
        path.write_bytes(data if kind == "flip" else data[:place])


def full_disk(place: Place, times: int = 3) -> Row:
    """Let no file become as large as the optimizer's, which is what a full disk does in the middle of one."""
    held = 0
    for number in range(times):
        out = place.fresh(f"full-{number}")
        stopped(place, out, signal.SIGTERM)
        before = complete(out)
        weights = (out / "model.safetensors").read_bytes()
        largest = max(path.stat().st_size for path in before[-1].iterdir())
        limit = largest - place.moments.randrange(1, largest // 4)

        def small_files(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        done = ended(start(place.command(out), preexec_fn=small_files))
        step = int(before[-1].name.removeprefix("step-"))
        said = f"could not be written (OSError: [Errno 27] File too large); the one of step {step} stays in use"
        intact = complete(out) == before and (out / "model.safetensors").read_bytes() == weights
        finish(place.command(out))
        held += done.status == 2 and said in done.said and intact and is_same(out, place.whole)
    detail = "status 2, one line, the checkpoint before and the published weights intact; then the same weights"
    return row("4", "no room for a checkpoint", times=times, held=held, detail=detail)


def full_tmpfs(place: Place, times: int = 1) -> Row:
    """Train into a file system that is too small for two checkpoints and the log."""
    size = 2 * sum(path.stat().st_size for path in complete(place.whole)[-1].iterdir())
    held = 0
    out = place.fresh("tmpfs")
    out.mkdir()
    inside = " ".join(place.command(out))
    copy = f"cp -r {out} {place.folder}/tmpfs-after"
    shell = f"mount -t tmpfs -o size={size} none {out} && {inside}; status=$?; {copy}; exit $status"
    done = ended(start(["unshare", "-rm", "sh", "-c", shell]))
    if "unshare" in done.said or "mount:" in done.said:
        return row("4", "a full file system", times=0, held=0, detail=f"not run: {done.said.strip()[:60]}")
    after = place.folder / "tmpfs-after"
    finish(place.command(after))
    held += done.status == 2 and "No space left on device" in done.said and is_same(after, place.whole)
    detail = "status 2, one line; what is there goes on to the same weights elsewhere"
    return row("4", "a full file system (tmpfs)", times=times, held=held, detail=detail)


def dead_workers(place: Place, times: int = 10) -> Row:
    """Kill processes of the loader at random, the one they are forked from included."""
    killed = held = 0
    while killed < times:
        out = place.fresh("workers")
        process = start(place.command(out, workers=2))
        here = 0
        while process.poll() is None:
            children = descendants(process.pid)
            if complete(out) and children and killed < times:
                os.kill(place.moments.choice(children), signal.SIGKILL)
                killed, here = killed + 1, here + 1
            time.sleep(place.moments.uniform(0.05, 0.4))
        done = ended(process)
        held += here * (done.status == 0 and is_same(out, place.whole))
    detail = "the run goes on by itself to the same weights"
    return row("6", "SIGKILL of a loader's process", times=killed, held=held, detail=detail)


def descendants(process: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    try:
        children = [int(c) for c in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
    return [each for child in children for each in (child, *descendants(child))]


def other_workers(place: Place) -> Row:
    """Train with other numbers of loader processes."""
    numbers = (0, 2, 4)
    held = 0
    for number in numbers:
        out = place.fresh(f"workers-{number}")
        finish(place.command(out, workers=number))
        held += is_same(out, place.whole)
    detail = "0, 2 and 4 beside the undisturbed run's 1: the same losses and weights"
    return row("10", "another number of workers", times=len(numbers), held=held, detail=detail)


FAULTS: Mapping[str, Callable[[Place], Row]] = {
    "kills": kills,
    "damage": damage,
    "signals": signals,
    "full_disk": full_disk,
    "full_tmpfs": full_tmpfs,
    "dead_workers": dead_workers,
    "other_workers": other_workers,
}


def main() -> None:
    """Make the faults happen and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=list(FAULTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, prepared(Path(folder)) as place:
        rows = []
        for name in options.only:
            rows.append(kills(place, options.kills) if name == "kills" else FAULTS[name](place))
            print(rows[-1], flush=True)
    if set(options.only) == set(FAULTS):
        write_result("faults", rows)


if __name__ == "__main__":
    main()
