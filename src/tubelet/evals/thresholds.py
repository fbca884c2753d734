"""From which score on an action is said to happen: chosen for each class on validation, where its F1 is largest.

A sigmoid that learned a rare class is hardly ever near 0.5, so no one number suits all classes.
Shapes use: R boxes or clips, K classes.
"""

from collections.abc import Mapping

import numpy as np

from tubelet.evals.run import TaskResult

LEAST_POSITIVES = 10
"""A class with fewer has no threshold of its own: two or three lucky boxes would decide it."""


def best_thresholds(
    scores: np.ndarray, targets: np.ndarray, *, least_positives: int = LEAST_POSITIVES
) -> tuple[float, ...]:
    """Return for each class the score from which on saying it gives the largest F1.

    Classes with fewer positives than ``least_positives`` share one threshold, the best of all their boxes together;
    when even together they have fewer, all classes of the set decide it.

    Args:
        scores: float (R, K) in [0, 1].
        targets: (R, K), above 0 = the class is there.
        least_positives: At least 1.

    Returns:
        K numbers in [0, 1].
    """
    positive = targets > 0
    rare = positive.sum(axis=0) < least_positives
    pooled = rare if positive[:, rare].sum() >= least_positives else np.ones_like(rare)
    shared = _best(scores[:, pooled].ravel(), positive[:, pooled].ravel()) if rare.any() else 1.0
    return tuple(shared if is_rare else _best(scores[:, k], positive[:, k]) for k, is_rare in enumerate(rare.tolist()))


def thresholds_of(results: Mapping[str, TaskResult]) -> dict[str, tuple[float, ...]]:
    """Return the thresholds of every task whose classes are independent of each other."""
    return {name: best_thresholds(r.scores, r.targets) for name, r in results.items() if r.multi_label}


def _best(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the threshold with the largest F1, halfway to the next lower score; 1 without a positive."""
    if not positive.any():
        return 1.0
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    hits = np.cumsum(positive[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + hits[-1])
    last = np.append(ranked[1:] < ranked[:-1], True)  # no cut inside a run of equal scores
    best = int(np.argmax(np.where(last, f1, -1.0)))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    return float((ranked[best] + below) / 2)
