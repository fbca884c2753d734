"""Several processes train as one would: the same samples, the same numbers, and an end of one is an end of all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_runs import merged, on_ranks, train
from safetensors.torch import load_file

from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.vivit import vivit_config
from tubelet.recipes.playground import cofinetune
from tubelet.train.config import RunConfig
from tubelet.train.fit import fit
from tubelet.video.augmentations import BatchAugment


@pytest.fixture(scope="module")
def run(squares: Path) -> RunConfig:
    """All that depends on who computes: stochastic depth, colours, three tasks, boxes of which clips have several."""
    run = cofinetune(squares, size="tiny")
    colours = BatchAugment(colour_probability=0.5)
    return replace(
        run,
        num_epochs=None,
        num_steps=4,
        batch_size=8,
        num_workers=0,
        precision="float32",
        checkpoint_every_steps=1000,
        preprocess=replace(run.preprocess, size=32, num_frames=4),
        backbone=vivit_config("nano", size=32, num_frames=4, patch=8, stochastic_depth=0.3),
        optim=replace(run.optim, optimizer="sgd", learning_rate=0.05, clip_norm=0.5),
        tasks=tuple(
            replace(task, loss_weight=weight, augment=replace(task.augment, batch=colours))
            for task, weight in zip(run.tasks, (1.0, 0.5, 2.0))
        ),
    )


@pytest.fixture(scope="module")
def mixed(run: RunConfig) -> RunConfig:
    return replace(run, mixture="mixed")


@pytest.fixture(scope="module")
def alone(mixed: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process sees and computes, in float64."""
    return train(mixed, tmp_path_factory.mktemp("alone"), wide=True, weights=True)


def assert_same(ours: dict[str, Any], theirs: dict[str, Any], *, rel: float) -> None:
    for step, (mine, other) in enumerate(zip(ours["losses"], theirs["losses"], strict=True)):
        assert mine == pytest.approx(other, rel=rel), step
    assert ours["norms"] == pytest.approx(theirs["norms"], rel=10 * rel)
    if "weights" in ours and "weights" in theirs:
        assert ours["weights"] == pytest.approx(theirs["weights"], rel=rel)


@pytest.mark.parametrize("number", [2, 4])
def test_ranks_see_and_compute_what_one_process_does(
    mixed: RunConfig, alone: dict[str, Any], tmp_path: Path, number: int
) -> None:
    ranks = on_ranks(number, train_wide, mixed, tmp_path / "run", out=tmp_path)
    assert merged(ranks) == merged([alone])
    for rank in ranks:
        assert_same(rank, alone, rel=1e-6)
        assert rank["state"] == alone["state"]


def test_fsdp_computes_what_ddp_does(mixed: RunConfig, alone: dict[str, Any], tmp_path: Path) -> None:
    ranks = on_ranks(2, train_wide, replace(mixed, parallel="fsdp"), tmp_path / "run", out=tmp_path)
    for rank in ranks:
        assert_same(rank, alone, rel=1e-6)


def train_wide(run: RunConfig, out: Path) -> dict[str, Any]:
    return train(run, out, wide=True, weights=True)


@pytest.mark.parametrize("number", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_float32_over_twenty_steps(run: RunConfig, tmp_path: Path, number: int) -> None:
    long = replace(run, num_steps=20)
    whole = train(long, tmp_path / "whole")
    ranks = on_ranks(number, train, long, tmp_path / "run", out=tmp_path)
    assert merged(ranks) == merged([whole])
    for rank in ranks:
        assert_same(rank, whole, rel=1e-5)


@pytest.mark.parametrize("pieces", [2, 4])
def test_pieces_of_a_step_add_up_to_it(mixed: RunConfig, alone: dict[str, Any], tmp_path: Path, pieces: int) -> None:
    found = train(replace(mixed, accumulation_steps=pieces), tmp_path, wide=True, weights=True)
    assert found["samples"] == alone["samples"]
    assert_same(found, alone, rel=1e-6)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_pieces_on_ranks_add_up_too(mixed: RunConfig, alone: dict[str, Any], tmp_path: Path, parallel: Any) -> None:
    run = replace(mixed, accumulation_steps=2, parallel=parallel)
    for rank in on_ranks(2, train_wide, run, tmp_path / "run", out=tmp_path):
        assert_same(rank, alone, rel=1e-6)


def test_the_number_of_workers_changes_nothing_at_all(mixed: RunConfig, tmp_path: Path) -> None:
    found = [
        on_ranks(2, train_weights, replace(mixed, num_workers=n), tmp_path / f"run-{n}", out=tmp_path) for n in (0, 2)
    ]
    assert found[0] == found[1]  # to the last bit


def train_weights(run: RunConfig, out: Path) -> dict[str, Any]:
    return train(run, out, weights=True)


@pytest.fixture(scope="module")
def residual(run: RunConfig) -> RunConfig:
    """A network with batch normalisation, on shares of a batch that differ in colour."""
    config = ResNet3DConfig(depth=18, convolution="2d", size=run.preprocess.size, num_frames=run.preprocess.num_frames)
    return replace(run, backbone=config, num_steps=2, batch_size=8)


def test_batch_normalisation_is_each_ranks_own_on_the_same_clips(residual: RunConfig, tmp_path: Path) -> None:
    whole = train(residual, tmp_path / "whole", weights=True)
    ranks = on_ranks(2, train_weights, residual, tmp_path / "run", out=tmp_path)
    assert merged(ranks) == merged([whole])
    assert ranks[0]["losses"] == ranks[1]["losses"]
    name = "backbone.stem.norm.running_mean"
    # What is saved at the end is rank 0's on both, and not that of the whole batch.
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert ranks[0]["weights"][name] != pytest.approx(whole["weights"][name], rel=1e-3)


def test_synchronised_batch_normalisation_is_that_of_the_whole_batch(residual: RunConfig, tmp_path: Path) -> None:
    whole = train(residual, tmp_path / "whole", wide=True, weights=True)
    run = replace(residual, batch_norm="synchronised")
    for rank in on_ranks(2, train_wide, run, tmp_path / "run", out=tmp_path):
        assert_same(rank, whole, rel=1e-6)


@pytest.mark.parametrize("frozen", [False, True])
def test_runs_that_are_scored_on_the_way_end_alike_however_they_are_shared(
    run: RunConfig, tmp_path: Path, frozen: bool
) -> None:
    """With an average of the weights, which is what is scored and published."""
    optim = replace(run.optim, ema_decay=0.9, frozen_backbone=frozen)
    often = replace(run, num_steps=3, eval_every_steps=1, optim=optim)
    whole = fit(often, tmp_path / "whole", progress=False).metrics
    published = load_file(tmp_path / "whole" / "model.safetensors")
    for parallel in ("ddp", "fsdp"):
        out = tmp_path / parallel
        for metrics in on_ranks(2, fitted, replace(often, parallel=parallel), out, out=tmp_path):
            assert metrics == pytest.approx(whole, abs=0.02)
        for name, tensor in load_file(out / "model.safetensors").items():
            torch.testing.assert_close(tensor, published[name], rtol=1e-4, atol=1e-6)


def fitted(run: RunConfig, out: Path) -> dict[str, float]:
    return fit(run, out, progress=False).metrics
