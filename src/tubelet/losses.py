"""Classification losses on logits: one number for each clip or person box, computed in float32 or float64.

Who divides is the training loop, because what a step is the mean of may lie on several ranks and in several pieces. The
sigmoid loss adds up the K classes of each, as the public code base of ViViT does (Scenic): it is then of the size of
the softmax loss, and one learning rate serves tasks of both kinds. (``F.binary_cross_entropy_with_logits`` also divides
by K; a task's loss weight of 1 / K gives that.)
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def _checked(logits: Tensor, targets: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """Return both in float32, or in float64 where the logits are."""
    if logits.ndim != 2 or logits.shape != targets.shape:
        raise ValueError(
            f"targets has shape {tuple(targets.shape)}, logits {tuple(logits.shape)}, expected both (N, K)"
        )
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is {label_smoothing}, expected 0 <= label_smoothing < 1")
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return logits.to(dtype), targets.to(dtype)


def softmax_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return each row's cross entropy of softmax(logits) against its targets, (N,).

    Args:
        logits: (N, K).
        targets: (N, K), not negative; soft, one-hot or multi-hot. Each row is divided by its sum, so several labels
            share the probability equally. A row without any class raises a ``ValueError``.
        label_smoothing: e in [0, 1); the targets become y * (1 - e) + e / K (paper A, A.1: 0.1).
    """
    logits, targets = _checked(logits, targets, label_smoothing)
    total = targets.sum(dim=1, keepdim=True)
    if not bool((total > 0).all()):
        row = int((total[:, 0] <= 0).nonzero()[0])
        raise ValueError(f"targets row {row} has no class, expected at least one for a softmax loss")
    return F.cross_entropy(logits, targets / total, label_smoothing=label_smoothing, reduction="none")


def sigmoid_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return each row's binary cross entropy of sigmoid(logits), summed over its classes, (N,).

    Args:
        logits: (N, K).
        targets: (N, K) in [0, 1], multi-hot; a row of zeros (a person who does none of the actions) is one too.
        label_smoothing: e in [0, 1); the targets become y * (1 - e) + e / 2, since each class is a choice between two.
    """
    logits, targets = _checked(logits, targets, label_smoothing)
    smooth = targets * (1 - label_smoothing) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, smooth, reduction="none").sum(dim=1)
