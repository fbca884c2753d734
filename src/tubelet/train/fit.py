"""A whole run: from a config and a folder to trained, scored weights in it."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict
from pathlib import Path

from tubelet.evals.run import TaskResult
from tubelet.evals.thresholds import thresholds_of
from tubelet.train.config import RunConfig
from tubelet.train.data import TrainingData, batches_from, frame_cache, open_data
from tubelet.train.distributed import joined
from tubelet.train.evaluate import evaluate_tasks
from tubelet.train.folder import RunResult, check_same_run, finished_result, sole_writer
from tubelet.train.interrupt import StopRequest, deferred_signals
from tubelet.train.log import RunLog, StepReport
from tubelet.train.loop import train_steps
from tubelet.train.opening import open_session
from tubelet.train.session import RunState, Session


def fit(
    run: RunConfig,
    out: Path,
    *,
    device: str | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    progress: bool = True,
) -> RunResult:
    """Train ``run`` in the folder ``out``; go on with it if it is there; return its result if it is finished.

    Started by ``torchrun``, all its processes train the run together; each gets the result.

    Args:
        run: The whole run.
        out: Run folder, made when missing.
        device: ``cpu``, ``cuda``, ...; None = what the run says, or a GPU if there is one, of several its own.
        on_step: Called after every step.
        progress: Whether a live line and tables are shown; files are written either way.

    Raises:
        InputError: The folder holds another run or other data, another process writes there, or the data or the start
            weights cannot be used.
        NonFiniteLossError: A loss or gradient is not a finite number.
        RunInterruptedError: A signal came (``interrupt.py``); a checkpoint is written, the same call goes on from it.
    """
    with joined(device or run.device, timeout_seconds=run.rank_timeout_seconds) as world:
        world.together(lambda: run.check_batch(world.size))  # no rank leaves while another is still joining
        world.together(lambda: check_same_run(run, out))
        if (result := world.together(lambda: finished_result(out))) is not None:
            return result
        with ExitStack() as stack:
            # Rank 0 writes for all; the others begin when it has the folder.
            world.together(lambda: stack.enter_context(sole_writer(out)) if world.is_main else None)
            data = world.together(lambda: open_data(run))
            session = open_session(run, out, data, world=world)
            session.describe()
            metrics = _train(session, data, on_step=on_step, progress=progress)
    return RunResult(out=out, metrics=metrics)


def _train(
    session: Session,
    data: TrainingData,
    *,
    on_step: Callable[[StepReport], None] | None,
    progress: bool,
) -> dict[str, float]:
    """Train an opened run to its end and score it."""
    run = session.run
    logged = open_log(session, progress=progress)
    with session.checkpoints, logged as log, deferred_signals() as stop:
        log.table(f"{run.name}: {session.num_steps} steps, {run.mixture} mixture", map(asdict, data.mixture.table()))
        log.say(session.start)
        with closing(batches_from(session.step, run, data, session.world, num_workers=run.num_workers)) as batches:
            train_steps(
                session, batches, log, stop, score=lambda: metrics_of(score(session, log, stop)), on_step=on_step
            )
        session.checkpoints.wait()
        log.table("What the model has seen", session.seen_table())
        log.say(left_out(session.state, data))
        results = score(session, log, stop)
        session.describe(metrics=metrics_of(results), thresholds=thresholds_of(results))
    return metrics_of(results)


def open_log(session: Session, *, progress: bool) -> RunLog:
    """Return the log of a run as it stands."""
    return RunLog(
        session.out,
        num_steps=session.num_steps,
        start_step=session.step,
        start_scored=session.is_scored,
        batch_size=session.run.batch_size,
        device=session.device,
        is_main=session.world.is_main,
        progress=progress,
        track=session.run.track,
        config=session.run.to_json(),
    )


def score(session: Session, log: RunLog, stop: StopRequest) -> dict[str, TaskResult]:
    """Score every task on its evaluation split, with the averaged weights where there are any.

    Raises:
        RunInterruptedError: A signal came; nothing was noted.
    """
    run = session.run
    splits = {name: task.config.eval_split for name, task in session.tasks.items()}
    with nullcontext() if session.average is None else session.average.applied(session.model):
        session.shared.take_buffers_of_main()
        results = evaluate_tasks(
            session.model,
            session.tasks,
            splits,
            cache=frame_cache(run),
            batch_size=run.eval_batch_size,
            num_workers=run.num_workers,
            world=session.world,
            on_batch=lambda: session.obey(stop),
        )
    log.metrics(session.step, metrics_of(results))
    log.realised(session.step, session.seen_table())
    return results


def metrics_of(results: Mapping[str, TaskResult]) -> dict[str, float]:
    """Return the metrics of all tasks."""
    return {name: value for result in results.values() for name, value in result.metrics.items()}


def left_out(state: RunState, data: TrainingData) -> str:
    """Return in one line what was not used as it was asked for, so that nothing is dropped in silence."""
    keyframes = sum(dataset.num_skipped_keyframes for dataset in data.datasets.values())
    unlabelled = sum(dataset.num_unlabelled_boxes for dataset in data.datasets.values())
    text = (
        f"{state.clamped_frames} frames asked for outside their video (its first or last was used), "
        f"{state.dropped_boxes} boxes left the canvas, {keyframes} keyframes without boxes skipped, "
        f"{unlabelled} detected boxes match no annotated one, "
        f"{state.skipped_samples} samples that cannot be read left out"
    )
    if state.loss_scale is None:
        return text
    return f"{text}, {state.loss_scale.steps_without_update} steps without an update because a gradient overflowed"
