"""Processes that really die: killed from outside, killed by what they are asked to do, left by their parent."""

import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import deadly
import pytest

from tubelet.corpus import shards
from tubelet.data import loader
from tubelet.types import InputError, VideoError
from tubelet.worker_pool import WorkerError, WorkerPool, template

# numba scales what is decoded; it asks for the version of scipy and no more.
HEAVY = ("scipy.sparse", "scipy.linalg", "rich", "duckdb", "matplotlib", "tyro", "tensorboard", "pytest")


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2, setup=100) as made:
        yield made


def eventually(true: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_every_call_is_answered_by_its_key(pool: WorkerPool) -> None:
    for number in range(50):
        pool.submit(("n", number), deadly.add, number)
    answers = [pool.result() for _ in range(50)]
    assert {(d.key, d.value) for d in answers} == {(("n", n), 100 + n) for n in range(50)}
    assert pool.num_restarts == 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep memory in their own way")
def test_a_worker_keeps_the_memory_of_frames_for_the_next_call(pool: WorkerPool) -> None:
    pool.submit(0, deadly.faults_of_buffers)
    first, *later = pool.result().value
    assert first > 1000  # each page once
    assert max(later) < 100  # given back to the system, all 5,120 would fault again


def test_mistakes_come_back_whole_and_bugs_with_their_traceback(pool: WorkerPool) -> None:
    pool.submit(0, deadly.mistake, "video")
    error = pool.result().error
    assert isinstance(error, VideoError)
    assert (error.path, error.reason, error.pts_seconds) == ("a.mp4", "video", 2.5)
    pool.submit(1, deadly.mistake, "text")
    assert isinstance(error := pool.result().error, InputError)
    assert str(error) == "text"
    pool.submit(2, deadly.bug)
    with pytest.raises(RuntimeError, match=r"deadly.py(.|\n)*ZeroDivisionError: a bug"):
        pool.result()


def test_a_worker_killed_from_outside_costs_nothing_and_is_told(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    for key in range(4):
        pool.submit(key, deadly.wait, 0.3)
    assert eventually(lambda: len(pool.worker_pids()) == 2)
    victim = pool.worker_pids()[0]
    time.sleep(0.1)
    os.kill(victim, signal.SIGKILL)
    answers = [pool.result() for _ in range(4)]
    assert {d.key for d in answers} == {0, 1, 2, 3}
    assert all(d.error is None for d in answers)
    assert victim not in {d.value for d in answers}
    assert pool.num_restarts == 1
    (said,) = caplog.messages
    assert re.fullmatch("a worker ended at call [01] and is replaced: signal 9, SIGKILL", said)


@pytest.mark.parametrize(
    ("call", "argument", "cause"),
    [(deadly.die, signal.SIGSEGV, "signal 11, SIGSEGV"), (deadly.leave, 3, "exit status 3")],
)
def test_a_call_that_kills_every_worker_is_named_and_the_others_are_not(
    pool: WorkerPool, call: Callable[..., None], argument: int, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    for key in range(10):
        pool.submit(key, *((call, argument) if key == 4 else (deadly.add, key)))
    answers = {d.key: d for d in (pool.result() for _ in range(10))}
    error = answers.pop(4).error
    assert isinstance(error, WorkerError)
    assert str(error) == f"its worker process ended 3 times ({cause})"
    assert {k: d.value for k, d in answers.items()} == {k: 100 + k for k in range(10) if k != 4}
    assert pool.num_restarts == 3
    assert caplog.messages == [f"a worker ended at call 4 and is replaced: {cause}"] * 3


def test_a_call_that_kills_once_is_repeated(pool: WorkerPool, tmp_path: Path) -> None:
    pool.submit(0, deadly.die_once, str(tmp_path / "mark"))
    assert pool.result().value == "lived"


def test_a_call_that_hangs_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    # Imported before: on a busy machine a worker may take longer than that to import it.
    with WorkerPool(1, setup=0, modules=["deadly"], call_seconds=3) as pool:
        pool.submit(0, deadly.wait, 1000.0)
        pool.submit(1, deadly.add, 1)
        first, second = pool.result(), pool.result()
        assert (first.key, str(first.error)) == (0, "took longer than 3 s")
        assert (second.key, second.value) == (1, 1)
    assert caplog.messages == ["a worker ended at call 0 and is replaced: took longer than 3 s"]


def test_an_open_file_crosses(pool: WorkerPool) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"here")
        file.flush()
        pool.submit(0, deadly.read_and_write, fd=file.fileno())
        assert pool.result().value == b"here"
        assert os.pread(file.fileno(), 100, 0) == b"there"


def test_a_pool_outlives_the_process_its_workers_come_from(pool: WorkerPool) -> None:
    pool.submit(0, deadly.wait, 0.0)
    pool.result()
    old = template(())
    os.kill(old._process.pid, signal.SIGKILL)
    for key in range(4):
        pool.submit(key, deadly.wait, 0.1)
    assert {pool.result().key for _ in range(4)} == {0, 1, 2, 3}
    os.kill(pool.worker_pids()[0], signal.SIGKILL)
    for key in range(4):
        pool.submit(key, deadly.wait, 0.1)
    assert all(pool.result().error is None for _ in range(4))
    assert template(()) is not old


def test_closing_ends_the_workers_and_their_descriptors() -> None:
    with WorkerPool(1, setup=0) as pool:
        pool.submit(0, deadly.add, 1)
        pool.result()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with WorkerPool(2, setup=0) as pool:
            pool.submit(0, deadly.wait, 0.1)
            assert eventually(lambda pool=pool: len(pool.worker_pids()) == 2)
            pids = pool.worker_pids()
        assert not any(alive(pid) for pid in pids)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_workers_that_cannot_start_are_an_error_not_a_wait(capfd: pytest.CaptureFixture[str]) -> None:
    with WorkerPool(1, setup=0, modules=["no_such_module"]) as pool:
        pool.submit(0, deadly.add, 1)
        with pytest.raises(RuntimeError, match="worker processes cannot be started"):
            pool.result()
    assert "No module named 'no_such_module'" in capfd.readouterr().err


def test_workers_import_little() -> None:
    with WorkerPool(1, setup=0, modules=["tubelet.data.handover"]) as pool:
        pool.submit(0, deadly.add, 0)
        pool.result()
        pool.submit(1, deadly.modules)
        found = pool.result().value
    assert [name for name in HEAVY if name in found] == []


def test_workers_that_read_videos_have_their_loops_from_the_start() -> None:
    for modules in (loader.WORKER_MODULES, shards.WORKER_MODULES):
        with WorkerPool(1, setup=0, modules=modules) as pool:
            pool.submit(0, deadly.compiled)
            assert pool.result().value == [1, 1]


SCRIPT = """
import os, sys, time
sys.path.insert(0, {tests!r})
import deadly
from tubelet.worker_pool import WorkerPool, template
# No "if __name__ ..." on purpose: workers do not import the main module.
pool = WorkerPool(2, setup=0)
for key in range(8):
    pool.submit(key, deadly.wait, {seconds})
while len(pool.worker_pids()) < 2:
    time.sleep(0.01)
print(template(())._process.pid, *pool.worker_pids(), flush=True)
{then}
"""


def start(then: str, seconds: float) -> tuple["subprocess.Popen[str]", list[int]]:
    script = SCRIPT.format(tests=str(Path(__file__).parent), seconds=seconds, then=then)
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, [int(word) for word in process.stdout.readline().split()]


@pytest.mark.parametrize("seconds", [0.05, 1000.0])
def test_a_killed_parent_leaves_nobody(seconds: float) -> None:
    process, pids = start("time.sleep(1000)", seconds)
    assert len(pids) == 3
    assert all(alive(pid) for pid in pids)
    process.kill()
    process.communicate()
    assert eventually(lambda: not any(alive(pid) for pid in pids))


def test_a_parent_that_forgets_the_pool_ends_quietly() -> None:
    process, pids = start("pool.result()", 0.05)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0
    assert not any(alive(pid) for pid in pids)
