"""Score a model on splits of its tasks: at the end of a run, or any finished run folder later."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tubelet.evals.run import TaskResult, evaluate_task
from tubelet.models.model import VideoModel
from tubelet.models.precision import pick_device
from tubelet.models.saved import load_model, read_meta
from tubelet.tasks import BoxOrigin, Task, build_task
from tubelet.train.config import RunConfig
from tubelet.train.distributed import World
from tubelet.types import Crops, InputError
from tubelet.video.cache import FrameCache


def evaluate_tasks(
    model: VideoModel,
    tasks: Mapping[str, Task],
    splits: Mapping[str, str],
    *,
    cache: FrameCache | None,
    batch_size: int,
    num_workers: int,
    world: World,
) -> dict[str, TaskResult]:
    """Score each task in ``splits`` on the split named there; every rank a share of it, and all get the result."""

    def scored(name: str, split: str) -> TaskResult:
        return evaluate_task(
            model,
            tasks[name],
            tasks[name].dataset(split, training=False, cache=cache),
            batch_size=batch_size,
            num_workers=num_workers,
            device=world.device,
            num_views=tasks[name].config.eval_num_views,
            crops=tasks[name].config.eval_crops,
            ranks=world,
        )

    return {name: scored(name, split) for name, split in splits.items()}


def evaluate_run(
    folder: Path,
    *,
    split: str | None = None,
    tasks: tuple[str, ...] | None = None,
    boxes: BoxOrigin | None = None,
    box_score_threshold: float | None = None,
    num_views: int | None = None,
    crops: Crops | None = None,
    device: str | None = None,
    num_workers: int | None = None,
) -> dict[str, TaskResult]:
    """Score a finished run on the data sets it was trained on.

    Args:
        folder: Run folder.
        split: Split of every task; None = each task's ``eval_split``.
        tasks: Which tasks; None = all.
        boxes: Person boxes of the localisation tasks; None = each task's ``eval_boxes``.
        box_score_threshold: Detected boxes below it are not scored; None = each task's own.
        num_views: Clips of each video whose scores are averaged, for the classification tasks, one of which must be
            there; None = each task's ``eval_num_views``.
        crops: What is shown of a frame larger than the canvas; None = each task's ``eval_crops``.
        device: Where; None = a GPU if there is one.
        num_workers: Processes that prepare batches; None = as in training.

    Returns:
        Task name to result.
    """
    world = World(device=pick_device(device))
    loaded = load_model(folder, device=world.device)
    run = run_config(folder)
    configs = {config.name: config for config in run.tasks}
    for name in tasks or ():
        if name not in configs:
            raise InputError(f"{folder}: the run has no task {name!r}; it has {', '.join(configs)}")
    changes: dict[str, Any] = {} if boxes is None else {"eval_boxes": boxes}
    if box_score_threshold is not None:
        changes["eval_box_score_threshold"] = box_score_threshold
    if crops is not None:
        changes["eval_crops"] = crops
    configs = {name: replace(configs[name], **changes) for name in tasks or configs}
    if num_views is not None:
        whole = [name for name, config in configs.items() if config.kind == "classify"]
        if not whole:
            raise InputError(f"{folder}: num_views is for classification; a keyframe has one clip")
        configs |= {name: replace(configs[name], eval_num_views=num_views) for name in whole}
    chosen = {name: build_task(config, preprocess=run.preprocess) for name, config in configs.items()}
    return evaluate_tasks(
        loaded.model,
        chosen,
        {name: split or task.config.eval_split for name, task in chosen.items()},
        cache=run.frame_cache(),
        batch_size=run.eval_batch_size,
        num_workers=run.num_workers if num_workers is None else num_workers,
        world=world,
    )


def run_config(folder: Path) -> RunConfig:
    """Return the config a run folder was trained with."""
    return RunConfig.from_json(read_meta(folder)["config"], where=str(folder))
