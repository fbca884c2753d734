import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_video import write_numbered
from still_pictures import write_pictures

from tubelet.data.ava_csv import format_seconds, read_ava_csv, write_ava_csv
from tubelet.data.ava_table import AvaTable
from tubelet.data.sources.ava import import_ava
from tubelet.data.sources.ava_lists import (
    TABLE_9,
    ava_label_space,
    frequency_differences,
    read_excluded,
    read_label_map,
    write_label_map,
)
from tubelet.labels import LabelSpace, buckets_by_count
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
PUBLISHED = """label {
  name: "stand"
  label_id: 12
  label_type: PERSON_MOVEMENT
}
label {
  name: "touch (an object)"
  label_id: 59
  label_type: OBJECT_MANIPULATION
}
label {
  name: "watch (a person)"
  label_id: 80
  label_type: PERSON_INTERACTION
}
"""


def put(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


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
    published = read_label_map(put(tmp_path / "b.pbtxt", PUBLISHED), name="ava")
    assert published.ids == (12, 59, 80)
    assert published.groups == ("pose", "person-object", "person-person")
    squeezed = 'label{\n    name: "stand"label_id: 12label_type: PERSON_MOVEMENT\n}'  # as in the v1.0 file
    assert read_label_map(put(tmp_path / "c.pbtxt", squeezed)).groups == ("pose",)


def test_action_lists_are_written_as_read(tmp_path: Path) -> None:
    for text in (ACTIONS, PUBLISHED):
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
    ],
)
def test_mistakes_in_action_lists(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_label_map(put(tmp_path / "a.pbtxt", text))


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    write_numbered(folder / "-v1.mp4", num_frames=100)
    write_numbered(folder / "v2.mkv", num_frames=100)
    return folder


OWN = """-v1,0002,0.1,0.1,0.4,0.9,12,3
v2,0003,0.1,0.1,0.4,0.9,12,1
-v1,0002,0.1,0.1,0.4,0.9,80,3
-v1,0002,0.1,0.1,0.4,0.9,80,4
v3,0003,0.1,0.1,0.4,0.9,12,1
v2,0002,0.1,0.1,0.1,0.9,12,1
v2,0001,0.1,0.1,0.5,0.9,12,1
v2,0000
"""


def test_a_users_own_files_become_a_manifest(tmp_path: Path, media: Path, caplog: pytest.LogCaptureFixture) -> None:
    truth, labels = put(tmp_path / "own.csv", OWN), put(tmp_path / "own.pbtxt", PUBLISHED)
    excluded = put(tmp_path / "excluded.csv", "v2,0001\n")
    manifest = import_ava(
        train=truth, labels=str(labels), media_root=media, out=tmp_path / "out", train_excluded=excluded
    )
    assert manifest.clips.select(["clip_id", "video", "end_seconds", "split"]).to_pylist() == [
        {"clip_id": "-v1", "video": "-v1.mp4", "end_seconds": 4.0, "split": "train"},
        {"clip_id": "v2", "video": "v2.mkv", "end_seconds": 4.0, "split": "train"},
    ]
    assert manifest.boxes is not None
    found = {
        (row["clip_id"], row["pts_seconds"], row["person_id"]): row["labels"] for row in manifest.boxes.to_pylist()
    }
    # One row for all actions of a box and person; labels are columns of the list: 12 -> 0, 80 -> 2.
    assert found == {("-v1", 2.0, 3): [0, 2], ("-v1", 2.0, 4): [2], ("v2", 3.0, 1): [0]}
    assert manifest.keyframes.to_pylist() == [{"clip_id": "v2", "pts_seconds": 0.0}]
    told = {key: value for key, value in manifest.counts.items() if key.startswith(("rows", "videos_", "keyframes_"))}
    assert told == {
        "videos_missing": 1,
        "videos_unreadable": 0,
        "videos_that_start_at_0": 2,
        "videos_that_start_at_900": 0,
        "rows_without_video": 1,
        "rows_of_other_actions": 0,
        "rows_excluded": 1,
        "rows_of_zero_area": 1,
        "rows_outside_video": 0,
        "rows_repeated": 0,
        "keyframes_without_video": 0,
        "keyframes_outside_video": 0,
    }


def test_times_of_files_that_begin_later(tmp_path: Path, media: Path) -> None:
    truth = put(tmp_path / "own.csv", "v2,0902,0.1,0.1,0.4,0.9,12,1\nv2,0950,0.1,0.1,0.4,0.9,12,1\nv2,0903\nv2,0951\n")
    files: dict[str, Any] = {"val": truth, "labels": str(put(tmp_path / "own.pbtxt", PUBLISHED)), "media_root": media}
    manifest = import_ava(**files, out=tmp_path / "out", video_starts_at=900)
    assert manifest.boxes is not None
    assert manifest.boxes.column("pts_seconds").to_pylist() == [2.0]
    assert manifest.keyframes.column("pts_seconds").to_pylist() == [3.0]
    counts = manifest.counts
    assert (counts["rows_outside_video"], counts["keyframes_outside_video"]) == (1, 1)
    assert counts["videos_that_start_at_900"] == 1
    with pytest.raises(InputError, match=r"v2\.mkv: lasts 4\.0 s, but its keyframes lie at 902 to 951"):
        import_ava(**files, out=tmp_path / "out2")
    with pytest.raises(InputError, match=r"no box of .* lies inside a video"):
        import_ava(**files, out=tmp_path / "out3", video_starts_at=0)
    assert not (tmp_path / "out2").exists()
    assert not (tmp_path / "out3").exists()


def test_copies_cut_at_900_seconds_are_recognised_by_their_length(tmp_path: Path) -> None:
    media = tmp_path / "media"
    for name, seconds in (("cut", 901), ("whole", 1900), ("hidden", 900), ("early", 901)):
        write_pictures(media / name, seconds)  # a picture a second stands for the film
    rows = [(video, second) for video in ("cut", "whole") for second in (902, 1798)] + [("early", 5), ("early", 900)]
    text = "".join(f"{video},{second:04d},0.1,0.1,0.4,0.9,80,1\n" for video, second in rows)
    manifest = import_ava(
        train=put(tmp_path / "train.csv", text),
        test=put(tmp_path / "test.txt", "hidden.mkv\n"),
        media_root=media,
        out=tmp_path / "out",
        frames_fps=1.0,
    )
    assert manifest.boxes is not None
    times: dict[str, list[float]] = {}
    for row in manifest.boxes.to_pylist():
        times.setdefault(row["clip_id"], []).append(row["pts_seconds"])
    assert times == {"cut": [2.0, 898.0], "whole": [902.0, 1798.0], "early": [5.0, 900.0]}
    assert (manifest.counts["videos_that_start_at_900"], manifest.counts["videos_that_start_at_0"]) == (2, 2)
    assert manifest.counts["clips_test"] == 1
    assert {row["fps"] for row in manifest.clips.to_pylist()} == {1.0}
    write_pictures(media / "torn", 1000)
    torn = put(tmp_path / "val.csv", text.replace("cut", "torn"))
    with pytest.raises(InputError, match=r"torn: lasts 1000\.0 s, but its keyframes lie at 902 to 1798 s"):
        import_ava(val=torn, media_root=media, out=tmp_path / "out2", frames_fps=1.0)


def test_actions_outside_the_sixty_leave_their_box(tmp_path: Path, media: Path) -> None:
    # 2 (crawl) is one of the 80 and not evaluated; 81 is no action of AVA: an id off by one.
    rows = "v2,0002,0.1,0.1,0.4,0.9,2,1\nv2,0002,0.5,0.1,0.9,0.9,2,2\nv2,0002,0.5,0.1,0.9,0.9,80,2\n"
    rows += "v2,0002,0.5,0.1,0.9,0.9,80,2\n"  # a row comes twice
    manifest = import_ava(val=put(tmp_path / "val.csv", rows), media_root=media, out=tmp_path / "out")
    assert manifest.boxes is not None
    space = manifest.label_space
    assert [row["labels"] for row in manifest.boxes.to_pylist()] == [[], [space.index("watch (a person)")]]
    assert (manifest.counts["rows_of_other_actions"], manifest.counts["rows_repeated"]) == (2, 1)
    assert (manifest.name, manifest.licence[:9]) == ("ava", "CC BY 4.0")
    every = import_ava(val=tmp_path / "val.csv", media_root=media, out=tmp_path / "all", labels="ava_80")
    assert every.boxes is not None
    assert [row["labels"] for row in every.boxes.to_pylist()] == [[1], [1, 79]]
    wrong = put(tmp_path / "wrong.csv", rows + "v2,0003,0.1,0.1,0.4,0.9,81,1\n")
    with pytest.raises(InputError, match=r"wrong\.csv:5: action id 81 is not in label space 'ava_80'"):
        import_ava(val=wrong, media_root=media, out=tmp_path / "out2")


def test_unknown_labels_and_no_videos(tmp_path: Path, media: Path) -> None:
    labels = str(put(tmp_path / "own.pbtxt", PUBLISHED))
    truth = put(tmp_path / "own.csv", "v2,0002,0.1,0.1,0.4,0.9,12,1\nv2,0002,0.1,0.1,0.4,0.9,13,1\n")
    files: dict[str, Any] = {"train": truth, "labels": labels}
    with pytest.raises(InputError, match=r"own\.csv:2: action id 13 is not in label space 'own'"):
        import_ava(**files, media_root=media, out=tmp_path / "out")
    manifest = import_ava(**files, media_root=media, out=tmp_path / "out", skip_unknown_labels=True)
    assert manifest.counts["rows_of_other_actions"] == 1
    assert (manifest.name, manifest.licence, manifest.source) == ("own", "unknown", "AVA-format files")
    large = put(tmp_path / "large.csv", "v2,0002,0.1,0.1,0.4,0.9,12,1\nv2,0002,0.1,0.1,0.4,0.9,1999999999,1\n")
    options: dict[str, Any] = {"train": large, "labels": labels, "skip_unknown_labels": True}
    counts = import_ava(**options, media_root=media, out=tmp_path / "out4").counts  # no table of as many ids
    assert counts["rows_of_other_actions"] == 1
    with pytest.raises(InputError, match="video_starts_at is nan, expected seconds"):
        import_ava(**files, media_root=media, out=tmp_path / "out3", video_starts_at=float("nan"))
    with pytest.raises(InputError, match="no list of AVA's actions 'kinetics400'; expected ava_60, ava_80 or a pbtxt"):
        import_ava(train=truth, labels="kinetics400", media_root=media, out=tmp_path / "out3")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no videos"):
        import_ava(**files, media_root=tmp_path / "empty", out=tmp_path / "out3", skip_unknown_labels=True)
    with pytest.raises(InputError, match=r"own\.csv: video 'v2' is in train as well"):
        import_ava(**files, val=truth, media_root=media, out=tmp_path / "out3", skip_unknown_labels=True)
    with pytest.raises(InputError, match="no list of AVA's actions 'ava_61'; did you mean 'ava_60'"):
        import_ava(train=truth, labels="ava_61", media_root=media, out=tmp_path / "out3")
    with pytest.raises(InputError, match="expected train, val or test"):
        import_ava(media_root=media, out=tmp_path / "out3")
    assert not (tmp_path / "out3").exists()


def test_version_1_has_a_header_and_a_status(tmp_path: Path) -> None:
    text = (
        "video_id,middle_frame_timestamp,x1,y1,x2,y2,action_id,status\n053oq2xB3oU,904,0.061,0.168,0.774,0.877,11,1\n"
    )
    table = read_ava_csv(put(tmp_path / "a.csv", text))
    assert table.person_ids is not None
    assert table.person_ids.tolist() == [-1]


def test_empty_cells_are_a_keyframe_without_a_box(tmp_path: Path) -> None:
    text = "a,0902,,,,,\nb,0903,,,,,,\r\na,0904,0.1,0.1,0.4,0.9,,0.5\n"
    table = read_ava_csv(put(tmp_path / "a.csv", text), detections=True)
    assert table.keyframes == {("a", 902_000_000), ("b", 903_000_000)}
    assert table.label_ids.tolist() == [-1]


def test_the_sixty_actions_their_groups_and_the_split_of_paper_a() -> None:
    space = ava_label_space("ava_60")
    # The ids that AVA's evaluation uses.
    ids = "1 3-15 17 20 22 24 26-30 34 36-38 41 43 45-49 51 52 54 56-70 72-74 76-80"
    spans = [[int(n) for n in part.split("-")] for part in ids.split()]
    assert space.ids == tuple(n for span in spans for n in range(span[0], span[-1] + 1))
    assert Counter(space.buckets) == {"head": 8, "mid": 23, "tail": 29}
    assert set(space.groups) == {"pose", "person-object", "person-person"}
    assert sum(TABLE_9.values()) == 861_254
    assert space.buckets == buckets_by_count([TABLE_9[label_id] for label_id in space.ids])
    every = ava_label_space("ava_80")
    assert every.ids == tuple(range(1, 81))
    assert Counter(every.groups) == {"pose": 14, "person-object": 49, "person-person": 17}
    for name, label_id, group in zip(space.names, space.ids, space.groups, strict=True):
        column = every.published_ids.index(label_id)
        assert (name, group) == (every.names[column], every.groups[column])


def test_an_import_tells_which_classes_left_their_bucket(
    tmp_path: Path, media: Path, caplog: pytest.LogCaptureFixture
) -> None:
    truth = put(tmp_path / "train.csv", "v2,0002,0.1,0.1,0.4,0.9,80,1\n" * 2)
    counts = import_ava(train=truth, media_root=media, out=tmp_path / "out").counts
    assert (counts["classes_unlike_table_9"], counts["classes_in_another_bucket"]) == (60, 31)
    told = [record.message for record in caplog.records]
    assert told[0] == (
        "60 actions are not as frequent as in paper A's Table 9: it sums to 861,254 examples, this csv has 2 of these "
        "actions, and all rows of the public one are 837,318"
    )
    assert "watch (a person): 2 rows, paper A has 168148: tail, the stored split says head" in told
    assert len(told) == 32


def test_frequencies_are_compared_with_table_9() -> None:
    space = ava_label_space("ava_60")
    as_published = np.repeat(list(TABLE_9), list(TABLE_9.values()))
    assert frequency_differences(as_published, space) == []
    fewer = np.concatenate([as_published, np.full(300, 22), np.full(2, 80)])  # 22: close, 786 in Table 9
    assert frequency_differences(fewer, space) == [
        "close (e.g., a door, a box): 1086 rows, paper A has 786: mid, the stored split says tail",
        "watch (a person): 168150 rows, paper A has 168148",
    ]


@pytest.mark.slow
def test_a_training_csv_of_full_size_keeps_every_row(tmp_path: Path) -> None:
    """As many rows and films as ``ava_train_v2.2.csv``; everything that is left out is counted."""
    num_rows, num_films = 837_318, 235
    for film in range(num_films):
        write_pictures(tmp_path / "media" / f"film{film:07d}", 9)  # 900 s at 0.01 pictures a second
    rng = np.random.default_rng(0)
    row = np.arange(num_rows)
    box = row // 3  # three actions a box
    corners = np.sort(rng.integers(0, 1001, (num_rows // 3 + 1, 2, 2)), axis=1).reshape(-1, 4)[box] / 1000
    ids = np.array(ava_label_space("ava_80").ids)[(box * 7 + row % 3) % 80]
    seconds = 902 + box // num_films % 897
    table = AvaTable(
        video=np.array([f"film{k:07d}" for k in box % (num_films + 1)], dtype=object),  # one film has vanished
        pts_seconds=seconds.astype(float),
        boxes_norm=corners,
        label_ids=ids.astype(np.int32),
        person_ids=box,
    )
    write_ava_csv(tmp_path / "train.csv", table)
    barred = {(f"film{k:07d}", 902 + k) for k in range(50)}
    excluded = put(tmp_path / "excluded.csv", "".join(f"{film},{second:04d}\n" for film, second in sorted(barred)))
    manifest = import_ava(
        train=tmp_path / "train.csv",
        media_root=tmp_path / "media",
        out=tmp_path / "out",
        train_excluded=excluded,
        frames_fps=0.01,
    )
    flat = (corners[:, 2] <= corners[:, 0]) | (corners[:, 3] <= corners[:, 1])
    gone = box % (num_films + 1) == num_films
    shut = (
        np.isin((box % (num_films + 1)) * 10_000 + seconds, [int(film[4:]) * 10_000 + t for film, t in barred]) & ~gone
    )
    others = ~np.isin(ids, ava_label_space("ava_60").ids)
    counts = manifest.counts
    assert counts["videos_that_start_at_900"] == num_films
    assert counts["rows_without_video"] == gone.sum()
    assert counts["rows_of_other_actions"] == (others & ~gone).sum()
    assert counts["rows_excluded"] == shut.sum() > 0
    assert counts["rows_of_zero_area"] == (flat & ~gone & ~shut).sum() > 0
    kept = ~(flat | gone | shut)
    assert counts["boxes"] == len(np.unique(box[kept]))
    assert counts["rows_outside_video"] == counts["rows_repeated"] == 0
    assert manifest.boxes is not None
    labels = manifest.boxes.column("labels").combine_chunks()
    assert len(labels.flatten()) == (kept & ~others).sum()
    found = Counter(labels.flatten().to_pylist())
    assert found == Counter(manifest.label_space.published_ids.index(k) for k in ids[kept & ~others].tolist())


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
