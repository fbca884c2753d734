import json
from pathlib import Path

import numpy as np
import pytest

from tubelet.cli.dispatch import run
from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import frame_map
from tubelet.evals.predictions import read_predictions, write_predictions
from tubelet.evals.run import TaskResult
from tubelet.evals.views import Views
from tubelet.labels import LabelSpace
from tubelet.types import InputError

SPACE = LabelSpace(name="two", names=("stand", "wave"), ids=(12, 69), buckets=("head", "tail"))
ORIGIN = {"run": "runs/a", "weights_sha256": "ab" * 32, "data": {"name": "set", "sha256": "cd" * 32}}


def boxes_result(views: Views | None = None) -> TaskResult:
    generator = np.random.default_rng(0)
    video, pts = np.array(["a", "a", "b"], dtype=object), np.array([1.0, 1.5, 902.0])
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.6, 0.8], [0.3, 0.1, 0.9, 0.7]])
    truth = AvaTable(
        video=video, pts_seconds=pts, boxes_norm=boxes, label_ids=np.array([12, 69, -1], dtype=np.int32),
        person_ids=np.array([0, 0, -1]), keyframes=frozenset({("b", 903_000_000)}),
    )  # fmt: skip
    scores = generator.random((3, 2)).astype(np.float32)
    found = AvaTable(
        video=np.repeat(video, 2), pts_seconds=np.repeat(pts, 2), boxes_norm=np.repeat(boxes, 2, axis=0),
        label_ids=np.tile([12, 69], 3).astype(np.int32), scores=scores.astype(np.float64).reshape(-1),
    )  # fmt: skip
    return TaskResult(
        task="localise", split="val", kind="localise", label_space=SPACE, metrics={}, views=views or Views(),
        sample_ids=("a.mp4,1.000000", "a.mp4,1.500000", "b.mp4,902.000000"), scores=scores,
        targets=np.zeros((3, 2), dtype=np.float32), box_scores=np.array([1, 0.5, 0.25], np.float32),
        detections=found, ground_truth=truth,
        ava=frame_map(truth, found, SPACE), boxes="annotated",
    )  # fmt: skip


def clips_result(task: str, scores: np.ndarray, classes: list[int]) -> TaskResult:
    space = LabelSpace(name=task, names=tuple("abcdefg"[: scores.shape[1]]))
    return TaskResult(
        task=task, split="val", kind="classify", label_space=space,
        metrics={}, sample_ids=tuple(f"c{i}" for i in range(len(scores))), scores=scores.astype(np.float32),
        videos=tuple(f"{i}.mp4" for i in range(len(scores))),
        targets=np.eye(scores.shape[1], dtype=np.float32)[classes], multi_label=False,
    )  # fmt: skip


def test_boxes_come_back_and_score_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = boxes_result(Views(flip=True))
    write_predictions(tmp_path / "p", result, ORIGIN)
    stored = read_predictions(tmp_path / "p")
    assert result.detections is not None
    assert result.ground_truth is not None
    assert result.ava is not None
    for table, again in ((result.detections, stored.detections), (result.ground_truth, stored.ground_truth)):
        assert again is not None
        for name in ("video", "pts_seconds", "boxes_norm", "label_ids", "scores", "person_ids"):
            np.testing.assert_array_equal(getattr(table, name), getattr(again, name))
        assert again.keyframes == table.keyframes
    assert stored.label_space == SPACE
    assert stored.videos == ("a", "a", "b")
    assert stored.box_scores is not None
    assert stored.box_scores.tolist() == [1, 0.5, 0.25]
    run(["score", str(tmp_path / "p"), "--json", str(tmp_path / "out.json")])
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["mAP"] == result.ava.mean_ap
    assert data["origin"]["weights_sha256"] == ORIGIN["weights_sha256"]
    assert data["origin"]["record"]["views"]["flip"] is True
    out = capsys.readouterr().out
    assert "frame mAP@0.5" in out
    assert "(protocol official, annotated person boxes)" in out
    assert "head " in out
    assert data["groups"] == {"head": data["per_class"][0]["ap"], "mid": None, "tail": data["per_class"][1]["ap"]}
    assert data["boxes"] == "annotated"
    assert "views 1 x centre, mirrored too, weights abababababab, data cdcdcdcdcdcd (set val)" in out


