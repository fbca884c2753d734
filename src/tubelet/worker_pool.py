"""Worker processes that may die: calls go out, answers come back in any order, a call that kills is named.

Unlike the pools of the standard library: workers share nothing with the program (see ``worker_process``), one that dies
is replaced and its call repeated, a call that kills every worker it meets becomes an answer, one that hangs is ended,
and however the program ends, no worker stays behind.
"""

import atexit
import json
import logging
import os
import queue
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tubelet.types import InputError
from tubelet.worker_process import Answer, Order, receive, send

logger = logging.getLogger(__name__)

MAX_DEATHS = 3
"""Workers that a call may lose before it is blamed: one may have been killed from outside, by a lack of memory say."""
AHEAD = 2
"""Calls handed to a worker at a time: one at work, one waiting, so that it never idles between two."""
MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**26), "MALLOC_MMAP_THRESHOLD_": str(2**25)}  # bytes
"""glibc's, for workers: frames stay in the heap for the next call; given back to the system after each, every page of
them faults again."""
START = "import sys, json, signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "  # before imports, which take long
START += "sys.path[:] = json.loads(sys.argv.pop()); import tubelet.worker_process as w; "
START += "w.run_template(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))"


class WorkerError(InputError):
    """A call ended every worker that tried it, or took too long."""


@dataclass(frozen=True, slots=True)
class Done:
    """A finished call."""

    key: Any
    value: Any
    error: InputError | None


@dataclass(slots=True)
class _Call:
    order: Order
    fd: int | None
    deaths: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Worker:
    pid: int
    channel: socket.socket
    calls: deque[_Call] = field(default_factory=deque)
    """The first is at work."""
    since: float = 0.0
    """When it began."""
    hung: bool = False


