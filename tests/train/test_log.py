"""What a run says and writes: rows, the live line, trackers (fakes stand for the real services)."""

import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tubelet.train.log import RunLog, peak_gib, read_rows
from tubelet.train.track import open_trackers
from tubelet.types import InputError


def open_log(out: Path, **options: Any) -> RunLog:
    values = {"num_steps": 4, "start_step": 0, "batch_size": 8, "progress": False}
    return RunLog(out, **(values | options))


def test_a_step_of_several_tasks_has_a_row_each(tmp_path: Path) -> None:
    shown = io.StringIO()
    with open_log(tmp_path, progress=True, console=Console(file=shown, width=200)) as log:
        list(log.waiting([1]))
        log.step(1, losses={"a": 2.0}, gradient_norm=0.5, learning_rate=0.1)
        report = log.step(4, losses={"a": 1.0, "b": 3.0}, gradient_norm=0.7, learning_rate=0.2)
        log.realised(4, [{"task": "a", "clips seen": 12, "share": 0.75}, {"task": "b", "clips seen": 4, "share": 0.25}])
        log.metrics(4, {"a/val/top1": 0.5})
    assert (report.task, report.loss) == ("a + b", 4.0)
    assert report.losses == pytest.approx({"a": 0.95 * 2 + 0.05 * 1, "b": 3.0})
    assert 0 <= report.data_wait <= 1
    assert 0.01 < report.memory_gib < 100
    assert report.memory_gib <= peak_gib(None)
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [(r["step"], r["task"], r["loss"]) for r in rows if "task" in r] == [
        (1, "a", 2.0),
        (4, "a", 1.0),
        (4, "b", 3.0),
    ]
    assert rows[-2]["mixture"]["b"] == {"clips seen": 4, "share": 0.25}
    assert rows[-1]["metrics"] == {"a/val/top1": 0.5}
    line = next(row for row in shown.getvalue().splitlines() if row.startswith("4/4"))
    for part in ("a + b:", "b 3.000", "clips/s", "waits", "GiB", "s left"):
        assert part in line
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [e.value for e in board.Scalars("loss/a")] == [2.0, 1.0]
    assert board.Scalars("mixture/a/share")[0].step == 4


def test_other_processes_write_and_show_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_log(tmp_path, is_main=False, progress=True) as log:
        report = log.step(1, losses={"a": 2.0}, gradient_norm=0.5, learning_rate=0.1)
        log.metrics(1, {"a/val/top1": 0.5})
        log.say("hello")
        log.flush()
    assert report.loss == 2.0
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""


class FakeWandb(ModuleType):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[Any] = []

    def init(self, **options: Any) -> Any:
        self.calls.append(("init", options))
        return SimpleNamespace(
            log=lambda values, step: self.calls.append(("log", step, values)),
            finish=lambda: self.calls.append(("finish",)),
        )


class FakeMLflow(ModuleType):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.calls: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **options: Any) -> Any:
            self.calls.append((name, *args, options))
            return SimpleNamespace(info=SimpleNamespace(run_id="run-7"))

        return call


def test_wandb_gets_every_number_and_a_run_that_goes_on_is_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    for step in (1, 2):
        with open_log(tmp_path, start_step=step - 1, track=("wandb",), config={"seed": 3}) as log:
            log.step(step, losses={"a": float(step)}, gradient_norm=0.5, learning_rate=0.1)
    first, second = (call[1] for call in fake.calls if call[0] == "init")
    assert first == second
    assert (first["project"], first["resume"], first["config"]) == ("tubelet", "allow", {"seed": 3})
    logged = [(step, values["loss/a"]) for name, step, values in (c for c in fake.calls if c[0] == "log")]
    assert logged == [(1, 1.0), (2, 2.0)]
    assert fake.calls[-1] == ("finish",)


def test_mlflow_goes_on_in_the_run_that_the_folder_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    for step in (1, 2):
        with open_log(tmp_path, start_step=step - 1, track=("mlflow",), config={"seed": 3}) as log:
            log.metrics(step, {"a/val/top1": 0.5})
    starts = [call[1] for call in fake.calls if call[0] == "start_run"]
    assert starts == [{"run_name": tmp_path.name}, {"run_id": "run-7"}]
    assert [call[-1] for call in fake.calls if call[0] == "log_metrics"] == [{"step": 1}, {"step": 2}]
    assert "set_experiment" not in [call[0] for call in fake.calls]  # the environment names one
    assert fake.calls[-1] == ("end_run", {})


def test_a_tracker_that_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match="the package wandb is not installed; pip install wandb"):
        open_trackers(tmp_path, names=("wandb",), config={}, start_step=0)
