"""CVAT's file is read back by the importer of CVAT's own exports; FiftyOne's follows what its library (ETA) writes."""

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from inference_fakes import RED, write_video

from tubelet.data.sources.cvat import import_cvat
from tubelet.inference.annotation_formats import write_cvat, write_fiftyone
from tubelet.inference.detections_file import DetectionsFile
from tubelet.labels import LabelSpace
from tubelet.types import ActionDetections, VideoMeta

SPACE = LabelSpace(name="s", names=("walk", "carry <it> & go"))


def moment(pts_seconds: float, people: list[tuple[int, float, tuple[float, float]]]) -> ActionDetections:
    """(identity, left side in 0..1, scores); a box is a fifth of the frame wide."""
    return ActionDetections(
        video="in/street.mp4",
        pts_seconds=pts_seconds,
        boxes_norm=np.array([[x, 0.25, x + 0.2, 0.75] for _, x, _ in people], dtype=np.float32).reshape(-1, 4),
        scores=np.array([scores for *_, scores in people], dtype=np.float32).reshape(-1, 2),
        box_scores=np.full(len(people), 0.5, dtype=np.float32),
        person_ids=np.array([person for person, *_ in people], dtype=np.int64),
    )


@pytest.fixture
def found() -> DetectionsFile:
    """10 frames a second: person 1 at 0, 0.5 and 1.5, not at 1.0; somebody seen once at 0.5."""
    return DetectionsFile(
        video=VideoMeta(path="in/street.mp4", width=160, height=96, fps=10.0, duration_seconds=2.0),
        task="t",
        label_space=SPACE,
        thresholds=np.array([0.5, 0.2], dtype=np.float32),
        moments=(
            moment(0.0, [(1, 0.1, (0.9, 0.1))]),
            moment(0.5, [(1, 0.2, (0.6, 0.3)), (-1, 0.7, (0.1, 0.25))]),
            moment(1.0, []),
            moment(1.5, [(1, 0.4, (0.1, 0.1))]),
        ),
    )


def test_cvat_reads_back_who_did_what_where(found: DetectionsFile, tmp_path: Path) -> None:
    write_video(tmp_path / "street.mp4", lambda i: [((10, 20, 34, 80), RED)], num_frames=20)
    write_cvat(found, tmp_path / "street.xml")
    manifest = import_cvat(
        train=(tmp_path / "street.xml",), media_root=tmp_path, out=tmp_path / "set", attributes=SPACE.names
    )
    assert manifest.boxes is not None
    names = manifest.label_space.names
    rows = manifest.boxes.to_pylist()
    read = {
        (round(row["pts_seconds"], 3), round(row["x1"], 3)): sorted(names[k] for k in row["labels"]) for row in rows
    }
    walk, carry = SPACE.names
    assert read == {(0.0, 0.1): [walk], (0.5, 0.2): sorted([carry, walk]), (0.5, 0.7): [carry], (1.5, 0.4): []}
    people = {round(row["x1"], 3): row["person_id"] for row in rows}
    assert people[0.1] == people[0.2] == people[0.4] != people[0.7]
    assert rows[0]["y2"] == pytest.approx(0.75)


def test_cvats_tracks_end_where_nobody_is(found: DetectionsFile, tmp_path: Path) -> None:
    """Seen at frames 0 and 5, gone at 6; seen at 15, gone at 16. Seen once: 5, gone at 6."""
    write_cvat(found, tmp_path / "x.xml")
    text = (tmp_path / "x.xml").read_text()
    states = [
        [
            (line.split('frame="')[1].split('"')[0], line.split('outside="')[1][0])
            for line in part.splitlines()
            if "<box" in line
        ]
        for part in text.split("<track")[1:]
    ]
    gone = [("0", "0"), ("5", "0"), ("6", "1"), ("15", "0"), ("16", "1")]
    assert states[0] == gone
    assert states[1][0] == ("5", "0")
    assert states[1][-1][1] == "1"


def test_fiftyone_gets_what_its_library_would_write(found: DetectionsFile, tmp_path: Path) -> None:
    """The keys and kinds are those of voxel51-eta 0.17's ``VideoLabels.to_str`` for one object of one frame."""
    write_fiftyone(found, tmp_path / "x.zip")
    with ZipFile(tmp_path / "x.zip") as archive:
        manifest = json.loads(archive.read("manifest.json"))
        labels = json.loads(archive.read("labels/street.json"))
        assert len(archive.namelist()) == 2
    assert manifest["type"] == "eta.core.datasets.LabeledVideoDataset"
    assert manifest["index"] == [{"data": "data/street.mp4", "labels": "labels/street.json"}]
    assert list(labels["frames"]) == ["1", "6", "11", "16"], "from 1, at 10 a second"
    first, last = labels["frames"]["1"], labels["frames"]["16"]
    assert first == {
        "frame_number": 1,
        "objects": {
            "objects": [
                {
                    "type": "eta.core.objects.DetectedObject",
                    "label": "walk",
                    "bounding_box": {"top_left": {"x": 0.1, "y": 0.25}, "bottom_right": {"x": 0.3, "y": 0.75}},
                    "confidence": 0.9,
                    "index": 1,
                    "frame_number": 1,
                }
            ]
        },
    }
    said = [(o["label"], o.get("index")) for o in labels["frames"]["6"]["objects"]["objects"]]
    assert said == [("walk", 1), ("carry <it> & go", 1), ("carry <it> & go", None)]
    assert last["objects"]["objects"] == []
