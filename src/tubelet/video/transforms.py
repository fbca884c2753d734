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
from tubelet.video.convert import Crop, FrameSize

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


def scale_and_crop(frames: Tensor, boxes: Tensor | None, *, size: FrameSize) -> tuple[Tensor, Tensor | None]:
    """Scale and crop frames that are in memory as the reader does in the decoder, and move the boxes along.

    Args:
        frames: uint8 (T, 3, H, W).
        boxes: float32 (N, 4) xyxy in pixels of the frame, or None.
        size: Short edge, long edge or exact size, and the crop; paper B (section 4): exactly 128x171, 112x112 of it.

    Returns:
        uint8 (T, 3, h, w) and the boxes moved along, not clipped.
    """
    height, width = frames.shape[-2:]
    new_width, new_height = size.scaled(width, height)
    scaled = _resize(frames, new_height, new_width)
    top = left = 0
    if size.crop is not None:
        top, left = size.crop.place(new_height, new_width)
        scaled = scaled[..., top : top + size.crop.height, left : left + size.crop.width]
    if boxes is None:
        return scaled, None
    factor = boxes.new_tensor([new_width / width, new_height / height]).repeat(2)
    return scaled, boxes * factor - boxes.new_tensor([left, top]).repeat(2)


def crop_views(height: int, width: int, *, size: int, num_crops: int) -> list[Crop]:
    """Return the square crops of one temporal view: the centre, or three along the longer side.

    Args:
        height: Of the scaled frame.
        width: Of the scaled frame.
        size: Side of the crop in pixels.
        num_crops: 1 or 3; the whole frame is ``letterbox``'s.
    """
    if num_crops not in (1, 3):
        raise ValueError(f"num_crops must be 1 (the centre) or 3, got {num_crops}")
    places = (0.5,) if num_crops == 1 else (0.0, 0.5, 1.0)
    return [Crop(size, size, y=place, x=0.5) if height > width else Crop(size, size, x=place) for place in places]


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
