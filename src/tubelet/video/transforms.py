"""Clip and boxes onto the model's square canvas, together: letterbox or crop, jitter, flip.

Frames are uint8 (T, 3, H, W) in and (T, 3, S, S) out; boxes float32 (N, 4) xyxy in pixels of the frame in, of the
canvas out. A box keeps its row: what leaves the canvas is named by the returned mask, so targets can follow.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tubelet.boxes import clip_boxes, flip_boxes, jitter_boxes
from tubelet.types import Crops, Fit, InputError
from tubelet.video.convert import FrameSize, resize_rgb

CENTRE = (0.5, 0.5)

MIN_BOX_SIDE = 1.0  # pixels of the canvas; a box thinner than this after clipping holds nothing to pool


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmented:
    """A clip on the canvas with the boxes that are left: what ``augment`` makes; ``augmentations.Augment`` says how."""

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


def to_canvas(
    frames: Tensor,
    boxes: Tensor | None,
    *,
    fit: Fit,
    scale: float = 1.0,
    offset: tuple[float, float] = CENTRE,
    whole: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Scale frames and place them on a zero canvas; the boxes move along.

    Args:
        frames: uint8 (T, 3, H, W).
        boxes: float32 (N, 4) xyxy in pixels of the frame, or None.
        fit: Size of the canvas, and of the frame at scale 1.
        scale: Further factor of the frame's size.
        offset: (y, x) in 0..1: where a smaller frame is placed, or a larger one cropped; 0.5 = centred.
        whole: Make the canvas as large as the scaled frame; a letterbox is whole in any case.

    Returns:
        uint8 (T, 3, S, S), whole (T, 3, h, w), and the boxes moved along, not clipped.
    """
    height, width = frames.shape[-2:]
    place = placement(height, width, fit=fit, scale=scale, offset=offset, whole=whole)
    scaled = resize_rgb(frames, place.height, place.width)
    rows, columns = place.canvas_hw
    canvas = frames.new_zeros((frames.shape[0], 3, rows, columns))
    # The part of the scaled frame inside the canvas; top and left are negative where it is cropped.
    y0, x0 = max(place.top, 0), max(place.left, 0)
    y1, x1 = min(place.top + place.height, rows), min(place.left + place.width, columns)
    canvas[:, :, y0:y1, x0:x1] = scaled[:, :, y0 - place.top : y1 - place.top, x0 - place.left : x1 - place.left]
    if boxes is None:
        return canvas, None
    return canvas, canvas_boxes(boxes, place, frame_hw=(height, width))


def crop_offsets(height: int, width: int, crops: Crops) -> list[tuple[float, float]]:
    """Return (y, x) of each view of a frame: the middle, or three places along the longer side."""
    if crops != "three":
        return [CENTRE]
    return [(place, 0.5) if height > width else (0.5, place) for place in (0.0, 0.5, 1.0)]


