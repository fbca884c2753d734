"""The learning rate as a function of the step, so that a resumed run needs no scheduler state.

A rate is the peak times a share: linear in the warm-up, then what the schedule says. Schedules are pure functions of
the step and the plan.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

ScheduleName = Literal["cosine", "halving", "periods", "constant"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RatePlan:
    """What decides the rate of every step of a run."""

    peak: float
    """Rate at the end of the warm-up."""
    num_steps: int
    """Length of the run."""
    warmup_steps: int
    """Step ``warmup_steps`` is the first at the full rate; step 0 already moves."""
    warmup_start: float
    """Share of the peak that the warm-up begins at."""
    schedule: ScheduleName
    num_halvings: int
    period_ends: tuple[int, ...]
    """First step after each period."""
    period_factor: float

    def at(self, step: int) -> float:
        """Return the rate of a step, 0 .. num_steps - 1."""
        if step < self.warmup_steps:
            climbed = (step + 1) / (self.warmup_steps + 1)
            return self.peak * (self.warmup_start + (1 - self.warmup_start) * climbed)
        return self.peak * SCHEDULES[self.schedule](step, self)

    @property
    def steps_after_warmup(self) -> int:
        """Steps that are left for the schedule, at least one."""
        return max(1, self.num_steps - self.warmup_steps)


def cosine(step: int, plan: RatePlan) -> float:
    """Half a cosine from 1 towards 0 (paper A, 4.1)."""
    done = (step - plan.warmup_steps) / plan.steps_after_warmup
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def halving(step: int, plan: RatePlan) -> float:
    """Half as much after each of ``num_halvings`` + 1 equal stretches but the last.

    Paper B, 3.3: "divided by 2 at equal steps such that the total number of learning rate reductions is 13 over the
    course of training". That the stretches begin where the warm-up ends is our reading.
    """
    done = (step - plan.warmup_steps) * (plan.num_halvings + 1) // plan.steps_after_warmup
    return 0.5 ** min(done, plan.num_halvings)


def periods(step: int, plan: RatePlan) -> float:
    """``period_factor`` once for each period that has ended (paper B, A.4, "LR steps").

    The paper's lists are read as consecutive periods after the warm-up, the last of which may end with the run: 58
    epochs with a warm-up of 16 and [16, 16] are 16 + 16 + 16 + 10, and 27 with [9, 9, 9] have two drops. Inferred: the
    text says "at equally spaced steps", and only so do the lists and the lengths agree.
    """
    return plan.period_factor ** sum(step >= end for end in plan.period_ends)


def constant(step: int, plan: RatePlan) -> float:
    """The peak to the end."""
    return 1.0


SCHEDULES: Mapping[ScheduleName, Callable[[int, RatePlan], float]] = {
    "cosine": cosine,
    "halving": halving,
    "periods": periods,
    "constant": constant,
}


def plan_rates(
    *,
    learning_rate: float,
    batch_size: int,
    reference_batch_size: int | None,
    num_steps: int,
    steps_per_epoch: float,
    warmup_epochs: float,
    warmup_start: float,
    schedule: ScheduleName,
    num_halvings: int,
    period_epochs: tuple[float, ...],
    period_factor: float,
) -> RatePlan:
    """Return the rates of a run, epochs turned into steps; ``optim.OptimConfig`` has the defaults.

    Args:
        learning_rate: Peak, for a step of ``reference_batch_size`` clips.
        batch_size: Clips in a step.
        reference_batch_size: None = the rate is meant for any.
        num_steps: Length of the run.
        steps_per_epoch: Need not be whole.
        warmup_epochs: At most half of the run is warm-up: a short run must still learn.
        warmup_start: As in ``RatePlan``, and so are the others.
        schedule: Key of ``SCHEDULES``.
        num_halvings: Of ``halving``.
        period_epochs: Of ``periods``.
        period_factor: Of ``periods``.
    """
    warmup = min(round(warmup_epochs * steps_per_epoch), num_steps // 2)
    ends = [warmup + round(epochs * steps_per_epoch) for epochs in accumulate(period_epochs)]
    return RatePlan(
        peak=learning_rate if reference_batch_size is None else learning_rate * batch_size / reference_batch_size,
        num_steps=num_steps,
        warmup_steps=warmup,
        warmup_start=warmup_start,
        schedule=schedule,
        num_halvings=num_halvings,
        period_ends=tuple(ends),
        period_factor=period_factor,
    )
