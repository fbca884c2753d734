"""Runs of verbs and of nouns as actions."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tubelet.evals.predictions import write_predictions
from tubelet.evals.run import TaskResult
from tubelet.labels import LabelSpace
from tubelet.recipes.clips import finetune_clips
from tubelet.studies import actions, study
from tubelet.studies.actions import PREDICTIONS_FOLDER, score_actions
from tubelet.studies.index import STUDIES
from tubelet.studies.runs import PlannedRun, RunScores
from tubelet.studies.study import StudyPlace, collect
from tubelet.studies.study_page import study_markdown

FIGURE_2 = STUDIES["B-figure-2"]
VERBS = [[0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]
NOUNS = [[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3]]
TRUE = {"kitchen_verb": [0, 1, 1], "kitchen_noun": [0, 1, 2]}


def result_of(task: str, scores: list[list[float]]) -> TaskResult:
    names = tuple(f"{task}{k}" for k in range(len(scores[0])))
    return TaskResult(
        task=task,
        split="test_unseen",
        kind="classify",
        label_space=LabelSpace(name=task, names=names),
        metrics={},
        sample_ids=("a", "b", "c"),
        scores=np.array(scores, dtype=np.float32),
        targets=np.eye(len(names), dtype=np.float32)[TRUE[task]],
        videos=("a", "b", "c"),
        multi_label=False,
    )


def planned(folder: Path, task: str, squares: Path) -> PlannedRun:
    run = finetune_clips((squares / "manifests" / "kinetics",))
    run = replace(run, tasks=(replace(run.tasks[0], name=task),))
    return PlannedRun(key=task, name=task, run=run, folder=folder / task, after=None)


def test_an_action_is_right_where_its_verb_times_its_noun_leads(
    tmp_path: Path, squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """a: 0.6 x 0.5 leads. b: 0.3 x 0.8 = 0.24 is behind 0.7 x 0.8 alone. c: 0.8 x 0.3 = 0.24 is behind 0.8 x 0.4, and
    equal to noun 1's, which comes before it: rank 2."""
    found = {"kitchen_verb": result_of("kitchen_verb", VERBS), "kitchen_noun": result_of("kitchen_noun", NOUNS)}
    asked: list[tuple[str, str]] = []

    def evaluate_run(folder: Path, *, split: str, tasks: tuple[str, ...], num_workers: int) -> dict[str, TaskResult]:
        asked.append((folder.name, split))
        return {tasks[0]: found[tasks[0]]}

    monkeypatch.setattr(actions, "evaluate_run", evaluate_run)
    monkeypatch.setattr(actions, "test_split", lambda task: "test_unseen")
    monkeypatch.setattr(actions, "origin_of", lambda folder, task: {})
    verbs, nouns = (planned(tmp_path, task, squares) for task in found)
    scored = score_actions(verbs, nouns)
    assert scored == {"kitchen_action top1": pytest.approx(1 / 3), "kitchen_action top5": 1.0}
    assert asked == [("kitchen_verb", "test_unseen"), ("kitchen_noun", "test_unseen")]
    assert score_actions(verbs, nouns) == scored
    assert len(asked) == 2  # the second time what was kept is read


def test_predictions_that_are_there_are_not_made_anew(tmp_path: Path, squares: Path) -> None:
    both = {"kitchen_verb": VERBS, "kitchen_noun": NOUNS}
    for task, scores in both.items():
        write_predictions(tmp_path / task / PREDICTIONS_FOLDER, result_of(task, scores), {})
    verbs, nouns = (planned(tmp_path, task, squares) for task in both)
    assert score_actions(verbs, nouns)["kitchen_action top1"] == pytest.approx(1 / 3)


def test_a_pair_has_scores_where_both_its_arms_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = {"Verb, verb": 0.4, "Verb, noun": 0.3, "Noun, verb": 0.2}

    class Finished:
        def __init__(self, arm: str) -> None:
            self.arm = arm

        run = SimpleNamespace(tasks=())

        def result(self) -> RunScores | None:
            score = finished.get(self.arm)
            return None if score is None else RunScores(scores={f"{self.arm} top1": score}, clips_seen=100)

    monkeypatch.setattr(StudyPlace, "plan", lambda self, of, seed: {arm.name: (Finished(arm.name),) for arm in of.arms})
    monkeypatch.setattr(study, "score_actions", lambda verbs, nouns: {"kitchen_action top1": 0.12})
    place = StudyPlace(playground=tmp_path, out=tmp_path)
    found = collect(FIGURE_2, place, (0,))
    assert found.scores["0"]["Verb, action"] == {"kitchen_action top1": 0.12}
    assert found.clips_seen["Verb, action"] == 200
    assert "Noun, action" not in found.scores["0"]
    page = study_markdown(FIGURE_2, found)
    assert "| Verb, action | - | - | - | 12.0 | 200 | 1 |" in page
    assert "| Noun, action | - | - | - | - | not run | 0 |" in page


def test_the_mean_of_the_others_is_above_one() -> None:
    (claim,) = (claim for claim in FIGURE_2.claims if claim.text.startswith("the mean of"))
    scores = {"Kinetics": 0.3, "Verb": 0.6, "Noun": 0.3, "Verb+Noun": 0.35}
    of = {f"{name}, action": {"kitchen_action top1": value} for name, value in scores.items()}
    assert claim.difference(of) == pytest.approx(5.0)
    assert claim.difference({**of, "Noun, action": {}}) is None


def test_pairs_are_of_arms_that_start_alike() -> None:
    for plan in STUDIES.values():
        rows = {arm.name: arm.row for arm in plan.arms}
        for pair in plan.actions:
            verb, noun = rows[pair.verbs], rows[pair.nouns]
            assert (verb.removesuffix("-verb"), noun.removesuffix("-noun")) == (verb[:-5], noun[:-5])
            assert verb[:-5] == noun[:-5]
    assert replace(FIGURE_2, actions=()).shown == tuple(arm.name for arm in FIGURE_2.arms)
