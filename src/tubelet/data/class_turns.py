"""Class-aware sampling inside a set: how often the examples of rare and of frequent classes come in a pass of it.

The examples are put into groups by class; a group of n examples has m turns in every pass. Each example then comes
``m // n`` or one more times in a pass, and the additional turns go round: no example of a group has a second one before
every other has had its first. So the numbers of times that two examples of a group were seen differ by one at most
after any number of passes. What is held is a table of the examples by group, 4 bytes each, and a few numbers for each
class.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tubelet.types import ClassSampling, InputError

GOLDEN = 0.6180339887498949

I64 = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClassTurns:
    """What a pass of a set holds."""

    order: NDArray[np.int32] | I64
    """(E,), the examples by group."""
    sizes: I64
    """(G,), examples of each group."""
    turns: I64
    """(G,), samples of each group in a pass, at least 1."""

    @property
    def pass_length(self) -> int:
        """Samples in a pass."""
        return int(self.turns.sum())

    def examples(self, places: I64, number: int) -> I64:
        """Return the examples at ``places``, 0..pass_length-1, of pass ``number``, before it is shuffled."""
        group = np.searchsorted(self._ends, places, side="right")
        size, turns = self.sizes[group], self.turns[group]
        place = places - (self._ends - self.turns)[group]
        rest = place - turns // size * size
        # Who has an additional turn: all in a circle, in strides near the golden ratio, so that neighbours in the
        # manifest, often clips of one video, do not have theirs in the same pass.
        circle = (number * (turns % size) + rest) % size * self._strides[group] % size
        rank = np.where(rest < 0, place % size, circle)
        return self.order[self._first[group] + rank].astype(np.int64)

    @cached_property
    def _ends(self) -> I64:
        """Return where the turns of each group end."""
        return np.cumsum(self.turns)

    @cached_property
    def _first(self) -> I64:
        """Return where each group begins in ``order``."""
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def _strides(self) -> I64:
        """Return a number without a common factor with each group's size, so that multiples of it meet everybody."""
        strides = np.maximum(1, (self.sizes * GOLDEN).astype(np.int64))
        while (shared := np.gcd(strides, self.sizes) > 1).any():
            strides[shared] += 1
        return strides


def class_turns(
    label_offsets: I64, label_values: NDArray[np.int32], num_classes: int, sampling: ClassSampling, threshold: float
) -> ClassTurns | None:
    """Return what a pass holds under a kind of sampling; None where each example comes once.

    An example of several classes, or with boxes of several, belongs to the group of its rarest class; one without a
    label to a group of its own.

    Args:
        label_offsets: int64 (E + 1,), where the labels of each example lie.
        label_values: Classes; one may come several times in an example.
        num_classes: K.
        sampling: ``square_root``: a class with n examples has a share proportional to sqrt(n) of the pass, which is as
            long as the set (paper B, 3.1.1, after Mikolov et al. 2013 and Mahajan et al. 2018). ``repeat_factor``: its
            examples come max(1, sqrt(threshold / share of the examples)) times, the others once, so the pass is longer
            than the set (Mahajan et al. 2018, as in LVIS, Gupta et al. 2019). Turns are rounded to whole ones for each
            group, and none has less than one.
        threshold: Of ``repeat_factor``: classes in a smaller share of the examples come more often; LVIS: 0.001.

    Raises:
        InputError: The threshold is not in (0, 1].
    """
    if sampling == "uniform":
        return None
    if not 0 < threshold <= 1:
        raise InputError(f"repeat_threshold must be in (0, 1], got {threshold}")
    num_examples = len(label_offsets) - 1
    group, num_with = _groups(label_offsets, label_values, num_classes)
    sizes = np.bincount(group, minlength=num_classes + 1)
    used = np.flatnonzero(sizes)
    sizes, frequency = sizes[used], num_with[used]
    if sampling == "square_root":
        # By n / sqrt(n) for a class whose examples are all in its group.
        raw = sizes / np.sqrt(frequency)
        wanted = raw * num_examples / raw.sum()
    else:
        factors = np.maximum(1.0, np.sqrt(threshold * num_examples / frequency))
        wanted = sizes * np.where(used < num_classes, factors, 1.0)  # "no label" is no class to be learnt
    # Sorting 16-bit numbers takes a fraction of the time and memory.
    order = np.argsort(group.astype(np.int16) if num_classes < 2**15 else group, kind="stable")
    return ClassTurns(
        order=order.astype(np.int32) if num_examples < 2**31 else order,
        sizes=sizes,
        turns=np.maximum(1, np.round(wanted)).astype(np.int64),
    )


def _groups(
    label_offsets: I64, label_values: NDArray[np.int32], num_classes: int
) -> tuple[NDArray[np.int32] | I64, I64]:
    """Return each example's group, (E,), and the number of examples with each class, (K + 1,); the last: with none."""
    lengths = np.diff(label_offsets)
    values = label_values[label_offsets[0] : label_offsets[-1]]
    if (lengths == 1).all():
        return values, np.append(np.bincount(values, minlength=num_classes), 0)
    # A class may come twice in an example, as one of two boxes.
    once = np.unique(np.repeat(np.arange(len(lengths)), lengths) * num_classes + values) % num_classes
    num_with = np.bincount(once, minlength=num_classes)
    rank = np.empty(num_classes, dtype=np.int64)
    rarest_first = np.argsort(num_with, kind="stable")
    rank[rarest_first] = np.arange(num_classes)
    group = np.full(len(lengths), num_classes, dtype=np.int64)
    labelled = lengths > 0
    if labelled.any():
        starts = (label_offsets[:-1] - label_offsets[0])[labelled]
        group[labelled] = rarest_first[np.minimum.reduceat(rank[values], starts)]
    return group, np.append(num_with, len(lengths) - labelled.sum())
