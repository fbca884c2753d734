"""Do one step of a run again, from what its folder holds, and look at it sample by sample; nothing is written."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from tubelet.records import read_json
from tubelet.train.config import RunConfig
from tubelet.train.data import TrainingData, batches_from, open_data
from tubelet.train.distributed import joined
from tubelet.train.folder import check_same_run
from tubelet.train.loop import add_gradients, clip_gradients, train_step
from tubelet.train.nonfinite import NON_FINITE_FILE
from tubelet.train.opening import open_session
from tubelet.train.session import PartCounts, Session
from tubelet.types import ClipBatch, InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayedSample:
    """What a sample did in the step."""

    task: str
    slot: int
    """Its place in the step's batch."""
    sample_id: str
    num_examples: int
    """Boxes; 1 for a clip."""
    loss: float
    """Mean over its examples; 0 without any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """A step that was done again."""

    step: int
    """Counted from 1."""
    first_step: int
    """Steps done in the checkpoint that it started from; those in between were done again on the way."""
    losses: dict[str, float]
    """Of each task."""
    gradient_norm: float
    """Before clipping."""
    samples: tuple[ReplayedSample, ...]
    bad_parameters: tuple[str, ...]
    """Whose gradient is not finite."""


def replay_step(run: RunConfig, out: Path, step: int) -> Replay:
    """Rebuild the batch of a step and compute its losses and gradient from the newest checkpoint's weights.

    A run that ended because of a number that is not finite has a checkpoint right before that step; from an earlier one
    the steps in between are done first. One process does what any number of ranks did, in as many pieces.

    Args:
        run: The run, as it was started.
        out: Its folder.
        step: Counted from 1, as in messages and ``metrics.jsonl``.

    Raises:
        InputError: The folder holds another run, or no checkpoint from before the step; or a sample cannot be read.
    """
    check_same_run(run, out)
    with joined(run.device) as world:
        if world.size > 1:
            raise InputError("a step is replayed by one process")
        run, data = replace(run, accumulation_steps=_num_pieces(run, out, step)), open_data(run)
        session = open_session(run, out, data, world=world)
        if not session.step < step <= session.num_steps:
            raise InputError(
                f"{out}: step {step} cannot be replayed; the newest checkpoint is of step {session.step} and the run "
                f"has {session.num_steps}"
            )
        first_step = session.step
        for parts, counts in _steps(session, data):
            if session.step + 1 == step:
                return _looked_at(session, parts, counts, first_step)
            train_step(session, parts, counts, learning_rate=session.rates.at(session.step))
            session.finish_step(counts)
    raise AssertionError("the run's steps ended before the one to replay")


def _num_pieces(run: RunConfig, out: Path, step: int) -> int:
    """Return in how many pieces all ranks together computed the step, as far as the folder says."""
    path = out / NON_FINITE_FILE
    record = read_json(path) if path.exists() else {}
    if record.get("step") != step:
        return run.accumulation_steps
    number = int(record["world_size"]) * int(record["accumulation_steps"])
    return number if run.batch_size % number == 0 else run.batch_size


def _steps(session: Session, data: TrainingData) -> Iterator[tuple[list[ClipBatch], list[PartCounts]]]:
    """Yield each step's batches as the model sees them, from where the session stands."""
    for _, parts in batches_from(session.step, session.run, data, session.world, num_workers=0):
        counts = session.counted(parts)
        yield [session.tasks[part.task].augmented(part.to(session.device)) for part in parts], counts


def _looked_at(session: Session, parts: list[ClipBatch], counts: list[PartCounts], first_step: int) -> Replay:
    samples: list[ReplayedSample] = []

    def note(piece: ClipBatch, losses: Tensor) -> None:
        clip = torch.arange(len(losses)) if piece.box_clip is None else piece.box_clip.cpu()
        for place, sample_id in enumerate(piece.sample_ids):
            mine = losses.cpu()[clip == place]
            samples.append(
                ReplayedSample(
                    task=piece.task,
                    slot=piece.slots[place],
                    sample_id=sample_id,
                    num_examples=len(mine),
                    loss=mine.mean().item() if len(mine) else 0.0,
                )
            )

    session.model.train()
    scale = 1.0 if session.state.loss_scale is None else session.state.loss_scale.factor
    losses = add_gradients(session, parts, counts, scale=scale, note=note)
    bad = [
        name
        for name, parameter in session.model.named_parameters()
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all())
    ]
    norm = clip_gradients(session, scale)
    return Replay(
        step=session.step + 1,
        first_step=first_step,
        losses=losses,
        gradient_norm=norm,
        samples=tuple(samples),
        bad_parameters=tuple(bad),
    )
