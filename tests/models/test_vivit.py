"""ViViT: shapes, who attends to whom, drop-path, positions, published sizes."""

import pytest
import torch
from torch import nn

from tubelet.models.cost import measure_cost
from tubelet.models.encoder import attend, drop_path, residual_scales
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


def torchs_encoder(encoder: nn.Module, heads: int, final_norm: bool) -> nn.Module:
    """The same weights in torch's own pre-LN transformer, which has the exact GELU."""
    dim, depth = encoder.blocks[0].norm1.normalized_shape[0], len(encoder.blocks)
    layer = nn.TransformerEncoderLayer(
        dim, heads, 4 * dim, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    )
    norm = nn.LayerNorm(dim, eps=1e-6) if final_norm else None
    theirs = nn.TransformerEncoder(layer, depth, norm, enable_nested_tensor=False)
    names = {"attention.qkv": "self_attn.in_proj", "attention.out": "self_attn.out_proj", "mlp_in": "linear1"}
    names |= {"mlp_out": "linear2", "blocks": "layers"}
    tensors = {}
    for name, tensor in encoder.state_dict().items():
        for ours, other in names.items():
            name = name.replace(ours, other)
        tensors[name.replace("in_proj.", "in_proj_")] = tensor
    theirs.load_state_dict(tensors)
    return theirs.double().train()  # evaluation takes a fused path of its own


def randomised(model: ViViT) -> ViViT:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


