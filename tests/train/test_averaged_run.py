"""A run that keeps a moving average of its weights: scored and published are the averages, and a resume keeps them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tubelet.models.saved import load_model
from tubelet.recipes.playground import cofinetune
from tubelet.train.config import RunConfig
from tubelet.train.ema import WeightAverage
from tubelet.train.evaluate import evaluate_run
from tubelet.train.fit import fit
from tubelet.train.log import StepReport


@pytest.fixture(scope="module")
def run(squares: Path) -> RunConfig:
    run = cofinetune(squares, size="tiny")
    optim = replace(run.optim, ema_decay=0.6)
    return replace(run, num_epochs=None, num_steps=4, num_workers=0, checkpoint_every_steps=2, optim=optim)


def test_the_average_goes_on_where_it_was(run: RunConfig, tmp_path: Path) -> None:
    class Broken(Exception): ...

    def break_at_three(report: StepReport) -> None:
        if report.step == 3:
            raise Broken

    whole = fit(run, tmp_path / "whole", progress=False)
    with pytest.raises(Broken):
        fit(run, tmp_path / "resumed", progress=False, on_step=break_at_three)
    resumed = fit(run, tmp_path / "resumed", progress=False)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "resumed"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert resumed.metrics == whole.metrics
    scored = {k: v for each in evaluate_run(tmp_path / "whole", device="cpu").values() for k, v in each.metrics.items()}
    assert scored == whole.metrics


def test_the_average_is_that_of_every_step(run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "backbone.embedding.projection.weight"
    seen: list[torch.Tensor] = []
    update = WeightAverage.update

    def noting(self: WeightAverage, model: torch.nn.Module, *, steps: int) -> None:
        if not seen:
            seen.append(self.tensors[name].clone())
        seen.append(model.state_dict()[name].clone())
        update(self, model, steps=steps)

    monkeypatch.setattr(WeightAverage, "update", noting)
    fit(run, tmp_path / "run", progress=False)
    average = seen[0]
    for step, weights in enumerate(seen[1:], start=1):
        keep = min(0.6, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * weights
    assert len(seen) == 5
    published = load_model(tmp_path / "run").model.state_dict()[name]
    torch.testing.assert_close(published, average)
    assert not torch.allclose(published, seen[-1], atol=1e-6)
