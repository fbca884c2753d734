"""What a run holds while it trains: model, optimizer, how many steps are done, and what they have met."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import Optimizer

from tubelet.models.model import VideoModel
from tubelet.records import to_json
from tubelet.tasks import Task
from tubelet.train.checkpoint import CheckpointWriter, run_tensors
from tubelet.train.config import RunConfig
from tubelet.train.distributed import World
from tubelet.train.ema import WeightAverage
from tubelet.train.folder import write_run_meta
from tubelet.train.interrupt import RunInterruptedError, StopRequest
from tubelet.train.loss_scale import LossScale
from tubelet.train.schedule import RatePlan
from tubelet.train.shared_model import SharedModel, local_part
from tubelet.types import ClipBatch, InputError

MAX_SKIPPED_SHARE = 0.01
"""A run stops when more than this share of its samples, or of the first ``SHARE_FLOOR`` while it has had fewer, could
not be read: then the data is wrong and not a video in it."""
SHARE_FLOOR = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCounts:
    """What all ranks together have of a part of a step."""

    task: str
    samples: int
    """Used."""
    skipped_samples: int
    """Could not be read."""
    losses: int
    """Of clips, or of boxes: what the task's loss is the mean of."""
    clamped_frames: int
    dropped_boxes: int

    @property
    def num_slots(self) -> int:
        """How many places of the step's batch that are this part's."""
        return self.samples + self.skipped_samples


@dataclass(kw_only=True, slots=True)
class RunState:
    """What a run remembers beside its tensors: of all ranks, the same on all, and in every checkpoint."""

    samples: dict[str, int]
    """Task name to the samples that were trained on."""
    skipped_samples: int = 0
    """Left out because they could not be read."""
    clamped_frames: int = 0
    """Asked for outside their video; its first or last was used."""
    dropped_boxes: int = 0
    """Left the canvas."""
    scored_step: int | None = None
    """Steps that the weights had done when they were scored last."""
    loss_scale: LossScale | None = None
    """Of a run in float16."""

    def add(self, counts: Sequence[PartCounts]) -> None:
        """Take in what a step has met."""
        for part in counts:
            self.samples[part.task] += part.samples
            self.skipped_samples += part.skipped_samples
            self.clamped_frames += part.clamped_frames
            self.dropped_boxes += part.dropped_boxes


