"""A study on moving squares: runs shared by what they are, resumed, collected, judged, and its pages."""

from dataclasses import replace
from pathlib import Path

import pytest
from cli_calls import call

from tubelet.corpus.subset import SubsetRules, label_counts, subset_manifest
from tubelet.data.manifest import read_manifest
from tubelet.recipes.miniature import MINIATURES_A, MINIATURES_B, SETS_A
from tubelet.records import read_json, to_json, write_json
from tubelet.studies import cost, mini_data, runs
from tubelet.studies.cost import study_costs
from tubelet.studies.index import STUDIES
from tubelet.studies.mini_data import MiniCorpus, make_corpus
from tubelet.studies.report_files import write_pages
from tubelet.studies.runs import SCORES_FILE, RunScores, plan_stages
from tubelet.studies.study import StudyPlace, StudyResult, collect, read_result, run_study
from tubelet.studies.study_page import status, study_markdown
from tubelet.tasks import TaskConfig
from tubelet.train.config import deciding_options
from tubelet.train.nonfinite import NonFiniteLossError
from tubelet.types import InputError

STUDY = replace(STUDIES["A-table-1"], arms=STUDIES["A-table-1"].arms[:3], claims=STUDIES["A-table-1"].claims[:2])


@pytest.fixture(autouse=True, scope="module")
def tiny() -> object:
    """Enough steps for the paths, not for good numbers."""
    with pytest.MonkeyPatch.context() as patch:
        mini = MINIATURES_A["mini"]
        run = replace(mini.run, size=64, patch=8, batch_size=8)
        starts = {"imagenet21k": (1.0,), "random": ()}
        patch.setitem(MINIATURES_A, "mini", replace(mini, run=run, starts=starts))
        yield


