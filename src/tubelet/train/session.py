"""What a run holds while it trains: data, model, optimizer, and how many steps are done."""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import Optimizer

from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import check_skips
from tubelet.data.mixture import Mixture
from tubelet.models.model import VideoModel
from tubelet.tasks import Task
from tubelet.train.checkpoint import CheckpointWriter, run_tensors
from tubelet.train.config import RunConfig
from tubelet.train.distributed import World
from tubelet.train.ema import WeightAverage
from tubelet.train.folder import write_run_meta
from tubelet.train.interrupt import RunInterruptedError, StopRequest
from tubelet.train.loss_scale import SKIPPED
from tubelet.train.schedule import RatePlan
from tubelet.train.shared_model import SharedModel, local_part
from tubelet.types import ClipBatch

SCORED_STEP = "scored_step"
"""In ``Session.counts``: the steps that the weights had done when they were scored last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Met:
    """What all ranks together have of a part of a step."""

    task: str
    samples: int
    """Used; ``skipped``: could not be read."""
    skipped: int
    examples: int
    """Clips, or boxes: as many as the task has losses."""
    clamped_frames: int
    dropped_boxes: int

    @property
    def slots(self) -> int:
        """Places of the step's batch that are this part's."""
        return self.samples + self.skipped


@dataclass(kw_only=True, slots=True)
class Session:
    """A run in progress, on one rank. ``step``, ``saved_step`` and ``counts`` change, and what the tensors hold."""

    run: RunConfig
    out: Path
    world: World
    tasks: dict[str, Task]
    data: dict[str, str]
    """Task name to the ``data_hash`` of its manifest."""
    datasets: dict[str, ClipDataset]
    mixture: Mixture
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
    counts: dict[str, int]
    """What the run has met: ``clips/<task>`` seen, frames clamped to a video's ends, boxes that left the canvas; of all
    ranks, and the same on all."""

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        return self.world.device

    @property
    def sizes(self) -> dict[str, int]:
        """Training examples per task: clips, or keyframes for localisation."""
        return {name: len(dataset) for name, dataset in self.datasets.items()}

    @property
    def num_used(self) -> int:
        """Samples trained on so far."""
        return sum(number for name, number in self.counts.items() if name.startswith("clips/"))

    @property
    def num_skipped(self) -> int:
        """Samples left out so far because they could not be read."""
        return self.counts.get("skipped_samples", 0)

    @property
    def is_scored(self) -> bool:
        """Whether the weights as they are have been scored."""
        return self.counts.get(SCORED_STEP) == self.step

    @property
    def is_to_score(self) -> bool:
        """Whether it is time to score on the way; at the end of the run it is in any case."""
        every = self.run.eval_every_steps
        if not every or not 0 < self.step < self.num_steps:
            return False
        return self.step % every == 0 and not self.is_scored

    @property
    def scales_loss(self) -> bool:
        """Whether the numbers of the run are so small that its loss is scaled (``loss_scale.py``)."""
        return self.run.precision == "float16"

    def meet(self, parts: Sequence[ClipBatch]) -> list[Met]:
        """Return what all ranks have of a step's parts; raise when too much of it could not be read."""
        rows = [
            (len(part.sample_ids), len(part.skipped_ids), len(part.targets), part.num_clamped, part.num_dropped_boxes)
            for part in parts
        ]
        numbers = iter(self.world.summed([number for row in rows for number in row]))
        met = [
            Met(
                task=part.task,
                samples=int(next(numbers)),
                skipped=int(next(numbers)),
                examples=int(next(numbers)),
                clamped_frames=int(next(numbers)),
                dropped_boxes=int(next(numbers)),
            )
            for part in parts
        ]
        used, skipped = sum(each.samples for each in met), sum(each.skipped for each in met)
        check_skips(
            self.step,
            num_used=used,
            num_skipped=skipped,
            run_used=self.num_used + used,
            run_skipped=self.num_skipped + skipped,
        )
        return met

    def finish_step(self, met: Sequence[Met]) -> None:
        """Note that a step was done, and what it has met."""
        self.step += 1
        for each in met:
            for name, number in (
                (f"clips/{each.task}", each.samples),
                ("clamped_frames", each.clamped_frames),
                ("skipped_samples", each.skipped),
                ("dropped_boxes", each.dropped_boxes),
            ):
                self.counts[name] = self.counts.get(name, 0) + number

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
        self.checkpoints.save(tensors, step=self.step, state=self.counts, metrics=metrics)
        self.saved_step = self.step
        self.describe()

    def describe(self, *, metrics: Mapping[str, float] | None = None) -> None:
        """Write ``meta.json``, once for all ranks; a run with ``metrics`` is finished."""
        if not self.world.is_main:
            return
        write_run_meta(
            self.run,
            self.out,
            self.tasks,
            data=self.data,
            sizes=self.sizes,
            step=self.step,
            num_steps=self.num_steps,
            finished=metrics is not None,
            metrics=metrics or {},
        )

    def seen_table(self) -> list[dict[str, str | int | float]]:
        """Return what each task has really had, beside the plan that ``Mixture.table`` gives."""
        seen = {name: self.counts.get(f"clips/{name}", 0) for name in self.datasets}
        total = max(1, sum(seen.values()))
        return [
            {"task": name, "clips seen": n, "share": n / total, "passes": n / self.sizes[name]}
            for name, n in seen.items()
        ]

    def data_left_out(self) -> str:
        """Return in one line what was not used as it was asked for, so that nothing is dropped in silence."""
        skipped = sum(dataset.num_skipped_keyframes for dataset in self.datasets.values())
        unlabelled = sum(dataset.num_unlabelled_boxes for dataset in self.datasets.values())
        clamped, dropped = self.counts.get("clamped_frames", 0), self.counts.get("dropped_boxes", 0)
        unreadable, overflowed = self.counts.get("skipped_samples", 0), self.counts.get(SKIPPED, 0)
        return (
            f"{clamped} frames asked for outside their video (its first or last was used), {dropped} boxes left the "
            f"canvas, {skipped} keyframes without boxes skipped, {unlabelled} detected boxes match no annotated one, "
            f"{unreadable} samples that cannot be read left out"
            + (f", {overflowed} steps without an update because a gradient overflowed" if self.scales_loss else "")
        )
