"""Takes videos from the queue, gives each to a process of its own, and ends those that take too long or are not wanted.

However such a process ends, the video's row says so: done, failed with the reason, cancelled, or queued again because
the server was stopped.
"""

import json
import logging
import os
import selectors
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tubelet.records import from_json, to_json
from tubelet.types import first_line
from tubelet.web.folders import Folders
from tubelet.web.jobs import Job, JobStore
from tubelet.web.limits import GIB, Limits
from tubelet.web.order import Choices, Order, Outcome

logger = logging.getLogger(__name__)

WORK = (sys.executable, "-m", "tubelet.web.work")
LOOK_SECONDS = 0.2
"""How often a running process is looked after, at least."""
SWEEP_SECONDS = 30.0
LONGEST_LINE = 1 << 20
RETRY_SECONDS = 5.0
ENDING_SECONDS = 5.0
"""A process that says no more is given so long to end."""
FILE_BYTES = 4 * GIB
"""A file that a process writes may be so much larger than an upload: small videos are drawn on at a readable size."""


class Runner:
    """Works on queued videos until it is closed.

    Args:
        store: The queue.
        folders: Where the files are.
        choices: Model and settings.
        limits: What a video may take.
        command: What starts a process that reads an order; another one in tests.
    """

    def __init__(
        self,
        store: JobStore,
        folders: Folders,
        *,
        choices: Choices,
        limits: Limits,
        command: Sequence[str] = WORK,
    ) -> None:
        self._store, self._folders, self._choices, self._limits = store, folders, choices, limits
        self._command = command
        self._closing = threading.Event()
        self._wake = threading.Condition()
        self._threads = [
            threading.Thread(target=self._serve, name=f"tubelet-job-{i}") for i in range(limits.num_parallel)
        ]
        self._threads.append(threading.Thread(target=self._sweep_regularly, name="tubelet-sweep"))

    def start(self) -> None:
        """Settle what an earlier server left, then begin."""
        self._store.recover(self._folders.published)
        self._folders.tidy(self._store.ids())
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look at the queue now."""
        with self._wake:
            self._wake.notify_all()

    def close(self) -> None:
        """Stop; what is at work goes back to the queue."""
        self._closing.set()
        self.wake()
        for thread in self._threads:
            thread.join()

    def sweep(self) -> None:
        """Remove what has been kept long enough, and the files of what was cancelled."""
        for job_id in self._store.expired(self._limits.keep_seconds):
            self._folders.remove(job_id)
            self._store.remove(job_id)

    def _sweep_regularly(self) -> None:
        while not self._closing.wait(SWEEP_SECONDS):
            self.sweep()

    def _serve(self) -> None:
        process: _Process | None = None
        while not self._closing.is_set():
            try:
                if process is None or not process.is_ready:
                    if process is not None:
                        process.end()
                    process = _Process(self._command)
                job = self._store.claim()
            except (OSError, sqlite3.Error):  # too many processes, a full disk: it may pass
                logger.exception("the queue cannot be worked on")
                self._closing.wait(RETRY_SECONDS)
                continue
            if job is None:
                with self._wake:
                    self._wake.wait(timeout=1.0)
                continue
            try:
                self._work(job, process)
            except Exception as error:  # a full disk, say; the next video is another matter
                logger.exception("job %s", job.id)
                self._store.fail(job.id, f"the server could not work on it ({first_line(error)})")
            process.end()  # one video a process
        if process is not None:
            process.end()

    def _work(self, job: Job, process: "_Process") -> None:
        """Have one video worked on, and settle its row."""
        folder = self._folders.of(job.id)
        attempt = folder.attempt(job.attempts)
        shutil.rmtree(attempt, ignore_errors=True)
        attempt.mkdir(mode=0o700)
        limits = self._limits
        order = Order(
            folder=str(attempt),
            name=job.name,
            choices=self._choices,
            max_seconds=limits.max_seconds,
            max_pixels=limits.max_pixels,
            max_frames=limits.max_frames,
            max_memory_bytes=limits.job_bytes,
            max_file_bytes=limits.max_bytes + FILE_BYTES,
        )
        process.order(order)
        said, ended = self._followed(job, process)
        process.end()
        self._settle(job, said, ended, attempt)

    def _followed(self, job: Job, process: "_Process") -> tuple[dict[str, Any], str]:
        """Note how far the work is until it ends; return its last word, or else why it was ended, if for a reason."""
        deadline = time.monotonic() + self._limits.job_seconds
        while True:
            message = process.next(LOOK_SECONDS)
            if message is not None and "share" not in message:
                return message, ""
            if message is not None:
                self._store.progress(job.id, stage=str(message["stage"]), share=float(message["share"]))
            elif process.has_ended:
                return {}, f"its process ended ({process.ending()}); the file may be damaged, or need too much memory"
            if time.monotonic() > deadline:
                return {}, f"it took longer than {self._limits.job_seconds / 60:.0f} minutes"
            if self._closing.is_set() or not self._store.is_running(job.id):
                return {}, ""

    def _settle(self, job: Job, said: dict[str, Any], ended: str, attempt: Path) -> None:
        """Write how it ended into the row; files of what is not wanted go."""
        folder = self._folders.of(job.id)
        if "outcome" in said and self._store.is_running(job.id):
            outcome = from_json(Outcome, said["outcome"], where="outcome")
            attempt.replace(folder.seen)
            self._store.finish(job.id, to_json(outcome))
        elif "error" in said:
            self._store.fail(job.id, str(said["error"]))
        elif ended:
            logger.warning("job %s: %s", job.id, ended)
            self._store.fail(job.id, f"{job.name}: {ended}")
        else:
            self._store.put_back(job.id)
        shutil.rmtree(attempt, ignore_errors=True)
        now = self._store.get(job.id)
        if now is None or now.state == "cancelled":
            self._folders.remove(job.id)
        elif now.state == "failed":
            folder.upload.unlink(missing_ok=True)


class _Process:
    """A process that has its imports done when it gets its order."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the server's alone, and the whole group can be ended
        )
        assert self._process.stdout is not None
        self._lines = bytearray()
        self._closed = False
        os.set_blocking(self._process.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    @property
    def is_ready(self) -> bool:
        return self._process.poll() is None

    @property
    def has_ended(self) -> bool:
        return self._closed

    def order(self, order: Order) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # one that has ended is noticed by its closed output
            self._process.stdin.write(json.dumps(to_json(order)).encode() + b"\n")
            self._process.stdin.flush()

    def next(self, timeout: float) -> dict[str, Any] | None:
        """Return the next message; None when none has come within ``timeout`` seconds or none will."""
        line, found, rest = self._lines.partition(b"\n")
        if not found and not self._closed and self._selector.select(timeout):
            assert self._process.stdout is not None
            data = os.read(self._process.stdout.fileno(), LONGEST_LINE)
            self._closed = not data
            self._lines += data
            line, found, rest = self._lines.partition(b"\n")
        if not found:
            self._closed = self._closed or len(self._lines) > LONGEST_LINE
            return None
        self._lines = rest
        message = json.loads(line)
        return message if isinstance(message, dict) else None

    def ending(self) -> str:
        """Return how it ended."""
        try:
            code = self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return "silent, and ended from outside"
        return f"signal {-code}, {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def end(self) -> None:
        """End it and whatever it has started."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
