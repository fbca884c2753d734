"""The training loop: one for every mixture of tasks, on one process or many.

Co-finetuning (paper A, 3.2) is this loop over the steps of a mixture of several tasks: a step's batch is of one task,
goes through the backbone that all of them share, that task's own head and its loss, and updates their weights.
A run is a function of its config: which tasks, which samples, which augmentation and which dropped layers step k uses
follow from (seed, k) alone. So a run that was killed goes on from its newest checkpoint to the same weights, and ranks
load their shares of a step without asking each other.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from tubelet.models.precision import default_autocast
from tubelet.train.interrupt import RunInterruptedError, StopRequest
from tubelet.train.log import RunLog, StepReport
from tubelet.train.nonfinite import note_non_finite
from tubelet.train.optim import set_learning_rate
from tubelet.train.session import PartCounts, Session
from tubelet.types import ClipBatch


def train_steps(
    session: Session,
    batches: Iterable[tuple[int, Sequence[ClipBatch]]],
    log: RunLog,
    stop: StopRequest,
    *,
    score: Callable[[], Mapping[str, float]],
    on_step: Callable[[StepReport], None] | None = None,
) -> None:
    """Do the steps that are left; write checkpoints on the way and one at the end.

    Args:
        session: The run; its weights, its optimizer and its state change.
        batches: From the session's step on, each step's number, from 0, and this rank's share of its batches: one, but
            for the mixture ``mixed``.
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
    after_step(session, log, stop, score)  # a scoring that a signal broke off
    for step, parts in log.waiting(session.world.in_step(batches)):
        counts = session.counted(parts)
        parts = [session.tasks[part.task].augmented(part.to(session.device)) for part in parts]
        rate = session.rates.at(step)
        losses, norm = train_step(session, parts, counts, learning_rate=rate)
        session.finish_step(counts)
        report = log.step(session.step, losses=losses, gradient_norm=norm, learning_rate=rate)
        if on_step is not None:
            on_step(report)
        after_step(session, log, stop, score)


def train_step(
    session: Session, parts: Sequence[ClipBatch], counts: Sequence[PartCounts], *, learning_rate: float
) -> tuple[dict[str, float], float]:
    """Move the weights once; return each task's loss and the gradient's norm before clipping.

    Args:
        session: The run.
        parts: This rank's share of the step, a batch for each task in it: one, but for the mixture ``mixed``.
        counts: What all ranks have of each part.
        learning_rate: Of this step.
    """
    model, optimizer, loss_scale = session.model, session.optimizer, session.state.loss_scale
    model.train()
    optimizer.zero_grad(set_to_none=True)
    before = [buffer.clone() for buffer in model.buffers()]
    scale = 1.0 if loss_scale is None else loss_scale.factor
    losses = add_gradients(session, parts, counts, scale=scale)
    norm = clip_gradients(session, scale)
    usable = math.isfinite(norm)
    if not all(map(math.isfinite, losses.values())) or not (usable or scale > 1.0):
        for buffer, value in zip(model.buffers(), before, strict=True):
            buffer.copy_(value)
        raise note_non_finite(session, parts, losses, norm)
    if usable:
        set_learning_rate(optimizer, learning_rate)
        optimizer.step()
        if session.average is not None:
            session.average.update(model, steps=session.step + 1)
    if loss_scale is not None:
        loss_scale.adapt(fits=usable)
    return losses, norm


def add_gradients(
    session: Session,
    parts: Sequence[ClipBatch],
    counts: Sequence[PartCounts],
    *,
    scale: float,
    note: Callable[[ClipBatch, Tensor], None] | None = None,
) -> dict[str, float]:
    """Run forward and backward of a step, piece by piece; return each task's mean loss over all ranks.

    A task's loss is the mean over its clips or boxes that were really used, on all ranks; the step's is the
    sum of the tasks' by their weights and their shares of the batch. So the gradient depends neither on the number of
    ranks nor on that of the pieces. ``note`` is called with each piece and the losses of its clips or boxes.
    """
    world, shared, num_slots = session.world, session.shared, sum(each.num_slots for each in counts)
    # Ranks meet in every piece's backward, so on several of them a piece without a sample is run too.
    pieces = [
        (number, piece)
        for number, part in enumerate(parts)
        for piece in part.pieces(session.run.accumulation_steps)
        if world.size > 1 or piece.sample_ids
    ]
    sums: list[list[Tensor]] = [[] for _ in parts]
    for place, (number, piece) in enumerate(pieces, start=1):
        task, num_losses = session.tasks[piece.task], max(1, counts[number].losses)
        forward = partial(shared, residual_scales=session.model.residual_scales(piece.seeds))
        weight = scale * task.config.loss_weight * counts[number].num_slots / num_slots
        with shared.piece(last=place == len(pieces)):
            with default_autocast(session.device, session.run.precision):
                losses = task.losses(forward, piece)
            shared.backward(losses.sum() * (weight / num_losses))
        sums[number].append(losses.detach().sum())
        if note is not None:
            note(piece, losses.detach())
    # Read when all is under way: reading a number from a GPU waits for it.
    totals = world.summed([sum(map(float, each)) for each in sums])
    return {each.task: total / max(1, each.losses) for each, total in zip(counts, totals, strict=True)}


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
            session.state.scored_step = step
    except RunInterruptedError as error:
        interrupted = error
    if (session.saved_step != step and (due or interrupted)) or (metrics and run.best_metric):
        log.flush()
        session.save(metrics=metrics)
    if interrupted is not None:
        session.checkpoints.wait()
        raise interrupted
