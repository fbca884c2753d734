"""Luma on a grid of times: averaged exactly, of the right frames, without decoding what nobody needs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_video import BITS, faststart, painted, write_at, write_numbered
from PIL import Image

from tubelet.types import VideoError
from tubelet.video import luma
from tubelet.video.luma import iter_luma, on_grid
from tubelet.video.media import Media


def number_in(picture: np.ndarray) -> int:
    """Read the number back from upright luma (S, S): its blocks are in the top eighth."""
    block = picture.shape[1] / BITS
    row = picture[2 : picture.shape[0] // 8 - 3].astype(float).mean(axis=0)
    return sum(1 << bit for bit in range(BITS) if row[int((bit + 0.5) * block)] > 128)


def test_areas_are_averaged_exactly() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (21, 34)).astype(np.uint8)
    whole = pixels.repeat(8, axis=0).repeat(8, axis=1).astype(float)  # 168 x 272: whole pixels in each of 8 x 8 cells
    means = whole.reshape(8, 21, 8, 34).mean(axis=(1, 3))
    assert np.abs(luma._scaled(pixels, (21, 34), 8) - means).max() <= 0.51
    assert luma._scaled(pixels[:4, :5].copy(), (4, 5), 20).tolist() == np.kron(pixels[:4, :5], np.ones((5, 4))).tolist()


def test_the_nearest_item_answers_each_time_and_of_two_the_earlier() -> None:
    shown = [(0.0, "a"), (0.4, "b"), (0.75, "c"), (1.25, "d")]  # 0.5 is nearest to b, 1.0 as near to c as to d
    assert list(on_grid(shown, 2.0)) == [(0.0, "a"), (0.5, "b"), (1.0, "c")]
    assert list(on_grid([(0.3, "a")], 4.0)) == [(0.0, "a"), (0.25, "a")]
    assert list(on_grid([], 4.0)) == []


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
def test_frames_are_those_nearest_to_the_grid(tmp_path: Path, codec: str) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    video = write_at(tmp_path / "a.mkv", [number / 25 for number in range(60)], codec=codec, pixels=pixels)
    read = list(iter_luma(video))
    times = np.arange(38) / 16  # the last frame is shown at 2.36
    assert [time for time, _ in read] == times.tolist()
    assert [number_in(picture) for _, picture in read] == np.ceil(times * 25 - 0.5).astype(int).tolist()


def test_luma_is_that_of_the_frames(tmp_path: Path) -> None:
    video = write_numbered(tmp_path / "a.mp4", num_frames=30, fps=16)
    for number, (_, picture) in enumerate(iter_luma(video)):
        grey = painted(number).astype(np.float32) @ [0.299, 0.587, 0.114] * 219 / 255 + 16
        expected = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(grey)[None].float(), 112)[0].numpy()
        assert np.abs(picture - expected)[20:-6, 6:-6].mean() < 4  # encoded, and the pool's cells are a pixel off


def test_frames_that_nobody_needs_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write_numbered(tmp_path / "a.mp4", num_frames=100, fps=50)
    decoded: list[float] = []
    grid = luma.on_grid
    monkeypatch.setattr(luma, "on_grid", lambda shown, fps: grid((decoded.append(s[0]) or s for s in shown), fps))
    thrifty = list(iter_luma(video, fps=10))
    some = len(decoded)
    monkeypatch.setattr(luma, "SKIPPING_CODECS", frozenset())
    every = list(iter_luma(video, fps=10))
    assert len(decoded) - some == 100
    assert some < 75
    assert len(thrifty) == 20
    for (time, picture), (other_time, other) in zip(thrifty, every, strict=True):
        assert time == other_time
        assert np.array_equal(picture, other)


def test_uneven_times_rotation_and_ten_bits(tmp_path: Path) -> None:
    times = [0.0, 0.05, 0.5, 0.55, 1.2, 1.25, 2.0]
    uneven = write_at(tmp_path / "uneven.mkv", times)
    assert [number_in(picture) for _, picture in iter_luma(uneven, fps=4)] == [0, 1, 2, 3, 4, 5, 5, 6, 6]
    turned = write_at(tmp_path / "turned.mp4", times, rotation=90)
    upright = [np.rot90(picture, k) for _, picture in list(iter_luma(turned))[:1] for k in range(4)]
    level = next(iter_luma(write_at(tmp_path / "level.mp4", times)))[1]
    off = [np.abs(one.astype(float) - level).mean() for one in upright]
    assert min(off) < 1
    assert int(np.argmin(off)) in (1, 3)
    deep = next(iter_luma(write_at(tmp_path / "deep.mkv", times, codec="libx265", pixels="yuv420p10le")))[1]
    assert np.abs(deep.astype(float) - level).mean() < 3 + 0.17 * 128  # grey through swscale is of full range


def test_pictures_are_videos_too(tmp_path: Path) -> None:
    for number in range(4):
        Image.fromarray(painted(number)).save(tmp_path / f"{number}.png")
    read = list(iter_luma(Media(str(tmp_path), 8.0)))
    assert [number_in(picture) for _, picture in read] == [0, 0, 1, 1, 2, 2, 3]


def test_a_cut_file_gives_what_there_is_and_then_says_so(tmp_path: Path) -> None:
    whole = faststart(write_numbered(tmp_path / "a.mp4"), tmp_path / "whole.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    frames = iter_luma(cut)
    assert number_in(next(frames)[1]) == 0
    with pytest.raises(VideoError, match=r"cut short|cannot be decoded"):
        list(frames)
    with pytest.raises(VideoError, match=r"no such file"):
        next(iter_luma(tmp_path / "none.mp4"))
