"""The rate of every step by hand, for the papers' schedules."""

import math
from itertools import pairwise

import pytest

from tubelet.train.schedule import SCHEDULES, RatePlan, plan_rates


def test_cosine_with_linear_warmup_by_hand() -> None:
    short = plan(learning_rate=0.3, num_steps=10, steps_per_epoch=1, warmup_epochs=2)
    rates = [short.at(k) for k in range(10)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])  # linear, the first step already moves
    assert rates[6] == pytest.approx(0.15)  # half of the cosine: (6 - 2) / 8
    assert rates[9] == pytest.approx(0.15 * (1 + math.cos(math.pi * 7 / 8)))
    assert all(a > b for a, b in pairwise(rates[2:]))


def plan(**changes: object) -> RatePlan:
    values: dict[str, object] = {
        "learning_rate": 0.2,
        "batch_size": 16,
        "reference_batch_size": None,
        "num_steps": 150,
        "steps_per_epoch": 10,
        "warmup_epochs": 2.5,
        "warmup_start": 0.0,
        "schedule": "cosine",
        "num_halvings": 13,
        "period_epochs": (),
        "period_factor": 0.1,
    }
    return plan_rates(**(values | changes))  # type: ignore[arg-type]


def test_warmup_is_fractional_in_epochs_and_at_most_half_of_a_run() -> None:
    assert plan().warmup_steps == 25  # paper A: 2.5 of 15 epochs
    assert plan(warmup_epochs=0.25).warmup_steps == 2
    assert plan(num_steps=20).warmup_steps == 10
    assert plan(num_steps=1).warmup_steps == 0
    assert plan(num_steps=1).at(0) == 0.2


def test_halving_at_13_equal_steps() -> None:
    # Paper B, 3.3: 14 stretches of 100 steps each at half the rate of the one before, 0.192 first.
    rates = plan(learning_rate=0.192, schedule="halving", num_steps=1420, warmup_epochs=2)
    assert rates.warmup_steps == 20
    found = [rates.at(k) for k in range(20, 1420)]
    assert [found.count(0.192 / 2**n) for n in range(14)] == [100] * 14
    assert found == sorted(found, reverse=True)
    short = plan(schedule="halving", num_steps=1000, warmup_epochs=0)  # 1000 / 14 is not whole
    assert sum(a > b for a, b in pairwise(short.at(k) for k in range(1000))) == 13


@pytest.mark.parametrize(
    ("length", "warmup", "periods", "shares"),
    [
        # Paper B, Tables 8, 14 and 17: the share of the peak in the middle of these epochs.
        (58, 16, (16, 16), {16: 1.0, 31: 1.0, 32: 0.1, 47: 0.1, 48: 0.01, 57: 0.01}),
        (27, 0, (9, 9, 9), {0: 1.0, 8: 1.0, 9: 0.1, 17: 0.1, 18: 0.01, 26: 0.01}),
        (16, 0, (6, 6), {0: 1.0, 5: 1.0, 6: 0.1, 11: 0.1, 12: 0.01, 15: 0.01}),
        (16, 0, (12,), {11: 1.0, 12: 0.1, 15: 0.1}),
    ],
)
def test_periods_follow_the_warmup(
    length: int, warmup: int, periods: tuple[float, ...], shares: dict[int, float]
) -> None:
    per_epoch = 12.5
    rates = plan(
        learning_rate=0.00003,
        batch_size=1024,
        reference_batch_size=16,
        num_steps=round(length * per_epoch),
        steps_per_epoch=per_epoch,
        warmup_epochs=warmup,
        warmup_start=1 / 64,
        schedule="periods",
        period_epochs=periods,
    )
    assert rates.peak == pytest.approx(0.00003 * 64)  # 16 nodes of 4 GPUs
    for epoch, share in shares.items():
        assert rates.at(round((epoch + 0.5) * per_epoch)) == pytest.approx(share * rates.peak), epoch
    if warmup:
        steps = rates.warmup_steps
        assert rates.at(0) == pytest.approx(rates.peak * (1 / 64 + 63 / 64 / (steps + 1)))
        assert rates.at(steps) == rates.peak


def test_a_rate_scales_with_the_batch_only_where_a_reference_is_named() -> None:
    assert plan(reference_batch_size=128, batch_size=32).peak == pytest.approx(0.05)
    assert plan(batch_size=32).peak == 0.2


def test_every_schedule_starts_at_the_peak_and_never_rises() -> None:
    for name in SCHEDULES:
        rates = plan(schedule=name, period_epochs=(3, 3) if name == "periods" else ())
        after = [rates.at(k) for k in range(25, 150)]
        assert after[0] == 0.2
        assert after == sorted(after, reverse=True)
        assert min(after) >= 0
