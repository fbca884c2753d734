"""The real sets' labels, the choice of who is of the play, and the pooling of folds, by hand."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tubelet.data.ava_table import AvaTable
from tubelet.evals.predictions import Predictions
from tubelet.inference.tubes import NOT_FOLLOWED, TubeBoxes
from tubelet.labels import LabelSpace

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("real_people")


@pytest.fixture
def real(people: ModuleType) -> ModuleType:
    return importlib.import_module("real_localiser")


def instant(*rows: tuple[float, float, float, float, int], score: float = 1.0) -> TubeBoxes:
    return TubeBoxes(
        boxes=np.array([row[:4] for row in rows], dtype=np.float32).reshape(-1, 4),
        scores=np.full(len(rows), score, dtype=np.float32),
        person_ids=np.array([row[4] for row in rows], dtype=np.int64),
    )


def test_a_sequence_and_a_person_are_a_fold(people: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "clip,sequence,activity_id,activity,main_actor\n0_1_4.avi,1,4,punch,right\n60_7_6.avi,7,6,none,\n"
    )
    assert [(clip.video, clip.activity, clip.actor, clip.fold) for clip in people.ut_clips(tmp_path)] == [
        ("0_1_4.avi", "punch", "right", 1),
        ("60_7_6.avi", "none", "", 7),
    ]
    for name in ("walk/ido_walk.avi", "walk/daria_walk.avi", "bend/ido_bend.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [(clip.video, clip.activity, clip.fold) for clip in people.weizmann_clips(tmp_path)] == [
        ("bend/ido_bend.avi", "bend", 2),
        ("walk/daria_walk.avi", "walk", 1),
        ("walk/ido_walk.avi", "walk", 2),
    ]


def test_the_held_out_fold_is_the_test_split(people: ModuleType, real: ModuleType) -> None:
    clips = [people.RealClip(video="", activity="kick", actor="left", fold=fold) for fold in (1, 2, 3)]
    assert [real.split_of(clip, 2) for clip in clips] == ["train", "test", "train"]


def test_who_is_kicked_does_not_kick(people: ModuleType) -> None:
    def both(activity: str, actor: str) -> list[str]:
        clip = people.RealClip(video="", activity=activity, actor=actor, fold=1)
        return [people.person_action(clip, side) for side in ("left", "right")]

    assert both("kick", "left") == ["kick", "be kicked"]
    assert both("push", "right") == ["be pushed", "push"]
    assert both("hug", "both") == ["hug", "hug"]
    assert both("point", "right") == ["point", "point"]


def test_a_video_has_the_scores_of_both_roles(people: ModuleType) -> None:
    scores, names = people.activity_scores(np.array([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3]]), ("kick", "hug", "be kicked"))
    assert names == ["kick", "hug"]
    assert scores.tolist() == [pytest.approx([0.8, 0.2]), pytest.approx([0.4, 0.6])]


def test_passers_by_and_who_was_seen_once_are_not_of_the_play(people: ModuleType) -> None:
    pair = people.SETS["ut"]
    left, right, small = (0, 0, 10, 60, 1), (50, 0, 60, 60, 2), (80, 0, 99, 30, 3)
    instants = [instant(right, small, left), instant(small, right), instant(left, (70, 0, 80, 90, NOT_FOLLOWED))]
    chosen = people.chosen_people(instants, (100, 100), pair)
    assert [rows.tolist() for rows in chosen] == [[2, 0], [1], [0]]  # from left to right
    assert people.sides(instants, chosen, 100) == [["left", "right"], ["right"], ["left"]]
    # Of three tall people the two whom the clip shows most; nobody at all is no mistake.
    late = (70, 0, 80, 90, 4)
    instants = [instant(left, right), instant(left, right), instant(left, right, late), instant()]
    assert [rows.tolist() for rows in people.chosen_people(instants, (100, 100), pair)] == [[0, 1]] * 3 + [[]]
    # Never beside another: the half of the frame decides.
    assert people.sides([instant(left), instant(right)], [np.array([0])] * 2, 100) == [["left"], ["right"]]


SPACE = LabelSpace(name="ut", names=("kick", "hug", "be kicked"))


def predictions(boxes: Mapping[str, tuple[int, list[float]]]) -> Predictions:
    """Return a box a video: its column, and its scores."""
    videos, scores = tuple(boxes), np.array([row for _, row in boxes.values()], dtype=np.float32)
    number, classes = len(videos), len(SPACE)
    places = np.tile([0.0, 0.0, 1.0, 1.0], (number, 1))
    truth = AvaTable(
        video=np.array(videos, dtype=object),
        pts_seconds=np.zeros(number),
        boxes_norm=places,
        label_ids=np.array([column for column, _ in boxes.values()], dtype=np.int32),
    )
    found = AvaTable(
        video=np.repeat(truth.video, classes),
        pts_seconds=np.zeros(number * classes),
        boxes_norm=np.repeat(places, classes, axis=0),
        label_ids=np.tile(np.arange(classes, dtype=np.int32), number),
        scores=scores.astype(np.float64).reshape(-1),
    )
    rest: dict[str, Any] = {"task": "ut", "split": "test", "kind": "localise", "multi_label": False, "origin": {}}
    return Predictions(
        label_space=SPACE,
        sample_ids=tuple(f"{video},0.000000" for video in videos),
        scores=scores,
        targets=np.zeros_like(scores),
        videos=videos,
        box_scores=None,
        detections=found,
        ground_truth=truth,
        **rest,
    )


TRUTH = {"a": "kick", "b": "hug", "c": "kick", "d": "hug"}


def test_folds_are_pooled_and_seeds_averaged(real: ModuleType) -> None:
    first = predictions({"a": (0, [0.6, 0.3, 0.1]), "b": (1, [0.2, 0.55, 0.25])})
    second = predictions({"c": (2, [0.1, 0.6, 0.3])})  # the hug wins over both roles of the kick; nobody in d
    assert real.videos_right([first, second], TRUTH, SPACE.names).tolist() == [True, True, False, False]
    result = real.pooled([[first, second]], TRUTH)
    # kick: a's 0.6 is the best. hug: c's 0.6 is wrong, then b's 0.55 is right. be kicked: c's 0.3 is the best.
    assert result.per_class == {"kick": 1.0, "hug": 0.5, "be kicked": 1.0}
    assert result.mean_ap == pytest.approx(2.5 / 3)
    assert (result.accuracy, result.right) == (0.5, {"hug": 0.5, "kick": 0.5})
    better = [first, predictions({"c": (2, [0.2, 0.1, 0.7])})]
    both = real.pooled([[first, second], better], TRUTH)
    assert real.pooled([better], TRUTH).mean_ap == pytest.approx(1.0)
    assert both.mean_ap == pytest.approx((result.mean_ap + 1) / 2)
    assert (both.accuracy, both.right["kick"]) == (0.625, 0.75)
    assert both.accuracy_draws.mean() == pytest.approx(0.625, abs=0.05)


def test_without_the_data_it_says_so(
    real: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = [f"--{name}={tmp_path / name}" for name in ("ut", "weizmann", "playground", "start", "out")]
    monkeypatch.setattr("sys.argv", ["real_localiser.py", *options])
    real.main()
    assert (
        capsys.readouterr().out == f"real_localiser: skipped, {tmp_path / 'ut'} is not here; its text says what it is\n"
    )
