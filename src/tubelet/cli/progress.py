"""Progress of library functions that print nothing: they log it, the command line draws it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class _Bar(logging.Handler):
    """Draws records whose arguments are (things done, things in all)."""

    def __init__(self, progress: Progress, what: str) -> None:
        super().__init__(logging.INFO)
        self._progress = progress
        self._bar = progress.add_task(what, total=None, visible=False)

    def emit(self, record: logging.LogRecord) -> None:
        done, total = cast(tuple[int, int], record.args)
        self._progress.update(self._bar, completed=done, total=total, visible=True)


@contextmanager
def drawn(source: logging.Logger, what: str) -> Iterator[None]:
    """Draw what ``source`` logs, as a bar on standard error, while the block runs.

    Args:
        source: Logs (things done, things in all).
        what: Shown beside the bar.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    before = source.level, source.propagate
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = _Bar(progress, what)
        source.addHandler(bar)
        source.setLevel(logging.INFO)
        source.propagate = False
        try:
            yield
        finally:
            source.removeHandler(bar)
            source.setLevel(before[0])
            source.propagate = before[1]
