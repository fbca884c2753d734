"""A run as data: everything that decides the weights, in frozen dataclasses with a strict JSON form."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tubelet.models.heads import ROI_SIZE
from tubelet.models.model import BackboneConfig
from tubelet.models.precision import Precision
from tubelet.records import check_choices, from_json, to_json
from tubelet.tasks import TaskConfig
from tubelet.train.optim import OptimConfig
from tubelet.train.schedule import RatePlan, plan_rates
from tubelet.train.track import TrackerName
from tubelet.types import InputError, OnError, Preprocess, did_you_mean

# These change speed or reporting, or what happens where the run would end: a run may go on with other values.
RUNTIME_OPTIONS = (
    "num_workers",
    "on_error",
    "eval_batch_size",
    "eval_every_steps",
    "checkpoint_every_steps",
    "checkpoint_every_minutes",
    "num_checkpoints",
    "best_metric",
    "track",
    "rank_timeout_seconds",
    "device",
    "parallel",
    "accumulation_steps",
    "recompute_activations",
)
COMMAND_OPTIONS = (*RUNTIME_OPTIONS, "precision")
"""These are options of the command line too; the others are the recipe's, or ``--set``'s."""

LATER_TASK_OPTIONS = {"roi_size": ROI_SIZE}
"""Options that tasks did not have when runs were first named by their options, with the value that all had then."""

PREVIOUS = "the stage before"
"""What ``init_from`` of a stage says to start from the one before it; the recipe does not know where that will lie."""

LEAST = {
    "batch_size": 1,
    "num_steps": 1,
    "accumulation_steps": 1,
    "num_workers": 0,
    "eval_batch_size": 1,
    "eval_every_steps": 1,
    "checkpoint_every_steps": 1,
    "num_checkpoints": 1,
}
"""Option to the least number it may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """A complete training run."""

    name: str
    """The recipe's name."""
    backbone: BackboneConfig
    """The network that all tasks share."""
    tasks: tuple[TaskConfig, ...]
    """What is trained on and scored, at least one."""
    preprocess: Preprocess
    """How a video becomes model input; of the backbone's size and number of frames."""
    optim: OptimConfig
    """How weights move."""
    batch_size: int
    """Clips per step, of all processes together; all of one task (paper A, 3.2) but for the mixture ``mixed``."""
    num_epochs: float | None = None
    """Passes over the sum of the data sets (paper A, 4.1). Exactly one of this and ``num_steps`` is given."""
    num_steps: int | None = None
    """Length of the run, instead of ``num_epochs``."""
    mixture: Literal["weighted", "alternating", "sequential", "mixed"] = "weighted"
    """How a step's tasks are chosen (paper A, 3.2); keys of ``data.mixture.STRATEGIES``."""
    mixture_temperature: float = 1.0
    """1 = tasks have shares of the samples as large as their sets, 2 = as the square roots of their sizes. Not with
    weights of their own (``TaskConfig.mixture_weight``)."""
    seed: int = 0
    """Decides the initial weights, the order of the data, augmentation and stochastic depth."""
    init_from: str | None = None
    """Weights that start this run: a run folder, a ``.safetensors`` of ours, or the name of published weights
    (``train.start``)."""
    init_skip: tuple[str, ...] = ("heads.",)
    """Weights whose names begin so are not taken over and start fresh; all others must be there and fit. The default
    skips the heads (paper A, 3.2: new ones for every stage); none, that is ``()``, takes them too."""
    cache_dir: str | None = None
    """Folder for decoded frames; None decodes each clip anew."""
    precision: Precision = "auto"
    """Of matrix products; losses are float32. ``auto``: bfloat16 where it pays, else float32. ``float16`` scales the
    loss."""
    batch_norm: Literal["per_rank", "synchronised"] = "per_rank"
    """Whose clips the statistics of batch normalisation are of; paper B, 3.3: each GPU's own."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How the processes that torchrun starts share the model: each holds all of it, or (``fsdp``) a part of every
    tensor."""
    accumulation_steps: int = 1
    """Pieces in which a process computes its share of a step, to save memory. The gradient is the same up to rounding,
    but where there is batch normalisation, whose statistics are a piece's."""
    recompute_activations: bool = False
    """Keep only the input of each block for the backward pass and compute the block again there: the same weights from
    a fraction of the memory, for about 1.3 times the time (``models/recompute.py``)."""
    num_workers: int = 1
    """Processes that prepare batches, of each process that trains; 0 prepares them in that itself."""
    on_error: OnError = "raise"
    """``raise``: a sample that cannot be read ends the run. ``skip``: it is left out, named and counted; the run ends
    all the same when more than 1 % of its samples are (of the first thousand: more than ten)."""
    eval_batch_size: int = 16
    """Clips, or keyframes, that are scored at once."""
    eval_every_steps: int | None = None
    """Score every task's ``eval_split`` this often (default: not on the way); always at the end."""
    checkpoint_every_steps: int = 200
    """A checkpoint is written this often, and at the end."""
    checkpoint_every_minutes: float = 10.0
    """And this often; whichever of the two comes first."""
    num_checkpoints: int = 2
    """How many stay, the newest ones."""
    best_metric: str | None = None
    """``<task>/<split>/<metric>``, such as ``localise/val/mAP``: the checkpoint that scored highest in it stays too.
    Scored every ``eval_every_steps``."""
    track: tuple[TrackerName, ...] = ()
    """Trackers besides TensorBoard: ``wandb``, ``mlflow``."""
    rank_timeout_seconds: float = 600.0
    """How long processes that train together wait for each other, before the run ends because one of them is gone."""
    device: str | None = None
    """``cpu``, ``cuda``, ...; by default a GPU if there is one."""

    def __post_init__(self) -> None:
        check_choices(self)
        names = [task.name for task in self.tasks]
        if not names or len(set(names)) != len(names):
            raise InputError(f"run {self.name}: task names must be unique and at least one, found {names}")
        if (self.num_epochs is None) == (self.num_steps is None):
            raise InputError(f"run {self.name}: give one of num_epochs and num_steps")
        if self.backbone.size != self.preprocess.size or self.backbone.num_frames != self.preprocess.num_frames:
            raise InputError(
                f"run {self.name}: the backbone takes {self.backbone.num_frames} frames of {self.backbone.size} px, "
                f"but preprocess gives {self.preprocess.num_frames} of {self.preprocess.size}"
            )
        for option in ("num_epochs", "checkpoint_every_minutes", "rank_timeout_seconds"):
            value = getattr(self, option)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"run {self.name}: {option} must be above 0, found {value}")
        for option, least in LEAST.items():
            value = getattr(self, option)
            if value is not None and value < least:
                raise InputError(f"run {self.name}: {option} must be at least {least}, found {value}")
        self.check_batch(1)

    def check_batch(self, num_ranks: int) -> None:
        """Raise when a step's batch does not divide by the processes, with their pieces and the pairs of mixup."""
        pairs = any(task.augment.batch.mixes_clips for task in self.tasks)
        for number, why in (
            (num_ranks, "processes"),
            (num_ranks * self.accumulation_steps, "processes x accumulation_steps"),
            (num_ranks * (2 if pairs else 1), "processes x 2 clips that are mixed with each other"),
        ):
            if self.batch_size % number:
                raise InputError(
                    f"run {self.name}: batch_size is {self.batch_size}, expected a multiple of {number} ({why})"
                )

    def steps_for(self, num_examples: int) -> int:
        """Return the number of steps; ``num_examples`` is the sum over the data sets (one epoch)."""
        if self.num_steps is not None:
            return self.num_steps
        assert self.num_epochs is not None
        return max(1, round(self.num_epochs * num_examples / self.batch_size))

    def rate_plan(self, num_examples: int) -> RatePlan:
        """Return the learning rate of every step; ``num_examples`` as in ``steps_for``."""
        optim = self.optim
        return plan_rates(
            learning_rate=optim.learning_rate,
            batch_size=self.batch_size,
            reference_batch_size=optim.reference_batch_size,
            num_steps=self.steps_for(num_examples),
            steps_per_epoch=num_examples / self.batch_size,
            warmup_epochs=optim.warmup_epochs,
            warmup_start=optim.warmup_start,
            schedule=optim.schedule,
            num_halvings=optim.num_halvings,
            period_epochs=optim.period_epochs,
            period_factor=optim.period_factor,
        )

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that ``from_json`` reads back."""
        data = to_json(self)
        assert isinstance(data, dict)
        return data

    @staticmethod
    def from_json(data: Any, *, where: str = "run config") -> "RunConfig":
        """Rebuild a run; unknown options are rejected with the nearest valid name."""
        return from_json(RunConfig, data, where=where)


def deciding_options(config: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a run without the options that cannot change the weights.

    Nor those of ``LATER_TASK_OPTIONS`` at their value, so that what was named by a hash of the others keeps its name.
    """
    kept = {name: value for name, value in config.items() if name not in RUNTIME_OPTIONS}
    return kept | {"tasks": [_deciding_task_options(task) for task in kept["tasks"]]}


