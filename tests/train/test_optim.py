"""Learning rate by hand, weight decay groups, and the optimizer's state as tensors."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from tubelet.train.optim import (
    OptimConfig,
    build_optimizer,
    learning_rate_at,
    load_optimizer_tensors,
    optimizer_tensors,
    set_learning_rate,
    warmup_steps,
)
from tubelet.types import InputError


def test_learning_rate_by_hand() -> None:
    rates = [learning_rate_at(k, num_steps=10, warmup_steps=2, base=0.3) for k in range(10)]
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])  # linear, the first step already moves
    assert rates[6] == pytest.approx(0.15)  # half of the cosine: (6 - 2) / 8
    assert rates[9] == pytest.approx(0.15 * (1 + math.cos(math.pi * 7 / 8)))
    assert all(a > b for a, b in pairwise(rates[2:]))


def test_warmup_is_fractional_in_epochs_and_clamped_for_short_runs() -> None:
    assert warmup_steps(2.5, steps_per_epoch=10, num_steps=150) == 25  # paper A: 2.5 of 15 epochs
    assert warmup_steps(0.25, steps_per_epoch=10, num_steps=150) == 2
    assert warmup_steps(2.5, steps_per_epoch=10, num_steps=20) == 10
    assert warmup_steps(2.5, steps_per_epoch=10, num_steps=1) == 0
    assert learning_rate_at(0, num_steps=1, warmup_steps=0, base=0.2) == 0.2


@pytest.mark.parametrize(
    "change", [{"learning_rate": 0.0}, {"learning_rate": math.nan}, {"clip_norm": 0.0}, {"warmup_epochs": -1.0}]
)
def test_values_that_cannot_be_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError):
        OptimConfig(**{"learning_rate": 0.1} | change)


def test_weight_decay_spares_norms_and_biases_unless_told() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    config = OptimConfig(learning_rate=0.1, weight_decay=0.5)
    groups = build_optimizer(model, config).param_groups
    assert [(g["weight_decay"], len(g["params"])) for g in groups] == [(0.5, 1), (0.0, 3)]
    everything = OptimConfig(learning_rate=0.1, weight_decay=0.5, decay_norms_and_biases=True)
    assert [(g["weight_decay"], len(g["params"])) for g in build_optimizer(model, everything).param_groups] == [
        (0.5, 4)
    ]


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4)])
        self.encoder = nn.Module()
        self.encoder.blocks = nn.ModuleList([nn.Linear(4, 6)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.encoder.blocks[0](self.stem(x).tanh())
        return result


def test_muon_moves_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    torch.manual_seed(0)
    ours, theirs = _Block(), _Block()
    theirs.load_state_dict(ours.state_dict())
    optimizer = build_optimizer(ours, OptimConfig(learning_rate=1.0, optimizer="muon", weight_decay=0.1))
    matrix = theirs.encoder.blocks[0].weight
    muon = torch.optim.Muon([matrix], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(
        [
            {"params": [theirs.stem.weight], "weight_decay": 0.1},
            {"params": [theirs.stem.bias, theirs.encoder.blocks[0].bias], "weight_decay": 0.0},
        ],
        lr=0.02,
    )
    for step in range(3):
        x = torch.linspace(-1, 1, 6).view(2, 3) + step
        for model in (ours, theirs):
            model.zero_grad(set_to_none=True)
            model(x).square().sum().backward()
        set_learning_rate(optimizer, 0.02)
        optimizer.step()
        muon.step()
        adamw.step()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_muon_goes_on_exactly_from_its_tensors() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model.zero_grad(set_to_none=True)
        model(torch.linspace(-1, 1, 6).view(2, 3)).square().sum().backward()
        optimizer.step()

    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = _Block()
        return model, build_optimizer(model, OptimConfig(learning_rate=0.01, optimizer="muon"))

    whole, optimizer = build()
    for _ in range(4):
        step(whole, optimizer)
    first, optimizer = build()
    for _ in range(2):
        step(first, optimizer)
    saved = {k: v.clone() for k, v in optimizer_tensors(optimizer, first).items()}
    assert "encoder.blocks.0.weight/momentum_buffer" in saved
    second, optimizer = build()
    second.load_state_dict(first.state_dict())
    load_optimizer_tensors(optimizer, second, saved)
    for _ in range(2):
        step(second, optimizer)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_optimizer_tensors_restore_it_exactly(kind: str) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, part: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        model[part](torch.linspace(-1, 1, 6).view(2, 3)).square().sum().backward()
        optimizer.step()

    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2)])  # two heads: the second has no state at first
        return model, build_optimizer(model, OptimConfig(learning_rate=0.1, optimizer=kind))

    whole, optimizer = build()
    for part in (0, 0, 1, 0):
        step(whole, optimizer, part)

    first, optimizer = build()
    for part in (0, 0):
        step(first, optimizer, part)
    saved = {k: v.clone() for k, v in optimizer_tensors(optimizer, first).items()}
    assert all(name.startswith("0.") for name in saved)
    second, optimizer = build()
    second.load_state_dict(first.state_dict())
    load_optimizer_tensors(optimizer, second, saved)
    for part in (1, 0):
        step(second, optimizer, part)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_optimizer_state_of_another_model_is_refused() -> None:
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model, OptimConfig(learning_rate=0.1))
    with pytest.raises(InputError, match=r"'other\.weight'"):
        load_optimizer_tensors(optimizer, model, {"other.weight/momentum_buffer": torch.zeros(2, 2)})
