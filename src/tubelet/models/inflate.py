"""Image networks as the start of video networks.

Papers: Carreira and Zisserman, "Quo Vadis, Action Recognition?" (CVPR 2017): a 2D filter repeated over time and divided
by its length gives a still video the features of its image; paper B inflates R2D to R3D so (4.3.2). ViViT (3.4): a
tubelet embedding starts as the image's patch embedding on its central frame and zero on the others, which leaves an
image's features to a clip's central frames. Public code: Scenic, ``projects/vivit/model_utils.py`` (Apache-2.0), which
takes frame length // 2.

Shape letters: O and I planes of a kernel, L its frames, D width, t x h x w token grid.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from tubelet.models.model import BackboneConfig, build_backbone
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.vivit import ViViTConfig, resize_space_positions
from tubelet.types import InputError

Inflation = Literal["average", "centre"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Inflated:
    """What an image network gives a video network."""

    tensors: dict[str, Tensor]
    """By the names of the video backbone's own state dict."""
    untouched: tuple[str, ...]
    """Names in it that the image has nothing for: a temporal encoder, positions in time."""


def inflate_kernel(kernel: Tensor, length: int, *, how: Inflation) -> Tensor:
    """Return a kernel over ``length`` frames.

    Args:
        kernel: (O, I, ...), or (O, I, 1, ...) with the frames in the third place already.
        length: L, at least 1.
        how: ``average`` repeats it and divides by L: a still video gives what its image gave. ``centre`` puts it on
            frame L // 2 and zero on the others: each frame gives what it gave alone.

    Returns:
        (O, I, L, ...).
    """
    frame = kernel if kernel.ndim == 5 else kernel.unsqueeze(2)
    if frame.ndim != 5 or frame.shape[2] != 1:
        raise ValueError(f"kernel has shape {tuple(kernel.shape)}, expected (O, I, y, x) or (O, I, 1, y, x)")
    if how == "average":
        return frame.repeat(1, 1, length, 1, 1) / length
    inflated = torch.zeros(*frame.shape[:2], length, *frame.shape[3:], dtype=frame.dtype, device=frame.device)
    inflated[:, :, length // 2 : length // 2 + 1] = frame
    return inflated


def image_config(video: BackboneConfig) -> BackboneConfig:
    """Return the config of the image network that ``inflate`` takes for a video backbone.

    R2D of the same depth for R3D; for a ViViT the image ViT of its spatial encoder, with a class token where the ViViT
    has one (drop the class token of an image ViT whose ViViT has none).

    Raises:
        InputError: The backbone is R(2+1)D, whose mid-planes no image network has (paper B, footnote 8).
    """
    if isinstance(video, ResNet3DConfig):
        if video.convolution == "2plus1d":
            raise InputError("an image network cannot be inflated to R(2+1)D, whose mid-planes it lacks; use R3D")
        return replace(video, convolution="2d", num_frames=1)
    has_class_token = video.aggregation == "frame_token" or video.pooling == "class_token"
    pooling = "class_token" if has_class_token else video.pooling
    return replace(video, num_frames=1, tubelet=1, temporal_layers=0, aggregation="spatial_only", pooling=pooling)


def inflate(image: Mapping[str, Tensor], video: BackboneConfig, *, how: Inflation) -> Inflated:
    """Turn an image network's tensors into those of a video backbone.

    Args:
        image: State dict of the backbone ``image_config(video)``; the frame size may be another for a ViT, whose
            positions are then resized. A joint space-time ViViT gets the image's positions at every time step.
        video: The backbone to start.
        how: Of the kernels; the papers' are ``average`` for R3D and ``centre`` for tubelets.

    Returns:
        The tensors to load, and the names of those that stay as they were initialised.

    Raises:
        InputError: A tensor is missing, left over, or of a shape that does not fit; the message names all.
    """
    with torch.device("meta"):
        source = build_backbone(image_config(video)).state_dict()
        target = build_backbone(video).state_dict()
    missing, extra = sorted(source.keys() - image.keys()), sorted(image.keys() - source.keys())
    if missing or extra:
        raise InputError(f"not the image network of this video network: missing {missing}, unexpected {extra}")
    tensors = {
        renamed: _inflate_tensor(name, tensor, target[renamed], video, how=how)
        for name, tensor in image.items()
        if (renamed := _video_name(name, video)) in target
    }
    wrong = [
        f"{name} {tuple(tensor.shape)} for {tuple(target[name].shape)}"
        for name, tensor in tensors.items()
        if tensor.shape != target[name].shape
    ]
    if wrong:
        raise InputError(f"not the image network of this video network: shapes {wrong}")
    return Inflated(tensors=tensors, untouched=tuple(name for name in target if name not in tensors))


def _video_name(name: str, video: BackboneConfig) -> str:
    joint = isinstance(video, ViViTConfig) and video.aggregation == "joint"
    return "positions" if joint and name == "space_positions" else name


def _inflate_tensor(name: str, tensor: Tensor, wanted: Tensor, video: BackboneConfig, *, how: Inflation) -> Tensor:
    """Return a tensor of the image network as the video network wants it."""
    if isinstance(video, ResNet3DConfig):
        longer = wanted.ndim == 5 and tensor.ndim == 5 and wanted.shape[2] != tensor.shape[2]
        return inflate_kernel(tensor, wanted.shape[2], how=how) if longer else tensor
    if name == "space_positions":
        grid = resize_space_positions(tensor, *wanted.shape[-3:-1])
        return grid.expand(wanted.shape) if wanted.ndim == 4 else grid
    if name == "embedding.projection.weight":
        kernel = tensor.view(len(tensor), 3, 1, video.patch, -1)
        return inflate_kernel(kernel, video.tubelet, how=how).flatten(1)
    return tensor
