"""Open a run: read its data, build its model, and bring both to where the run stands."""

from collections.abc import Mapping
from pathlib import Path

import torch

from tubelet.data.dataset import ClipDataset
from tubelet.models.compiled import compile_where_it_pays
from tubelet.models.memory import keep_freed_memory
from tubelet.models.model import VideoModel
from tubelet.tasks import Task, build_task
from tubelet.train.checkpoint import CheckpointWriter, latest_checkpoint, load_checkpoint
from tubelet.train.config import RunConfig
from tubelet.train.distributed import World
from tubelet.train.ema import WeightAverage
from tubelet.train.folder import task_data_hash
from tubelet.train.optim import build_optimizer
from tubelet.train.session import Session
from tubelet.train.shared_model import SharedModel
from tubelet.train.start import initialise


def open_session(run: RunConfig, out: Path, *, world: World) -> Session:
    """Read the data, build the model and bring both to where the run stands, on every rank."""
    tasks = world.together(lambda: {config.name: build_task(config, preprocess=run.preprocess) for config in run.tasks})
    datasets = world.together(lambda: open_datasets(run, tasks))
    sizes = {name: len(dataset) for name, dataset in datasets.items()}
    one_epoch = sum(sizes.values())
    num_steps = run.steps_for(one_epoch)
    mixture = run.plan_mixture(datasets)
    checkpoint = latest_checkpoint(out, process_group=world.checkpoint_group)
    model, start = world.together(lambda: build_model(run, tasks, world.device, resuming=checkpoint is not None))
    synchronised = run.batch_norm == "synchronised"
    exchanges = world.size > 1 and (synchronised or run.parallel == "fsdp")
    compile_where_it_pays(model, world.device, exchanges=exchanges)
    keep_freed_memory(world.device)
    shared = SharedModel(model, world, parallel=run.parallel, synchronised_batch_norm=synchronised)
    # From here on this rank's parameters may be pieces of the model's.
    optimizer = build_optimizer(model, run.optim)
    average = None if run.optim.ema_decay is None else WeightAverage(model, run.optim.ema_decay)
    if checkpoint is not None:
        averaged = None if average is None else average.tensors
        world.together(lambda: load_checkpoint(checkpoint, model=model, optimizer=optimizer, averaged=averaged))
    return Session(
        run=run,
        out=out,
        world=world,
        tasks=tasks,
        data=world.together(lambda: {config.name: task_data_hash(config) for config in run.tasks}),
        datasets=datasets,
        mixture=mixture,
        model=model,
        shared=shared,
        optimizer=optimizer,
        average=average,
        start=start,
        num_steps=num_steps,
        rates=run.rate_plan(one_epoch),
        step=0 if checkpoint is None else checkpoint.step,
        saved_step=0 if checkpoint is None else checkpoint.step,
        counts={} if checkpoint is None else dict(checkpoint.state),
        checkpoints=CheckpointWriter(
            out, keep=run.num_checkpoints, best_metric=run.best_metric, process_group=world.checkpoint_group
        ),
    )


def open_datasets(run: RunConfig, tasks: Mapping[str, Task]) -> dict[str, ClipDataset]:
    """Return each task's training examples."""
    cache = run.frame_cache()
    datasets = {
        name: task.dataset(task.config.train_split, training=True, seed=run.seed, cache=cache)
        for name, task in tasks.items()
    }
    for task in tasks.values():
        # Read now, so that a missing split is found before hours of training and not after.
        task.dataset(task.config.eval_split, training=False)
    return datasets


def build_model(
    run: RunConfig, tasks: Mapping[str, Task], device: torch.device, *, resuming: bool
) -> tuple[VideoModel, str]:
    """Return the model with the weights that the run starts from, the same on every rank, and which these are."""
    torch.manual_seed(run.seed)
    model = VideoModel(run.backbone, {name: task.head for name, task in tasks.items()}).to(device)
    start = initialise(model, resuming=resuming, init_from=run.init_from, init_skip=run.init_skip)
    if run.optim.frozen_backbone:
        model.freeze_backbone()
    model.recompute_activations(recompute=run.recompute_activations)
    return model, start
