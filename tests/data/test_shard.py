import json
import sys
import tarfile
from pathlib import Path

import fsspec
import pytest
import torch
from numbered_video import number_of, painted, write_numbered
from PIL import Image

from tubelet.cli import main
from tubelet.corpus.build import is_present, portable_media_root
from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import batches
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.manifest_writer import rewrite_manifest, write_manifest
from tubelet.data.mixture import Mixture
from tubelet.data.shard import shard_manifest
from tubelet.labels import LabelSpace
from tubelet.records import read_json, write_json
from tubelet.types import InputError, Preprocess, VideoError
from tubelet.video.decode import read_frames
from tubelet.video.media import resolve_media

SPACE = LabelSpace(name="toy", names=("walk", "run", "jump"))
CLIPS = Preprocess(size=48, num_frames=4, frame_stride=2, fps=25)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    (tmp_path / "media/a b").mkdir(parents=True)
    for i in range(5):
        write_numbered(tmp_path / f"media/a b/v.{i}.mp4", num_frames=30, first=100 * i)
    rows = [
        {"clip_id": f"{i}-{k}", "video": f"a b/v.{i}.mp4", "start_seconds": 0.4 * k, "end_seconds": 0.4 * k + 0.4,
         "split": "val" if i == 4 else "train", "labels": [i % 3]}
        for i in (3, 1, 0, 4, 2) for k in range(2)
    ]  # fmt: skip
    return write_manifest(
        tmp_path / "plain", name="toy", kind="classify", multi_label=False, label_space=SPACE,
        media_root=tmp_path / "media", licence="CC0", source="here", clips=rows,
    )  # fmt: skip


def test_shards_hold_the_same_bytes_and_rows(manifest: Manifest, tmp_path: Path) -> None:
    size = (manifest.media_root / "a b/v.0.mp4").stat().st_size
    sharded = shard_manifest(manifest, tmp_path / "sharded", shard_bytes=2 * size)
    folder = tmp_path / "sharded/shards"
    assert sorted(p.name for p in folder.glob("*.tar")) == [f"shard-00000{i}.tar" for i in range(3)]
    cells = sharded.clips.column("video").to_pylist()
    assert cells[:4] == ["shard-000000.tar#00000000.mp4"] * 2 + ["shard-000000.tar#00000001.mp4"] * 2
    assert sharded.counts["shards"] == 3
    for before, after in zip(manifest.clips.to_pylist(), sharded.clips.to_pylist(), strict=True):
        assert {**before, "video": ""} == {**after, "video": ""}
        media = resolve_media(sharded.media_root, after["video"])
        with media.open() as file:
            assert file.read() == (manifest.media_root / before["video"]).read_bytes()
        assert number_of(read_frames(media, [0.4]).frames[0]) == 100 * int(before["clip_id"][0]) + 10
    with tarfile.open(folder / "shard-000000.tar") as tar:  # as other programs read it
        assert tar.getnames() == ["00000000.mp4", "00000000.json", "00000001.mp4", "00000001.json"]
        member = tar.extractfile("00000001.json")
        assert member is not None
        told = json.load(member)
    assert told["video"] == "v.1.mp4"
    assert [clip["labels"] for clip in told["clips"]] == [["run"], ["run"]]
    index = json.loads((folder / "shard-000000.tar.index.json").read_text())
    assert list(index) == ["00000000.mp4", "00000001.mp4"]


def test_training_on_shards_is_training_on_files(manifest: Manifest, tmp_path: Path) -> None:
    """Order is global and resume exact: the batches are those of the files, from any step."""
    moved = tmp_path / "moved"
    shard_manifest(manifest, tmp_path / "sharded", shard_bytes=1).root.rename(moved)
    sets = {
        root: ClipDataset(read_manifest(tmp_path / root), "train", preprocess=CLIPS, augment=None)
        for root in ("plain", "moved")
    }
    plan = Mixture({"t": 8}, batch_size=3, num_steps=8, seed=1)
    plain = {step: batch for step, (batch,) in batches({"t": sets["plain"]}, plan, seed=5)}
    for step, (batch,) in batches({"t": sets["moved"]}, plan, seed=5, start_step=3, num_workers=2):
        assert batch.sample_ids == plain[step].sample_ids
        assert torch.equal(batch.video, plain[step].video)


