"""What an import finds in a folder: kinds of files, pictures, frames, names that differ in the suffix only."""

import json
import tarfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from layout_builder import SECONDS, Builder, write_video
from PIL import Image
from still_pictures import write_pictures

from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest import Manifest
from tubelet.data.sources.class_folders import import_class_folders
from tubelet.data.sources.kinetics import import_kinetics
from tubelet.data.sources.media_folder import MediaFolder, without_suffix
from tubelet.data.sources.path_lists import import_path_lists
from tubelet.data.sources.video_table import import_video_table
from tubelet.data.verify import verify_manifest
from tubelet.types import InputError, Preprocess
from tubelet.video.media import VIDEO_SUFFIXES

KINETICS = "label,youtube_id,time_start,time_end,split\n"


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("kinds") / "short.mp4")


@pytest.fixture
def build(tmp_path: Path, short: Path) -> Builder:
    return Builder(tmp_path, short)


def class_folders(build: Builder, **options: Any) -> Manifest:
    return import_class_folders(
        media_root=build.folder / "media", out=build.folder / "manifest", val_share=0.0, **options
    )


def table(build: Builder, *rows: str, **options: Any) -> Manifest:
    train = build.text("t.csv", "path,label\n" + "".join(f"{row},{row.split('/')[0]}\n" for row in rows))
    return import_video_table(
        train=train, media_root=build.folder / "media", out=build.folder / "manifest", name="t", **options
    )


def cells(manifest: Manifest) -> dict[str, str]:
    return {row["clip_id"]: row["video"] for row in manifest.clips.to_pylist()}


def picture(path: Path, grey: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 24, 3), grey, dtype=np.uint8)).save(path)


def test_kinetics_trimmed_names_are_never_cut_again(build: Builder) -> None:
    media = build.folder / "media"
    media.mkdir()
    for name in ("early_000001_000002", "late_000250_000251", "whole", "ended"):
        write_video(media / f"{name}.mp4", frames=25)  # 2.5 s, a second and a half more than the clip
    rows = (("early", 1), ("late", 250), ("whole", 1), ("ended", 9))
    text = "".join(f"abseiling,{video},{start},{start + 1},train\n" for video, start in rows)
    manifest = import_kinetics(
        annotations=[build.text("k.csv", KINETICS + text)], media_root=media, out=build.folder / "manifest"
    )
    times = {row["video"]: (row["start_seconds"], row["end_seconds"]) for row in manifest.clips.to_pylist()}
    assert times == {
        "early_000001_000002.mp4": (0.0, pytest.approx(2.5)),
        "late_000250_000251.mp4": (0.0, pytest.approx(2.5)),
        "whole.mp4": (1.0, 2.0),
    }
    assert manifest.counts["clips_cut_from_whole_videos"] == manifest.counts["clips_behind_end"] == 1
    left_out = json.loads((manifest.root / "left_out.json").read_text())["videos"]
    assert left_out == {"ended_000009_000010": "begins at 9 s, but ended.mp4 ends at 2.50 s"}


def test_a_video_that_does_not_say_its_length_is_measured(build: Builder) -> None:
    path = build.folder / "media" / "run" / "a.webm"
    path.parent.mkdir(parents=True)
    with av.open(path, "w", format="webm", options={"live": "1"}) as box:  # as a browser records
        stream = box.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * number, dtype=np.uint8))
            box.mux(stream.encode(frame.reformat(format="yuv420p")))
        box.mux(stream.encode(None))
    with av.open(path) as box:
        assert not box.duration
    (row,) = class_folders(build).clips.to_pylist()
    assert (row["start_seconds"], row["end_seconds"]) == (0.0, pytest.approx(0.8, abs=0.01))


