import csv
import io
from pathlib import Path

import numpy as np
import pytest
from text_files import AVA_LABELS, put

from tubelet.data.ava_csv import format_seconds, read_ava_csv, write_ava_csv
from tubelet.data.ava_table import AvaTable
from tubelet.data.sources.ava_lists import (
    read_excluded,
    read_label_map,
    write_label_map,
)
from tubelet.labels import LabelSpace
from tubelet.types import InputError

TRUTH = """-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,80,1
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,9,1
007,0903,0.332,0.194,0.481,0.891,12,0
007,1000.5,0.000,0.000,1.000,1.000,12,-1
"""
ACTIONS = """item {
  name: "bend/bow (at the waist)"
  id: 1
}
item {
  name: "say \\"hi\\" {loudly}"
  id: 12
}
"""


def test_ground_truth_is_read_and_written_back_byte_for_byte(tmp_path: Path) -> None:
    text = TRUTH + "007,1001\nzz,0905\n"
    table = read_ava_csv(put(tmp_path / "a.csv", text))
    assert table.video.tolist() == ["-5KQ66BBWC4", "-5KQ66BBWC4", "007", "007"]
    assert table.pts_seconds.tolist() == [902.0, 902.0, 903.0, 1000.5]
    assert table.boxes_norm[2].tolist() == [0.332, 0.194, 0.481, 0.891]
    assert table.label_ids.tolist() == [80, 9, 12, 12]
    assert table.person_ids is not None
    assert table.person_ids.tolist() == [1, 1, 0, -1]
    assert table.scores is None
    assert table.keyframes == {("007", 1_001_000_000), ("zz", 905_000_000)}
    write_ava_csv(tmp_path / "b.csv", table)
    assert (tmp_path / "b.csv").read_text() == text


def test_the_fast_reader_agrees_with_a_plain_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(500):
        x1, y1 = rng.uniform(0, 0.5, 2).round(3)
        box = (x1, y1, x1 + 0.25, y1 + 0.375)
        rows.append([f"v{rng.integers(9)}", f"{rng.integers(902, 1799):04d}", *box, rng.integers(1, 81)])
        rows[-1].append(rng.integers(0, 9)) if rng.random() < 0.5 else None
        if rng.random() < 0.1:
            rows.append([f"v{rng.integers(9)}", "0950"])
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    table = read_ava_csv(put(tmp_path / "mixed.csv", text))
    plain = [row for row in csv.reader(io.StringIO(text)) if len(row) > 2]
    assert table.video.tolist() == [row[0] for row in plain]
    assert table.pts_seconds.tolist() == [float(row[1]) for row in plain]
    assert np.array_equal(table.boxes_norm, [[float(c) for c in row[2:6]] for row in plain])
    assert table.label_ids.tolist() == [int(row[6]) for row in plain]
    assert table.person_ids is not None
    assert table.person_ids.tolist() == [int(row[7]) if len(row) > 7 else -1 for row in plain]


def test_detections_have_scores_and_may_have_no_label(tmp_path: Path) -> None:
    text = "a,0902,0.1,0.1,0.2,0.2,,0.9\na,0902,0.1,0.1,0.2,0.2,-1,0.5\na,0902,0.1,0.1,0.2,0.2,3,1e-05\n"
    table = read_ava_csv(put(tmp_path / "a.csv", text), detections=True)
    assert table.label_ids.tolist() == [-1, -1, 3]
    assert table.scores is not None
    assert table.scores.tolist() == [0.9, 0.5, 1e-05]
    assert table.person_ids is None
    seven = read_ava_csv(put(tmp_path / "b.csv", "a,0902,0.1,0.1,0.2,0.2,3\n"), detections=True)
    assert seven.scores is not None
    assert seven.scores.tolist() == [1.0]  # as the official reader has it
    write_ava_csv(tmp_path / "c.csv", table, box_decimals=2, score_decimals=6)
    assert (tmp_path / "c.csv").read_text().splitlines()[2] == "a,0902,0.10,0.10,0.20,0.20,3,0.000010"
    assert len(read_ava_csv(put(tmp_path / "none.csv", ""), detections=True)) == 0