class WorkerPool:
    """Processes that answer calls.

    Args:
        num_workers: How many, at least 1.
        setup: First argument of every call; sent once to each worker.
        modules: Imported before the first worker starts.
        call_seconds: A call that takes longer is ended like one that kills its worker, but not tried again.

    A thread of this process feeds the workers, so that they are busy while the caller is.
    """

    def __init__(
        self, num_workers: int, *, setup: Any, modules: Sequence[str] = (), call_seconds: float = 300.0
    ) -> None:
        if num_workers < 1:
            raise InputError(f"num_workers is {num_workers}, expected at least 1")
        self.num_restarts = 0
        """Workers that died and were replaced; of each the log has a warning."""
        self._setup, self._modules, self._call_seconds = setup, list(modules), call_seconds
        self._waiting: deque[_Call] = deque()
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        self._done: queue.SimpleQueue[Done | BaseException] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, None)
        self._closing = False
        template(self._modules)
        atexit.register(self.close)
        self._thread = threading.Thread(target=self._feed, args=(num_workers,), name="tubelet-workers", daemon=True)
        self._thread.start()

    def submit(self, key: Any, call: Callable[..., Any], *arguments: Any, fd: int | None = None) -> None:
        """Ask for ``call(setup, *arguments[, fd])`` in some worker; calls begin in the order they are asked for.

        Args:
            key: Comes back with the answer.
            call: A function of a module that workers can import.
            arguments: Sent by pickle.
            fd: An open file to hand over; stays the caller's, and open until the answer is there.
        """
        with self._lock:
            self._waiting.append(_Call(Order(key, call, arguments), fd))
        with suppress(BlockingIOError):  # a full pipe wakes the thread as well
            self._wake.send(b"x")

    def result(self) -> Done:
        """Wait for the next finished call.

        Raises:
            RuntimeError: A call failed for a reason that is no mistake of the caller's, with the worker's traceback.
        """
        done = self._done.get()
        if isinstance(done, BaseException):
            raise RuntimeError(f"worker: {done}") from done
        return done

    def worker_pids(self) -> list[int]:
        """Return the processes that are there now."""
        return [worker.pid for worker in self._workers]

    def close(self) -> None:
        """End every worker, busy or not."""
        if self._closing:
            return
        self._closing = True
        atexit.unregister(self.close)
        with suppress(BlockingIOError):
            self._wake.send(b"x")
        self._thread.join()
        for worker in self._workers:
            worker.channel.close()
        for worker in self._workers:
            template(self._modules).bury(worker.pid)
        self._selector.close()
        self._wake.close()
        self._wake_reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _feed(self, num_workers: int) -> None:
        """Hand out calls and collect answers until the pool closes; an error here ends the caller's wait."""
        try:
            for _ in range(num_workers):
                self._start_worker()
            while not self._closing:
                for key, _ in self._selector.select(timeout=1.0):
                    if key.data is None:
                        self._wake_reader.recv(4096)
                    else:
                        self._collect(key.data)
                self._end_hung()
                self._hand_out()
        except BaseException as error:
            self._done.put(error)

    def _hand_out(self) -> None:
        for depth in range(AHEAD):  # nobody gets a second call before everybody has a first
            for worker in list(self._workers):
                with self._lock:
                    if len(worker.calls) > depth or not self._waiting or worker not in self._workers:
                        continue
                    call = self._waiting.popleft()
                worker.since = worker.since if worker.calls else time.monotonic()
                worker.calls.append(call)
                try:
                    send(worker.channel, call.order, call.fd)
                except OSError:  # it died meanwhile
                    self._lost(worker)

    def _collect(self, worker: _Worker) -> None:
        message = receive(worker.channel)
        if message is None:
            self._lost(worker)
            return
        answer: Answer = message[0]
        worker.calls.popleft()
        worker.since = time.monotonic()
        if answer.trace is not None:
            self._done.put(RuntimeError(answer.trace))
        else:
            self._done.put(Done(answer.key, answer.value, answer.error))

    def _end_hung(self) -> None:
        for worker in self._workers:
            if worker.calls and time.monotonic() - worker.since > self._call_seconds and not worker.hung:
                worker.hung = True
                os.kill(worker.pid, signal.SIGKILL)

    def _lost(self, worker: _Worker) -> None:
        """Replace a dead worker; blame the call it was at, repeat it, and hand its other calls to somebody else."""
        self._selector.unregister(worker.channel)
        worker.channel.close()
        self._workers.remove(worker)
        code = template(self._modules).bury(worker.pid)
        cause = "cause not known" if code is None else _ending(code)
        too_long = f"took longer than {self._call_seconds:g} s"
        self.num_restarts += 1
        calls = list(worker.calls)
        at_work = f"at call {calls[0].order.key}" if calls else "between calls"
        logger.warning("a worker ended %s and is replaced: %s", at_work, too_long if worker.hung else cause)
        if calls:
            calls[0].deaths.append(cause)
            deaths = calls[0].deaths
            if worker.hung or len(deaths) == MAX_DEATHS:
                reason = f"its worker process ended {len(deaths)} times ({', '.join(dict.fromkeys(deaths))})"
                error = WorkerError(too_long if worker.hung else reason)
                self._done.put(Done(calls.pop(0).order.key, None, error))
        with self._lock:
            self._waiting.extendleft(reversed(calls))
        self._start_worker()

    def _start_worker(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # Twice: the template may have been killed, and the next one does it.
            starts = (template(self._modules).start_worker(theirs) for _ in range(2))
            pid = next((pid for pid in starts if pid is not None), None)
        if pid is None:
            ours.close()
            raise RuntimeError("worker processes cannot be started; what they said is above")
        worker = _Worker(pid, ours)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        with suppress(OSError):  # one that died at once is found by its closed channel
            send(ours, self._setup)


def _ending(code: int) -> str:
    return f"signal {-code}, {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


class Template:
    """The process that workers are forked from; one serves every pool of this process that imports the same."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.owner = os.getpid()
        self._gone = False
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            arguments = [str(theirs.fileno()), str(self.owner), json.dumps([*modules]), json.dumps(sys.path)]
            # One thread for each worker: several cores are used by several workers.
            threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, *arguments],
                pass_fds=[theirs.fileno()],
                env=MALLOC | os.environ | threads,
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self.close)

    @property
    def alive(self) -> bool:
        """Whether it can be asked; a copy of it in a forked process cannot."""
        return self.owner == os.getpid() and not self._gone and self._process.poll() is None

    def start_worker(self, channel: socket.socket) -> int | None:
        """Return the process id of a new worker at the other end of ``channel``; None if this process is gone."""
        return self._ask(("start", 0), channel.fileno())

    def bury(self, pid: int) -> int | None:
        """Wait for a worker that was told to end, or kill it; return its exit status, minus a signal, or None."""
        return self._ask(("bury", pid))

    def close(self) -> None:
        """End it, and all its workers with it."""
        atexit.unregister(self.close)
        self._control.close()
        if self.owner == os.getpid():
            self._process.wait()

    def _ask(self, message: tuple[str, int], fd: int | None = None) -> int | None:
        with self._lock:
            answer = None
            with suppress(OSError):
                send(self._control, message, fd)
                answer = receive(self._control)
            self._gone = answer is None
        return None if answer is None else answer[0]


_templates: dict[tuple[str, ...], Template] = {}
_templates_lock = threading.Lock()


def template(modules: Sequence[str]) -> Template:
    """Return the running template with these modules; start one if there is none."""
    with _templates_lock:
        found = _templates.get(tuple(modules))
        if found is None or not found.alive:
            if found is not None:
                found.close()
            found = _templates[tuple(modules)] = Template(modules)
        return found
