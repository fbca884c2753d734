"""The shipped person detector as users call it."""

import numpy as np
import pytest
import torch

from tubelet.boxes import box_iou
from tubelet.inference.people import NanoDetDetector
from tubelet.inference.real_video import real_video
from tubelet.types import PersonBoxes
from tubelet.video.decode import read_frames


@pytest.fixture(scope="module")
def detector() -> NanoDetDetector:
    return NanoDetDetector(threshold=0.0)


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_frames_of_mixed_sizes_keep_their_order(detector: NanoDetDetector) -> None:
    frames = [noise(60, 100, 0), noise(100, 60, 1), noise(60, 100, 2)]
    together = detector(frames)
    assert len(together) == 3
    for frame, people in zip(frames, together, strict=True):
        assert isinstance(people, PersonBoxes)
        assert len(people.scores) > 0  # with threshold 0 every cell answers
        assert (np.diff(people.scores) <= 0).all()
        assert people.boxes.min() >= 0
        assert (people.boxes[:, 2:] <= [frame.shape[1], frame.shape[0]]).all()
        alone = detector([frame])[0]
        np.testing.assert_allclose(alone.scores[:5], people.scores[:5], atol=0.02)


def test_threshold_and_empty_calls(detector: NanoDetDetector) -> None:
    assert detector([]) == []
    black = np.zeros((90, 160, 3), dtype=np.uint8)
    people = NanoDetDetector()([black])[0]
    assert people.boxes.shape == (0, 4)
    assert people.scores.shape == (0,)
    with pytest.raises(ValueError, match=r"threshold is 1\.5"):
        NanoDetDetector(threshold=1.5)


def test_rgb_is_turned_to_bgr(detector: NanoDetDetector) -> None:
    """A red frame reaches the model with its high values in the last channel."""
    seen = []
    hook = detector.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    red = np.zeros((416, 416, 3), dtype=np.uint8)
    red[..., 0] = 255
    detector([red])
    hook.remove()
    assert seen[0].shape == (1, 3, 416, 416)
    assert torch.equal(seen[0].flatten(2).mean(2).argmax(1), torch.tensor([2]))


@pytest.mark.parametrize("frame", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.float32)])
def test_wrong_frames_are_named(detector: NanoDetDetector, frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\)"):
        detector([frame])


def test_a_real_cyclist_is_found() -> None:
    """``bikes.mp4`` at 4.2 s: a cyclist between cars, his box read off the frame by eye."""
    frame = read_frames(real_video(), [4.2]).frames[0].permute(1, 2, 0).numpy()
    (people,) = NanoDetDetector()([frame])
    height, width = frame.shape[:2]
    by_eye = torch.tensor([[0.53, 0.03, 0.82, 0.73]]) * torch.tensor([width, height, width, height])
    overlap = box_iou(torch.from_numpy(people.boxes), by_eye)[:, 0]
    best = int(overlap.argmax())
    assert overlap[best] > 0.6
    assert people.scores[best] > 0.5
