"""A loss or a gradient that is not a finite number: the run stops, and says what it takes to do the step again."""

from collections.abc import Mapping, Sequence

from tubelet.models.precision import run_dtype
from tubelet.records import write_json
from tubelet.train.session import Session
from tubelet.types import ClipBatch

NON_FINITE_FILE = "nonfinite.json"
NUM_SHOWN = 8


class NonFiniteLossError(FloatingPointError):
    """A loss or gradient is not a finite number; the message names the step, the task and the samples."""


def note_non_finite(
    session: Session, parts: Sequence[ClipBatch], losses: Mapping[str, float], norm: float
) -> NonFiniteLossError:
    """Write ``nonfinite.json`` and a checkpoint of the weights before the step; return the error to raise.

    The weights must be those before the step. If they are finite a checkpoint of them is written, from which
    ``replay.replay_step`` starts; otherwise the one before stays the newest, and it starts there.

    Args:
        session: The run; all its ranks call this.
        parts: This rank's share of the step.
        losses: Of each task.
        norm: Of the gradient.
    """
    run, step = session.run, session.step + 1
    mine = [
        (slot, part.task, sample_id, seed)
        for part in parts
        for slot, sample_id, seed in zip(part.slots, part.sample_ids, part.seeds, strict=True)
    ]
    samples = sorted(row for rows in session.world.gathered(mine) for row in rows)
    record = {
        "step": step,
        "losses": {task: str(loss) for task, loss in losses.items()},
        "gradient_norm": str(norm),
        "learning_rate": session.rates.at(session.step),
        "dtype": str(run_dtype(session.device, run.precision)),
        "world_size": session.world.size,
        "accumulation_steps": run.accumulation_steps,
        "seed": run.seed,
        "samples": [dict(zip(("slot", "task", "sample_id", "seed"), row, strict=True)) for row in samples],
    }
    if session.world.is_main:
        write_json(session.out / NON_FINITE_FILE, record)
    if session.weights_are_finite():
        session.save()
        session.checkpoints.wait()
    said = ", ".join(f"task {task}: loss {loss}" for task, loss in losses.items())
    ids = [sample_id for _, _, sample_id, _ in samples]
    shown = ", ".join(ids[:NUM_SHOWN]) + (f" and {len(ids) - NUM_SHOWN} more" if len(ids) > NUM_SHOWN else "")
    return NonFiniteLossError(
        f"step {step}, {said}, gradient norm {norm}; samples: {shown}; {session.out / NON_FINITE_FILE} has all, and "
        f"--replay-step {step} does the step again"
    )
