"""What a run holds while it trains: data, model, optimizer, and how many steps are done."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import Optimizer

from tubelet.data.dataset import ClipDataset
from tubelet.data.mixture import Mixture
from tubelet.models.model import VideoModel
from tubelet.models.precision import pick_device
from tubelet.tasks import Task, build_task
from tubelet.train.checkpoint import CheckpointWriter, latest_checkpoint, load_checkpoint, run_tensors
from tubelet.train.config import RunConfig
from tubelet.train.ema import WeightAverage
from tubelet.train.folder import task_data_hash, write_run_meta
from tubelet.train.optim import build_optimizer
from tubelet.train.schedule import RatePlan
from tubelet.train.start import initialise
from tubelet.types import ClipBatch


@dataclass(kw_only=True, slots=True)
class Session:
    """A run in progress. Only ``step`` and ``counts`` change, and what is inside ``model`` and ``optimizer``."""

    run: RunConfig
    out: Path
    device: torch.device
    tasks: dict[str, Task]
    data: dict[str, str]
    """Task name to the ``data_hash`` of its manifest."""
    datasets: dict[str, ClipDataset]
    mixture: Mixture
    model: VideoModel
    optimizer: Optimizer
    average: WeightAverage | None
    """Moving average of the weights, where the run keeps one."""
    num_steps: int
    rates: RatePlan
    step: int
    """Steps done."""
    checkpoints: CheckpointWriter
    counts: dict[str, int]
    """What the run has met: ``clips/<task>`` seen, frames clamped to a video's ends, boxes that left the canvas."""

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

    def finish_step(self, batch: ClipBatch) -> None:
        """Note that a step was done, and what its batch has met."""
        self.step += 1
        met = {
            f"clips/{batch.task}": len(batch.sample_ids),
            "clamped_frames": batch.num_clamped,
            "skipped_samples": len(batch.skipped_ids),
            "dropped_boxes": batch.num_dropped_boxes,
        }
        for name, number in met.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def save(self, *, metrics: Mapping[str, float] | None = None) -> None:
        """Begin to write a checkpoint of this step, with the scores that these weights have got."""
        averaged = None if self.average is None else self.average.tensors
        tensors = run_tensors(self.model, self.optimizer, averaged=averaged)
        self.checkpoints.save(tensors, step=self.step, state=self.counts, metrics=metrics)
        self.describe()

    def describe(self, *, metrics: Mapping[str, float] | None = None) -> None:
        """Write ``meta.json``; a run with ``metrics`` is finished."""
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
        unreadable = self.counts.get("skipped_samples", 0)
        return (
            f"{clamped} frames asked for outside their video (its first or last was used), {dropped} boxes left the "
            f"canvas, {skipped} keyframes without boxes skipped, {unlabelled} detected boxes match no annotated one, "
            f"{unreadable} samples that cannot be read left out"
        )


def open_session(run: RunConfig, out: Path, *, device: str | None = None) -> Session:
    """Read the data, build the model and bring both to where the run stands."""
    place = pick_device(device or run.device)
    tasks = {config.name: build_task(config, preprocess=run.preprocess) for config in run.tasks}
    cache = run.frame_cache()
    datasets = {n: task.dataset(task.config.train_split, training=True, cache=cache) for n, task in tasks.items()}
    for task in tasks.values():
        # Read now, so that a missing split is found before hours of training and not after.
        task.dataset(task.config.eval_split, training=False)
    sizes = {name: len(dataset) for name, dataset in datasets.items()}
    one_epoch = sum(sizes.values())
    num_steps = run.steps_for(one_epoch)
    mixture = Mixture(sizes, strategy=run.mixture, batch_size=run.batch_size, num_steps=num_steps, seed=run.seed)
    torch.manual_seed(run.seed)
    model = VideoModel(run.backbone, {name: task.head for name, task in tasks.items()}).to(place)
    checkpoint = latest_checkpoint(out)
    initialise(model, resuming=checkpoint is not None, init_from=run.init_from, init_skip=run.init_skip)
    if run.optim.frozen_backbone:
        model.freeze_backbone()
    optimizer = build_optimizer(model, run.optim)
    average = None if run.optim.ema_decay is None else WeightAverage(model, run.optim.ema_decay)
    if checkpoint is not None:
        averaged = None if average is None else average.tensors
        load_checkpoint(checkpoint, model=model, optimizer=optimizer, averaged=averaged)
    return Session(
        run=run,
        out=out,
        device=place,
        tasks=tasks,
        data={config.name: task_data_hash(config) for config in run.tasks},
        datasets=datasets,
        mixture=mixture,
        model=model,
        optimizer=optimizer,
        average=average,
        num_steps=num_steps,
        rates=run.rate_plan(one_epoch),
        step=0 if checkpoint is None else checkpoint.step,
        counts={} if checkpoint is None else dict(checkpoint.state),
        checkpoints=CheckpointWriter(out, keep=run.num_checkpoints, best_metric=run.best_metric),
    )
