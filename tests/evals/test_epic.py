import numpy as np
import pytest

from tubelet.evals.classify import classes_of
from tubelet.evals.epic import action_map, action_ranks, class_means, pair_prior, share_within
from tubelet.types import InputError

VERBS = np.array([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]])
NOUNS = np.array([[0.2, 0.7, 0.1], [0.4, 0.3, 0.3], [0.3, 0.3, 0.4]])


def test_an_action_is_a_verb_times_a_noun() -> None:
    # Row 0: products .12 .42 .06 .08 .28 .04; row 1: .2 .15 .15 .2 .15 .15; row 2: .03 .03 .04 .27 .27 .36.
    ranks = action_ranks(VERBS, NOUNS, np.array([1, 1, 1]), np.array([1, 2, 0]))
    assert ranks.tolist() == [1, 5, 1]  # equal scores: the earlier pair first
    assert share_within(ranks, 1) == 0.0
    assert share_within(ranks, 2) == pytest.approx(2 / 3)
    assert share_within(ranks, 2, np.array([False, True, False])) == 0.0
    assert share_within(ranks, 2, np.zeros(3, dtype=bool)) is None


def test_ranks_are_those_of_a_sort() -> None:
    generator = np.random.default_rng(0)
    verb, noun = generator.random((700, 7)).round(1), generator.random((700, 9)).round(1)
    true = generator.integers(0, 7, 700), generator.integers(0, 9, 700)
    prior = generator.random((7, 9)).round(1)
    ranks = action_ranks(verb, noun, *true, prior=prior)
    for row in range(0, 700, 37):
        order = np.argsort(-(verb[row][:, None] * noun[row] * prior).reshape(-1), kind="stable")
        assert order[ranks[row]] == true[0][row] * 9 + true[1][row]


def test_the_prior_forbids_pairs_that_never_come() -> None:
    # Training: (0,0) twice, (1,1) once, (1,2) once.
    prior = pair_prior(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]), 2, 3)
    np.testing.assert_allclose(prior, [[2, 0, 0], [0, 2, 2]])
    ranks = action_ranks(VERBS, NOUNS, np.array([1, 0, 1]), np.array([1, 0, 2]), prior=prior)
    assert ranks.tolist() == [0, 0, 0]
    assert pair_prior(np.empty(0, dtype=int), np.empty(0, dtype=int), 1, 1).tolist() == [[0.0]]


def test_means_over_classes_by_hand() -> None:
    scores = np.eye(4)[[0, 0, 1, 1, 2]]
    classes = np.array([0, 1, 1, 1, 2])
    means = class_means(scores, classes, {0, 1, 3})  # class 3 has no sample
    assert means is not None
    assert (means.precision, means.recall, means.num_classes) == (
        pytest.approx(0.75),
        pytest.approx((1 + 2 / 3) / 2),
        2,
    )
    assert class_means(scores, classes, {3}) is None
    missed = class_means(np.eye(4)[[3, 3, 3, 3, 3]], classes, {0})
    assert missed is not None
    assert (missed.precision, missed.recall) == (0.0, 0.0)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(InputError, match="sample 1 has 2 labels"):
        classes_of(np.array([[1, 0], [1, 1]]))
    with pytest.raises(InputError, match="3 rows of verbs and 2 of nouns"):
        action_ranks(VERBS, NOUNS[:2], np.zeros(3, dtype=int), np.zeros(3, dtype=int))


def test_mean_average_precision_of_the_actions_that_come() -> None:
    verbs, nouns = np.array([0, 1, 0, 0]), np.array([0, 0, 1, 0])
    verb_scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.5, 0.5]])
    noun_scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.5, 0.5], [0.8, 0.2]])
    found = action_map(verb_scores, noun_scores, verbs, nouns)
    # (0, 0): 0.81 hit, 0.72, 0.30, 0.40 hit: 1 and 2/3. (1, 0): 0.09, 0.18 hit, 0.20, 0.40: 1/3.
    # (0, 1): 0.09, 0.08, 0.30 hit: 1. (1, 1) does not come.
    assert found.num_actions == 3
    assert found.mean_ap == pytest.approx(((1 + 2 / 3) / 2 + 1 / 3 + 1) / 3)
    # What training never had together is scored 0 everywhere: precision is the share of its samples.
    prior = np.array([[1.0, 0.0], [1.0, 0.0]])
    known = action_map(verb_scores, noun_scores, verbs, nouns, prior=prior)
    assert known.mean_ap == pytest.approx(((1 + 2 / 3) / 2 + 1 / 3 + 1 / 4) / 3)
    with pytest.raises(InputError, match="mAP over no actions"):
        action_map(verb_scores[:0], noun_scores[:0], verbs[:0], nouns[:0])
