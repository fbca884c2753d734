import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.validate import validate_manifest
from tubelet.labels import LabelSpace
from tubelet.types import InputError

SPACE = LabelSpace(name="moves", names=("walk", "run", "jump"), ids=(5, 7, 9))
CLIP = {"clip_id": "a", "video": "x/a.mp4", "start_seconds": 0, "end_seconds": 2.5, "split": "train", "labels": [1]}
BOX = {"clip_id": "a", "pts_seconds": 1.0, "x1": 0.1, "y1": 0.2, "x2": 0.3, "y2": 1.0, "labels": [0, 2]}


def write(folder: Path, **changes: Any) -> Manifest:
    options: dict[str, Any] = {
        "name": "toy",
        "kind": "classify",
        "multi_label": False,
        "label_space": SPACE,
        "media_root": "../videos",
        "licence": "CC0",
        "source": "a test",
        "clips": [CLIP],
    }
    return write_manifest(folder, **(options | changes))


def localise(folder: Path, *boxes: dict[str, Any], **changes: Any) -> Manifest:
    return write(folder, **({"kind": "localise", "multi_label": True, "boxes": list(boxes)} | changes))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "manifests" / "toy"
    localise(folder, BOX, {**BOX, "pts_seconds": 2.0, "person_id": 4, "score": 0.5, "origin": "detected"})
    manifest = read_manifest(folder)
    assert (manifest.name, manifest.kind, manifest.multi_label, manifest.licence) == ("toy", "localise", True, "CC0")
    assert manifest.label_space == SPACE
    assert manifest.media_root == tmp_path / "manifests" / "videos"
    assert manifest.clips.to_pylist() == [{**CLIP, "start_seconds": 0.0, "fps": 0.0}]
    assert manifest.boxes is not None
    assert manifest.boxes.to_pylist() == [
        {**BOX, "person_id": -1, "score": 1.0, "origin": "annotated"},
        {**BOX, "pts_seconds": 2.0, "person_id": 4, "score": 0.5, "origin": "detected"},
    ]
    assert manifest.counts == {"clips": 1, "videos": 1, "clips_train": 1, "boxes": 2, "keyframes": 2}


def test_the_folder_can_move_with_its_videos(tmp_path: Path) -> None:
    write(tmp_path / "a" / "toy")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert read_manifest(tmp_path / "b" / "toy").media_root == tmp_path / "b" / "videos"
    absolute = write(tmp_path / "toy", media_root=tmp_path / "elsewhere")
    assert absolute.media_root == tmp_path / "elsewhere"


def test_tables_and_rows_give_the_same(tmp_path: Path) -> None:
    rows = [{**CLIP, "clip_id": str(i)} for i in range(3)]
    table = pa.Table.from_pylist(rows)  # int64 starts and labels: cast where nothing is lost
    assert write(tmp_path / "a", clips=rows).clips.equals(write(tmp_path / "b", clips=table).clips)


