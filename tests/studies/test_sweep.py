import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from cli_calls import call

from tubelet.cli.choosing import final_command
from tubelet.data.held_out import HELD_OUT_SPLIT
from tubelet.data.manifest import read_manifest
from tubelet.recipes.own_data import finetune
from tubelet.recipes.playground import pretrain_posts
from tubelet.studies import sweep
from tubelet.studies.sweep import RateResult, run_sweep
from tubelet.train.config import RunConfig
from tubelet.train.fit import fit
from tubelet.train.folder import RunResult
from tubelet.train.nonfinite import NonFiniteLossError
from tubelet.types import InputError


@pytest.fixture(scope="module")
def start(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = replace(pretrain_posts(squares, size="tiny"), num_epochs=None, num_steps=1, num_workers=0, cache_dir=None)
    return fit(run, tmp_path_factory.mktemp("start"), progress=False).out


def scored(monkeypatch: pytest.MonkeyPatch, scores: dict[float, float | None]) -> list[RunConfig]:
    """Let ``fit`` return scores by rate without training; None diverges. Return the runs it gets."""
    seen: list[RunConfig] = []

    def told(run: RunConfig, out: Path, **_: object) -> RunResult:
        seen.append(run)
        score = scores[run.optim.learning_rate]
        if score is None:
            raise NonFiniteLossError("step 3, task kinetics: loss nan")
        task = run.tasks[0].name
        return RunResult(out=out, metrics={f"{task}/{HELD_OUT_SPLIT}/{'mAP' if task == 'localise' else 'top1'}": score})

    monkeypatch.setattr(sweep, "fit", told)
    return seen


def one_task(squares: Path, start: Path, name: str = "kinetics") -> RunConfig:
    return finetune((squares / "manifests" / name,), init_from=start)


def test_the_best_of_the_held_out_scores(
    squares: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = scored(monkeypatch, {0.1: 0.5, 0.01: 0.7, 0.001: 0.7, 1.0: None, 0.0001: 0.9})
    run = one_task(squares, start)
    found = run_sweep(run, tmp_path, learning_rates=(0.1, 0.01, 0.001, 1.0))
    assert found.best == 0.001  # the lower of equal ones
    assert found.at_edge
    assert [result.score for result in found.results] == [0.7, 0.7, 0.5, None]
    assert found.results[3].reason == "step 3, task kinetics: loss nan"
    assert found.num_held_out == {"kinetics": 1}
    # Training and scoring read the training videos alone.
    (task,) = seen[0].tasks
    assert (task.train_split, task.eval_split) == ("train", HELD_OUT_SPLIT)
    splits = {row["split"] for row in read_manifest(Path(task.manifest)).clips.to_pylist()}
    assert splits == {"train", HELD_OUT_SPLIT}
    # Decoded frames are kept with the search, not beside the manifest as the recipe has it.
    assert run.cache_dir == str(squares.resolve() / "manifests" / "kinetics" / "cache")
    assert seen[0].cache_dir == str(tmp_path / "cache")
    # Again: what is finished stays, a rate may be added, another run is refused.
    wider = run_sweep(run, tmp_path, learning_rates=(0.1, 0.01, 0.001, 1.0, 0.0001))
    assert [r.optim.learning_rate for r in seen] == [0.001, 0.01, 0.1, 1.0, 0.0001]
    assert wider.best == 0.0001
    with pytest.raises(InputError, match=r"holds another sweep, which differs in run\.batch_size: 16 there, 8 here"):
        run_sweep(replace(run, batch_size=8), tmp_path, learning_rates=(0.1,))
    with pytest.raises(InputError, match="differs in held_out_seed: 0 there, 1 here"):
        run_sweep(run, tmp_path, learning_rates=(0.1,), held_out_seed=1)


def test_rates_around_the_recipes_own(
    squares: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = one_task(squares, start, "localise")
    rates = [factor * run.optim.learning_rate for factor in sweep.FACTORS]
    scored(monkeypatch, dict(zip(rates, (0.1, 0.2, 0.3, 0.2, 0.1), strict=True)))
    found = run_sweep(run, tmp_path)
    assert (found.best, found.at_edge) == (run.optim.learning_rate, False)
    assert found.metric == f"localise/{HELD_OUT_SPLIT}/mAP"


def test_several_tasks_need_a_name(squares: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finetune((squares / "manifests/kinetics", squares / "manifests/moments"), init_from=start)
    with pytest.raises(InputError, match="has the tasks kinetics, moments; --task says whose score decides"):
        run_sweep(run, tmp_path)
    with pytest.raises(InputError, match="the run has no task 'x'; it has kinetics, moments"):
        run_sweep(run, tmp_path, task="x")
    with pytest.raises(InputError, match="expected all above 0"):
        run_sweep(run, tmp_path, task="moments", learning_rates=(0.0, 1.0))
    with pytest.raises(InputError, match="num_parallel is 0"):
        run_sweep(run, tmp_path, task="moments", num_parallel=0)
    assert not list(tmp_path.iterdir())


def test_from_the_command_line_to_the_final_run(
    squares: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["finetune", "--manifests", squares / "manifests/kinetics", "--init-from", start, "--num-epochs", 1]
    words += ["--num-workers", 0, "--set", "cache_dir=null", "--batch-size", 4]
    arguments = ["sweep", *words, "--out", tmp_path / "s", "--learning-rates", 0.001, 0.003]
    assert call(monkeypatch, *arguments) == 0
    out = capsys.readouterr().out
    data = json.loads((tmp_path / "s/sweep.json").read_text())
    assert data["chosen"] in (0.001, 0.003)
    assert data["at_edge"] is True
    assert data["final_command"] in out
    assert "the best lies at the edge of the rates tried" in out
    final = shlex.split(data["final_command"])
    assert call(monkeypatch, *final[1:]) == 0
    meta = json.loads((tmp_path / "s/final/meta.json").read_text())
    assert meta["config"]["optim"]["learning_rate"] == data["chosen"]
    assert meta["num_examples"] == {"kinetics": 12}  # all of the training split
    assert list(meta["metrics"]) == ["kinetics/val/top1"]


def test_the_final_command_has_no_word_of_the_search() -> None:
    words = ["finetune", "--manifests", "a", "b", "--learning-rates", "0.1", "0.2", "--out=s", "--batch-size", "8"]
    words += [
        "--held-out-seed",
        "3",
        "--task",
        "a",
        "--json",
        "x y.json",
        "--num-parallel",
        "2",
        "--set",
        "mixture=mixed",
    ]
    expected = "tubelet train finetune --manifests a b --batch-size 8 --set mixture=mixed "
    assert final_command(words, 0.2, Path("s")) == expected + "--set optim.learning_rate=0.2 --out s/final"
    assert final_command(words, None, Path("s")) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "needs a recipe first"),
        (("finetun", "--out", "x"), "did you mean 'finetune'"),
        (
            ("finetune", "--manifests", "nowhere", "--init-from", "START", "--out", "x"),
            "nowhere/manifest.json: not found",
        ),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...],
    message: str,
    start: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "sweep", *(str(start) if word == "START" else word for word in words)) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1


def test_every_rate_failed(
    squares: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scored(monkeypatch, {0.5: None})
    words = ["sweep", "finetune", "--manifests", squares / "manifests/kinetics", "--init-from", start]
    assert call(monkeypatch, *words, "--out", tmp_path / "s", "--learning-rates", 0.5) == 2
    assert "at every rate; lower --learning-rates" in capsys.readouterr().err
    assert RateResult(learning_rate=0.5, score=None).metrics == {}
