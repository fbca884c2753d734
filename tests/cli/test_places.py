"""Results that cannot be written where they were asked for: one line before the work, and nothing is made."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_calls import call

from tubelet.cli.training import Chosen, SweepOptions

WORK = (
    "tubelet.corpus.match.count_hashtags",
    "tubelet.corpus.seeds.read_seeds",
    "tubelet.data.ava_csv.read_ava_csv",
    "tubelet.data.info.manifest_facts",
    "tubelet.data.sources.ava_lists.read_label_map",
    "tubelet.data.verify.verify_manifest",
    "tubelet.evals.predictions.read_predictions",
    "tubelet.cli.report._predictions",
    "tubelet.inference.detectors.open_people",
    "tubelet.models.saved.load_model",
    "tubelet.studies.sweep.run_sweep",
    "tubelet.train.evaluate.evaluate_run",
    "tubelet.train.probe.run_probe",
)
AVA = "--ground-truth gt.csv --detections found.csv --labels actions.pbtxt"
COMMANDS = [
    (f"ava-eval {AVA}", "--json"),
    (f"tube-eval {AVA}", "--json"),
    ("score predictions", "--json"),
    ("epic-eval --verbs v --nouns n", "--json"),
    ("evaluate run", "--json"),
    ("evaluate run", "--detections"),
    ("evaluate run", "--predictions"),
    ("probe run --manifest m --out o", "--json"),
    ("probe run --manifest m --out o", "--predictions"),
    ("sweep finetune", "--json"),
    ("report run", "--out"),
    ("export run", "--onnx"),
    ("data verify m", "--report"),
    ("data info m", "--png"),
    ("data detect m", "--out"),
    ("corpus labels --posts p --seed-labels s", "--out"),
]


def sweep_of_a_run(command: str, recipe: str, arguments: Sequence[str], options: type[SweepOptions]) -> Chosen:
    """Read the last word as --json: recipes read their manifests when they are made."""
    own = vars(options(out=Path("o"), json=Path(arguments[-1])))
    return Chosen(
        recipe=recipe,
        runs=(SimpleNamespace(),),  # type: ignore[arg-type]
        own=own,
        staged=False,
    )


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with one file, in which commands run that fail when they begin to work."""
    for name in WORK:
        monkeypatch.setattr(name, lambda *_, name=name, **__: pytest.fail(f"{name} was called"))
    task = SimpleNamespace(name="a", kind="localise")
    monkeypatch.setattr("tubelet.train.evaluate.run_config", lambda run: SimpleNamespace(tasks=(task,)))
    monkeypatch.setattr("tubelet.data.manifest.read_manifest", lambda folder: None)
    monkeypatch.setattr("tubelet.cli.choosing.chosen_runs", sweep_of_a_run)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    return tmp_path


@pytest.mark.parametrize(("words", "option"), COMMANDS)
def test_what_cannot_be_written_is_told_before_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], idle: Path, words: str, option: str
) -> None:
    place = idle / "file/new/x.onnx"
    assert call(monkeypatch, *words.split(), option, place) == 2
    said = f"{option} {place}: cannot be written, {idle / 'file'} is no folder that can be written"
    assert capsys.readouterr().err == f"tubelet: {said}\n"
    assert [path.name for path in idle.rglob("*")] == ["file"]


@pytest.mark.parametrize(("words", "option"), COMMANDS)
def test_nothing_takes_the_place_of_a_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], idle: Path, words: str, option: str
) -> None:
    place = idle / "there.onnx"
    place.mkdir()
    assert call(monkeypatch, *words.split(), option, place) == 2
    why = "exists already; give a new folder" if option == "--predictions" else "a folder, expected a file to write"
    assert capsys.readouterr().err == f"tubelet: {option} {place}: {why}\n"
