"""Clips read together, sizes and crops, and streams that are out of the ordinary."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from make_damaged import write_sound
from numbered_video import number_of, painted, write_at, write_numbered, write_with_b_frames

from tubelet.types import VideoError
from tubelet.video import decode, plan
from tubelet.video.container import open_video
from tubelet.video.convert import Crop, FrameSize
from tubelet.video.decode import iter_frames, read_clips, read_frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module", params=[12, 250])
def video(request: pytest.FixtureRequest, folder: Path) -> Path:
    return write_numbered(folder / f"gop{request.param}.mp4", gop=request.param)


@pytest.fixture(scope="module")
def short_gop(folder: Path) -> Path:
    return write_numbered(folder / "short_gop.mp4", gop=12)


def numbers(clip: object) -> list[int]:
    return [number_of(frame) for frame in clip.frames]  # type: ignore[attr-defined]


def test_one_pass_for_ten_clips_is_ten_separate_reads(video: Path) -> None:
    clips = [[0.3 * k + i * 0.08 for i in range(8)] for k in (9, 0, 1, 2, 3, 4, 5, 6, 7, 8)] + [[-1.0, 9.0]]
    together = read_clips(video, clips, size=FrameSize(short_side=64))
    for clip, times in zip(together, clips, strict=True):
        alone = read_frames(video, times, size=FrameSize(short_side=64))
        assert torch.equal(clip.frames, alone.frames)
        assert np.array_equal(clip.pts_seconds, alone.pts_seconds)
        assert clip.num_clamped == alone.num_clamped
    assert together[-1].num_clamped == 2


def test_one_pass_decodes_a_shared_frame_once_and_jumps_over_the_rest(
    short_gop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    plain = decode.read_planned

    def spy(video, group, batch):  # type: ignore[no-untyped-def]
        picked = plain(video, group, batch)
        groups.append(len(batch))
        return picked

    monkeypatch.setattr(decode, "read_planned", spy)
    first, again, far = read_clips(short_gop, [[0.4, 0.44], [0.44, 0.48], [3.0, 3.04]])
    assert [numbers(c) for c in (first, again, far)] == [[10, 11], [11, 12], [75, 76]]
    assert groups == [3, 5]  # two runs of packets: frames 10, 11 and 12, then 75 and 76


def test_groups_that_share_a_key_frame_are_one(folder: Path) -> None:
    long_gop = write_numbered(folder / "one_gop.mp4", gop=250)
    with open_video(long_gop) as video:
        groups = plan.plan(video, [0.4, 2.0, 3.6])
    assert [group.times for group in groups] == [[0.4, 2.0, 3.6]]
    assert numbers(read_frames(long_gop, [0.4, 2.0, 3.6])) == [10, 50, 90]


def test_a_stride_in_frames_of_the_file_needs_no_probe(folder: Path) -> None:
    for fps in (12.5, 25, 50):
        path = write_numbered(folder / f"rate{fps}.mp4", num_frames=50, fps=fps)
        clip = read_frames(path, lambda rate: [(10 + 2 * i) / rate for i in range(8)])
        assert numbers(clip) == list(range(10, 26, 2))


def test_times_behind_the_end_are_planned_too(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_read_plain", lambda *_: pytest.fail("the slow path was taken"))
    clip = read_frames(video, [3.9, 3.96, 4.5])
    assert numbers(clip) == [97, 99, 99]  # 3.9 is as near to 3.88 as to 3.92
    assert clip.num_clamped == 1


def test_short_side_exact_and_crop(short_gop: Path) -> None:
    assert tuple(read_frames(short_gop, [1.0], size=FrameSize(short_side=48)).frames.shape) == (1, 3, 48, 80)
    assert tuple(read_frames(short_gop, [1.0], size=FrameSize(exact_hw=(40, 50))).frames.shape) == (1, 3, 40, 50)
    no_larger = FrameSize(short_side=200, shrink_only=True)
    assert tuple(read_frames(short_gop, [1.0], size=no_larger).frames.shape) == (1, 3, 96, 160)
    whole = read_frames(short_gop, [1.0, 1.5], size=FrameSize(exact_hw=(48, 80))).frames
    for y, x, top, left in ((0.0, 0.0, 0, 0), (0.5, 0.5, 8, 24), (1.0, 1.0, 16, 48)):
        part = read_frames(short_gop, [1.0, 1.5], size=FrameSize(exact_hw=(48, 80), crop=Crop(32, 32, y, x))).frames
        assert torch.equal(part, whole[:, :, top : top + 32, left : left + 32])
    with pytest.raises(ValueError, match="does not fit"):
        read_frames(short_gop, [1.0], size=FrameSize(crop=Crop(97, 10)))
    with pytest.raises(ValueError, match="one of"):
        read_frames(short_gop, [1.0], size=FrameSize(long_side=10, short_side=10))


def test_crop_and_sides_count_after_rotation(folder: Path) -> None:
    path = write_at(folder / "turned_crop.mp4", [i / 25 for i in range(5)], rotation=90)
    whole = read_frames(path, [0.08], size=FrameSize(exact_hw=(80, 48))).frames
    upright = read_frames(path, [0.08]).frames.float()
    assert tuple(whole.shape) == (1, 3, 80, 48)
    expected = torch.nn.functional.interpolate(upright, size=(80, 48), mode="bilinear", antialias=True)
    assert (whole - expected).abs().mean() < 1.5
    corner = FrameSize(exact_hw=(80, 48), crop=Crop(16, 24, 1.0, 0.0))
    part = read_frames(path, [0.08], size=corner).frames
    assert torch.equal(part, whole[:, :, 64:, :24])
    third = list(iter_frames(path, size=corner))[2][1]
    assert (third.transpose(2, 0, 1) == part[0].numpy()).all()


def test_lossy_is_near_and_keeps_the_times(folder: Path) -> None:
    path = write_numbered(folder / "lossy.mp4", gop=12)
    exact, lossy = (read_frames(path, [0.4, 1.2, 2.0], lossy=flag) for flag in (False, True))
    assert numbers(lossy) == numbers(exact) == [10, 30, 50]
    difference = (exact.frames.float() - lossy.frames.float()).abs()
    assert 0 < difference.mean() < 3


def test_odd_sizes(folder: Path) -> None:
    path = folder / "odd.mkv"
    with av.open(str(path), "w") as box:
        stream = box.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 161, 97, "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(painted(number, width=161, height=97), format="rgb24")
            box.mux(stream.encode(frame.reformat(format="yuv420p")))
        box.mux(stream.encode(None))
    assert tuple(read_frames(path, [0.2]).frames.shape) == (1, 3, 97, 161)
    for size in (FrameSize(long_side=80), FrameSize(short_side=51), FrameSize(exact_hw=(33, 77))):
        assert numbers(read_frames(path, [0.2, 0.32], size=size)) == [5, 8]


def test_frames_before_an_edit_list_are_not_shown(folder: Path) -> None:
    """A file that starts 0.4 s before its presentation: frames 0 to 9 are decoded and dropped by the edit list."""
    source = write_numbered(folder / "whole_edit.mp4", gop=12)
    path = folder / "edited.mp4"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        shift = round(0.4 / old.streams.video[0].time_base)
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                new.mux(packet)
    everything = [number_of(frame.transpose(2, 0, 1)) for _, frame in iter_frames(path)]
    first = everything[0]
    assert everything == list(range(first, 100))
    assert numbers(read_frames(path, [0.0, 0.4, 1.0])) == [first, first + 10, first + 25]


def test_missing_timestamps_are_counted(folder: Path) -> None:
    """A raw H.264 stream inside an AVI has no presentation times."""
    path = folder / "no_times.avi"
    write_with_b_frames(path, 40, codec="libx264")
    assert numbers(read_frames(path, [0.4, 0.8, 1.2])) == [10, 20, 30]


def rewritten(source: Path, target: Path, *, missing: int = 0, as_decoded: bool = False) -> Path:
    """Copy packets: each ``missing``-th without a time, or all with the time at which they are decoded."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.dts is not None]
        for number, packet in enumerate(packets):
            packet.stream = stream
            if missing and number % missing == 1:
                packet.pts = None
            if as_decoded:
                packet.pts = packet.dts
            new.mux(packet)
    return target


