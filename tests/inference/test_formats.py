"""Files for other programs, read back and worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from inference_fakes import RED, PaintDetector, untrained, write_video

from tubelet.inference.detections_file import DetectionsFile
from tubelet.inference.formats import FORMATS, captions
from tubelet.inference.outputs import localise_video
from tubelet.inference.pipeline import Localiser
from tubelet.labels import LabelSpace
from tubelet.types import ActionDetections, InputError, VideoMeta

SPACE = LabelSpace(name="s", names=("walk", "carry <it> & go"), ids=(14, 17))


def moment(pts_seconds: float, people: dict[int, list[float]]) -> ActionDetections:
    """Everybody's box is the middle half of the frame."""
    n = len(people)
    return ActionDetections(
        video="in/street.mp4",
        pts_seconds=pts_seconds,
        boxes_norm=np.tile(np.array([0.25, 0.5, 0.75, 1.0], dtype=np.float32), (n, 1)),
        scores=np.array(list(people.values()), dtype=np.float32).reshape(n, 2),
        box_scores=np.full(n, 0.5, dtype=np.float32),
        person_ids=np.array(list(people), dtype=np.int64),
    )


@pytest.fixture
def found() -> DetectionsFile:
    """Person 2 walks at 0 and 1, carries too at 2; nobody at 3; somebody unknown carries at 3601."""
    return DetectionsFile(
        video=VideoMeta(path="in/street.mp4", width=200, height=100, fps=25.0, duration_seconds=3601.5),
        task="t",
        label_space=SPACE,
        thresholds=np.array([0.5, 0.5], dtype=np.float32),
        moments=(
            moment(0.0, {2: [0.9, 0.1]}),
            moment(1.0, {2: [0.8, 0.2]}),
            moment(2.0, {2: [0.6, 0.7], -1: [0.1, 0.2]}),
            moment(3.0, {}),
            moment(3601.0, {-1: [0.0, 0.5]}),
        ),
    )


def write(found: DetectionsFile, name: str, folder: Path) -> Path:
    path = folder / f"x{FORMATS[name][0]}"
    FORMATS[name][1](found, path)
    return path


def test_captions_say_who_does_what_for_as_long_as_it_stays_the_same(found: DetectionsFile, tmp_path: Path) -> None:
    """Halfway between moments: 1.5, 2.5, 1802; the last speaks to the end."""
    both = "2: carry <it> & go, walk"
    expected = [(0.0, 1.5, ("2: walk",)), (1.5, 2.5, (both,)), (1802.0, 3601.5, ("?: carry <it> & go",))]
    assert [(s.begin_seconds, s.end_seconds, s.lines) for s in captions(found)] == expected
    assert list(captions(replace(found, thresholds=np.array([0.95, 0.95])))) == []
    walks = [stretch.lines for stretch in captions(replace(found, thresholds=np.array([0.5, 0.95])))]
    assert walks == [("2: walk",)], "each class has its own"
    assert write(found, "srt", tmp_path).read_text() == (
        "1\n00:00:00,000 --> 00:00:01,500\n2: walk\n\n"
        f"2\n00:00:01,500 --> 00:00:02,500\n{both}\n\n"
        "3\n00:30:02,000 --> 01:00:01,500\n?: carry <it> & go\n\n"
    )
    vtt = write(found, "vtt", tmp_path).read_text()
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n2: walk\n\n00:00:01.500 -->")
    assert "2: carry &lt;it&gt; &amp; go, walk\n" in vtt


def test_coco_has_an_annotation_for_each_box_and_action(found: DetectionsFile, tmp_path: Path) -> None:
    data = json.loads(write(found, "coco", tmp_path).read_text())
    assert data["categories"] == [{"id": 14, "name": "walk"}, {"id": 17, "name": "carry <it> & go"}]
    assert [image["id"] for image in data["images"]] == [1, 2, 3, 4, 5]
    assert data["images"][1] == {
        "id": 2, "file_name": "street_000001000.jpg", "width": 200, "height": 100, "pts_seconds": 1.0
    }  # fmt: skip
    rows = [(a["image_id"], a["category_id"], a.get("track_id"), a["score"]) for a in data["annotations"]]
    assert rows == [(1, 14, 2, 0.9), (2, 14, 2, 0.8), (3, 14, 2, 0.6), (3, 17, 2, 0.7), (5, 17, None, 0.5)]
    assert [a["id"] for a in data["annotations"]] == [1, 2, 3, 4, 5]
    assert all(a["bbox"] == [50, 50, 100, 50] and a["area"] == 5000 for a in data["annotations"])


def test_parquet_has_every_box_and_score(found: DetectionsFile, tmp_path: Path) -> None:
    table = pq.read_table(write(found, "parquet", tmp_path))
    assert table.column("pts_seconds").to_pylist() == [0, 1, 2, 2, 3601]
    assert table.column("person_id").to_pylist() == [2, 2, 2, None, None]
    assert table.column("scores").to_pylist()[3] == pytest.approx([0.1, 0.2])
    assert [table.column(name)[0].as_py() for name in ("x1", "y1", "x2", "y2", "box_score")] == [
        0.25,
        0.5,
        0.75,
        1,
        0.5,
    ]
    assert json.loads(table.schema.metadata[b"label_names"]) == list(SPACE.names)


def test_a_video_without_anybody(found: DetectionsFile, tmp_path: Path) -> None:
    nobody = DetectionsFile(video=found.video, task="t", label_space=SPACE, thresholds=found.thresholds, moments=())
    assert write(nobody, "vtt", tmp_path).read_text() == "WEBVTT\n"
    assert write(nobody, "srt", tmp_path).read_text() == ""
    assert json.loads(write(nobody, "coco", tmp_path).read_text())["annotations"] == []
    assert pq.read_table(write(nobody, "parquet", tmp_path)).num_rows == 0


def test_localising_writes_them_beside_the_json(tmp_path: Path) -> None:
    video = write_video(tmp_path / "in" / "v.mp4", lambda i: [((10, 20, 34, 80), RED)], num_frames=12)
    localiser, out = Localiser(untrained(), people=PaintDetector()), tmp_path / "out"
    done = localise_video(localiser, video, out, threshold=0.0, also=("vtt", "coco", "vtt"))
    assert [path.name for path in done.files.paths] == ["v.mp4", "v.csv", "v.vtt", "v.coco.json", "v.json"]
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in done.files.paths)
    assert len(json.loads(done.files.also[1].read_text())["annotations"]) == 3 * 4  # keyframes x classes
    with pytest.raises(InputError, match="no format 'ass'; expected parquet, vtt, srt, coco"):
        localise_video(localiser, video, out, also=("ass",))
