"""Ctrl-C and what schedulers send before they take a machine away: noted, and obeyed between two steps.

=========  =====================================================  ===========
signal     who sends it                                           exit status
=========  =====================================================  ===========
SIGINT     Ctrl-C                                                 130
SIGTERM    Kubernetes, ``scancel``, ``torchrun``, ``kill``        143
SIGUSR1    SLURM with ``--signal=USR1@120``                       138
=========  =====================================================  ===========

A run that ends with one of these has written a checkpoint; the same command goes on from it.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
SAME_CTRL_C_SECONDS = 2.0


class RunInterruptedError(KeyboardInterrupt):
    """A run was asked to stop and has written a checkpoint; the message says how to go on.

    It is a ``KeyboardInterrupt`` so that nothing in between takes it for a failure.
    """

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.message = message
        self.exit_status = 128 + signal_number

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        """Cross from a worker process whole."""
        return _interrupted, (self.message, self.exit_status - 128)


def _interrupted(message: str, signal_number: int) -> RunInterruptedError:
    return RunInterruptedError(message, signal_number=signal_number)


@dataclass(slots=True)
class StopRequest:
    """Whether the process was asked to stop."""

    signal_number: int | None = None


@contextmanager
def deferred_signals() -> Iterator[StopRequest]:
    """Note the first of ``SIGNALS`` instead of raising; a second Ctrl-C acts at once, as it would without this.

    Other repetitions change nothing: ``scancel`` and ``torchrun`` both send SIGTERM to every rank, so it comes twice,
    and who will not wait sends SIGKILL in the end. Nor does a Ctrl-C right after the first: ``torchrun`` passes it on.
    Outside the main thread, where Python allows no handlers, nothing is deferred.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    first_came = 0.0

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal first_came
        if request.signal_number is None:
            request.signal_number, first_came = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - first_came > SAME_CTRL_C_SECONDS:
            signal.signal(number, previous[number])
            signal.raise_signal(number)

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number in SIGNALS:
            signal.signal(number, previous[number])
