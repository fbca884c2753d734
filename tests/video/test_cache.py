import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_video import faststart, number_of, write_numbered

from tubelet.types import VideoError
from tubelet.video import cache as cache_module
from tubelet.video.cache import FrameCache
from tubelet.video.convert import FrameSize
from tubelet.video.decode import read_frames


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("cache") / "a.mp4")


def test_at_the_videos_own_rate_the_answer_is_the_readers(video: Path, tmp_path: Path) -> None:
    cache = FrameCache(tmp_path, FrameSize(long_side=1000, shrink_only=True), fps=25.0)
    rng = np.random.default_rng(0)
    for _ in range(10):
        wanted = rng.uniform(-1, 6, 6).tolist()
        kept, read = cache.clip(video, wanted), read_frames(video, wanted)
        assert torch.equal(kept.frames, read.frames)
        assert np.array_equal(kept.pts_seconds, read.pts_seconds)
        assert kept.num_clamped == read.num_clamped


def test_at_half_the_rate_every_second_frame_is_kept(video: Path, tmp_path: Path) -> None:
    cache = FrameCache(tmp_path, FrameSize(long_side=80, shrink_only=True), fps=12.5)
    clip = cache.clip(video, [i / 12.5 for i in range(50)])
    assert tuple(clip.frames.shape) == (50, 3, 48, 80)
    assert [number_of(frame) for frame in clip.frames] == list(range(0, 100, 2))
    # Between grid instants the nearest kept frame answers; the file's last frame is always kept.
    assert [number_of(f) for f in cache.clip(video, [0.09, 0.11, 0.13, 9.0]).frames] == [2, 2, 4, 99]


def test_a_video_is_decoded_once(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FrameCache(tmp_path, FrameSize(long_side=80, shrink_only=True), fps=25.0)
    cache.clip(video, [1.0])
    monkeypatch.setattr(cache_module, "iter_frames", lambda *_, **__: pytest.fail("decoded again"))
    again = FrameCache(tmp_path, FrameSize(long_side=80, shrink_only=True), fps=25.0).clip(video, [2.0])
    assert number_of(again.frames[0]) == 50


def test_a_changed_video_is_decoded_again(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", num_frames=20)
    cache = FrameCache(tmp_path / "cache", FrameSize(long_side=160, shrink_only=True), fps=25.0)
    assert number_of(cache.clip(path, [0.2]).frames[0]) == 5
    write_numbered(path, num_frames=20, first=500)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
    assert number_of(cache.clip(path, [0.2]).frames[0]) == 505


def test_a_damaged_entry_is_made_again(video: Path, tmp_path: Path) -> None:
    cache = FrameCache(tmp_path, FrameSize(long_side=80, shrink_only=True), fps=25.0)
    cache.clip(video, [1.0])
    (array,) = tmp_path.rglob("*.npy")
    array.write_bytes(array.read_bytes()[:5000])
    assert number_of(cache.clip(video, [1.0]).frames[0]) == 25


def test_workers_at_once_leave_one_whole_entry(video: Path, tmp_path: Path) -> None:
    cache = FrameCache(tmp_path, FrameSize(long_side=80, shrink_only=True), fps=25.0)
    with ThreadPoolExecutor(4) as pool:
        clips = list(pool.map(lambda _: cache.clip(video, [1.0, 2.0]), range(8)))
    assert all([number_of(f) for f in clip.frames] == [25, 50] for clip in clips)
    assert sorted(p.suffix for p in tmp_path.rglob("*") if p.is_file()) == [".json", ".npy"]


def test_a_cut_video_serves_what_came_before(video: Path, tmp_path: Path) -> None:
    whole = faststart(video, tmp_path / "whole.mp4")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    cache = FrameCache(tmp_path / "cache", FrameSize(long_side=80, shrink_only=True), fps=25.0)
    for _ in range(2):  # made, then read back
        assert number_of(cache.clip(cut, [0.4]).frames[0]) == 10
        with pytest.raises(VideoError, match=r"cut\.mp4 at 3\.900 s"):
            cache.clip(cut, [0.4, 3.9])


def test_what_is_not_a_video_is_an_error_each_time(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("text" * 100)
    cache = FrameCache(tmp_path / "cache", FrameSize(long_side=80, shrink_only=True), fps=25.0)
    for name in (path, path, tmp_path / "missing.mp4"):
        with pytest.raises(VideoError):
            cache.clip(name, [0.0])
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []


def test_at_rate_0_every_frame_is_kept_and_strides_count_frames_of_the_file(tmp_path: Path) -> None:
    for fps in (10.0, 30000 / 1001):
        video = write_numbered(tmp_path / f"{fps:.0f}.mp4", num_frames=40, fps=fps)
        cache = FrameCache(tmp_path / "cache", FrameSize(long_side=80, shrink_only=True), fps=0.0)
        rates: list[float] = []

        def wanted(rate: float, rates: list[float] = rates) -> list[float]:
            rates.append(rate)
            return [(5 + 3 * i) / rate for i in range(10)]

        kept, read = cache.clip(video, wanted), read_frames(video, wanted, size=cache.size)
        assert rates[0] == rates[1] == pytest.approx(fps)
        assert [number_of(f) for f in kept.frames] == list(range(5, 35, 3))
        assert torch.equal(kept.frames, read.frames)
        assert kept.pts_seconds.tolist() == read.pts_seconds.tolist()


@pytest.mark.parametrize("size", [FrameSize(exact_hw=(64, 85)), FrameSize(short_side=53, shrink_only=True)])
def test_any_size_is_kept_as_the_reader_gives_it(tmp_path: Path, size: FrameSize) -> None:
    video = write_numbered(tmp_path / "a.mp4", num_frames=20)
    times = [0.0, 0.4, 0.76]
    kept = FrameCache(tmp_path / "cache", size, fps=25.0).clip(video, times)
    assert torch.equal(kept.frames, read_frames(video, times, size=size).frames)
