"""Progress of library functions that print nothing: they tell or log it, the command line draws it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """Draw a bar on standard error while the block runs, which is told (things done, things in all).

    Args:
        what: Shown beside the bar.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True))
    bar = progress.add_task(what)

    def show(done: int, total: int) -> None:
        progress.start()  # Only now: a bar that never moved would leave an empty line. Again, it does nothing.
        progress.update(bar, completed=done, total=total)

    try:
        yield show
    finally:
        if progress.live.is_started:
            progress.stop()


class _Shown(logging.Handler):
    """Shows records whose arguments are (things done, things in all)."""

    def __init__(self, show: Callable[[int, int], None]) -> None:
        super().__init__(logging.INFO)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(*cast(tuple[int, int], record.args))


@contextmanager
def drawn(source: logging.Logger, what: str) -> Iterator[None]:
    """Draw what ``source`` logs, as a bar on standard error, while the block runs.

    Args:
        source: Logs (things done, things in all).
        what: Shown beside the bar.
    """
    before = source.level, source.propagate
    with counted(what) as show:
        handler = _Shown(show)
        source.addHandler(handler)
        source.setLevel(logging.INFO)
        source.propagate = False
        try:
            yield
        finally:
            source.removeHandler(handler)
            source.setLevel(before[0])
            source.propagate = before[1]
