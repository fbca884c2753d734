"""roi_align.py against the published definition written as slow loops, hand-computed boxes, gradients."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tubelet.models.roi_align import roi_align

GOLDEN = Path(__file__).parents[1] / "golden" / "roi_align.npz"


def slow_bilinear(image: Tensor, y: float, x: float) -> Tensor:
    """The reference's sampling rule, one sample, with its border cases in its order."""
    height, width = image.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return image.new_zeros(image.shape[0])
    y, x = max(y, 0.0), max(x, 0.0)
    y_low, x_low = int(y), int(x)
    if y_low >= height - 1:
        y_low = y_high = height - 1
        y = float(y_low)
    else:
        y_high = y_low + 1
    if x_low >= width - 1:
        x_low = x_high = width - 1
        x = float(x_low)
    else:
        x_high = x_low + 1
    dy, dx = y - y_low, x - x_low
    top = image[:, y_low, x_low] * (1 - dx) + image[:, y_low, x_high] * dx
    bottom = image[:, y_high, x_low] * (1 - dx) + image[:, y_high, x_high] * dx
    return top * (1 - dy) + bottom * dy


def slow_roi_align(features, boxes, box_map, output_size, spatial_scale, sampling_ratio, aligned) -> Tensor:
    out = features.new_zeros(len(boxes), features.shape[1], output_size, output_size)
    shift = 0.5 if aligned else 0.0
    for r, box in enumerate(boxes.tolist()):
        x1, y1, x2, y2 = (side * spatial_scale - shift for side in box)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        bin_h, bin_w = height / output_size, width / output_size
        for i in range(output_size):
            for j in range(output_size):
                for a in range(sampling_ratio):
                    for b in range(sampling_ratio):
                        y = y1 + i * bin_h + (a + 0.5) * bin_h / sampling_ratio
                        x = x1 + j * bin_w + (b + 0.5) * bin_w / sampling_ratio
                        out[r, :, i, j] += slow_bilinear(features[box_map[r]], y, x)
    return out / sampling_ratio**2


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [1, 2, 3])
@pytest.mark.parametrize("scale", [1 / 16, 1 / 8])
def test_agrees_with_the_definition(aligned: bool, sampling_ratio: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(3, 2, 5, 7, generator=generator, dtype=torch.float64)
    corners = torch.rand(24, 2, 2, generator=generator, dtype=torch.float64) * torch.tensor([112.0, 80.0]) / scale / 16
    boxes = torch.cat([corners.min(dim=1).values, corners.max(dim=1).values], dim=1)
    special = torch.tensor(
        [
            [-60.0, -40.0, 30.0, 30.0],  # partly outside
            [90.0, 60.0, 400.0, 300.0],  # far over the border: samples that count as 0
            [20.0, 20.0, 20.0, 20.0],  # no area
            [40.0, 40.0, 10.0, 10.0],  # inverted
            [500.0, 500.0, 600.0, 600.0],  # wholly outside
        ],
        dtype=torch.float64,
    )
    boxes = torch.cat([boxes, special])
    box_map = torch.randint(3, (len(boxes),), generator=generator)
    ours = roi_align(
        features,
        boxes,
        box_map,
        output_size=3,
        spatial_scale=scale,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )
    slow = slow_roi_align(features, boxes, box_map, 3, scale, sampling_ratio, aligned)
    torch.testing.assert_close(ours, slow, rtol=0, atol=1e-12)


def test_by_hand() -> None:
    # A ramp along x whose value is the pixel's centre in pixels of the image (patch 16): 8, 24, 40, 56.
    ramp = (torch.arange(4) * 16.0 + 8.0).expand(1, 1, 4, 4)
    box = torch.tensor([[16.0, 16.0, 48.0, 48.0]])
    pooled = roi_align(ramp, box, torch.tensor([0]), output_size=2, spatial_scale=1 / 16)
    # Bins are 16..32 and 32..48; a linear function's mean over a bin is its value at the bin's centre.
    assert pooled[0, 0].tolist() == [[24.0, 40.0], [24.0, 40.0]]
    # A constant map stays constant wherever the samples are inside.
    ones = torch.ones(2, 3, 4, 4)
    inside = torch.tensor([[0.0, 0.0, 64.0, 64.0], [3.0, 5.0, 9.0, 60.0]])
    assert torch.equal(roi_align(ones, inside, torch.tensor([1, 0]), spatial_scale=1 / 16), torch.ones(2, 3, 7, 7))
    # Box from -32 to 32 px = -2.5 to 1.5 on the map, 4 bins of one sample: centres -2, -1, 0, 1; below -1 counts as 0.
    edge = torch.tensor([[-32.0, 0.0, 32.0, 64.0]])
    row = roi_align(ramp, edge, torch.tensor([0]), output_size=4, spatial_scale=1 / 16, sampling_ratio=1)[0, 0, 0]
    assert row.tolist() == [0.0, 8.0, 8.0, 24.0]


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 2, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[3.0, 5.0, 41.3, 52.1], [-9.0, 2.2, 70.4, 33.3]], dtype=torch.float64, requires_grad=True)
    box_map = torch.tensor([1, 0])
    assert torch.autograd.gradcheck(
        lambda f, b: roi_align(f, b, box_map, output_size=2, spatial_scale=1 / 16), (features, boxes)
    )


def test_agrees_with_torchvision() -> None:
    with np.load(GOLDEN) as stored:
        golden = {name: torch.from_numpy(stored[name]) for name in stored.files}
    box_map = torch.arange(20) % 2
    for aligned, name in ((True, "aligned"), (False, "not_aligned")):
        ours = roi_align(golden["features"], golden["boxes"], box_map, spatial_scale=1 / 16, aligned=aligned)
        torch.testing.assert_close(ours, golden[name], rtol=1e-4, atol=1e-5)


def test_no_boxes_keep_the_graph() -> None:
    features = torch.randn(2, 3, 4, 4, requires_grad=True)
    pooled = roi_align(features, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), spatial_scale=0.25)
    assert pooled.shape == (0, 3, 7, 7)
    pooled.sum().backward()
    assert torch.equal(features.grad, torch.zeros(2, 3, 4, 4))


def test_autocast_does_not_move_the_samples() -> None:
    features = torch.randn(1, 4, 32, 32)
    boxes = torch.tensor([[100.3, 200.7, 301.9, 403.1]])
    exact = roi_align(features, boxes, torch.tensor([0]), spatial_scale=1 / 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(roi_align(features, boxes, torch.tensor([0]), spatial_scale=1 / 16), exact)


def test_wrong_inputs_name_their_shapes() -> None:
    features, one = torch.zeros(1, 2, 4, 4), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"features has shape \(2, 4, 4\)"):
        roi_align(features[0], torch.zeros(1, 4), one, spatial_scale=1.0)
    with pytest.raises(ValueError, match=r"boxes has shape \(1, 5\)"):
        roi_align(features, torch.zeros(1, 5), one, spatial_scale=1.0)
    with pytest.raises(ValueError, match="sampling_ratio is 0"):
        roi_align(features, torch.zeros(1, 4), one, spatial_scale=1.0, sampling_ratio=0)
    assert math.isfinite(roi_align(features, torch.zeros(1, 4), one, spatial_scale=1.0).sum().item())