def test_a_header_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    text = "video_id,middle_frame_timestamp,x1,y1,x2,y2,action_id,status\n\n" + TRUTH
    assert len(read_ava_csv(put(tmp_path / "a.csv", text))) == 4


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for odd in (b"b,\xf5,1\n", b"\xf5,0902\n", b"b,0902,0,0,1,1,\xf5,1\n"):
        (tmp_path / "a.csv").write_bytes(b"a,0902,0,0,1,1,12,1\n" * 2 + odd)
        with pytest.raises(InputError, match=r"a\.csv:3: not UTF-8; expected a text file"):
            read_ava_csv(tmp_path / "a.csv")
    assert capfd.readouterr().err == ""
    (tmp_path / "b.csv").write_text("é,0902,0,0,1,1,12,1\n")
    assert read_ava_csv(tmp_path / "b.csv").video.tolist() == ["é"]


def test_only_keyframes_without_actions(tmp_path: Path) -> None:
    table = read_ava_csv(put(tmp_path / "a.csv", "a,0902\n"))
    assert len(table) == 0
    assert table.keyframes == {("a", 902_000_000)}


LINE = "a,0902,0.1,0.1,0.2,0.2,12,1\n"
MISTAKES = [
    ("a,0902,0.1,0.1,0.2,1.2,12,1\n", r":5: box \[0\.1, 0\.1, 0\.2, 1\.2\], expected 0\.\.1 of the frame, not pixels"),
    ("a,0902,10,10,20,20,12,1\n", r":5: box .* not pixels"),
    ("a,0902,0.5,0.1,0.2,0.2,12,1\n", r":5: box .* x2 >= x1"),
    ("a,0902,0.1,0.1,0.2,tall,12,1\n", r":5: y2 is 'tall', expected a number"),
    ("a,soon,0.1,0.1,0.2,0.2,12,1\n", r":5: seconds is 'soon', expected a number"),
    ("a,0902,0.1,0.1,0.2,0.2,1.5,1\n", r":5: action id is '1\.5', expected a whole number"),
    ("a,0902,0.1,0.1,0.2,0.2,12,x\n", r":5: person id is 'x', expected a whole number"),
    ("a,0902,0.1,0.1,0.2,0.2,99,1\n", r":5: action id 99 is not in label space"),
    ("a,0902,0.1,0.1,0.2,0.2,,1\n", r":5: action id is missing"),
    ("a,0902,0.1,0.1,0.2,,12,1\n", r":5: y2 is missing"),
    (",0902,0.1,0.1,0.2,0.2,12,1\n", r":5: video id is missing"),
    ("a,0902,0.1,0.1,0.2,0.2\n", r":5: 6 columns, expected video,seconds,x1"),
    ("a,b\n", r":5: 'a,b' is not video_id,seconds"),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES, ids=[m[0].strip() for m in MISTAKES])
def test_a_mistake_is_named_by_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    # Line 2 is a keyframe and line 3 is blank: line numbers are those of the file, not of the rows.
    path = put(tmp_path / "a.csv", LINE + "a,0903\n\n" + LINE + line + LINE)
    space = LabelSpace(name="toy", names=("stand",), ids=(12,))
    with pytest.raises(InputError, match=message) as error:
        read_ava_csv(path, label_space=space)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_outside_boxes_are_read_when_asked(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "a,0902,-0.5,0.1,0.2,1.2,12,0.5\n")
    assert read_ava_csv(path, detections=True, boxes="any").boxes_norm.tolist() == [[-0.5, 0.1, 0.2, 1.2]]
    with pytest.raises(InputError, match="not pixels"):
        read_ava_csv(path, detections=True)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.csv: cannot be read"):
        read_ava_csv(tmp_path / "no.csv")
    with pytest.raises(InputError, match="has no rows"):
        read_ava_csv(put(tmp_path / "a.csv", ""))


