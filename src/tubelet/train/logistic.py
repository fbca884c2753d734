"""L2-regularised logistic regression trained to convergence on features that need not fit into memory.

The loss is the mean over the rows plus ``l2 / 2`` times the squared weights: for one class a row the cross-entropy of a
softmax, for several the sum over the classes of their logistic losses (one against the rest). The bias is free, as in
scikit-learn, whose ``C`` is ``1 / (R l2 s^2)``.

Features are shifted by their mean, which a free bias takes up, and divided by one number s, their root mean variance,
so that ``l2`` means the same for any backbone; the solution is that of the features as they are. The solver is L-BFGS;
its first guess of the inverse Hessian is the Hessian's own at constant scores, from the features' covariance, so that
the number of passes depends little on how unequal the features are. Sums are float64, products float32.

Shapes use: R rows, D features, K classes.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tubelet.types import InputError

Pieces = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Goes through the rows: features (r, D) of any float type; targets int64 (r,) classes or float (r, K) multi-hot."""

ROWS_AT_ONCE = 4096
HISTORY = 10
MAX_HALVINGS = 20
ENOUGH = 1e-4
"""Of the fall that the slope promises, what a step must reach (Armijo's rule)."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What the features are like; computed once for all regularisations."""

    num_rows: int
    mean: Tensor
    """float64 (D,)."""
    scale: float
    """Root of the mean variance, above 0."""
    spread: Tensor
    """float64 (D,), variances along the principal axes of the scaled features."""
    axes: Tensor
    """float32 (D, D), an axis in each column."""
    shares: Tensor
    """float64 (K,), share of the rows that have each class."""


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A linear classifier on the features as they are."""

    weight: Tensor
    """float32 (K, D)."""
    bias: Tensor
    """float32 (K,)."""

    def logits(self, features: Tensor) -> Tensor:
        """Return float32 (r, K)."""
        return features.float() @ self.weight.T + self.bias


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Where the solver ended."""

    linear: Linear
    loss: float
    """Mean over the rows, without the regularisation."""
    num_passes: int
    """Times that all rows were read."""
    converged: bool
    """Whether the rest, as the last slope tells it, is below the tolerance; else the passes ran out."""
    state: Tensor
    """float64 (K, D + 1) in scaled coordinates: where a neighbouring regularisation begins."""


def describe_features(pieces: Pieces, num_classes: int, *, device: torch.device) -> Scaling:
    """Return the features' mean, scale and covariance, and how often each class comes; one pass.

    Raises:
        InputError: There is no row, a feature is not finite, or all rows are alike.
    """
    num, shift = 0, None
    for features, targets in _chunks(pieces, device):
        if shift is None:  # near the mean, so that the squares below do not swallow the spread
            shift = features.double().mean(dim=0)
            total = torch.zeros_like(shift)
            squares = torch.zeros(len(shift), len(shift), dtype=torch.float64, device=device)
            counts = torch.zeros(num_classes, dtype=torch.float64, device=device)
        moved = features - shift.float()
        total += moved.sum(dim=0, dtype=torch.float64)
        squares += (moved.T @ moved).double()
        counts += torch.bincount(targets, minlength=num_classes) if targets.ndim == 1 else targets.double().sum(dim=0)
        num += len(features)
    if shift is None:
        raise InputError("no features to train on")
    mean = total / num
    covariance = squares / num - torch.outer(mean, mean)
    variance = float(covariance.diagonal().mean())
    if not torch.isfinite(covariance).all():
        raise InputError("features are not finite numbers")
    if not variance > 1e-12 * max(float(shift.square().mean()), 1e-30):
        raise InputError("all features are alike: there is nothing to tell classes apart by")
    spread, axes = torch.linalg.eigh(covariance / variance)
    return Scaling(
        num_rows=num,
        mean=shift + mean,
        scale=variance**0.5,
        spread=spread.clamp(min=0),
        axes=axes.float(),
        shares=counts / num,
    )


def fit_logistic(
    pieces: Pieces,
    scaling: Scaling,
    *,
    l2: float,
    multi_label: bool,
    start: Tensor | None = None,
    tolerance: float = 1e-6,
    max_passes: int = 500,
) -> Solution:
    """Minimise the regularised loss over all rows.

    Args:
        pieces: The rows, the same every time.
        scaling: Of ``describe_features`` of these rows, or of rows like them.
        l2: Strength of the regularisation on scaled features, above 0.
        multi_label: Targets are multi-hot: each class against the rest.
        start: ``Solution.state`` of a neighbouring ``l2``; None = the classes' shares alone.
        tolerance: Stop when the fall that is still expected is below this share of the objective.
        max_passes: Stop after so many passes in any case.

    Raises:
        InputError: ``l2`` is not above 0.
    """
    if not l2 > 0:
        raise InputError(f"l2 is {l2}, expected above 0: without it the solution may not be finite")
    at = _prior(scaling, multi_label=multi_label) if start is None else start.clone()
    guess = _Guess(scaling, l2)
    value, gradient, loss = _evaluate(pieces, scaling, at, l2, multi_label=multi_label)
    passes, converged = 1, False
    while True:
        step = guess.direction(gradient)
        slope = float((step * gradient).sum())
        # Of a quadratic the fall still ahead is half the slope.
        converged = -slope / 2 <= tolerance * abs(value)
        if converged or passes >= max_passes:
            break
        length = 1.0
        for _ in range(MAX_HALVINGS):
            there = at + length * step
            new_value, new_gradient, new_loss = _evaluate(pieces, scaling, there, l2, multi_label=multi_label)
            passes += 1
            logger.debug("pass %d: objective %.8g", passes, new_value)
            if new_value <= value + ENOUGH * length * slope or passes >= max_passes:
                break
            # The lowest point of the parabola through both values and the slope, within bounds.
            lowest = -slope * length**2 / (2 * (new_value - value - slope * length))
            length = min(max(lowest, 0.1 * length), 0.5 * length)
        if new_value >= value:  # float32 products tell no better
            converged = -slope / 2 <= 1e3 * tolerance * abs(value)
            break
        guess.learn(there - at, new_gradient - gradient)
        at, value, gradient, loss = there, new_value, new_gradient, new_loss
    weight, bias = _unscaled(at, scaling)
    return Solution(
        linear=Linear(weight=weight, bias=bias),
        loss=loss,
        num_passes=passes,
        converged=converged,
        state=at,
    )


