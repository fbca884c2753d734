"""The mAP = 0 trap: a test for each mistake that people make, and clean pairs that get no complaint."""

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ava_cases import SPACE, make_case

from tubelet.cli import main
from tubelet.data.ava_csv import read_ava_csv, write_ava_csv
from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import frame_map
from tubelet.evals.explain import explain
from tubelet.evals.file_pair import agreement
from tubelet.labels import LabelSpace

LABELS = LabelSpace(name="ten", names=tuple(f"action {i}" for i in range(1, 11)), ids=tuple(range(1, 11)))
Change = Callable[[AvaTable], AvaTable]


def clean(seed: int = 0) -> tuple[AvaTable, AvaTable]:
    """Ground truth, and the detections of a fair model: shaken boxes, some missing, every class scored."""
    generator = np.random.default_rng(seed)
    rows, found = [], []
    for number in range(60):
        key = (f"film{number % 3}", 902.0 + number)
        for person in range(int(generator.integers(1, 4))):
            corner, size = generator.uniform(0, 0.6, 2), generator.uniform(0.15, 0.4, 2)
            box = np.concatenate([corner, np.minimum(corner + size, 1)])
            label = int(generator.integers(1, 11))
            rows.append((*key, box, label, person))
            if generator.random() < 0.85:
                shaken = np.clip(box + generator.normal(0, 0.015, 4), 0, 1)
                scores = generator.uniform(0, 0.5, 10)
                scores[label - 1] += 0.4
                found += [(*key, shaken, k + 1, scores[k]) for k in range(10)]
    return table(rows, "person_ids"), table(found, "scores")


def table(rows: list[tuple[object, ...]], last: str) -> AvaTable:
    video, seconds, boxes, labels, others = zip(*rows, strict=True)
    return AvaTable(
        video=np.array(video, dtype=object),
        pts_seconds=np.array(seconds, dtype=float),
        boxes_norm=np.stack(boxes),
        label_ids=np.array(labels, dtype=np.int32),
        **{last: np.array(others)},
    )


def boxes(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda t: replace(t, boxes_norm=change(t.boxes_norm))


def times(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda t: replace(t, pts_seconds=change(t.pts_seconds))


def ids(shift: int) -> Change:
    return lambda t: replace(t, label_ids=t.label_ids + np.int32(shift))


def videos(change: Callable[[str], str]) -> Change:
    return lambda t: replace(t, video=np.array([change(v) for v in t.video], dtype=object))


def only(t: AvaTable, rows: np.ndarray) -> AvaTable:
    columns = ("video", "pts_seconds", "boxes_norm", "label_ids", "scores")
    return replace(t, **{name: np.asarray(getattr(t, name))[rows] for name in columns})


def xywh(b: np.ndarray) -> np.ndarray:
    return np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1)


def cxcywh(b: np.ndarray) -> np.ndarray:
    return np.concatenate([(b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2]], axis=1)


PIXELS = np.array([640.0, 360.0, 640.0, 360.0])

TRAPS: dict[str, tuple[Change, str, str]] = {
    "ids one too low": (ids(-1), "ids", "action ids of the {} are one too low"),
    "ids one too high": (ids(1), "ids", "action ids of the {} are one too high"),
    "pixels": (boxes(lambda b: b * PIXELS), "pixels", "boxes of the {} are in pixels"),
    "xywh": (boxes(xywh), "box_format", "boxes of the {} are x, y, width, height"),
    "centres": (boxes(cxcywh), "box_format", "boxes of the {} are centre x, centre y, width, height"),
    "yxyx": (boxes(lambda b: b[:, [1, 0, 3, 2]]), "box_format", "boxes of the {} are y1, x1, y2, x2"),
    "frames at 30": (times(lambda t: t * 30), "times", "times of the {} are frames of 30 frames a second"),
    "frames at 25": (times(lambda t: t * 25), "times", "times of the {} are frames of 25 frames a second"),
    "frames of the cut film": (
        times(lambda t: (t - 900) * 30),
        "times",
        "times of the {} are frames of 30 frames a second c",
    ),
    "milliseconds": (times(lambda t: t * 1000), "times", "times of the {} are milliseconds"),
}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("which", ["ground truth", "detections"])
def test_each_trap_is_named_and_nothing_else(trap: str, which: str) -> None:
    change, kind, text = TRAPS[trap]
    truth, found = clean()
    pair = (change(truth), found) if which == "ground truth" else (truth, change(found))
    complaints = explain(*pair)
    assert [c.trap for c in complaints] == [kind]
    if kind == "ids" and which == "ground truth":
        text, which = text.replace("low", "@").replace("high", "low").replace("@", "high"), "detections"
    expected = text.format(which)
    if trap == "yxyx":  # both files tell the same then: which of them is right cannot be seen
        expected = expected.replace(which, "detections")
    assert expected in complaints[0].text


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (videos(lambda v: v + ".mp4"), "videos", "a file ending"),
        (videos(lambda v: "val/" + v), "videos", "a folder before the name"),
        (videos(lambda v: f"val/{v}.mkv"), "videos", "a folder and a file ending"),
        (videos(str.upper), "videos", "capital letters"),
        (videos(lambda v: v[::-1]), "videos", "keys never meet: 0% of the video ids .*'film0' in the ground"),
        (times(lambda t: t - 900), "times", "900 s earlier"),
        (times(lambda t: t + 0.04), "times", "0.04 s later"),
        (times(lambda t: t + np.resize([0.01, -0.02, 0.03, 0.017], len(t))), "times", "nearly meet"),
        (times(lambda t: t * np.pi + 5000), "times", "keys never meet: .* times are 902 to 961 in the ground truth"),
        (boxes(lambda b: b * 0.2), "overlap", "boxes lie elsewhere"),
        (ids(100), "ids", "No action id is in both"),
        (lambda t: replace(t, scores=np.ones(len(t))), "scores", "score 1"),
        (lambda t: only(t, t.video == "none"), "empty", "detections have no boxes"),
    ],
)
def test_other_traps_of_the_detections(change: Change, kind: str, text: str) -> None:
    truth, found = clean()
    complaints = explain(truth, change(found))
    assert [c.trap for c in complaints] == [kind]
    assert re.search(text, complaints[0].text)


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60])
@pytest.mark.parametrize("which", ["ground truth", "detections"])
def test_the_rate_of_frames_in_short_videos(fps: float, which: str) -> None:
    """Within ten seconds 30 and 29.97 frames a second are less than half a frame apart."""
    short = [times(lambda t: (t - 902) % 10 + 1)(one) for one in clean()]
    number = 0 if which == "ground truth" else 1
    short[number] = times(lambda t: np.round(t * fps))(short[number])
    complaints = explain(*short)
    assert [c.trap for c in complaints] == ["times"]
    assert f"times of the {which} are frames of {fps:g} frames a second; AVA's" in complaints[0].text