@pytest.mark.parametrize(
    ("name", "form", "codec"),
    [
        ("a.wmv", "asf", "msmpeg4"),
        ("a.asf", "asf", "msmpeg4"),
        ("a.mpeg", "mpeg", "mpeg1video"),
        ("a.mpg", "mpeg", "mpeg1video"),
        ("a.3gp", "3gp", "mpeg4"),
        ("a.3g2", "3g2", "mpeg4"),
        ("a.ogv", "ogg", "libvpx"),
        ("a.ogg", "ogg", "libvpx"),
        ("a.MTS", "mpegts", "mpeg2video"),
        ("a.m2ts", "mpegts", "mpeg2video"),
    ],
)
def test_suffixes_that_the_decoder_reads_are_found(build: Builder, name: str, form: str, codec: str) -> None:
    path = build.folder / "media" / "run" / name
    path.parent.mkdir(parents=True)
    options = {"mpegts_m2ts_mode": "1"} if form == "mpegts" else {}
    with av.open(path, "w", format=form, options=options) as box:
        stream = box.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 176, 144, "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((144, 176, 3), 20 * number, dtype=np.uint8))
            box.mux(stream.encode(frame.reformat(format="yuv420p")))
        box.mux(stream.encode(None))
    assert cells(class_folders(build)) == {"run/a": f"run/{name}"}
    assert without_suffix(name) == "a"


def test_suffixes_are_said_once_and_are_lower_case() -> None:
    assert len(set(VIDEO_SUFFIXES)) == len(VIDEO_SUFFIXES)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in VIDEO_SUFFIXES)


def test_files_of_other_kinds_and_pictures_beside_videos_are_counted(build: Builder) -> None:
    build.videos("run/a.mp4", "run/b.xyz", "walk/c.rm", "top.mp4")
    build.text("media/run/.hidden", "")
    picture(build.folder / "media" / "run" / "thumbnail.jpg")
    manifest = class_folders(build)
    assert cells(manifest) == {"run/a": "run/a.mp4"}
    counts = {key: manifest.counts[key] for key in ("files_of_other_kinds", "pictures_left_out")}
    assert counts == {"files_of_other_kinds": 2, "pictures_left_out": 1}
    left_out = json.loads((manifest.root / "left_out.json").read_text())["videos"]
    assert left_out == {"top.mp4": "is in no class folder"}


def test_every_video_left_out_is_named_with_the_reason(build: Builder, caplog: pytest.LogCaptureFixture) -> None:
    build.videos("a/good.mp4")
    for number in range(5):
        build.text(f"media/a/bad{number}.mp4", "no video")
    bad, gone = ([f"a/{what}{number}.mp4" for number in range(5)] for what in ("bad", "gone"))
    manifest = table(build, "a/good.mp4", *bad, *gone)
    left_out = json.loads((manifest.root / "left_out.json").read_text())["videos"]
    assert set(left_out) == {*bad, *gone}
    assert left_out[bad[4]].startswith("not a video file that can be read")
    assert left_out[gone[4]] == "no video, frames or picture of this name is there"
    table(build, "a/good.mp4")  # written again: nothing is left out any more
    assert not (manifest.root / "left_out.json").exists()


def test_an_exact_path_goes_before_another_suffix(build: Builder) -> None:
    media = build.videos("run/a.mp4", "run/a.mkv", "other/a.mkv")
    folder = MediaFolder(media)
    assert folder.find(["run/a.mp4"]) == "run/a.mp4"
    assert folder.find(["./run/a.mkv"]) == "run/a.mkv"
    assert folder.find(["a.mp4"]) == "run/a.mp4"
    for name in ("run/a", "run/a.webm", "a.mkv"):
        with pytest.raises(InputError, match="is both"):
            folder.find([name])
    assert sorted(cells(table(build, "run/a.mp4", "run/a.mkv")).values()) == ["run/a.mkv", "run/a.mp4"]


def test_class_folders_call_clips_by_their_suffix_where_nothing_else_differs(build: Builder) -> None:
    build.videos("run/a.mp4", "run/a.mkv", "run/b.mp4")
    write_pictures(build.folder / "media" / "run" / "b", 4)
    picked = cells(class_folders(build, frames_fps=4.0))
    assert picked == {
        "run/a.mkv": "run/a.mkv",
        "run/a.mp4": "run/a.mp4",
        "run/b": "run/b",
        "run/b.mp4": "run/b.mp4",
    }


