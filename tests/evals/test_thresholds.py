import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_curve

from tubelet.evals.thresholds import best_thresholds


def test_the_threshold_lies_where_f1_is_largest() -> None:
    """Ranked: + - + + - -; F1 of the first four is 2 * 3 / (4 + 3) = 0.857, the largest; halfway from 0.4 to 0.2."""
    scores = np.array([[0.9], [0.5], [0.45], [0.4], [0.2], [0.1]])
    targets = np.array([[1], [0], [1], [1], [0], [0]])
    assert best_thresholds(scores, targets, least_positives=1) == pytest.approx((0.3,))


def test_equal_scores_are_never_cut_apart() -> None:
    """+ at 0.5 beside two - at 0.5: either all three are said or none."""
    scores = np.array([[0.8], [0.5], [0.5], [0.5]])
    assert best_thresholds(scores, np.array([[1], [1], [0], [0]]), least_positives=1) == pytest.approx((0.65,))


def test_as_a_library_finds_it() -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((400, 3)) < [0.5, 0.2, 0.05]
    scores = np.clip(rng.normal(0.2 + 0.2 * targets, 0.1), 0, 1)
    for k, threshold in enumerate(best_thresholds(scores, targets, least_positives=5)):
        precision, recall, _ = precision_recall_curve(targets[:, k], scores[:, k])
        best = np.nanmax(2 * precision * recall / np.maximum(precision + recall, 1e-12))
        assert f1_score(targets[:, k], scores[:, k] >= threshold) == pytest.approx(best)


def test_rare_classes_share_a_threshold() -> None:
    """Two classes of two positives each, pooled: + 0.3, + 0.2, + 0.15, - 0.1, + 0.08, -: F1 of five is 8 / 9."""
    common = np.array([0.9, 0.8, 0.7, 0.6, 0.1, 0.1])
    scores = np.column_stack([common, [0.3, 0.08, 0, 0, 0, 0], [0.2, 0.15, 0.1, 0, 0, 0]])
    targets = np.column_stack([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]])
    assert best_thresholds(scores, targets, least_positives=3) == pytest.approx((0.35, 0.04, 0.04))


def test_classes_that_are_rare_even_together_follow_all() -> None:
    scores = np.array([[0.9, 0.4], [0.8, 0.3], [0.7, 0.2], [0.1, 0.0]])
    targets = np.array([[1, 0], [1, 0], [1, 0], [0, 0]])
    assert best_thresholds(scores, targets, least_positives=2) == pytest.approx((0.4, 0.55))
