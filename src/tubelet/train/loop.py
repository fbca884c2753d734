"""The training loop: one for every mixture of tasks (paper A, 3.2).

A run is a function of its config: which task, which samples, which augmentation and which dropped layers step k uses
follow from (seed, k) alone. So a run that was killed goes on from its newest checkpoint to the same weights.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch.nn.utils import clip_grad_norm_

from tubelet.data.loader import batches, check_skips
from tubelet.models.precision import default_autocast
from tubelet.train.interrupt import RunInterruptedError, StopRequest, deferred_signals
from tubelet.train.log import RunLog, StepReport
from tubelet.train.optim import set_learning_rate
from tubelet.train.session import Session
from tubelet.types import ClipBatch


class NonFiniteLossError(FloatingPointError):
    """A loss or gradient is not a finite number; the message names the step, the task and the samples."""


def train_steps(
    session: Session,
    log: RunLog,
    *,
    score: Callable[[], Mapping[str, float]],
    on_step: Callable[[StepReport], None] | None = None,
) -> None:
    """Do the steps that are left; write checkpoints on the way and one at the end.

    Args:
        session: The run; its weights, its optimizer and its counts change.
        log: Where every step is noted.
        score: Called every ``eval_every_steps``.
        on_step: Called after every step.

    Raises:
        NonFiniteLossError: A loss or gradient is not a finite number.
        RunInterruptedError: A signal came (``interrupt.py``); a checkpoint is written, the same call goes on from it.
    """
    run = session.run
    loader = batches(
        session.datasets,
        session.mixture,
        start_step=session.step,
        num_workers=run.num_workers,
        seed=run.seed,
        on_error=run.on_error,
    )
    with deferred_signals() as stop:
        for step, (batch,) in log.waiting(loader):
            num_used, num_skipped = len(batch.sample_ids), len(batch.skipped_ids)
            run_used, run_skipped = session.num_used + num_used, session.num_skipped + num_skipped
            check_skips(step, num_used=num_used, num_skipped=num_skipped, run_used=run_used, run_skipped=run_skipped)
            rate = session.rates.at(step)
            batch = session.tasks[batch.task].augmented(batch.to(session.device))
            loss, norm = train_step(session, batch, step=step, learning_rate=rate)
            session.finish_step(batch)
            report = log.step(session.step, losses={batch.task: loss}, gradient_norm=norm, learning_rate=rate)
            if on_step is not None:
                on_step(report)
            after_step(session, log, stop, score)


def train_step(session: Session, batch: ClipBatch, *, step: int, learning_rate: float) -> tuple[float, float]:
    """Move the weights once; return the loss and the gradient's norm before clipping.

    ``step`` is the number of steps done before; messages and ``metrics.jsonl`` count steps from 1.
    """
    run, model, task = session.run, session.model, session.tasks[batch.task]
    model.train()
    network = partial(model, residual_scales=model.residual_scales(batch.seeds))
    with default_autocast(session.device):
        losses = task.losses(network, batch)
        mean_loss = losses.sum() / max(1, len(losses))
    loss = mean_loss.item()
    session.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(mean_loss * task.config.loss_weight)
    limit = math.inf if run.optim.clip_norm is None else run.optim.clip_norm
    norm = clip_grad_norm_(model.parameters(), limit).item()
    if not (math.isfinite(loss) and math.isfinite(norm)):
        samples = ", ".join(batch.sample_ids)
        raise NonFiniteLossError(
            f"step {step + 1}, task {batch.task}: loss {loss}, gradient norm {norm}; samples: {samples}"
        )
    set_learning_rate(session.optimizer, learning_rate)
    session.optimizer.step()
    if session.average is not None:
        session.average.update(model, steps=step + 1)
    return loss, norm


def after_step(session: Session, log: RunLog, stop: StopRequest, score: Callable[[], Mapping[str, float]]) -> None:
    """Score the model and begin to write a checkpoint when it is time; stop when asked to."""
    run, step, num_steps = session.run, session.step, session.num_steps
    stopping = stop.signal_number is not None
    metrics = None
    if run.eval_every_steps and step % run.eval_every_steps == 0 and step < num_steps and not stopping:
        metrics = score()
    session.checkpoints.check()
    due = session.checkpoints.due(
        step, every_steps=run.checkpoint_every_steps, every_minutes=run.checkpoint_every_minutes
    )
    if due or step == num_steps or stopping or (metrics and run.best_metric):
        log.flush()
        session.save(metrics=metrics)
    if stop.signal_number is not None:
        session.checkpoints.wait()
        text = f"{session.out}: stopped after step {step} of {num_steps}; the same command goes on from there"
        log.say(text)
        raise RunInterruptedError(text, signal_number=stop.signal_number)
