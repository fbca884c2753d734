import json
import tarfile
from pathlib import Path

import pytest
import torch
from numbered_video import number_of, write_numbered

from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import batches
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.mixture import Mixture
from tubelet.data.shard import shard_manifest
from tubelet.labels import LabelSpace
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
    with pytest.raises(InputError, match=r"v\.2\.mp4: is made of pictures"):
        shard_manifest(manifest, out)
    assert not out.exists()
    with pytest.raises(InputError, match="plain: holds a manifest"):
        shard_manifest(manifest, manifest.root)
