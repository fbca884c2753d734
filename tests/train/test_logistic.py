import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from tubelet.train.logistic import Linear, Pieces, describe_features, fit_logistic, mean_loss
from tubelet.types import InputError

CPU = torch.device("cpu")


def clusters(rows: int, dim: int, classes: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features as a network's last layer has them: of unequal directions, not negative, far from zero mean."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    centres = 0.5 * torch.randn(classes, dim, generator=generator)
    spread = torch.arange(1, dim + 1) ** -0.5
    axes = torch.linalg.qr(torch.randn(dim, dim, generator=generator))[0]
    noise = torch.randn(rows, dim, generator=generator)
    return torch.relu(((centres[labels] + noise) * spread) @ axes + 0.5), labels


def in_pieces(features: Tensor, targets: Tensor, size: int = 170) -> Pieces:
    return lambda: [(features[i : i + size], targets[i : i + size]) for i in range(0, len(features), size)]


def objective(linear: Linear, pieces: Pieces, penalty: float, *, multi_label: bool) -> float:
    return mean_loss(pieces, linear, multi_label=multi_label) + penalty / 2 * float(
        linear.weight.double().square().sum()
    )


def scikit(features: Tensor, targets: np.ndarray, c: float) -> tuple[np.ndarray, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-8).fit(features.double().numpy(), targets)
    return found.coef_, found.intercept_


@pytest.mark.parametrize("l2", [0.1, 0.01, 0.001])
def test_softmax_agrees_with_scikit_learn(l2: float) -> None:
    (features, test), (labels, test_labels) = (part.split([900, 1500]) for part in clusters(2400, 24, 7))
    pieces = in_pieces(features, labels)
    scaling = describe_features(pieces, 7, device=CPU)
    found = fit_logistic(pieces, scaling, l2=l2, multi_label=False)
    coefficients, intercepts = scikit(features, labels.numpy(), 1 / (900 * l2 * scaling.scale**2))
    theirs = Linear(weight=torch.from_numpy(coefficients).float(), bias=torch.from_numpy(intercepts).float())
    penalty = l2 * scaling.scale**2
    assert found.converged
    reached, best = (objective(linear, pieces, penalty, multi_label=False) for linear in (found.linear, theirs))
    assert reached == pytest.approx(best, rel=1e-5)
    assert found.loss == pytest.approx(mean_loss(pieces, theirs, multi_label=False), abs=1e-3)
    right = [
        float((linear.logits(test).argmax(dim=1) == test_labels).double().mean()) for linear in (found.linear, theirs)
    ]
    assert right[0] == pytest.approx(right[1], abs=1e-3)
    assert right[0] > 1.5 / 7


def test_one_against_the_rest_agrees_with_scikit_learn() -> None:
    features, labels = clusters(600, 12, 4)
    hot = torch.nn.functional.one_hot(labels, 4).to(torch.uint8)
    hot[::3, 2] = 1  # several at once
    pieces, l2 = in_pieces(features, hot), 0.003
    scaling = describe_features(pieces, 4, device=CPU)
    found = fit_logistic(pieces, scaling, l2=l2, multi_label=True)
    assert found.converged
    logits = found.linear.logits(features)
    for k in range(4):
        c = 1 / (600 * l2 * scaling.scale**2)
        coefficients, intercepts = scikit(features, hot[:, k].numpy(), c)
        theirs = features.double() @ torch.from_numpy(coefficients[0]) + intercepts[0]
        torch.testing.assert_close(logits[:, k].double(), theirs, atol=0.02, rtol=0.01)
        losses = [
            float(torch.nn.functional.binary_cross_entropy_with_logits(given.double(), hot[:, k].double()))
            for given in (logits[:, k], theirs)
        ]
        assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_passes_do_not_grow_with_how_unequal_features_are() -> None:
    features, labels = clusters(600, 16, 5)
    plain = describe_features(in_pieces(features, labels), 5, device=CPU)
    stretched = features * torch.logspace(0, -2, 16) + 30
    pieces = in_pieces(stretched, labels)
    found = fit_logistic(pieces, describe_features(pieces, 5, device=CPU), l2=0.01, multi_label=False)
    assert found.converged
    assert found.num_passes < 25
    assert plain.scale == pytest.approx(float(features.var(dim=0, unbiased=False).mean().sqrt()), rel=1e-5)


def test_pieces_and_number_format_change_nothing_that_counts() -> None:
    features, labels = clusters(500, 10, 3)
    stored = features.bfloat16()
    whole = in_pieces(stored.float(), labels, 500)
    parts = in_pieces(stored, labels, 7)
    scalings = [describe_features(pieces, 3, device=CPU) for pieces in (whole, parts)]
    found = [
        fit_logistic(pieces, scaling, l2=0.01, multi_label=False)
        for pieces, scaling in zip((whole, parts), scalings, strict=True)
    ]
    penalty = 0.01 * scalings[0].scale ** 2
    reached = [objective(solution.linear, whole, penalty, multi_label=False) for solution in found]
    assert reached[0] == pytest.approx(reached[1], rel=1e-5)
    torch.testing.assert_close(found[0].linear.logits(features), found[1].linear.logits(features), atol=0.01, rtol=0.01)


def test_a_warm_start_ends_at_the_same_place() -> None:
    features, labels = clusters(500, 10, 3)
    pieces = in_pieces(features, labels)
    scaling = describe_features(pieces, 3, device=CPU)
    strong = fit_logistic(pieces, scaling, l2=0.03, multi_label=False)
    cold = fit_logistic(pieces, scaling, l2=0.01, multi_label=False)
    warm = fit_logistic(pieces, scaling, l2=0.01, multi_label=False, start=strong.state)
    penalty = 0.01 * scaling.scale**2
    reached = [objective(solution.linear, pieces, penalty, multi_label=False) for solution in (warm, cold)]
    assert reached[0] == pytest.approx(reached[1], rel=1e-5)
    short = fit_logistic(pieces, scaling, l2=1e-6, multi_label=False, max_passes=5)
    assert not short.converged
    assert short.num_passes == 5


def test_a_class_without_an_example_gets_a_low_score() -> None:
    features, labels = clusters(300, 8, 3)
    pieces = in_pieces(features, labels)
    found = fit_logistic(pieces, describe_features(pieces, 5, device=CPU), l2=0.01, multi_label=False)
    shares = found.linear.logits(features).softmax(dim=1)
    assert found.converged
    assert float(shares[:, 3:].max()) < 0.02


def test_what_cannot_be_trained_on() -> None:
    features, labels = clusters(50, 4, 2)
    with pytest.raises(InputError, match="no features"):
        describe_features(list, 2, device=CPU)
    with pytest.raises(InputError, match="all features are alike"):
        describe_features(in_pieces(torch.full_like(features, 3.25), labels), 2, device=CPU)
    with pytest.raises(InputError, match="not finite"):
        describe_features(in_pieces(features / 0, labels), 2, device=CPU)
    pieces = in_pieces(features, labels)
    with pytest.raises(InputError, match="l2 is 0, expected above 0"):
        fit_logistic(pieces, describe_features(pieces, 2, device=CPU), l2=0, multi_label=False)
