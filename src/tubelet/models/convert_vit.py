"""Rules for published vision transformers: Flax's (Scenic's ViViT, the original ViT), timm's and Hugging Face's.

Sources of the names: Scenic ``projects/vivit/model.py`` and ``projects/baselines/vit.py``, the original
``vision_transformer`` (``.npz``), Hugging Face transformers ``models/{vivit,videomae,vit}`` (all Apache-2.0), timm
``models/vision_transformer.py`` (Apache-2.0). What differs from ours in all of them: a class token and its position are
two tensors (ours is their sum), positions are one list without a grid, and, but for timm, queries, keys and values are
three layers. In Flax kernels are (in, out), and of attention (in, heads, out of a head).

Shape letters: D width, A heads, t x g x g grid of tokens, K classes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tubelet.models.convert_rules import Rule, linear_rules
from tubelet.models.vivit import ViViTConfig

SPATIAL = "backbone.spatial"
_QKV = ("query", "key", "value")


def flat_kernel(weight: Tensor) -> Tensor:
    """Return a convolution's kernel (D, 3, ...) as ``TubeletEmbedding`` has it, the matrix (D, 3 * ...)."""
    return weight.flatten(1)


def flax_kernel(kernel: Tensor) -> Tensor:
    """Return Flax's convolution kernel (..., 3, D) as that matrix: torch has the output first, then the input."""
    return kernel.movedim((-1, -2), (0, 1)).flatten(1)


def transposed(kernel: Tensor) -> Tensor:
    """Return Flax's matrix (in, out) as torch has it."""
    return kernel.T


def joined(*parts: Tensor) -> Tensor:
    """Stack the weights or biases of queries, keys and values into one layer's."""
    return torch.cat(parts)


def class_token(token: Tensor, positions: Tensor) -> Tensor:
    """Return a class token (1, 1, D) with its position, the first of (1, 1 + n, D)."""
    return (token + positions[:, :1]).flatten()


def grid_of(*shape: int, first: int) -> Callable[[Tensor], Tensor]:
    """Return what cuts positions (1, first + n, D) to the grid ``shape``, without the ``first`` ones."""
    return lambda positions: positions[0, first:].reshape(*shape, positions.shape[-1])


def sine_positions(count: int, dim: int) -> Tensor:
    """Return VideoMAE's fixed positions (count, D): interleaved sines and cosines of wavelengths 2 pi to 20000 pi."""
    frequency = 10000.0 ** (-2 * torch.div(torch.arange(dim), 2, rounding_mode="floor") / dim)
    angle = torch.arange(count, dtype=torch.float64)[:, None] * frequency.double()
    return torch.where(torch.arange(dim) % 2 == 0, angle.sin(), angle.cos()).float()


@dataclass(frozen=True, slots=True)
class FlaxNames:
    """What a block's parts are called; Flax numbers them in the order in which the model's code makes them."""

    norm1: str
    attention: str
    norm2: str
    mlp: str


SCENIC = FlaxNames("LayerNorm_0", "MultiHeadDotProductAttention_0", "LayerNorm_1", "MlpBlock_0")
ORIGINAL_VIT = FlaxNames("LayerNorm_0", "MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3")


def _flax_norm(target: str, source: str) -> list[Rule]:
    return [Rule(f"{target}.weight", (f"{source}/scale",)), Rule(f"{target}.bias", (f"{source}/bias",))]


def _flax_dense(target: str, source: str) -> list[Rule]:
    return [Rule(f"{target}.weight", (f"{source}/kernel",), transposed), Rule(f"{target}.bias", (f"{source}/bias",))]


