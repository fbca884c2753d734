"""What a run takes: bytes counted by hand, the time measured where it is cheap and guessed where it is not."""

import pytest
import torch
from torch import nn

from tubelet.models.cost import measure_cost
from tubelet.models.model import BackboneConfig, build_backbone
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.vivit import ViViTConfig
from tubelet.train.estimate import BUDGET_SECONDS, LEAST_SHARE, USED_SHARE, Estimate, activation_bytes, estimate

CPU = torch.device("cpu")
CONFIG = ViViTConfig(size=16, num_frames=4, patch=8, dim=16, spatial_layers=1, temporal_layers=1, num_heads=2)


def taken(clips_at_once: int = 2, *, optimizer: str = "sgd", averaged: bool = False, frozen: bool = False) -> Estimate:
    return estimate(
        CONFIG,
        clips_at_once=clips_at_once,
        optimizer=optimizer,
        averaged=averaged,
        frozen=frozen,
        recompute=False,
        device=CPU,
        precision="float32",
    )


def test_activations_by_hand() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    # The first layer keeps its input, 2 x 4 numbers; ReLU and the last layer share one of 2 x 8. Weights do not count.
    assert activation_bytes(build, (2, 4), CPU, "float32") == 4 * (2 * 4 + 2 * 8)
    assert activation_bytes(build, (20, 4), CPU, "float32") == 10 * activation_bytes(build, (2, 4), CPU, "float32")
    assert activation_bytes(lambda: build().requires_grad_(False), (2, 4), CPU, "float32") == 0


@pytest.mark.parametrize(
    ("config", "tolerance"),
    # Real convolutions share some memory between layouts that is counted twice here.
    [(CONFIG, 0.001), (ResNet3DConfig(depth=18, convolution="3d", size=32, num_frames=4), 0.2)],
)
def test_activations_of_a_network_are_what_autograd_keeps(config: BackboneConfig, tolerance: float) -> None:
    model = build_backbone(config).train()
    kept: dict[int, torch.Tensor] = {}
    weights = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    shape = (2, 3, config.num_frames, config.size, config.size)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(torch.zeros(shape))
    really = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert activation_bytes(lambda: build_backbone(config).train(), shape, CPU, "float32") == pytest.approx(
        really, rel=tolerance
    )


def test_weights_gradients_state_and_average_by_hand() -> None:
    gib = 4 * sum(p.numel() for p in build_backbone(CONFIG).parameters()) / 2**30
    for options, copies in (
        ({}, 3),  # weights, gradient, momentum
        ({"optimizer": "adamw"}, 4),
        ({"optimizer": "adamw", "averaged": True}, 5),
        ({"frozen": True}, 1),
    ):
        assert taken(**options).weights_gib == pytest.approx(copies * gib), options  # type: ignore[arg-type]
    assert taken(frozen=True).activations_gib == 0
    assert taken(4).activations_gib == pytest.approx(2 * taken(2).activations_gib, rel=0.01)


def test_time_is_measured_where_it_is_cheap_and_guessed_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = taken()
    assert measured.how == "measured on 2 clips"
    assert 0 < measured.clip_seconds < 10
    macs = 3e9 * measure_cost(CONFIG).forward_gmacs
    slow = 4 * macs / (LEAST_SHARE * BUDGET_SECONDS)
    monkeypatch.setattr("tubelet.train.estimate.matrix_speed", lambda *_: 1.5 * slow)
    assert taken().how == "measured on 1 clip"
    monkeypatch.setattr("tubelet.train.estimate.matrix_speed", lambda *_: 0.5 * slow)
    guessed = taken()
    assert guessed.how.startswith("guessed: ")
    assert guessed.clip_seconds == pytest.approx(macs / (USED_SHARE * 0.5 * slow))
