"""Which task and which samples a step trains on (paper A, 3.2): pure functions of (seed, step).

There is no sampler state: resuming needs the step alone, and any number of workers or machines agrees without talking.
Shuffling is a keyed bijection of 0..n-1 (a Feistel network with cycle walking), so no permutation is stored and every
example comes exactly once per pass of its set. Batches are homogeneous and may span two passes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tubelet.types import InputError, did_you_mean

STRATEGIES = ("weighted", "alternating", "sequential")
ROUNDS = 8

U64 = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, slots=True)
class MixtureRow:
    """One line of the mixture table."""

    task: str
    size: int
    """Examples in the set."""
    weight: float
    """Expected share of the steps, 0..1."""
    expected_passes: float
    """Expected number of times each example is seen in the whole run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one task adds to a step."""

    task: str
    indices: tuple[int, ...]
    """Examples of its set, one for each slot."""
    slots: tuple[int, ...]
    """Their places in the step's global batch, 0..batch_size-1, in order; with them ``sample_seed``."""

    def share(self, rank: int, world_size: int, *, in_pairs: bool = False) -> "Part":
        """Return the contiguous piece that process ``rank`` of ``world_size`` trains on; the pieces make up the part.

        ``in_pairs``: no cut between slots 2i and 2i + 1, which mixup and CutMix mix; pieces may then differ in size.
        """
        unit = 2 if in_pairs else 1
        number = -(-len(self.slots) // unit)
        first, last = (unit * (number * place // world_size) for place in (rank, rank + 1))
        return Part(task=self.task, indices=self.indices[first:last], slots=self.slots[first:last])


class Mixture:
    """The order of training.

    Args:
        sizes: Examples of each task's set, in the order of the tasks.
        strategy: ``weighted``: each step draws a task with a probability proportional to its weight (paper A's
            choice); ``alternating``: tasks take turns; ``sequential``: one task after the other, each with its share.
        batch_size: Samples in a step.
        num_steps: Length of the run.
        seed: Of the run.
        weights: Share of the steps for each task, any scale; default: the sizes. Not for ``alternating``.

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
    ) -> None:
        _check(sizes, strategy, batch_size, num_steps, weights)
        self.sizes = dict(sizes)
        self.strategy, self.batch_size, self.num_steps, self.seed = strategy, batch_size, num_steps, seed
        raw = np.array([1.0 if strategy == "alternating" else (weights or sizes)[task] for task in sizes])
        self._names: tuple[str, ...] = tuple(sizes)
        self._shares = raw / raw.sum()
        self._tasks = self._plan()
        # Steps of the same task that come before each step: its place in the task's own stream of batches.
        self._earlier = np.zeros(num_steps, dtype=np.int64)
        for number in range(len(self._names)):
            mine = self._tasks == number
            self._earlier[mine] = np.arange(mine.sum())

    def _plan(self) -> NDArray[np.int16]:
        """Return the number of the task of every step."""
        steps = np.arange(self.num_steps, dtype=np.uint64)
        if self.strategy == "alternating":
            return (steps % np.uint64(len(self._names))).astype(np.int16)
        edges = np.cumsum(self._shares)
        edges[-1] = 1.0
        if self.strategy == "sequential":
            ends = np.round(edges * self.num_steps)
            return np.searchsorted(ends, steps.astype(np.float64), side="right").astype(np.int16)
        uniform = (_mix(steps, _key(self.seed, "task")) >> np.uint64(11)).astype(np.float64) / 2.0**53
        return np.searchsorted(edges, uniform, side="right").astype(np.int16)

    def task_at(self, step: int) -> str:
        """Return the task of a step, 0 <= step < num_steps."""
        return self._names[int(self._tasks[self._inside(step)])]

    def indices(self, step: int) -> list[int]:
        """Return the numbers of a step's ``batch_size`` examples, inside its task's set."""
        task = self.task_at(step)
        size = self.sizes[task]
        first = int(self._earlier[step]) * self.batch_size
        positions = np.arange(first, first + self.batch_size, dtype=np.int64)
        result = np.empty(self.batch_size, dtype=np.int64)
        for number in np.unique(positions // size):
            inside = positions // size == number
            result[inside] = permuted(positions[inside] % size, size, _key(self.seed, "shuffle", task, int(number)))
        return [int(i) for i in result]

    def parts(self, step: int) -> tuple[Part, ...]:
        """Return what each task adds to a step, tasks without a sample left out."""
        return (Part(task=self.task_at(step), indices=tuple(self.indices(step)), slots=tuple(range(self.batch_size))),)

    def table(self) -> list[MixtureRow]:
        """Return what is expected, to be shown before the run starts."""
        samples = self.num_steps * self.batch_size
        return [
            MixtureRow(task=task, size=size, weight=float(share), expected_passes=float(share) * samples / size)
            for (task, size), share in zip(self.sizes.items(), self._shares, strict=True)
        ]

    def num_samples(self, step: int | None = None) -> dict[str, int]:
        """Return the samples of each task in steps before ``step`` (default: the whole run), as really drawn."""
        counts = np.bincount(self._tasks[:step], minlength=len(self._names)) * self.batch_size
        return {task: int(count) for task, count in zip(self._names, counts, strict=True)}

    def _inside(self, step: int) -> int:
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step {step} is outside the run's 0..{self.num_steps - 1}")
        return step


def permuted(positions: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Return where a keyed bijection of 0..size-1 sends ``positions``.

    A balanced Feistel network permutes the next power of four; values that fall outside are sent through again
    (cycle walking), which keeps it a bijection of 0..size-1. Less than four rounds of that are expected.
    """
    half = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = _mix(np.arange(ROUNDS, dtype=np.uint64), key)
    values = positions.astype(np.uint64)
    pending = np.ones(len(values), dtype=bool)
    while pending.any():
        left, right = values[pending] >> half, values[pending] & mask
        for round_key in keys:
            left, right = right, left ^ (_mix(right, int(round_key)) & mask)
        values[pending] = (left << half) | right
        pending = values >= np.uint64(size)
    return values.astype(np.int64)


def sample_seed(seed: int, step: int, slot: int) -> int:
    """Return the augmentation seed (63 bits) of the sample in place ``slot`` of a step's batch."""
    return _key(seed, "sample", step, slot)


def _key(seed: int, *parts: str | int) -> int:
    """Return 63 bits that depend on everything given."""
    digest = hashlib.blake2b(repr((seed, *parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _mix(values: U64, key: int) -> U64:
    """Hash 64-bit counters under a key: two rounds of the finaliser of splitmix64 (Steele et al., 2014)."""
    x = values * np.uint64(0x9E3779B97F4A7C15) + np.array([key], dtype=np.uint64)
    for _ in range(2):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return x


def _check(
    sizes: Mapping[str, int], strategy: str, batch_size: int, num_steps: int, weights: Mapping[str, float] | None
) -> None:
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
    if weights is None:
        return
    if strategy == "alternating":
        raise InputError("mixture 'alternating' takes no weights: tasks take turns")
    if set(weights) != set(sizes):
        raise InputError(f"mixture weights are for {sorted(weights)}, the tasks are {sorted(sizes)}")
    if any(not 0 <= w < float("inf") for w in weights.values()) or sum(weights.values()) <= 0:
        raise InputError(f"mixture weights must be finite, 0 or more and not all 0, got {dict(weights)}")
