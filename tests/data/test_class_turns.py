"""What a pass over a class-balanced set holds, by hand and against plain counting."""

import math
from collections import Counter

import numpy as np
import pytest

from tubelet.data.class_turns import ClassTurns, class_turns
from tubelet.data.mixture import Mixture
from tubelet.types import InputError


def turns_of(labels: list[list[int]], sampling: str, *, num_classes: int = 4, threshold: float = 0.5) -> ClassTurns:
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in labels])])
    values = np.array([label for each in labels for label in each], dtype=np.int32)
    found = class_turns(offsets, values, num_classes, sampling, threshold)  # type: ignore[arg-type]
    assert found is not None
    return found


def passes(turns: ClassTurns, number: int) -> list[Counter[int]]:
    return [Counter(turns.examples(np.arange(turns.pass_length), p).tolist()) for p in range(number)]


def long_tailed() -> list[list[int]]:
    """100 examples of class 0, 16 of class 2, 4 of class 3, none of class 1; in an order without a pattern."""
    classes = np.repeat([0, 2, 3], [100, 16, 4])
    np.random.default_rng(0).shuffle(classes)
    return [[int(c)] for c in classes]


def test_square_root_by_hand() -> None:
    """Shares 10 : 4 : 2 of 120 are 75, 30 and 15 in every pass."""
    labels = long_tailed()
    turns = turns_of(labels, "square_root")
    assert (turns.sizes.tolist(), turns.turns.tolist(), turns.pass_length) == ([100, 16, 4], [75, 30, 15], 120)
    for found in passes(turns, 5):
        classes = Counter[int]()
        for example, times in found.items():
            classes[labels[example][0]] += times
        assert classes == {0: 75, 2: 30, 3: 15}


def test_repeat_factors_by_hand() -> None:
    """Threshold 0.5: class 0 (of 120 examples 100) once; class 2 sqrt(60 / 16) = 1.94; class 3 sqrt(60 / 4) = 3.87."""
    turns = turns_of(long_tailed(), "repeat_factor")
    assert turns.turns.tolist() == [100, round(16 * 1.93649), round(4 * 3.87298)] == [100, 31, 15]


def plain_repeat_factors(labels: list[list[int]], num_classes: int, threshold: float) -> list[float]:
    """LVIS (Gupta et al. 2019, B): r(c) = max(1, sqrt(t / f(c))), r(I) = max over the classes in I."""
    share = [sum(c in each for each in labels) / len(labels) for c in range(num_classes)]
    return [max((max(1.0, math.sqrt(threshold / share[c])) for c in each), default=1.0) for each in labels]


def test_examples_of_several_classes_come_as_often_as_their_rarest_asks() -> None:
    random = np.random.default_rng(1)
    weights = np.array([0.5, 0.3, 0.15, 0.05])
    # Boxes of a keyframe: classes repeat inside an example, and some examples have none.
    labels = [random.choice(4, size=random.integers(0, 4), p=weights).tolist() for _ in range(3000)]
    factors = np.array(plain_repeat_factors(labels, 4, 0.5))
    turns = turns_of(labels, "repeat_factor")
    total = sum(passes(turns, 50), Counter[int]())
    times = np.array([total[i] for i in range(3000)]) / 50
    # A group's turns are rounded to whole ones, so the mean is off by half a turn of a group of 400 or more.
    assert np.abs(times - factors).max() < 1 / 50 + 0.5 / 400
    assert turns.pass_length == pytest.approx(factors.sum(), abs=2.5)


@pytest.mark.parametrize("sampling", ["square_root", "repeat_factor"])
def test_turns_go_round(sampling: str) -> None:
    """In a pass an example comes m // n or one more times; after any number of them two of a group differ by 1."""
    turns = turns_of(long_tailed(), sampling, threshold=0.9)
    total = Counter[int]()
    for found in passes(turns, 40):
        total += found
        start = 0
        for size, number in zip(turns.sizes.tolist(), turns.turns.tolist(), strict=True):
            group = turns.order[start : start + size].tolist()
            start += size
            assert {found[i] for i in group} <= {number // size, -(-number // size)}
            assert sum(found[i] for i in group) == number
            assert max(total[i] for i in group) - min(total[i] for i in group) <= 1
    assert len(total) == 120  # nobody is lost


def test_a_stream_of_steps_holds_whole_passes_in_shuffled_order() -> None:
    turns = turns_of(long_tailed(), "square_root")
    plan = Mixture({"a": 120}, batch_size=7, num_steps=90, seed=3, turns={"a": turns})
    stream = [i for step in range(90) for part in plan.parts(step) for i in part.indices]
    expected = passes(turns, 5)
    orders = [stream[i : i + 120] for i in range(0, 600, 120)]
    assert [Counter(order) for order in orders] == expected
    assert all(order != sorted(order) for order in orders)
    (row,) = plan.table()
    assert (row.size, row.pass_length, row.expected_passes) == (120, 120, 630 / 120)
    again = Mixture({"a": 120}, batch_size=7, num_steps=90, seed=3, turns={"a": turns})
    assert again.parts(77) == plan.parts(77)
    longer = Mixture(
        {"a": 120}, batch_size=7, num_steps=90, seed=3, turns={"a": turns_of(long_tailed(), "repeat_factor")}
    )
    assert longer.table()[0].pass_length == 146


def test_without_classes_or_with_one_a_pass_is_the_set() -> None:
    assert class_turns(np.arange(5), np.zeros(4, dtype=np.int32), 1, "uniform", 0.001) is None
    for labels in ([[]] * 6, [[1]] * 6):
        for sampling in ("square_root", "repeat_factor"):
            assert passes(turns_of(labels, sampling), 2) == [Counter(range(6))] * 2
    with pytest.raises(InputError, match=r"repeat_threshold must be in \(0, 1\], got 0"):
        turns_of([[0]], "repeat_factor", threshold=0)


def test_examples_without_a_label_are_not_repeated() -> None:
    """The class has sqrt(1 / 0.97) x 97 = 98.5 turns; what has no class one each, rare as it is."""
    assert turns_of([[0]] * 97 + [[]] * 3, "repeat_factor", threshold=1.0).turns.tolist() == [98, 3]


def test_a_large_set_holds_four_bytes_an_example() -> None:
    number = 1_000_000
    values = (np.arange(number) ** 2 % 9973).astype(np.int32)
    turns = class_turns(np.arange(number + 1), values, 10_000, "square_root", 0.001)
    assert turns is not None
    assert turns.order.nbytes + turns.sizes.nbytes + turns.turns.nbytes < 4.2 * number
    plan = Mixture({"a": number}, batch_size=64, num_steps=10**5, seed=0, turns={"a": turns})
    (part,) = plan.parts(99_999)
    assert all(0 <= i < number for i in part.indices)
