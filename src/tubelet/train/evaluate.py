"""Score a model on splits of its tasks: at the end of a run, or any finished run folder later."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tubelet.data.info import training_counts
from tubelet.data.manifest import read_manifest
from tubelet.evals.run import TaskResult, evaluate_task
from tubelet.evals.salience import LightModel
from tubelet.evals.views import AtEveryPlace, Views, frames_of
from tubelet.models.download import sha256_of
from tubelet.models.model import VideoModel
from tubelet.models.precision import pick_device
from tubelet.models.saved import MODEL_FILE, load_model, read_meta
from tubelet.tasks import Task, build_task
from tubelet.train.config import RunConfig
from tubelet.train.data import frame_cache, task_dataset
from tubelet.train.distributed import World
from tubelet.train.folder import data_hash
from tubelet.types import BoxChoice, Crops, Fit, InputError
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
    more: Views | None = None,
    light: LightModel | None = None,
    on_batch: Callable[[], None] | None = None,
) -> dict[str, TaskResult]:
    """Score each task in ``splits`` on the split named there; every rank a share of it, and all get the result.

    Args:
        model: With a head for each task.
        tasks: By name.
        splits: Task name to split.
        cache: Decoded frames; None = read the files.
        batch_size: Clips per batch.
        num_workers: Processes that prepare batches.
        world: The ranks.
        more: Views beside those of each task's config (its clips and crops).
        light: Chooses the clips of the classification tasks.
        on_batch: Called after each batch; what it raises ends the scoring.
    """

    def scored(name: str, split: str) -> TaskResult:
        task = tasks[name]
        config = task.config
        views = replace(more or Views(), num_views=config.eval_num_views, crops=config.eval_crops)
        views = replace(views, dense=views.dense and config.kind == "classify")
        return evaluate_task(
            model,
            AtEveryPlace(task, task.preprocess, config.loss) if views.dense else task,
            task_dataset(task, split, training=False, cache=cache),
            batch_size=batch_size,
            num_workers=num_workers,
            device=world.device,
            views=views,
            light=light if config.kind == "classify" else None,
            ranks=world,
            on_batch=on_batch,
        )

    return {name: scored(name, split) for name, split in splits.items()}


def evaluate_run(
    folder: Path,
    *,
    split: str | None = None,
    tasks: tuple[str, ...] | None = None,
    boxes: BoxChoice | None = None,
    box_score_threshold: float | None = None,
    num_views: int | None = None,
    crops: Crops | None = None,
    more: Views | None = None,
    fit: Fit | None = None,
    salience: Path | None = None,
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
        more: Scales, mirrored views, scores at every place and what is averaged; its clips and crops are not used.
        fit: How frames come onto the canvas; None = as in training. Paper B, 4.4: 128 pixels of 128x171.
        salience: Run folder of a light model that chooses the clips of the classification tasks, one of which must be
            there; None = they are spread evenly.
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
    whole = [name for name, config in configs.items() if config.kind == "classify"]
    if not whole and (num_views is not None or salience is not None):
        option = "num_views" if num_views is not None else "salience"
        raise InputError(f"{folder}: {option} is for classification; a keyframe has one clip")
    if num_views is not None:
        configs |= {name: replace(configs[name], eval_num_views=num_views) for name in whole}
    preprocess = run.preprocess
    if fit is not None:
        preprocess = replace(preprocess, size=fit.size, exact_hw=fit.exact_hw, short_side=fit.short_side)
        more = replace(more or Views(), frames=frames_of(fit))
    chosen = {name: build_task(config, preprocess=preprocess) for name, config in configs.items()}
    return evaluate_tasks(
        loaded.model,
        chosen,
        {name: split or task.config.eval_split for name, task in chosen.items()},
        cache=frame_cache(run) if fit is None else None,  # cached frames have the size of training
        batch_size=run.eval_batch_size,
        num_workers=run.num_workers if num_workers is None else num_workers,
        world=world,
        more=more,
        light=None if salience is None else light_model(salience, world.device),
    )


def light_model(folder: Path, device: torch.device) -> LightModel:
    """Return a run's model as one that chooses clips, by its first classification head."""
    loaded = load_model(folder, device=device)
    head = loaded.task_of_kind("classify")
    name = f"{folder.name} ({head}, weights {sha256_of(folder / MODEL_FILE)[:12]})"
    return LightModel(loaded=loaded, head=head, name=name)


def run_config(folder: Path) -> RunConfig:
    """Return the config a run folder was trained with.

    Raises:
        InputError: The folder holds a model alone, packed or converted.
    """
    meta = read_meta(folder)
    if "config" not in meta:
        raise InputError(f"{folder}: a model without the run that made it; expected what `tubelet train` writes")
    return RunConfig.from_json(meta["config"], where=str(folder))


def origin_of(folder: Path, task: str) -> dict[str, Any]:
    """Return what the numbers of a run's task come from: checkpoint, data and versions, with their SHA-256."""
    (config,) = (config for config in run_config(folder).tasks if config.name == task)
    return origin(str(folder), sha256_of(folder / MODEL_FILE), Path(config.manifest))


def origin(run: str, weights_sha256: str, manifest_folder: Path) -> dict[str, Any]:
    """Return what stands beside every number: whose weights, which data, and the versions."""
    manifest = read_manifest(manifest_folder)
    return {
        "run": run,
        "weights_sha256": weights_sha256,
        "data": {
            "name": manifest.name,
            "manifest": str(manifest_folder),
            "source": manifest.source,
            "sha256": data_hash(manifest_folder, detected=True),
            "training_counts": training_counts(manifest).tolist(),
        },
        "versions": {name: version(name) for name in ("tubelet", "torch", "numpy")},
    }