MISTAKES = [
    ({"labels": [3]}, "clips: row 1: labels is [3], expected columns 0..2 of label space 'moves'"),
    ({"labels": [-1]}, "row 1: labels is [-1]"),
    ({"labels": []}, "row 1: labels is [], expected exactly one"),
    ({"labels": [0, 1]}, "row 1: labels is [0, 1], expected exactly one"),
    ({"labels": ["walk"]}, "row 1: labels is ['walk'], expected list"),
    ({"labels": None}, "row 1: labels is None, expected a value"),
    ({"labels": [None]}, "row 1: labels is [None], expected numbers"),
    ({"split": "trian"}, "row 1: split is 'trian', expected train, val or test"),
    ({"video": "../a.mp4"}, "row 1: video is '../a.mp4', expected a path below the media root"),
    ({"video": "x/../../a.mp4"}, "row 1: video is"),
    ({"video": "/etc/passwd"}, "row 1: video is '/etc/passwd'"),
    ({"video": "file:///etc/passwd"}, "row 1: video is"),
    ({"video": "http://x/a.mp4"}, "row 1: video is"),
    ({"video": "s3://bucket/../a.mp4"}, "row 1: video is"),
    ({"video": "s3:///etc/passwd"}, "row 1: video is"),
    ({"video": ""}, "row 1: video is ''"),
    ({"end_seconds": -1.0}, "row 1: end_seconds is -1.0, expected no earlier than start_seconds"),
    ({"start_seconds": -0.5}, "row 1: start_seconds is -0.5, expected 0 or more"),
    ({"start_seconds": "soon"}, "row 1: start_seconds is 'soon', expected double"),
    ({"end_seconds": float("nan")}, "row 1: end_seconds is nan, expected a finite number"),
    ({"fps": -1.0}, "row 1: fps is -1.0"),
    ({"clip_id": "a"}, "row 1: clip_id is 'a', which an earlier row has already"),
    ({"weight": 3}, "unknown column 'weight'"),
    ({"start_second": 0}, "did you mean 'start_seconds'?"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[m[1][:40] for m in MISTAKES])
def test_a_mistake_in_a_clip_is_one_line_and_nothing_is_written(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as error:
        write(tmp_path / "toy", clips=[CLIP, {**CLIP, "clip_id": "b", **change}])
    assert message in str(error.value)
    assert str(tmp_path / "toy") in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


BOX_MISTAKES = [
    ({"x2": 1.2}, "boxes: row 1: x2 is 1.2, expected 0..1 of the frame, not pixels"),
    ({"y1": -0.1}, "row 1: y1 is -0.1"),
    ({"x1": 0.5}, "row 1: x2 is 0.3, expected greater than x1"),
    ({"y2": 0.2}, "row 1: y2 is 0.2, expected greater than y1"),
    ({"clip_id": "zz"}, "row 1: clip_id is 'zz', expected a clip_id of the clips table"),
    ({"pts_seconds": 3.0}, "row 1: pts_seconds is 3.0, expected inside the clip's"),
    ({"score": 1.5}, "row 1: score is 1.5"),
    ({"origin": "guessed"}, "row 1: origin is 'guessed', expected one of annotated, detected"),
    ({"labels": [7]}, "row 1: labels is [7]"),
]


@pytest.mark.parametrize(("change", "message"), BOX_MISTAKES, ids=[m[1][:40] for m in BOX_MISTAKES])
def test_a_mistake_in_a_box(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        localise(tmp_path / "toy", BOX, {**BOX, **change})
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_kinds_and_boxes_go_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs boxes"):
        write(tmp_path, kind="localise")
    with pytest.raises(InputError, match="must not have boxes"):
        write(tmp_path, boxes=[BOX])
    with pytest.raises(InputError, match="kind is 'track'"):
        write(tmp_path, kind="track")
    with pytest.raises(InputError, match="no rows"):
        write(tmp_path, clips=[])
    with pytest.raises(InputError, match="expected one at most"):
        localise(tmp_path, BOX, multi_label=False)


def test_videos_may_be_uris_or_members_of_a_shard(tmp_path: Path) -> None:
    videos = ["s3://bucket/a.mp4", "https://x.org/a.mp4", "memory://a.mp4", "0001.tar#a.mp4", "frames/a", "x/a\n.mp4"]
    rows = [{**CLIP, "clip_id": str(i), "video": video} for i, video in enumerate(videos)]
    assert write(tmp_path, clips=rows).clips.column("video").to_pylist() == videos


def test_a_manifest_of_version_1_is_read(tmp_path: Path) -> None:
    write(tmp_path, clips=[{**CLIP, "fps": 12.0}])
    table = pq.read_table(tmp_path / "clips.parquet")
    old = table.drop_columns(["fps"]).append_column("weight", pa.array([1.0]))
    pq.write_table(old, tmp_path / "clips.parquet")
    header = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(header | {"version": 1}))
    manifest = read_manifest(tmp_path)
    validate_manifest(manifest)
    assert manifest.clips.to_pylist() == [{**CLIP, "start_seconds": 0.0, "fps": 0.0}]
    assert manifest.keyframes.num_rows == 0


def test_keyframes_without_a_box_are_kept(tmp_path: Path) -> None:
    manifest = localise(tmp_path / "toy", BOX, keyframes=[{"clip_id": "a", "pts_seconds": 2.0}])
    assert read_manifest(manifest.root).keyframes.to_pylist() == [{"clip_id": "a", "pts_seconds": 2.0}]
    with pytest.raises(InputError, match=r"keyframes: row 0: pts_seconds is 9\.0, expected inside"):
        localise(tmp_path / "toy", BOX, keyframes=[{"clip_id": "a", "pts_seconds": 9.0}])
    with pytest.raises(InputError, match="keyframes: row 0: clip_id is 'b'"):
        localise(tmp_path / "toy", BOX, keyframes=[{"clip_id": "b", "pts_seconds": 1.0}])
    localise(tmp_path / "toy", BOX)
    assert not (tmp_path / "toy" / "keyframes.parquet").exists()


def test_named_splits_and_hidden_test_labels(tmp_path: Path) -> None:
    clips = [CLIP, {**CLIP, "clip_id": "b", "split": "test_unseen", "labels": []}]
    assert write(tmp_path, clips=clips).counts["clips_test_unseen"] == 1


def test_a_second_write_replaces_the_first_whole(tmp_path: Path) -> None:
    localise(tmp_path / "toy", BOX)
    write(tmp_path / "toy", name="new")
    assert sorted(p.name for p in (tmp_path / "toy").iterdir()) == ["clips.parquet", "manifest.json"]
    with pytest.raises(InputError):
        write(tmp_path / "toy", name="bad", clips=[{**CLIP, "labels": [9]}])
    assert read_manifest(tmp_path / "toy").name == "new"


def test_a_folder_without_header_is_no_manifest(tmp_path: Path) -> None:
    write(tmp_path / "toy")
    (tmp_path / "toy" / "manifest.json").unlink()  # as after a kill while writing
    with pytest.raises(InputError, match=r"manifest\.json: not found"):
        read_manifest(tmp_path / "toy")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[]", "field missing"), ('{"version": 99}', "version 99"), ('{"version": 1}', "'name'")],
)
def test_a_header_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path)