@dataclass(kw_only=True, slots=True)
class Session:
    """A run in progress, on one rank. ``step``, ``saved_step`` and ``state`` change, and what the tensors hold."""

    run: RunConfig
    out: Path
    world: World
    tasks: dict[str, Task]
    data_hashes: dict[str, str]
    """Task name to the ``data_hash`` of its manifest."""
    sizes: dict[str, int]
    """Task name to training examples: clips, or keyframes for localisation."""
    model: VideoModel
    shared: SharedModel
    """The same, as ranks train it together."""
    optimizer: Optimizer
    average: WeightAverage | None
    """Moving average of the weights, where the run keeps one."""
    start: str
    """In a line, where the weights came from."""
    num_steps: int
    rates: RatePlan
    step: int
    """Steps done."""
    saved_step: int
    """Steps done in the newest checkpoint, which may still be being written; 0 = none."""
    checkpoints: CheckpointWriter
    state: RunState

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        return self.world.device

    @property
    def is_scored(self) -> bool:
        """Whether the weights as they are have been scored."""
        return self.state.scored_step == self.step

    @property
    def is_to_score(self) -> bool:
        """Whether it is time to score on the way; at the end of the run it is in any case."""
        every = self.run.eval_every_steps
        if not every or not 0 < self.step < self.num_steps:
            return False
        return self.step % every == 0 and not self.is_scored

    def counted(self, parts: Sequence[ClipBatch]) -> list[PartCounts]:
        """Return what all ranks have of a step's parts; raise when too much of it could not be read."""
        rows = [
            (len(part.sample_ids), len(part.skipped_ids), len(part.targets), part.num_clamped, part.num_dropped_boxes)
            for part in parts
        ]
        numbers = iter(self.world.summed([number for row in rows for number in row]))
        counts = [
            PartCounts(
                task=part.task,
                samples=int(next(numbers)),
                skipped_samples=int(next(numbers)),
                losses=int(next(numbers)),
                clamped_frames=int(next(numbers)),
                dropped_boxes=int(next(numbers)),
            )
            for part in parts
        ]
        check_skips(self.step, self.state, counts)
        return counts

    def finish_step(self, counts: Sequence[PartCounts]) -> None:
        """Note that a step was done, and what it has met."""
        self.step += 1
        self.state.add(counts)

    def obey(self, stop: StopRequest) -> None:
        """Raise when a signal came to any rank; all of them ask at the same time.

        Raises:
            RunInterruptedError: One came; what is not in a checkpoint is lost.
        """
        if self.world.summed([stop.signal_number is not None]) != [0.0]:
            raise RunInterruptedError(
                f"{self.out}: stopped after step {self.step} of {self.num_steps}; the same command goes on from there",
                signal_number=stop.signal_number or signal.SIGTERM,
            )

    def weights_are_finite(self) -> bool:
        """Return whether all weights are finite numbers, on every rank."""
        bad = [not bool(torch.isfinite(local_part(p)).all()) for p in self.model.parameters()]
        return self.world.summed([sum(bad)]) == [0.0]

    def save(self, *, metrics: Mapping[str, float] | None = None) -> None:
        """Begin to write a checkpoint of this step, with the scores that these weights have got."""
        self.shared.take_buffers_of_main()
        averaged = None if self.average is None else self.average.tensors
        tensors = run_tensors(self.model, self.optimizer, averaged=averaged)
        self.checkpoints.save(tensors, step=self.step, state=to_json(self.state), metrics=metrics)
        self.saved_step = self.step
        self.describe()

    def describe(
        self,
        *,
        metrics: Mapping[str, float] | None = None,
        thresholds: Mapping[str, tuple[float, ...]] | None = None,
    ) -> None:
        """Write ``meta.json``, once for all ranks; a run with ``metrics`` is finished."""
        if not self.world.is_main:
            return
        write_run_meta(
            self.run,
            self.out,
            self.tasks,
            data=self.data_hashes,
            sizes=self.sizes,
            step=self.step,
            num_steps=self.num_steps,
            finished=metrics is not None,
            metrics=metrics or {},
            thresholds=thresholds or {},
        )

    def seen_table(self) -> list[dict[str, str | int | float]]:
        """Return what each task has really had, beside the plan that ``Mixture.table`` gives."""
        seen = self.state.samples
        total = max(1, sum(seen.values()))
        return [
            {"task": name, "clips seen": n, "share": n / total, "passes": n / self.sizes[name]}
            for name, n in seen.items()
        ]


def check_skips(step: int, state: RunState, counts: Sequence[PartCounts]) -> None:
    """Raise when too much of a step, or of the run with it, could not be read.

    Args:
        step: Steps done before it.
        state: Of the run before it.
        counts: Of the step's parts.

    Raises:
        InputError: The step has no sample left, or more than ``MAX_SKIPPED_SHARE`` of the run's were left out.
    """
    used, skipped = (sum(getattr(part, name) for part in counts) for name in ("samples", "skipped_samples"))
    if skipped == 0:
        return
    told = "the warnings before this name them"
    if used == 0:
        raise InputError(f"step {step + 1} has no sample left, all {skipped} could not be read; {told}")
    skipped += state.skipped_samples
    tried = sum(state.samples.values()) + used + skipped
    if skipped > MAX_SKIPPED_SHARE * max(tried, SHARE_FLOOR):
        share = f"{skipped} of {tried} samples could not be read"
        raise InputError(f"step {step + 1}: {share}, more than {MAX_SKIPPED_SHARE:.0%}; {told}")
