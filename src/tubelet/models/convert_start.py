"""Converted weights as the start of another network: an image network's of a video network, a released ViViT's of ours.

What fits is taken or inflated, the rest begins from scratch, and both what is left out and what begins is listed.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from tubelet.models.convert import Converted
from tubelet.models.inflate import Inflated, image_config, inflate
from tubelet.models.model import BackboneConfig, build_backbone
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.saved import HEADS
from tubelet.models.vivit import ViViTConfig
from tubelet.types import Aggregation, InputError, Preprocess

BACKBONE = "backbone."


def video_config(
    image: BackboneConfig,
    *,
    num_frames: int,
    size: int | None = None,
    tubelet: int = 2,
    aggregation: Aggregation = "per_place",
    temporal_layers: int = 4,
) -> BackboneConfig:
    """Return the video network that an image network's weights start: R3D for R2D, a ViViT for a ViT.

    Args:
        image: Of the image network; width, depth, activation and epsilon stay.
        num_frames: Of a clip.
        size: Side of the canvas in pixels; default: the image's.
        tubelet: Frames of a tubelet; of a ViViT.
        aggregation: Of a ViViT.
        temporal_layers: Of a ViViT's second encoder, if the aggregation has one.

    Raises:
        InputError: ``image`` is a video network already.
    """
    if image.num_frames != 1:
        raise InputError(
            "num_frames: these are the weights of a video network; image weights are inflated to any number"
        )
    side = image.size if size is None else size
    if isinstance(image, ResNet3DConfig):
        return replace(image, convolution="3d", num_frames=num_frames, size=side)
    has_second = aggregation not in ("spatial_only", "joint")
    return replace(
        image,
        num_frames=num_frames,
        size=side,
        tubelet=tubelet,
        aggregation=aggregation,
        pooling="mean" if has_second else "class_token",
        temporal_layers=temporal_layers if has_second else 0,
    )


def video_input(image: Preprocess, video: BackboneConfig, *, frame_stride: int) -> Preprocess:
    """Return how a video becomes input of an inflated network: letterboxed, with the image's mean and deviation.

    Args:
        image: Of the image network.
        video: What ``video_config`` returned.
        frame_stride: From one frame to the next, at 25 a second.
    """
    return replace(
        image,
        size=video.size,
        num_frames=video.num_frames,
        frame_stride=frame_stride,
        exact_hw=None,
        short_side=None,
    )


def start_video(converted: Converted, video: BackboneConfig) -> Converted:
    """Return a video network's tensors for an image network's.

    Kernels are inflated as the papers do it: averaged over time in R3D, on the central frame of a tubelet. A class
    token that the video network has no use for is left out; what the image has nothing for, a temporal encoder, begins
    as in training from scratch (seed 0). Both are listed in the result.

    Args:
        converted: Of the image network; it has no heads.
        video: What ``video_config`` returns.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tensors = build_backbone(video).state_dict()
    inflated, left_out = inflate_image(converted.tensors, video)
    tensors |= inflated.tensors
    return Converted(
        tensors={BACKBONE + name: tensor for name, tensor in tensors.items()},
        num_classes=converted.num_classes,
        left_out=[*converted.left_out, *left_out],
        initialised=[BACKBONE + name for name in inflated.untouched],
    )


def inflate_image(tensors: Mapping[str, Tensor], video: BackboneConfig) -> tuple[Inflated, list[str]]:
    """Return what an image network gives a video network, and the names of what it has in vain: a class token.

    Args:
        tensors: Of the image network, by :class:`VideoModel`'s names; heads are passed over.
        video: The network to start.

    Raises:
        InputError: The image network is not the one of this video network.
    """
    image = {n.removeprefix(BACKBONE): tensor for n, tensor in tensors.items() if n.startswith(BACKBONE)}
    left_out = []
    with torch.device("meta"):
        if "class_token" not in build_backbone(image_config(video)).state_dict() and "class_token" in image:
            del image["class_token"]
            left_out.append("class_token")
    return inflate(image, video, how="average" if isinstance(video, ResNet3DConfig) else "centre"), left_out


def keep_grid(converted: Converted, released: BackboneConfig) -> tuple[Converted, BackboneConfig]:
    """Return a released Factorised Encoder as one that keeps a token at every place, so that boxes can be scored.

    Every weight fits but the two class tokens, which stood for a frame and for the clip. They are left out, and so are
    the heads, which were trained on the second one.

    Raises:
        InputError: The network is another.
    """
    if not isinstance(released, ViViTConfig) or released.aggregation != "frame_token":
        raise InputError("only a released Factorised Encoder (aggregation frame_token) has a grid to be kept")
    gone = [
        name
        for name in converted.tensors
        if name.startswith(HEADS) or name in (f"{BACKBONE}class_token", f"{BACKBONE}time_class_token")
    ]
    kept = {name: tensor for name, tensor in converted.tensors.items() if name not in gone}
    start = replace(converted, tensors=kept, num_classes=(), left_out=[*converted.left_out, *gone])
    return start, replace(released, aggregation="per_place")