def test_a_transport_stream_with_missing_times(short_gop: Path, folder: Path) -> None:
    path = rewritten(short_gop, folder / "missing.ts", missing=3)
    assert [number_of(frame.transpose(2, 0, 1)) for _, frame in iter_frames(path)] == list(range(100))
    assert numbers(read_frames(path, [0.0, 0.4, 0.8, 1.0, 3.0])) == [0, 10, 20, 25, 75]


def test_an_mp4_whose_missing_times_were_guessed(short_gop: Path, folder: Path) -> None:
    """An mp4 cannot leave a time out: the muxer writes that of decoding, and frames would come beside their place."""
    path = rewritten(short_gop, folder / "missing.mp4", missing=3)
    with pytest.raises(VideoError, match="the times of its frames go backwards"):
        read_frames(path, [0.0, 0.4, 0.8, 1.0, 2.0, 3.0])
    with pytest.raises(VideoError, match="the times of its frames go backwards"):
        list(iter_frames(path))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_times_that_go_backwards_are_told(short_gop: Path, folder: Path, suffix: str) -> None:
    path = rewritten(short_gop, folder / f"as_decoded.{suffix}", as_decoded=True)
    with pytest.raises(VideoError, match="the times of its frames go backwards, from"):
        list(iter_frames(path))
    with pytest.raises(VideoError, match="the times of its frames go backwards, from"):
        read_frames(path, [0.5, 1.0, 2.0])


