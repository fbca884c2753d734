import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from ava_cases import IDS, make_case
from plain_ava import plain_frame_map

from tubelet.cli.dispatch import run
from tubelet.types import InputError

LABELS = "".join(f'item {{\n  name: "class {i}"\n  id: {i}\n}}\n' for i in IDS)
BOX, FAR = "0.1,0.1,0.5,0.5", "0.6,0.6,0.9,0.9"
TRUTH = f"v,0902,{BOX},1,0\nv,0902,{FAR},3,1\nv,0903\n"
FOUND = f"v,0902,{BOX},1,0.9\nv,0902,{FAR},3,0.8\nv,0903,{FAR},3,0.7\n"


def as_csv(rows: list[list[object]]) -> str:
    return "".join(",".join(str(cell) for cell in row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gt.csv").write_text(TRUTH)
    (tmp_path / "det.csv").write_text(FOUND)
    (tmp_path / "list.pbtxt").write_text(LABELS)
    return tmp_path


def score(folder: Path, *options: object) -> dict:
    out = folder / "out.json"
    given = ["--labels", folder / "list.pbtxt", "--json", out, *options]
    if "--ground-truth" not in options:
        given += ["--ground-truth", folder / "gt.csv"]
    if "--detections" not in options:
        given += ["--detections", folder / "det.csv"]
    run(["ava-eval", *map(str, given)])
    return json.loads(out.read_text())


def refused(folder: Path, *options: object) -> str:
    with pytest.raises(InputError) as error:
        score(folder, *options)
    assert not (folder / "out.json").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("protocol", ["official", "slowfast", "mmaction"])
@pytest.mark.parametrize("seed", range(12))
def test_files_give_the_number_of_plain_loops(folder: Path, protocol: str, seed: int) -> None:
    case = make_case(seed, num_keyframes=14, decimals=(1, 2, 4, 12)[seed % 4])
    (folder / "gt.csv").write_text(as_csv(case["ground_truth"]))
    (folder / "det.csv").write_text(as_csv(case["detections"]))
    (folder / "ex.csv").write_text(as_csv(case["excluded"]))
    excluded = [] if protocol == "official" else ["--excluded", folder / "ex.csv"]
    data = score(folder, "--protocol", protocol, *excluded)
    expected = plain_frame_map(case["ground_truth"], case["detections"], IDS, protocol, case["excluded"])
    assert {c["id"]: c["ap"] for c in data["per_class"] if c["ap"] is not None} == pytest.approx(expected, abs=1e-9)
    assert data["mAP"] == pytest.approx(np.mean(list(expected.values())), abs=1e-9)
    assert (data["protocol"], data["iou"], data["depends_on_row_order"]) == (protocol, 0.5, protocol == "slowfast")


def test_json_says_what_was_scored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = score(folder)
    assert {"protocol", "iou", "mAP", "per_class"} <= set(data)
    assert data["per_class"][0] == {"id": 1, "name": "class 1", "ap": 1.0, "num_ground_truth": 1}
    assert data["per_class"][2] == {"id": 4, "name": "class 4", "ap": None, "num_ground_truth": 0}
    assert data["files"]["detections"][0]["path"] == str(folder / "det.csv")
    assert len(data["files"]["ground_truth"][0]["sha256"]) == 64
    assert data["numpy"] == np.__version__
    assert "frame mAP@0.5 100.00 (protocol official)" in capsys.readouterr().out
    score(folder, "--protocol", "slowfast")
    assert "in the order of the rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    "packed",
    [
        lambda text: gzip.compress(text.encode()),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.rstrip("\n").encode(),
        lambda text: ("\n\n" + text + "\n").encode(),
        lambda text: ("video_id,seconds,x1,y1,x2,y2,action_id,last\n" + text).encode(),
        lambda text: gzip.compress(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()),
    ],
    ids=["gz", "crlf", "cr", "bom", "no-last-newline", "blank-lines", "header", "gz-bom-crlf"],
)
def test_files_written_otherwise_give_the_same(folder: Path, packed) -> None:
    expected = score(folder)
    for name, text in (("gt.csv", TRUTH), ("det.csv", FOUND)):
        (folder / name).write_bytes(packed(text))
    found = score(folder)
    assert {k: v for k, v in found.items() if k != "files"} == {k: v for k, v in expected.items() if k != "files"}


MISTAKES = [
    ("det.csv", f"v,0902,{BOX},1,0.9,7\n", r"det.csv:4: 9 columns"),
    ("det.csv", "v,0902,0.1\n", r"det.csv:4: 3 columns"),
    ("det.csv", f"v,0902,{BOX},1,high\n", "det.csv:4: score is 'high', expected a number"),
    ("det.csv", f"v,0902,{BOX},1,nan\n", "det.csv:4: score is nan, expected a finite number"),
    ("det.csv", f"v,0902,{BOX},one,0.9\n", "det.csv:4: action id is 'one', expected a whole number"),
    ("det.csv", f"v,then,{BOX},1,0.9\n", "det.csv:4: seconds is 'then', expected a number"),
    ("det.csv", "v,0902,12,30,55,80,1,0.9\n", "det.csv:4: box [12.0, 30.0, 55.0, 80.0], expected 0..1 of the frame"),
    ("det.csv", "v,0902,0.1,inf,0.5,0.5,1,0.9\n", "det.csv:4: y1 is 'inf', expected a finite number"),
    ("det.csv", "v,0902,0.1,,0.5,0.5,1,0.9\n", "det.csv:4: y1 is missing"),
    ("det.csv", f",0902,{BOX},1,0.9\n", "det.csv:4: video id is missing"),
    ("gt.csv", "v,0902,0.5,0.1,0.1,0.5,1,0\n", "gt.csv:4: box [0.5, 0.1, 0.1, 0.5], expected x1,y1,x2,y2"),
    ("gt.csv", f"v,0902,{BOX},,0\n", "gt.csv:4: action id is missing"),
    ("gt.csv", "v\n", "gt.csv:4: 1 columns"),
    ("gt.csv", "v,x\n", "gt.csv:4: 'v,x' is not video_id,seconds"),
]


@pytest.mark.parametrize(("name", "line", "message"), MISTAKES, ids=[f"{m[0]}-{m[1].strip()}" for m in MISTAKES])
@pytest.mark.parametrize("pack", [str.encode, lambda text: gzip.compress(text.encode())], ids=["plain", "gz"])
def test_mistakes_are_named_by_file_and_line(folder: Path, name: str, line: str, message: str, pack) -> None:
    text = {"gt.csv": TRUTH, "det.csv": FOUND}[name]
    (folder / name).write_bytes(pack(text + line + text))
    assert message in refused(folder)


def test_files_that_cannot_belong_together(folder: Path) -> None:
    (folder / "det.csv").write_text(f"v,0902,{BOX},61,0.9\n")
    assert "det.csv: no detection has an action id of list; the files have 61" in refused(folder)
    (folder / "det.csv").write_text(f"w,0902,{BOX},1,0.9\n")
    assert "det.csv: no detection lies on a keyframe that counts" in refused(folder)
    (folder / "det.csv").write_text("")
    assert "det.csv: has no rows" in refused(folder)
    (folder / "det.csv").write_text(FOUND)
    (folder / "gt.csv").write_text("v,0902\n")
    assert "det.csv: mAP over no classes" in refused(folder)
    (folder / "gt.csv").write_text("")
    assert "gt.csv: has no rows" in refused(folder)
    assert "--iou is 2, expected more than 0" in refused(folder, "--iou", "2")


def test_broken_files(folder: Path) -> None:
    (folder / "det.csv").write_bytes(gzip.compress(FOUND.encode() * 999)[:-20])
    assert "det.csv: cannot be read" in refused(folder)
    (folder / "det.csv").write_bytes(FOUND.encode("utf-16"))
    assert "det.csv:1:" in refused(folder)
    (folder / "det.csv").write_bytes(FOUND.encode() + b"v\xff,0902,0.1,0.1,0.5,0.5,1,0.9\n")
    assert "det.csv:4: not UTF-8" in refused(folder)
    assert "none.csv: cannot be read (No such file" in refused(folder, "--detections", folder / "none.csv")
    assert "cannot be read (Is a directory" in refused(folder, "--detections", folder)


def test_odd_but_scored(folder: Path) -> None:
    # Scores are only ranked; boxes may reach out of the frame or be inverted, which no protocol matches.
    rows = f"v,0902,{BOX},1,35\nv,0902,-0.02,0.1,1.03,0.5,1,-4.5\nv,0902,0.5,0.5,0.1,0.1,1,40\nv,0902,{BOX},77,1\n"
    (folder / "det.csv").write_text(rows)
    data = score(folder)
    assert data["per_class"][0]["ap"] == 1.0
    assert (data["scores_outside_0_1"], data["boxes_outside_frame"]) == (3, 1)
    assert data["counts"]["detections_degenerate"] == 1
    assert data["counts"]["detections_other_class"] == 1


def test_rows_of_seven_and_eight_columns(folder: Path) -> None:
    (folder / "gt.csv").write_text(f"v,0902,{BOX},1\nv,0902,{FAR},3,1\nv,0903\n")
    assert score(folder)["mAP"] == 1.0
    (folder / "det.csv").write_text(f"v,0902,{FAR},1,0.9\nv,0902,{BOX},1\n")
    assert score(folder)["per_class"][0]["ap"] == 1.0  # no score is 1, as the official reader has it


def test_parts_and_their_union(folder: Path) -> None:
    (folder / "kinetics.csv").write_text(f"k_000010_000020,15.5,{BOX},1\nk_000010_000020,15.75,{FAR},1\n")
    (folder / "more.csv").write_text(f"k_000010_000020,15.500000,{BOX},1,0.95\nk_000010_000020,15.75,{BOX},1,0.97\n")
    data = score(
        folder, "--ground-truth", folder / "gt.csv", folder / "kinetics.csv",
        "--detections", folder / "det.csv", folder / "more.csv",
    )  # fmt: skip
    assert {name: part["mAP"] for name, part in data["parts"].items()} == {"gt": 1.0, "kinetics": 0.25}
    # Class 1 over both: miss, hit, hit of three: 2/3 at two of three recalls; class 3 is whole.
    assert data["mAP"] == pytest.approx((4 / 9 + 1) / 2)
    (folder / "copy.csv").write_text(TRUTH)
    both = refused_again(folder, "--ground-truth", folder / "gt.csv", folder / "copy.csv")
    assert "video 'v' is in the ground truth of gt and of copy" in both
    assert "gt.csv: given twice" in refused(folder, "--ground-truth", folder / "gt.csv", folder / "gt.csv")


def refused_again(folder: Path, *options: object) -> str:
    (folder / "out.json").unlink()
    return refused(folder, *options)


def test_groups(folder: Path) -> None:
    path = folder / "groups.csv"
    path.write_text("".join(f"{i},{'few' if i < 4 else 'many'}\n" for i in IDS))
    assert score(folder, "--groups", path)["groups"] == {str(path): {"few": 1.0, "many": None}}
    for text, message in (
        ("1,a\n", "class id 3 of list has no group"),
        ("99,a\n", "groups.csv:1: class id 99 is not in"),
    ):
        path.write_text(text)
        assert message in refused_again(folder, "--groups", path)
        (folder / "out.json").touch()
    assert "class 'class 1' is none of AVA's" in refused_again(folder, "--groups", "action")
    known = 'item {\n  name: "bend/bow (at the waist)"\n  id: 1\n}\nitem {\n  name: "crouch/kneel"\n  id: 3\n}\n'
    (folder / "list.pbtxt").write_text(known)
    assert score(folder, "--groups", "action", "frequency")["groups"] == {
        "action": {"pose": 1.0},
        "frequency": {"mid": 1.0},
    }


def test_persons_by_hand(folder: Path) -> None:
    # Two people; a hit at 0.9, a miss at 0.5, a hit at 0.1: precision 1 and 2/3.
    boxes = f"v,0902,{BOX},,0.9\nv,0903,{BOX},,0.5\nv,0902,{FAR},,0.1\n"
    (folder / "det.csv").write_text(boxes)
    data = score(folder, "--persons")
    assert data["person_AP"] == pytest.approx((1 + 2 / 3) / 2)
    assert (data["num_people"], data["num_boxes"]) == (2, 3)
    at = {row["threshold"]: (row["num_boxes"], row["recall"], row["precision"]) for row in data["at_threshold"]}
    assert (at[0.2], at[0.9]) == ((2, 0.5, 0.5), (1, 0.5, 1.0))
    (folder / "det.csv").write_text(f"v,0902,{BOX},1,0.9\nv,0902,{BOX},3,0.5\n")
    assert "a detected box has several scores" in refused_again(folder, "--persons")
