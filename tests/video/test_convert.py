"""Colours and scaling, held against arithmetic in floating point and against scaling the RGB picture."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numbered_video import write_numbered
from torch.nn.functional import interpolate

from tubelet.video.container import open_video
from tubelet.video.convert import Crop, FrameBatch, FrameSize


def exact_rgb(yuv: np.ndarray, kr: float, kb: float, full: bool) -> np.ndarray:
    """ITU-R BT.601/709's equations: luma is kr R + kg G + kb B, chroma the scaled differences from it."""
    y, u, v = (yuv[..., i].astype(np.float64) for i in range(3))
    luma = y if full else (y - 16) * 255 / 219
    blue_difference, red_difference = ((c - 128) * (1 if full else 255 / 224) for c in (u, v))
    red = luma + 2 * (1 - kr) * red_difference
    blue = luma + 2 * (1 - kb) * blue_difference
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], axis=-1), 0, 255)


def flat_frame(y: int, u: int, v: int, *, space: int, colour_range: int) -> av.VideoFrame:
    planes = [np.full(32 * 32, y, np.uint8), np.full(16 * 16, u, np.uint8), np.full(16 * 16, v, np.uint8)]
    frame = av.VideoFrame.from_ndarray(np.concatenate(planes).reshape(48, 32), format="yuv420p")
    frame.colorspace, frame.color_range = space, colour_range
    return frame


@pytest.mark.parametrize(
    ("space", "kr", "kb"),
    [
        (1, 0.2126, 0.0722),
        (2, 0.299, 0.114),
        (4, 0.30, 0.11),
        (6, 0.299, 0.114),
        (7, 0.212, 0.087),
        (9, 0.2627, 0.0593),
    ],
)
@pytest.mark.parametrize("colour_range", [0, 1, 2])
@pytest.mark.parametrize("yuv", [(120, 90, 200), (16, 128, 128), (50, 200, 60), (255, 0, 255)])  # the last: no colour
def test_the_tagged_matrix_and_range_are_used_at_any_size(
    space: int, kr: float, kb: float, colour_range: int, yuv: tuple[int, int, int]
) -> None:
    frame = flat_frame(*yuv, space=space, colour_range=colour_range)
    expected = exact_rgb(np.array(yuv), kr, kb, colour_range == 2)
    for size, tolerance in ((FrameSize(), 3), (FrameSize(long_side=20), 0.51)):
        batch = FrameBatch("a.mp4", size, 1)
        batch.add(frame, 0.0)
        assert np.abs(batch.finish()[0].reshape(-1, 3) - expected).max() <= tolerance


@pytest.mark.parametrize(
    "size",
    [FrameSize(exact_hw=(48, 65)), FrameSize(short_side=70), FrameSize(long_side=100, crop=Crop(40, 60, 0.3, 0.9))],
)
def test_scaling_is_that_of_the_rgb_picture_in_floating_point(tmp_path: Path, size: FrameSize) -> None:
    path = write_numbered(tmp_path / "a.mp4", num_frames=12)
    batch = FrameBatch("a.mp4", size, 12)
    pictures = []
    with open_video(path) as video:
        for frame in video.container.decode(video.stream):
            batch.add(frame, None)
            planes = frame.to_ndarray(format="yuv420p")[:, :160]  # luma, then both chroma planes, two rows in one
            chroma = torch.from_numpy(planes[96:].reshape(1, 2, 48, 80)).double()
            full = interpolate(chroma, size=(96, 160), mode="bilinear")[0].numpy()
            pictures.append(exact_rgb(np.stack([planes[:96], *full], axis=-1), 0.299, 0.114, full=False))
    width, height = size.scaled(160, 96)
    rgb = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    expected = interpolate(rgb, size=(height, width), mode="bilinear", antialias=True).permute(0, 2, 3, 1).numpy()
    if size.crop is not None:
        top, left = size.crop.place(height, width)
        expected = expected[:, top : top + size.crop.height, left : left + size.crop.width]
    small = batch.finish()
    assert small.shape == expected.shape
    difference = small - expected
    assert abs(difference.mean()) < 0.05
    assert np.abs(difference).mean() < 0.6
    assert np.percentile(np.abs(difference), 99) <= 4.5  # edges of saturated colour


def test_frames_of_another_format_or_size_join_the_batch(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", num_frames=2)
    with open_video(path) as video:
        frame = next(video.container.decode(video.stream))
    others = [frame.reformat(format="gray"), frame.reformat(format="yuv420p10le"), frame.reformat(80, 48), frame]
    for first, second in ((frame, other) for other in others):
        for one, two in ((first, second), (second, first)):
            batch = FrameBatch("a.mp4", FrameSize(exact_hw=(30, 40)), 2)
            batch.add(one, None)
            batch.add(two, None)
            luma = batch.finish() @ np.array([0.299, 0.587, 0.114])
            assert np.abs(luma[0] - luma[1]).mean() < 2


def test_rewinding_forgets_what_a_failed_plan_added(tmp_path: Path) -> None:
    frames = [flat_frame(level, 128, 128, space=2, colour_range=0) for level in (50, 100, 150)]
    batch = FrameBatch("a.mp4", FrameSize(long_side=8), 2)
    batch.add(frames[0], None)
    batch.add(frames[1], None)
    batch.rewind(1)
    assert batch.add(frames[2], None) == 1
    assert batch.finish()[:, 0, 0, 0].tolist() == [40, 156]  # (50 - 16) and (150 - 16) times 255 / 219


def test_crop_places_halves_up_and_must_fit() -> None:
    assert Crop(112, 112).place(128, 171) == (8, 30)  # 29.5
    assert Crop(112, 112, 0.0, 1.0).place(128, 171) == (0, 59)
    with pytest.raises(ValueError, match="112x112 does not fit a frame of 100x171"):
        Crop(112, 112).place(100, 171)
    for height, width, y, x in ((0, 10, 0.5, 0.5), (10, -3, 0.5, 0.5), (10, 10, 2.0, 0.5), (10, 10, 0.5, -0.1)):
        with pytest.raises(ValueError, match=r"at least 1 pixel a side and its place in 0\.\.1, got Crop"):
            Crop(height, width, y, x)