def with_frame_ticks(source: Path, target: Path, ticks: int) -> Path:
    """Copy an mp4 and write ``ticks`` of its clock as the length of every frame (box stts)."""
    data = bytearray(source.read_bytes())
    table = data.index(b"stts") + 8
    (entries,) = struct.unpack(">I", data[table : table + 4])
    for entry in range(entries):
        place = table + 8 + 8 * entry
        data[place : place + 4] = struct.pack(">I", ticks)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("ticks", "reason"),
    [
        (0, "cut short or damaged: the frames end at|the times of its frames go backwards"),
        (0xFFFFFFFF, "claims 12800 frames per second, expected one in 3600 s up to 1000 in one"),
        (0x7FFFFFFF, "claims 5.96046e-06 frames per second"),
    ],
)
def test_frames_of_impossible_lengths_are_refused(short_gop: Path, folder: Path, ticks: int, reason: str) -> None:
    path = with_frame_ticks(short_gop, folder / f"{ticks}.mp4", ticks)
    for read in (lambda: read_frames(path, [1.0]), lambda: list(iter_frames(path))):
        with pytest.raises(VideoError, match=reason):
            read()


def test_a_lost_table_of_shown_times_is_told(short_gop: Path, folder: Path) -> None:
    path = folder / "no_ctts.mp4"
    path.write_bytes(short_gop.read_bytes().replace(b"ctts", b"free"))
    with pytest.raises(VideoError, match="the times of its frames go backwards"):
        list(iter_frames(path))


def test_a_cover_picture_is_no_video(folder: Path) -> None:
    """A sound file with a cover has a video stream of one picture, which is not its video."""
    path = folder / "cover.mp4"
    write_sound(folder / "sound.mp4")
    with av.open(str(folder / "sound.mp4")) as old, av.open(str(path), "w") as new:
        sound = new.add_stream_from_template(old.streams.audio[0])
        cover = new.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        new.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        for packet in old.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                new.mux(packet)
    with pytest.raises(VideoError, match="has no video stream"):
        read_frames(path, [0.0])


def test_a_stream_of_one_picture_is_a_video_of_one_frame(folder: Path) -> None:
    path = write_numbered(folder / "still.mp4", num_frames=1)
    clip = read_frames(path, [0.0, 0.02, 5.0])
    assert numbers(clip) == [0, 0, 0]
    assert clip.num_clamped == 1