def test_columns_are_checked_when_opened_and_rows_when_asked(tmp_path: Path) -> None:
    write(tmp_path)
    table = pq.read_table(tmp_path / "clips.parquet")
    pq.write_table(table.drop_columns(["split"]), tmp_path / "clips.parquet")
    with pytest.raises(InputError, match=r"clips\.parquet: column 'split' is missing"):
        read_manifest(tmp_path)
    seconds = table.schema.get_field_index("end_seconds")
    pq.write_table(table.set_column(seconds, "end_seconds", pa.array(["1"])), tmp_path / "clips.parquet")
    with pytest.raises(InputError, match="column 'end_seconds' is string, expected double"):
        read_manifest(tmp_path)
    pq.write_table(table.set_column(seconds, "end_seconds", pa.array([-1.0])), tmp_path / "clips.parquet")
    opened = read_manifest(tmp_path)
    with pytest.raises(InputError, match=r"clips\.parquet: row 0: end_seconds is -1\.0"):
        validate_manifest(opened)
    (tmp_path / "clips.parquet").write_bytes(b"junk")
    with pytest.raises(InputError, match="not a parquet file"):
        read_manifest(tmp_path)
    (tmp_path / "clips.parquet").unlink()
    with pytest.raises(InputError, match="incomplete"):
        read_manifest(tmp_path)


def test_a_mistake_is_named_by_the_file_it_stands_in(tmp_path: Path) -> None:
    found = {**BOX, "labels": [], "origin": "detected"}
    manifest = localise(tmp_path, BOX, BOX, found, found)
    for name, row in (("detected", 1), ("boxes", 0)):
        path = tmp_path / f"{name}.parquet"
        rows = pq.read_table(path).to_pylist()
        rows[row]["x2"] = 300.0
        pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)
        with pytest.raises(InputError, match=rf"/{name}\.parquet: row {row}: x2 is 300\.0, expected 0\.\.1"):
            validate_manifest(manifest)


def test_opening_reads_no_rows(tmp_path: Path) -> None:
    n = 300_000
    clips = pa.table(
        {
            "clip_id": pc_strings(n),
            "video": pa.array(["v.mp4"] * n),
            "start_seconds": np.zeros(n),
            "end_seconds": np.ones(n),
            "split": pa.array(["train"] * n),
            "labels": pa.array([[0]] * n, type=pa.list_(pa.int32())),
        }
    )
    write(tmp_path, clips=clips)
    manifest = read_manifest(tmp_path)
    assert "clips" not in vars(manifest)
    validate_manifest(manifest)
    assert manifest.clips.num_rows == n


def pc_strings(n: int) -> pa.Array:
    return pa.array(np.arange(n)).cast(pa.string())


def test_the_header_is_plain_json(tmp_path: Path) -> None:
    write(tmp_path, extra_counts={"videos_missing": 3})
    header = json.loads((tmp_path / "manifest.json").read_text())
    assert header["media_root"] == "../videos"
    assert header["counts"]["videos_missing"] == 3
    assert header["label_space"]["names"] == ["walk", "run", "jump"]