@pytest.mark.parametrize("change", [xywh, cxcywh])
@pytest.mark.parametrize("which", [(0,), (1,), (0, 1)])
def test_pixels_of_another_format(change: Callable[[np.ndarray], np.ndarray], which: tuple[int, ...]) -> None:
    names = ("ground truth", "detections")
    pair = list(clean())
    for number in which:
        pair[number] = boxes(lambda b: change(b) * PIXELS)(pair[number])
    complaints = explain(*pair)
    assert [c.trap for c in complaints] == ["pixels", "box_format"] * len(which)
    wanted = "x, y, width, height" if change is xywh else "centre x, centre y, width, height"
    for number, said in zip(which, complaints[1::2], strict=True):
        assert said.text == f"The boxes of the {names[number]} are {wanted}; AVA's are x1, y1, x2, y2."


def test_pixels_of_one_file_are_not_held_against_those_of_the_other() -> None:
    truth, found = (boxes(lambda b: b * PIXELS)(one) for one in clean())
    assert [c.trap for c in explain(truth, found)] == ["pixels", "pixels"]
    assert [c.trap for c in explain(truth, boxes(lambda b: xywh(b))(found))] == ["pixels", "pixels", "box_format"]


@pytest.mark.parametrize("mirror", [[1, 0, 1, 0], [0, 1, 0, 1]])
def test_mirrored_boxes(mirror: list[int]) -> None:
    truth, found = clean()
    flipped = np.abs(np.array(mirror) - found.boxes_norm)[:, [2, 1, 0, 3] if mirror[0] else [0, 3, 2, 1]]
    complaints = explain(truth, replace(found, boxes_norm=flipped))
    assert [c.trap for c in complaints] == ["box_format"]
    better = replace(
        truth, boxes_norm=np.abs(np.array(mirror) - truth.boxes_norm)[:, [2, 1, 0, 3] if mirror[0] else [0, 3, 2, 1]]
    )
    assert explain(better, found)[0].text == complaints[0].text  # which file is wrong cannot be seen
    expected = "mirrored (x counts from the right)" if mirror[0] else "upside down (y counts from below)"
    assert f"boxes of the detections are {expected}; AVA's" in complaints[0].text


def still(seed: int) -> tuple[AvaTable, AvaTable]:
    """People who move by a few hundredths of the frame in a second, found well."""
    generator = np.random.default_rng(seed)
    rows, found = [], []
    for film in range(3):
        for person in range(2):
            corner = generator.uniform(0.1, 0.5, 2)
            for second in range(902, 960):
                corner = np.clip(corner + generator.normal(0, 0.02, 2), 0, 0.6)
                box = np.concatenate([corner, corner + 0.3])
                rows.append((f"film{film}", float(second), box, 1 + person, person))
                found.append(
                    (
                        f"film{film}",
                        float(second),
                        box + generator.normal(0, 0.01, 4),
                        1 + person,
                        generator.uniform(0.5, 1),
                    )
                )
    return table(rows, "person_ids"), table(found, "scores")


@pytest.mark.parametrize(("files", "shift"), [(still, 1.0), (still, -1.0), (still, 2.0), (clean, 3.0), (clean, -6.0)])
def test_a_shift_that_leaves_most_keys_meeting(files: Callable[[int], tuple[AvaTable, AvaTable]], shift: float) -> None:
    truth, found = files(0)
    late = times(lambda t: t + shift)(found)
    assert agreement(truth, late).keyframes > 0.5
    complaints = explain(truth, late)
    assert [c.trap for c in complaints] == ["times"]
    assert f"are {abs(shift):g} s {'later' if shift > 0 else 'earlier'} than" in complaints[0].text


