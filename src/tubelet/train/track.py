"""Where a run's numbers go besides its own files: TensorBoard always, W&B or MLflow where asked for.

The only file that imports any of them, each when it is used.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from tubelet.types import InputError

TrackerName = Literal["wandb", "mlflow"]
PROJECT = "tubelet"
"""Of the runs in W&B, and the experiment in MLflow; ``WANDB_PROJECT`` and ``MLFLOW_EXPERIMENT_NAME`` win over it."""
MLFLOW_FILE = "mlflow-run"
"""In the run folder: the id that MLflow gave the run, so that one that goes on is the same run there."""


class Tracker(Protocol):
    """Takes numbers as a run goes."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Note numbers by name, after ``step`` steps."""
        ...

    def flush(self) -> None:
        """Bring what was noted where it belongs."""
        ...

    def close(self) -> None:
        """Flush, and take no more."""
        ...


class TensorBoard:
    """Event files in the run folder; what an interrupted attempt wrote after ``start_step`` is hidden."""

    def __init__(self, out: Path, *, start_step: int) -> None:
        # Takes a second, which commands without training should not pay.
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=start_step + 1 if start_step else None)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As in ``Tracker``."""
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """As in ``Tracker``."""
        self._board.flush()

    def close(self) -> None:
        """As in ``Tracker``."""
        self._board.close()


class WeightsAndBiases:
    """A run of W&B, named after the run folder, whose path is its id: a run that goes on is the same run there."""

    def __init__(self, out: Path, *, config: Mapping[str, Any]) -> None:
        self._wandb = _imported("wandb")
        self._run = self._wandb.init(
            project=None if _has_setting("WANDB_PROJECT") else PROJECT,
            id=_name_of(out),
            name=out.name,
            dir=str(out),
            config=dict(config),
            resume="allow",
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As in ``Tracker``; W&B passes over steps that a killed attempt had sent already."""
        self._run.log(dict(values), step=step)

    def flush(self) -> None:
        """W&B sends by itself."""

    def close(self) -> None:
        """As in ``Tracker``."""
        self._run.finish()


class MLflow:
    """A run of MLflow, where its usual environment variables say."""

    def __init__(self, out: Path, *, config: Mapping[str, Any]) -> None:
        self._mlflow = _imported("mlflow")
        known = out / MLFLOW_FILE
        if not _has_setting("MLFLOW_EXPERIMENT_NAME"):
            self._mlflow.set_experiment(PROJECT)
        if known.exists():
            self._mlflow.start_run(run_id=known.read_text().strip())
            return
        run = self._mlflow.start_run(run_name=out.name)
        self._mlflow.log_dict(dict(config), "config.json")
        known.write_text(f"{run.info.run_id}\n")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """As in ``Tracker``."""
        self._mlflow.log_metrics(dict(values), step=step)

    def flush(self) -> None:
        """MLflow sends by itself."""

    def close(self) -> None:
        """As in ``Tracker``."""
        self._mlflow.end_run()


TRACKERS: Mapping[TrackerName, Callable[..., Tracker]] = {"wandb": WeightsAndBiases, "mlflow": MLflow}


def open_trackers(
    out: Path, *, names: tuple[TrackerName, ...], config: Mapping[str, Any], start_step: int
) -> list[Tracker]:
    """Return TensorBoard and the trackers that were asked for.

    Raises:
        InputError: The package of one is not installed.
    """
    return [TensorBoard(out, start_step=start_step), *(TRACKERS[name](out, config=config) for name in names)]


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(f"track: the package {name} is not installed; pip install {name}") from error


def _has_setting(name: str) -> bool:
    return bool(os.environ.get(name))


def _name_of(out: Path) -> str:
    """Return an id that follows from the folder's place: letters and digits."""
    return hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]
