"""A signal while a run is scored is obeyed within the batch; what goes on scores again, to the same numbers."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from rank_runs import on_ranks
from safetensors.torch import load_file

from tubelet.models.vivit import vivit_config
from tubelet.recipes.playground import cofinetune
from tubelet.tasks import Task
from tubelet.train.checkpoint import latest_checkpoint
from tubelet.train.config import RunConfig
from tubelet.train.fit import fit
from tubelet.train.folder import finished_result
from tubelet.train.interrupt import RunInterruptedError
from tubelet.train.log import read_rows

NUM_STEPS = 3
BATCHES = 9
"""Of a scoring: three tasks of six examples, two at a time."""


@pytest.fixture(scope="module")
def run(squares: Path) -> RunConfig:
    run = cofinetune(squares, size="tiny")
    return replace(
        run,
        num_epochs=None,
        num_steps=NUM_STEPS,
        batch_size=4,
        eval_batch_size=2,
        eval_every_steps=2,
        checkpoint_every_steps=1000,
        best_metric="localise/val/mAP",
        num_workers=0,
        precision="float32",
        preprocess=replace(run.preprocess, size=32, num_frames=4),
        backbone=vivit_config("nano", size=32, num_frames=4, patch=8, stochastic_depth=0.3),
        optim=replace(run.optim, ema_decay=0.5),
    )


@pytest.fixture(scope="module")
def whole(run: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    fit(run, out, progress=False)
    return out


def fit_with_signal(run: RunConfig, out: Path, at: int) -> int:
    """Fit and get a signal in the scored batch number ``at``; return how many were scored."""
    scored = 0
    original = Task.scores

    def scores(*given: Any) -> torch.Tensor:
        nonlocal scored
        scored += 1
        if scored == at and os.environ.get("RANK", "1") == "1":
            os.kill(os.getpid(), signal.SIGUSR1)
        return original(*given)

    with patch.object(Task, "scores", scores), pytest.raises(RunInterruptedError, match=r"stopped after step \d of 3"):
        fit(run, out, progress=False)
    return scored


def rows(out: Path) -> list[dict[str, Any]]:
    """Return what was logged, but for the speed."""
    speed = ("clips_per_second", "data_wait", "memory_gib")
    return [{n: v for n, v in row.items() if n not in speed} for row in read_rows(out / "metrics.jsonl")]


@pytest.mark.parametrize(("at", "step"), [(1, 2), (BATCHES, 2), (BATCHES + 4, NUM_STEPS)])
def test_a_signal_within_a_scoring(run: RunConfig, whole: Path, tmp_path: Path, at: int, step: int) -> None:
    assert fit_with_signal(run, tmp_path, at) == at
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == step
    assert finished_result(tmp_path) is None
    # And again, in the scoring that is done again.
    again = at - (BATCHES if step == NUM_STEPS else 0)
    assert fit_with_signal(run, tmp_path, again) == again
    result = fit(run, tmp_path, progress=False)
    there = finished_result(whole)
    assert there is not None
    assert result.metrics == there.metrics
    assert rows(tmp_path) == rows(whole)
    ours, theirs = (load_file(out / "model.safetensors") for out in (tmp_path, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [p.name for p in sorted((tmp_path / "state").iterdir())] == [
        p.name for p in sorted((whole / "state").iterdir())
    ]


def test_a_signal_to_one_rank_stops_the_scoring_of_all(run: RunConfig, tmp_path: Path) -> None:
    found = on_ranks(2, fit_with_signal, run, tmp_path / "run", 2, out=tmp_path / "said")
    assert found == [2, 2]
    assert fit(run, tmp_path / "run", progress=False).metrics
