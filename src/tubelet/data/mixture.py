"""Which tasks and which samples a step trains on (paper A, 3.2): pure functions of (seed, step).

There is no sampler state: resuming needs the step alone, and any number of workers or processes agrees without talking.
A step has ``batch_size`` slots. A strategy says how many of them each task has; each task's set is gone through again
and again in a shuffled order (``shuffle.permuted``), so that every example comes exactly once in a pass of its set, or
as often as its class says (``class_turns.py``). A batch may span two passes. Nothing that is held grows with the sets:
10^8 examples are shuffled without a permutation in memory.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tubelet.data.class_turns import ClassTurns
from tubelet.data.shuffle import U64, key_of, permuted, uniform
from tubelet.types import InputError, did_you_mean

BLOCK = 4096
"""Steps that are planned at once: of each block only the samples drawn before it are held."""
MIN_TEMPERATURE = 0.1
"""Below it the largest set has every sample, and powers of sizes overflow."""

I64 = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class MixtureRow:
    """One line of the mixture table."""

    task: str
    size: int
    """Examples in the set."""
    pass_length: int
    """Samples in a pass of it; more or fewer than examples where rare classes come more often."""
    weight: float
    """Expected share of the samples, 0..1."""
    expected_passes: float
    """Expected number of passes in the whole run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one task adds to a step."""

    task: str
    indices: tuple[int, ...]
    """Examples of its set, one for each slot."""
    slots: tuple[int, ...]
    """Their places in the step's global batch, 0..batch_size-1, in order; with them ``sample_seed``."""

    def share(self, slots: range) -> "Part":
        """Return what lies in these slots of the step; it may be nothing."""
        inside = [place for place, slot in enumerate(self.slots) if slot in slots]
        first, last = (inside[0], inside[-1] + 1) if inside else (0, 0)
        return Part(task=self.task, indices=self.indices[first:last], slots=self.slots[first:last])


