"""float16: the loss is scaled; an overflow costs the step its update and no more, and the scale survives a stop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tubelet.models.vivit import vivit_config
from tubelet.recipes.playground import transfer_kinetics
from tubelet.train import loop, loss_scale
from tubelet.train.checkpoint import latest_checkpoint
from tubelet.train.config import RunConfig
from tubelet.train.fit import fit
from tubelet.train.log import read_rows
from tubelet.train.loss_scale import LossScale
from tubelet.train.session import Session


def test_the_scale_is_halved_by_an_overflow_and_doubled_after_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_scale, "DOUBLED_AFTER", 3)
    scale = LossScale()
    assert scale.factor == 2.0**16
    scales = []
    for fits in (False, False, True, True, True, True, False):
        scale.adapt(fits=fits)
        scales.append(scale.log2)
    assert scales == [15, 14, 14, 14, 15, 15, 14]
    assert (scale.steps_without_update, scale.steps_since_overflow) == (3, 0)
    for _ in range(20):
        scale.adapt(fits=False)
    assert scale.factor == 1.0  # where a gradient that does not fit is an error


@pytest.fixture
def run(squares: Path) -> RunConfig:
    run = transfer_kinetics(squares, size="tiny")
    return replace(
        run,
        num_epochs=None,
        num_steps=6,
        batch_size=4,
        num_workers=0,
        preprocess=replace(run.preprocess, size=32, num_frames=4),
        backbone=vivit_config("nano", size=32, num_frames=4, patch=8, stochastic_depth=0.1),
        optim=replace(run.optim, optimizer="adamw"),
        checkpoint_every_steps=3,
    )


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in read_rows(out / "metrics.jsonl") if "loss" in row]


def test_float16_trains_as_float32_does(run: RunConfig, tmp_path: Path) -> None:
    fit(replace(run, precision="float32"), tmp_path / "32", progress=False)
    fit(replace(run, precision="float16"), tmp_path / "16", progress=False)
    assert losses(tmp_path / "16") == pytest.approx(losses(tmp_path / "32"), rel=0.02)
    assert losses(tmp_path / "16") != losses(tmp_path / "32")


def test_an_overflow_moves_no_weight_and_is_counted(
    run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = loop.add_gradients
    weights: list[torch.Tensor] = []

    def overflowing(session: Session, *arguments: Any, **options: Any) -> Any:
        found = original(session, *arguments, **options)
        weight = next(session.model.parameters())
        weights.append(weight.detach().clone())
        if session.step == 1:
            assert weight.grad is not None
            weight.grad.view(-1)[0] = torch.inf
        return found

    monkeypatch.setattr(loop, "add_gradients", overflowing)
    half = replace(run, precision="float16")
    fit(half, tmp_path / "once", progress=False)
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[2], weights[3])
    found = latest_checkpoint(tmp_path / "once")
    assert found is not None
    scale = LossScale(**found.state["loss_scale"])
    assert scale == LossScale(log2=15, steps_without_update=1, steps_since_overflow=4)

    class Stopped(Exception): ...

    def stop(report: Any) -> None:
        if report.step == 4:
            raise Stopped

    with pytest.raises(Stopped):
        fit(half, tmp_path / "twice", progress=False, on_step=stop)
    fit(half, tmp_path / "twice", progress=False)
    assert losses(tmp_path / "twice") == losses(tmp_path / "once")
    again = latest_checkpoint(tmp_path / "twice")
    assert again is not None
    assert again.state == found.state
