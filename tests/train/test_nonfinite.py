"""A number that is not finite: the run stops, nothing is touched, and the step can be done again."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tubelet.data.dataset import ClipDataset
from tubelet.data.mixture import sample_seed
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.recipes.playground import cofinetune
from tubelet.records import read_json
from tubelet.train import opening
from tubelet.train.checkpoint import latest_checkpoint
from tubelet.train.config import RunConfig
from tubelet.train.fit import fit
from tubelet.train.log import read_rows
from tubelet.train.nonfinite import NonFiniteLossError
from tubelet.train.replay import replay_step
from tubelet.train.session import Session
from tubelet.types import ClipSample, InputError

BAD_STEP = 4


@pytest.fixture(scope="module")
def run(squares: Path) -> RunConfig:
    """With batch normalisation, whose statistics a step changes before its loss is known."""
    run = cofinetune(squares, size="tiny")
    config = ResNet3DConfig(depth=18, convolution="2d", size=32, num_frames=4)
    return replace(
        run,
        num_epochs=None,
        num_steps=6,
        batch_size=4,
        num_workers=0,
        precision="float32",
        mixture="mixed",
        preprocess=replace(run.preprocess, size=32, num_frames=4),
        backbone=config,
        checkpoint_every_steps=2,
        tasks=run.tasks[:2],
    )


@pytest.fixture
def poisoned(run: RunConfig, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The first sample of step ``BAD_STEP`` has a target that is infinite."""
    original = ClipDataset.sample
    found: dict[str, Any] = {}

    def sample(self: ClipDataset, index: int, *, seed: int) -> ClipSample:
        made = original(self, index, seed=seed)
        if seed == found.get("seed"):
            made = replace(made, targets=made.targets.masked_fill(made.targets > 0, torch.inf))
        return made

    monkeypatch.setattr(ClipDataset, "sample", sample)
    found["seed"] = sample_seed(run.seed, BAD_STEP - 1, 1)
    return found


def test_the_run_stops_before_the_step_and_the_step_is_done_again(
    run: RunConfig, poisoned: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(NonFiniteLossError, match=rf"^step {BAD_STEP}, task .*: loss nan.*--replay-step {BAD_STEP}"):
        fit(run, tmp_path / "bad", progress=False)
    seed = poisoned.pop("seed")
    with pytest.raises(KeyboardInterrupt):  # the same run, stopped before that step
        fit(run, tmp_path / "good", progress=False, on_step=lambda report: stop_at(report.step, BAD_STEP - 1))
    bad, good = (latest_checkpoint(tmp_path / name) for name in ("bad", "good"))
    assert bad is not None
    assert good is not None
    assert bad.step == good.step == BAD_STEP - 1
    mine, other = (all_tensors(found.folder) for found in (bad, good))
    assert mine.keys() == other.keys()
    # Weights, momentum and statistics: the bad step has left nothing.
    assert [name for name in mine if not torch.equal(mine[name], other[name])] == []
    record = read_json(tmp_path / "bad" / "nonfinite.json")
    assert record["step"] == BAD_STEP
    assert [row["step"] for row in read_rows(tmp_path / "bad" / "metrics.jsonl")][-1] == BAD_STEP - 1
    samples = record["samples"]
    assert [row["slot"] for row in samples] == [0, 1, 2, 3]
    (wrong,) = (row for row in samples if row["seed"] == seed)
    # Without the poison the same step is a good one, and the one the run went on with.
    clean = replay_step(run, tmp_path / "bad", BAD_STEP)
    assert clean.bad_parameters == ()
    poisoned["seed"] = seed
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = replay_step(run, tmp_path / "bad", BAD_STEP)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert again.first_step == BAD_STEP - 1
    assert [(s.task, s.slot, s.sample_id) for s in again.samples] == [
        (row["task"], row["slot"], row["sample_id"]) for row in samples
    ]
    assert [s.sample_id for s in again.samples if s.loss != s.loss] == [wrong["sample_id"]]
    assert again.bad_parameters
    for mine, other in zip(again.samples, clean.samples, strict=True):
        assert mine.sample_id == wrong["sample_id"] or mine.loss == other.loss
    poisoned.pop("seed")
    done = fit(run, tmp_path / "bad", progress=False)
    rows = [row for row in read_rows(done.out / "metrics.jsonl") if "loss" in row and row["step"] == BAD_STEP]
    assert {row["task"]: row["loss"] for row in rows} == clean.losses
    assert rows[0]["gradient_norm"] == clean.gradient_norm


def all_tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def stop_at(step: int, last: int) -> None:
    if step == last:
        os.kill(os.getpid(), signal.SIGTERM)


def test_steps_between_the_checkpoint_and_the_one_to_replay_are_done_first(run: RunConfig, tmp_path: Path) -> None:
    class Broken(Exception): ...

    losses: dict[int, float] = {}

    def note(report: Any) -> None:
        losses[report.step] = report.loss
        if report.step == BAD_STEP + 1:
            raise Broken

    with pytest.raises(Broken):
        fit(replace(run, checkpoint_every_steps=3), tmp_path, progress=False, on_step=note)
    again = replay_step(run, tmp_path, BAD_STEP + 1)
    assert again.first_step == 3
    assert sum(again.losses.values()) == losses[BAD_STEP + 1]
    with pytest.raises(InputError, match="step 2 cannot be replayed; the newest checkpoint is of step 3"):
        replay_step(run, tmp_path, 2)


def test_weights_that_are_not_finite_replace_no_checkpoint(
    run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Session] = []
    original = opening.open_session
    monkeypatch.setattr(
        "tubelet.train.fit.open_session", lambda *a, **k: opened.append(original(*a, **k)) or opened[-1]
    )

    def ruin(report: Any) -> None:
        if report.step == 3:
            with torch.no_grad():
                next(opened[0].model.parameters()).fill_(torch.nan)

    with pytest.raises(NonFiniteLossError, match=r"^step 4, "):
        fit(run, tmp_path, progress=False, on_step=ruin)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 2
    assert replay_step(run, tmp_path, 3).bad_parameters == ()
