"""ROI-Align in plain torch: two interpolation matrices per box.

Reference definition: He et al., "Mask R-CNN" (ICCV 2017), with the half-pixel correction known as ``aligned=True``
(Detectron2; also ONNX RoiAlign with ``coordinate_transformation_mode=half_pixel``). The bilinear weight of a sample
(y, x) on a pixel (k, l) is hat(y - k) * hat(x - l), and whether a sample counts is also decided per axis. So a bin's
average over its samples factorises into a (bins, H) and a (bins, W) matrix. No loop over boxes, differentiable in the
features and in the boxes, and it needs no compiled operator. Exported to ONNX it is that standard's operator.

Shape letters: M feature maps, R boxes, C channels, H x W pixels of a map, O bins per side.
"""

from typing import Any

import torch
from torch import Tensor


def interpolation_matrix(start: Tensor, length: Tensor, *, num_bins: int, num_samples: int, size: int) -> Tensor:
    """Return the weights (R, num_bins, size) with which each pixel along an axis contributes to each bin.

    Args:
        start: (R,), where the box begins along the axis, in pixels of the map whose centres are the integers.
        length: (R,), its extent.
        num_bins: Bins along the axis.
        num_samples: Samples per bin, evenly spaced; a bin is the mean of its samples.
        size: Pixels along the axis. Samples outside [-1, size] contribute 0, others are clamped into the map.
    """
    count = num_bins * num_samples
    steps = (torch.arange(count, device=start.device, dtype=start.dtype) + 0.5) / count
    where = start[:, None] + length[:, None] * steps  # (R, bins*samples)
    inside = (where >= -1) & (where <= size)
    pixels = torch.arange(size, device=start.device, dtype=start.dtype)
    hat = (1 - (where.clamp(0, size - 1)[:, :, None] - pixels).abs()).clamp(min=0)
    weights = hat * inside[:, :, None]
    # shape, not len: torch.export would take the latter for a constant.
    return weights.view(start.shape[0], num_bins, num_samples, size).mean(dim=2)


def roi_align(
    features: Tensor,
    boxes: Tensor,
    box_map: Tensor,
    *,
    output_size: int = 7,
    spatial_scale: float,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> Tensor:
    """Average each box's region of its feature map into a fixed grid of bins.

    Computed in at least float32 also under autocast: bfloat16 would move samples by up to 1/256 of the map.

    Args:
        features: (M, C, H, W).
        boxes: (R, 4) xyxy, in pixels of the image that the maps are ``spatial_scale`` times as large as.
        box_map: int64 (R,), the feature map of each box.
        output_size: Bins per side.
        spatial_scale: Size of a map / size of the image (1 / patch).
        sampling_ratio: Samples per bin and axis, at least 1.
        aligned: True shifts by half a pixel, so that pixel (0, 0) is centred at 0.5 of the image. False is the old
            behaviour, for weights trained with it; boxes smaller than one pixel of the map are then widened to it.

    Returns:
        (R, C, output_size, output_size); empty when there are no boxes.

    Raises:
        ValueError: A shape or an option is not as above.
    """
    _check(features, boxes, box_map, output_size, sampling_ratio)
    dtype = torch.promote_types(torch.promote_types(features.dtype, boxes.dtype), torch.float32)
    if torch.onnx.is_in_onnx_export():
        args = (features.to(dtype), boxes.to(dtype), box_map)
        return _onnx_roi_align(*args, output_size, spatial_scale, sampling_ratio, aligned).to(features.dtype)
    with torch.autocast(features.device.type, enabled=False):
        corners = boxes.to(dtype) * spatial_scale - (0.5 if aligned else 0.0)
        start, extent = corners[:, :2], corners[:, 2:] - corners[:, :2]
        if not aligned:
            extent = extent.clamp(min=1)
        rows, columns = (
            interpolation_matrix(
                start[:, axis],
                extent[:, axis],
                num_bins=output_size,
                num_samples=sampling_ratio,
                size=features.shape[size_axis],
            )
            for axis, size_axis in ((1, 2), (0, 3))
        )
        # Channels last, as tokens lie in memory: both contractions are products of matrices as they are. index_select's
        # gradient adds whole maps, that of an index adds numbers one by one.
        maps = features.to(dtype).permute(0, 2, 3, 1).index_select(0, box_map)
        count, height, width, channels = maps.shape
        bands = torch.bmm(rows, maps.reshape(count, height, width * channels))
        columns = columns[:, None].expand(count, output_size, output_size, width).flatten(0, 1)
        bins = torch.bmm(columns, bands.reshape(count * output_size, width, channels))
        pooled = bins.reshape(count, output_size, output_size, channels).permute(0, 3, 1, 2)
        return pooled.to(features.dtype)


def _check(features: Tensor, boxes: Tensor, box_map: Tensor, output_size: int, sampling_ratio: int) -> None:
    if features.ndim != 4:
        raise ValueError(f"features has shape {tuple(features.shape)}, expected (M, C, H, W)")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or tuple(box_map.shape) != (boxes.shape[0],):
        raise ValueError(
            f"boxes has shape {tuple(boxes.shape)} and box_map {tuple(box_map.shape)}, expected (R, 4) and (R,)"
        )
    if sampling_ratio < 1 or output_size < 1:
        raise ValueError(f"sampling_ratio is {sampling_ratio}, output_size {output_size}, expected at least 1")


def _onnx_roi_align(
    features: Tensor,
    boxes: Tensor,
    box_map: Tensor,
    output_size: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Return the node that stands for all of it in an exported graph."""
    attributes: dict[str, Any] = {
        "output_height": output_size,
        "output_width": output_size,
        "sampling_ratio": sampling_ratio,
        "spatial_scale": spatial_scale,
        "mode": "avg",
        "coordinate_transformation_mode": "half_pixel" if aligned else "output_half_pixel",
    }
    shape = (boxes.shape[0], features.shape[1], output_size, output_size)
    # Version 16 of the operators is the first with half_pixel.
    return torch.onnx.ops.symbolic(
        "RoiAlign", (features, boxes, box_map), attributes, dtype=features.dtype, shape=shape, version=16
    )
