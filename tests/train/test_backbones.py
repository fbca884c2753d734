"""A run's backbone is of either family, also in a run folder, and folders from before there were two still fit."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rank_runs import PROCESSES
from safetensors.torch import load_file

from tubelet.models.resnet3d import ResNet3D, ResNet3DConfig
from tubelet.models.saved import load_model
from tubelet.recipes.playground import cofinetune
from tubelet.records import read_json, write_json
from tubelet.train.config import RunConfig
from tubelet.train.fit import fit
from tubelet.train.folder import check_same_run
from tubelet.train.log import StepReport, read_rows
from tubelet.types import InputError


@pytest.fixture(scope="module")
def vivit(squares: Path) -> RunConfig:
    return replace(cofinetune(squares, size="tiny"), num_epochs=None, num_steps=2, num_workers=0)


def test_a_residual_network_is_trained_scored_and_read_back(vivit: RunConfig, tmp_path: Path) -> None:
    config = ResNet3DConfig(
        depth=18, convolution="2plus1d", size=vivit.preprocess.size, num_frames=vivit.preprocess.num_frames
    )
    run = replace(vivit, backbone=config, batch_size=2)
    assert RunConfig.from_json(run.to_json()) == run
    result = fit(run, tmp_path, progress=False)
    assert "localise/val/mAP" in result.metrics
    loaded = load_model(tmp_path)
    assert isinstance(loaded.model.backbone, ResNet3D)
    assert loaded.model.backbone.config == config
    assert load_file(tmp_path / "model.safetensors")["backbone.stem.norm.num_batches_tracked"] == 2


def test_options_that_a_run_did_not_have_yet_are_their_defaults(vivit: RunConfig, tmp_path: Path) -> None:
    fit(vivit, tmp_path, progress=False)
    meta = read_json(tmp_path / "meta.json")
    for name in ("family", "pooling", "activation", "norm_eps"):
        del meta["config"]["backbone"][name]
        del meta["backbone"][name]
    write_json(tmp_path / "meta.json", meta)
    check_same_run(vivit, tmp_path)
    assert load_model(tmp_path).model.backbone.config == vivit.backbone
    other = replace(vivit, backbone=replace(vivit.backbone, stochastic_depth=0.25))
    with pytest.raises(InputError, match=r"differs in backbone.stochastic_depth: .* there, 0.25 here"):
        check_same_run(other, tmp_path)


def test_a_killed_run_with_batch_normalisation_ends_with_the_same_weights(vivit: RunConfig, tmp_path: Path) -> None:
    size, num_frames = 32, 4
    run = replace(
        vivit,
        backbone=ResNet3DConfig(depth=18, convolution="2plus1d", size=size, num_frames=num_frames),
        preprocess=replace(vivit.preprocess, size=size, num_frames=num_frames),
        num_steps=5,
        batch_size=4,
        checkpoint_every_steps=2,
    )
    fit(run, tmp_path / "whole", progress=False)
    process = PROCESSES.Process(target=fit_and_die, args=(run, tmp_path / "killed"))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    seen: list[int] = []
    fit(run, tmp_path / "killed", progress=False, on_step=lambda report: seen.append(report.step))
    assert seen == [3, 4, 5]
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("killed", "whole"))
    assert any("running_var" in name for name in theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert step_losses(tmp_path / "killed") == step_losses(tmp_path / "whole")


def fit_and_die(run: RunConfig, out: Path) -> None:
    def die(report: StepReport) -> None:
        if report.step == 4:
            while not (out / "state" / "step-00000002").exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)  # as the process that goes on: sums in another order are other sums
    fit(run, out, progress=False, on_step=die)


def step_losses(out: Path) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in read_rows(out / "metrics.jsonl") if "task" in row]
