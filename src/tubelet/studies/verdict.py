"""Whether a claim holds, from what every seed says.

A claim is a difference (or any sum of signed scores) that is measured once per seed, on runs that share it. Its mean
has a 95 % confidence interval by Student's t, which assumes that seeds differ like normal numbers; with three of them
the interval is 4.3 standard errors wide on each side, so that a small effect stays unresolved.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from scipy.stats import t as student

Outcome = Literal["holds", "does not hold", "not resolved"]
MIN_SEEDS = 3
CONFIDENCE = 0.95
SAME = 1e-9
"""Differences whose standard deviation is no more are equal numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the seeds say about one claim."""

    mean: float
    low: float
    """Of the confidence interval; minus infinity with one seed, or where all seeds say the same number."""
    high: float
    num_seeds: int
    outcome: Outcome

    def interval(self, times: float = 1.0) -> str:
        """Return the interval's ends as text, each multiplied by a number."""
        if math.isinf(self.low):
            return "one seed" if self.num_seeds == 1 else "all seeds equal"
        return f"{times * self.low:+.1f} to {times * self.high:+.1f}"


def judge(differences: Sequence[float], *, level_within: float | None = None) -> Verdict:
    """Return whether a difference is above 0, or, with ``level_within``, no larger than that either way.

    Fewer than ``MIN_SEEDS`` seeds resolve nothing, nor do equal differences, which small test sets give (of 40 clips
    all scores are multiples of 2.5 points): there is no spread to judge by. Otherwise a claim holds when the whole
    interval agrees with it, does not hold when the whole interval contradicts it, and is not resolved when the interval
    has both in it.

    Args:
        differences: One per seed, at least one.
        level_within: None = the claim is "above 0"; else "between minus this and this".
    """
    mean, number = fmean(differences), len(differences)
    half = math.inf
    if number > 1 and stdev(differences) > SAME:
        half = float(student.ppf(0.5 + CONFIDENCE / 2, number - 1)) * stdev(differences) / math.sqrt(number)
    low, high = mean - half, mean + half
    if level_within is None:
        agrees, contradicts = low > 0, high < 0
    else:
        agrees = -level_within < low and high < level_within
        contradicts = low > level_within or high < -level_within
    outcome: Outcome = "not resolved"
    if number >= MIN_SEEDS and (agrees or contradicts):
        outcome = "holds" if agrees else "does not hold"
    return Verdict(mean=mean, low=low, high=high, num_seeds=number, outcome=outcome)


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the verdict on claims that are made together: all must hold, and one that does not is enough against."""
    if "does not hold" in outcomes:
        return "does not hold"
    return "holds" if outcomes and all(outcome == "holds" for outcome in outcomes) else "not resolved"
