"""ViViT: the Factorised Encoder, and the joint space-time transformer that public PyTorch weights are made for.

Paper: Arnab et al., "ViViT: A Video Vision Transformer" (ICCV 2021), models 1 and 2; model 2 is paper A's backbone
(3.1). Public code: Scenic, ``projects/vivit`` (Apache-2.0). As there: pre-LN blocks, tanh-approximated GELU, LayerNorm
eps 1e-6, one learned position per patch and one per time step, a final LayerNorm in each encoder (``encoder.py``).

Departure: the public model pools every frame to a class token, which leaves nothing to ROI-align. Paper A ROI-aligns
the encoded tokens z^L *and* classifies on their average; both hold if the temporal encoder runs once per spatial
location (``aggregation="per_place"``, the default), without a class token. The other readings are switches.

Shape letters: B clips, T frames, H x W pixels, t x h x w token grid (T/tubelet, H/patch, W/patch), P = h*w places,
D width, R rows of N tokens that attend to each other.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tubelet.models.encoder import Activation, Encoder
from tubelet.types import Aggregation, InputError

Pooling = Literal["mean", "class_token", "normalised_mean"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ViViTConfig:
    """Everything that decides the parameters of a :class:`ViViT`. An image ViT is one of 1 frame, ``spatial_only``."""

    size: int
    """Side of the square canvas in pixels that the position embeddings are made for; other sizes are interpolated."""
    num_frames: int
    """Frames of a clip that the position embeddings are made for; other lengths are interpolated."""
    dim: int
    """Width D of a token."""
    spatial_layers: int
    """All layers when ``aggregation`` is ``joint``."""
    temporal_layers: int
    """Ignored (none are built) when ``aggregation`` is ``spatial_only`` or ``joint``."""
    num_heads: int
    patch: int = 16
    """Side of a tubelet in pixels."""
    tubelet: int = 2
    """Length of a tubelet in frames."""
    mlp_ratio: float = 4.0
    stochastic_depth: float = 0.0
    """Drop-path rate of the last block of each encoder, in [0, 1); paper A trains with 0.2 (A.1)."""
    aggregation: Aggregation = "per_place"
    """``per_place``: attention over time at every place. ``spatial_only``: no attention over time.
    ``broadcast_temporal``: attention over time of each frame's mean token, added back to all its places.
    ``frame_token``: attention over time of each frame's class token, as released; no grid is left for boxes.
    ``joint``: attention among all tokens of a clip (ViViT's model 1)."""
    pooling: Pooling = "mean"
    """What a clip is classified on: the mean of its tokens; a class token that attends with the others (of ``joint``
    and ``spatial_only``); or the mean, normalised after instead of before averaging, as VideoMAE's fine-tuned weights
    want it (the same two)."""
    activation: Activation = "gelu_tanh"
    norm_eps: float = 1e-6
    """Of LayerNorm; VideoMAE and Hugging Face's ViT have 1e-12."""
    family: Literal["vivit"] = "vivit"
    """Tells the config from other backbones' in a file."""

    def __post_init__(self) -> None:
        for name in ("size", "num_frames", "dim", "spatial_layers", "num_heads", "patch", "tubelet"):
            if getattr(self, name) < 1:
                raise InputError(f"ViViTConfig.{name} is {getattr(self, name)}, expected at least 1")
        for whole, part in (("size", "patch"), ("num_frames", "tubelet"), ("dim", "num_heads")):
            value, unit = getattr(self, whole), getattr(self, part)
            if value % unit:
                raise InputError(f"ViViTConfig.{whole} is {value}, expected a multiple of {part} {unit}")
        if self.temporal_layers < 0:
            raise InputError(f"ViViTConfig.temporal_layers is {self.temporal_layers}, expected at least 0")
        if not 0 <= self.stochastic_depth < 1:
            raise InputError(f"ViViTConfig.stochastic_depth is {self.stochastic_depth}, expected 0 <= rate < 1")
        for name, known in (("aggregation", Aggregation), ("pooling", Pooling), ("activation", Activation)):
            if getattr(self, name) not in get_args(known):
                raise InputError(f"ViViTConfig.{name} is {getattr(self, name)!r}, expected one of {get_args(known)}")
        if self.pooling != "mean" and self.aggregation not in ("joint", "spatial_only"):
            raise InputError(
                f"ViViTConfig.pooling is {self.pooling!r} with aggregation {self.aggregation!r}, expected 'mean'"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ViViTSize:
    """Width and depth of a named size."""

    dim: int
    num_heads: int
    spatial_layers: int
    temporal_layers: int


VIVIT_SIZES: dict[str, ViViTSize] = {
    # Our own, for CPUs: minutes of training on two cores.
    "nano": ViViTSize(dim=96, num_heads=3, spatial_layers=3, temporal_layers=1),
    "micro": ViViTSize(dim=128, num_heads=4, spatial_layers=4, temporal_layers=2),
    "mini": ViViTSize(dim=192, num_heads=3, spatial_layers=6, temporal_layers=2),
    # ViT's widths with ViViT's 4 temporal layers; base and large are the released ones.
    "tiny": ViViTSize(dim=192, num_heads=3, spatial_layers=12, temporal_layers=4),
    "small": ViViTSize(dim=384, num_heads=6, spatial_layers=12, temporal_layers=4),
    "base": ViViTSize(dim=768, num_heads=12, spatial_layers=12, temporal_layers=4),
    "large": ViViTSize(dim=1024, num_heads=16, spatial_layers=24, temporal_layers=4),
    "huge": ViViTSize(dim=1280, num_heads=16, spatial_layers=32, temporal_layers=4),
}


def vivit_config(
    name: str,
    *,
    size: int,
    num_frames: int,
    patch: int = 16,
    tubelet: int = 2,
    stochastic_depth: float = 0.0,
    aggregation: Aggregation = "per_place",
) -> ViViTConfig:
    """Return the config of a named size; an unknown name raises an ``InputError`` listing the known ones."""
    if name not in VIVIT_SIZES:
        raise InputError(f"unknown ViViT size {name!r}, expected one of {', '.join(VIVIT_SIZES)}")
    chosen = VIVIT_SIZES[name]
    return ViViTConfig(
        size=size,
        num_frames=num_frames,
        patch=patch,
        tubelet=tubelet,
        dim=chosen.dim,
        spatial_layers=chosen.spatial_layers,
        temporal_layers=chosen.temporal_layers,
        num_heads=chosen.num_heads,
        stochastic_depth=stochastic_depth,
        aggregation=aggregation,
    )


class TubeletEmbedding(nn.Module):
    """Cut a video into tubelets and project each to a token.

    A convolution whose stride is its kernel is one matrix product: ``weight`` is the (D, 3, tubelet, patch, patch)
    kernel of the equivalent ``Conv3d``, flattened, which runs faster than the convolution on every device.
    """

    def __init__(self, dim: int, tubelet: int, patch: int) -> None:
        super().__init__()
        self.tubelet, self.patch = tubelet, patch
        self.projection = nn.Linear(3 * tubelet * patch * patch, dim)

    def forward(self, video: Tensor) -> Tensor:
        """Map (B, 3, T, H, W) to (B, t, h, w, D)."""
        p = self.patch
        if video.ndim != 5 or video.shape[1] != 3:
            raise ValueError(f"video has shape {tuple(video.shape)}, expected (B, 3, T, H, W)")
        b, _, frames, height, width = video.shape
        if frames % self.tubelet or height % p or width % p or 0 in (frames, height, width):
            raise InputError(
                f"video has shape {tuple(video.shape)}, expected T a multiple of {self.tubelet}, H and W of {p}"
            )
        t, h, w = frames // self.tubelet, height // p, width // p
        cut = video.reshape(b, 3, t, self.tubelet, h, p, w, p).permute(0, 2, 4, 6, 1, 3, 5, 7)
        result: Tensor = self.projection(cut.reshape(b, t, h, w, self.projection.in_features))
        return result


class ViViT(nn.Module):
    """Video to a grid of tokens: a spatial encoder per time step, then a temporal encoder (paper A, 3.1).

    With ``aggregation="joint"`` the first encoder sees all time steps at once, and there is no second. Class tokens
    hold their position, which other layouts keep apart: the sum of both is all that reaches the encoder.
    """

    def __init__(self, config: ViViTConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.stride = config.patch
        dim, grid, steps = config.dim, config.size // config.patch, config.num_frames // config.tubelet
        self.embedding = TubeletEmbedding(dim, config.tubelet, config.patch)
        if config.aggregation == "joint":
            self.positions = nn.Parameter(torch.zeros(steps, grid, grid, dim))
        else:
            self.space_positions = nn.Parameter(torch.zeros(grid, grid, dim))
        has_class_token = config.aggregation == "frame_token" or config.pooling == "class_token"
        self.class_token = nn.Parameter(torch.zeros(dim)) if has_class_token else None
        self.spatial = self._build_encoder(config.spatial_layers, final_norm=config.pooling != "normalised_mean")
        self.mean_norm = nn.LayerNorm(dim, eps=config.norm_eps) if config.pooling == "normalised_mean" else None
        self.temporal: Encoder | None = None
        if config.aggregation not in ("spatial_only", "joint"):
            self.time_positions = nn.Parameter(torch.zeros(steps, dim))
            self.temporal = self._build_encoder(config.temporal_layers)
        self.drop_rates = self.spatial.drop_rates + (self.temporal.drop_rates if self.temporal is not None else ())
        """Stochastic depth of every residual, in the order they are computed."""
        self.time_class_token = nn.Parameter(torch.zeros(dim)) if config.aggregation == "frame_token" else None
        self.reset_parameters()

    def _build_encoder(self, layers: int, *, final_norm: bool = True) -> Encoder:
        return Encoder(
            layers,
            self.dim,
            self.config.num_heads,
            mlp_ratio=self.config.mlp_ratio,
            stochastic_depth=self.config.stochastic_depth,
            activation=self.config.activation,
            norm_eps=self.config.norm_eps,
            final_norm=final_norm,
        )

    def reset_parameters(self) -> None:
        """Initialise for training from scratch: Glorot-uniform matrices, zero biases, positions as waves.

        The public code draws positions from N(0, 0.02) and relies on pre-trained weights. From scratch on small data
        such positions drown in the patches' content. On a toy (48 px, width 96, 4,800 clips, one seed, chance 0.125)
        telling where a bright square is rose from 0.13 to 0.56 with waves (SGD), which way it moves from 0.88 to 0.98
        (AdamW). The waves are a start; they are learned from there. Class tokens start at zero, as in the public code.
        """
        grid, dim = self.config.size // self.config.patch, self.dim
        rows = position_waves(grid, dim // 2)[:, None].expand(grid, grid, -1)
        columns = position_waves(grid, dim - dim // 2)[None].expand(grid, grid, -1)
        space = torch.cat([rows, columns], dim=2)
        time = position_waves(self.config.num_frames // self.config.tubelet, dim)
        with torch.no_grad():
            if self.config.aggregation == "joint":
                self.positions.copy_(time[:, None, None] + space)
            else:
                self.space_positions.copy_(space)
            if self.temporal is not None:
                self.time_positions.copy_(time)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def grid_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Return t, h and w of the tokens of a clip."""
        return num_frames // self.config.tubelet, height // self.config.patch, width // self.config.patch

    def forward(self, video: Tensor, residual_scales: Tensor | None = None) -> Tensor:
        """Encode a batch of clips.

        Args:
            video: float (B, 3, T, H, W), normalised. T, H and W may differ from the config's (also non-square): the
                position embeddings are then interpolated.
            residual_scales: float (L, B), ``encoder.residual_scales`` of ``drop_rates``; None = nothing is dropped.

        Returns:
            Tokens z^L (B, t, h, w, D); with ``frame_token`` one for the whole clip, (B, 1, 1, 1, D).

        Raises:
            ValueError: The shape is another, or not whole tubelets.
        """
        return self._encode(video, residual_scales)[0]

    def clip_tokens(self, video: Tensor, residual_scales: Tensor | None = None) -> Tensor:
        """Encode a batch of clips into the tokens whose mean they are classified on (``pooling``): (B, t, h, w, D).

        With a class token these are the class tokens, (B, t, 1, 1, D), one for each row of the encoder; with
        ``normalised_mean`` the one normalised mean.
        """
        grid, class_tokens = self._encode(video, residual_scales)
        if class_tokens is not None:
            return class_tokens[:, :, None, None]
        if self.mean_norm is not None:
            normalised: Tensor = self.mean_norm(grid.mean(dim=(1, 2, 3), keepdim=True))
            return normalised
        return grid

    @property
    def is_by_time_step(self) -> bool:
        """Whether ``over_time(spatial_tokens(video))`` is the backbone: only the temporal encoder mixes time steps."""
        return self.config.aggregation in ("per_place", "spatial_only", "broadcast_temporal") and (
            self.class_token is None and self.mean_norm is None
        )

    def spatial_tokens(self, video: Tensor, scales: Tensor | None = None) -> Tensor:
        """Map (B, 3, T, H, W) to tokens (B, t, h, w, D), each of its own time step only (``is_by_time_step``)."""
        grid: Tensor = self.embedding(video)
        b, t, h, w, d = grid.shape
        tokens = (grid + resize_space_positions(self.space_positions, h, w)).view(b, t, h * w, d)
        result: Tensor = self.spatial(tokens, scales).view(b, t, h, w, d)
        return result

    def over_time(self, grid: Tensor, scales: Tensor | None = None) -> Tensor:
        """Map ``spatial_tokens`` (B, t, h, w, D) of whole clips to the tokens that have seen all time steps."""
        if self.temporal is None:
            return grid
        b, t, h, w, d = grid.shape
        positions = resize_time_positions(self.time_positions, t)
        tokens = grid.reshape(b, t, h * w, d)
        if self.config.aggregation == "per_place":
            tokens = tokens.transpose(1, 2) + positions  # (B, P, t, D): rows are places
            tokens = self.temporal(tokens, scales).transpose(1, 2)
        else:
            frames = tokens.mean(dim=2)[:, None] + positions
            tokens = tokens + self.temporal(frames, scales).transpose(1, 2)
        mixed: Tensor = tokens.reshape(b, t, h, w, d)
        return mixed

    def _encode(self, video: Tensor, scales: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the grid, and the class tokens (B, R, D) that it leaves beside it, R rows of the encoder."""
        num_spatial = len(self.spatial.drop_rates)
        spatial, temporal = (None, None) if scales is None else (scales[:num_spatial], scales[num_spatial:])
        if self.is_by_time_step:
            return self.over_time(self.spatial_tokens(video, spatial), temporal), None
        grid: Tensor = self.embedding(video)
        b, t, h, w, d = grid.shape
        if self.config.aggregation == "joint":
            positions = resize_time_positions(resize_space_positions(self.positions, h, w), t)
            tokens = (grid + positions).view(b, 1, t * h * w, d)
        else:
            tokens = (grid + resize_space_positions(self.space_positions, h, w)).view(b, t, h * w, d)
        class_tokens = None
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.to(tokens.dtype).expand(b, tokens.shape[1], 1, d), tokens], dim=2)
        tokens = self.spatial(tokens, spatial)  # rows are time steps, attention within a frame; or one row, the clip
        if self.class_token is not None:
            class_tokens, tokens = tokens[:, :, 0], tokens[:, :, 1:]
        if self.temporal is None:
            return tokens.reshape(b, t, h, w, d), class_tokens
        # What is left is "frame_token".
        assert class_tokens is not None
        assert self.time_class_token is not None
        frames = (class_tokens + resize_time_positions(self.time_positions, t))[:, None]  # (B, 1, t, D): a row per clip
        first = self.time_class_token.to(frames.dtype).expand(b, 1, 1, d)
        return self.temporal(torch.cat([first, frames], dim=2), temporal)[:, :, :1, None], None


def position_waves(length: int, dim: int) -> Tensor:
    """Return (length, dim) sines and cosines of the position, amplitude 0.5, wavelengths from 2 pi to 40 pi steps."""
    half = (dim + 1) // 2
    frequencies = torch.exp(-math.log(20.0) * torch.arange(half) / half)
    angles = torch.arange(length)[:, None] * frequencies
    waves: Tensor = 0.5 * torch.cat([angles.sin(), angles.cos()], dim=1)[:, :dim]
    return waves


def resize_space_positions(positions: Tensor, h: int, w: int) -> Tensor:
    """Return (..., h, w, D) positions: the learned (..., h0, w0, D), bicubically resized when the sizes differ."""
    *before, h0, w0, d = positions.shape
    if (h0, w0) == (h, w):
        return positions
    images = positions.reshape(-1, h0, w0, d).permute(0, 3, 1, 2).float()
    resized = F.interpolate(images, size=(h, w), mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).reshape(*before, h, w, d).to(positions.dtype)


def resize_time_positions(positions: Tensor, t: int) -> Tensor:
    """Return (t, ..., D) positions: the learned (t0, ..., D) sequence, linearly resized when the lengths differ."""
    if positions.shape[0] == t:
        return positions
    series = positions.flatten(1).T[None].float()
    resized = F.interpolate(series, size=t, mode="linear", align_corners=False)
    return resized[0].T.reshape(t, *positions.shape[1:]).to(positions.dtype)


def fit_positions(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a ViViT's weights for another frame size or clip length, of tubelets of the same size.

    Positions are resized as a forward pass would; all other weights are as they came.

    Args:
        tensors: By names that end as this backbone's do.
        wanted: The state dict that they are for.
    """
    fitted = dict(tensors)
    for name, given in tensors.items():
        kind, fits = name.rpartition(".")[2], wanted.get(name)
        if fits is None or fits.shape == given.shape or fits.ndim != given.ndim or fits.shape[-1] != given.shape[-1]:
            continue
        if kind in ("positions", "time_positions"):
            fitted[name] = resize_time_positions(given, fits.shape[0])
        if kind in ("positions", "space_positions"):
            fitted[name] = resize_space_positions(fitted[name], *fits.shape[-3:-1])
    return fitted
