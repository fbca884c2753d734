"""Numbers for clip classification: top-k accuracy, average precision per class, and which classes are mixed up.

Shapes use: R samples, K classes.
"""

from dataclasses import dataclass

import numpy as np

from tubelet.evals.average_precision import step_ap
from tubelet.labels import LabelSpace
from tubelet.types import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassificationMap:
    """Average precision of each class over all samples."""

    mean_ap: float
    """Mean over the classes with a positive sample, in [0, 1]."""
    per_class: tuple[float | None, ...]
    """K values; None = no positive sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfusionPair:
    """How often samples of one class are taken for another."""

    true: str
    predicted: str
    count: int
    share: float
    """Of the samples of class ``true``, in [0, 1]."""


def _checked(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores as float64 and targets as bool, both (R, K)."""
    scores, positive = np.asarray(scores, dtype=np.float64), np.asarray(targets) > 0
    if scores.ndim != 2 or scores.shape != positive.shape:
        raise InputError(f"scores have shape {scores.shape}, targets {positive.shape}; expected the same (R, K)")
    if len(scores) == 0:
        raise InputError("no samples to score")
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(bad):
        raise InputError(f"scores of sample {bad[0]} are not finite numbers")
    return scores, positive


def classes_of(targets: np.ndarray) -> np.ndarray:
    """Return the class, int64 (R,), of each one-hot row.

    Raises:
        InputError: A sample has no label or several.
    """
    positive = np.asarray(targets) > 0
    bad = np.flatnonzero(positive.sum(axis=1) != 1)
    if len(bad):
        raise InputError(f"sample {bad[0]} has {positive[bad[0]].sum()} labels, expected exactly one")
    classes: np.ndarray = positive.argmax(axis=1)
    return classes


def class_ranks(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the rank, int64 (R,) from 0, of each sample's true class.

    Columns of equal score rank before it where they come first, so constant scores gain nothing.

    Args:
        scores: (R, K).
        classes: int (R,) true columns.
    """
    own = np.take_along_axis(scores, classes[:, None], axis=1)
    before = np.arange(scores.shape[1]) < classes[:, None]
    ranks: np.ndarray = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return ranks


def top_k(scores: np.ndarray, targets: np.ndarray, k: int) -> float:
    """Return the share of samples with a true class among the ``k`` best scores.

    Equal scores are ranked by column, so constant scores gain nothing.

    Args:
        scores: float (R, K).
        targets: multi-hot (R, K), at least one class per sample.
        k: 1 <= k <= K.
    """
    scores, positive = _checked(scores, targets)
    if not 1 <= k <= scores.shape[1]:
        raise InputError(f"k must be in 1..{scores.shape[1]} (the number of classes), got {k}")
    bad = np.flatnonzero(~positive.any(axis=1))
    if len(bad):
        raise InputError(f"sample {bad[0]} has no label, expected at least one")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float(np.take_along_axis(positive, best, axis=1).any(axis=1).mean())


def mean_average_precision(scores: np.ndarray, targets: np.ndarray) -> ClassificationMap:
    """Return the average precision of every class over the samples, and its mean.

    Args:
        scores: float (R, K), comparable within a column.
        targets: multi-hot (R, K).

    Raises:
        InputError: No class has a positive sample.
    """
    scores, positive = _checked(scores, targets)
    per_class = tuple(step_ap(scores[:, column], positive[:, column]) for column in range(scores.shape[1]))
    values = [ap for ap in per_class if ap is not None]
    if not values:
        raise InputError(f"mAP over no classes: none of {scores.shape[1]} classes has a positive sample")
    return ClassificationMap(mean_ap=float(np.mean(values)), per_class=per_class)


def accuracy_per_class(scores: np.ndarray, targets: np.ndarray) -> tuple[float | None, ...]:
    """Return the share of each class's samples whose best score is right; None for a class without samples.

    Args:
        scores: float (R, K).
        targets: one-hot (R, K).
    """
    scores, positive = _checked(scores, targets)
    true = classes_of(positive)
    right = scores.argmax(axis=1) == true
    sizes = np.bincount(true, minlength=scores.shape[1])
    correct = np.bincount(true[right], minlength=scores.shape[1])
    return tuple(float(c / n) if n else None for c, n in zip(correct.tolist(), sizes.tolist(), strict=True))


def confusion_pairs(
    scores: np.ndarray, targets: np.ndarray, label_space: LabelSpace, *, num_pairs: int = 10
) -> tuple[ConfusionPair, ...]:
    """Return the most frequent (true, predicted) pairs of different classes, most frequent first.

    Args:
        scores: float (R, K).
        targets: one-hot (R, K).
        label_space: Gives the names of the K columns.
        num_pairs: At most this many pairs.
    """
    scores, positive = _checked(scores, targets)
    true, predicted = classes_of(positive), scores.argmax(axis=1)
    table = np.zeros((scores.shape[1],) * 2, dtype=np.int64)
    np.add.at(table, (true, predicted), 1)
    sizes = table.sum(axis=1)
    np.fill_diagonal(table, 0)
    best = np.argsort(-table, axis=None, kind="stable")[:num_pairs]
    return tuple(
        ConfusionPair(
            true=label_space.names[row],
            predicted=label_space.names[column],
            count=int(table[row, column]),
            share=float(table[row, column] / sizes[row]),
        )
        for row, column in zip(*np.unravel_index(best, table.shape), strict=True)
        if table[row, column]
    )
