import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tubelet.cli.dispatch import run
from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import frame_map
from tubelet.evals.tubes import (
    RULES,
    Linking,
    Tube,
    annotated_tubes,
    frame_act,
    frame_numbers,
    link_tubes,
    trapezoid_ap,
    tube_iou,
    video_map,
)
from tubelet.labels import LabelSpace
from tubelet.types import InputError

SPACE = LabelSpace(name="two", names=("run", "jump"), ids=(1, 2))
BOX, HALF, AWAY = [0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.2], [0.6, 0.6, 0.9, 0.9]


def tube(start: int, boxes: list, score: float = 1.0, label: int = 1, video: str = "v") -> Tube:
    return Tube(video=video, label_id=label, start=start, boxes=np.array(boxes), score=score)


def table(rows: list[tuple], scored: bool = False) -> AvaTable:
    """Rows of video, seconds, box, label, person id or score."""
    last = [row[4] for row in rows]
    return AvaTable(
        video=np.array([row[0] for row in rows], dtype=object),
        pts_seconds=np.array([row[1] for row in rows], dtype=np.float64),
        boxes_norm=np.array([row[2] for row in rows]).reshape(-1, 4),
        label_ids=np.array([row[3] for row in rows], dtype=np.int32),
        scores=np.array(last) if scored else None,
        person_ids=None if scored else np.array(last, dtype=np.int64),
    )


def test_overlap_of_tubes_by_hand() -> None:
    a, rules, huge = tube(10, [BOX] * 4), RULES["act"], (10**9, 10**9)  # frames 10..13; one pixel more is nothing
    assert tube_iou(a, a, rules, huge) == 1.0
    assert tube_iou(a, tube(12, [BOX] * 4), rules, huge) == pytest.approx(2 / 6)
    assert tube_iou(a, tube(12, [HALF, BOX]), rules, huge) == pytest.approx((0.5 + 1) / 2 * 2 / 4)
    assert tube_iou(a, tube(14, [BOX] * 4), rules, huge) == 0.0
    assert tube_iou(a, tube(10, [AWAY] * 4), rules, huge) == 0.0
    # Frames of 10 x 10 pixels: boxes of 5 x 5 and 5 x 3 with their borders.
    assert tube_iou(a, tube(10, [HALF] * 4), rules, (10, 10)) == pytest.approx(15 / 25)
    # MultiSports: first and last frame are 3 apart, those in common 1, of either 5.
    assert tube_iou(a, a, RULES["multisports"]) == 1.0
    assert tube_iou(a, tube(12, [BOX] * 4), RULES["multisports"]) == pytest.approx(1 / 5)
    assert tube_iou(tube(10, [BOX]), tube(10, [BOX]), RULES["multisports"]) == 0.0


def test_video_map_by_hand() -> None:
    truth = [tube(0, [BOX] * 10), tube(0, [AWAY] * 10), tube(0, [BOX] * 4, label=2, video="w")]
    found = [
        tube(0, [BOX] * 6, 0.9),  # overlap 0.6 with the first
        tube(0, [BOX] * 10, 0.8),  # a duplicate up to 0.6; above it the first one
        tube(0, [AWAY] * 3, 0.7),  # 0.3 with the second
        tube(0, [BOX] * 4, 0.9, label=2, video="v"),  # another video
    ]
    result = video_map(truth, found, SPACE, ious=(0.2, 0.5))
    # MultiSports: overlaps 5/9, 1 and 2/9. At 0.2 hit, duplicate, hit: 1 and 2/3; class 2 has nothing. At 0.5 hit,
    # duplicate, miss: 1/2 of recall.
    assert [c.ap for c in result.per_class["0.20"]] == pytest.approx([(1 + 2 / 3) / 2, 0.0])
    assert result.mean_ap["0.50"] == pytest.approx(0.5 / 2)
    # Up to 0.55 the first tube is the hit (AP 1/2), above it the second one, at precision 1/2 (AP 1/4).
    assert result.mean_ap["0.50:0.95"] == pytest.approx((2 * 0.5 + 8 * 0.25) / 10 / 2)
    assert result.num_tubes == 4
    act = video_map(truth, found, SPACE, ious=(0.2, 0.5), rules=RULES["act"], frame_hw=(10**9, 10**9))
    # ACT: overlaps 0.6, 1 and 0.3; the second overlaps the first by 0.6 and is left out. At 0.2 hit, hit: 1. At 0.5
    # hit, miss: straight lines from (0, 1) to (1/2, 1) to (1/2, 1/2).
    assert act.num_tubes == 3
    assert [c.ap for c in act.per_class["0.20"]] == pytest.approx([1.0, 0.0])
    assert act.mean_ap["0.50"] == pytest.approx(0.5 / 2)
    with pytest.raises(InputError, match="they need the height and width of the frames"):
        video_map(truth, found, SPACE, rules=RULES["act"])
    assert video_map(truth, [], SPACE).mean_ap["0.20"] == 0.0
    with pytest.raises(InputError, match="video mAP over no classes"):
        video_map([], found, SPACE)


