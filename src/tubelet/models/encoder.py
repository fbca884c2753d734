"""A pre-LN transformer encoder over rows of tokens, as ViT has it, with stochastic depth.

Paper: Dosovitskiy et al., "An Image is Worth 16x16 Words" (ICLR 2021). Public code: Scenic, ``projects/vivit``
(Apache-2.0): GELU, a final LayerNorm, drop-path growing linearly from 0 to its rate, drawn per clip and separately for
both residuals of a block. What is dropped comes in as an input (``residual_scales``), never from a generator of torch:
a clip loses the same residuals whichever process it is trained in, and whatever else is in its batch.

Shape letters: B clips, R independent rows of N tokens that attend to each other, D width, A attention heads.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tubelet.models.recompute import run_block

Activation = Literal["gelu_tanh", "gelu"]
"""Flax's gelu is the tanh approximation by default, so Scenic's weights were trained with it; others with the exact."""
PLAIN_ATTENTION_TOKENS = 256
STREAM = 0x2545F4914F6CDD1D
"""Changes a sample's seed, so that its depth does not follow from its place, time and colours."""


def residual_scales(seeds: Sequence[int], rates: Sequence[float]) -> Tensor:
    """Draw which residuals of which clips are dropped (stochastic depth).

    Args:
        seeds: Of the B samples, functions of (run seed, step, slot) (``data.mixture.sample_seed``).
        rates: Of the L residuals in the order they are computed: the probability of being dropped, in [0, 1).

    Returns:
        float32 (L, B) on the CPU, what each residual of each clip is multiplied by: 0, or 1 / (1 - rate).
    """
    limits = torch.tensor(rates, dtype=torch.float64)
    generators = [torch.Generator().manual_seed(seed ^ STREAM) for seed in seeds]
    draws = [torch.rand(len(rates), generator=generator, dtype=torch.float64) for generator in generators]
    kept = [(draw >= limits) / (1 - limits) for draw in draws]
    return torch.stack(kept, dim=1).float() if kept else torch.empty(len(rates), 0)


def drop_path(residual: Tensor, scale: Tensor | None) -> Tensor:
    """Multiply the residual (B, ...) of each clip by its number of ``scale`` (B,); None leaves it as it is."""
    if scale is None:
        return residual
    return residual * scale.to(residual.dtype).view(-1, *([1] * (residual.ndim - 1)))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(Q K^T / sqrt(d)) V for (rows, A, N, d) inputs.

    On a CPU the fused kernel loses to plain matrix products for the few tokens that attend to each other here: forward
    and backward among 36 tokens took 27 ms fused and 2.1 ms plain in bfloat16 (4.7 and 3.8 ms in float32), among 196
    tokens 105 and 36 ms. Above ``PLAIN_ATTENTION_TOKENS`` the N x N matrices cost too much memory.
    """
    if query.device.type != "cpu" or query.shape[-2] > PLAIN_ATTENTION_TOKENS:
        return F.scaled_dot_product_attention(query, key, value)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    mixed: Tensor = scores.softmax(dim=-1) @ value
    return mixed


class Attention(nn.Module):
    """Multi-head self-attention among the N tokens of each row."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, R, N, D) to (B, R, N, D)."""
        b, r, n, d = tokens.shape
        qkv = self.qkv(tokens).view(b * r, n, 3, self.num_heads, d // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B*R, A, N, D/A)
        mixed = attend(query, key, value)
        result: Tensor = self.out(mixed.transpose(1, 2).reshape(b, r, n, d))
        return result


class EncoderBlock(nn.Module):
    """Pre-LN transformer block: attention and MLP, each with a residual that drop-path may skip."""

    def __init__(
        self, dim: int, num_heads: int, *, mlp_ratio: float, drop_rate: float, activation: Activation, norm_eps: float
    ) -> None:
        super().__init__()
        self.drop_rate = drop_rate
        self.approximate: Literal["tanh", "none"] = "tanh" if activation == "gelu_tanh" else "none"
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attention = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp_in = nn.Linear(dim, int(dim * mlp_ratio))
        self.mlp_out = nn.Linear(int(dim * mlp_ratio), dim)

    def forward(self, tokens: Tensor, scales: Tensor | None = None) -> Tensor:
        """Map (B, R, N, D) to (B, R, N, D); ``scales`` (2, B) are those of its two residuals."""
        first, second = (None, None) if scales is None or self.drop_rate == 0.0 else (scales[0], scales[1])
        residual = self.attention(self.norm1(tokens))
        tokens = tokens + drop_path(residual, first)
        residual = self.mlp_out(F.gelu(self.mlp_in(self.norm2(tokens)), approximate=self.approximate))
        return tokens + drop_path(residual, second)


class Encoder(nn.Module):
    """Blocks and a final LayerNorm; drop-path rates rise linearly from 0 at the first block."""

    def __init__(
        self,
        depth: int,
        dim: int,
        num_heads: int,
        *,
        mlp_ratio: float,
        stochastic_depth: float,
        activation: Activation,
        norm_eps: float,
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        drop_rates = [stochastic_depth * i / max(depth - 1, 1) for i in range(depth)]
        self.blocks = nn.ModuleList(
            EncoderBlock(
                dim,
                num_heads,
                mlp_ratio=mlp_ratio,
                drop_rate=rate,
                activation=activation,
                norm_eps=norm_eps,
            )
            for rate in drop_rates
        )
        self.norm = nn.LayerNorm(dim, eps=norm_eps) if final_norm else nn.Identity()
        self.drop_rates = tuple(rate for rate in drop_rates for _ in range(2))
        """Of every residual, two for each block."""
        self.recompute = False
        """``VideoModel.recompute_activations``."""

    def forward(self, tokens: Tensor, scales: Tensor | None = None) -> Tensor:
        """Map (B, R, N, D) to (B, R, N, D); only tokens of one row attend to each other.

        Args:
            tokens: R rows of N tokens for each clip.
            scales: ``residual_scales`` of ``drop_rates`` (2 * depth, B); None = every residual is kept.
        """
        for number, block in enumerate(self.blocks):
            own_scales = None if scales is None else scales[2 * number : 2 * number + 2]
            tokens = run_block(block, tokens, own_scales, recompute=self.recompute)
        result: Tensor = self.norm(tokens)
        return result
