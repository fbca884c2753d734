import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from make_damaged import write_sound
from numbered_video import faststart, number_of, painted, write_at, write_numbered

from tubelet.types import InputError, VideoError
from tubelet.video import decode, plan
from tubelet.video.container import open_video, probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import iter_frames, read_frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decode")


@pytest.fixture(scope="module", params=[12, 250])
def video(request: pytest.FixtureRequest, folder: Path) -> Path:
    return write_numbered(folder / f"gop{request.param}.mp4", gop=request.param)


@pytest.fixture(scope="module")
def short_gop(folder: Path) -> Path:
    return write_numbered(folder / "short_gop.mp4", gop=12)


def numbers(clip: object) -> list[int]:
    return [number_of(frame) for frame in clip.frames]  # type: ignore[attr-defined]


def test_probe_tells_size_rate_and_duration(short_gop: Path) -> None:
    meta = probe(short_gop)
    assert (meta.width, meta.height, meta.fps, meta.duration_seconds) == (160, 96, 25.0, 4.0)


def test_iter_frames_yields_every_frame_once_in_order(video: Path) -> None:
    read = list(iter_frames(video))
    assert [number_of(frame.transpose(2, 0, 1)) for _, frame in read] == list(range(100))
    assert np.allclose([time for time, _ in read], np.arange(100) / 25)


def test_iter_frames_begins_at_a_time(short_gop: Path) -> None:
    read = list(iter_frames(short_gop, start_seconds=2.0))
    assert [number_of(frame.transpose(2, 0, 1)) for _, frame in read] == list(range(50, 100))


def test_nearest_frames_of_random_times_are_those_of_a_full_decode(video: Path) -> None:
    everything = [frame for _, frame in iter_frames(video)]
    rng = np.random.default_rng(0)
    for _ in range(12):
        wanted = rng.uniform(0, 3.99, 7)
        expected = [int(np.argmin(np.abs(np.arange(100) / 25 - time))) for time in wanted]
        clip = read_frames(video, wanted.tolist())
        assert numbers(clip) == expected
        assert np.allclose(clip.pts_seconds, np.array(expected) / 25)
        for frame, number in zip(clip.frames, expected, strict=True):
            assert np.array_equal(frame.permute(1, 2, 0), everything[number])


def test_order_and_repeats_are_kept(short_gop: Path) -> None:
    assert numbers(read_frames(short_gop, [2.0, 0.4, 2.0, 0.44])) == [50, 10, 50, 11]


def test_equally_near_frames_give_the_earlier(short_gop: Path) -> None:
    # Frames 0 and 1 are shown at 0 and 0.04 s: 0.02 is the middle; frames 8 and 9 at 0.32 and 0.36 s.
    assert numbers(read_frames(short_gop, [0.02, 0.0201])) == [0, 1]


