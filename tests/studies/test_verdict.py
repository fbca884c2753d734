"""The verdict on a claim, with intervals computed by hand."""

import math

import pytest

from tubelet.studies.plan import beats, closes, gains_more, grows, higher, level, saturates
from tubelet.studies.verdict import judge, together


def test_the_interval_of_three_seeds_by_hand() -> None:
    # Mean 2, standard deviation 1; t of 2 degrees of freedom at 97.5 % is 4.3027, so 4.3027 / sqrt(3) = 2.4841.
    verdict = judge([1.0, 2.0, 3.0])
    assert (verdict.mean, verdict.num_seeds) == (2.0, 3)
    assert (verdict.low, verdict.high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-3)
    assert verdict.outcome == "not resolved"  # the interval has 0 in it


@pytest.mark.parametrize(
    ("differences", "within", "outcome"),
    [
        ([2.0, 2.5, 3.0], None, "holds"),  # 2.5 +- 1.24
        ([-2.0, -2.5, -3.0], None, "does not hold"),
        ([0.5, 2.5, 4.5], None, "not resolved"),  # 2.5 +- 4.97
        ([2.0, 2.5], None, "not resolved"),  # two seeds resolve nothing, however far from 0
        ([9.0], None, "not resolved"),
        ([-2.5, -2.5, -2.5], None, "not resolved"),  # one number three times has no spread
        ([0.0, 0.0, 0.0], 1.0, "not resolved"),
        ([0.1, 0.0, -0.1], 1.0, "holds"),  # 0 +- 0.25
        ([2.0, 2.5, 3.0], 1.0, "does not hold"),  # above 1 throughout: 1.26 to 3.74
        ([-2.0, -2.5, -3.0], 1.0, "does not hold"),
        ([0.0, 1.0, 2.0], 1.0, "not resolved"),
        ([0.1, 0.0], 1.0, "not resolved"),
    ],
)
def test_outcomes(differences: list[float], within: float | None, outcome: str) -> None:
    assert judge(differences, level_within=within).outcome == outcome


def test_one_seed_has_no_interval() -> None:
    verdict = judge([1.5])
    assert (verdict.low, verdict.high) == (-math.inf, math.inf)


def test_claims_together() -> None:
    assert together(["holds", "holds"]) == "holds"
    assert together(["holds", "not resolved"]) == "not resolved"
    assert together(["holds", "not resolved", "does not hold"]) == "does not hold"
    assert together([]) == "not resolved"


SCORES = {"a": {"x": 0.5, "y": 0.2}, "b": {"x": 0.4, "y": 0.19}, "c": {"x": 0.45}}


def test_claims_are_sums_of_scores() -> None:
    assert beats("a", "b", "x").difference(SCORES) == pytest.approx(10)
    assert beats("a", "d", "x").difference(SCORES) is None
    assert beats("a", "c", "y").difference(SCORES) is None
    # a leads b by 10 in x and by 1 in y.
    assert gains_more("a", "b", "x", "y").difference(SCORES) == pytest.approx(9)
    assert higher("a", "x", "y", "x is higher").difference(SCORES) == pytest.approx(30)
    # b to a is 10 in a tenfold, then a to c -5 in two.
    gains, slower = saturates([("b", 1), ("a", 10), ("c", 1000)], "x")
    assert gains.difference(SCORES) == pytest.approx(10)
    assert slower.difference(SCORES) == pytest.approx(10 + 2.5)
    # A collapse gains nothing by the first step.
    assert saturates([("a", 1), ("b", 10), ("c", 100)], "x")[0].difference(SCORES) == pytest.approx(-10)
    # a leads c by 5; b is 10 behind a: the gap has closed by 5.
    assert closes("a", "c", "a", "b", "x").difference(SCORES) == pytest.approx(5)
    claim = level("a", "c", "x", within=2.0)
    assert claim.difference(SCORES) == pytest.approx(5)
    assert claim.level_within == 2.0


def test_growth_is_the_slope_of_least_squares_per_tenfold() -> None:
    # 40, 45, 50 per cent at 10, 100, 1000: 5 points each tenfold.
    arms = [("b", 10), ("c", 100), ("a", 1000)]
    assert grows(arms, "x").difference(SCORES) == pytest.approx(5)
    # With one more at 10000 by numpy.polyfit([1, 2, 3, 4], [40, 45, 50, 61], 1).
    more = SCORES | {"e": {"x": 0.61}}
    assert grows([*arms, ("e", 10000)], "x").difference(more) == pytest.approx(6.8)
