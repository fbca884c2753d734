"""Box maths on xyxy boxes: pure functions, batched, safe on empty sets."""

import numpy as np
import torch
from torch import Tensor


def normalised_boxes(boxes: np.ndarray, frame_hw: tuple[int, int]) -> np.ndarray:
    """Return boxes (N, 4) in pixels of a frame as shares of it, cut to 0..1."""
    shares: np.ndarray = np.clip(boxes / _sides(frame_hw), 0, 1)
    return shares


def pixel_boxes(boxes_norm: np.ndarray, frame_hw: tuple[int, int]) -> np.ndarray:
    """Return boxes (N, 4), or one (4,), in 0..1 of a frame as pixels of it."""
    pixels: np.ndarray = boxes_norm * _sides(frame_hw)
    return pixels


def _sides(frame_hw: tuple[int, int]) -> np.ndarray:
    height, width = frame_hw
    return np.array([width, height, width, height], dtype=np.float32)


def box_area(boxes: Tensor) -> Tensor:
    """Return the areas (N,) of (N, 4) boxes; inverted boxes count as 0."""
    return (boxes[:, 2] - boxes[:, 0]).clamp(min=0) * (boxes[:, 3] - boxes[:, 1]).clamp(min=0)


def box_iou(boxes_a: Tensor, boxes_b: Tensor) -> Tensor:
    """Return the pairwise IoU (N, M) of (N, 4) and (M, 4) boxes; a box of zero area has IoU 0 with everything."""
    top_left = torch.maximum(boxes_a[:, None, :2], boxes_b[None, :, :2])
    bottom_right = torch.minimum(boxes_a[:, None, 2:], boxes_b[None, :, 2:])
    overlap = (bottom_right - top_left).clamp(min=0).prod(dim=2)
    union = box_area(boxes_a)[:, None] + box_area(boxes_b)[None, :] - overlap
    return torch.where(union > 0, overlap / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)


def clip_boxes(boxes: Tensor, *, height: int, width: int) -> Tensor:
    """Return the boxes cut to the frame, in pixels."""
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limit)


def flip_boxes(boxes: Tensor, *, width: int) -> Tensor:
    """Return the boxes of the horizontally mirrored frame."""
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=1)


def jitter_boxes(boxes: Tensor, *, ratio: float, generator: torch.Generator) -> Tensor:
    """Move each side by at most ``ratio`` of the box's own width or height (paper A, A.1: 0.15).

    Args:
        boxes: (N, 4) xyxy.
        ratio: Largest perturbation as a share of the side's length.
        generator: Source of randomness; the only one used.
    """
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = torch.rand(boxes.shape, generator=generator, dtype=boxes.dtype) * 2 - 1
    return boxes + noise * ratio * size


def nms(boxes: Tensor, scores: Tensor, *, iou_threshold: float) -> Tensor:
    """Return the indices of the boxes kept by greedy non-maximum suppression, best score first.

    Ties keep the earlier box. Plain torch: a person detector leaves a few hundred boxes at most.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    overlap = box_iou(boxes[order], boxes[order]) > iou_threshold
    keep: list[int] = []
    alive = torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if alive[i]:
            keep.append(i)
            alive &= ~overlap[i]
    return order[torch.tensor(keep, dtype=torch.int64)]
