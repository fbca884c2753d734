import json
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from text_files import put

from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.sources.detected_boxes import add_detected_boxes
from tubelet.data.sources.proposals import read_proposals
from tubelet.foreign_pickle import read_foreign_pickle
from tubelet.labels import LabelSpace
from tubelet.tasks import TaskConfig
from tubelet.train.folder import data_hash, task_data_hash
from tubelet.types import InputError, Preprocess

SPACE = LabelSpace(name="two", names=("stand", "wave"), ids=(12, 69))
BOX = {"x1": 0.1, "y1": 0.2, "x2": 0.5, "y2": 0.9}


def clip(clip_id: str, split: str, seconds: float = 10.0) -> dict[str, Any]:
    video = {"clip_id": clip_id, "video": f"{split}/{clip_id}.mp4", "start_seconds": 0, "end_seconds": seconds}
    return video | {"split": split, "labels": []}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return write_manifest(
        tmp_path / "sets" / "m",
        name="m",
        kind="localise",
        multi_label=True,
        label_space=SPACE,
        media_root="../videos",
        licence="",
        source="",
        clips=[
            clip("a", "train"),
            clip("cut", "train", 900.0),
            clip("yt_000030_000040", "val"),
            clip("hidden", "test"),
        ],
        boxes=[
            {"clip_id": "a", "pts_seconds": 1 / 3, **BOX, "labels": [1]},
            {"clip_id": "cut", "pts_seconds": 2.0, **BOX, "labels": [0]},
            {"clip_id": "yt_000030_000040", "pts_seconds": 5.25, **BOX, "labels": [0]},
        ],
        keyframes=[{"clip_id": "a", "pts_seconds": 4.0}],
        extra_counts={"videos_missing": 3},
    )


FOUND = """a,0.333333,0.1,0.2,0.5,0.9,,0.95
a,0.333333,0.6,0.2,0.9,0.9,69,0.7
a,0.333333,0.6,0.2,0.9,0.9,12,0.7
a,0004,-0.001,0.2,0.5,1.01,-1,0.5
a,0005,0.1,0.2,0.5,0.9,,0.9
cut,0902,0.1,0.2,0.5,0.9,,0.9
yt,35.25,0.1,0.2,0.5,0.9,13,0.3
hidden,0007,0.1,0.2,0.5,0.9,,0.9
hidden,0011,0.1,0.2,0.5,0.9,,0.9
other,0001,0.1,0.2,0.5,0.9,,0.9
a,0004,0.3,0.2,0.3,0.9,,0.9
"""


def test_boxes_of_a_published_layout_stand_beside_the_annotated_ones(manifest: Manifest, tmp_path: Path) -> None:
    assert manifest.boxes is not None
    again = add_detected_boxes(manifest.root, [put(tmp_path / "found.csv", FOUND)])
    assert again.boxes is not None
    assert again.boxes.slice(0, 3).to_pylist() == manifest.boxes.to_pylist()
    rows = [
        (r["clip_id"], r["pts_seconds"], r["x1"], r["labels"], r["score"])
        for r in again.boxes.to_pylist()
        if r["origin"] == "detected"
    ]
    assert rows == [
        ("a", 1 / 3, 0.1, [], 0.95),  # at the keyframe's own time, not at the csv's six digits of it
        ("a", 1 / 3, 0.6, [1, 0], 0.7),
        ("a", 4.0, 0.0, [], 0.5),  # a keyframe on which nobody is annotated
        ("cut", 2.0, 0.1, [], 0.9),  # 902 s of the film
        ("yt_000030_000040", 5.25, 0.1, [], 0.3),  # 35.25 s of the video
        ("hidden", 7.0, 0.1, [], 0.9),  # no annotation to be off
    ]
    told = {key: value for key, value in again.counts.items() if key.startswith("detected_")}
    assert told == {
        "detected_labels_outside": 1,
        "detected_cut_to_frame": 1,
        "detected_without_video": 1,
        "detected_of_zero_area": 1,
        "detected_videos_shifted": 2,
        "detected_outside_video": 1,
        "detected_off_keyframes": 1,
        "detected_repeated": 0,
    }
    assert (again.counts["boxes"], again.counts["boxes_detected"], again.counts["videos_missing"]) == (9, 6, 3)
    assert again.keyframes.num_rows == 1
    assert json.loads((again.root / "manifest.json").read_text())["media_root"] == "../videos"