@pytest.mark.parametrize(
    ("seconds", "text"), [(902, "0902"), (7.0, "0007"), (1798.0, "1798"), (0.5, "0.5"), (12.345678, "12.345678")]
)
def test_seconds_are_spelt_as_published(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_excluded_timestamps(tmp_path: Path) -> None:
    assert read_excluded(put(tmp_path / "e.csv", "a,0902\n\nb,1001\n")) == {("a", 902_000_000), ("b", 1_001_000_000)}
    with pytest.raises(InputError, match=r"e\.csv:2: 'b' is not video_id,seconds"):
        read_excluded(put(tmp_path / "e.csv", "a,0902\nb\n"))


def test_action_lists_of_both_layouts(tmp_path: Path) -> None:
    space = read_label_map(put(tmp_path / "a.pbtxt", ACTIONS))
    assert space.names == ("bend/bow (at the waist)", 'say "hi" {loudly}')
    assert (space.ids, space.groups, space.name) == ((1, 12), (), "a")
    published = read_label_map(put(tmp_path / "b.pbtxt", AVA_LABELS), name="ava")
    assert published.ids == (12, 59, 80)
    assert published.groups == ("pose", "person-object", "person-person")
    squeezed = 'label{\n    name: "stand"label_id: 12label_type: PERSON_MOVEMENT\n}'  # as in the v1.0 file
    assert read_label_map(put(tmp_path / "c.pbtxt", squeezed)).groups == ("pose",)


def test_action_lists_are_written_as_read(tmp_path: Path) -> None:
    for text in (ACTIONS, AVA_LABELS):
        space = read_label_map(put(tmp_path / "a.pbtxt", text), name="x")
        write_label_map(tmp_path / "b.pbtxt", space)
        assert read_label_map(tmp_path / "b.pbtxt", name="x") == space
    put(tmp_path / "a.pbtxt", ACTIONS)
    write_label_map(tmp_path / "b.pbtxt", read_label_map(tmp_path / "a.pbtxt"))
    assert (tmp_path / "b.pbtxt").read_text() == ACTIONS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('item {\n  name: "a"\n  id: 1\n}\nitem {\n  name: "b"\n}\n', r"a\.pbtxt:5: expected a name"),
        ('item {\n  name: "a"\n  id: 1\n}\nitem {\n  name: "b"\n  id: 1\n}\n', r"a\.pbtxt:5: class 'b' with id 1"),
        ("nothing", r"a\.pbtxt:1: no classes"),
        ('item {\n  name: "a"\n  id: 1\n}\nitem { name: "b"\n', r"a\.pbtxt:5: 'item \{ name: \"b\"' is no whole block"),
        ('item {\n  name: "a"\n  id: -1\n}\n', r"a\.pbtxt:1: class 'a' has id -1, expected 0 to 2147483647"),
        ('item {\n  name: "a"\n  id: 99999999999\n}\n', r"a\.pbtxt:1: class 'a' has id 99999999999"),
    ],
)
def test_mistakes_in_action_lists(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_label_map(put(tmp_path / "a.pbtxt", text))


def test_large_files_are_read_as_written(tmp_path: Path) -> None:
    n = 200_000
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.random((n, 2, 2)).round(3), axis=1).reshape(n, 4)
    table = AvaTable(
        video=np.array([f"-v{i // 3000}" for i in range(n)], dtype=object),
        pts_seconds=902.0 + np.arange(n) // 3 % 897,
        boxes_norm=boxes,
        label_ids=rng.integers(1, 81, n).astype(np.int32),
        person_ids=rng.integers(0, 9, n),
    )
    write_ava_csv(tmp_path / "a.csv", table)
    again = read_ava_csv(tmp_path / "a.csv")
    assert np.array_equal(again.boxes_norm, boxes)
    assert again.person_ids is not None
    assert np.array_equal(again.person_ids, table.person_ids)
    assert np.array_equal(again.video, table.video)
