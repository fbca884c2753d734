"""What a run trains on: the examples of its tasks, and the mixture that says which of them a step takes."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import batches
from tubelet.data.mixture import Mixture
from tubelet.tasks import Task, build_task
from tubelet.train.config import RunConfig
from tubelet.train.distributed import World
from tubelet.train.folder import task_data_hash
from tubelet.types import ClipBatch, InputError
from tubelet.video.cache import FrameCache
from tubelet.video.transforms import read_size


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """The data of a run; everything by the name of the task."""

    tasks: dict[str, Task]
    datasets: dict[str, ClipDataset]
    """The examples that are trained on."""
    mixture: Mixture
    hashes: dict[str, str]
    """The ``data_hash`` of each manifest."""

    @property
    def sizes(self) -> dict[str, int]:
        """Training examples: clips, or keyframes for localisation."""
        return {name: len(dataset) for name, dataset in self.datasets.items()}

    @property
    def num_examples(self) -> int:
        """All of them, which is an epoch."""
        return sum(self.sizes.values())


def open_data(run: RunConfig) -> TrainingData:
    """Read the tables of a run's manifests and plan its mixture.

    Raises:
        InputError: A manifest is missing or has a mistake, a split to train or score on is empty, or the mixture's
            options do not go together.
    """
    tasks = {config.name: build_task(config, preprocess=run.preprocess) for config in run.tasks}
    cache = frame_cache(run)
    datasets = {
        name: task_dataset(task, task.config.train_split, training=True, seed=run.seed, cache=cache)
        for name, task in tasks.items()
    }
    for task in tasks.values():
        # Read now, so that a missing split is found before hours of training and not after.
        task_dataset(task, task.config.eval_split, training=False)
    hashes = {config.name: task_data_hash(config) for config in run.tasks}
    return TrainingData(tasks=tasks, datasets=datasets, mixture=plan_mixture(run, datasets), hashes=hashes)


def task_dataset(
    task: Task, split: str, *, training: bool, seed: int = 0, cache: FrameCache | None = None
) -> ClipDataset:
    """Return the examples of a split, with the labels, boxes and augmentation of training or of scoring.

    Args:
        task: Its manifest and its config are used.
        split: Exact name.
        training: Which of the two; whoever scores sees all labels of a clip.
        seed: Of the run; which label a clip has that is trained on ``one``.
        cache: Decoded frames; None = read the files.

    Raises:
        InputError: The manifest has a mistake, or nothing in this split; the message names the task's option.
    """
    config = task.config
    try:
        return ClipDataset(
            task.manifest,
            split,
            preprocess=task.preprocess,
            augment=config.augment if training else None,
            boxes=config.boxes if training else config.eval_boxes,
            box_score_threshold=config.box_score_threshold if training else config.eval_box_score_threshold,
            label_iou=config.label_iou,
            one_label_seed=seed if training and config.labels == "one" else None,
            cache=cache,
        )
    except InputError as error:
        option = "train_split" if training else "eval_split"
        raise InputError(f"{error} (task {config.name}, {option} {split!r})") from error


def frame_cache(run: RunConfig) -> FrameCache | None:
    """Return the cache of decoded frames, if the run uses one."""
    if run.cache_dir is None:
        return None
    # Large enough for the strongest enlargement of the scale jitter: the cache must lose nothing.
    largest = max(task.augment.scale_range[1] for task in run.tasks)
    return FrameCache(Path(run.cache_dir), read_size(run.preprocess.fit, largest), run.preprocess.fps)


def plan_mixture(run: RunConfig, datasets: Mapping[str, ClipDataset]) -> Mixture:
    """Return which tasks and samples each step has.

    Args:
        run: Its options of the mixture are used.
        datasets: Each task's training examples.
    """
    sizes = {name: len(dataset) for name, dataset in datasets.items()}
    weights = {task.name: task.mixture_weight for task in run.tasks if task.mixture_weight is not None}
    if weights and len(weights) != len(run.tasks):
        missing = [name for name in sizes if name not in weights]
        raise InputError(f"run {run.name}: mixture_weight is given for {', '.join(weights)}, not for {missing}")
    turns = {
        task.name: datasets[task.name].class_turns(task.class_sampling, task.repeat_threshold) for task in run.tasks
    }
    return Mixture(
        sizes,
        strategy=run.mixture,
        batch_size=run.batch_size,
        num_steps=run.steps_for(sum(sizes.values())),
        seed=run.seed,
        weights=weights or None,
        temperature=run.mixture_temperature,
        turns={name: each for name, each in turns.items() if each is not None},
    )


def batches_from(
    start_step: int, run: RunConfig, data: TrainingData, world: World, *, num_workers: int
) -> Generator[tuple[int, tuple[ClipBatch, ...]]]:
    """Yield the run's steps from ``start_step`` on, each with this rank's share of its batches (``loader.batches``)."""
    return batches(
        data.datasets,
        data.mixture,
        start_step=start_step,
        num_workers=num_workers,
        seed=run.seed,
        on_error=run.on_error,
        rank=world.rank,
        world_size=world.size,
    )