@pytest.mark.parametrize("seed", range(5))
def test_people_who_hardly_move_are_no_shift(seed: int) -> None:
    assert explain(*still(seed)) == ()


def test_labels_outside_the_list() -> None:
    truth, found = clean()
    complaints = explain(
        truth, replace(found, label_ids=np.where(found.label_ids == 10, 81, found.label_ids)), label_space=LABELS
    )
    assert [c.text for c in complaints] == [
        "The detections have action ids that are not in the list ten (1 to 10): 81."
    ]
    low = explain(truth, ids(-1)(found), label_space=LABELS)
    assert [c.trap for c in low] == ["labels", "ids"]


def test_several_traps_at_once() -> None:
    truth, found = clean()
    low = ids(-1)(found)
    assert [c.trap for c in explain(truth, boxes(lambda b: b * PIXELS)(low))] == ["pixels", "ids"]
    for change in (boxes(xywh), times(lambda t: t * 30), videos(lambda v: v + ".mp4")):
        low = change(low)
    assert [c.trap for c in explain(truth, low)] == ["videos", "times", "box_format", "ids"]


@pytest.mark.parametrize("seed", range(5))
def test_a_clean_pair_gets_no_complaint(seed: int) -> None:
    truth, found = clean(seed)
    assert frame_map(truth, found, LABELS).mean_ap > 0.3
    assert explain(truth, found, label_space=LABELS) == ()
    part = found.video == "film1"  # detections of some of the videos only
    some = only(found, part)
    assert explain(truth, some) == ()


def test_an_untrained_model_gets_no_complaint_about_its_files() -> None:
    truth, found = clean()
    noise = np.random.default_rng(1).random(len(found))
    assert explain(truth, replace(found, scores=noise), label_space=LABELS) == ()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = clean()
    write_ava_csv(tmp_path / "truth.csv", truth)
    write_ava_csv(tmp_path / "found.csv", boxes(lambda b: b * PIXELS)(found))
    write_ava_csv(tmp_path / "clean.csv", found)
    read = read_ava_csv(tmp_path / "clean.csv", detections=True)

    def call(detections: str) -> str:
        command = ["tubelet", "data", "explain", str(tmp_path / "truth.csv"), str(tmp_path / detections)]
        monkeypatch.setattr(sys, "argv", command)
        main()
        return capsys.readouterr().out

    told = call("found.csv").splitlines()
    assert told[0] == (
        "As the files are: frame mAP 0.0000 at IoU 0.5 (official protocol); 100.0% of the videos and 100.0% of "
        "the keyframes meet; at these an annotated box overlaps the best detected one by 0.00."
    )
    assert told[1].startswith("1. The boxes of the detections are in pixels (the largest number is 5")
    (tmp_path / "none.csv").write_text("")
    told = call("none.csv").splitlines()
    assert told[0].startswith("As the files are: frame mAP 0.0000")
    assert told[1] == "1. The detections have no boxes."
    told = call("clean.csv").splitlines()
    now = agreement(truth, read)
    assert now.mean_ap == frame_map(truth, read, LABELS).mean_ap
    assert f"frame mAP {now.mean_ap:.4f}" in told[0]
    assert "No cause found" in told[1]


def test_classes_that_the_ground_truth_lacks_take_room_under_the_official_cap() -> None:
    truth, real = clean()
    assert real.scores is not None
    now = agreement(truth, real)
    # 50 boxes and classes a keyframe.
    loud = np.repeat(np.flatnonzero(real.label_ids == 1), 60)
    crowd = replace(
        real,
        video=np.concatenate([real.video, real.video[loud]]),
        pts_seconds=np.concatenate([real.pts_seconds, real.pts_seconds[loud]]),
        boxes_norm=np.concatenate([real.boxes_norm, real.boxes_norm[loud]]),
        label_ids=np.concatenate([real.label_ids, np.full(len(loud), 11)]),
        scores=np.concatenate([real.scores, np.ones(len(loud))]),
    )
    wider = LabelSpace(name="eleven", names=(*LABELS.names, "action 11"), ids=(*LABELS.ids, 11))
    official = frame_map(truth, crowd, wider).mean_ap
    assert official < now.mean_ap
    assert agreement(truth, crowd).mean_ap == agreement(truth, crowd, label_space=wider).mean_ap == official
    assert agreement(truth, crowd, label_space=LABELS).mean_ap == now.mean_ap


def test_files_that_the_official_code_scores_get_no_complaint(tmp_path: Path) -> None:
    case = make_case(0)
    for name in ("ground_truth", "detections"):
        (tmp_path / f"{name}.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in case[name]))
    assert (
        explain(
            read_ava_csv(tmp_path / "ground_truth.csv", boxes="any"),
            read_ava_csv(tmp_path / "detections.csv", detections=True, boxes="any"),
        )
        == ()
    ), SPACE.name
