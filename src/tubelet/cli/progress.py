"""Progress of library functions that print nothing: they log it, the command line draws it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class _Bar(logging.Handler):
    """Draws records whose arguments are (things done, things in all), from the first on."""

    def __init__(self, what: str) -> None:
        super().__init__(logging.INFO)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=Console(stderr=True))
        self._bar = self.progress.add_task(what)

    def emit(self, record: logging.LogRecord) -> None:
        done, total = cast(tuple[int, int], record.args)
        self.progress.start()  # Only now: a bar that never moved would leave an empty line. Again, it does nothing.
        self.progress.update(self._bar, completed=done, total=total)


@contextmanager
def drawn(source: logging.Logger, what: str) -> Iterator[None]:
    """Draw what ``source`` logs, as a bar on standard error, while the block runs.

    Args:
        source: Logs (things done, things in all).
        what: Shown beside the bar.
    """
    bar = _Bar(what)
    before = source.level, source.propagate
    source.addHandler(bar)
    source.setLevel(logging.INFO)
    source.propagate = False
    try:
        yield
    finally:
        source.removeHandler(bar)
        source.setLevel(before[0])
        source.propagate = before[1]
        if bar.progress.live.is_started:
            bar.progress.stop()
