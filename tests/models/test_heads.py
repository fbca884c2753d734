"""Heads: pooling by hand, the tube, clips without boxes."""

import pytest
import torch

from tubelet.models.heads import ActionHead, ClassificationHead
from tubelet.models.roi_align import roi_align


def filled(head):
    torch.manual_seed(1)
    torch.nn.init.normal_(head.linear.weight)
    torch.nn.init.normal_(head.linear.bias)
    return head


def test_classification_is_linear_on_the_mean_of_all_tokens() -> None:
    head = filled(ClassificationHead(6, 3))
    tokens = torch.randn(2, 4, 5, 3, 6)
    expected = tokens.reshape(2, -1, 6).mean(dim=1) @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(head(tokens), expected)


def test_dense_is_the_classification_of_every_window() -> None:
    """The grid of a larger frame: windows of the trained grid, one step apart, each as if it were the whole clip."""
    head = filled(ClassificationHead(6, 3))
    tokens = torch.randn(2, 4, 5, 7, 6)
    logits = head.dense(tokens, (4, 4, 4))
    assert logits.shape == (2, 1, 2, 4, 3)
    for y in range(2):
        for x in range(4):
            torch.testing.assert_close(logits[:, 0, y, x], head(tokens[:, :, y : y + 4, x : x + 4]))
    # A grid that is smaller than the window is one window.
    torch.testing.assert_close(head.dense(tokens, (9, 9, 9))[:, 0, 0, 0], head(tokens))


def test_heads_start_with_every_class_equal() -> None:
    assert torch.equal(ClassificationHead(6, 3)(torch.randn(2, 4, 5, 3, 6)), torch.zeros(2, 3))


def test_averaging_over_time_first_equals_pooling_the_tube() -> None:
    """ROI-Align on every time step with the keyframe's box, then the mean over steps and bins (paper A, 3.1)."""
    torch.manual_seed(0)
    head = filled(ActionHead(6, 3, output_size=5)).double()
    tokens = torch.randn(2, 4, 6, 8, 6, dtype=torch.float64)
    boxes = torch.tensor([[5.0, 3.0, 60.0, 90.0], [-4.0, 10.0, 127.0, 96.0], [30.0, 30.0, 41.0, 43.0]]).double()
    box_clip = torch.tensor([0, 1, 1])
    steps = [
        roi_align(tokens[:, t].permute(0, 3, 1, 2), boxes, box_clip, output_size=5, spatial_scale=1 / 16)
        for t in range(4)
    ]
    tube = torch.stack(steps).mean(dim=(0, 3, 4))
    expected = tube @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(head(tokens, boxes, box_clip, 16), expected, rtol=0, atol=1e-12)


def test_a_box_sees_only_its_place_in_its_clip() -> None:
    head = filled(ActionHead(1, 1))
    tokens = torch.zeros(2, 2, 4, 4, 1)
    tokens[1, :, 1:3, 1:3] = 5.0  # pixels 16..48 of clip 1
    boxes = torch.tensor([[24.0, 24.0, 40.0, 40.0]] * 2 + [[0.0, 0.0, 8.0, 8.0]])
    pooled = (head(tokens, boxes, torch.tensor([0, 1, 1]), 16) - head.linear.bias) / head.linear.weight
    assert pooled.flatten().tolist() == pytest.approx([0.0, 5.0, 0.0], abs=1e-6)


def test_no_boxes() -> None:
    logits = ActionHead(6, 3)(torch.randn(2, 4, 4, 4, 6), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 16)
    assert logits.shape == (0, 3)


def test_autocast_keeps_float32_logits() -> None:
    head = filled(ClassificationHead(6, 3))
    tokens = torch.randn(2, 4, 5, 3, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(tokens), head(tokens.clone()))
        assert head(tokens).dtype == torch.float32


def test_wrong_tokens_are_named() -> None:
    with pytest.raises(ValueError, match=r"tokens has shape \(2, 5, 6\), expected \(B, t, h, w, 6\)"):
        ClassificationHead(6, 3)(torch.zeros(2, 5, 6))
