"""Groups of parameters and what moves them, and the optimizer's state as tensors."""

import math

import pytest
import torch
from torch import nn

from tubelet.train.ema import WeightAverage
from tubelet.train.optim import (
    OptimConfig,
    build_optimizer,
    layer_scales,
    load_optimizer_tensors,
    optimizer_tensors,
    set_learning_rate,
)
from tubelet.types import InputError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be a positive number, found 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be a positive number, found nan"),
        ({"clip_norm": 0.0}, "clip_norm must be positive or None"),
        ({"warmup_epochs": -1.0}, "warmup_epochs -1.0"),
        ({"weight_decay": -0.1}, "weight_decay -0.1"),
        ({"momentum": 1.0}, "momentum 1.0 must be in"),
        ({"reference_batch_size": 0}, "reference_batch_size must be at least 1"),
        ({"layer_decay": 0.0}, "layer_decay 0.0"),
        ({"ema_decay": 1.0}, "ema_decay must be in"),
        ({"schedule": "periods"}, "period_epochs must be positive and go with the schedule 'periods'"),
        ({"period_epochs": (3.0,)}, "found .3.0,. with 'cosine'"),
        ({"optimizer": "adam"}, "expected one of sgd, adamw, muon, found 'adam'; did you mean 'adamw'"),
        ({"schedule": "cosin"}, "expected one of cosine, halving, periods, constant, found 'cosin'; did you mean 'cos"),
        ({"optimizer": "adamw", "decoupled_weight_decay": True}, "adamw decouples by itself"),
    ],
)
def test_values_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
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


def one_step(config: OptimConfig, *, weight: float, gradient: float, rates: tuple[float, ...]) -> list[float]:
    """Return a single weight after each step with a constant gradient."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, weight)
    optimizer = build_optimizer(model, config)
    found = []
    for rate in rates:
        model.weight.grad = torch.full_like(model.weight, gradient)
        set_learning_rate(optimizer, rate)
        optimizer.step()
        found.append(model.weight.item())
    return found


def test_coupled_and_decoupled_weight_decay_by_hand() -> None:
    config = OptimConfig(learning_rate=1.0, momentum=0.5, weight_decay=0.1)
    # Coupled: the decay joins the momentum. g1 = 1 + 0.1 * 2 = 1.2; w = 2 - 0.5 * 1.2 = 1.4;
    # g2 = 0.5 * 1.2 + (1 + 0.1 * 1.4) = 1.74; w = 1.4 - 0.5 * 1.74 = 0.53.
    found = one_step(config, weight=2.0, gradient=1.0, rates=(0.5, 0.5))
    assert found == pytest.approx([1.4, 0.53])
    # Decoupled: w = 2 * (1 - 0.5 * 0.1) - 0.5 = 1.4; w = 1.4 * 0.95 - 0.5 * 1.5 = 0.58.
    apart = OptimConfig(learning_rate=1.0, momentum=0.5, weight_decay=0.1, decoupled_weight_decay=True)
    assert one_step(apart, weight=2.0, gradient=1.0, rates=(0.5, 0.5)) == pytest.approx([1.4, 0.58])


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.stem = nn.Linear(2, 2)
        self.backbone.spatial = nn.Module()
        self.backbone.spatial.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.backbone.spatial.norm = nn.LayerNorm(2)
        self.backbone.stages = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
        self.heads = nn.ModuleDict({"a": nn.Linear(2, 3)})


def test_layer_decay_counts_blocks_from_the_heads_down() -> None:
    model = _Net()
    scales = layer_scales(model, 0.5)
    assert scales["heads.a.weight"] == 1.0
    assert scales["backbone.stages.0.1.weight"] == 0.5
    assert scales["backbone.stages.0.0.bias"] == 0.25
    assert scales["backbone.spatial.norm.weight"] == scales["backbone.spatial.blocks.1.weight"] == 0.125
    assert scales["backbone.spatial.blocks.0.weight"] == 0.5**4
    assert scales["backbone.stem.weight"] == 0.5**5
    optimizer = build_optimizer(model, OptimConfig(learning_rate=1.0, layer_decay=0.5, weight_decay=0.1))
    set_learning_rate(optimizer, 0.8)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: rates[id(p)] for name, p in model.named_parameters()} == {n: 0.8 * s for n, s in scales.items()}


def test_what_does_not_move_is_not_the_optimizers() -> None:
    model = _Net()
    model.backbone.requires_grad_(False)
    (group, rest) = build_optimizer(model, OptimConfig(learning_rate=1.0, weight_decay=0.1)).param_groups
    assert [id(p) for p in (*group["params"], *rest["params"])] == [id(p) for p in model.heads.parameters()]


def test_the_average_of_the_weights_by_hand() -> None:
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, 0.9)
    model.weight.data.fill_(3.0)
    average.update(model, steps=1)  # keeps (1 + 1) / (10 + 1) of the first weight, 1
    assert average.tensors["weight"].item() == pytest.approx(1 * 2 / 11 + 3 * 9 / 11)
    before = average.tensors["weight"].item()
    model.weight.data.fill_(5.0)
    model.num_batches_tracked.fill_(7)
    average.update(model, steps=1000)  # the decay proper
    assert average.tensors["weight"].item() == pytest.approx(0.9 * before + 0.1 * 5)
    assert average.tensors["num_batches_tracked"].item() == 7
    with average.applied(model):
        assert model.weight.item() == average.tensors["weight"].item() != 5.0
    assert model.weight.item() == 5.0
