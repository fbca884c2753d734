"""Box maths against numbers that can be checked by hand."""

import numpy as np
import pytest
import torch

from tubelet.boxes import (
    box_area,
    box_iou,
    clip_boxes,
    flip_boxes,
    jitter_boxes,
    nms,
    normalised_boxes,
    pixel_boxes,
)


def boxes(*rows: tuple[float, float, float, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),  # identical
        ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3),  # half of each: 2 / (4 + 4 - 2)
        ((0, 0, 2, 2), (2, 0, 4, 2), 0.0),  # touching edges share no area
        ((0, 0, 4, 4), (1, 1, 3, 3), 0.25),  # one inside the other
        ((1, 1, 1, 5), (0, 0, 4, 4), 0.0),  # zero width
        ((3, 3, 1, 1), (0, 0, 4, 4), 0.0),  # inverted
    ],
)
def test_iou_by_hand(a, b, expected):
    assert box_iou(boxes(a), boxes(b)).item() == pytest.approx(expected)
    assert box_iou(boxes(b), boxes(a)).item() == pytest.approx(expected)


def test_iou_of_empty_sets_has_the_right_shape():
    assert box_iou(boxes(), boxes((0, 0, 1, 1))).shape == (0, 1)
    assert box_iou(boxes(), boxes()).shape == (0, 0)
    assert box_area(boxes()).shape == (0,)


def test_clip_cuts_to_the_frame():
    clipped = clip_boxes(boxes((-3, -1, 5, 20)), height=10, width=4)
    assert clipped.tolist() == [[0, 0, 4, 10]]


def test_flip_mirrors_and_is_its_own_inverse():
    original = boxes((1, 2, 3, 4))
    assert flip_boxes(original, width=10).tolist() == [[7, 2, 9, 4]]
    assert torch.equal(flip_boxes(flip_boxes(original, width=10), width=10), original)


def test_jitter_stays_within_the_ratio_and_repeats():
    original = boxes((10, 20, 30, 60)).repeat(2000, 1)
    moved = jitter_boxes(original, ratio=0.15, generator=torch.Generator().manual_seed(1))
    again = jitter_boxes(original, ratio=0.15, generator=torch.Generator().manual_seed(1))
    assert torch.equal(moved, again)
    share = (moved - original).abs() / torch.tensor([20.0, 40.0, 20.0, 40.0])
    assert share.max() <= 0.15 + 1e-6
    assert share.max() > 0.14  # the whole range is used
    assert (moved - original).mean().abs() < 0.2  # and it is centred


def test_nms_keeps_the_best_of_each_pile_and_the_earlier_of_a_tie():
    candidates = boxes((0, 0, 10, 10), (1, 0, 11, 10), (50, 50, 60, 60), (0, 0, 10, 10))
    scores = torch.tensor([0.6, 0.9, 0.3, 0.6])
    # Box 1 wins its pile (IoU with 0 and 3 is 9/11); box 2 stands alone.
    assert nms(candidates, scores, iou_threshold=0.5).tolist() == [1, 2]
    assert nms(candidates, torch.full((4,), 0.5), iou_threshold=0.9).tolist() == [0, 1, 2]
    assert nms(boxes(), torch.zeros(0), iou_threshold=0.5).tolist() == []


def test_pixels_become_shares_of_the_frame_and_back() -> None:
    frame_hw = (50, 200)
    inside = np.array([[20, 5, 100, 50]], dtype=np.float32)
    shares = normalised_boxes(inside, frame_hw)
    assert shares.tolist() == [[np.float32(0.1), np.float32(0.1), 0.5, 1.0]]
    assert shares.dtype == np.float32
    assert pixel_boxes(shares, frame_hw) == pytest.approx(inside)
    assert pixel_boxes(shares[0], frame_hw) == pytest.approx(inside[0])
    assert normalised_boxes(np.array([[-20.0, -5, 220, 60]]), frame_hw).tolist() == [[0, 0, 1, 1]]
    assert normalised_boxes(np.zeros((0, 4), dtype=np.float32), frame_hw).shape == (0, 4)
