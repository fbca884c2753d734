"""Clip and boxes onto the model's square canvas, together: letterbox, scale and box jitter, flip, normalisation.

Frames are uint8 (T, 3, H, W) in and (T, 3, S, S) out; boxes float32 (N, 4) xyxy in pixels of the frame in, of the
canvas out. A box keeps its row: what leaves the canvas is named by the returned mask, so targets can follow.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from tubelet.boxes import clip_boxes, flip_boxes, jitter_boxes
from tubelet.types import Preprocess

MIN_BOX_SIDE = 1.0  # pixels of the canvas; a box thinner than this after clipping holds nothing to pool


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmented:
    """A clip on the canvas with the boxes that are left."""

    frames: Tensor
    """uint8 (T, 3, S, S)."""
    boxes: Tensor | None
    """float32 (M, 4) xyxy, pixels of the canvas."""
    keep: Tensor | None
    """bool (N,), which of the boxes given are left; targets are cut with it."""
    num_dropped: int
    """Boxes that left the canvas or became thinner than a pixel."""
    mirrored: bool
    """Left and right are swapped; labels that depend on direction must follow."""


def letterbox(
    frames: Tensor,
    boxes: Tensor | None,
    *,
    size: int,
    scale: float = 1.0,
    offset: tuple[float, float] = (0.5, 0.5),
) -> tuple[Tensor, Tensor | None]:
    """Scale the longer side to ``scale * size`` and place the frame on a zero canvas (paper A, A.2).

    Args:
        frames: uint8 (T, 3, H, W).
        boxes: float32 (N, 4) xyxy in pixels of the frame, or None.
        size: Side S of the canvas in pixels.
        scale: Above 1 the frame is larger than the canvas and cropped, below 1 it has zeros around.
        offset: (y, x) in 0..1: where a smaller frame is placed, or a larger one cropped; 0.5 = centred.

    Returns:
        uint8 (T, 3, S, S) and the boxes moved along, not clipped.
    """
    height, width = frames.shape[-2:]
    place = placement(height, width, size=size, scale=scale, offset=offset)
    scaled = _resize(frames, place.height, place.width)
    canvas = frames.new_zeros((frames.shape[0], 3, size, size))
    # The part of the scaled frame inside the canvas; top and left are negative where it is cropped.
    y0, x0 = max(place.top, 0), max(place.left, 0)
    y1, x1 = min(place.top + place.height, size), min(place.left + place.width, size)
    canvas[:, :, y0:y1, x0:x1] = scaled[:, :, y0 - place.top : y1 - place.top, x0 - place.left : x1 - place.left]
    if boxes is None:
        return canvas, None
    factor = boxes.new_tensor([place.width / width, place.height / height]).repeat(2)
    return canvas, boxes * factor + boxes.new_tensor([place.left, place.top]).repeat(2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where the scaled frame lies on the canvas, whole pixels; top and left are negative where it is cropped."""

    height: int
    width: int
    top: int
    left: int


def placement(
    height: int, width: int, *, size: int, scale: float = 1.0, offset: tuple[float, float] = (0.5, 0.5)
) -> Placement:
    """Return where a frame of ``height`` x ``width`` pixels comes to lie; the one place where this is computed."""
    long_side = max(1, math.floor(scale * size + 0.5))
    longest = max(height, width)
    # The same rounding as the decoder's, so a frame resized there is not resized again.
    new_height, new_width = (max(1, (2 * side * long_side + longest) // (2 * longest)) for side in (height, width))
    top, left = (math.floor((size - n) * o + 0.5) for n, o in zip((new_height, new_width), offset, strict=True))
    return Placement(height=new_height, width=new_width, top=top, left=left)


def augment(
    frames: Tensor,
    boxes: Tensor | None,
    *,
    size: int,
    scale_range: tuple[float, float],
    box_jitter: float,
    flip: bool,
    generator: torch.Generator,
) -> Augmented:
    """Letterbox with random scale and place, jitter the boxes, maybe mirror; deterministic from ``generator``.

    Args:
        frames: uint8 (T, 3, H, W).
        boxes: float32 (N, 4) xyxy in pixels of the frame, or None.
        size: Side of the canvas in pixels.
        scale_range: Uniform range of the scale; paper A (A.1): 0.65 to 1.1.
        box_jitter: Largest move of each box side as a share of its length; paper A (A.1): 0.15.
        flip: Mirror half of the clips.
        generator: The only source of randomness. The same numbers are drawn whatever the options.
    """
    low, high = scale_range
    draws = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    scale = low + (high - low) * draws[0]
    canvas, moved = letterbox(frames, boxes, size=size, scale=scale, offset=(draws[1], draws[2]))
    mirrored = flip and draws[3] < 0.5
    if mirrored:
        canvas = canvas.flip(-1)
    if moved is None:
        return Augmented(frames=canvas, boxes=None, keep=None, num_dropped=0, mirrored=mirrored)
    if mirrored:
        moved = flip_boxes(moved, width=size)
    moved = jitter_boxes(moved, ratio=box_jitter, generator=generator)
    moved = clip_boxes(moved, height=size, width=size)
    keep = ((moved[:, 2:] - moved[:, :2]) >= MIN_BOX_SIDE).all(dim=1)
    num_dropped = int((~keep).sum())
    return Augmented(frames=canvas, boxes=moved[keep], keep=keep, num_dropped=num_dropped, mirrored=mirrored)


def normalise(video: Tensor, preprocess: Preprocess, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return model input for uint8 clips (B, 3, T, S, S), on the video's device.

    ``(video / 255 - mean) / std``, and where the weights differ from 1, the clip's mean frame times ``still_weight``
    plus the difference from it times ``motion_weight``.
    """
    shift = torch.tensor(preprocess.mean, dtype=torch.float32, device=video.device).view(1, 3, 1, 1, 1)
    spread = torch.tensor(preprocess.std, dtype=torch.float32, device=video.device).view(1, 3, 1, 1, 1)
    scaled = (video.to(torch.float32) / 255 - shift) / spread
    if (preprocess.still_weight, preprocess.motion_weight) != (1.0, 1.0):
        still = scaled.mean(dim=2, keepdim=True)
        scaled = preprocess.still_weight * still + preprocess.motion_weight * (scaled - still)
    return scaled.to(dtype)


def canvas_boxes(boxes_norm: Tensor, frame_hw: tuple[int, int], size: int) -> Tensor:
    """Return boxes in pixels of the un-augmented canvas for boxes (N, 4) in 0..1 of a frame of ``frame_hw`` pixels."""
    place = placement(*frame_hw, size=size)
    factor = boxes_norm.new_tensor([place.width, place.height]).repeat(2)
    return boxes_norm * factor + boxes_norm.new_tensor([place.left, place.top]).repeat(2)


def frame_boxes(boxes: Tensor, frame_hw: tuple[int, int], size: int) -> Tensor:
    """Return boxes in 0..1 of the frame for boxes in pixels of the un-augmented canvas; undoes ``canvas_boxes``."""
    place = placement(*frame_hw, size=size)
    factor = boxes.new_tensor([place.width, place.height]).repeat(2)
    return (boxes - boxes.new_tensor([place.left, place.top]).repeat(2)) / factor


def _resize(frames: Tensor, height: int, width: int) -> Tensor:
    if frames.shape[-2:] == (height, width):
        return frames
    return interpolate(frames, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
