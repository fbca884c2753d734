"""ViViT: shapes, who attends to whom, drop-path, positions, published sizes."""

import pytest
import torch
from torch import nn

from tubelet.models.encoder import attend, drop_path
from tubelet.models.model import measure_cost
from tubelet.models.vivit import (
    VIVIT_SIZES,
    TubeletEmbedding,
    ViViT,
    ViViTConfig,
    resize_space_positions,
    resize_time_positions,
    vivit_config,
)
from tubelet.types import InputError


def small(**changes) -> ViViTConfig:
    values = {
        "size": 32,
        "num_frames": 8,
        "patch": 8,
        "tubelet": 2,
        "dim": 24,
        "spatial_layers": 2,
        "temporal_layers": 2,
        "num_heads": 2,
    }
    return ViViTConfig(**(values | changes))


def influence(model: ViViT, t: int, y: int, x: int) -> torch.Tensor:
    """Which output tokens (t, h, w) change when the input under one token changes."""
    model.eval()
    torch.manual_seed(0)
    video = torch.randn(1, 3, 8, 32, 32)
    changed = video.clone()
    changed[:, :, 2 * t : 2 * t + 2, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += 1
    with torch.no_grad():
        return (model(video) - model(changed)).abs().amax(dim=-1)[0] > 1e-6


def test_tokens_stay_per_place() -> None:
    model = ViViT(small())
    assert model(torch.randn(2, 3, 8, 32, 32)).shape == (2, 4, 4, 4, 24)
    assert influence(model, 1, 2, 3).all()  # space, then time: everything reaches everything


def test_without_temporal_attention_time_steps_do_not_meet() -> None:
    touched = influence(ViViT(small(aggregation="spatial_only")), 1, 2, 3)
    assert touched[1].all()
    assert not touched[[0, 2, 3]].any()


def test_per_place_attention_over_time_stays_at_its_place() -> None:
    model = ViViT(small())
    for block in model.spatial.blocks:  # cut the spatial attention: only time mixes
        nn.init.zeros_(block.attention.out.weight)
    touched = influence(model, 1, 2, 3)
    assert touched[:, 2, 3].all()
    assert touched.sum() == 4


def test_broadcast_temporal_sends_a_frames_mean_everywhere() -> None:
    model = ViViT(small(aggregation="broadcast_temporal"))
    for block in model.spatial.blocks:
        nn.init.zeros_(block.attention.out.weight)
    assert influence(model, 1, 2, 3).all()


def test_embedding_is_the_strided_convolution() -> None:
    torch.manual_seed(0)
    embedding = TubeletEmbedding(dim=10, tubelet=2, patch=4)
    video = torch.randn(2, 3, 6, 8, 12)
    kernel = embedding.projection.weight.view(10, 3, 2, 4, 4)
    expected = nn.functional.conv3d(video, kernel, embedding.projection.bias, stride=(2, 4, 4))
    torch.testing.assert_close(embedding(video), expected.permute(0, 2, 3, 4, 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens", [4, 300])
def test_attention_paths_agree_with_torch(tokens: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 3, tokens, 8)
    expected = nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(attend(query, key, value), expected, rtol=1e-5, atol=1e-6)


def test_other_lengths_and_sizes_interpolate_positions() -> None:
    model = ViViT(small()).eval()
    assert model(torch.randn(1, 3, 12, 48, 24)).shape == (1, 6, 6, 3, 24)
    ramp = torch.arange(4.0)[:, None, None].expand(4, 4, 1)
    wider = resize_space_positions(ramp, 8, 4)
    # Half-pixel sampling puts row 3 of 8 at 3.5 / 2 - 0.5 = 1.25; the cubic kernel (a = -0.75) at offsets 1.25, 0.25,
    # 0.75, 1.75 is (-0.10547, 0.87891, 0.26172, -0.03516), so the ramp 0, 1, 2, 3 gives 1.29688.
    assert wider[3, 0, 0].item() == pytest.approx(1.29688, abs=1e-4)
    longer = resize_time_positions(torch.tensor([[0.0], [1.0]]), 4)
    torch.testing.assert_close(longer[:, 0], torch.tensor([0.0, 0.25, 0.75, 1.0]))
    assert resize_time_positions(longer, 4) is longer


@pytest.mark.parametrize(
    "shape", [(1, 1, 8, 32, 32), (3, 8, 32, 32), (1, 3, 7, 32, 32), (1, 3, 8, 36, 32), (1, 3, 0, 32, 32)]
)
def test_wrong_shapes_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"video has shape .*, expected"):
        ViViT(small())(torch.zeros(shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 30}, "multiple of patch 8"),
        ({"num_frames": 9}, "multiple of tubelet 2"),
        ({"dim": 25}, "multiple of num_heads 2"),
        ({"stochastic_depth": 1.0}, "stochastic_depth is 1.0"),
        ({"aggregation": "divided"}, "aggregation is 'divided'"),
        ({"spatial_layers": 0}, "spatial_layers is 0"),
    ],
)
def test_wrong_configs_are_named(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**change)


