"""A moving average of the weights, which is scored and published where a run keeps one.

Polyak and Juditsky 1992; the decay that begins low, min(d, (1 + n) / (10 + n)) after n steps, is TensorFlow's
``ExponentialMovingAverage(num_updates=...)``: without it short runs would publish their initial weights.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of every weight and of the statistics of batch normalisation; counters are the newest.

    Args:
        model: The one that is trained; its present weights are the first average. Where it is sharded, so is this.
        decay: Share of the old average that stays, 0..1, once the run is long.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors: dict[str, Tensor] = {name: value.detach().clone() for name, value in model.state_dict().items()}
        """By the names of the model's own state dict; part of a checkpoint."""

    @torch.no_grad()
    def update(self, model: nn.Module, *, steps: int) -> None:
        """Take in the weights after step number ``steps``, counted from 1."""
        keep = min(self.decay, (1 + steps) / (10 + steps))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.tensors[name].lerp_(value, 1 - keep)
            else:
                self.tensors[name].copy_(value)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Let the model have the averages inside the ``with`` block; its own weights come back after it."""
        with torch.no_grad():
            own = {name: value.detach().clone() for name, value in model.state_dict().items()}
            _put(model, self.tensors)
        try:
            yield
        finally:
            with torch.no_grad():
                _put(model, own)


def _put(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    for name, value in model.state_dict().items():
        value.copy_(tensors[name])
