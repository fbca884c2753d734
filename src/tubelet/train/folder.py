"""The run folder: what it says about itself, and whether a run may go on in it."""

import fcntl
import hashlib
import json
import os
import platform
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tubelet.data.manifest import DETECTED_TABLE
from tubelet.models.saved import META_FILE, model_meta, read_meta
from tubelet.records import first_difference, read_json, write_json
from tubelet.tasks import Task, TaskConfig
from tubelet.train.config import RunConfig, deciding_options
from tubelet.types import InputError

METRICS_FILE = "metrics.jsonl"
LOCK_FILE = ".lock"
MANIFEST_TABLES = "*.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """A finished run."""

    out: Path
    metrics: dict[str, float]
    """``<task>/<split>/<metric>`` at the end of the run."""


def finished_result(out: Path) -> RunResult | None:
    """Return the result of a finished run, or None when there is none or it is not finished."""
    if not (out / META_FILE).exists():
        return None
    meta = read_meta(out)
    return RunResult(out=out, metrics=meta["metrics"]) if meta["finished"] else None


def check_same_run(run: RunConfig, out: Path) -> None:
    """Raise when ``out`` holds a run with other options, naming the first difference, or one on other data."""
    if not (out / META_FILE).exists():
        return
    meta = read_meta(out)
    if "config" not in meta:
        raise InputError(f"{out}: holds a model without the run that made it; give another --out")
    # Read and written again, so that an option which this version has and that run's had not takes its default.
    there = RunConfig.from_json(meta["config"], where=str(out / META_FILE)).to_json()
    if difference := first_difference(deciding_options(there), deciding_options(run.to_json())):
        raise InputError(f"{out}: holds another run, which differs in {difference}; give another --out")
    for task in run.tasks:
        if meta.get("data", {}).get(task.name) != task_data_hash(task):
            raise InputError(
                f"{out}: the data in {task.manifest} (task {task.name}) is not what it was when this run began; "
                "give another --out"
            )


def task_data_hash(task: TaskConfig) -> str:
    """Return the ``data_hash`` of what a task reads: detected boxes count where it trains or scores on them."""
    return data_hash(Path(task.manifest), detected={task.boxes, task.eval_boxes} != {"annotated"})


def data_hash(manifest: Path, *, detected: bool = False) -> str:
    """Return a SHA-256 of what a manifest folder says: its label space, and its tables byte for byte.

    Where its videos lie and who made it do not count; nor does what the videos show, which takes reading all of them.

    Args:
        manifest: The folder.
        detected: Take its table of detected boxes too.
    """
    # As the file has it: what another version of this program reads into it must not look like other data.
    space = read_json(manifest / "manifest.json")["label_space"]
    digest = hashlib.sha256(json.dumps(space, sort_keys=True).encode())
    for table in sorted(manifest.glob(MANIFEST_TABLES)):
        if table.name == DETECTED_TABLE and not detected:
            continue
        with table.open("rb") as file:
            digest.update(table.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@contextmanager
def sole_writer(out: Path) -> Iterator[None]:
    """Let one process at a time write into a run folder; a folder that is empty afterwards is removed.

    The lock is the operating system's and ends with the process that took it, however it ends; a file left behind
    means nothing. POSIX record locks, because workers that are forked off must not hold it too.

    Raises:
        InputError: Another process writes there now; the message says which.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / LOCK_FILE
    with path.open("a+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.stat()  # Gone where the process before has just ended: what is locked then is no file any more.
        except OSError:
            file.seek(0)
            raise InputError(
                f"{out}: {file.read() or 'another process'} is writing here; wait, stop it, or give another --out"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink()
            if not any(out.iterdir()):
                out.rmdir()


def write_run_meta(
    run: RunConfig,
    out: Path,
    tasks: Mapping[str, Task],
    *,
    data: Mapping[str, str],
    sizes: Mapping[str, int],
    step: int,
    num_steps: int,
    finished: bool,
    metrics: Mapping[str, float],
    thresholds: Mapping[str, tuple[float, ...]],
) -> None:
    """Write ``meta.json``; together with the weights it rebuilds the model.

    Args:
        run: The whole run.
        out: Run folder.
        tasks: Task name to task; gives what each head means.
        data: Task name to the ``data_hash`` of its manifest when the run was opened.
        sizes: Task name to training examples.
        step: Steps done.
        num_steps: Length of the run.
        finished: Whether the run is trained and scored.
        metrics: Its scores.
        thresholds: Task name to those of its classes (``evals.thresholds``), chosen on the split that was scored.
    """
    extra: dict[str, Any] = {
        "config": run.to_json(),
        "data": dict(data),
        "num_examples": dict(sizes),
        "step": step,
        "num_steps": num_steps,
        "finished": finished,
        "metrics": dict(metrics),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in ("tubelet", "torch", "av")},
    }
    heads = {name: replace(task.head_meta, thresholds=thresholds.get(name, ())) for name, task in tasks.items()}
    meta = model_meta(recipe=run.name, backbone=run.backbone, preprocess=run.preprocess, heads=heads, extra=extra)
    write_json(out / META_FILE, meta)


def store_thresholds(folder: Path, thresholds: Mapping[str, tuple[float, ...]]) -> None:
    """Write thresholds (``evals.thresholds``) of these tasks into a finished run's ``meta.json``.

    Raises:
        InputError: No task is left that could have any.
    """
    if not thresholds:
        raise InputError(f"{folder}: no task was scored whose classes are independent; thresholds are of such only")
    meta = read_meta(folder)
    for task, chosen in thresholds.items():
        meta["tasks"][task]["thresholds"] = list(chosen)
    write_json(folder / META_FILE, meta)
