"""A loss or a gradient that is not a finite number: the run stops, and says what it takes to do the step again."""

from collections.abc import Mapping

from tubelet.data.mixture import sample_seed
from tubelet.models.precision import run_dtype
from tubelet.records import write_json
from tubelet.train.session import Session

NON_FINITE_FILE = "nonfinite.json"
NUM_SHOWN = 8


class NonFiniteLossError(FloatingPointError):
    """A loss or gradient is not a finite number; the message names the step, the task and the samples."""


def note_non_finite(session: Session, losses: Mapping[str, float], norm: float) -> NonFiniteLossError:
    """Write ``nonfinite.json`` and a checkpoint of the weights before the step; return the error to raise.

    The weights must be those before the step. If they are finite a checkpoint of them is written, from which
    ``replay.replay_step`` starts; otherwise the one before stays the newest, and it starts there.
    """
    run, step = session.run, session.step + 1
    parts = session.mixture.parts(session.step)
    samples = {
        part.task: [
            {
                "slot": slot,
                "index": index,
                "sample_id": session.datasets[part.task].sample_id(index),
                "seed": sample_seed(run.seed, session.step, slot),
            }
            for slot, index in zip(part.slots, part.indices, strict=True)
        ]
        for part in parts
    }
    record = {
        "step": step,
        "losses": {task: str(loss) for task, loss in losses.items()},
        "gradient_norm": str(norm),
        "learning_rate": session.rates.at(session.step),
        "dtype": str(run_dtype(session.device, run.precision)),
        "world_size": session.world.size,
        "accumulation_steps": run.accumulation_steps,
        "seed": run.seed,
        "samples": samples,
    }
    if session.world.is_main:
        write_json(session.out / NON_FINITE_FILE, record)
    if session.weights_are_finite():
        session.save()
        session.checkpoints.wait()
    said = ", ".join(f"task {task}: loss {loss}" for task, loss in losses.items())
    ids = [sample["sample_id"] for rows in samples.values() for sample in rows]
    shown = ", ".join(map(str, ids[:NUM_SHOWN])) + (f" and {len(ids) - NUM_SHOWN} more" if len(ids) > NUM_SHOWN else "")
    return NonFiniteLossError(
        f"step {step}, {said}, gradient norm {norm}; samples: {shown}; {session.out / NON_FINITE_FILE} has all, and "
        f"--replay-step {step} does the step again"
    )