def check_crops(fit: Fit, crops: Crops) -> int:
    """Return the number of views that ``crops`` makes of a clip.

    Raises:
        InputError: Three squares of a letterboxed frame are asked for.
    """
    if crops == "three" and fit.is_letterbox:
        raise InputError("crops 'three': letterboxed frames are shown whole; expected centre")
    return 3 if crops == "three" else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where the scaled frame lies on the canvas, whole pixels; top and left are negative where it is cropped."""

    height: int
    width: int
    top: int
    left: int
    canvas_hw: tuple[int, int]


def placement(
    height: int,
    width: int,
    *,
    fit: Fit,
    scale: float = 1.0,
    offset: tuple[float, float] = CENTRE,
    whole: bool = False,
) -> Placement:
    """Return where a frame of ``height`` x ``width`` pixels comes to lie; the one place where this is computed."""
    # The same rounding as the decoder's, so a frame resized there is not resized again.
    new_width, new_height = scaled_size(fit, scale).scaled(width, height)
    if whole and not fit.is_letterbox:
        return Placement(height=new_height, width=new_width, top=0, left=0, canvas_hw=(new_height, new_width))
    top, left = (_start(fit.size, n, o) for n, o in zip((new_height, new_width), offset, strict=True))
    return Placement(height=new_height, width=new_width, top=top, left=left, canvas_hw=(fit.size, fit.size))


def scaled_size(fit: Fit, scale: float = 1.0) -> FrameSize:
    """Return the size that frames are scaled to, before the crop."""
    if fit.exact_hw is not None:
        height, width = (_pixels(side * scale) for side in fit.exact_hw)
        return FrameSize(exact_hw=(height, width))
    if fit.short_side is not None:
        return FrameSize(short_side=_pixels(fit.short_side * scale))
    return FrameSize(long_side=_pixels(fit.size * scale))


def read_size(fit: Fit, max_scale: float = 1.0) -> FrameSize:
    """Return the size to read frames in: as large as any scale up to ``max_scale`` needs, and no larger."""
    most = max(max_scale, 1.0)
    if fit.exact_hw is not None:
        height, width = (math.ceil(side * most) for side in fit.exact_hw)
        return FrameSize(exact_hw=(height, width))
    if fit.short_side is not None:
        return FrameSize(short_side=math.ceil(fit.short_side * most), shrink_only=True)
    return FrameSize(long_side=math.ceil(fit.size * most), shrink_only=True)


def augment(
    frames: Tensor,
    boxes: Tensor | None,
    *,
    fit: Fit,
    scale_range: tuple[float, float],
    box_jitter: float,
    flip: bool,
    generator: torch.Generator,
) -> Augmented:
    """Place on the canvas at random scale and place, jitter the boxes, maybe mirror; deterministic from ``generator``.

    Args:
        frames: uint8 (T, 3, H, W).
        boxes: float32 (N, 4) xyxy in pixels of the frame, or None.
        fit: Size of the canvas, and of the frame at scale 1.
        scale_range: Uniform range of the scale; paper A (A.1): 0.65 to 1.1.
        box_jitter: Largest move of each box side as a share of its length; paper A (A.1): 0.15.
        flip: Mirror half of the clips.
        generator: The only source of randomness. The same numbers are drawn whatever the options.
    """
    low, high = scale_range
    draws = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    scale = low + (high - low) * draws[0]
    canvas, moved = to_canvas(frames, boxes, fit=fit, scale=scale, offset=(draws[1], draws[2]))
    mirrored = flip and draws[3] < 0.5
    if mirrored:
        canvas = canvas.flip(-1)
    if moved is None:
        return Augmented(frames=canvas, boxes=None, keep=None, num_dropped=0, mirrored=mirrored)
    if mirrored:
        moved = flip_boxes(moved, width=fit.size)
    moved = jitter_boxes(moved, ratio=box_jitter, generator=generator)
    moved = clip_boxes(moved, height=fit.size, width=fit.size)
    keep = ((moved[:, 2:] - moved[:, :2]) >= MIN_BOX_SIDE).all(dim=1)
    num_dropped = int((~keep).sum())
    return Augmented(frames=canvas, boxes=moved[keep], keep=keep, num_dropped=num_dropped, mirrored=mirrored)


def canvas_boxes(boxes: Tensor, place: Placement, *, frame_hw: tuple[int, int] = (1, 1)) -> Tensor:
    """Return boxes (N, 4) of a frame that lies at ``place`` in pixels of the canvas.

    Args:
        boxes: (N, 4) xyxy.
        place: Where the frame lies.
        frame_hw: Height and width of the frame as the boxes count: its pixels; (1, 1) of boxes in 0..1.
    """
    height, width = frame_hw
    factor = boxes.new_tensor([place.width / width, place.height / height]).repeat(2)
    return boxes * factor + boxes.new_tensor([place.left, place.top]).repeat(2)


def shown_boxes(boxes: Tensor, canvas_hw: tuple[int, int]) -> tuple[Tensor, int]:
    """Return boxes (N, 4) cut to the canvas, and how many are off it; the nearest pixel of its edge stands for those.

    Scoring drops no box, so that every person of a keyframe has a score.
    """
    height, width = canvas_hw
    inside = clip_boxes(boxes, height=height, width=width)
    off = ((inside[:, 2:] - inside[:, :2]) < MIN_BOX_SIDE).any(dim=1)
    limit = boxes.new_tensor([width, height]) - MIN_BOX_SIDE
    start = torch.minimum(inside[:, :2], limit)
    return torch.cat([start, torch.maximum(inside[:, 2:], start + MIN_BOX_SIDE)], dim=1), int(off.sum())


def _start(have: int, want: int, place: float) -> int:
    """Return where ``want`` pixels begin among ``have``; of more than fit, as ``convert.Crop`` cuts them."""
    return math.floor((have - want) * place + 0.5) if want <= have else -math.floor((want - have) * place + 0.5)


def _pixels(side: float) -> int:
    return max(1, math.floor(side + 0.5))