def test_drop_path_is_per_clip_and_unbiased() -> None:
    torch.manual_seed(0)
    residual = torch.ones(4000, 3, 2, 5)
    dropped = drop_path(residual, rate=0.25, training=True)
    per_clip = dropped.flatten(1)
    assert torch.equal(per_clip.amin(1), per_clip.amax(1))  # a clip is kept or dropped as a whole
    assert sorted(set(per_clip[:, 0].tolist())) == pytest.approx([0.0, 4 / 3])
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)
    assert drop_path(residual, rate=0.25, training=False) is residual


def test_drop_path_rates_rise_linearly_and_repeat_with_the_seed() -> None:
    model = ViViT(small(spatial_layers=3, temporal_layers=2, stochastic_depth=0.4)).train()
    assert [block.drop_rate for block in model.spatial.blocks] == pytest.approx([0.0, 0.2, 0.4])
    assert [block.drop_rate for block in model.temporal.blocks] == pytest.approx([0.0, 0.4])
    video = torch.randn(4, 3, 8, 32, 32)
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(model(video))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])


def test_published_parameter_counts() -> None:
    # ViViT-B/16x2 FE has 115.1 M with class tokens and 400 classes: 114.75 + 0.31 (head) + class tokens and positions.
    cost = measure_cost(vivit_config("base", size=224, num_frames=32))
    assert cost.num_parameters / 1e6 == pytest.approx(114.75, abs=0.01)
    large = measure_cost(vivit_config("large", size=224, num_frames=32))
    assert large.num_parameters / 1e6 == pytest.approx(354.7, abs=0.5)
    with pytest.raises(InputError, match="unknown ViViT size 'enormous', expected one of nano, micro"):
        vivit_config("enormous", size=224, num_frames=32)
    assert list(VIVIT_SIZES)[-4:] == ["small", "base", "large", "huge"]


def test_gmacs_by_formula() -> None:
    config = vivit_config("tiny", size=64, num_frames=8)
    d, t, p = 192, 4, 16
    embedding = t * p * 3 * 2 * 16 * 16 * d
    layer = t * p * 12 * d * d  # qkv 3, out 1, MLP 8
    spatial_attention = t * 2 * p * p * d
    temporal_attention = p * 2 * t * t * d
    expected = embedding + 12 * (layer + spatial_attention) + 4 * (layer + temporal_attention)
    assert measure_cost(config).forward_gmacs == pytest.approx(expected / 1e9, rel=1e-6)


def test_state_dict_keys_are_stable() -> None:
    keys = set(ViViT(small(spatial_layers=1, temporal_layers=1)).state_dict())
    block = {
        f"{encoder}.blocks.0.{layer}.{kind}"
        for encoder in ("spatial", "temporal")
        for layer in ("norm1", "attention.qkv", "attention.out", "norm2", "mlp_in", "mlp_out")
        for kind in ("weight", "bias")
    }
    rest = {"embedding.projection.weight", "embedding.projection.bias", "space_positions", "time_positions"}
    norms = {f"{encoder}.norm.{kind}" for encoder in ("spatial", "temporal") for kind in ("weight", "bias")}
    assert keys == block | rest | norms