@pytest.fixture(scope="module")
def place(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyPlace:
    return StudyPlace(playground=squares, out=tmp_path_factory.mktemp("studies"), num_epochs=1.0)


@pytest.fixture(scope="module")
def result(place: StudyPlace) -> StudyResult:
    return run_study(STUDY, place, seeds=(0, 1), progress=False)


def test_arms_share_runs(place: StudyPlace, result: StudyResult) -> None:
    plan = place.plan(STUDY, 0)
    start, k400 = plan["K400"]
    transfer, together = plan["K400→AVA"], plan["K400 + AVA"]
    assert [run.key for run in transfer[:2]] == [start.key, k400.key]
    assert together[0].key == start.key
    assert (transfer[2].after, together[1].after) == (k400.key, start.key)
    # One start for all; with two seeds k400, the transfer's last stage and co-finetuning twice.
    assert len(list((place.out / "runs").iterdir())) == 1 + 2 * 3
    assert sorted(result.scores) == ["0", "1"]
    assert set(result.scores["0"]["K400→AVA"]) >= {"localise mAP", "kinetics top1", "localise colour"}
    assert result.scores["0"]["K400→AVA"]["kinetics top1"] == result.scores["0"]["K400"]["kinetics top1"]
    assert read_result(place.out / "results" / "A-table-1.json") == result


def test_a_given_start_is_for_the_arms_that_have_one(place: StudyPlace, result: StudyResult) -> None:
    start = place.plan(STUDY, 0)["K400"][0].folder  # a finished run
    given = replace(place, start=start)
    assert given.plan(STUDY, 0)["K400"][0].run.init_from == str(start)
    own = STUDIES["own-pretrain-cofinetune"]
    scratch = replace(own, arms=tuple(arm for arm in own.arms if arm.row == "own-cofinetune"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SETS_A, "moments_in_time", ())
        patch.setitem(SETS_A, "something_v2", ())
        ((run,),) = given.plan(scratch, 0).values()
        # Tubelets of another size, and a wider network, have starts of their own.
        for other, row in (("A-table-8", "8-224-transfer"), ("A-table-6", "6-large")):
            arm = next(arm for arm in STUDIES[other].arms if arm.row == row)
            (stages,) = given.plan(replace(STUDIES[other], arms=(arm,)), 0).values()
            assert stages[0].run.init_from is None
    assert run.run.init_from is None


def test_a_second_call_trains_nothing(place: StudyPlace, result: StudyResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "fit", lambda *a, **k: pytest.fail("a finished run was trained"))
    assert run_study(STUDY, place, seeds=(0, 1), progress=False) == result


def test_a_result_names_the_code_of_its_runs_not_of_its_reader(
    place: StudyPlace, result: StudyResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert result.commit == runs.commit()
    monkeypatch.setattr(runs, "commit", lambda: "later")
    assert collect(STUDY, place, (0, 1)).commit == result.commit
    path = place.plan(STUDY, 1)["K400 + AVA"][-1].folder / SCORES_FILE
    scores = read_json(path)
    try:
        for commit, known in (("abc", "abc"), ("", "not recorded")):
            write_json(path, scores | {"commit": commit})
            assert collect(STUDY, place, (0, 1)).commit == "; ".join(sorted([result.commit, known]))
    finally:
        write_json(path, scores)


def test_the_runs_of_all_seeds_are_one_queue(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queues: list[list[int]] = []
    monkeypatch.setattr(runs, "run_jobs", lambda jobs, *_, **__: queues.append([job.run.seed for job in jobs]))
    place = StudyPlace(playground=squares, out=tmp_path, num_epochs=1.0)
    run_study(STUDY, place, seeds=(0, 1, 2), num_parallel=2, progress=False)
    assert queues == [[0] * 4 + [1] * 3 + [2] * 3]  # the start, of seed 0, is of all


def test_a_budget_ends_it_and_what_is_missing_is_said(squares: Path, tmp_path: Path) -> None:
    place = StudyPlace(playground=squares, out=tmp_path, num_epochs=1.0)
    found = run_study(STUDY, place, budget_minutes=0, progress=False)
    assert found.scores == {}
    assert status(STUDY, found) == "not run"


def test_what_is_left_is_counted_once(place: StudyPlace, result: StudyResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_clip_seconds", lambda run: 0.5)
    again = replace(STUDY, name="again")
    first, second = study_costs((STUDY, again), place, seeds=(0, 1, 2))  # two of the three seeds are finished
    done = {planned.key: planned.result() for stages in place.plan(STUDY, 0).values() for planned in stages[1:]}
    clips = sum(found.clips_seen for found in done.values())  # those of the third seed will see as many
    assert (first.num_runs, first.num_clips, first.seconds) == (len(done), clips, clips / 2) == (3, clips, clips / 2)
    assert (second.num_runs, second.num_clips, second.seconds) == (0, 0, 0.0)


def test_the_key_is_what_decides_the_weights(place: StudyPlace, tmp_path: Path) -> None:
    run = place.plan(STUDY, 0)["K400"][0].run
    (key,) = {
        plan_stages([other], out)[0].key
        for out in (place.out, tmp_path)
        for other in (run, replace(run, name="x"), replace(run, num_workers=3))
    }
    (task,) = run.tasks
    pooled = replace(run, tasks=(replace(task, roi_size=5),))
    for other in (replace(run, seed=5), replace(run, num_epochs=9.0), replace(run, init_from="y"), pooled):
        assert plan_stages([other], place.out)[0].key != key


def test_an_option_that_came_later_leaves_the_names_of_earlier_runs(place: StudyPlace) -> None:
    run = place.plan(STUDY, 0)["K400"][0].run
    now = deciding_options(run.to_json())
    before = run.to_json()
    del before["tasks"][0]["roi_size"]
    assert now == deciding_options(before)


def test_a_run_that_another_study_has_begun_goes_on(place: StudyPlace) -> None:
    stages = [planned.run for planned in place.plan(STUDY, 0)["K400"]]
    one, other = (plan_stages([replace(stages[0], name=name)], place.out)[0] for name in ("1a-k400-1", "2-k400-mit-1"))
    assert (one.name, other.name) == ("1a-k400-1", "2-k400-mit-1")
    assert one.run == other.run  # of its name too, which `fit` compares


def test_what_starts_from_a_failed_run_is_left_out(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(run: object, folder: Path, **_: object) -> None:
        tried.append(folder.name)
        raise NonFiniteLossError("step 3: loss nan")

    tried: list[str] = []
    monkeypatch.setattr(runs, "fit", fit)
    place = StudyPlace(playground=squares, out=tmp_path, num_epochs=1.0)
    found = run_study(STUDY, place, seeds=(0,), progress=False)
    assert len(tried) == 1  # the start, which all arms begin from
    assert found.scores == {}
    assert found.failed["K400→AVA, seed 0"] == "step 3: loss nan"
    run_study(STUDY, place, seeds=(0,), progress=False)
    assert len(tried) == 1  # it would fail again


def test_the_page_judges_what_was_measured(place: StudyPlace, result: StudyResult, tmp_path: Path) -> None:
    def scores(together: float) -> dict[str, dict[str, float]]:
        return {
            "K400": {"kinetics top1": 0.5},
            "K400→AVA": {"localise mAP": 0.2},
            "K400 + AVA": {"localise mAP": together, "kinetics top1": 0.5},
        }

    seeds = {str(n): scores(value) for n, value in enumerate((0.22, 0.23, 0.24))}
    measured = replace(result, seeds=(0, 1, 2), scores=seeds)
    assert status(STUDY, measured) == "**not resolved** (of 2 claims: 1 holds, 1 not resolved)"
    page = study_markdown(STUDY, measured)
    assert "| K400 + AVA beats K400→AVA in localise mAP (> 0) | +3.0 | +0.5 to +5.5 | **holds** |" in page
    assert "| K400 + AVA beats K400 in kinetics top1 (> 0) | +0.0 | all seeds equal | **not resolved** |" in page
    assert (
        f"Test clips: kinetics {result.test_clips['kinetics']}, localise {result.test_clips['localise']}, posts" in page
    )
    assert "\n\nOf other posts.\n" in study_markdown(STUDY, replace(measured, note="Of other posts."))
    assert "| K400 + AVA | 23.0 ± 1.0 | 50.0 ± 0.0 | - |" in page
    results = tmp_path / "results"
    write_json(results / "A-table-1.json", measured)
    (tmp_path / "README.md").write_text("Before\n<!-- studies -->\nstale\n<!-- end of studies -->\nafter\n")
    states = write_pages(results, tmp_path)
    assert {study.name for study, state in states.items() if state != "not run"} == {"A-table-1"}
    assert "<svg" in (tmp_path / "A-table-1.svg").read_text()
    # The squares' five classes, of which the two arms that localise have an AP.
    assert "![Average precision of every class" in (tmp_path / "A-table-1.md").read_text()
    assert (tmp_path / "A-table-1-classes.svg").read_text().count("K400") >= 2
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("Before\n<!-- studies -->\n\n| study |")
    assert "| [A-table-1](A-table-1.md) | Co-finetuning against transfer" in readme
    assert "stale" not in readme
    assert readme.endswith("<!-- end of studies -->\nafter\n")
    assert "**not resolved** (of 5 claims: 1 holds, 1 not resolved, 3 not run) |" in readme
    assert readme.count("| not run |") == len(STUDIES) - 1


def test_results_that_cannot_be_drawn_are_refused_before_anything_is_written(
    result: StudyResult, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    with pytest.raises(InputError, match="results: no result of a study"):
        write_pages(results, tmp_path / "to")
    write_json(results / "A-table-1.json", result)
    write_json(results / "A-table-99.json", result)
    with pytest.raises(InputError, match=r"A-table-99\.json: there is no such study; did you mean"):
        write_pages(results, tmp_path / "to")
    (results / "A-table-99.json").unlink()
    write_json(results / "A-table-1.json", {**to_json(result), "scores": {"0": {"K400": {"localise mAP": "high"}}}})
    with pytest.raises(
        InputError, match=r"A-table-1\.json: scores: 0: K400: localise mAP: expected float, found 'high'"
    ):
        write_pages(results, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_an_unfinished_arm_counts_for_nothing(place: StudyPlace, result: StudyResult) -> None:
    planned = place.plan(STUDY, 1)["K400 + AVA"][1]
    kept = read_json(planned.folder / SCORES_FILE)
    (planned.folder / SCORES_FILE).unlink()
    found = collect(STUDY, place, (0, 1))
    assert "K400 + AVA" not in found.scores["1"]
    write_json(planned.folder / SCORES_FILE, RunScores(**kept))


def test_corpora_are_made_once_and_unknown_ones_refused(squares: Path, tmp_path: Path) -> None:
    folder = make_corpus("ig_kinetics_250m_images", squares, tmp_path)
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert make_corpus("ig_kinetics_250m_images", squares, tmp_path) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="ig_kinetics_1b: no corpus of a study"):
        make_corpus("ig_kinetics_1b", squares, tmp_path)
    with pytest.raises(InputError, match="no result; tubelet study run makes it"):
        read_result(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("splits", "reported"),
    [("test train val", "test"), ("test_seen test_unseen train val", "test_unseen"), ("train val", "val")],
)
def test_the_split_that_is_reported_is_what_the_set_has(
    splits: str, reported: str, squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its name: posts that are matched with verbs are a set of their own."""
    found = replace(
        read_manifest(squares / "manifests" / "posts"), counts=dict.fromkeys(map("clips_{}".format, splits.split()), 1)
    )
    monkeypatch.setattr(runs, "read_manifest", lambda folder: found)
    assert (
        runs.test_split(TaskConfig(name="posts-verbs", manifest="posts-verbs", kind="classify", loss="softmax"))
        == reported
    )


def test_image_frame_and_clip_pre_training_run(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Table 4 of paper B: an image network of one random frame is inflated, a video network is not."""
    mini = replace(MINIATURES_B["mini"], videos_seen=16, epochs={"kinetics": 1.5})
    monkeypatch.setitem(MINIATURES_B, "mini", mini)
    clips = {"ig_kinetics_19m": SubsetRules(), "ig_kinetics_19m_frames": SubsetRules(frame="random")}
    monkeypatch.setattr(mini_data, "CORPORA", {n: MiniCorpus(base="posts", rules=r) for n, r in clips.items()})
    study = STUDIES["B-table-4"]
    chosen = tuple(arm for arm in study.arms if arm.name in ("frames", "clips", "scratch"))
    found = run_study(
        replace(study, arms=chosen), StudyPlace(playground=squares, out=tmp_path), seeds=(0,), progress=False
    )
    assert set(found.scores["0"]) == {"frames", "clips", "scratch"}
    assert found.clips_seen == {"frames": 32, "clips": 32, "scratch": 16}
    assert all(0 <= scores["kinetics top1"] <= 1 for scores in found.scores["0"].values())


def test_a_resolution_starts_from_the_weights_of_the_smallest(place: StudyPlace) -> None:
    table_8 = STUDIES["A-table-8"]
    arms = tuple(arm for arm in table_8.arms if arm.name.startswith("co-finetuning"))
    plan = place.plan(table_8, 0)
    assert len({stages[0].key for stages in plan.values()}) == 1
    assert [plan[arm.name][-1].run.backbone.size for arm in arms] == [42, 66, 78, 96]
    result = run_study(replace(table_8, arms=arms[1:2], claims=()), place, seeds=(0,), progress=False)
    assert not result.failed
    assert "localise mAP" in result.scores["0"][arms[1].name]


def test_seeds_that_ran_in_different_places_are_put_together(
    result: StudyResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / f"{seed}.json" for seed in "01"]
    for seed, path in zip("01", files, strict=True):
        scores, per_class = {seed: result.scores[seed]}, {seed: result.per_class[seed]}
        part = replace(result, seeds=(int(seed),), scores=scores, per_class=per_class, commit=f"abc{seed}")
        write_json(path, part)
    out = tmp_path / "both.json"
    assert call(monkeypatch, "study", "merge", *map(str, files), "--out", str(out)) == 0
    assert "A-table-1, seeds 0, 1" in capsys.readouterr().out
    assert read_result(out) == replace(result, commit="abc0; abc1")
    assert result.data.keys() == result.test_clips.keys() == {"posts", "kinetics", "localise"}
    write_json(files[1], replace(read_result(files[1]), scale="small"))
    other = tmp_path / "other.json"
    write_json(other, replace(read_result(out), seeds=(7,), scores={"7": {}}, data=result.data | {"posts": "another"}))
    for first, second, message in (
        (files[0], files[0], "seed 0, is in another of the files too"),
        (files[0], files[1], "scale is 'small', in "),
        (out, other, "was trained on another posts than"),
    ):
        assert call(monkeypatch, "study", "merge", str(first), str(second), "--out", str(tmp_path / "no.json")) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no.json").exists()


def test_a_study_of_detected_boxes_says_how_to_find_them(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="has no detected boxes, which A-table-7 scores on; find them with tubelet data"
    ):
        run_study(STUDIES["A-table-7"], StudyPlace(playground=squares, out=tmp_path), seeds=(0,), progress=False)
    assert not list(tmp_path.iterdir())


def test_label_spaces_are_counted_and_nothing_is_trained(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mini_data.CORPORA, "few", MiniCorpus(base="posts", rules=SubsetRules(num_videos=10)))
    figure_3 = replace(STUDIES["B-figure-3"], corpora=(("Few", "few"),), claims=())
    place = StudyPlace(playground=squares, out=tmp_path)
    result = run_study(figure_3, place, seeds=(0, 1), progress=False)
    posts = read_manifest(squares / "manifests/posts")
    for seed in (0, 1):
        drawn = subset_manifest(posts, tmp_path / f"drawn{seed}", SubsetRules(num_videos=10, seed=seed))
        counts = sorted(label_counts(drawn), reverse=True)
        assert sum(counts) == 10
        apart = sum(abs(one - other) for one in counts for other in counts)
        halves = sum(counts[: round(len(counts) / 2)])
        assert result.scores[str(seed)]["Few"] == pytest.approx(
            {
                "Gini": apart / (2 * len(counts) * 10),
                "tenth of the labels": counts[0] / 10,
                "half of the labels": halves / 10,
            }
        )
    assert not (tmp_path / "runs").exists()
    page = study_markdown(figure_3, result)
    assert "| Few | few |" in page
    assert "| per cent | Gini |" in page


def test_the_projects_own_pages_are_what_its_results_make(tmp_path: Path) -> None:
    pages = Path(__file__).parents[2] / "docs/studies"
    write_pages(pages / "results", tmp_path)
    drawn = sorted(tmp_path.glob("*.md"))
    assert len(drawn) == len(list((pages / "results").glob("*.json")))
    for page in drawn:
        assert page.read_text() == (pages / page.name).read_text(), page.name


def test_no_runs_at_the_same_time_is_refused(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ((), ("--dry-run",)):
        command = ("study", "run", "A-table-1", "--playground", squares, "--out", tmp_path, "--num-parallel", 0, *more)
        assert call(monkeypatch, *command) == 2
        assert "--num-parallel is 0, expected at least 1" in capsys.readouterr().err
