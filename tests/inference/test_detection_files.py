import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tubelet.data.ava_csv import read_ava_csv
from tubelet.inference.export import SCHEMA, ava_writer, json_schema, json_writer, read_detections
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
    )
    return [one, empty]


def write_json(path: Path, found: Iterable[ActionDetections], *, task: str = "ava") -> None:
    with json_writer(path, video=VIDEO, task=task, label_space=SPACE) as write:
        for moment in found:
            write(moment)


def write_ava(path: Path, found: Iterable[ActionDetections], *, video_id: str = "Straße 1") -> list[int]:
    with ava_writer(path, video_id=video_id, label_space=SPACE, threshold=0.05) as write:
        return [write(moment) for moment in found]


KINDS = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
CHECKED = {
    "type", "const", "enum", "required", "properties", "additionalProperties", "items", "minItems", "maxItems",
    "minimum", "maximum", "exclusiveMinimum", "description", "$schema", "title",
}  # fmt: skip


def violations(value: Any, schema: dict[str, Any], place: str = "$") -> list[str]:
    """Check a value against the part of JSON Schema that our schema uses; an unknown keyword is a violation."""
    found = [f"{place}: keyword {k} is not checked" for k in schema if k not in CHECKED]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, KINDS[k]) and not isinstance(value, bool) for k in kinds):
        return [*found, f"{place}: {value!r} is not {kinds}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{place}: not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{place}: not one of {schema['enum']}")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        found += [f"{place}: lacks {k}" for k in schema.get("required", []) if k not in value]
        if schema.get("additionalProperties") is False:
            found += [f"{place}: unknown {k}" for k in value if k not in known]
        found += [v for k in value if k in known for v in violations(value[k], known[k], f"{place}.{k}")]
    if isinstance(value, list):
        size_fits = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        found += [] if size_fits else [f"{place}: {len(value)} items"]
        found += [v for i, item in enumerate(value) for v in violations(item, schema.get("items", {}), f"{place}[{i}]")]
    if isinstance(value, int | float):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if not low <= value <= high or value <= schema.get("exclusiveMinimum", value - 1):
            found.append(f"{place}: {value} out of range")
    return found


def test_the_json_follows_its_schema_and_comes_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "new" / "d.json"
    write_json(path, iter(moments()))
    data = json.loads(path.read_text(encoding="utf-8"))
    assert violations(data, json_schema()) == []
    assert data["schema"] == SCHEMA == json_schema()["title"]
    assert data["moments"][0]["people"][0] == {
        "person_id": 3,
        "box_norm": [0.1, 0.2, 0.3, 0.4],
        "box_score": 0.8,
        "scores": [0.9, 0.04],
    }
    assert data["moments"][0]["people"][1]["person_id"] is None
    assert data["moments"][1] == {"pts_seconds": 1.0, "people": []}
    back = read_detections(path)
    assert (back.video, back.task, back.label_space) == (VIDEO, "ava", SPACE)
    for read, written in zip(back.moments, moments(), strict=True):
        for name in ("pts_seconds", "boxes_norm", "scores", "box_scores", "person_ids"):
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
        assert violations(json.loads(text.replace(old, new, 1)), json_schema()) != [], new


def test_a_video_without_moments_is_valid(tmp_path: Path) -> None:
    write_json(tmp_path / "d.json", [])
    assert violations(json.loads((tmp_path / "d.json").read_text(encoding="utf-8")), json_schema()) == []


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
        ("", "cannot be read as JSON"),
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
