"""Optimizer and learning rate. The rate is a function of the step, so a resumed run needs no scheduler state."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Muon, Optimizer

from tubelet.types import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """How weights move."""

    learning_rate: float
    """Peak rate, reached at the end of the warm-up (paper A, A.1: 0.2 for a batch of 128)."""
    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"
    """``sgd``: synchronous SGD with momentum (paper A, 4.1). ``muon``: see ``MuonWithAdamW``."""
    momentum: float = 0.9
    """Of SGD; AdamW uses its usual 0.9 and 0.999, Muon 0.95."""
    weight_decay: float = 0.0
    """Not given in paper A. Added to the gradient for SGD, decoupled for AdamW and Muon."""
    decay_norms_and_biases: bool = False
    """Whether one-dimensional weights decay too."""
    warmup_epochs: float = 2.5
    """Epochs of the summed data sets (paper A, 4.1); at most half of the run."""
    clip_norm: float | None = 1.0
    """Largest global norm of the gradient; not given in paper A. None = no clipping."""

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise InputError(f"learning_rate must be a positive number, found {self.learning_rate}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise InputError(f"clip_norm must be positive or None, found {self.clip_norm}")
        if self.warmup_epochs < 0:
            raise InputError(f"warmup_epochs must not be negative, found {self.warmup_epochs}")


def warmup_steps(warmup_epochs: float, *, steps_per_epoch: float, num_steps: int) -> int:
    """Return the length of the warm-up in steps, at most half of the run: a short run must still learn."""
    return min(round(warmup_epochs * steps_per_epoch), num_steps // 2)


def learning_rate_at(step: int, *, num_steps: int, warmup_steps: int, base: float) -> float:
    """Return the rate of a step: linear warm-up to ``base``, then half a cosine towards 0 (paper A, 4.1).

    Args:
        step: 0 .. num_steps - 1.
        num_steps: Length of the run.
        warmup_steps: Step ``warmup_steps`` is the first at the full rate; step 0 already moves (rate base/(warmup+1)).
        base: Peak rate.
    """
    if step < warmup_steps:
        return base * (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return base * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """Return the optimizer; weight decay spares norms and biases unless told otherwise."""
    decayed = [p for p in model.parameters() if p.ndim > 1 or config.decay_norms_and_biases]
    spared = [p for p in model.parameters() if p.ndim <= 1 and not config.decay_norms_and_biases]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": config.weight_decay}]
    if spared:
        groups.append({"params": spared, "weight_decay": 0.0})
    if config.optimizer == "adamw":
        return AdamW(groups, lr=config.learning_rate)
    if config.optimizer == "muon":
        return MuonWithAdamW(model, groups, learning_rate=config.learning_rate)
    return SGD(groups, lr=config.learning_rate, momentum=config.momentum)


class MuonWithAdamW(Optimizer):
    """Muon for the matrices of the transformer blocks, AdamW for everything else (embedding, positions, norms, heads).

    Muon makes the update of a matrix orthogonal; scaled as in "Muon is scalable for LLM training" (Liu et al. 2025,
    arXiv 2502.16982) it takes AdamW's rates and weight decay. A small ViViT from scratch needs about half as many
    clips as with AdamW (``docs/log.md``).
    """

    def __init__(self, model: nn.Module, groups: list[dict[str, Any]], *, learning_rate: float) -> None:
        """Split each group; the two optimizers share their groups and state with this one.

        Args:
            model: Whose blocks are found by name (``.blocks.``).
            groups: Parameters with their ``weight_decay``.
            learning_rate: Of both.
        """
        hidden = {p for name, p in model.named_parameters() if ".blocks." in name and p.ndim == 2}
        muon = [group | {"params": [p for p in group["params"] if p in hidden]} for group in groups]
        adamw = [group | {"params": [p for p in group["params"] if p not in hidden]} for group in groups]
        parts = [[group for group in part if group["params"]] for part in (muon, adamw)]
        super().__init__([*parts[0], *parts[1]], {"lr": learning_rate})
        self.parts: list[Optimizer] = []
        if parts[0]:
            self.parts.append(Muon(parts[0], lr=learning_rate, adjust_lr_fn="match_rms_adamw"))
        if parts[1]:
            self.parts.append(AdamW(parts[1], lr=learning_rate))
        for part in self.parts:
            part.state = self.state

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; a closure is not supported."""
        assert closure is None
        for part in self.parts:
            part.step()


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Use ``rate`` for the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_tensors(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Return the optimizer's state as named tensors, ``<parameter>/<entry>``.

    A head whose task has not come up yet has no state, and gets none when read back.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}/{entry}": value
        for parameter, state in optimizer.state.items()
        for entry, value in state.items()
        if isinstance(value, Tensor)
    }


def load_optimizer_tensors(optimizer: Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put ``optimizer_tensors`` back, on the device of each parameter."""
    parameters = dict(model.named_parameters())
    optimizer.state.clear()
    for key, value in tensors.items():
        name, entry = key.rsplit("/", 1)
        if name not in parameters:
            raise InputError(f"the optimizer state names {name!r}, which this model does not have")
        # Adam's step counter stays on the CPU, where torch keeps it.
        place = "cpu" if entry == "step" else parameters[name].device
        optimizer.state[parameters[name]][entry] = value.to(place)