def test_the_plan_is_used_and_keeps_only_wanted_frames(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Three frames inside the video: the fast path must answer, and convert these three alone.
    decoded: list[int] = []
    plain = plan._decode

    def spy(video, packets, needed, batch):  # type: ignore[no-untyped-def]
        places = plain(video, packets, needed, batch)
        decoded.append(len(batch))
        return places

    monkeypatch.setattr(plan, "_decode", spy)
    monkeypatch.setattr(decode, "_read_plain", lambda *_: pytest.fail("the slow path was taken"))
    assert numbers(read_frames(video, [1.0, 1.12, 1.24])) == [25, 28, 31]
    assert decoded == [3]


def test_times_outside_are_answered_by_the_ends_and_counted(video: Path) -> None:
    # The last frame is shown at 3.96 s until 4.0 s; one frame interval of slack on both sides.
    clip = read_frames(video, [-5.0, -0.03, 0.0, 3.99, 4.0, 4.2, 99.0])
    assert numbers(clip) == [0, 0, 0, 99, 99, 99, 99]
    assert clip.num_clamped == 3


def test_two_rates_of_one_video_give_the_same_clip(folder: Path) -> None:
    slow = write_at(folder / "25.mp4", [i / 25 for i in range(40)])
    fast = folder / "50.mp4"
    with av.open(str(fast), "w") as box:
        stream = box.add_stream("libx264", rate=50)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for i in range(80):
            frame = av.VideoFrame.from_ndarray(painted(i // 2), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 50)
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    times = [0.2 + i * 0.08 for i in range(12)]
    assert numbers(read_frames(slow, times)) == numbers(read_frames(fast, times))


def test_variable_frame_rate_is_chosen_by_time(folder: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.54, 1.6, 1.64, 1.7]
    path = write_at(folder / "vfr.mp4", times)
    clip = read_frames(path, [0.26, 0.28, 1.06, 1.08, 1.66])
    assert numbers(clip) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "container"),
    [
        ("mpeg4.avi", "mpeg4", "yuv420p", None),
        ("vp9.webm", "libvpx-vp9", "yuv420p", None),
        ("h264.mkv", "libx264", "yuv420p", None),
        ("h264.ts", "libx264", "yuv420p", "mpegts"),
        ("ten_bit.mp4", "libx264", "yuv420p10le", None),
        ("grey.mp4", "libx264", "gray", None),
    ],
)
def test_other_containers_and_pixel_formats(
    folder: Path, name: str, codec: str, pixels: str, container: str | None
) -> None:
    path = write_at(folder / name, [i / 25 for i in range(30)], codec=codec, pixels=pixels, container=container)
    # MPEG-TS begins at 1.4 s of its own clock: times count from the start of the file all the same.
    assert numbers(read_frames(path, [0.0, 0.48, 0.52, 1.16])) == [0, 12, 13, 29]
    assert numbers(read_frames(path, [-1.0, 0.2, 5.0])) == [0, 5, 29]
    for start in (0.0, 0.6):
        read = [number_of(frame.transpose(2, 0, 1)) for _, frame in iter_frames(path, start_seconds=start)]
        assert read == list(range(round(start * 25), 30))


def test_avi_with_b_frames_has_no_true_times_so_frames_are_counted(folder: Path) -> None:
    path = folder / "b_frames.avi"
    with av.open(str(path), "w") as box:
        stream = box.add_stream("mpeg4", rate=25, options={"bf": "2", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number in range(60):
            picture = av.VideoFrame.from_ndarray(painted(number), format="rgb24").reformat(format="yuv420p")
            box.mux(stream.encode(picture))
        box.mux(stream.encode(None))
    with open_video(path) as video:
        assert not video.has_times
    times, frames = zip(*iter_frames(path), strict=True)
    assert [number_of(frame.transpose(2, 0, 1)) for frame in frames] == list(range(60))
    assert np.allclose(times, np.arange(60) / 25)
    assert numbers(read_frames(path, [0.4, 1.6, 1.64])) == [10, 40, 41]


def test_rotation_metadata_is_applied(folder: Path) -> None:
    path = write_at(folder / "turned.mp4", [i / 25 for i in range(5)], rotation=90)
    clip = read_frames(path, [0.08])
    meta = probe(path)
    assert tuple(clip.frames.shape) == (1, 3, 160, 96)
    assert (meta.width, meta.height) == (96, 160)
    # The matrix asks for 90 degrees counter-clockwise; turned back, the painted number is upright again.
    assert number_of(np.rot90(clip.frames[0].permute(1, 2, 0).numpy(), -1).transpose(2, 0, 1)) == 2


def test_long_side_scales_in_the_decoder(short_gop: Path) -> None:
    assert tuple(read_frames(short_gop, [1.0], size=FrameSize(long_side=80)).frames.shape) == (1, 3, 48, 80)
    assert tuple(read_frames(short_gop, [1.0], size=FrameSize(long_side=320)).frames.shape) == (1, 3, 192, 320)
    no_larger = FrameSize(long_side=320, shrink_only=True)
    assert tuple(read_frames(short_gop, [1.0], size=no_larger).frames.shape) == (1, 3, 96, 160)
    assert numbers(read_frames(short_gop, [1.0], size=FrameSize(long_side=80))) == [25]


def test_scaled_sizes_round_halves_up() -> None:
    assert FrameSize(long_side=128).scaled(320, 240) == (128, 96)
    assert FrameSize(long_side=50).scaled(240, 320) == (38, 50)  # 37.5
    assert FrameSize(long_side=10).scaled(1000, 1) == (10, 1)  # never below one pixel
    assert FrameSize(long_side=None).scaled(7, 5) == (7, 5)


def test_a_file_without_end_of_the_index_serves_what_is_there(short_gop: Path, tmp_path: Path) -> None:
    whole = faststart(short_gop, tmp_path / "whole.mp4")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert numbers(read_frames(cut, [0.2, 0.4])) == [5, 10]
    with pytest.raises(VideoError, match=r"cut\.mp4 at .* s: "):
        read_frames(cut, [0.2, 3.8])
    with pytest.raises(VideoError):
        read_frames(cut, [50.0])  # past the real end as well as the cut: still not a clamp
    reader = iter_frames(cut)
    seen = []
    with pytest.raises(VideoError):
        seen.extend(reader)
    assert 20 < len(seen) < 70


def test_a_cut_matroska_file_is_not_taken_for_a_short_one(tmp_path: Path) -> None:
    whole = write_at(tmp_path / "whole.mkv", [i / 25 for i in range(100)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert numbers(read_frames(cut, [0.2])) == [5]
    with pytest.raises(VideoError):
        read_frames(cut, [3.8])
    with pytest.raises(VideoError):
        list(iter_frames(cut))


def test_damage_in_the_middle_is_named_with_its_time(short_gop: Path, tmp_path: Path) -> None:
    data = bytearray(faststart(short_gop, tmp_path / "whole.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 6000] = bytes(6000)
    path = tmp_path / "hole.mp4"
    path.write_bytes(data)
    assert numbers(read_frames(path, [0.2])) == [5]
    with pytest.raises(VideoError, match=r"hole\.mp4 at [0-9.]+ s"):
        read_frames(path, [i / 25 for i in range(100)])


def broken_file(kind: str, folder: Path, good: Path) -> Path:
    path = folder / f"{kind}.mp4"
    contents = {
        "empty": b"",
        "text": b"not a video\n" * 500,
        "random": np.random.default_rng(0).bytes(20_000),
        "playlist": f"#EXTM3U\n#EXTINF:4,\n{good}\n#EXT-X-ENDLIST\n".encode(),
        "concat": f"ffconcat version 1.0\nfile '{good}'\n".encode(),
        "header_only": good.read_bytes()[:800],
        "without_index": good.read_bytes()[: good.stat().st_size // 2],
    }
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "audio":
        write_sound(path)
    return path


BROKEN = ["missing", "empty", "text", "random", "playlist", "concat", "header_only", "without_index"]


@pytest.mark.parametrize("kind", [*BROKEN, "folder", "pipe", "audio"])
def test_what_is_not_a_video_is_one_line_naming_the_file(kind: str, tmp_path: Path, short_gop: Path) -> None:
    path = broken_file(kind, tmp_path, short_gop)
    for read in (lambda: read_frames(path, [0.0]), lambda: probe(path), lambda: list(iter_frames(path))):
        with pytest.raises(VideoError) as error:
            read()
        assert isinstance(error.value, InputError)
        assert error.value.path == str(path)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)


def test_titles_in_another_encoding_do_no_harm(short_gop: Path, tmp_path: Path) -> None:
    path = tmp_path / "latin1.mp4"
    data = short_gop.read_bytes()
    assert b"VideoHandler" in data
    path.write_bytes(data.replace(b"VideoHandler", b"Vid\xe9oHandler"))
    assert numbers(read_frames(path, [0.4])) == [10]


def test_mutated_bytes_give_frames_or_a_video_error(short_gop: Path, tmp_path: Path) -> None:
    source = faststart(short_gop, tmp_path / "whole.mp4").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "mutated.mp4"
    refused = 0
    for attempt in range(60):
        data = bytearray(source)
        # Every second time the index is hit, where a wrong number does most.
        for place in rng.integers(0, 3000 if attempt % 2 else len(data), int(rng.choice([1, 10, 100]))):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.integers(1, len(data))] if attempt % 5 == 0 else data)
        try:
            clip = read_frames(path, [0.1, 2.0, 3.9], size=FrameSize(long_side=32))
        except VideoError:
            refused += 1
        else:
            assert len(clip.frames) == 3
    assert 10 < refused < 60


def test_urls_are_not_followed() -> None:
    for name in ("file:/etc/passwd", "concat:a.mp4|b.mp4"):
        with pytest.raises(VideoError, match="no such file"):
            read_frames(name, [0.0])
    for name in ("http://127.0.0.1:9/a.mp4", "file:///etc/passwd", "rtsp://127.0.0.1/a", "local:///etc/passwd"):
        with pytest.raises(VideoError, match="are not followed; expected s3, gs, hf, https, memory"):
            read_frames(name, [0.0])


def test_frames_above_the_limit_are_refused_before_decoding(short_gop: Path) -> None:
    with pytest.raises(VideoError, match="160x96 exceed the limit of 15359"):
        read_frames(short_gop, [0.0], max_pixels=15_359)
    assert len(read_frames(short_gop, [0.0], max_pixels=15_360).frames) == 1


def test_strange_names_are_files(short_gop: Path, tmp_path: Path) -> None:
    for name in ("ünï code 影片.mp4", "-dash.mp4", "a:b|c.mp4", "line\nbreak.mp4"):
        path = tmp_path / name
        path.write_bytes(short_gop.read_bytes())
        assert numbers(read_frames(path, [0.4])) == [10]


@pytest.mark.parametrize("times", [[], [float("nan")], [float("inf")]])
def test_times_must_be_given_and_finite(short_gop: Path, times: list[float]) -> None:
    with pytest.raises(ValueError, match="pts_seconds"):
        read_frames(short_gop, times)


def test_no_file_stays_open_and_the_error_does_not_leak(short_gop: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("text" * 1000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        read_frames(short_gop, [0.4])
        with pytest.raises(VideoError):
            read_frames(tmp_path / "text.mp4", [0.0])
    with open_video(short_gop):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_frames_are_uint8_and_small_in_memory(short_gop: Path) -> None:
    clip = read_frames(short_gop, [0.0, 1.0])
    assert clip.frames.dtype == torch.uint8
    assert clip.frames.untyped_storage().nbytes() == 2 * 3 * 96 * 160


@pytest.mark.parametrize(
    "times",
    [[], 1.0, "123", b"12", [None], [float("nan")], [0.0, float("inf")], [[0.5], [1.0]], np.ones((2, 1))],
    ids=str,
)
def test_what_is_no_row_of_finite_times_is_refused(short_gop: Path, times: object) -> None:
    with pytest.raises(ValueError, match="pts_seconds must be one or more finite times"):
        read_frames(short_gop, times)


def test_equal_clips_have_frames_of_their_own(short_gop: Path) -> None:
    one, other = decode.read_clips(short_gop, [[0.0, 1.0], [0.0, 1.0]])
    one.frames[:] = 0
    assert numbers(other) == [0, 25]
    assert [number_of(frame) for frame in read_frames(short_gop, torch.tensor([1.0, 0.0])).frames] == [25, 0]