def test_released_factorised_encoder_by_torchs_transformer() -> None:
    """Class token of every frame through time with a second class token, whose output is the clip's (ViViT, 3.3)."""
    model = randomised(ViViT(small(aggregation="frame_token", activation="gelu")))
    video = torch.randn(2, 3, 8, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        tokens = (model.embedding(video) + model.space_positions).flatten(2, 3).flatten(0, 1)
        tokens = torch.cat([model.class_token.expand(8, 1, 24), tokens], dim=1)
        frames = torchs_encoder(model.spatial, 2, True)(tokens)[:, 0].unflatten(0, (2, 4)) + model.time_positions
        frames = torch.cat([model.time_class_token.expand(2, 1, 24), frames], dim=1)
        expected = torchs_encoder(model.temporal, 2, True)(frames)[:, 0]
        torch.testing.assert_close(model(video)[:, 0, 0, 0], expected)
        torch.testing.assert_close(model.clip_tokens(video), model(video))


@pytest.mark.parametrize("pooling", ["mean", "class_token", "normalised_mean"])
def test_joint_attention_by_torchs_transformer(pooling: str) -> None:
    """ViViT's model 1: one transformer over all tokens of the clip, positions for each of them."""
    model = randomised(ViViT(small(aggregation="joint", pooling=pooling, activation="gelu")))
    video = torch.randn(2, 3, 8, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        tokens = (model.embedding(video) + model.positions).flatten(1, 3)
        if pooling == "class_token":
            tokens = torch.cat([model.class_token.expand(2, 1, 24), tokens], dim=1)
        tokens = torchs_encoder(model.spatial, 2, pooling != "normalised_mean")(tokens)
        clip = tokens.mean(dim=1)
        if pooling == "class_token":
            clip, tokens = tokens[:, 0], tokens[:, 1:]
        if pooling == "normalised_mean":
            clip = nn.functional.layer_norm(clip, (24,), model.mean_norm.weight, model.mean_norm.bias, eps=1e-6)
        torch.testing.assert_close(model(video), tokens.unflatten(1, (4, 4, 4)))
        torch.testing.assert_close(model.clip_tokens(video).mean(dim=(1, 2, 3)), clip)


def test_an_image_vit_is_a_vivit_of_one_frame() -> None:
    config = small(num_frames=1, tubelet=1, aggregation="spatial_only", pooling="class_token", activation="gelu")
    model = randomised(ViViT(config))
    image = torch.randn(2, 3, 1, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        tokens = torch.cat(
            [model.class_token.expand(2, 1, 24), (model.embedding(image)[:, 0] + model.space_positions).flatten(1, 2)],
            dim=1,
        )
        expected = torchs_encoder(model.spatial, 2, True)(tokens)
        torch.testing.assert_close(model.clip_tokens(image)[:, 0, 0, 0], expected[:, 0])
        torch.testing.assert_close(model(image)[:, 0].flatten(1, 2), expected[:, 1:])


def test_gelu_is_flaxs_unless_told_otherwise() -> None:
    x = torch.linspace(-4, 4, 9)
    outputs = []
    for activation in ("gelu_tanh", "gelu"):
        block = ViViT(small(activation=activation)).spatial.blocks[0]
        assert block.approximate == {"gelu_tanh": "tanh", "gelu": "none"}[activation]
        nn.init.zeros_(block.attention.out.weight)
        nn.init.eye_(block.mlp_in.weight)
        nn.init.eye_(block.mlp_out.weight)
        nn.init.zeros_(block.norm2.weight)
        with torch.no_grad():
            block.norm2.bias[:9] = x
            outputs.append(block(torch.zeros(1, 1, 1, 24))[0, 0, 0, :9])
    tanh = 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    torch.testing.assert_close(outputs[0], tanh)
    torch.testing.assert_close(outputs[1], 0.5 * x * (1 + torch.erf(x / 2**0.5)))
    assert not torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize("aggregation", ["per_place", "spatial_only", "broadcast_temporal", "frame_token", "joint"])
def test_every_reading_takes_other_lengths_and_sizes(aggregation: str) -> None:
    model = ViViT(small(aggregation=aggregation)).eval()
    grid = (1, 1, 1) if aggregation == "frame_token" else (6, 6, 3)
    assert model(torch.randn(1, 3, 12, 48, 24)).shape == (1, *grid, 24)
    config = ViViTConfig(size=224, num_frames=32, dim=4, spatial_layers=1, temporal_layers=1, num_heads=1)
    with torch.device("meta"):
        large = ViViT(config)
        for side in (224, 288, 320, 512):  # paper A, Table 8
            assert large(torch.empty(1, 3, 32, side, side)).shape == (1, 16, side // 16, side // 16, 4)


@pytest.mark.parametrize("value", [0.0, -1e4, 1e4, "noise"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("aggregation", ["per_place", "joint"])
def test_half_precision_stays_finite(value: float | str, dtype: torch.dtype, aggregation: str) -> None:
    torch.manual_seed(0)
    model = ViViT(small(aggregation=aggregation)).eval()
    video = 1e4 * torch.randn(1, 3, 8, 32, 32) if value == "noise" else torch.full((1, 3, 8, 32, 32), value)
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
        assert model(video).isfinite().all()


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
    # Leading dimensions are kept: each time step of a joint model's positions is resized by itself.
    steps = torch.stack([ramp, 2 * ramp])
    assert torch.equal(resize_space_positions(steps, 8, 4), torch.stack([wider, 2 * wider]))
    assert resize_time_positions(steps, 4)[1, 2, 0, 0].item() == pytest.approx(2 * 1.25)
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
        ({"pooling": "max"}, "pooling is 'max'"),
        ({"pooling": "class_token"}, "with aggregation 'per_place', expected 'mean'"),
        ({"activation": "relu"}, "activation is 'relu'"),
    ],
)
def test_wrong_configs_are_named(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**change)


def test_residuals_are_dropped_per_clip_and_unbiased() -> None:
    scales = residual_scales(range(4000), [0.0, 0.25, 0.5])
    assert scales.shape == (3, 4000)
    for row, rate in zip(scales, [0.0, 0.25, 0.5], strict=True):
        assert set(row.tolist()) == ({1.0} if rate == 0 else {0.0, torch.tensor(1 / (1 - rate)).item()})
        assert row.mean().item() == pytest.approx(1.0, abs=0.05)
    # Both residuals of a block and neighbouring layers are independent draws: kept together 0.75 * 0.5 of the time.
    assert ((scales[1] > 0) & (scales[2] > 0)).float().mean().item() == pytest.approx(0.375, abs=0.03)
    residual = torch.ones(4000, 3, 2, 5)
    per_clip = drop_path(residual, scales[1]).flatten(1)
    assert torch.equal(per_clip, scales[1][:, None].expand(-1, 30))  # a clip is kept or dropped as a whole
    assert drop_path(residual, None) is residual


def test_a_clips_depth_follows_from_its_seed_alone() -> None:
    torch.manual_seed(1)
    one = residual_scales([5, 6, 7], [0.3] * 6)
    torch.manual_seed(2)
    assert torch.equal(residual_scales([7, 5], [0.3] * 6), one[:, [2, 0]])
    assert torch.equal(residual_scales([5], [0.3] * 4), one[:4, :1])  # a deeper network keeps what a shallow one drew
    assert residual_scales([], [0.3] * 6).shape == (6, 0)


def test_drop_rates_rise_linearly_and_dropped_residuals_are_skipped() -> None:
    model = ViViT(small(spatial_layers=3, temporal_layers=2, stochastic_depth=0.4)).train()
    assert [block.drop_rate for block in model.spatial.blocks] == pytest.approx([0.0, 0.2, 0.4])
    assert [block.drop_rate for block in model.temporal.blocks] == pytest.approx([0.0, 0.4])
    assert model.drop_rates == pytest.approx((0.0, 0.0, 0.2, 0.2, 0.4, 0.4, 0.0, 0.0, 0.4, 0.4))
    video = torch.randn(2, 3, 8, 32, 32)
    scales = torch.ones(10, 2)
    torch.testing.assert_close(model(video, scales), model(video))
    scales[2:6, 1] = scales[8:, 1] = 0.0  # of the second clip, everything that may be dropped
    dropped = model(video, scales)
    torch.testing.assert_close(dropped[0], model(video)[0])
    shallow = ViViT(small(spatial_layers=1, temporal_layers=1)).train()
    ours = {name: t for name, t in model.state_dict().items() if name in shallow.state_dict()}
    shallow.load_state_dict(ours)
    torch.testing.assert_close(dropped[1], shallow(video)[1])


@pytest.mark.parametrize("aggregation", ["per_place", "joint", "broadcast_temporal", "frame_token", "spatial_only"])
def test_every_aggregation_takes_its_own_rates(aggregation: str) -> None:
    model = ViViT(small(aggregation=aggregation, stochastic_depth=0.5)).train()
    video = torch.randn(2, 3, 8, 32, 32)
    kept = torch.ones(len(model.drop_rates), 2)
    torch.testing.assert_close(model.clip_tokens(video, kept), model.clip_tokens(video))
    kept[-2:] = 0
    assert not torch.allclose(model.clip_tokens(video, kept), model.clip_tokens(video))


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
    spatial = {key for key in block | norms if key.startswith("spatial")}
    joint = ViViT(small(spatial_layers=1, aggregation="joint", pooling="class_token"))
    embedding = {"embedding.projection.weight", "embedding.projection.bias"}
    assert set(joint.state_dict()) == spatial | embedding | {"positions", "class_token"}
    videomae = ViViT(small(spatial_layers=1, aggregation="joint", pooling="normalised_mean"))
    moved = {f"mean_norm.{kind}" for kind in ("weight", "bias")}
    assert set(videomae.state_dict()) == (spatial - norms) | embedding | {"positions"} | moved
    released = ViViT(small(spatial_layers=1, temporal_layers=1, aggregation="frame_token"))
    assert set(released.state_dict()) == keys | {"class_token", "time_class_token"}
