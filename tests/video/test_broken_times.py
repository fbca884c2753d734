"""Files whose frames have wrong times: an error that says so, or a result that counts what it could not give."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tubelet.types import VideoError
from tubelet.video.cache import FrameCache
from tubelet.video.container import probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import iter_frames, read_clips, read_frames
from tubelet.video.sampling import nearest

NUM_FRAMES, MS = 50, 40
SPREAD = [0.0, 0.4, 0.84, 1.2, 1.6, 1.96]


def packets(path: Path, *, kind: str, first: int = 0, number: int = NUM_FRAMES, begin: int = 0) -> Path:
    """Write grey frames 4 apart, no B-frames, a key frame in ten, ``begin`` frames after time 0."""
    with av.open(str(path), "w", format=kind) as out:
        stream = out.add_stream("libx264", rate=25, options={"bf": "0", "g": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(number):
            grey = np.full((48, 64, 3), 4 * (first + i), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts = begin + i
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packets(tmp_path_factory.mktemp("times") / "whole.mkv", kind="matroska")


def restamped(whole: Path, path: Path, milliseconds: dict[int, int]) -> Path:
    """Return the file with other times of some frames, written into Matroska's blocks (signed 16 bits, big endian)."""
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as box:
        places = [0]
        for packet in box.demux(video=0):
            if packet.size:
                places.append(data.index(bytes(packet), places[-1] + 1))
    assert len(places) == NUM_FRAMES + 1
    for i, time in milliseconds.items():
        at = places[i + 1] - 3  # track (1), time (2), flags (1), then the packet
        assert int.from_bytes(data[at : at + 2], "big", signed=True) == i * MS
        data[at : at + 2] = time.to_bytes(2, "big", signed=True)
    path.write_bytes(data)
    return path


BACKWARDS = {
    "back": {i: i * MS - 800 for i in range(25, 50)},  # two takes put one behind the other
    "ahead": {25: 32_000},
    "shuffled": {i: i * MS * 7919 % 2000 for i in range(50)},
}


@pytest.mark.parametrize("kind", BACKWARDS)
def test_times_that_go_backwards_are_an_error_where_they_are_read(whole: Path, tmp_path: Path, kind: str) -> None:
    path = restamped(whole, tmp_path / f"{kind}.mkv", BACKWARDS[kind])
    message = rf"{kind}\.mkv at .* s: the times of its frames go backwards, from"
    for read in (lambda: read_frames(path, SPREAD), lambda: list(iter_frames(path))):
        with pytest.raises(VideoError, match=message):
            read()
    if kind != "shuffled":
        assert read_frames(path, [0.0, 0.4]).num_clamped == 0


def test_two_recordings_with_the_same_times_in_one_stream(tmp_path: Path) -> None:
    half = [packets(tmp_path / f"{i}.ts", kind="mpegts", first=25 * i, number=25).read_bytes() for i in (0, 1)]
    (tmp_path / "both.ts").write_bytes(half[0] + half[1])
    with pytest.raises(VideoError, match="go backwards"):
        read_frames(tmp_path / "both.ts", SPREAD)


def test_two_frames_in_the_wrong_order_are_harmless(whole: Path, tmp_path: Path) -> None:
    path = restamped(whole, tmp_path / "swap.mkv", {20: 21 * MS, 21: 20 * MS})
    times = [time for time in SPREAD if time != 0.84]  # that is one of the two
    np.testing.assert_array_equal(read_frames(path, times).frames, read_frames(whole, times).frames)


def test_a_hole_of_hours_is_answered_by_its_edges_and_counted(tmp_path: Path) -> None:
    half = [packets(tmp_path / f"{i}.ts", kind="mpegts", number=25, begin=i * 25 * 36_000).read_bytes() for i in (0, 1)]
    (tmp_path / "hole.ts").write_bytes(half[0] + half[1])
    for times, counted in (([0.0, 0.5, 0.96], 0), ([0.5, 5.0, 15.0, 18_000.0], 2), ([36_000.4], 0)):
        clip = read_frames(tmp_path / "hole.ts", times)
        assert clip.num_clamped == counted
        clips = read_clips(tmp_path / "hole.ts", [times, [0.0]])
        assert [c.num_clamped for c in clips] == [counted, 0]


@pytest.mark.parametrize(
    ("times", "fps"),
    [
        ([i / 25 + 3600 * (i >= 20) for i in range(40)], 25.0),  # on average a frame in 91 s
        ([3.0 * i for i in range(10)], 10 / 27),  # a time lapse has no gap
        ([0.0, 2.0, 7.0, 9.0, 15.0, 16.0], 6 / 16),  # nor have slides: their average is believed
    ],
)
def test_a_gap_of_an_hour_does_not_change_the_rate(tmp_path: Path, times: list[float], fps: float) -> None:
    path = tmp_path / "gap.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"bf": "2", "preset": "ultrafast"})
        stream.width, stream.height, stream.codec_context.time_base = 64, 48, Fraction(1, 1000)
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * i, dtype=np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert probe(path).fps == pytest.approx(fps, rel=0.1)
    clip = read_frames(path, lambda rate: [i / rate for i in range(4)])
    assert clip.num_clamped == 0
    assert np.allclose(clip.pts_seconds, times[:4], atol=0.5 / fps)


def test_a_slide_shown_for_seconds_is_no_hole(tmp_path: Path) -> None:
    path = tmp_path / "slides.mkv"
    with av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream("libx264", rate=25, options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i, at in enumerate((0, 1, 2, 152, 153, 154, 304)):  # 6 s apart
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 30 * i, dtype=np.uint8), format="rgb24")
            frame.pts = at
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    clip = read_frames(path, [0.0, 2.0, 5.0, 9.0, 12.16])
    assert clip.pts_seconds.round(2).tolist() == [0.0, 0.08, 6.08, 6.16, 12.16]
    assert clip.num_clamped == 0


def test_the_cache_counts_as_the_reader_does(whole: Path, tmp_path: Path) -> None:
    path = restamped(whole, tmp_path / "late.mkv", {i: i * MS + 28_000 for i in range(25, 50)})
    cache = FrameCache(tmp_path / "cache", FrameSize(), fps=0)
    for times in (SPREAD, [0.5, 14.5, 29.0]):
        kept, read = cache.clip(path, times), read_frames(path, times)
        np.testing.assert_array_equal(kept.pts_seconds, read.pts_seconds)
        assert kept.num_clamped == read.num_clamped
    assert read.num_clamped == 1


def test_the_nearest_time() -> None:
    times = np.array([0.0, 1.0, 1.5, 4.0])
    assert nearest(times, np.array([-9.0, 0.5, 0.51, 1.25, 2.75, 2.76, 99.0])).tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert nearest(times[:1], np.array([-1.0, 5.0])).tolist() == [0, 0]
