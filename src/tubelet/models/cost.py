"""What a model costs for one clip: weights and multiply-accumulates, counted without memory for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tubelet.models.model import Backbone, BackboneConfig, HeadConfig, VideoModel
from tubelet.models.resnet3d import ResNet3D


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCost:
    """What a part of a backbone costs for one clip."""

    name: str
    """As its weights' names begin; the last one's is a description."""
    num_blocks: int
    output: tuple[int, ...]
    """Shape for one clip, without the batch; empty for weights that are merely added."""
    num_parameters: int
    forward_gmacs: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCost:
    """What a model costs for one clip of its own size."""

    num_parameters: int
    """Backbone only, as published tables count."""
    num_head_parameters: int
    forward_gmacs: float
    """10^9 multiply-accumulates of the backbone for one clip; what video papers call GFLOPs."""
    grid: tuple[int, int, int]
    """Steps, rows and columns of the features of one clip."""
    dim: int
    """Width of a feature."""
    parts: tuple[PartCost, ...]
    """Of the backbone, in the order they are computed, and last what belongs to none."""


def measure_cost(backbone_config: BackboneConfig, heads: Mapping[str, HeadConfig] | None = None) -> ModelCost:
    """Count parameters and the backbone's multiply-accumulates for one clip; allocates and computes nothing."""
    with torch.device("meta"):
        model = VideoModel(backbone_config, heads or {}).eval()
        video = torch.empty(1, 3, backbone_config.num_frames, backbone_config.size, backbone_config.size)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            flops: dict[str, int] = dict.fromkeys(_parts(model.backbone), 0)
            outputs: dict[str, tuple[int, ...]] = {}
            for name, blocks in _parts(model.backbone).items():
                for block in blocks:
                    block.register_forward_pre_hook(partial(_note_flops, flops, name, counter, -1))
                    block.register_forward_hook(partial(_note_flops, flops, name, counter, 1))
                    block.register_forward_hook(partial(_note_output, outputs, name))
            features = model.backbone(video)
    parameters = sum(p.numel() for p in model.backbone.parameters())
    parts = [
        PartCost(
            name=name,
            num_blocks=len(blocks),
            output=outputs[name],
            num_parameters=sum(p.numel() for block in blocks for p in block.parameters()),
            forward_gmacs=flops[name] / 2e9,
        )
        for name, blocks in _parts(model.backbone).items()
    ]
    rest = parameters - sum(part.num_parameters for part in parts)
    if rest:
        parts.append(PartCost(name="positions, norms", num_blocks=0, output=(), num_parameters=rest, forward_gmacs=0.0))
    return ModelCost(
        num_parameters=parameters,
        num_head_parameters=sum(p.numel() for p in model.heads.parameters()),
        forward_gmacs=counter.get_total_flops() / 2e9,
        grid=(features.shape[1], features.shape[2], features.shape[3]),
        dim=features.shape[4],
        parts=tuple(parts),
    )


def _parts(backbone: Backbone) -> dict[str, list[nn.Module]]:
    """Return name to blocks of what stands first and of each stage or encoder, in the order they are computed."""
    if isinstance(backbone, ResNet3D):
        stages = {f"stages.{number}": list(stage.children()) for number, stage in enumerate(backbone.stages)}
        return {"stem": [backbone.stem], **stages}
    encoders = {"spatial": backbone.spatial, "temporal": backbone.temporal}
    blocks = {f"{name}.blocks": list(encoder.blocks) for name, encoder in encoders.items() if encoder is not None}
    return {"embedding": [backbone.embedding], **blocks}


def _note_flops(flops: dict[str, int], name: str, counter: FlopCounterMode, sign: int, *_: Any) -> None:
    flops[name] += sign * counter.get_total_flops()


def _note_output(outputs: dict[str, tuple[int, ...]], name: str, _module: nn.Module, _inputs: Any, out: Tensor) -> None:
    outputs[name] = tuple(out.shape[1:])