def test_the_next_best_may_be_claimed_by_act_alone() -> None:
    truth, found = [tube(0, [BOX] * 4), tube(0, [HALF] * 4)], [tube(0, [BOX] * 4, 0.9), tube(0, [BOX] * 4, 0.8)]
    rules = replace(RULES["act"], suppress_iou=None)
    assert video_map(truth, found, SPACE, rules=rules, frame_hw=(10**9, 10**9)).mean_ap["0.20"] == pytest.approx(1.0)
    assert video_map(truth, found, SPACE).mean_ap["0.20"] == pytest.approx(0.5)


def test_straight_lines_between_the_points() -> None:
    # Miss, hit of two: (0, 1), (0, 0), (1/2, 1/2): a triangle of 1/2 * 1/2 * 1/2.
    assert trapezoid_ap(np.array([False, True]), 2) == pytest.approx(1 / 8)
    assert trapezoid_ap(np.array([], dtype=bool), 2) == 0.0


def test_classes_without_a_tube_are_left_out_of_the_mean() -> None:
    pair = [BOX] * 2
    result = video_map([tube(0, pair)], [tube(0, pair), tube(0, pair, label=2)], SPACE)
    assert [c.ap for c in result.per_class["0.50"]] == [1.0, None]
    assert result.mean_ap["0.50"] == 1.0


def test_annotated_tubes_end_where_frames_are_missing() -> None:
    rows = [("v", t / 25, BOX, 1, 7) for t in (0, 1, 2, 5, 6)] + [("v", 1 / 25, AWAY, 1, 8), ("v", 0.0, BOX, 2, 7)]
    truth = table(rows)
    (frames,) = frame_numbers((truth,))
    tubes = annotated_tubes(truth, frames)
    assert [(t.label_id, t.start, t.end) for t in tubes] == [(1, 0, 3), (1, 5, 7), (2, 0, 1), (1, 1, 2)]
    with pytest.raises(InputError, match="two boxes of action 1 at one time"):
        annotated_tubes(table([rows[0], rows[0]]), np.zeros(2, dtype=np.int64))
    with pytest.raises(InputError, match="needs a person id"):
        annotated_tubes(table([("v", 0.0, BOX, 1, -1)]), np.zeros(1, dtype=np.int64))
    with pytest.raises(InputError, match=r"video 'v': 0\.1 s lies between frames of 0\.04 s"):
        frame_numbers((table([("v", 0.0, BOX, 1, 0), ("v", 0.1, BOX, 1, 0)]),), step_seconds=0.04)


def test_frames_are_those_of_each_video() -> None:
    rate = 30000 / 1001
    rows = [("v", round(t / rate, 6), BOX, 1, 0) for t in range(500)] + [("w", 3 + t / 25, BOX, 1, 0) for t in range(3)]
    frames = frame_numbers((table(rows[:400]), table(rows[400:])))
    assert np.concatenate(frames).tolist() == [*range(500), 0, 1, 2]


def test_boxes_are_linked_by_overlap_and_score() -> None:
    drift = [[0.02 * t, 0.0, 0.4 + 0.02 * t, 0.4] for t in range(6)]
    rows = [("v", t / 10, drift[t], 1, 0.5 + 0.05 * t) for t in range(6)]
    rows += [("v", t / 10, AWAY, 1, 0.3) for t in (0, 1, 3, 4)]  # a hole: two tubes
    rows += [("v", 0.2, [x + 0.01 for x in drift[2]], 1, 0.4)]  # suppressed by a better box
    found = table(rows, scored=True)
    (frames,) = frame_numbers((found,))
    tubes = link_tubes(found, frames, Linking(min_frames=2))
    assert sorted((t.start, t.end, round(t.score, 6)) for t in tubes) == [(0, 2, 0.3), (0, 6, 0.625), (3, 5, 0.3)]
    whole = next(t for t in tubes if len(t.boxes) == 6)
    np.testing.assert_allclose(whole.boxes, drift)
    assert len(link_tubes(found, frames, Linking(min_frames=6))) == 1
    assert not link_tubes(found, frames, Linking(min_frames=7))


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box, away = (",".join(map(str, b)) for b in (BOX, AWAY))
    times = [t / 20 for t in range(20)]
    (tmp_path / "gt.csv").write_text("".join(f"v,{t},{box},1,0\nv,{t},{away},2,1\n" for t in times))
    found = [f"v,{t},{box},1,0.9\nv,{t},{box},2,0.4\n" for t in times] + [f"v,{t},{away},2,0.5\n" for t in times[:15]]
    (tmp_path / "det.csv").write_text("".join(found))
    (tmp_path / "list.pbtxt").write_text('item { name: "run" id: 1 }\nitem { name: "jump" id: 2 }\n')
    files = [f"--{name}={tmp_path / file}" for name, file in (("ground-truth", "gt.csv"), ("detections", "det.csv"))]
    run(["tube-eval", *files, f"--labels={tmp_path / 'list.pbtxt'}", f"--json={tmp_path / 'out.json'}"])
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["video"]["video_mAP"]["0.50"] == 1.0  # jump: 15 of 20 frames at the better score
    assert data["video"]["video_mAP"]["0.50:0.95"] == pytest.approx((1 + 0.5) / 2)  # up to 14/19, five of ten
    assert data["protocol"] == data["frame"]["protocol"] == "multisports"
    assert data["frame"]["mAP"] == pytest.approx((1 + 15 / 20) / 2)
    assert "video mAP@0.20 100.00 (3 tubes)" in capsys.readouterr().out
    act = ["tube-eval", *files, f"--labels={tmp_path / 'list.pbtxt'}", f"--json={tmp_path / 'out.json'}"]
    run([*act, "--protocol", "act", "--frame-hw", "240", "320"])
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["video"]["video_mAP"]["0.50:0.95"] == pytest.approx((1 + 0.6) / 2)  # up to 15/20, six of ten
    assert data["frame"]["mAP"] == pytest.approx((1 + 15 / 20) / 2)
    assert "frame mAP@0.5 87.50 (protocol act)" in capsys.readouterr().out
    for wrong in (["--protocol", "act"], ["--frame-hw", "240", "320"]):
        with pytest.raises(InputError, match="--frame-hw goes with --protocol act"):
            run(["tube-eval", *files, f"--labels={tmp_path / 'list.pbtxt'}", *wrong])


