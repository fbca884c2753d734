"""The training loop: one for every mixture of tasks (paper A, 3.2), on one process or many.

A run is a function of its config: which tasks, which samples, which augmentation and which dropped layers step k uses
follow from (seed, k) alone. So a run that was killed goes on from its newest checkpoint to the same weights, and ranks
load their shares of a step without asking each other.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from tubelet.data.loader import batches
from tubelet.models.precision import default_autocast
from tubelet.train.interrupt import RunInterruptedError, StopRequest
from tubelet.train.log import RunLog, StepReport
from tubelet.train.loss_scale import adapt_scale, loss_scale
from tubelet.train.nonfinite import note_non_finite
from tubelet.train.optim import set_learning_rate
from tubelet.train.session import SCORED_STEP, Met, Session
from tubelet.types import ClipBatch


def train_steps(
    session: Session,
    log: RunLog,
    stop: StopRequest,
    *,
    score: Callable[[], Mapping[str, float]],
    on_step: Callable[[StepReport], None] | None = None,
) -> None:
    """Do the steps that are left; write checkpoints on the way and one at the end.

    Args:
        session: The run; its weights, its optimizer and its counts change.
        log: Where every step is noted.
        stop: Says when a signal has come.
        score: Called every ``eval_every_steps``; may raise ``RunInterruptedError``, and is called again when the run
            goes on.
        on_step: Called after every step.

    Raises:
        NonFiniteLossError: A loss or gradient is not a finite number; the weights are those before the step.
        RunInterruptedError: A signal came (``interrupt.py``); a checkpoint was written and the same call goes on
            from it.
    """
    run, world = session.run, session.world
    loader = batches(
        session.datasets,
        session.mixture,
        start_step=session.step,
        num_workers=run.num_workers,
        seed=run.seed,
        on_error=run.on_error,
        rank=world.rank,
        world_size=world.size,
    )
    after_step(session, log, stop, score)  # a scoring that a signal broke off
    for step, parts in log.waiting(world.in_step(loader)):
        met = session.meet(parts)
        parts = tuple(session.tasks[part.task].augmented(part.to(session.device)) for part in parts)
        rate = session.rates.at(step)
        losses, norm = train_step(session, parts, met, learning_rate=rate)
        session.finish_step(met)
        report = log.step(session.step, losses=losses, gradient_norm=norm, learning_rate=rate)
        if on_step is not None:
            on_step(report)
        after_step(session, log, stop, score)


def train_step(
    session: Session, parts: Sequence[ClipBatch], met: Sequence[Met], *, learning_rate: float
) -> tuple[dict[str, float], float]:
    """Move the weights once; return each task's loss and the gradient's norm before clipping.

    Args:
        session: The run.
        parts: This rank's share of the step, a batch for each task in it: one, but for the mixture ``mixed``.
        met: What all ranks have of each part.
        learning_rate: Of this step.
    """
    model, optimizer = session.model, session.optimizer
    model.train()
    optimizer.zero_grad(set_to_none=True)
    before = [buffer.clone() for buffer in model.buffers()]
    scale = loss_scale(session.counts) if session.scales_loss else 1.0
    losses = add_gradients(session, parts, met, scale=scale)
    norm = clip_gradients(session, scale)
    usable = math.isfinite(norm)
    if not all(map(math.isfinite, losses.values())) or not (usable or scale > 1.0):
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)
        raise note_non_finite(session, losses, norm)
    if usable:
        set_learning_rate(optimizer, learning_rate)
        optimizer.step()
        if session.average is not None:
            session.average.update(model, steps=session.step + 1)
    if session.scales_loss:
        adapt_scale(session.counts, fits=usable)
    return losses, norm


def add_gradients(
    session: Session,
    parts: Sequence[ClipBatch],
    met: Sequence[Met],
    *,
    scale: float,
    note: Callable[[ClipBatch, Tensor], None] | None = None,
) -> dict[str, float]:
    """Run forward and backward of a step, piece by piece; return each task's mean loss over all ranks.

    A task's loss is the mean over its examples (clips or boxes) that were really used, on all ranks; the step's is the
    sum of the tasks' by their weights and their shares of the batch. So the gradient depends neither on the number of
    ranks nor on that of the pieces. ``note`` is called with each piece and its examples' losses.
    """
    world, shared, num_slots = session.world, session.shared, sum(each.slots for each in met)
    # Ranks meet in every piece's backward, so on several of them a piece without a sample is run too.
    pieces = [
        (number, piece)
        for number, part in enumerate(parts)
        for piece in part.pieces(session.run.accumulation_steps)
        if world.size > 1 or piece.sample_ids
    ]
    sums: list[list[Tensor]] = [[] for _ in parts]
    for place, (number, piece) in enumerate(pieces, start=1):
        task, examples = session.tasks[piece.task], max(1, met[number].examples)
        forward = partial(shared, residual_scales=session.model.residual_scales(piece.seeds))
        weight = scale * task.config.loss_weight * met[number].slots / num_slots
        with shared.piece(last=place == len(pieces)):
            with default_autocast(session.device, session.run.precision):
                losses = task.losses(forward, piece)
            shared.backward(losses.sum() * (weight / examples))
        sums[number].append(losses.detach().sum())
        if note is not None:
            note(piece, losses.detach())
    # Read when all is under way: reading a number from a GPU waits for it.
    totals = world.summed([sum(map(float, each)) for each in sums])
    return {each.task: total / max(1, each.examples) for each, total in zip(met, totals, strict=True)}


def clip_gradients(session: Session, scale: float) -> float:
    """Take the loss's scale out of the gradient and limit its norm over all parameters; return the norm before."""
    parameters = [p for p in session.model.parameters() if p.grad is not None]
    if scale != 1.0:
        torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], 1.0 / scale)
    limit = math.inf if session.run.optim.clip_norm is None else session.run.optim.clip_norm
    norm = clip_grad_norm_(parameters, limit)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)  # a DTensor where weights are sharded


def after_step(session: Session, log: RunLog, stop: StopRequest, score: Callable[[], Mapping[str, float]]) -> None:
    """Score the model and begin to write a checkpoint when it is time; stop when asked to."""
    run, world, step = session.run, session.world, session.step
    world.together(session.checkpoints.check)
    due_here = step == session.num_steps or session.checkpoints.due(
        step, every_steps=run.checkpoint_every_steps, every_minutes=run.checkpoint_every_minutes
    )
    # Each rank has its own clock and gets its own signals: what one wants all do.
    due = world.summed([due_here]) != [0.0]
    metrics: Mapping[str, float] = {}
    interrupted = None
    try:
        session.obey(stop)
        if session.is_to_score:
            metrics = score()
            session.counts[SCORED_STEP] = step
    except RunInterruptedError as error:
        interrupted = error
    if (session.saved_step != step and (due or interrupted)) or (metrics and run.best_metric):
        log.flush()
        session.save(metrics=metrics)
    if interrupted is not None:
        session.checkpoints.wait()
        raise interrupted