def test_other_rules_need_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_predictions(tmp_path / "p", boxes_result(), ORIGIN)
    run(["score", str(tmp_path / "p"), "--protocol", "mmaction", "--iou", "0.75"])
    assert "frame mAP@0.75 " in capsys.readouterr().out


def test_clips_are_scored_per_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_predictions(tmp_path / "p", clips_result("set", np.eye(3)[[0, 1, 1, 2]], [0, 1, 2, 2]), ORIGIN)
    run(["score", str(tmp_path / "p"), "--json", str(tmp_path / "out.json")])
    data = json.loads((tmp_path / "out.json").read_text())
    # AP of a: 1; of b: the two scored 1 are one hit, one miss: 1/2; of c: one hit, then the other among all: 1/2 + 1/4.
    assert data["metrics"] == {"set/top1": 0.75, "set/mAP": pytest.approx((1 + 0.5 + 0.75) / 3)}
    assert data["per_class_ap"] == {"a": 1.0, "b": 0.5, "c": 0.75}
    assert data["per_class_accuracy"] == {"a": 1.0, "b": 1.0, "c": 0.5}
    assert data["confusions"] == [{"true": "c", "predicted": "b", "count": 1, "share": 0.5}]
    assert "c taken for b: 1 (50.0 % of its samples)" in capsys.readouterr().out


def test_epic_from_two_folders(tmp_path: Path) -> None:
    verbs = np.array([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]])
    nouns = np.array([[0.2, 0.7, 0.1], [0.4, 0.3, 0.3], [0.3, 0.3, 0.4]])
    write_predictions(tmp_path / "v", clips_result("verb", verbs, [0, 0, 1]), ORIGIN)
    write_predictions(tmp_path / "n", clips_result("noun", nouns, [1, 2, 0]), ORIGIN)
    (tmp_path / "tail.csv").write_text("verb\n1\n")
    (tmp_path / "tail_nouns.csv").write_text("noun\n2\n")
    (tmp_path / "many.csv").write_text("verb_class,verb\n0,take\n")
    given = ["--verbs", tmp_path / "v", "--nouns", tmp_path / "n", "--tail-verbs", tmp_path / "tail.csv"]
    given += ["--tail-nouns", tmp_path / "tail_nouns.csv", "--many-shot-verbs", tmp_path / "many.csv"]
    run(["epic-eval", *map(str, given), "--json", str(tmp_path / "out.json")])
    data = json.loads((tmp_path / "out.json").read_text())
    assert (data["verb/top1"], data["noun/top1"], data["action/top1"]) == (
        1.0,
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    )
    # Of (0, 1) the products are 0.42, 0.15, 0.03: first, AP 1. Of (0, 2) 0.06, 0.15, 0.04: first. Of (1, 0) 0.08, 0.2,
    # 0.27: first.
    assert data["action/mAP"] == pytest.approx(1.0)
    assert data["num_actions"] == 3
    assert (data["verb/tail_top1"], data["noun/tail_top1"], data["action/tail_top1"]) == (1.0, 0.0, 0.0)
    assert (data["verb/many_shot_precision"], data["verb/many_shot_recall"]) == (1.0, 1.0)
    (tmp_path / "many.csv").write_text("verb_class,verb\n7,take\n")
    with pytest.raises(InputError, match=r"many\.csv:2: class id 7 is not in verb"):
        run(["epic-eval", *map(str, given)])


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no predictions"):
        read_predictions(tmp_path)
    write_predictions(tmp_path / "p", boxes_result(), ORIGIN)
    with pytest.raises(InputError, match="holds predictions already"):
        write_predictions(tmp_path / "p", boxes_result(), ORIGIN)
    path = tmp_path / "p/scores.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=r"scores\.safetensors: is not the file"):
        read_predictions(tmp_path / "p")
    path.write_bytes(whole)
    (tmp_path / "p/truth.parquet").unlink()
    with pytest.raises(InputError, match="p: cannot be read"):
        read_predictions(tmp_path / "p")