def test_a_second_time_replaces_the_first_and_another_folder_leaves_it(manifest: Manifest, tmp_path: Path) -> None:
    add_detected_boxes(manifest.root, [put(tmp_path / "found.csv", FOUND)])
    one = put(tmp_path / "one.csv", "a,0004,0.1,0.2,0.5,0.9,0.75\n")  # seven columns: the last is the score
    elsewhere = add_detected_boxes(manifest.root, [one], out=tmp_path / "far" / "away" / "m")
    assert elsewhere.boxes is not None
    detected = [row for row in elsewhere.boxes.to_pylist() if row["origin"] == "detected"]
    assert [(row["pts_seconds"], row["score"], row["labels"]) for row in detected] == [(4.0, 0.75, [])]
    assert elsewhere.media_root == manifest.media_root
    assert read_manifest(manifest.root).counts["boxes_detected"] == 6
    assert add_detected_boxes(manifest.root, [one]).counts["boxes_detected"] == 1
    everywhere = add_detected_boxes(manifest.root, [tmp_path / "found.csv"], only_keyframes=False)
    assert (everywhere.counts["boxes_detected"], "detected_off_keyframes" in everywhere.counts) == (7, False)


def test_what_is_read_without_them_stays_byte_for_byte(manifest: Manifest, tmp_path: Path) -> None:
    tables = [manifest.root / name for name in ("clips.parquet", "boxes.parquet", "keyframes.parquet")]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tables}
    assert manifest.boxes is not None
    own, with_them = data_hash(manifest.root), data_hash(manifest.root, detected=True)
    again = add_detected_boxes(manifest.root, [put(tmp_path / "found.csv", FOUND)])
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tables} == before
    assert (data_hash(manifest.root), data_hash(manifest.root, detected=True) == with_them) == (own, False)
    on_truth, on_found = (
        TaskConfig(name="m", manifest=str(manifest.root), kind="localise", loss="sigmoid", eval_boxes=boxes)
        for boxes in ("annotated", "detected")
    )
    assert (task_data_hash(on_truth), task_data_hash(on_found)) == (own, data_hash(manifest.root, detected=True))
    assert again.read_tables(detected=False).boxes == manifest.boxes


def test_a_manifest_of_version_2_has_them_among_the_annotated(manifest: Manifest, tmp_path: Path) -> None:
    again = add_detected_boxes(manifest.root, [put(tmp_path / "found.csv", FOUND)])
    rows = again.boxes
    pq.write_table(rows, again.root / "boxes.parquet")
    (again.root / "detected.parquet").unlink()
    old = read_manifest(again.root)
    assert old.boxes == rows
    one = put(tmp_path / "one.csv", "a,0004,0.1,0.2,0.5,0.9,0.75\n")
    new = add_detected_boxes(old.root, [one])
    assert (new.boxes.num_rows, pq.read_table(new.root / "boxes.parquet").num_rows) == (4, 3)  # type: ignore[union-attr]


def test_a_task_trains_on_them_with_the_labels_of_the_annotation(manifest: Manifest, tmp_path: Path) -> None:
    again = add_detected_boxes(manifest.root, [put(tmp_path / "found.csv", FOUND)])
    preprocess = Preprocess(size=32, num_frames=2, frame_stride=1, fps=25)
    options: dict[str, Any] = {"preprocess": preprocess, "augment": None, "boxes": "detected"}
    data = ClipDataset(again, "train", box_score_threshold=0.5, **options)
    assert [data.targets(i).tolist() for i in range(len(data))] == [[[0, 1], [1, 1]], [[0, 0]], [[1, 0]]]
    assert data.num_unlabelled_boxes == 1
    surer = ClipDataset(again, "train", box_score_threshold=0.8, **options)
    assert [surer.sample_id(i) for i in range(len(surer))] == ["train/a.mp4,0.333333", "train/cut.mp4,2.000000"]
    assert surer.num_skipped_keyframes == 1


def test_the_start_of_the_videos_can_be_said(manifest: Manifest, tmp_path: Path) -> None:
    found = put(tmp_path / "found.csv", "a,0104,0.1,0.2,0.5,0.9,,0.9\n")
    with pytest.raises(InputError, match=r"no box lies on a keyframe of .*: 1 detected outside video"):
        add_detected_boxes(manifest.root, [found])
    assert add_detected_boxes(manifest.root, [found], video_starts_at=100).counts["boxes_detected"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,0004,64,48,128,200,,0.9\n", r"1 boxes such as \[64\.0, .* are they pixels\?"),
        (
            "a,0004,0.5,0.2,0.3,0.4,,0.9\n",
            r"found\.csv: 1 boxes such as \[0\.5, .* end before they begin; are they x, y, w",
        ),
        ("a,0004,0.1,0.2,0.5\n", r"found\.csv:1: 5 columns"),
        ("a,0004,0.1,x,0.5,0.9,,0.9\n", r"found\.csv:1: y1 is 'x', expected a number"),
        ("a,0004,0.1,0.2,0.5,0.9,,9\n", r"found\.csv: 1 scores such as 9 are not in 0\.\.1"),
        ("", "no box lies on a keyframe"),
    ],
)
def test_mistakes_change_nothing(manifest: Manifest, tmp_path: Path, text: str, message: str) -> None:
    before = {path.name: path.read_bytes() for path in manifest.root.iterdir()}
    with pytest.raises(InputError, match=message):
        add_detected_boxes(manifest.root, [put(tmp_path / "found.csv", text)])
    assert {path.name: path.read_bytes() for path in manifest.root.iterdir()} == before


