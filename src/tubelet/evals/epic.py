"""EPIC-Kitchens: verbs, nouns, and actions made of both.

An action is a (verb, noun) pair. Its score is the product of the two probabilities, with a prior option: times how
often the pair comes in training relative to what its parts would lead to, ``n(v, n) N / (n(v) n(n))``, so that pairs
nobody does ("peel oven") fall behind. Many-shot classes are those EPIC-55 lists (100 training samples or more), tail
classes those EPIC-100 lists; both are sets of ids that the user's files give.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from tubelet.evals.average_precision import step_ap
from tubelet.evals.classify import class_ranks
from tubelet.types import InputError

ROWS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionMap:
    """Average precision over actions."""

    mean_ap: float
    num_actions: int
    """(verb, noun) pairs that have a sample; the others are no part of the mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMeans:
    """Precision and recall averaged over a set of classes, as EPIC-55 reports many-shot ones."""

    precision: float
    recall: float
    num_classes: int
    """Of the set that have a sample."""


def pair_prior(verbs: np.ndarray, nouns: np.ndarray, num_verbs: int, num_nouns: int) -> np.ndarray:
    """Return the prior (V, N) of training's (verb, noun) pairs; 0 for a pair that does not come.

    Args:
        verbs: int (S,) class of each training sample.
        nouns: int (S,).
        num_verbs: V.
        num_nouns: N.
    """
    counts = np.zeros((num_verbs, num_nouns))
    np.add.at(counts, (verbs, nouns), 1.0)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(len(verbs), 1)
    return np.divide(counts, expected, out=np.zeros_like(counts), where=expected > 0)


def action_ranks(
    verb_scores: np.ndarray,
    noun_scores: np.ndarray,
    verbs: np.ndarray,
    nouns: np.ndarray,
    *,
    prior: np.ndarray | None = None,
) -> np.ndarray:
    """Return the rank, int64 (R,) from 0, of each sample's true pair among all V x N.

    Pairs are ordered by verb, then noun; equal scores as in ``class_ranks``.

    Args:
        verb_scores: (R, V) probabilities.
        noun_scores: (R, N).
        verbs: int (R,) true classes.
        nouns: int (R,).
        prior: (V, N), of ``pair_prior``; None = none.
    """
    if not len(verb_scores) == len(noun_scores) == len(verbs) == len(nouns):
        raise InputError(f"{len(verb_scores)} rows of verbs and {len(noun_scores)} of nouns, expected as many")
    ranks = np.zeros(len(verbs), dtype=np.int64)
    for start in range(0, len(verbs), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        scores = verb_scores[rows, :, None].astype(np.float64) * noun_scores[rows, None, :]
        scores = (scores if prior is None else scores * prior).reshape(len(scores), -1)
        ranks[rows] = class_ranks(scores, verbs[rows] * noun_scores.shape[1] + nouns[rows])
    return ranks


def action_map(
    verb_scores: np.ndarray,
    noun_scores: np.ndarray,
    verbs: np.ndarray,
    nouns: np.ndarray,
    *,
    prior: np.ndarray | None = None,
) -> ActionMap:
    """Return the mean average precision of the actions that come (paper B, Fig. 2: mAP of verbs, nouns and actions).

    The paper trains a classifier of actions; here an action's score is that of ``action_ranks``.

    Args:
        verb_scores: As in ``action_ranks``, and so are the others.
        noun_scores: (R, N).
        verbs: int (R,).
        nouns: int (R,).
        prior: (V, N) or None.

    Raises:
        InputError: There is no sample.
    """
    if not len(verbs):
        raise InputError("mAP over no actions: there is no sample")
    values = []
    for verb, noun in sorted({*zip(verbs.tolist(), nouns.tolist(), strict=True)}):
        scores = verb_scores[:, verb].astype(np.float64) * noun_scores[:, noun]
        # A prior multiplies all scores of an action alike, so it moves none against another; 0 makes all equal.
        scores = scores if prior is None else scores * prior[verb, noun]
        ap = step_ap(scores, (verbs == verb) & (nouns == noun))
        assert ap is not None, "the action comes"
        values.append(ap)
    return ActionMap(mean_ap=float(np.mean(values)), num_actions=len(values))


def share_within(ranks: np.ndarray, k: int, chosen: np.ndarray | None = None) -> float | None:
    """Return the share of samples of rank below ``k``; of those ``chosen``, bool (R,); None where there is none."""
    used = ranks if chosen is None else ranks[chosen]
    return float((used < k).mean()) if len(used) else None


def class_means(scores: np.ndarray, classes: np.ndarray, of: Collection[int]) -> ClassMeans | None:
    """Return mean precision and recall over the classes ``of`` that have a sample; None where none has.

    A class that is never predicted has precision 0.

    Args:
        scores: (R, K).
        classes: int (R,) true classes.
        of: Columns.
    """
    predicted = scores.argmax(axis=1)
    used = [k for k in sorted(of) if (classes == k).any()]
    if not used:
        return None
    hits = [float(((predicted == k) & (classes == k)).sum()) for k in used]
    precision = [hit / max(int((predicted == k).sum()), 1) for hit, k in zip(hits, used, strict=True)]
    recall = [hit / int((classes == k).sum()) for hit, k in zip(hits, used, strict=True)]
    return ClassMeans(precision=float(np.mean(precision)), recall=float(np.mean(recall)), num_classes=len(used))
