"""Open a run: build its model and bring it to where the run stands."""

from collections.abc import Mapping
from pathlib import Path

import torch

from tubelet.models.compiled import compile_where_it_pays
from tubelet.models.memory import keep_freed_memory
from tubelet.models.model import VideoModel
from tubelet.records import from_json
from tubelet.tasks import Task
from tubelet.train.checkpoint import STATE_FILE, CheckpointWriter, latest_checkpoint, load_checkpoint
from tubelet.train.config import RunConfig
from tubelet.train.data import TrainingData
from tubelet.train.distributed import World
from tubelet.train.ema import WeightAverage
from tubelet.train.loss_scale import LossScale
from tubelet.train.optim import build_optimizer
from tubelet.train.session import RunState, Session
from tubelet.train.shared_model import SharedModel
from tubelet.train.start import initialise


def open_session(run: RunConfig, out: Path, data: TrainingData, *, world: World) -> Session:
    """Build the model and bring it to where the run stands, on every rank.

    Args:
        run: The whole run.
        out: Run folder; a checkpoint in it is gone on from.
        data: What the run trains on.
        world: The ranks.

    Raises:
        InputError: The weights that the run starts from cannot be used, or the checkpoint is not one of this run.
    """
    checkpoint = latest_checkpoint(out, process_group=world.checkpoint_group)
    model, start = world.together(lambda: build_model(run, data.tasks, world.device, resuming=checkpoint is not None))
    synchronised = run.batch_norm == "synchronised"
    exchanges = world.size > 1 and (synchronised or run.parallel == "fsdp")
    compile_where_it_pays(model, world.device, exchanges=exchanges)
    keep_freed_memory(world.device)
    shared = SharedModel(model, world, parallel=run.parallel, synchronised_batch_norm=synchronised)
    # From here on this rank's parameters may be pieces of the model's.
    optimizer = build_optimizer(model, run.optim)
    average = None if run.optim.ema_decay is None else WeightAverage(model, run.optim.ema_decay)
    state = RunState(
        samples=dict.fromkeys(data.tasks, 0), loss_scale=LossScale() if run.precision == "float16" else None
    )
    if checkpoint is not None:
        state = from_json(RunState, checkpoint.state, where=str(checkpoint.folder / STATE_FILE))
        averaged = None if average is None else average.tensors
        world.together(lambda: load_checkpoint(checkpoint, model=model, optimizer=optimizer, averaged=averaged))
    return Session(
        run=run,
        out=out,
        world=world,
        tasks=data.tasks,
        data_hashes=data.hashes,
        sizes=data.sizes,
        model=model,
        shared=shared,
        optimizer=optimizer,
        average=average,
        start=start,
        num_steps=data.mixture.num_steps,
        rates=run.rate_plan(data.num_examples),
        step=0 if checkpoint is None else checkpoint.step,
        saved_step=0 if checkpoint is None else checkpoint.step,
        checkpoints=CheckpointWriter(
            out, keep=run.num_checkpoints, best_metric=run.best_metric, process_group=world.checkpoint_group
        ),
        state=state,
    )


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
