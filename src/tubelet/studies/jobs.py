"""Runs: what is finished is kept, several go on at once, none starts after a time or before the one it needs.

A run is finished one way or the other: its folder holds its result, or why there is none.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tubelet.records import from_json, read_json, write_json
from tubelet.worker_pool import WorkerPool

J = TypeVar("J")
J_contra = TypeVar("J_contra", contravariant=True)
R = TypeVar("R")
F = TypeVar("F")

FAILED_FILE = "failed.json"
"""In the folder of a run whose loss stopped being a finite number: it would do so again."""


def result_in(folder: Path, file: str, kind: type[R], *, failed: type[F]) -> R | F | None:
    """Return what a run's folder says of it; None = it is not finished.

    Args:
        folder: Of the run.
        file: Name of its result's file.
        kind: Of its result.
        failed: Kind of what is noted of a run that diverged.
    """
    if (path := folder / file).exists():
        return from_json(kind, read_json(path), where=str(path))
    if (path := folder / FAILED_FILE).exists():
        return from_json(failed, read_json(path), where=str(path))
    return None


def note_failure(folder: Path, failed: F) -> F:
    """Write down that a run diverged, so that it is not run again; return what was written."""
    write_json(folder / FAILED_FILE, failed)
    return failed


class Work(Protocol[J_contra]):
    """Runs jobs; a value of a module of its own, which can be sent to another process."""

    def __call__(self, job: J_contra, /) -> Any:
        """Run one job; return its result."""


def run_jobs(
    jobs: Sequence[J],
    work: Work[J],
    *,
    finished: Callable[[J], bool],
    note: Callable[[J, Any], None],
    num_parallel: int = 1,
    deadline: float = math.inf,
    quiet: Work[J] | None = None,
    ready: Callable[[J], bool] = lambda job: True,
) -> bool:
    """Run the unfinished jobs, none started after the deadline; return whether all are finished.

    Args:
        jobs: In the order in which they start; what a job needs comes before it.
        work: Runs one.
        finished: Whether a job need not be run; asked again when its turn comes.
        note: Called with a job and its result.
        num_parallel: Jobs at the same time, each in a process of its own.
        deadline: Of ``time.monotonic``.
        quiet: Runs one where several go on at once, whose live lines cannot share a terminal; None = as alone.
        ready: Whether what a job needs is finished; those behind it that are ready go first.
    """
    waiting = [job for job in jobs if not finished(job)]
    if num_parallel == 1:
        for job in waiting:
            if finished(job):
                continue
            if time.monotonic() > deadline:
                return False
            note(job, work(job))
        return True
    setup = quiet or work
    call: Any = type(setup).__call__
    num_running = 0
    with WorkerPool(num_parallel, setup=setup, modules=[type(setup).__module__], call_seconds=math.inf) as pool:
        while True:
            waiting = [job for job in waiting if not finished(job)]
            free = num_parallel - num_running if time.monotonic() <= deadline else 0
            for job in [job for job in waiting if ready(job)][:free]:
                waiting.remove(job)
                pool.submit(job, call, job)
                num_running += 1
            if not num_running:
                return not waiting
            done = pool.result()
            num_running -= 1
            if done.error is not None:
                raise done.error
            note(done.key, done.value)