def _flax_encoder(target: str, source: str, *, depth: int, num_heads: int, names: FlaxNames) -> list[Rule]:
    """Return the rules of an encoder; a file with another number of heads is refused, its matrices have our shape."""

    def queries(*kernels: Tensor) -> Tensor:
        for kernel in kernels:
            if kernel.shape[-2] != num_heads:
                raise ValueError(f"{kernel.shape[-2]} attention heads for {num_heads}")
        return torch.cat([kernel.flatten(-2).T if kernel.ndim == 3 else kernel.flatten() for kernel in kernels])

    def outputs(kernel: Tensor) -> Tensor:
        return kernel.flatten(0, 1).T

    rules = _flax_norm(f"{target}.norm", f"{source}/encoder_norm")
    for i in range(depth):
        ours, theirs = f"{target}.blocks.{i}", f"{source}/encoderblock_{i}"
        attention = f"{theirs}/{names.attention}"
        rules += _flax_norm(f"{ours}.norm1", f"{theirs}/{names.norm1}")
        rules += _flax_norm(f"{ours}.norm2", f"{theirs}/{names.norm2}")
        for part, of_flax in (("weight", "kernel"), ("bias", "bias")):
            sources = tuple(f"{attention}/{which}/{of_flax}" for which in _QKV)
            rules.append(Rule(f"{ours}.attention.qkv.{part}", sources, queries))
        rules.append(Rule(f"{ours}.attention.out.weight", (f"{attention}/out/kernel",), outputs))
        rules.append(Rule(f"{ours}.attention.out.bias", (f"{attention}/out/bias",)))
        rules += _flax_dense(f"{ours}.mlp_in", f"{theirs}/{names.mlp}/Dense_0")
        rules += _flax_dense(f"{ours}.mlp_out", f"{theirs}/{names.mlp}/Dense_1")
    return rules


def _flax_embedding() -> list[Rule]:
    return [
        Rule("backbone.embedding.projection.weight", ("embedding/kernel",), flax_kernel),
        Rule("backbone.embedding.projection.bias", ("embedding/bias",)),
    ]


def _place_rules(config: ViViTConfig, token: str, positions: str) -> list[Rule]:
    """Return the rules of class token and positions of one encoder over the whole clip, or over a frame."""
    grid, steps = config.size // config.patch, config.num_frames // config.tubelet
    joint = config.aggregation == "joint"
    name, shape = ("positions", (steps, grid, grid)) if joint else ("space_positions", (grid, grid))
    return [
        Rule("backbone.class_token", (token, positions), class_token),
        Rule(f"backbone.{name}", (positions,), grid_of(*shape, first=1)),
    ]


def scenic_rules(config: ViViTConfig) -> list[Rule]:
    """Return the rules of Scenic's ViViT: the Factorised Encoder (``frame_token``) or the joint transformer."""
    if config.aggregation == "joint":
        encoder = _flax_encoder(
            SPATIAL, "Transformer", depth=config.spatial_layers, num_heads=config.num_heads, names=SCENIC
        )
        return [*_flax_embedding(), *_place_rules(config, "cls", "Transformer/posembed_input/pos_embedding"), *encoder]
    rules = _flax_embedding()
    space, time = "SpatialTransformer", "TemporalTransformer"
    rules += _place_rules(config, f"cls_{space}", f"{space}/posembed_input/pos_embedding")
    positions = f"{time}/posembed_input/pos_embedding"
    steps = config.num_frames // config.tubelet
    rules.append(Rule("backbone.time_class_token", (f"cls_{time}", positions), class_token))
    rules.append(Rule("backbone.time_positions", (positions,), grid_of(steps, first=1)))
    for target, source, depth in (
        (SPATIAL, space, config.spatial_layers),
        ("backbone.temporal", time, config.temporal_layers),
    ):
        rules += _flax_encoder(target, source, depth=depth, num_heads=config.num_heads, names=SCENIC)
    return rules


def original_vit_rules(config: ViViTConfig) -> list[Rule]:
    """Return the rules of the original ViT's ``.npz`` of an image model."""
    encoder = _flax_encoder(
        SPATIAL, "Transformer", depth=config.spatial_layers, num_heads=config.num_heads, names=ORIGINAL_VIT
    )
    return [*_flax_embedding(), *_place_rules(config, "cls", "Transformer/posembed_input/pos_embedding"), *encoder]


def _torch_embedding(source: str) -> list[Rule]:
    return [
        Rule("backbone.embedding.projection.weight", (f"{source}.weight",), flat_kernel),
        Rule("backbone.embedding.projection.bias", (f"{source}.bias",)),
    ]