def slots_of_rank(batch_size: int, rank: int, world_size: int) -> range:
    """Return the slots that process ``rank`` of ``world_size`` trains on: a contiguous piece of every step.

    Raises:
        InputError: The batch does not divide by the processes.
    """
    if batch_size % world_size:
        raise InputError(
            f"batch_size is {batch_size}, expected a multiple of the {world_size} processes that share a batch"
        )
    share = batch_size // world_size
    return range(share * rank, share * (rank + 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a strategy goes by."""

    shares: NDArray[np.float64]
    """(T,), of the samples of the run; they sum up to 1."""
    batch_size: int
    num_steps: int
    seed: int


def _weighted(steps: U64, plan: Plan) -> I64:
    """Each step draws one task with the probability of its share (paper A's choice)."""
    edges = np.cumsum(plan.shares)
    edges[-1] = 1.0
    return _one_task(np.searchsorted(edges, uniform(steps, key_of(plan.seed, "task")), side="right"), plan)


def _alternating(steps: U64, plan: Plan) -> I64:
    """Tasks take turns (paper A, 3.2)."""
    return _one_task((steps % np.uint64(len(plan.shares))).astype(np.int64), plan)


def _sequential(steps: U64, plan: Plan) -> I64:
    """One task after the other, each with its share of the run (the thought experiment of paper A, 3.2)."""
    edges = np.cumsum(plan.shares)
    edges[-1] = 1.0
    ends = np.round(edges * plan.num_steps)
    return _one_task(np.searchsorted(ends, steps.astype(np.float64), side="right"), plan)


def _mixed(steps: U64, plan: Plan) -> I64:
    """Every step has slots of several tasks (the variant that paper A, 3.2, names and did not pursue).

    Systematic sampling: a task has its share of the slots rounded up or down, at random for each step so that the mean
    is the share exactly. Slots go out in pairs, if their number is even, for mixup's sake.
    """
    unit = 2 if plan.batch_size % 2 == 0 else 1
    number = plan.batch_size // unit
    edges = np.concatenate([[0.0], np.cumsum(plan.shares) * number])
    edges[-1] = number
    # The sum rounds to the next whole number where the draw is next to 1.
    cuts = np.minimum(np.floor(edges + uniform(steps, key_of(plan.seed, "slots"))[:, None]), number)
    return unit * np.diff(cuts, axis=1).astype(np.int64)


def _one_task(tasks: I64, plan: Plan) -> I64:
    return np.where(tasks[:, None] == np.arange(len(plan.shares)), plan.batch_size, 0)


STRATEGIES: Mapping[str, Callable[[U64, Plan], I64]] = {
    "weighted": _weighted,
    "alternating": _alternating,
    "sequential": _sequential,
    "mixed": _mixed,
}
"""From steps (S,) to the number of slots of each task, (S, T)."""


class Mixture:
    """The order of training.

    Args:
        sizes: Examples of each task's set, in the order of the tasks.
        strategy: A key of ``STRATEGIES``.
        batch_size: Samples in a step.
        num_steps: Length of the run.
        seed: Of the run.
        weights: Share of the samples for each task, any scale; default: the sizes. Not for ``alternating``.
        temperature: Weights are the sizes to the power of 1 / temperature: 1 = proportional to the sizes, 2 = to their
            square roots; towards equal weights as it grows. Not with ``weights``.
        turns: Class-aware sampling inside a task's set; a task that is missing has each example once in a pass.

    Raises:
        InputError: An empty set, an unknown strategy or task, or weights that cannot be used.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        strategy: str = "weighted",
        batch_size: int,
        num_steps: int,
        seed: int,
        weights: Mapping[str, float] | None = None,
        temperature: float = 1.0,
        turns: Mapping[str, ClassTurns] | None = None,
    ) -> None:
        _check(sizes, strategy, batch_size, num_steps)
        self.sizes = dict(sizes)
        self.batch_size, self.num_steps, self.seed = batch_size, num_steps, seed
        self._names: tuple[str, ...] = tuple(sizes)
        self._turns = dict(turns or {})
        shares = _shares(sizes, strategy, weights, temperature)
        self._plan = Plan(shares=shares, batch_size=batch_size, num_steps=num_steps, seed=seed)
        self._strategy = STRATEGIES[strategy]
        blocks = [self._counts(number).sum(axis=0) for number in range(-(-num_steps // BLOCK))]
        zero = np.zeros((1, len(sizes)), dtype=np.int64)
        self._before_block: I64 = np.cumsum(np.concatenate([zero, *(block[None] for block in blocks)]), axis=0)
        self._block = (-1, zero, zero)

    def parts(self, step: int) -> tuple[Part, ...]:
        """Return what each task adds to a step, 0 <= step < num_steps; tasks that add nothing are left out."""
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step {step} is outside the run's 0..{self.num_steps - 1}")
        number, place = divmod(step, BLOCK)
        if self._block[0] != number:
            counts = self._counts(number)
            self._block = (number, counts, self._before_block[number] + np.cumsum(counts, axis=0) - counts)
        _, counts, before = self._block
        parts, slot = [], 0
        for task, count, first in zip(self._names, counts[place].tolist(), before[place].tolist(), strict=True):
            if count:
                slots = tuple(range(slot, slot + count))
                parts.append(Part(task=task, indices=self._indices(task, first, count), slots=slots))
                slot += count
        return tuple(parts)

    def table(self) -> list[MixtureRow]:
        """Return what is expected, to be shown before the run starts."""
        samples = self.num_steps * self.batch_size
        return [
            MixtureRow(
                task=task,
                size=size,
                pass_length=self._pass_length(task),
                weight=share,
                expected_passes=share * samples / self._pass_length(task),
            )
            for (task, size), share in zip(self.sizes.items(), self._plan.shares.tolist(), strict=True)
        ]

    def _counts(self, block: int) -> I64:
        """Return the slots of each task, (steps of the block, T)."""
        first = block * BLOCK
        return self._strategy(np.arange(first, min(first + BLOCK, self.num_steps), dtype=np.uint64), self._plan)

    def _pass_length(self, task: str) -> int:
        return self._turns[task].pass_length if task in self._turns else self.sizes[task]

    def _indices(self, task: str, first: int, count: int) -> tuple[int, ...]:
        """Return the examples of a task's samples number ``first`` and following."""
        length, turns = self._pass_length(task), self._turns.get(task)
        positions = np.arange(first, first + count, dtype=np.int64)
        result = np.empty(count, dtype=np.int64)
        for number in range(first // length, (first + count - 1) // length + 1):
            inside = positions // length == number
            places = permuted(positions[inside] % length, length, key_of(self.seed, "shuffle", task, number))
            result[inside] = places if turns is None else turns.examples(places, number)
        return tuple(result.tolist())


def sample_seed(seed: int, step: int, slot: int) -> int:
    """Return the seed (63 bits) of all that is random about the sample in place ``slot`` of a step's global batch."""
    return key_of(seed, "sample", step, slot)


def _shares(
    sizes: Mapping[str, int], strategy: str, weights: Mapping[str, float] | None, temperature: float
) -> NDArray[np.float64]:
    """Return each task's share of the samples."""
    if strategy == "alternating":
        if weights is not None or temperature != 1:
            raise InputError("mixture 'alternating' takes no weights and no temperature: tasks take turns")
        return np.full(len(sizes), 1 / len(sizes))
    if not MIN_TEMPERATURE <= temperature < math.inf:
        raise InputError(f"mixture temperature must be at least {MIN_TEMPERATURE} and finite, got {temperature}")
    if weights is None:
        weights = {task: size ** (1 / temperature) for task, size in sizes.items()}
    elif temperature != 1:
        raise InputError("give one of mixture weights and mixture temperature")
    if set(weights) != set(sizes):
        raise InputError(f"mixture weights are for {sorted(weights)}, the tasks are {sorted(sizes)}")
    if any(not 0 <= w < math.inf for w in weights.values()) or sum(weights.values()) <= 0:
        raise InputError(f"mixture weights must be finite, 0 or more and not all 0, got {dict(weights)}")
    total = sum(weights.values())
    return np.array([weights[task] / total for task in sizes])


def _check(sizes: Mapping[str, int], strategy: str, batch_size: int, num_steps: int) -> None:
    if not sizes:
        raise InputError("a mixture needs at least one task")
    for task, size in sizes.items():
        if size < 1:
            raise InputError(f"task {task!r}: its training set has {size} examples, expected at least 1")
    if strategy not in STRATEGIES:
        hint = did_you_mean(strategy, STRATEGIES)
        raise InputError(f"mixture {strategy!r} is not one of {', '.join(STRATEGIES)}{hint}")
    if batch_size < 1 or num_steps < 0:
        raise InputError(f"batch_size={batch_size} must be at least 1 and num_steps={num_steps} at least 0")
