"""A backbone with one head per task (paper A, Fig. 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from torch import Tensor, nn

from tubelet.models.encoder import Encoder, residual_scales
from tubelet.models.heads import ROI_SIZE, ActionHead, ClassificationHead
from tubelet.models.resnet3d import ResNet3D, ResNet3DConfig
from tubelet.models.vivit import ViViT, ViViTConfig
from tubelet.records import family_from_json
from tubelet.types import InputError

HeadKind = Literal["classify", "localise"]
Backbone = ViViT | ResNet3D
BackboneConfig = ViViTConfig | ResNet3DConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """What a task's head predicts: one score row per clip (``classify``) or per person box (``localise``)."""

    kind: HeadKind
    num_classes: int
    roi_size: int = ROI_SIZE
    """Cells that a person box is pooled into on each side; of ``localise`` only."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(HeadKind):
            raise InputError(f"HeadConfig.kind is {self.kind!r}, expected one of {get_args(HeadKind)}")
        if self.num_classes < 1:
            raise InputError(f"HeadConfig.num_classes is {self.num_classes}, expected at least 1")
        if self.roi_size < 1:
            raise InputError(f"HeadConfig.roi_size is {self.roi_size}, expected at least 1")


class VideoModel(nn.Module):
    """One backbone shared by all tasks, one linear head each.

    State-dict keys: ``backbone.*`` and ``heads.<task>.linear.*``.
    """

    def __init__(self, backbone_config: BackboneConfig, heads: Mapping[str, HeadConfig]) -> None:
        super().__init__()
        for task in heads:
            if not task or "." in task:
                raise InputError(f"task name {task!r} cannot name a head: expected at least one character and no '.'")
        localises = any(config.kind == "localise" for config in heads.values())
        if localises and isinstance(backbone_config, ViViTConfig) and backbone_config.aggregation == "frame_token":
            raise InputError("aggregation 'frame_token' pools frames to single tokens, which leaves no grid for boxes")
        self.head_configs = dict(heads)
        self.backbone = build_backbone(backbone_config)
        self.heads = nn.ModuleDict({task: _build_head(self.backbone.dim, config) for task, config in heads.items()})
        self.backbone_is_frozen = False

    def freeze_backbone(self) -> None:
        """Let the heads alone learn (paper B, 4: fc-only): the backbone gets no gradient and stays in evaluation mode.

        So its batch normalisation uses the stored statistics and leaves them as they are, and no residual is dropped.
        """
        self.backbone.requires_grad_(False)
        self.backbone_is_frozen = True
        self.train(self.training)

    def recompute_activations(self, *, recompute: bool = True) -> None:
        """Keep only each block's input for the backward pass and compute the block again there (``recompute.py``).

        The same gradients to the last bit from a fraction of the memory, for 1.3 times the time (``docs/log.md``).
        """
        for module in self.backbone.modules():
            if isinstance(module, Encoder | ResNet3D):
                module.recompute = recompute

    def train(self, mode: bool = True) -> Self:
        """Set training mode, of the heads only where the backbone is frozen."""
        super().train(mode)
        if self.backbone_is_frozen:
            self.backbone.eval()
        return self

    def residual_scales(self, seeds: Sequence[int]) -> Tensor | None:
        """Return what ``forward`` takes under this name for samples with these seeds: (L, B) on the model's device.

        None where nothing is dropped: the backbone has no stochastic depth, or is not in training mode.
        """
        if not self.backbone.training or not any(self.backbone.drop_rates):
            return None
        scales = residual_scales(seeds, self.backbone.drop_rates)
        return scales.to(next(self.parameters()).device, non_blocking=True)

    def forward(
        self,
        video: Tensor,
        task: str,
        boxes: Tensor | None = None,
        box_clip: Tensor | None = None,
        residual_scales: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of one task, float32.

        Args:
            video: float (B, 3, T, H, W), normalised.
            task: Name of a head.
            boxes: float (N, 4) xyxy in pixels of the canvas; for ``localise`` only.
            box_clip: int64 (N,) in [0, B), the clip of each box; for ``localise`` only.
            residual_scales: Stochastic depth, from the method of this name; None = every residual is kept.

        Returns:
            (B, K) for ``classify``, (N, K) for ``localise``.

        Raises:
            ValueError: An unknown task, or inputs that do not fit it, with expected and actual shapes.
        """
        if task not in self.head_configs:
            raise ValueError(f"unknown task {task!r}, this model has {sorted(self.head_configs)}")
        if residual_scales is None and self.backbone.training and any(self.backbone.drop_rates):
            raise ValueError("a model in training mode with stochastic depth takes residual_scales, found None")
        dropped = () if residual_scales is None else (residual_scales,)
        kind = self.head_configs[task].kind
        if kind == "classify":
            if boxes is not None or box_clip is not None:
                raise ValueError(f"task {task!r} classifies whole clips, expected no boxes")
            logits: Tensor = self.heads[task](self.backbone.clip_tokens(video, *dropped))
            return logits
        if boxes is None or box_clip is None:
            raise ValueError(f"task {task!r} localises, expected boxes (N, 4) and box_clip (N,)")
        if boxes.ndim != 2 or boxes.shape[1] != 4 or tuple(box_clip.shape) != (boxes.shape[0],):
            raise ValueError(
                f"task {task!r}: boxes has shape {tuple(boxes.shape)}, box_clip {tuple(box_clip.shape)}, "
                "expected (N, 4) and (N,)"
            )
        logits = self.heads[task](self.backbone(video, *dropped), boxes, box_clip, self.backbone.stride)
        return logits

    def forward_dense(self, video: Tensor, task: str) -> Tensor:
        """Return the logits of every window of frames larger, or of clips longer, than the model's own (paper B, 4.4).

        Args:
            video: float (B, 3, T, H, W), normalised.
            task: Name of a ``classify`` head.

        Returns:
            (B, t', h', w', K), float32; the mean of their probabilities over the windows is the clip's.

        Raises:
            InputError: The backbone classifies on something else than the mean of its grid.
            ValueError: No such task, or it localises.
        """
        head = self.heads[task] if task in self.head_configs else None
        if not isinstance(head, ClassificationHead):
            raise ValueError(f"unknown task {task!r}, expected one that classifies")
        config = self.backbone.config
        if isinstance(config, ViViTConfig) and (config.pooling != "mean" or config.aggregation == "frame_token"):
            raise InputError(
                "only the mean of a grid can be taken over windows of it; this model classifies on a token"
            )
        window = self.backbone.grid_shape(config.num_frames, config.size, config.size)
        return head.dense(self.backbone(video), window)


def build_backbone(config: BackboneConfig) -> Backbone:
    """Return the backbone of a config, with the random weights that training from scratch begins with.

    Every backbone maps video (B, 3, T, H, W) to a grid of features (B, t, h, w, D), which ``clip_tokens`` reduces to
    those that a clip is classified on. It has its width D as ``dim``, the pixels per cell of the grid as ``stride`` and
    the rate of stochastic depth of each of its residuals as ``drop_rates``; with any, both take ``residual_scales``.
    """
    return ViViT(config) if isinstance(config, ViViTConfig) else ResNet3D(config)


def read_backbone_config(data: Any, *, where: str) -> BackboneConfig:
    """Return the config that ``meta.json`` holds as plain JSON; ``where`` names the file in messages."""
    return family_from_json(get_args(BackboneConfig), data, where=where)  # type: ignore[no-any-return]  # of a union's parts


def _build_head(dim: int, config: HeadConfig) -> nn.Module:
    if config.kind == "classify":
        return ClassificationHead(dim, config.num_classes)
    return ActionHead(dim, config.num_classes, config.roi_size)
