"""Runs in their order: none before the one it needs, and none that waits for one it does not need."""

import math
from pathlib import Path

import pytest
from waiting_work import Write

from tubelet.studies.jobs import run_jobs

NEEDS = {"long": "", "start": "", "second": "start", "third": "second"}


def run(folder: Path, jobs: list[tuple[str, str]], *, num_parallel: int, deadline: float = math.inf) -> list[str]:
    done: list[str] = []
    all_done = run_jobs(
        jobs,
        Write(folder),
        finished=lambda job: (folder / job[0]).exists(),
        note=lambda job, name: done.append(name),
        num_parallel=num_parallel,
        deadline=deadline,
        ready=lambda job: not NEEDS[job[0]] or (folder / NEEDS[job[0]]).exists(),
    )
    assert all_done == all((folder / name).exists() for name, _ in jobs)
    return done


def test_a_long_run_holds_up_only_what_needs_it(tmp_path: Path) -> None:
    """The long one ends when the third has: it would never, if each depth waited for all of the one before."""
    jobs = [("long", "third"), ("start", ""), ("second", ""), ("third", "")]
    assert run(tmp_path, jobs, num_parallel=2) == ["start", "second", "third", "long"]


@pytest.mark.parametrize("num_parallel", [1, 2])
def test_none_starts_after_the_deadline(tmp_path: Path, num_parallel: int) -> None:
    assert run(tmp_path, [("start", ""), ("second", "")], num_parallel=num_parallel, deadline=-math.inf) == []


def test_alone_they_go_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "start").touch()
    assert run(tmp_path, [("long", ""), ("start", ""), ("second", "")], num_parallel=1) == ["long", "second"]
