import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tubelet.data.mixture import Mixture, permuted, sample_seed
from tubelet.types import InputError

SIZES = {"kinetics": 700, "moments": 250, "ava": 50}
STEPS = 100_000


def mixture(**changes: object) -> Mixture:
    options: dict[str, object] = {"batch_size": 8, "num_steps": 1000, "seed": 5}
    return Mixture(SIZES, **(options | changes))  # type: ignore[arg-type]


def test_weighted_draws_tasks_by_their_size() -> None:
    plan = mixture(num_steps=STEPS)
    counts = Counter(plan.task_at(step) for step in range(STEPS))
    for task, size in SIZES.items():
        share = size / 1000
        sigma = (STEPS * share * (1 - share)) ** 0.5
        assert abs(counts[task] - STEPS * share) < 4 * sigma
    # Steps are independent: after an ava step the next one is ava as often as ever.
    ava = np.array([plan.task_at(step) == "ava" for step in range(STEPS)])
    assert ava[1:][ava[:-1]].mean() == pytest.approx(0.05, abs=0.015)


def test_weights_replace_the_sizes() -> None:
    plan = mixture(num_steps=STEPS, weights={"kinetics": 1, "moments": 1, "ava": 2})
    counts = Counter(plan.task_at(step) for step in range(STEPS))
    assert counts["ava"] / STEPS == pytest.approx(0.5, abs=0.01)
    row = plan.table()[2]
    assert (row.task, row.size, row.weight) == ("ava", 50, 0.5)
    assert row.expected_passes == STEPS * 8 * 0.5 / 50


def test_alternating_takes_turns() -> None:
    plan = mixture(strategy="alternating", num_steps=7)
    assert [plan.task_at(s) for s in range(7)] == ["kinetics", "moments", "ava"] * 2 + ["kinetics"]
    assert [row.weight for row in plan.table()] == [1 / 3] * 3


def test_sequential_goes_through_the_tasks_once() -> None:
    plan = mixture(strategy="sequential", num_steps=100)
    assert [plan.task_at(s) for s in range(100)] == ["kinetics"] * 70 + ["moments"] * 25 + ["ava"] * 5
    assert plan.num_samples() == {"kinetics": 560, "moments": 200, "ava": 40}
    assert plan.num_samples(71) == {"kinetics": 560, "moments": 8, "ava": 0}


@pytest.mark.parametrize("strategy", ["weighted", "alternating", "sequential"])
def test_every_sample_comes_once_in_each_pass(strategy: str) -> None:
    plan = mixture(strategy=strategy, num_steps=1200)
    streams: dict[str, list[int]] = {task: [] for task in SIZES}
    for step in range(1200):
        streams[plan.task_at(step)] += plan.indices(step)
    passes = 0
    for task, stream in streams.items():
        size = SIZES[task]
        orders = [tuple(stream[i : i + size]) for i in range(0, len(stream) - size + 1, size)]
        assert all(sorted(order) == list(range(size)) for order in orders)
        assert len(set(orders)) == len(orders)  # each pass has its own order
        passes += len(orders)
    assert passes > 10


def test_a_batch_larger_than_its_set_spans_passes() -> None:
    plan = Mixture({"a": 3}, batch_size=8, num_steps=3, seed=0)
    stream = [i for step in range(3) for i in plan.indices(step)]
    assert all(sorted(stream[i : i + 3]) == [0, 1, 2] for i in range(0, 24, 3))


def test_a_step_needs_nothing_but_itself() -> None:
    long, fresh = mixture(), mixture()
    in_order = [long.indices(step) for step in range(1000)]
    assert [fresh.indices(step) for step in (999, 3, 500, 3)] == [in_order[step] for step in (999, 3, 500, 3)]
    longer = mixture(num_steps=5000)  # weighted: what comes later does not change what came before
    assert [longer.indices(s) for s in range(50)] == [long.indices(s) for s in range(50)]
    other = mixture(seed=6)
    assert [other.indices(s) for s in range(20)] != [long.indices(s) for s in range(20)]


def test_another_process_agrees() -> None:
    code = (
        "from tubelet.data.mixture import Mixture, sample_seed\n"
        "m = Mixture({'kinetics': 700, 'moments': 250, 'ava': 50}, batch_size=8, num_steps=1000, seed=5)\n"
        "print([(m.task_at(s), m.indices(s)) for s in (0, 7, 999)], sample_seed(1, 2, 3))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    plan = mixture()
    assert told == f"{[(plan.task_at(s), plan.indices(s)) for s in (0, 7, 999)]} {sample_seed(1, 2, 3)}"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17, 64, 65, 1000, 4097])
def test_shuffling_is_a_bijection(size: int) -> None:
    for key in range(5):
        assert sorted(permuted(np.arange(size), size, key).tolist()) == list(range(size))


def test_shuffling_is_uniform_enough() -> None:
    # Where element 0 and the pair (0, 1) land over many keys, against the uniform distribution (chi-square).
    size, keys = 12, 6000
    orders = np.array([permuted(np.arange(size), size, key) for key in range(keys)])
    for place in (0, 5, 11):
        counts = np.bincount(orders[:, place], minlength=size)
        assert ((counts - keys / size) ** 2 / (keys / size)).sum() < 35  # 11 degrees of freedom: p < 0.0003
    pairs = np.bincount(orders[:, 0] * size + orders[:, 1], minlength=size * size)
    expected = keys / (size * (size - 1))
    off_diagonal = pairs.reshape(size, size)[~np.eye(size, dtype=bool)]
    assert ((off_diagonal - expected) ** 2 / expected).sum() < 200  # 131 degrees of freedom


def test_a_hundred_million_samples_need_no_permutation() -> None:
    plan = Mixture({"huge": 10**8}, batch_size=64, num_steps=10, seed=0)
    drawn = [i for step in range(10) for i in plan.indices(step)]
    assert len(set(drawn)) == 640
    assert 0.4e8 < np.mean(drawn) < 0.6e8


def test_sample_seeds_differ_everywhere() -> None:
    seeds = {sample_seed(a, b, c) for a in range(5) for b in range(20) for c in range(8)}
    assert len(seeds) == 800
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    ("sizes", "changes", "message"),
    [
        ({}, {}, "at least one task"),
        ({"a": 0}, {}, "'a': its training set has 0 examples"),
        ({"a": 1}, {"strategy": "wieghted"}, "did you mean 'weighted'"),
        ({"a": 1}, {"batch_size": 0}, "batch_size=0"),
        ({"a": 1}, {"weights": {"b": 1.0}}, r"weights are for \['b'\], the tasks are \['a'\]"),
        ({"a": 1}, {"weights": {"a": -1.0}}, "finite, 0 or more"),
        ({"a": 1}, {"weights": {"a": 0.0}}, "not all 0"),
        ({"a": 1}, {"strategy": "alternating", "weights": {"a": 1.0}}, "takes no weights"),
    ],
)
def test_mixtures_that_cannot_be(sizes: dict[str, int], changes: dict[str, object], message: str) -> None:
    options: dict[str, object] = {"batch_size": 8, "num_steps": 10, "seed": 0}
    with pytest.raises(InputError, match=message):
        Mixture(sizes, **(options | changes))  # type: ignore[arg-type]


def test_steps_outside_the_run_are_refused() -> None:
    for step in (-1, 1000):
        with pytest.raises(IndexError):
            mixture().task_at(step)