def test_no_detected_tube_is_an_error_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "list.pbtxt").write_text('item {\n  name: "run"\n  id: 1\n}\n')
    rows = [f"v,{i},0.1,0.1,0.5,0.9,1" for i in range(20)]
    (tmp_path / "truth.csv").write_text("".join(f"{row},0\n" for row in rows))
    (tmp_path / "found.csv").write_text("".join(f"{row},0.5\n" for row in rows[:14]))
    files = [f"--{name}={tmp_path / file}" for name, file in (("ground-truth", "truth.csv"), ("labels", "list.pbtxt"))]
    command = ["tube-eval", *files, f"--detections={tmp_path / 'found.csv'}"]
    with pytest.raises(InputError, match=r"found\.csv: no tube of 15 frames"):
        run(command)
    run([*command, "--min-frames", "14"])
    with pytest.raises(InputError, match=r"must be in \(0, 1\]"):
        run([*command, "--min-frames", "14", "--ious", "50"])


GOLDEN = Path(__file__).parents[1] / "golden/tubes"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_numbers_of_the_public_evaluations(path: Path) -> None:
    case = json.loads(path.read_text())
    space = LabelSpace(name="golden", names=tuple(case["labels"]))
    height, width = case["frame_hw"]
    pixels = np.array([width, height] * 2)

    def tubes(name: str) -> list[Tube]:
        return [
            Tube(video=v, label_id=k, start=at, boxes=np.array(boxes) / pixels, score=score[0] if score else 1.0)
            for v, k, at, boxes, *score in case[name]
        ]

    def rows(name: str) -> tuple[AvaTable, np.ndarray]:
        """Return every box of the tubes, and its frame."""
        boxes = [(t.video, t.start + i, box, t.label_id, t.score) for t in tubes(name) for i, box in enumerate(t.boxes)]
        scored = name == "found"  # then no two boxes have the same
        rows = [(v, f / 25, box, k, score - 1e-6 * i if scored else 0) for i, (v, f, box, k, score) in enumerate(boxes)]
        made = table(rows, scored=scored)
        return made, np.array([f for _, f, *_ in boxes])

    truth, found = tubes("truth"), tubes("found")
    ious = [float(name.removeprefix("video ")) for name in case["act"] if name.startswith("video")]
    for name, rules in RULES.items():
        result = video_map(truth, found, space, ious=ious, rules=rules, frame_hw=(height, width))
        for iou in ious:
            assert 100 * result.mean_ap[f"{iou:.2f}"] == pytest.approx(case[name][f"video {iou}"], abs=1e-5), (
                name,
                iou,
            )
    (true_rows, true_frames), (found_rows, found_frames) = rows("truth"), rows("found")
    act = frame_act(true_rows, found_rows, space, (true_frames, found_frames), (height, width))
    assert 100 * act["mAP"] == pytest.approx(case["act"]["frame 0.5"], abs=1e-4)
    frame = frame_map(true_rows, found_rows, space, protocol="multisports")
    assert 100 * frame.mean_ap == pytest.approx(case["multisports"]["frame 0.5"], abs=1e-9)
    assert act["mAP"] != pytest.approx(frame.mean_ap, abs=1e-4)  # two evaluations, two numbers