def test_a_classification_set_has_no_keyframes(tmp_path: Path) -> None:
    plain = write_manifest(
        tmp_path / "c",
        name="c",
        kind="classify",
        multi_label=True,
        label_space=SPACE,
        media_root=tmp_path,
        licence="",
        source="",
        clips=[clip("a", "train")],
    )
    with pytest.raises(InputError, match="a classify set has no keyframes"):
        add_detected_boxes(plain.root, [])


def test_proposals_of_mmaction2(manifest: Manifest, tmp_path: Path) -> None:
    held = {
        "cut,0902": np.array([[0.1, 0.2, 0.5, 0.9, 0.97], [0.5, 0.2, 0.9, 0.9, 0.3]]),
        "a,0004": np.zeros((0, 5)),
        "a,0.3333": np.array([[0.1, 0.2, 0.5, 0.9]], dtype=np.float32),
    }
    path = tmp_path / "proposals.pkl"
    for protocol in (0, 2, 4, 5):
        path.write_bytes(pickle.dumps(held, protocol=protocol))
        again = add_detected_boxes(manifest.root, [path])
        assert again.boxes is not None
        rows = [(r["clip_id"], r["pts_seconds"], r["score"]) for r in again.boxes.slice(3).to_pylist()]
        assert rows == [("cut", 2.0, 0.97), ("cut", 2.0, 0.3), ("a", 1 / 3, 1.0)]
    path.write_bytes(pickle.dumps({"a,0004": np.zeros((2, 3))}))
    with pytest.raises(InputError, match=r"'a,0004': array \(2, 3\), expected \(N, 5\)"):
        read_proposals(path)
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match="holds a list, expected a dict"):
        read_proposals(path)


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.check_call, (["touch", str(self.marker)],)


def test_a_pickle_is_read_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"a,1": Hostile(tmp_path / "marker")}))
    with pytest.raises(InputError, match=r"plain containers and arrays.*subprocess\.check_call"):
        read_foreign_pickle(path)
    assert not (tmp_path / "marker").exists()
    path.write_bytes(pickle.dumps({"a": np.array([object()], dtype=object)}))
    with pytest.raises(InputError, match="plain containers"):
        read_foreign_pickle(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_foreign_pickle(tmp_path / "none.pkl")


def test_damaged_pickles_end_in_one_line(tmp_path: Path) -> None:
    good = pickle.dumps({"v,0902": np.arange(10.0).reshape(2, 5), "w": ["x", (1, 2.5, None, True)], 3: {"y"}})
    path = tmp_path / "x.pkl"
    path.write_bytes(good)
    held = read_foreign_pickle(path)
    assert held["v,0902"].tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert held["w"] == ["x", (1, 2.5, None, True)]
    rng = np.random.default_rng(0)
    refusals = []
    for trial in range(300):
        data = bytearray(good)
        if trial < 50:
            data = data[: int(rng.integers(len(data)))]
        else:
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        path.write_bytes(bytes(data))
        try:
            read_foreign_pickle(path)
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert not any("\n" in refusal for refusal in refusals)


def test_the_real_sample_of_mmaction2(tmp_path: Path) -> None:
    """A pickle written by Python 2's protocol, as published, made here from its bytes."""
    array = (
        b"\x80\x02}q\x00U\x10-5KQ66BBWC4,0902q\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00"
        b"\x85U\x01bq\x04\x87Rq\x05(K\x01K\x01K\x05\x86cnumpy\ndtype\nq\x06U\x02f8K\x00K\x01\x87Rq\x07(K\x03U\x01<NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x28" + np.array([0.1, 0.2, 0.5, 0.9, 0.75]).tobytes() + b"tbs."
    )
    path = tmp_path / "py2.pkl"
    path.write_bytes(array)
    table = read_proposals(path)
    assert (table.video.tolist(), table.pts_seconds.tolist()) == (["-5KQ66BBWC4"], [902.0])
    assert table.boxes_norm.tolist() == [[0.1, 0.2, 0.5, 0.9]]
    assert table.scores is not None
    assert table.scores.tolist() == [0.75]
    shutil.rmtree(tmp_path)