def mean_loss(pieces: Pieces, linear: Linear, *, multi_label: bool) -> float:
    """Return the mean loss of a classifier over the rows, without regularisation."""
    total, num = 0.0, 0
    for features, targets in _chunks(pieces, linear.weight.device):
        total += _losses(linear.logits(features), targets, multi_label=multi_label)[0]
        num += len(features)
    return total / num


def _chunks(pieces: Pieces, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield float32 features and their targets on the device, a few thousand rows at a time."""
    for features, targets in pieces():
        for first in range(0, len(features), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            yield features[rows].to(device).float(), targets[rows].to(device)


def _losses(logits: Tensor, targets: Tensor, *, multi_label: bool) -> tuple[float, Tensor]:
    """Return the sum of the rows' losses, and its gradient with respect to the logits (r, K)."""
    if multi_label:
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none")
        return float(losses.sum(dtype=torch.float64)), logits.sigmoid() - targets
    log_probabilities = logits.log_softmax(dim=1)
    picked = log_probabilities.gather(1, targets[:, None])
    gradient = log_probabilities.exp_()
    gradient.scatter_add_(1, targets[:, None], torch.full_like(picked, -1.0))
    return -float(picked.sum(dtype=torch.float64)), gradient


def _evaluate(
    pieces: Pieces, scaling: Scaling, at: Tensor, l2: float, *, multi_label: bool
) -> tuple[float, Tensor, float]:
    """Return objective, gradient (K, D + 1) and loss at a point in scaled coordinates."""
    weight, bias = at[:, :-1].float(), at[:, -1].float()
    mean, num = scaling.mean.float(), scaling.num_rows
    total, num_seen, gradient = 0.0, 0, torch.zeros_like(at)
    for features, targets in _chunks(pieces, at.device):
        scaled = (features - mean).div_(scaling.scale)
        loss, slopes = _losses(torch.addmm(bias, scaled, weight.T), targets, multi_label=multi_label)
        total += loss
        gradient[:, :-1] += slopes.T @ scaled
        gradient[:, -1] += slopes.sum(dim=0, dtype=torch.float64)
        num_seen += len(features)
    assert num_seen == num, f"{num_seen} rows were read, {num} were described"
    gradient /= num
    gradient[:, :-1] += l2 * at[:, :-1]
    loss = total / num
    return loss + l2 / 2 * float(at[:, :-1].square().sum()), gradient, loss


def _prior(scaling: Scaling, *, multi_label: bool) -> Tensor:
    """Return the start: weights of zero, and the bias that gives every row the classes' shares."""
    shares = (scaling.shares * scaling.num_rows + 0.5) / (scaling.num_rows + 1)
    at = torch.zeros(len(shares), len(scaling.mean) + 1, dtype=torch.float64, device=scaling.mean.device)
    at[:, -1] = shares.logit() if multi_label else shares.log()
    return at


def _unscaled(at: Tensor, scaling: Scaling) -> tuple[Tensor, Tensor]:
    weight = at[:, :-1] / scaling.scale
    return weight.float(), (at[:, -1] - weight @ scaling.mean).float()


class _Guess:
    """L-BFGS's picture of the inverse Hessian: that at constant scores, corrected by the last steps.

    Nocedal and Wright, Numerical Optimization, algorithm 7.4.
    """

    def __init__(self, scaling: Scaling, l2: float) -> None:
        curvature = scaling.shares * (1 - scaling.shares)  # of each class's loss, at its share
        curvature = curvature.clamp(min=1 / scaling.num_rows)[:, None]
        self._axes = scaling.axes
        self._weights = 1 / (curvature * scaling.spread + l2)
        self._bias = 1 / curvature[:, 0]
        self._pairs: list[tuple[Tensor, Tensor, float]] = []

    def learn(self, step: Tensor, change: Tensor) -> None:
        """Take a step and the change of the gradient along it."""
        curvature = float((step * change).sum())
        if curvature > 0:
            self._pairs = [*self._pairs[1 - HISTORY :], (step, change, curvature)]

    def direction(self, gradient: Tensor) -> Tensor:
        """Return where to go: minus the inverse Hessian times the gradient."""
        rest, shares = gradient.clone(), []
        for step, change, curvature in reversed(self._pairs):
            shares.append(float((step * rest).sum()) / curvature)
            rest -= shares[-1] * change
        found = self._at_constant_scores(rest)
        if self._pairs:
            _, change, curvature = self._pairs[-1]
            found *= curvature / float((change * self._at_constant_scores(change)).sum())
        for (step, change, curvature), share in zip(self._pairs, reversed(shares), strict=True):
            found += (share - float((change * found).sum()) / curvature) * step
        return -found

    def _at_constant_scores(self, vector: Tensor) -> Tensor:
        turned = (vector[:, :-1].float() @ self._axes).double() * self._weights
        found = torch.empty_like(vector)
        found[:, :-1] = turned.float() @ self._axes.T
        found[:, -1] = vector[:, -1] * self._bias
        return found
