import json
from pathlib import Path

import numpy as np
import pytest

from tubelet.cli.dispatch import run
from tubelet.data.ava_table import AvaTable
from tubelet.evals.tubes import Linking, Tube, annotated_tubes, frame_numbers, link_tubes, tube_iou, video_map
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
    a = tube(10, [BOX] * 4)  # frames 10..13
    assert tube_iou(a, a) == 1.0
    assert tube_iou(a, tube(12, [BOX] * 4)) == pytest.approx(2 / 6)
    assert tube_iou(a, tube(12, [HALF, BOX])) == pytest.approx((0.5 + 1) / 2 * 2 / 4)
    assert tube_iou(a, tube(14, [BOX] * 4)) == 0.0
    assert tube_iou(a, tube(10, [AWAY] * 4)) == 0.0


def test_video_map_by_hand() -> None:
    truth = [tube(0, [BOX] * 10), tube(0, [AWAY] * 10), tube(0, [BOX] * 4, label=2, video="w")]
    found = [
        tube(0, [BOX] * 6, 0.9),  # overlap 0.6 with the first
        tube(0, [BOX] * 10, 0.8),  # a duplicate up to 0.6; above it the first one
        tube(0, [AWAY] * 3, 0.7),  # 0.3 with the second
        tube(0, [BOX] * 4, 0.9, label=2, video="v"),  # another video
    ]
    result = video_map(truth, found, SPACE, ious=(0.2, 0.5))
    # 0.2: hit, duplicate, hit: 1 and 2/3; class 2 has nothing. 0.5: hit, duplicate, miss: 1/2 of recall.
    assert [c.ap for c in result.per_class["0.20"]] == pytest.approx([(1 + 2 / 3) / 2, 0.0])
    assert result.mean_ap["0.50"] == pytest.approx(0.5 / 2)
    # Up to 0.6 the first tube is the hit (AP 1/2), above it the second one, at precision 1/2 (AP 1/4).
    assert result.mean_ap["0.50:0.95"] == pytest.approx((3 * 0.5 + 7 * 0.25) / 10 / 2)
    assert video_map(truth, [], SPACE).mean_ap["0.20"] == 0.0
    with pytest.raises(InputError, match="video mAP over no classes"):
        video_map([], found, SPACE)


def test_classes_without_a_tube_are_left_out_of_the_mean() -> None:
    result = video_map([tube(0, [BOX])], [tube(0, [BOX]), tube(0, [BOX], label=2)], SPACE)
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
    assert data["video"]["video_mAP"]["0.50:0.95"] == pytest.approx((1 + 0.6) / 2)  # up to 0.75, six of ten
    assert data["frame"]["mAP"] == pytest.approx((1 + 15 / 20) / 2)
    assert "video mAP@0.20 100.00 (3 tubes)" in capsys.readouterr().out
