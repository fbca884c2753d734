import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from tubelet.data.ava_csv import read_ava_csv
from tubelet.inference.detections_file import SCHEMA, ava_writer, json_schema, json_writer, read_detections
from tubelet.labels import LabelSpace
from tubelet.types import ActionDetections, InputError, VideoMeta

VIDEO = VideoMeta(path="in/Straße 1.mp4", width=640, height=360, fps=29.97, duration_seconds=2.0)
SPACE = LabelSpace(
    name="s", names=("walk", "carry"), ids=(14, 17), groups=("pose", "person-object"), buckets=("head", "tail")
)


def moments() -> list[ActionDetections]:
    one = ActionDetections(
        video=VIDEO.path,
        pts_seconds=0.5,
        boxes_norm=np.array([[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]], dtype=np.float32),
        scores=np.array([[0.9, 0.04], [0.05, 0.3]], dtype=np.float32),
        box_scores=np.array([0.8, 0.7], dtype=np.float32),
        person_ids=np.array([3, -1], dtype=np.int64),
    )
    empty = ActionDetections(
        video=VIDEO.path,
        pts_seconds=1.0,
        boxes_norm=np.zeros((0, 4), dtype=np.float32),
        scores=np.zeros((0, 2), dtype=np.float32),
        box_scores=np.zeros(0, dtype=np.float32),
        person_ids=np.zeros(0, dtype=np.int64),
        shot_seconds=(0.75, np.inf),
    )
    return [one, empty]


def write_json(path: Path, found: Iterable[ActionDetections], *, task: str = "ava") -> None:
    with json_writer(path, video=VIDEO, task=task, label_space=SPACE, thresholds=np.full(len(SPACE), 0.5)) as write:
        for moment in found:
            write(moment)


def write_ava(path: Path, found: Iterable[ActionDetections], *, video_id: str = "Straße 1") -> list[int]:
    with ava_writer(path, video_id=video_id, label_space=SPACE, threshold=0.05) as write:
        return [write(moment) for moment in found]


def violations(data: Any) -> list[str]:
    """Return what a JSON Schema validator has against a file's content, or against the schema itself."""
    Draft202012Validator.check_schema(json_schema())
    return [error.message for error in Draft202012Validator(json_schema()).iter_errors(data)]


def test_the_json_follows_its_schema_and_comes_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "new" / "d.json"
    write_json(path, iter(moments()))
    data = json.loads(path.read_text(encoding="utf-8"))
    assert violations(data) == []
    assert data["schema"] == SCHEMA == json_schema()["title"]
    assert data["moments"][0]["people"][0] == {
        "person_id": 3,
        "box_norm": [0.1, 0.2, 0.3, 0.4],
        "box_score": 0.8,
        "scores": [0.9, 0.04],
    }
    assert data["moments"][0]["people"][1]["person_id"] is None
    assert list(data["moments"][0]) == ["pts_seconds", "people"]
    assert data["moments"][1] == {"pts_seconds": 1.0, "shot_seconds": [0.75, None], "people": []}
    back = read_detections(path)
    assert (back.video, back.task, back.label_space) == (VIDEO, "ava", SPACE)
    assert back.thresholds.tolist() == [0.5, 0.5]
    for read, written in zip(back.moments, moments(), strict=True):
        for name in ("pts_seconds", "shot_seconds", "boxes_norm", "scores", "box_scores", "person_ids"):
            assert np.array_equal(getattr(read, name), getattr(written, name)), name
        assert read.scores.shape == written.scores.shape


def test_the_schema_check_itself_finds_mistakes(tmp_path: Path) -> None:
    write_json(tmp_path / "d.json", moments())
    text = (tmp_path / "d.json").read_text(encoding="utf-8")
    for old, new in (
        ("detections/1", "detections/2"),
        ('"width": 640', '"width": 640.5'),
        ("[0.1,0.2,0.3,0.4]", "[0.1,0.2,0.3,1.4]"),
        ("[0.1,0.2,0.3,0.4]", "[0.1,0.2,0.3]"),
        ('"box_score":0.8', '"confidence":0.8'),
        ('"tail"', '"long"'),
    ):
        assert old in text
        assert violations(json.loads(text.replace(old, new, 1))) != [], new


def test_a_file_from_before_there_were_thresholds_is_read_with_the_usual_one(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    write_json(path, moments())
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["thresholds"]
    assert violations(data) == []
    path.write_text(json.dumps(data), encoding="utf-8")
    assert read_detections(path).thresholds == pytest.approx([0.3, 0.3])
    path.write_text(json.dumps(data | {"thresholds": [0.1]}), encoding="utf-8")
    with pytest.raises(InputError, match="1 thresholds for 2 classes"):
        read_detections(path)


def test_a_video_without_moments_is_valid(tmp_path: Path) -> None:
    write_json(tmp_path / "d.json", [])
    assert violations(json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))) == []


def test_an_interrupted_json_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    write_json(path, moments())
    before = path.read_bytes()

    def interrupted() -> Iterator[ActionDetections]:
        yield moments()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_json(path, interrupted(), task="b")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["d.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "expected the schema"),
        ('{"schema": "tubelet.detections/9"}', "detections/9"),
    ],
)
def test_a_foreign_json_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_detections(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_entry_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    write_json(path, moments())
    path.write_text(path.read_text(encoding="utf-8").replace('"box_norm"', '"box"'), encoding="utf-8")
    with pytest.raises(InputError, match="box_norm"):
        read_detections(path)


def test_ava_rows_by_threshold_with_published_ids(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    assert write_ava(path, moments()) == [1, 0]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["Straße 1"] * 3
    # Box one: walk 0.9 (carry 0.04 is below); box two: walk 0.05 counts, carry 0.3.
    assert [(line.split(",")[6], float(line.split(",")[7])) for line in lines] == [
        ("14", 0.9),
        ("14", 0.05),
        ("17", 0.3),
    ]
    table = read_ava_csv(path, detections=True)
    assert table.boxes_norm[0] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert table.pts_seconds.tolist() == [0.5] * 3


def test_ava_without_anything_is_an_empty_file(tmp_path: Path) -> None:
    write_ava(tmp_path / "d.csv", moments()[1:])
    assert (tmp_path / "d.csv").read_text() == ""


def test_a_name_that_would_break_the_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="comma"):
        write_ava(tmp_path / "d.csv", moments(), video_id="a,b")
    assert list(tmp_path.iterdir()) == []
