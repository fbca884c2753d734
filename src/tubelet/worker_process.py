"""What runs on the other side of a ``WorkerPool``: a template process that imports once, and workers forked from it.

The template is a fresh interpreter, so it shares nothing with the program that started it (no locks, threads or CUDA
context; the program's main module is not imported), and it has one thread, so forking it is safe. Imports are paid
once for all workers, their pages are shared, and a worker that died is replaced within milliseconds.
"""

import gc
import importlib
import os
import pickle
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tubelet.types import InputError

HEADER_BYTES = 8
LOOK_SECONDS = 1.0
"""How often an idle process looks whether its parent is still there."""
GRACE_SECONDS = 2.0
"""A worker that is to end may finish its call for so long: it may be publishing a file."""


@dataclass(frozen=True, slots=True)
class Order:
    """One call of a worker."""

    key: Any
    call: Callable[..., Any]
    """Called as ``call(setup, *arguments)``, then ``fd`` where there is one."""
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to."""

    key: Any
    value: Any
    error: InputError | None
    """A mistake the caller can act on."""
    trace: str | None
    """The traceback of any other exception."""


def send(channel: socket.socket, value: Any, fd: int | None = None) -> None:
    """Send a value to a process of this program, and with it an open file."""
    data = pickle.dumps(value)
    header = len(data).to_bytes(HEADER_BYTES, "little")
    # One sendmsg takes the descriptor along with the header; the rest is a plain stream.
    socket.send_fds(channel, [header], [] if fd is None else [fd])
    channel.sendall(data)


def receive(channel: socket.socket) -> tuple[Any, int | None] | None:
    """Return the next value and open file sent, or None when the other side is gone."""
    try:
        header, fds, _, _ = socket.recv_fds(channel, HEADER_BYTES, 1)
        header += _exactly(channel, HEADER_BYTES - len(header)) if header else b""
        if not header:
            return None
        data = _exactly(channel, int.from_bytes(header, "little"))
    except (ConnectionError, EOFError):
        return None
    return pickle.loads(data), (fds[0] if fds else None)


def run_template(control_fd: int, parent: int, modules: list[str]) -> None:
    """Import ``modules``, then start and bury workers as the control channel says; end with the parent."""
    # Ctrl-C (see worker_pool.START) and a scheduler's SIGTERM reach every process of a group: the parent alone decides,
    # and ends the workers.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # the collector would write into every page that the workers share
    control = socket.socket(fileno=control_fd)
    children: set[int] = set()
    while (message := _next(control, parent)) is not None:
        (what, pid), fd = message
        answer: int | None = None  # for a worker of a template before this one
        if what == "start" and fd is not None:
            answer = _fork(fd, control)
            children.add(answer)
        elif pid in children:
            children.discard(pid)
            answer = _bury(pid, time.monotonic() + GRACE_SECONDS)
        try:
            send(control, answer)
        except OSError:
            break
    deadline = time.monotonic() + GRACE_SECONDS
    for pid in children:
        _bury(pid, deadline)
    os._exit(0)  # taking down what was imported takes longer than the rest


def _bury(pid: int, deadline: float) -> int:
    """Wait for a worker that has nothing more to do, not for ever; return its exit status, or minus its signal."""
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _fork(fd: int, control: socket.socket) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    template = os.getpid()
    pid = os.fork()
    if pid:
        os.close(fd)
        return pid
    try:
        control.close()
        _work(socket.socket(fileno=fd), template)
    except BrokenPipeError:
        pass  # the parent left while this worker was busy
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)  # never back into the template's loop


def _work(channel: socket.socket, template: int) -> None:
    """Answer orders until the parent or the template is gone; the first message is the setup."""
    first = _next(channel, template)
    if first is None:
        return
    setup = first[0]
    while (message := _next(channel, template)) is not None:
        order, fd = message
        send(channel, _answer(order, setup, fd))
        if fd is not None:
            os.close(fd)


def _answer(order: Order, setup: Any, fd: int | None) -> Answer:
    try:
        arguments = order.arguments if fd is None else (*order.arguments, fd)
        return Answer(order.key, order.call(setup, *arguments), None, None)
    except InputError as error:
        return Answer(order.key, None, error, None)
    except Exception:
        return Answer(order.key, None, None, traceback.format_exc())


def _next(channel: socket.socket, parent: int) -> tuple[Any, int | None] | None:
    """Wait for a message; None when the sender or the parent process is gone."""
    poll = select.poll()  # select takes no descriptors above 1023, and a trainer may have many files open
    poll.register(channel, select.POLLIN)
    while not poll.poll(LOOK_SECONDS * 1000):
        # A closed channel says it too, unless some other process of the parent's holds the other end.
        if os.getppid() != parent:
            return None
    return receive(channel)


def _exactly(channel: socket.socket, number: int) -> bytes:
    parts = bytearray()
    while len(parts) < number:
        part = channel.recv(min(number - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
