"""A run of one process that goes on with two and then with one again is the same run."""

import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from rank_runs import on_ranks, rows_of

from tubelet.models.vivit import vivit_config
from tubelet.recipes.playground import cofinetune
from tubelet.train import loop
from tubelet.train.checkpoint import latest_checkpoint
from tubelet.train.config import RunConfig
from tubelet.train.fit import fit
from tubelet.train.interrupt import RunInterruptedError
from tubelet.train.session import Session

NUM_STEPS = 9


def go_on(run: RunConfig, out: Path, last: int) -> list[Any]:
    """Train until a signal comes during step ``last``; return what this rank saw and computed at each step.

    Of several ranks only the second gets the signal.
    """
    seen: list[Any] = []
    original = loop.train_step
    gets_it = os.environ.get("RANK") in (None, "1")

    def watched(session: Session, parts: Any, met: Any, *, learning_rate: float) -> tuple[dict[str, float], float]:
        if session.step + 1 == last and gets_it:
            os.kill(os.getpid(), signal.SIGTERM)
        step = session.step
        losses, norm = original(session, parts, met, learning_rate=learning_rate)
        seen.append([step, [list(row) for part in parts for row in rows_of(part)], losses])
        return losses, norm

    with patch.object(loop, "train_step", watched), suppress(RunInterruptedError):
        fit(run, out, device="cpu", progress=False)
    return seen


def by_step(ranks: list[list[Any]]) -> dict[int, tuple[list[Any], dict[str, float]]]:
    """Return for each step the rows of all ranks, in order, and the losses, which all ranks must agree on."""
    found: dict[int, tuple[list[Any], dict[str, float]]] = {}
    for each in zip(*ranks, strict=True):
        assert all(losses == each[0][2] for _, _, losses in each)
        found[each[0][0]] = (sorted(row for _, rows, _ in each for row in rows), each[0][2])
    return found


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_one_two_and_one_process_are_one_run(squares: Path, tmp_path: Path, parallel: Any) -> None:
    run = cofinetune(squares, size="tiny")
    run = replace(
        run,
        num_epochs=None,
        num_steps=NUM_STEPS,
        batch_size=4,
        num_workers=0,
        precision="float32",
        preprocess=replace(run.preprocess, size=32, num_frames=4),
        backbone=vivit_config("nano", size=32, num_frames=4, patch=8, stochastic_depth=0.3),
        # Adam and Muon divide by the size of a gradient: where it is all but zero they make rounding a difference.
        optim=replace(run.optim, optimizer="sgd", learning_rate=0.05, ema_decay=0.9),
    )
    whole = by_step([go_on(run, tmp_path / "whole", 99)])
    out = tmp_path / "out"
    found = by_step([go_on(run, out, 3)])
    found |= by_step(on_ranks(2, go_on, replace(run, parallel=parallel), out, 6, out=tmp_path / "said"))
    checkpoint = latest_checkpoint(out)
    assert checkpoint is not None
    assert checkpoint.step == 6  # both stopped after the step in which one was asked to
    assert list(checkpoint.folder.glob("shard-00002-*"))  # and both wrote
    found |= by_step([go_on(run, out, 99)])
    assert list(found) == list(whole) == list(range(NUM_STEPS))
    for step, (rows, losses) in whole.items():
        assert found[step][0] == rows, step
        assert found[step][1] == pytest.approx(losses, rel=1e-5), step
