import subprocess
import sys

import numpy as np
import pytest

from tubelet.data.mixture import BLOCK, STRATEGIES, Mixture, Part, sample_seed, slots_of_rank
from tubelet.data.shuffle import permuted
from tubelet.types import InputError

SIZES = {"kinetics": 700, "moments": 250, "ava": 50}
STEPS = 100_000


def mixture(**changes: object) -> Mixture:
    options: dict[str, object] = {"batch_size": 8, "num_steps": 1000, "seed": 5}
    return Mixture(SIZES, **(options | changes))  # type: ignore[arg-type]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream goes on from block to block."""
    monkeypatch.setattr("tubelet.data.mixture.BLOCK", 64)


def slots_of(plan: Mixture) -> np.ndarray:
    """Return the slots of each task in every step, (S, T); every 101st step is compared with its parts."""
    counts = np.concatenate([plan._counts(block) for block in range(-(-plan.num_steps // BLOCK))])
    for step in range(0, plan.num_steps, 101):
        parts = plan.parts(step)
        assert {part.task: len(part.indices) for part in parts} == {
            task: count for task, count in zip(plan.sizes, counts[step].tolist(), strict=True) if count
        }
        assert [slot for part in parts for slot in part.slots] == list(range(plan.batch_size))
    return counts


def streams_of(plan: Mixture) -> dict[str, list[int]]:
    streams: dict[str, list[int]] = {task: [] for task in plan.sizes}
    for step in range(plan.num_steps):
        for part in plan.parts(step):
            streams[part.task] += part.indices
    return streams


GOLDEN = {0: ("kinetics", (113, 9, 186, 615)), 3: ("moments", (181, 17, 55, 240)), 71: ("ava", (28, 32, 21, 29))}
GOLDEN_SEED = 4766525972847117153


SHARES = {
    "sizes": ({}, (0.7, 0.25, 0.05)),
    "weights": ({"weights": {"moments": 1, "kinetics": 1, "ava": 2}}, (0.25, 0.25, 0.5)),
    # sqrt(700), sqrt(250), sqrt(50), divided by their sum
    "square root": ({"temperature": 2.0}, (0.541196, 0.323428, 0.144640)),
    "zero": ({"weights": {"moments": 3, "kinetics": 0, "ava": 1}}, (0.0, 0.75, 0.25)),
}


@pytest.mark.parametrize("how", SHARES)
def test_weighted_draws_tasks_by_their_shares(how: str) -> None:
    """Whole batches of one task; how many is binomial. 10^5 steps, four standard deviations."""
    options, shares = SHARES[how]
    plan = Mixture(SIZES, batch_size=2, num_steps=STEPS, seed=5, **options)  # type: ignore[arg-type]
    shares = np.array(shares) / sum(shares)
    assert [row.weight for row in plan.table()] == pytest.approx(shares.tolist(), abs=2e-3)
    shares = np.array([row.weight for row in plan.table()])
    drawn = slots_of(plan)
    assert set(np.unique(drawn)) == {0, 2}
    wanted, sigma = STEPS * shares, np.sqrt(STEPS * shares * (1 - shares))
    assert (np.abs((drawn == 2).sum(axis=0) - wanted) <= 4 * sigma).all()
    # Steps are independent: whatever came before, the next task is drawn as ever.
    for task in range(3):
        after = (drawn[1:] == 2)[drawn[:-1, task] == 2]
        wanted, sigma = len(after) * shares, np.sqrt(len(after) * shares * (1 - shares))
        assert (np.abs(after.sum(axis=0) - wanted) <= 4.5 * sigma).all()


def test_weights_by_hand() -> None:
    """Temperatures: the sizes' powers; towards equal weights as it grows."""
    plan = Mixture({"a": 100, "b": 400}, batch_size=1, num_steps=60, seed=0, temperature=2.0)
    assert [row.weight for row in plan.table()] == pytest.approx([1 / 3, 2 / 3])
    assert [row.expected_passes for row in plan.table()] == pytest.approx([0.2, 0.1])
    hot = Mixture({"a": 1, "b": 10**8}, batch_size=1, num_steps=1, seed=0, temperature=1e9)
    assert [row.weight for row in hot.table()] == pytest.approx([0.5, 0.5])
    cold = Mixture({"a": 1, "b": 10**8}, batch_size=1, num_steps=1, seed=0, temperature=0.1)
    assert [row.weight for row in cold.table()] == pytest.approx([0, 1])
    row = mixture(num_steps=STEPS, weights={"kinetics": 1, "moments": 1, "ava": 2}).table()[2]
    assert (row.task, row.size, row.pass_length, row.weight) == ("ava", 50, 50, 0.5)
    assert row.expected_passes == STEPS * 8 * 0.5 / 50


@pytest.mark.parametrize(("batch_size", "unit"), [(8, 2), (7, 1)])
def test_mixed_gives_every_task_its_share_of_every_step(batch_size: int, unit: int) -> None:
    """A task has its share rounded up or down, in pairs where the batch is even; the mean over the steps is exact."""
    drawn = slots_of(mixture(strategy="mixed", batch_size=batch_size, num_steps=STEPS))
    assert (drawn % unit == 0).all()
    assert (drawn.sum(axis=1) == batch_size).all()
    wanted = np.array([0.7, 0.25, 0.05]) * batch_size / unit
    units = drawn / unit
    assert ((units > wanted - 1) & (units < wanted + 1)).all()
    # A cut falls at one of two places, with the probability that makes the mean right; a task lies between two cuts.
    sigma = np.sqrt(STEPS * 2 * 0.25)
    assert (np.abs(units.sum(axis=0) - STEPS * wanted) <= 4 * sigma).all()


def test_mixed_with_a_share_of_whole_slots_is_the_same_in_every_step() -> None:
    plan = Mixture({"a": 30, "b": 10}, strategy="mixed", batch_size=8, num_steps=500, seed=3)
    assert (slots_of(plan) == [6, 2]).all()


def test_alternating_takes_turns() -> None:
    plan = mixture(strategy="alternating", num_steps=STEPS)
    assert (slots_of(plan) == np.tile(8 * np.eye(3, dtype=int), (STEPS // 3 + 1, 1))[:STEPS]).all()
    assert [row.weight for row in plan.table()] == [1 / 3] * 3


def test_sequential_goes_through_the_tasks_once() -> None:
    plan = mixture(strategy="sequential", num_steps=STEPS)
    assert (slots_of(plan).argmax(axis=1) == np.repeat([0, 1, 2], [70_000, 25_000, 5_000])).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_sample_comes_once_in_each_pass(strategy: str, small_blocks: None) -> None:
    streams = streams_of(mixture(strategy=strategy, num_steps=1207))
    passes = 0
    for task, stream in streams.items():
        size = SIZES[task]
        orders = [tuple(stream[i : i + size]) for i in range(0, len(stream), size)]
        assert all(sorted(order) == list(range(size)) for order in orders[:-1])
        assert len(set(orders[-1])) == len(orders[-1])  # the last one is not finished
        assert len(set(orders)) == len(orders)  # each pass has its own order
        passes += len(orders)
    assert passes > 12


def test_a_batch_larger_than_its_set_spans_passes() -> None:
    stream = streams_of(Mixture({"a": 3}, batch_size=8, num_steps=3, seed=0))["a"]
    assert all(sorted(stream[i : i + 3]) == [0, 1, 2] for i in range(0, 24, 3))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_step_needs_nothing_but_itself(strategy: str, small_blocks: None) -> None:
    changes = {"strategy": strategy, "num_steps": 300}
    long, fresh = mixture(**changes), mixture(**changes)
    in_order = [long.parts(step) for step in range(long.num_steps)]
    some = (299, 3, 64, 150, 3)
    assert [fresh.parts(step) for step in some] == [in_order[step] for step in some]
    if strategy != "sequential":  # what comes later does not change what came before
        longer = mixture(**changes | {"num_steps": 900})
        assert [longer.parts(step) for step in some] == [in_order[step] for step in some]
    other = mixture(**changes | {"seed": 6})
    assert [other.parts(s) for s in range(20)] != in_order[:20]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_planned_at_once_changes_nothing(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [mixture(strategy=strategy, num_steps=200).parts(step) for step in range(200)]
    monkeypatch.setattr("tubelet.data.mixture.BLOCK", 7)
    pieces = mixture(strategy=strategy, num_steps=200)
    assert [pieces.parts(step) for step in range(200)] == whole


def test_another_process_agrees() -> None:
    code = (
        "from tubelet.data.mixture import Mixture, sample_seed\n"
        "for strategy in ('weighted', 'mixed'):\n"
        "    sizes = {'kinetics': 700, 'moments': 250, 'ava': 50}\n"
        "    m = Mixture(sizes, strategy=strategy, batch_size=8, num_steps=1000, seed=5)\n"
        "    print([m.parts(s) for s in (0, 7, 999)], sample_seed(1, 2, 3))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    plans = [mixture(strategy=strategy) for strategy in ("weighted", "mixed")]
    assert told == [f"{[plan.parts(s) for s in (0, 7, 999)]} {sample_seed(1, 2, 3)}" for plan in plans]


def test_golden_order() -> None:
    """What a run in progress relies on: these numbers may never change."""
    plan = mixture(strategy="weighted")
    assert {step: (part.task, part.indices[:4]) for step in GOLDEN for part in plan.parts(step)} == GOLDEN
    assert sample_seed(5, 999, 7) == GOLDEN_SEED


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_shares_of_the_processes_are_the_step(strategy: str) -> None:
    plan = mixture(strategy=strategy)
    for world_size in (1, 2, 4, 8):
        slots = [slots_of_rank(8, rank, world_size) for rank in range(world_size)]
        for step in range(50):
            parts = plan.parts(step)
            for part in parts:
                shares = [part.share(mine) for mine in slots]
                assert {share.task for share in shares} == {part.task}
                assert sum((share.slots for share in shares), ()) == part.slots
                assert sum((share.indices for share in shares), ()) == part.indices
            # All have as many samples, whatever their tasks.
            assert {sum(len(part.share(mine).slots) for part in parts) for mine in slots} == {8 // world_size}


def test_shares_by_hand() -> None:
    assert [slots_of_rank(6, rank, 2) for rank in (0, 1)] == [range(3), range(3, 6)]
    part = Part(task="a", indices=(7, 8, 9), slots=(4, 5, 6))
    assert part.share(range(3, 6)) == Part(task="a", indices=(7, 8), slots=(4, 5))
    assert part.share(range(4)) == Part(task="a", indices=(), slots=())
    for batch_size, world_size in ((8, 3), (2, 4)):
        with pytest.raises(InputError, match=f"batch_size is {batch_size}, expected a multiple of the {world_size} "):
            slots_of_rank(batch_size, 0, world_size)


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
    drawn = streams_of(plan)["huge"]
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
        ({"a": 1}, {"strategy": "alternating", "temperature": 2.0}, "takes no weights and no temperature"),
        ({"a": 1}, {"temperature": 0.0}, "temperature must be at least 0.1 and finite, got 0.0"),
        ({"a": 1}, {"temperature": float("inf")}, "temperature must be at least 0.1 and finite, got inf"),
        ({"a": 1}, {"temperature": 2.0, "weights": {"a": 1.0}}, "one of mixture weights and mixture temperature"),
    ],
)
def test_mixtures_that_cannot_be(sizes: dict[str, int], changes: dict[str, object], message: str) -> None:
    options: dict[str, object] = {"batch_size": 8, "num_steps": 10, "seed": 0}
    with pytest.raises(InputError, match=message):
        Mixture(sizes, **(options | changes))  # type: ignore[arg-type]


def test_steps_outside_the_run_are_refused() -> None:
    for step in (-1, 1000):
        with pytest.raises(IndexError):
            mixture().parts(step)