def _deciding_task_options(task: dict[str, Any]) -> dict[str, Any]:
    later = LATER_TASK_OPTIONS.items()
    return {name: value for name, value in task.items() if not name.startswith("eval_") and (name, value) not in later}


def with_settings(run: RunConfig, settings: Sequence[str]) -> RunConfig:
    """Return a run with some options changed.

    Args:
        run: As the recipe has it.
        settings: ``place=value`` each. The place is that in the run's JSON, with dots, a task by its name:
            ``optim.ema_decay=0.999``, ``tasks.localise.loss_weight=2``, ``mixture=mixed``.

    Raises:
        InputError: There is no such option (the nearest is offered), or the value is not one.
    """
    data = run.to_json()
    for setting in settings:
        place, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"{setting}: expected place=value, such as optim.ema_decay=0.999")
        *path, last = place.split(".")
        inner: Any = data
        for name in path:
            if isinstance(inner, list):
                inner = {task["name"]: task for task in inner if isinstance(task, dict)}
            inner = inner.get(_known(name, inner, place)) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            raise InputError(f"{place}: there is nothing of that name inside of {'.'.join(path)}")
        try:
            inner[_known(last, inner, place)] = json.loads(text)
        except ValueError:
            inner[last] = text
    return RunConfig.from_json(data, where=" ".join(settings))


def _known(name: str, options: Mapping[str, Any], place: str) -> str:
    if name not in options:
        hint = did_you_mean(name, options) or f"; known: {', '.join(options)}"
        raise InputError(f"{place}: no option {name!r}{hint}")
    return name
