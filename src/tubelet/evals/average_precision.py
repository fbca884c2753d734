"""Average precision of one ranked list, in the two definitions that published numbers use."""

import numpy as np


def all_point_ap(scores: np.ndarray, hits: np.ndarray, num_positives: int) -> float:
    """Return the area under the precision envelope (PASCAL VOC's all-point rule, used by AVA).

    Equal scores are ranked by ``np.argsort(scores)[::-1]``, as AVA's public evaluation does: the sort is not stable,
    so the last digits belong to the given order of rows and to numpy's version.

    Args:
        scores: float (R,).
        hits: bool (R,), whether the row is a true positive.
        num_positives: Ground truth count, at least 1 and at least ``hits.sum()``.

    Returns:
        A value in [0, 1]; 0 for an empty list.
    """
    if len(scores) == 0:
        return 0.0
    # Recall rises at true positives only, and there the envelope's peaks are: nothing else is looked at.
    places = hits[np.argsort(scores)[::-1]].nonzero()[0]
    num_hits = np.arange(1, len(places) + 1)
    envelope = np.maximum.accumulate((num_hits / (places + 1))[::-1])[::-1]
    gained = num_hits / num_positives
    gained[1:] -= gained[:-1].copy()
    gained *= envelope
    return float(gained.sum())


def step_ap(scores: np.ndarray, hits: np.ndarray) -> float | None:
    """Return the sum of precision times recall gained, with equal scores taken together.

    This is the usual definition for multi-label classification (scikit-learn's ``average_precision_score``): it does
    not depend on the order of rows and has no envelope.

    Args:
        scores: float (R,).
        hits: bool (R,), whether the row is positive.

    Returns:
        A value in [0, 1], or None where nothing is positive.
    """
    num_positives = int(hits.sum())
    if num_positives == 0:
        return None
    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    num_hits = np.cumsum(hits[order])
    last_of_tie = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    precision = num_hits[last_of_tie] / (last_of_tie + 1)
    recall = num_hits[last_of_tie] / num_positives
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