def test_a_frame_folder_that_is_called_like_a_video_is_frames(build: Builder) -> None:
    media = build.folder / "media"
    write_pictures(media / "run" / "v_a.avi", 6)
    (media / "run" / "loop.mp4").symlink_to("loop.mp4")
    build.videos("run/deep.mp4/v_b.mp4")
    manifest = class_folders(build, frames_fps=12.0)
    rows = {row["clip_id"]: (row["end_seconds"], row["fps"]) for row in manifest.clips.to_pylist()}
    assert rows == {"run/v_a": (0.5, 12.0), "run/deep.mp4/v_b": (pytest.approx(SECONDS), 0.0)}
    assert manifest.counts["videos_unreadable"] == 1
    with pytest.raises(InputError, match=r"v_a\.avi: frames without a rate"):
        table(build, "run/v_a.avi")


def check_reads(manifest: Manifest, num_frames: int = 4) -> None:
    report = verify_manifest(manifest, manifest.root / "verify.json", num_workers=1)
    assert report.items == ()
    preprocess = Preprocess(size=16, num_frames=num_frames, frame_stride=2, fps=25.0)
    data = ClipDataset(manifest, "train", preprocess=preprocess, augment=None)
    for index in range(len(data)):
        sample = data.sample(index, seed=0)
        assert sample.frames.shape[0] == num_frames
        assert (sample.frames == sample.frames[:1]).all()
        assert sample.num_clamped == 0


def test_a_table_names_single_pictures(build: Builder) -> None:
    media = build.folder / "media"
    for number, suffix in enumerate((".jpg", ".jpeg", ".png", ".PNG")):
        picture(media / "run" / f"{number}{suffix}", grey=50 * number)
    picture(media / "top.png", grey=220)
    manifest = table(build, "run/0.jpg", "run/1.jpeg", "run/2.png", "./run/3.PNG", "top.png", "run/gone.jpg")
    clips = manifest.clips.to_pylist()
    assert [row["video"] for row in clips] == ["run/0.jpg", "run/1.jpeg", "run/2.png", "run/3.PNG", "top.png"]
    assert {(row["start_seconds"], row["end_seconds"], row["fps"]) for row in clips} == {(0.0, 1.0, 0.0)}
    assert manifest.counts["videos_missing"] == 1
    check_reads(manifest)


def test_a_table_of_pictures_needs_no_video_in_the_folder(build: Builder) -> None:
    picture(build.folder / "media" / "a.jpg")
    build.text("media/b.jpg", "no picture")
    manifest = table(build, "a.jpg", "b.jpg")
    assert cells(manifest) == {"a.jpg": "a.jpg"}
    assert manifest.counts["videos_unreadable"] == 1
    with pytest.raises(InputError, match="no class folders"):
        class_folders(build)


def test_class_folders_of_pictures_are_clips_of_one_frame(build: Builder) -> None:
    media = build.folder / "media"
    for number in range(4):
        picture(media / "train" / ("run" if number < 2 else "walk") / f"{number}.jpg", grey=50 * number)
    manifest = class_folders(build)
    assert cells(manifest) == {
        name: name for name in ("train/run/0.jpg", "train/run/1.jpg", "train/walk/2.jpg", "train/walk/3.jpg")
    }
    assert manifest.label_space.names == ("run", "walk")
    check_reads(manifest)


def test_with_a_rate_pictures_are_frames_of_videos(build: Builder) -> None:
    media = build.folder / "media"
    write_pictures(media / "run" / "v", 4)
    write_pictures(media / "walk", 4)
    assert cells(class_folders(build, frames_fps=4.0)) == {"run/v": "run/v"}
    with pytest.raises(InputError, match="frames without a rate"):
        class_folders(build)
    with tarfile.open(media / "run" / "w.tar", "w") as tar:
        tar.add(media / "run" / "v" / "00001.png", arcname="1.png")
    manifest = class_folders(build, frames_fps=1.0)
    assert cells(manifest)["run/w"] == "run/w.tar"


def test_lists_of_paths_name_pictures_too(build: Builder) -> None:
    picture(build.folder / "media" / "run" / "a.jpg")
    picture(build.folder / "media" / "run" / "b.jpg", grey=90)
    manifest = import_path_lists(
        train=build.text("l.csv", "run/a.jpg 0\n../media/run/b.jpg 0\n"),
        media_root=build.folder / "media",
        out=build.folder / "manifest",
    )
    assert cells(manifest) == {"run/a.jpg": "run/a.jpg"}  # never one that leaves the root