def test_the_same_manifest_gives_the_same_bytes(manifest: Manifest, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shard_manifest(manifest, tmp_path / name)
    for path in (tmp_path / "one/shards").iterdir():
        assert path.read_bytes() == (tmp_path / "two/shards" / path.name).read_bytes()


def test_what_cannot_be_sharded_is_told_before_anything_is_written(manifest: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (manifest.media_root / "a b/v.2.mp4").unlink()
    with pytest.raises(VideoError, match=r"v\.2\.mp4: no such file"):
        shard_manifest(manifest, out)
    (manifest.media_root / "a b/v.2.mp4").mkdir()
    with pytest.raises(InputError, match=r"v\.2\.mp4: is a folder or tar of frames and needs its frame rate"):
        shard_manifest(manifest, out)
    assert not out.exists()
    with pytest.raises(InputError, match="plain: holds a manifest"):
        shard_manifest(manifest, manifest.root)


@pytest.fixture
def frames(tmp_path: Path) -> Manifest:
    """Two folders of frames, the same rate or not, a tar of frames, a picture and a video."""
    media = tmp_path / "stills"
    for folder, numbers in (("a/one", range(1, 13)), ("b/two", (7, 8, 10, 11))):  # frame 9 is missing
        (media / folder).mkdir(parents=True)
        for number in numbers:
            Image.fromarray(painted(number)).save(media / folder / f"img {number}.png")
    with tarfile.open(media / "three.tar", "w") as tar:
        for path in sorted((media / "a/one").iterdir()):
            tar.add(path, path.name)
        tar.addfile(tarfile.TarInfo("readme.txt"))
    Image.fromarray(painted(40)).save(media / "still.jpg", quality=95)
    write_numbered(media / "v.mp4", num_frames=20, first=50)
    rates = {"a/one": 5.0, "v.mp4": 0.0, "b/two": 10.0, "three.tar": 5.0, "still.jpg": 0.0}
    rows = [
        {"clip_id": video, "video": video, "start_seconds": 0.0, "end_seconds": 0.4, "split": "train", "labels": [0],
         "fps": fps}
        for video, fps in rates.items()
    ]  # fmt: skip
    return write_manifest(
        tmp_path / "still", name="toy", kind="classify", multi_label=False, label_space=SPACE, media_root=media,
        licence="CC0", source="here", clips=rows,
    )  # fmt: skip


def same_frames(ours: Manifest, theirs: Manifest) -> None:
    rows = [one.clips.to_pylist() for one in (ours, theirs)]
    for row, other in zip(*rows, strict=True):
        assert {**row, "video": ""} == {**other, "video": ""}
        clips = [
            read_frames(resolve_media(one.media_root, cell["video"], cell["fps"]), [0.0, 0.1, 0.2, 0.3, 2.0])
            for one, cell in ((ours, row), (theirs, other))
        ]
        assert torch.equal(clips[0].frames, clips[1].frames)
        assert clips[0].pts_seconds.tolist() == clips[1].pts_seconds.tolist()
        assert clips[0].num_clamped == clips[1].num_clamped


def in_a_store(sharded: Manifest, store: str) -> Manifest:
    """Copy the shards to a store, and let the manifest's header name it."""
    for path in (sharded.root / "shards").iterdir():
        fsspec.filesystem("memory").pipe(f"/{store}/shards/{path.name}", path.read_bytes())
        path.unlink()
    header = read_json(sharded.root / "manifest.json")
    write_json(sharded.root / "manifest.json", header | {"media_root": f"memory://{store}/shards/"})
    return read_manifest(sharded.root)


def test_a_folder_of_frames_becomes_a_tar_of_its_own(frames: Manifest, tmp_path: Path) -> None:
    sharded = shard_manifest(frames, tmp_path / "sharded")
    assert sharded.clips["video"].to_pylist() == [
        "frames-00000000.tar", "shard-000000.tar#00000001.mp4", "frames-00000002.tar", "frames-00000003.tar",
        "shard-000000.tar#00000004.jpg",
    ]  # fmt: skip
    assert (sharded.counts["shards"], sharded.counts["tars_of_frames"]) == (1, 3)
    same_frames(frames, sharded)
    folder = tmp_path / "sharded/shards"
    with tarfile.open(folder / "frames-00000002.tar") as tar:  # as other programs read it
        assert tar.getnames() == [f"img {number}.png" for number in (7, 8, 10, 11)]
        assert {entry.mtime for entry in tar} == {0}
    index = json.loads((folder / "frames-00000002.tar.index.json").read_text())
    offset, size = index["img 10.png"]
    still = (Path(str(frames.media_root)) / "b/two/img 10.png").read_bytes()
    assert (folder / "frames-00000002.tar").read_bytes()[offset : offset + size] == still
    copied = (folder / "frames-00000003.tar").read_bytes()
    assert copied == (Path(str(frames.media_root)) / "three.tar").read_bytes()
    again = shard_manifest(frames, tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (again.root / "shards" / path.name).read_bytes()


def test_shards_in_a_store_are_read_by_the_media_root_alone(
    manifest: Manifest, frames: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for one, store in ((manifest, "videos"), (frames, "stills")):
        far = in_a_store(shard_manifest(one, tmp_path / store), store)
        assert far.media_root == f"memory://{store}/shards"
        same_frames(one, far)
        again = shard_manifest(far, tmp_path / f"{store} back")  # from the store
        same_frames(one, again)
    monkeypatch.setattr(sys, "argv", ["tubelet", "data", "info", str(tmp_path / "stills")])
    main()
    assert "160 x 96" in capsys.readouterr().out
    copied = rewrite_manifest(far, tmp_path / "elsewhere", extra_counts={})
    assert copied.media_root == far.media_root
    assert portable_media_root(far.media_root, tmp_path) == far.media_root
    assert is_present(far.media_root, "shard-000000.tar#00000001.mp4")
    assert not is_present(far.media_root, "../shard-000000.tar#00000001.mp4")


@pytest.mark.parametrize(
    ("root", "why"),
    [("file:///etc", "file:// are not followed"), ("s3://a/../b", "climbs"), ("s3://a::file://b", "'::'")],
)
def test_a_media_root_that_is_not_followed_is_one_line(manifest: Manifest, root: str, why: str) -> None:
    path = manifest.root / "manifest.json"
    write_json(path, read_json(path) | {"media_root": root})
    with pytest.raises(InputError, match=why) as error:
        read_manifest(manifest.root)
    assert "\n" not in str(error.value)
