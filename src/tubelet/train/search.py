"""Choosing one of several values of a setting by a score on data that is not reported."""

from collections.abc import Iterable, Mapping


def best_of(scores: Mapping[float, float | None]) -> float | None:
    """Return the value with the highest score, the lower of equal ones; None when no value has one."""
    scored = {value: score for value, score in scores.items() if score is not None}
    return max(scored, key=lambda value: (scored[value], -value)) if scored else None


def at_edge(chosen: float | None, tried: Iterable[float]) -> bool:
    """Return whether a value is the lowest or highest of several tried: a better one may lie outside.

    Args:
        chosen: None is no edge.
        tried: One that failed counts as tried.
    """
    values = sorted(tried)
    return len(values) > 1 and chosen in (values[0], values[-1])
