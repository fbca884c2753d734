"""The contract of ``fit``: it learns, and a run that was stopped anywhere ends with the same weights."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from moving_squares import build_moving_squares
from safetensors.torch import load_file

from tubelet.cli.evaluate_run import evaluate
from tubelet.data.manifest import read_manifest
from tubelet.models.saved import load_model
from tubelet.recipes.playground import cofinetune, transfer_localise
from tubelet.records import read_json, write_json
from tubelet.train import opening
from tubelet.train.checkpoint import latest_checkpoint
from tubelet.train.config import RunConfig
from tubelet.train.data import open_data
from tubelet.train.evaluate import evaluate_run
from tubelet.train.fit import fit
from tubelet.train.folder import LOCK_FILE, data_hash
from tubelet.train.interrupt import RunInterruptedError
from tubelet.train.log import StepReport, read_rows
from tubelet.train.nonfinite import NonFiniteLossError
from tubelet.types import InputError
from tubelet.video.augmentations import BatchAugment

NUM_STEPS = 9


@pytest.fixture(scope="module")
def run(squares: Path) -> RunConfig:
    run = cofinetune(squares, size="tiny")
    # Stochastic depth is on, so that a resumed run must draw the same layers.
    return replace(
        run,
        num_epochs=None,
        num_steps=NUM_STEPS,
        num_workers=0,
        checkpoint_every_steps=4,
        backbone=replace(run.backbone, stochastic_depth=0.3),
    )


@pytest.fixture(scope="module")
def whole(run: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    fit(run, out, progress=False)
    return out


def losses(out: Path) -> list[tuple[int, str, float]]:
    return [(r["step"], r["task"], r["loss"]) for r in read_rows(out / "metrics.jsonl") if "task" in r]


def assert_same_run(out: Path, whole: Path) -> None:
    ours, theirs = load_file(out / "model.safetensors"), load_file(whole / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert losses(out) == losses(whole)
    assert read_json(out / "meta.json")["metrics"] == read_json(whole / "meta.json")["metrics"]


def test_a_run_folder_holds_everything(run: RunConfig, whole: Path) -> None:
    meta = read_json(whole / "meta.json")
    assert meta["finished"]
    assert (meta["step"], meta["num_steps"]) == (NUM_STEPS, NUM_STEPS)
    assert RunConfig.from_json(meta["config"]) == run
    assert meta["num_examples"] == {"kinetics": 12, "moments": 12, "localise": 12}
    assert meta["tasks"]["localise"]["score"] == "sigmoid"
    thresholds = meta["tasks"]["localise"]["thresholds"]
    assert len(thresholds) == 5
    assert all(0 < threshold < 1 for threshold in thresholds)
    assert "thresholds" not in meta["tasks"]["kinetics"], "one class per clip"
    assert meta["tasks"]["localise"]["label_space"]["buckets"] == ["mid", "mid", "tail", "head", "head"]
    assert set(meta["metrics"]) >= {
        "kinetics/val/top1",
        "moments/val/top1",
        "localise/val/mAP",
        "localise/val/mAP_tail",
    }
    assert [step for step, _, _ in losses(whole)] == list(range(1, NUM_STEPS + 1))
    assert list((whole / "tensorboard").glob("events.*"))
    # The last two checkpoints stay.
    assert sorted(p.name for p in (whole / "state").iterdir()) == ["step-00000008", "step-00000009"]
    assert not list(whole.rglob("*.pkl")) + list(whole.rglob("*.pt"))


def test_the_saved_model_scores_as_the_run_did(whole: Path) -> None:
    metrics = {k: v for result in evaluate_run(whole, device="cpu").values() for k, v in result.metrics.items()}
    assert metrics == read_json(whole / "meta.json")["metrics"]
    loaded = load_model(whole)
    assert loaded.label_spaces["kinetics"].names == ("red", "green", "blue")
    assert loaded.task_of_kind("localise") == "localise"
    with pytest.raises(InputError, match="no task 'kinetisc'"):
        evaluate_run(whole, tasks=("kinetisc",))


def test_thresholds_of_a_run_that_has_none_are_chosen_when_it_is_scored(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run", ignore=shutil.ignore_patterns("state", "tensorboard"))
    meta = read_json(tmp_path / "run/meta.json")
    chosen = meta["tasks"]["localise"].pop("thresholds")
    write_json(tmp_path / "run/meta.json", meta)
    assert load_model(tmp_path / "run").thresholds == {}
    evaluate(tmp_path / "run", task=("localise",), choose_thresholds=True)
    assert load_model(tmp_path / "run").thresholds["localise"] == pytest.approx(chosen)
    with pytest.raises(InputError, match="no task was scored whose classes are independent"):
        evaluate(tmp_path / "run", task=("kinetics",), choose_thresholds=True)


def test_a_finished_run_returns_its_metrics_at_once(
    run: RunConfig, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tubelet.train.fit.open_session", lambda *a, **k: pytest.fail("opened again"))
    result = fit(run, whole, progress=False)
    assert result.metrics == read_json(whole / "meta.json")["metrics"]
    assert result.metrics


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_run_that_breaks_goes_on_to_the_same_weights(
    run: RunConfig, whole: Path, tmp_path: Path, num_workers: int
) -> None:
    class Broken(Exception): ...

    def break_at_six(report: StepReport) -> None:
        if report.step == 6:
            raise Broken

    with pytest.raises(Broken):
        fit(run, tmp_path, progress=False, on_step=break_at_six)
    seen: list[int] = []
    # Another number of workers does not make it another run.
    fit(replace(run, num_workers=num_workers), tmp_path, progress=False, on_step=lambda r: seen.append(r.step))
    assert seen == [5, 6, 7, 8, 9]  # from the checkpoint of step 4
    assert_same_run(tmp_path, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_writes_a_checkpoint_and_the_run_goes_on(
    run: RunConfig, whole: Path, tmp_path: Path, number: signal.Signals
) -> None:
    handler = signal.getsignal(number)

    def stop(report: StepReport) -> None:
        if report.step == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(RunInterruptedError, match="stopped after step 3 of 9; the same command goes on") as caught:
        fit(run, tmp_path, progress=False, on_step=stop)
    assert caught.value.exit_status == 128 + number
    assert signal.getsignal(number) == handler
    checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.step == 3
    fit(run, tmp_path, progress=False)
    assert_same_run(tmp_path, whole)


def test_a_killed_process_goes_on_to_the_same_weights(run: RunConfig, whole: Path, tmp_path: Path) -> None:
    config, out = tmp_path / "run.json", tmp_path / "out"
    config.write_text(json.dumps(run.to_json()))
    code = (
        "import json, sys; from pathlib import Path; import torch; torch.set_num_threads(int(sys.argv[3]));"
        "from tubelet.train.config import RunConfig; from tubelet.train.fit import fit;"
        "fit(RunConfig.from_json(json.load(open(sys.argv[1]))), Path(sys.argv[2]), progress=False)"
    )
    command = [sys.executable, "-c", code, str(config), str(out), str(torch.get_num_threads())]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 60
        while not (out / "state" / "step-00000004").exists():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    # What a kill inside a checkpoint leaves behind is not taken for one.
    partial = out / "state" / "step-00000099.incomplete"
    partial.mkdir()
    (partial / "state.json").write_text("{}")
    assert not read_json(out / "meta.json")["finished"]
    fit(run, out, progress=False)
    assert_same_run(out, whole)
    assert not partial.exists()


def test_another_config_in_the_folder_is_refused_by_its_first_difference(run: RunConfig, whole: Path) -> None:
    other = replace(run, optim=replace(run.optim, learning_rate=0.7))
    there = re.escape(str(run.optim.learning_rate))
    with pytest.raises(InputError, match=rf"another run, .* optim\.learning_rate: {there} there, 0\.7 here"):
        fit(other, whole, progress=False)


def test_a_second_process_on_the_folder_is_refused_until_the_first_is_gone(run: RunConfig, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tubelet.train.folder import sole_writer\n"
        "with sole_writer(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "in\n"
        with pytest.raises(InputError, match=rf"process {holder.pid} on .* is writing here; wait, stop it"):
            fit(run, tmp_path, progress=False)
        assert [p.name for p in tmp_path.iterdir()] == [LOCK_FILE]
    finally:
        holder.kill()
        holder.communicate()
    # Killed, it could not tidy up; what it left is in nobody's way, and a run removes its own.
    assert (tmp_path / LOCK_FILE).exists()
    fit(replace(run, num_steps=1), tmp_path, progress=False)
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_run_that_cannot_begin_leaves_no_folder(run: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither a run folder, nor a \.safetensors file"):
        fit(replace(run, init_from=str(tmp_path / "nowhere")), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_changed_data_are_refused(tmp_path: Path) -> None:
    squares = build_moving_squares(tmp_path / "squares", num_clips=6)
    run = replace(transfer_localise(squares, size="tiny"), num_epochs=None, num_steps=1, num_workers=0)
    out = tmp_path / "out"
    fit(run, out, progress=False)
    fit(run, out, progress=False)
    folder = Path(run.tasks[0].manifest)
    manifest = read_manifest(folder)
    boxes = manifest.boxes
    assert boxes is not None
    moved = pc.subtract(boxes["y1"], 0.001)
    pq.write_table(boxes.set_column(boxes.schema.get_field_index("y1"), "y1", moved), folder / "boxes.parquet")
    with pytest.raises(InputError, match=r"localise \(task localise\) is not what it was when this run began"):
        fit(run, out, progress=False)
    # Moved videos and a new licence are the same data; other names of the classes are not.
    before = data_hash(folder)
    header = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", header | {"licence": "other", "media_root": "/elsewhere"})
    assert data_hash(folder) == before
    header["label_space"]["names"][0] = "crimson"
    write_json(folder / "manifest.json", header)
    assert data_hash(folder) != before


def test_loss_that_is_not_finite_names_step_task_and_samples(
    run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = opening.open_session

    def poisoned(*args: object, **kwargs: object) -> object:
        session = original(*args, **kwargs)
        with torch.no_grad():
            session.model.heads["moments"].linear.weight.fill_(torch.nan)
        return session

    monkeypatch.setattr("tubelet.train.fit.open_session", poisoned)
    with pytest.raises(NonFiniteLossError, match=r"^step \d+, task moments: loss nan, .*moments/train-") as caught:
        fit(run, tmp_path, progress=False)
    mixture = open_data(run).mixture
    first = next(step for step in range(mixture.num_steps) if mixture.parts(step)[0].task == "moments")
    assert str(caught.value).startswith(f"step {first + 1}, ")  # counted from 1, as in metrics.jsonl
    assert "\n" not in str(caught.value)
    assert not read_json(tmp_path / "meta.json")["finished"]


def test_the_start_is_another_runs_backbone_under_fresh_heads(
    squares: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = transfer_localise(squares, size="tiny", init_from=whole)
    before = load_file(whole / "model.safetensors")
    seen: dict[str, torch.Tensor] = {}
    original = opening.open_session

    class Opened(Exception): ...

    def look(*args: object, **kwargs: object) -> object:
        seen.update(original(*args, **kwargs).model.state_dict())
        raise Opened

    monkeypatch.setattr("tubelet.train.fit.open_session", look)
    with pytest.raises(Opened):
        fit(stage, tmp_path, progress=False)
    backbone = [name for name in seen if name.startswith("backbone.")]
    heads = [name for name in seen if name.startswith("heads.")]
    assert all(torch.equal(seen[name], before[name]) for name in backbone)
    assert heads == ["heads.localise.linear.weight", "heads.localise.linear.bias"]
    assert not torch.equal(seen[heads[0]], before[heads[0]])


def test_an_unfinished_start_is_refused(run: RunConfig, squares: Path, tmp_path: Path) -> None:
    class Broken(Exception): ...

    def stop(report: StepReport) -> None:
        raise Broken

    with pytest.raises(Broken):
        fit(run, tmp_path / "a", progress=False, on_step=stop)
    with pytest.raises(InputError, match=r"that run is not finished \(step 0 of 9\)"):
        fit(transfer_localise(squares, size="tiny", init_from=tmp_path / "a"), tmp_path / "b", progress=False)


def test_loss_falls_and_the_model_learns(squares: Path, tmp_path: Path) -> None:
    run = cofinetune(squares, size="tiny")
    optim = replace(run.optim, warmup_epochs=1.0, learning_rate=0.003)
    run = replace(run, num_epochs=None, num_steps=60, num_workers=0, optim=optim)
    result = fit(run, tmp_path, progress=False)
    of_task: dict[str, list[float]] = {}
    for _, task, loss in losses(tmp_path):
        of_task.setdefault(task, []).append(loss)
    for task, values in of_task.items():
        assert sum(values[-3:]) < sum(values[:3]), (task, values)
    assert result.metrics["kinetics/val/top1"] > 0.6  # 1/3 by chance: colours are easy


def test_whole_batches_are_changed_on_their_way_to_the_model(run: RunConfig, whole: Path, tmp_path: Path) -> None:
    colours = BatchAugment(colour_probability=1.0)
    tasks = tuple(replace(task, augment=replace(task.augment, batch=colours)) for task in run.tasks)
    coloured = replace(run, tasks=tasks, num_steps=3, checkpoint_every_steps=1)

    def stop(report: StepReport) -> None:
        if report.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    fit(coloured, tmp_path / "once", progress=False)
    with pytest.raises(RunInterruptedError):
        fit(coloured, tmp_path / "twice", progress=False, on_step=stop)
    fit(replace(coloured, num_workers=1), tmp_path / "twice", progress=False)
    assert_same_run(tmp_path / "twice", tmp_path / "once")
    assert [loss for _, _, loss in losses(tmp_path / "once")] != [loss for _, _, loss in losses(whole)[:3]]
