"""Every place a video can lie gives the same frames; what cannot be reached is one typed error."""

import io
import json
import os
import tarfile
from pathlib import Path

import av
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numbered_video import number_of, painted, write_numbered
from PIL import Image

from tubelet.types import InputError, VideoError
from tubelet.video.cache import FrameCache
from tubelet.video.container import probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import iter_frames, read_frames
from tubelet.video.media import Media, members, resolve_media

TIMES = [0.0, 0.4, 1.2]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("media") / "video.mp4", num_frames=50)


def numbers(clip: object) -> list[int]:
    return [number_of(frame) for frame in clip.frames]  # type: ignore[attr-defined]


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def png(number: int, **size: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(painted(number, **size)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(params=["shard", "json", "parquet", "memory", "memory shard"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path, video: Path) -> str:
    """The same video in another place."""
    data = video.read_bytes()
    shard = write_tar(tmp_path / "shard.tar", {"a.txt": b"x" * 700, "b/video.mp4": data, "c.mp4": b"junk"})
    memory = fsspec.filesystem("memory")
    if request.param == "memory":
        memory.pipe("/media/video.mp4", data)
        return "memory://media/video.mp4"
    if request.param == "memory shard":
        memory.pipe("/media/shard.tar", shard.read_bytes())
        return "memory://media/shard.tar#b/video.mp4"
    listed = members(Media(str(shard)))
    if request.param == "json":
        Path(f"{shard}.index.json").write_text(json.dumps({name: list(place) for name, place in listed.items()}))
    if request.param == "parquet":
        rows = [{"name": name, "offset": offset, "size": size} for name, (offset, size) in listed.items()]
        pq.write_table(pa.Table.from_pylist(rows), f"{shard}.index.parquet")
    return f"{shard}#b/video.mp4"


def test_a_video_is_the_same_wherever_it_lies(elsewhere: str, video: Path, tmp_path: Path) -> None:
    here, there = read_frames(video, TIMES), read_frames(elsewhere, TIMES)
    assert numbers(there) == [0, 10, 30]
    assert torch.equal(here.frames, there.frames)
    assert probe(elsewhere).duration_seconds == probe(video).duration_seconds == 2.0
    assert sum(1 for _ in iter_frames(Media(elsewhere))) == 50
    cached = FrameCache(tmp_path / "cache", FrameSize(long_side=160), 25.0).clip(elsewhere, TIMES)
    assert numbers(cached) == [0, 10, 30]


def test_an_index_is_used_instead_of_the_headers(tmp_path: Path, video: Path) -> None:
    shard = write_tar(tmp_path / "s.tar", {"v.mp4": video.read_bytes()})
    offset, size = members(Media(str(shard)))["v.mp4"]
    Path(f"{shard}.index.json").write_text(json.dumps({"renamed.mp4": [offset, size]}))
    os.utime(shard, ns=(1, 1))  # the headers read above are remembered until the shard changes
    assert numbers(read_frames(f"{shard}#renamed.mp4", [0.4])) == [10]
    with pytest.raises(VideoError, match=r"has no member 'v\.mp4'"):
        read_frames(f"{shard}#v.mp4", [0.4])


@pytest.mark.parametrize("content", ["{", "[1]", '{"v.mp4": [0, 10000000]}', '{"v.mp4": [-5, 10]}', '{"v.mp4": 3}'])
def test_a_wrong_index_is_named(tmp_path: Path, video: Path, content: str) -> None:
    shard = write_tar(tmp_path / "s.tar", {"v.mp4": video.read_bytes()})
    Path(f"{shard}.index.json").write_text(content)
    with pytest.raises(VideoError, match=r"s\.tar\.index\.json: "):
        read_frames(f"{shard}#v.mp4", [0.0])


def test_a_tar_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(b"junk" * 1000)
    with pytest.raises(VideoError, match="not a tar file"):
        read_frames(f"{tmp_path / 's.tar'}#v.mp4", [0.0])


@pytest.fixture(params=["folder", "tar", "remote tar"])
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Media:
    """Twelve frames at 5 per second whose names are not padded, beside a file that is no frame."""
    files = {f"img_{number + 1}.png": png(number) for number in range(12)} | {"notes.txt": b"not a frame"}
    if request.param == "folder":
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        return Media(str(tmp_path), fps=5.0)
    tar = write_tar(tmp_path / "frames.tar", files)
    if request.param == "tar":
        return Media(str(tar), fps=5.0)
    fsspec.filesystem("memory").pipe("/media/frames.tar", tar.read_bytes())
    return Media("memory://media/frames.tar", fps=5.0)


def test_frames_in_a_folder_or_tar_are_a_video(pictures: Media, tmp_path: Path) -> None:
    clip = read_frames(pictures, [0.4, 1.9, -1.0, 2.2, 9.0])
    assert numbers(clip) == [2, 9, 0, 11, 11]  # 1.9 is as near to 1.8 as to 2.0
    assert clip.pts_seconds.tolist() == [0.4, 1.8, 0.0, 2.2, 2.2]
    assert clip.num_clamped == 2
    assert np.array_equal(clip.frames[0].permute(1, 2, 0).numpy(), painted(2))
    meta = probe(pictures)
    assert (meta.width, meta.height, meta.fps, meta.duration_seconds) == (160, 96, 5.0, 2.4)
    assert [number_of(f.transpose(2, 0, 1)) for _, f in iter_frames(pictures, start_seconds=1.0)] == list(range(5, 12))
    assert tuple(read_frames(pictures, [0.0], size=FrameSize(long_side=80)).frames.shape) == (1, 3, 48, 80)
    assert numbers(read_frames(pictures, lambda fps: [3 / fps])) == [3]
    assert numbers(FrameCache(tmp_path / "cache", FrameSize(long_side=160), 5.0).clip(pictures, [0.4])) == [2]


def test_frames_without_a_rate_are_refused(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(0))
    with pytest.raises(VideoError, match="needs its frame rate"):
        read_frames(tmp_path, [0.0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="has no frame"):
        read_frames(Media(str(tmp_path / "empty"), fps=5.0), [0.0])


def test_a_single_picture_is_a_video_of_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(png(7))
    clip = read_frames(path, [0.0, 0.5, 3.0], size=FrameSize(short_side=48))
    assert numbers(clip) == [7, 7, 7]
    assert clip.num_clamped == 1
    shard = write_tar(tmp_path / "s.tar", {"one.png": png(7)})
    assert numbers(read_frames(f"{shard}#one.png", [0.0])) == [7]


@pytest.mark.parametrize(
    ("names", "times"),
    [
        (["f_001.png", "f_002.png", "f_004.png", "f_005.png"], [0.0, 0.2, 0.6, 0.8]),  # the third is missing
        (["f_000.png", "f_005.png", "f_010.png", "f_015.png"], [0.0, 0.2, 0.4, 0.6]),  # every fifth was kept
        (["a.png", "b.png", "c1.png", "d2.png"], [0.0, 0.2, 0.4, 0.6]),
    ],
)
def test_a_frame_that_is_missing_moves_no_other(names: list[str], times: list[float], tmp_path: Path) -> None:
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(png(number))
    media = Media(str(tmp_path), fps=5.0)
    shown = [(round(time, 6), number_of(frame.transpose(2, 0, 1))) for time, frame in iter_frames(media)]
    assert shown == [(time, number) for number, time in enumerate(times)]
    assert numbers(read_frames(media, times)) == [0, 1, 2, 3]
    assert probe(media).duration_seconds == pytest.approx(times[-1] + 0.2)


def test_pictures_of_16_bits_keep_their_upper_8(tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 48 * 64).astype(np.uint16).reshape(48, 64)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    frame = read_frames(tmp_path / "deep.png", [0.0]).frames[0]
    assert np.array_equal(frame.numpy(), np.stack([levels >> 8] * 3))


def test_a_recording_that_does_not_say_its_length_is_counted(video: Path, tmp_path: Path) -> None:
    live = tmp_path / "live.mkv"
    with av.open(str(video)) as source, av.open(str(live), "w", format="matroska", options={"live": "1"}) as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    with av.open(str(live)) as container:
        assert not container.duration  # nothing claims a length
    assert probe(live).duration_seconds == pytest.approx(probe(video).duration_seconds, abs=0.002)


def test_pictures_are_turned_as_their_exif_entry_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter clockwise
    Image.fromarray(painted(3)).save(tmp_path / "turned.png", exif=exif)
    frame = read_frames(tmp_path / "turned.png", [0.0]).frames[0].permute(1, 2, 0).numpy()
    assert np.array_equal(np.rot90(frame), painted(3))


def test_damaged_pictures_name_file_and_time(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    whole = (tmp_path / "1.png").read_bytes()
    media = Media(str(tmp_path), fps=10.0)
    for data, reason in (
        (whole[: len(whole) // 2], "cannot be decoded"),
        (b"text", "is not a picture"),
        (b"", "empty"),
    ):
        (tmp_path / "1.png").write_bytes(data)
        with pytest.raises(VideoError, match=reason):
            read_frames(media, [0.1])
        assert numbers(read_frames(media, [0.2])) == [2]
    (tmp_path / "1.png").write_bytes(whole)
    with pytest.raises(VideoError, match=r"at 0\.100 s: 160x96 exceed the limit of 100 pixels"):
        read_frames(media, [0.1], max_pixels=100)


def test_places_that_cannot_be_reached_are_one_line(tmp_path: Path) -> None:
    for name, reason in (
        ("memory://media/none.mp4", "no such file"),
        ("memory://media/none.tar#a.mp4", "no such file"),
        ("s3://bucket/a.mp4", "needs another package"),
        ("memory://media/../a.mp4", "climbs out"),
        (str(tmp_path / "none.tar#a.mp4"), "no such file"),
        (str(tmp_path / "none.mp4"), "no such file"),
    ):
        with pytest.raises(VideoError, match=reason) as error:
            read_frames(name, [0.0])
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("video", ["../a.mp4", "a/../../b.mp4", "/etc/passwd", "", ".", "a/..", "a\0b.mp4"])
def test_cells_that_leave_the_media_root_are_refused(tmp_path: Path, video: str) -> None:
    with pytest.raises(VideoError):
        resolve_media(tmp_path, video)


def test_cells_below_the_media_root(tmp_path: Path) -> None:
    assert resolve_media(tmp_path, "a/b.mp4").location == str(tmp_path / "a/b.mp4")
    assert resolve_media(tmp_path, "a/../b.mp4").location == str(tmp_path / "b.mp4")
    assert resolve_media(tmp_path, str(tmp_path / "b.mp4")).location == str(tmp_path / "b.mp4")
    assert resolve_media(tmp_path, "s.tar#b/x.mp4") == Media(f"{tmp_path}/s.tar#b/x.mp4")
    assert resolve_media(tmp_path, "memory://a/b.mp4").location == "memory://a/b.mp4"
    assert resolve_media(tmp_path, "frames", 12.0) == Media(str(tmp_path / "frames"), 12.0)
    with pytest.raises(VideoError, match="http:// are not followed"):
        resolve_media(tmp_path, "http://host/a.mp4")


def test_cells_below_a_root_in_a_store() -> None:
    for root in ("memory://bucket/shards", "memory://bucket/shards/"):
        assert resolve_media(root, "s.tar#b/x.mp4", 5.0) == Media("memory://bucket/shards/s.tar#b/x.mp4", 5.0)
        assert resolve_media(root, "./a//b.mp4").location == "memory://bucket/shards/a/b.mp4"
        assert resolve_media(root, "s3://other/b.mp4").location == "s3://other/b.mp4"
        for cell in ("../a.mp4", "a/../b.mp4", "/etc/passwd", "", ".", "a\0b", "file:///etc/passwd", "a::/etc/passwd"):
            with pytest.raises(VideoError):
                resolve_media(root, cell)
    for root in ("file:///etc", "http://host", "memory://a/../b"):
        with pytest.raises(VideoError):
            resolve_media(root, "a.mp4")


def test_a_rate_must_make_sense() -> None:
    for fps in (-1.0, float("nan"), 1e6):
        with pytest.raises(InputError, match="frame rate"):
            Media("a", fps)
