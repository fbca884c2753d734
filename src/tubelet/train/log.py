"""What a run says while it goes: a live line, ``metrics.jsonl``, the trackers, and the tables of the mixture."""

import json
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tubelet.train.folder import METRICS_FILE
from tubelet.train.track import Tracker, TrackerName, open_trackers

T = TypeVar("T")

PLAIN_LINE_SECONDS = 10.0
SMOOTHING = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """One step, as callers of ``fit`` see it."""

    step: int
    """Steps done."""
    num_steps: int
    task: str
    """Those of the step, with `` + `` between them."""
    loss: float
    """Mean over the examples of each task; summed over the tasks."""
    learning_rate: float
    clips_per_second: float
    """Smoothed over recent steps."""
    data_wait: float
    """Share of the time spent waiting for data, 0..1, smoothed over recent steps."""
    losses: Mapping[str, float]
    """Every task's loss, smoothed over its recent steps."""
    seconds_left: float
    memory_gib: float
    """Peak so far of this process: of the GPU where there is one, else of the main memory, without the workers'."""


class RunLog:
    """Writes what happens in a run.

    Args:
        out: Run folder.
        num_steps: Length of the run.
        start_step: Steps done before; later rows of an interrupted attempt are dropped.
        start_scored: Whether these weights have been scored; otherwise scores of that step are dropped as well.
        batch_size: Clips per step.
        device: Where the model is; None = the CPU.
        is_main: False on all processes but the first: they write and show nothing.
        progress: Whether anything is shown; files are written either way.
        console: Where; None = the standard one.
        track: Trackers besides TensorBoard.
        config: Of the run, for the trackers.
    """

    def __init__(
        self,
        out: Path,
        *,
        num_steps: int,
        start_step: int,
        start_scored: bool = False,
        batch_size: int,
        device: torch.device | None = None,
        is_main: bool = True,
        progress: bool = True,
        console: Console | None = None,
        track: tuple[TrackerName, ...] = (),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._num_steps, self._batch_size, self._device = num_steps, batch_size, device
        self._is_main, self._show = is_main, progress and is_main
        self._console = console or Console(markup=False)
        self._trackers: list[Tracker] = []
        if is_main:
            keep_rows(out / METRICS_FILE, last_step=start_step, scored=start_scored)
            self._trackers = open_trackers(out, names=track, config=config or {}, start_step=start_step)
        self._rows = (out / METRICS_FILE if is_main else Path(os.devnull)).open("a")
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self._live = Progress(*columns, console=self._console, disable=not (self._show and self._console.is_terminal))
        self._bar = self._live.add_task("starting", total=num_steps, completed=start_step)
        self._losses: dict[str, float] = {}
        self._wait_seconds = self._step_seconds = 0.0
        self._last_wait = 0.0
        self._step_began = self._line_due = time.monotonic()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self._rows.close()
        for tracker in self._trackers:
            tracker.close()

    def waiting(self, items: Iterable[T]) -> Iterator[T]:
        """Yield from ``items`` and count the time it takes to get each."""
        iterator = iter(items)
        while True:
            began = time.monotonic()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._last_wait = time.monotonic() - began
            yield item

    def step(self, step: int, *, losses: Mapping[str, float], gradient_norm: float, learning_rate: float) -> StepReport:
        """Note a step that was done and return how the run stands.

        Args:
            step: Counts from 1 here.
            losses: Of each task of the step, the mean over its examples.
            gradient_norm: Of the step, before clipping.
            learning_rate: Of the step.
        """
        now = time.monotonic()
        self._measure(now)
        for task, loss in losses.items():
            self._losses[task] = SMOOTHING * self._losses.get(task, loss) + (1 - SMOOTHING) * loss
        report = StepReport(
            step=step,
            num_steps=self._num_steps,
            task=" + ".join(losses),
            loss=sum(losses.values()),
            learning_rate=learning_rate,
            clips_per_second=self._batch_size / max(self._step_seconds, 1e-9),
            data_wait=min(1.0, self._wait_seconds / max(self._step_seconds, 1e-9)),
            losses=dict(self._losses),
            seconds_left=(self._num_steps - step) * self._step_seconds,
            memory_gib=peak_gib(self._device),
        )
        shared = {"gradient_norm": gradient_norm, "learning_rate": learning_rate}
        speed = {n: getattr(report, n) for n in ("clips_per_second", "data_wait", "memory_gib")}
        for task, loss in losses.items():
            self._write({"step": step, "task": task, "loss": loss} | shared | speed)
        tasks = {f"loss/{task}": loss for task, loss in losses.items()}
        self._track(step, tasks | {f"gradient_norm/{report.task}": gradient_norm, "learning_rate": learning_rate})
        self._show_step(report, now)
        return report

    def _measure(self, now: float) -> None:
        """Take the time of the step that has just ended into the smoothed ones."""
        seconds, self._step_began = now - self._step_began, now
        keep = 0.0 if self._step_seconds == 0.0 else SMOOTHING
        self._step_seconds = keep * self._step_seconds + (1 - keep) * seconds
        self._wait_seconds = keep * self._wait_seconds + (1 - keep) * self._last_wait

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note the scores of an evaluation."""
        self._write({"step": step, "metrics": dict(metrics)})
        self._track(step, metrics)
        self.flush()
        self.say(metrics_line(metrics))

    def realised(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Note what each task has really had, beside the plan that ``Mixture.table`` gives.

        Args:
            step: Steps done.
            rows: One a task, with ``task`` and numbers by name.
        """
        seen = {row["task"]: {name: value for name, value in row.items() if name != "task"} for row in rows}
        self._write({"step": step, "mixture": seen})
        flat = {f"mixture/{task}/{name}": value for task, numbers in seen.items() for name, value in numbers.items()}
        self._track(step, flat)

    def table(self, title: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Show rows as a table, columns by the keys of the first."""
        rows = list(rows)
        if not self._show or not rows:
            return
        table = Table(*rows[0], title=title, title_justify="left")
        for row in rows:
            table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
        self._live.console.print(table)

    def say(self, text: str) -> None:
        """Show a line."""
        if self._show:
            self._live.console.print(text, highlight=False, markup=False)

    def flush(self) -> None:
        """Put everything noted so far on the disk; the time since the last step does not count as the next one's."""
        self._rows.flush()
        if self._is_main:
            # A checkpoint says that these steps are done: the rows must not be lost where it is not.
            os.fsync(self._rows.fileno())
        for tracker in self._trackers:
            tracker.flush()
        self._step_began = time.monotonic()

    def _write(self, row: Mapping[str, Any]) -> None:
        self._rows.write(json.dumps(row) + "\n")

    def _track(self, step: int, values: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(step, values)

    def _show_step(self, report: StepReport, now: float) -> None:
        losses = "  ".join(f"{name} {loss:.3f}" for name, loss in sorted(report.losses.items()))
        speed = f"{report.clips_per_second:.1f} clips/s  waits {report.data_wait:.0%}  {report.memory_gib:.1f} GiB"
        text = f"{report.task}: {losses}  {speed}"
        self._live.update(self._bar, completed=report.step, description=text)
        if self._show and self._live.disable and (now >= self._line_due or report.step == report.num_steps):
            self._line_due = now + PLAIN_LINE_SECONDS
            self.say(f"{report.step}/{report.num_steps}  {text}  {report.seconds_left:.0f} s left")


def metrics_line(metrics: Mapping[str, float]) -> str:
    """Return the scores on one line."""
    return "  ".join(f"{name} {value:.3f}" for name, value in sorted(metrics.items()))


def peak_gib(device: torch.device | None) -> float:
    """Return the most memory this process has had at once, in GiB: the GPU's where it uses one, else its own."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        # Not getrusage's, which on Linux begins with the peak of the process that started this one.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 2**30
    except (OSError, IndexError):
        # Bytes on macOS, KiB elsewhere.
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def keep_rows(path: Path, *, last_step: int, scored: bool) -> None:
    """Drop what an interrupted attempt wrote and this one will write again.

    Args:
        path: A ``metrics.jsonl``.
        last_step: All rows of later steps go.
        scored: Whether the scores of that step stay.
    """
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
            if row["step"] < last_step or (row["step"] == last_step and (scored or "task" in row)):
                kept.append(line)
        except ValueError:
            # A kill can cut the last row; its step comes after the last checkpoint, so it is written again.
            continue
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("".join(f"{line}\n" for line in kept))
    temporary.replace(path)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a ``metrics.jsonl``, steps and evaluations, in order."""
    return [json.loads(line) for line in path.read_text().splitlines()]
