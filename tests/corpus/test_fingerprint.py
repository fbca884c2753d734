"""Codes of frames: by hand, against a plain loop, and what changes of a picture must and must not change."""

import numpy as np
import pytest
from numbered_video import painted

from tubelet.corpus.fingerprint import code_runs, frame_codes, mirrored_codes


def luma_of(number: int, *, width: int = 112, height: int = 112) -> np.ndarray:
    frame = painted(number, width=width, height=height).astype(float)
    return (frame @ [0.299, 0.587, 0.114]).astype(np.uint8)


def textured(seed: int, number: int = 1) -> np.ndarray:
    """Smooth random pictures, (number, 112, 112): different seeds are different scenes."""
    rng = np.random.default_rng(seed)
    grid = rng.integers(20, 220, (number, 14, 14)).astype(np.uint8)
    return grid.repeat(8, axis=1).repeat(8, axis=2)


def plain_code(luma: np.ndarray) -> int:
    """The code of one frame of 10 k x 10 k pixels, in loops."""
    size = luma.shape[0] // 10
    cell = [[luma[y * size : y * size + size, x * size : x * size + size].mean() for x in range(10)] for y in range(10)]
    code = 0
    for y in range(1, 9):
        for x in range(1, 9):
            around = [cell[v][u] for v in (y - 1, y, y + 1) for u in (x - 1, x, x + 1) if (v, u) != (y, x)]
            code |= int(cell[y][x] > sum(around) / 8) << (8 * (y - 1) + x - 1)
    return code


def distances(codes_a: np.ndarray, codes_b: np.ndarray) -> np.ndarray:
    """In how many bits codes differ, 0..64."""
    return np.bitwise_count(codes_a ^ codes_b)


def test_one_bright_cell_is_one_bit() -> None:
    luma = np.full((1, 20, 20), 100, dtype=np.uint8)
    luma[0, 6:8, 10:12] = 200  # cell (3, 5): row 2, column 4 of the inner ones
    assert frame_codes(luma).codes.tolist() == [1 << (8 * 2 + 4)]


def test_codes_are_those_of_a_plain_loop() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (5, 60, 60)).astype(np.uint8)
    assert frame_codes(luma).codes.tolist() == [plain_code(frame) for frame in luma]


def test_brightness_contrast_and_size_change_almost_nothing() -> None:
    luma = textured(0, 20)
    codes = frame_codes(luma).codes
    darker = (luma * 0.6 + 15).astype(np.uint8)
    assert distances(codes, frame_codes(darker).codes).max() <= 2
    larger = luma.repeat(2, axis=1).repeat(3, axis=2)
    assert distances(codes, frame_codes(larger).codes).max() == 0
    noisy = np.clip(luma + np.random.default_rng(1).normal(0, 8, luma.shape), 0, 255).astype(np.uint8)
    assert distances(codes, frame_codes(noisy).codes).max() <= 4


def test_different_pictures_differ_in_about_half_of_the_bits() -> None:
    codes = frame_codes(np.concatenate([textured(seed) for seed in range(60)])).codes
    pairs = distances(codes[:, None], codes[None])[np.triu_indices(60, 1)]
    assert 26 < pairs.mean() < 38
    assert pairs.min() > 8


def test_flat_frames_are_known() -> None:
    black = np.zeros((2, 112, 112), dtype=np.uint8)
    fog = np.random.default_rng(0).integers(118, 124, (2, 112, 112)).astype(np.uint8)
    assert frame_codes(np.concatenate([black, fog])).is_flat.all()
    y, x = np.mgrid[-1:1:112j, -1:1:112j]
    wall = np.stack([peak - falls * np.hypot(x, y) for peak, falls in ((220, 60), (90, 40))]).astype(np.uint8)
    assert frame_codes(wall).contrast.min() > 0.9  # a lamp on a wall: much contrast, and the same code everywhere
    assert frame_codes(np.concatenate([wall, 255 - wall])).is_flat.all()
    assert not frame_codes(textured(0, 3)).is_flat.any()


def test_the_code_of_a_mirrored_frame_follows_from_its_code() -> None:
    luma = np.stack([luma_of(number) for number in range(8)] + list(textured(3, 8)))
    assert distances(mirrored_codes(frame_codes(luma).codes), frame_codes(luma[:, :, ::-1]).codes).max() <= 1
    assert mirrored_codes(np.array([0b10000011], dtype=np.uint64)).tolist() == [0b11000001]
    assert mirrored_codes(np.array([1 << 56], dtype=np.uint64)).tolist() == [1 << 63]


def test_runs_of_equal_codes() -> None:
    runs = code_runs(np.array([5, 5, 5, 7, 5, 5], dtype=np.uint64))
    assert (runs.codes.tolist(), runs.first.tolist(), runs.length.tolist()) == ([5, 7, 5], [0, 3, 4], [3, 1, 2])
    assert len(code_runs(np.zeros(0, dtype=np.uint64)).codes) == 0


def test_frames_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        frame_codes(np.zeros((1, 9, 112), dtype=np.uint8))