def timm_rules(config: ViViTConfig) -> list[Rule]:
    """Return the rules of timm's ``VisionTransformer``, which has queries, keys and values in one layer as ours."""
    rules = [*_torch_embedding("patch_embed.proj"), *_place_rules(config, "cls_token", "pos_embed")]
    rules += linear_rules(f"{SPATIAL}.norm", "norm")
    pairs = {"norm1": "norm1", "norm2": "norm2", "attention.qkv": "attn.qkv", "attention.out": "attn.proj"}
    pairs |= {"mlp_in": "mlp.fc1", "mlp_out": "mlp.fc2"}
    for i in range(config.spatial_layers):
        for ours, theirs in pairs.items():
            rules += linear_rules(f"{SPATIAL}.blocks.{i}.{ours}", f"blocks.{i}.{theirs}")
    return rules


# Names that transformers 5 uses in memory, in those of the published files.
_NEW_NAMES = (
    (r"^layers\.(\d+)\.attention\.([qkv])_proj\.", r"encoder.layer.\1.attention.attention.\2_proj."),
    (r"^layers\.(\d+)\.attention\.o_proj\.", r"encoder.layer.\1.attention.output.dense."),
    (r"^layers\.(\d+)\.mlp\.fc1\.", r"encoder.layer.\1.intermediate.dense."),
    (r"^layers\.(\d+)\.mlp\.fc2\.", r"encoder.layer.\1.output.dense."),
    (r"^layers\.", "encoder.layer."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.attention\.attention\.query\.bias$", ".attention.attention.q_bias"),
    (r"\.attention\.attention\.value\.bias$", ".attention.attention.v_bias"),
)


def hugging_face_name(name: str) -> str:
    """Return a tensor's name without the model's, as published before transformers 5; biases of q and v VideoMAE's."""
    name = re.sub(r"^(vit|vivit|videomae)\.", "", name)
    for pattern, replacement in _NEW_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _hugging_face_encoder(depth: int, *, key_bias: bool) -> list[Rule]:
    rules = []
    pairs = {"norm1": "layernorm_before", "norm2": "layernorm_after", "attention.out": "attention.output.dense"}
    pairs |= {"mlp_in": "intermediate.dense", "mlp_out": "output.dense"}
    for i in range(depth):
        ours, theirs = f"{SPATIAL}.blocks.{i}", f"encoder.layer.{i}"
        for target, source in pairs.items():
            rules += linear_rules(f"{ours}.{target}", f"{theirs}.{source}")
        inner = f"{theirs}.attention.attention"
        rules.append(Rule(f"{ours}.attention.qkv.weight", tuple(f"{inner}.{which}.weight" for which in _QKV), joined))
        biases = (f"{inner}.q_bias", f"{inner}.key.bias", f"{inner}.v_bias")
        if key_bias:
            rules.append(Rule(f"{ours}.attention.qkv.bias", biases, joined))
        else:
            rules.append(Rule(f"{ours}.attention.qkv.bias", (biases[0], biases[2]), _without_key_bias))
    return rules


def _without_key_bias(query: Tensor, value: Tensor) -> Tensor:
    """Return the joint bias of a model whose keys have none."""
    return torch.cat([query, torch.zeros_like(query), value])


def hugging_face_rules(config: ViViTConfig) -> list[Rule]:
    """Return the rules of transformers' ViViT (``joint``) or ViT (``spatial_only``)."""
    return [
        *_torch_embedding("embeddings.patch_embeddings.projection"),
        *_place_rules(config, "embeddings.cls_token", "embeddings.position_embeddings"),
        *_hugging_face_encoder(config.spatial_layers, key_bias=True),
        *linear_rules(f"{SPATIAL}.norm", "layernorm"),
    ]


def videomae_rules(config: ViViTConfig) -> list[Rule]:
    """Return the rules of transformers' VideoMAE; fine-tuned ones normalise after averaging (``normalised_mean``)."""
    grid, steps = config.size // config.patch, config.num_frames // config.tubelet
    fixed = sine_positions(steps * grid * grid, config.dim).view(steps, grid, grid, config.dim)
    averaged = config.pooling == "normalised_mean"
    return [
        *_torch_embedding("embeddings.patch_embeddings.projection"),
        Rule("backbone.positions", (), lambda: fixed),
        *_hugging_face_encoder(config.spatial_layers, key_bias=False),
        *(linear_rules("backbone.mean_norm", "fc_norm") if averaged else linear_rules(f"{SPATIAL}.norm", "layernorm")),
    ]
