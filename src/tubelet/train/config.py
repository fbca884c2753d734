"""A run as data: everything that decides the weights, in frozen dataclasses with a strict JSON form."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tubelet.data.loader import OnError
from tubelet.models.model import BackboneConfig
from tubelet.records import from_json, to_json
from tubelet.tasks import TaskConfig
from tubelet.train.optim import OptimConfig
from tubelet.types import InputError, Preprocess
from tubelet.video.cache import FrameCache
from tubelet.video.transforms import read_size

# These change speed or reporting, or what happens where the run would end: a run may go on with other values.
RUNTIME_OPTIONS = ("num_workers", "on_error", "eval_batch_size", "eval_every_steps", "checkpoint_every_steps", "device")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """A complete training run."""

    name: str
    """The recipe's name."""
    backbone: BackboneConfig
    tasks: tuple[TaskConfig, ...]
    preprocess: Preprocess
    optim: OptimConfig
    batch_size: int
    """Clips per step; a batch comes from one task (paper A, 3.2)."""
    num_epochs: float | None = None
    """Passes over the sum of the data sets (paper A, 4.1). Exactly one of this and ``num_steps`` is given."""
    num_steps: int | None = None
    mixture: Literal["weighted", "alternating", "sequential"] = "weighted"
    """How the next batch's task is chosen (paper A, 3.2)."""
    seed: int = 0
    """Decides the initial weights, the order of the data, augmentation and stochastic depth."""
    init_from: str | None = None
    """Run folder whose backbone starts this run; heads always start fresh."""
    cache_dir: str | None = None
    """Folder for decoded frames; None decodes each clip anew."""
    num_workers: int = 1
    """Processes that prepare batches; 0 prepares them in the training process."""
    on_error: OnError = "raise"
    """``skip`` leaves out, names and counts a sample that cannot be read; above a share the run ends all the same
    (``data.loader.MAX_SKIPPED_SHARE``)."""
    eval_batch_size: int = 16
    eval_every_steps: int | None = None
    """Score every task's ``eval_split`` this often; always at the end."""
    checkpoint_every_steps: int = 200
    device: str | None = None
    """``cpu``, ``cuda``, ...; None = a GPU if there is one."""

    def __post_init__(self) -> None:
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
        for option in ("batch_size", "checkpoint_every_steps", "eval_batch_size"):
            if getattr(self, option) < 1:
                raise InputError(f"run {self.name}: {option} must be at least 1, found {getattr(self, option)}")

    def steps_for(self, num_examples: int) -> int:
        """Return the number of steps; ``num_examples`` is the sum over the data sets (one epoch)."""
        if self.num_steps is not None:
            return self.num_steps
        assert self.num_epochs is not None
        return max(1, round(self.num_epochs * num_examples / self.batch_size))

    def frame_cache(self) -> FrameCache | None:
        """Return the cache of decoded frames, if the run uses one."""
        if self.cache_dir is None:
            return None
        # Large enough for the strongest enlargement of the scale jitter: the cache must lose nothing.
        largest = max(task.augment.scale_range[1] for task in self.tasks)
        return FrameCache(Path(self.cache_dir), read_size(self.preprocess.fit, largest), self.preprocess.fps)

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
    """Return the JSON of a run without the options that cannot change the weights."""
    kept = {name: value for name, value in config.items() if name not in RUNTIME_OPTIONS}
    tasks = [{name: value for name, value in task.items() if not name.startswith("eval_")} for task in kept["tasks"]]
    return kept | {"tasks": tasks}
