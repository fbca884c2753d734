"""How weights move: the optimizer and its groups of parameters. The rate of each step is ``schedule.py``'s."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Muon, Optimizer

from tubelet.models.saved import HEADS
from tubelet.records import check_choices
from tubelet.train.schedule import ScheduleName
from tubelet.types import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """How weights move."""

    learning_rate: float
    """Peak rate, reached at the end of the warm-up (paper A, A.1: 0.2 for a batch of 128)."""
    reference_batch_size: int | None = None
    """Clips per step that ``learning_rate`` is meant for; a run with n times as many takes n times the rate (linear
    scaling, Goyal et al. 2017; paper B, 3.3 and A.4, where it is the clips of one GPU). None = the rate as it is."""
    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"
    """``sgd``: synchronous SGD with momentum (paper A, 4.1). ``muon``: see ``MuonWithAdamW``."""
    momentum: float = 0.9
    """Of SGD; AdamW uses its usual 0.9 and 0.999, Muon 0.95."""
    weight_decay: float = 0.0
    """Not given in paper A; paper B, A.4: 0.0001, coupled."""
    decoupled_weight_decay: bool = False
    """Of SGD: weights shrink by rate x decay, as they do with AdamW and Muon, instead of adding decay x weight to the
    gradient (Loshchilov and Hutter 2019)."""
    decay_norms_and_biases: bool = False
    """Whether one-dimensional weights decay too."""
    schedule: ScheduleName = "cosine"
    """Of the rate after the warm-up; a key of ``schedule.SCHEDULES``."""
    warmup_epochs: float = 2.5
    """Epochs of the summed data sets (paper A, 4.1); at most half of the run."""
    warmup_start: float = 0.0
    """Share of the peak at which the warm-up begins. Gradual warm-up (Goyal et al. 2017, paper B's) begins at the rate
    of one GPU, the reference batch: 1 / 64 with 64 of them."""
    num_halvings: int = 13
    """Of the schedule ``halving`` (paper B, 3.3)."""
    period_epochs: tuple[float, ...] = ()
    """Of the schedule ``periods``: consecutive stretches after the warm-up. Where one ends the rate is multiplied by
    ``period_factor`` (paper B, A.4: "LR steps")."""
    period_factor: float = 0.1
    """Paper B, A.4."""
    layer_decay: float = 1.0
    """Rate of each layer as a share of the rate of the one above it; the heads have the full rate. 1 = all alike."""
    frozen_backbone: bool = False
    """Train the heads only: the backbone neither moves nor drops layers, and its batch normalisation uses the stored
    statistics (paper B, 4: fc-only)."""
    clip_norm: float | None = 1.0
    """Largest global norm of the gradient; not given in paper A. None = no clipping."""
    ema_decay: float | None = None
    """Keep a moving average of the weights, 0..1 (``ema.py``); it is what is scored and published. None = none."""

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate must be a positive number, found {self.learning_rate}")
        if self.reference_batch_size is not None and self.reference_batch_size < 1:
            raise InputError(f"reference_batch_size must be at least 1 or None, found {self.reference_batch_size}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise InputError(f"clip_norm must be positive or None, found {self.clip_norm}")
        if not (0 <= self.weight_decay < math.inf and 0 <= self.warmup_epochs < math.inf and self.num_halvings >= 0):
            raise InputError(
                f"weight_decay {self.weight_decay}, warmup_epochs {self.warmup_epochs} and num_halvings "
                f"{self.num_halvings} must not be negative"
            )
        if not (0 <= self.momentum < 1 and 0 <= self.warmup_start <= 1):
            raise InputError(f"momentum {self.momentum} must be in [0, 1), warmup_start {self.warmup_start} in [0, 1]")
        if not (0 < self.layer_decay <= 1 and 0 < self.period_factor <= 1):
            raise InputError(f"layer_decay {self.layer_decay} and period_factor {self.period_factor} must be in (0, 1]")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise InputError(f"ema_decay must be in [0, 1) or None, found {self.ema_decay}")
        if (self.schedule == "periods") != bool(self.period_epochs) or any(not e > 0 for e in self.period_epochs):
            raise InputError(
                f"period_epochs must be positive and go with the schedule 'periods', found {self.period_epochs} "
                f"with {self.schedule!r}"
            )
        if self.decoupled_weight_decay and self.optimizer != "sgd":
            raise InputError(f"decoupled_weight_decay is for sgd; {self.optimizer} decouples by itself")


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """Return the optimizer of the parameters that move; weight decay spares norms and biases unless told otherwise."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    scales = layer_scales(model, config.layer_decay)
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 or config.decay_norms_and_biases
        if parameter.requires_grad:
            groups.setdefault((config.weight_decay if decays else 0.0, scales[name]), []).append(parameter)
    options: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay, "lr_scale": scale}
        for (decay, scale), parameters in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]
    if config.optimizer == "adamw":
        return AdamW(options, lr=config.learning_rate)
    if config.optimizer == "muon":
        return MuonWithAdamW(model, options, learning_rate=config.learning_rate)
    kind = DecoupledSGD if config.decoupled_weight_decay else SGD
    return kind(options, lr=config.learning_rate, momentum=config.momentum)


def layer_scales(model: nn.Module, decay: float) -> dict[str, float]:
    """Return every parameter's share of the rate: ``decay`` to the power of the layers above its own.

    A layer is a residual block, in the order in which the model has them; what stands before the first block (stem,
    embedding, positions) is one too, a norm belongs to the block before it, and the heads are the top.
    """
    depth, seen, depths = 0, "", {}
    for name, _ in model.named_parameters():
        block = re.match(r"(.*\.blocks\.\d+|.*\bstages\.\d+\.\d+)\.", name)
        if block is not None and block[1] != seen:
            depth, seen = depth + 1, block[1]
        depths[name] = depth
    return {n: 1.0 if n.startswith(HEADS) else decay ** (depth + 1 - d) for n, d in depths.items()}


class DecoupledSGD(SGD):
    """SGD whose weights shrink by rate x decay (SGDW of Loshchilov and Hutter 2019), apart from the momentum."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; a closure is not supported."""
        assert closure is None
        decays = [group["weight_decay"] for group in self.param_groups]
        for group, decay in zip(self.param_groups, decays):
            with torch.no_grad():
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.mul_(1 - group["lr"] * decay)
            group["weight_decay"] = 0.0
        super().step()
        for group, decay in zip(self.param_groups, decays):
            group["weight_decay"] = decay


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
    """Use ``rate`` for the next step, in each layer its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


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
