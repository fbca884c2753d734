"""One rank's mistake or death ends all of them, soon and with one message; scores count every sample once."""

import itertools
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from rank_runs import merged, on_ranks, train

from tubelet.data.dataset import ClipDataset
from tubelet.data.mixture import sample_seed
from tubelet.evals.run import evaluate_task
from tubelet.models.model import VideoModel
from tubelet.models.vivit import vivit_config
from tubelet.recipes.playground import cofinetune
from tubelet.records import read_json
from tubelet.tasks import build_task
from tubelet.train import checkpoint_shards, loop
from tubelet.train.config import RunConfig
from tubelet.train.data import task_dataset
from tubelet.train.distributed import joined
from tubelet.train.fit import fit
from tubelet.train.replay import replay_step
from tubelet.types import ClipSample, VideoError


@pytest.fixture(scope="module")
def run(squares: Path) -> RunConfig:
    run = cofinetune(squares, size="tiny")
    return replace(
        run,
        num_epochs=None,
        num_steps=4,
        batch_size=8,
        num_workers=0,
        precision="float32",
        preprocess=replace(run.preprocess, size=32, num_frames=4),
        backbone=vivit_config("nano", size=32, num_frames=4, patch=8, stochastic_depth=0.3),
        optim=replace(run.optim, optimizer="sgd", learning_rate=0.05),
    )


def test_a_killed_rank_ends_the_others_at_once(run: RunConfig, tmp_path: Path) -> None:
    began = time.monotonic()
    found = on_ranks(3, train_and_die, replace(run, batch_size=9), tmp_path / "run", out=tmp_path)
    assert found[1] is None
    for rank in (0, 2):
        kind, text = found[rank]["error"]
        assert kind == "RankLostError", text
        assert text.startswith("another rank has died or does not answer")
    assert time.monotonic() - began < 60  # what the ranks would wait for one that hangs


def train_and_die(run: RunConfig, out: Path) -> dict[str, Any]:
    original = loop.train_step

    def step(session: Any, *arguments: Any, **options: Any) -> Any:
        if session.world.rank == 1 and session.step == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(session, *arguments, **options)

    with patch.object(loop, "train_step", step):
        return train(run, out)


@pytest.mark.parametrize("exchange", [0, 1, 2, 3])
def test_a_rank_killed_in_any_exchange_about_checkpoints_ends_the_others(
    run: RunConfig, tmp_path: Path, exchange: int
) -> None:
    """In the look for one to go on from, in the plan of one, and, beside the training, in its two at the end."""
    short = replace(run, checkpoint_every_steps=1)
    found = on_ranks(2, die_in_exchange, short, tmp_path / "run", exchange, out=tmp_path)
    assert found[1] is None
    kind, text = found[0]["error"]
    assert (kind, text.startswith("another rank has died or does not answer")) == ("RankLostError", True), text


def die_in_exchange(run: RunConfig, out: Path, number: int) -> dict[str, Any]:
    original, calls = checkpoint_shards.gathered, itertools.count()

    def gathered(value: Any, process_group: Any) -> list[Any]:
        if next(calls) == number and process_group.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(value, process_group)

    with patch.object(checkpoint_shards, "gathered", gathered):
        return train(run, out)


def test_a_batch_that_does_not_divide_is_refused_before_anything_is_read(run: RunConfig, tmp_path: Path) -> None:
    wrong = replace(run, batch_size=9, init_from=str(tmp_path / "nowhere"))
    found = on_ranks(2, fit_only, wrong, tmp_path / "run", out=tmp_path)
    assert [kind for kind, _ in (rank["error"] for rank in found)] == ["InputError", "OtherRankError"]
    assert "batch_size is 9, expected a multiple of 2 (processes)" in found[0]["error"][1]
    assert not (tmp_path / "run").exists()


def fit_only(run: RunConfig, out: Path) -> None:
    fit(run, out, progress=False)


def test_a_fault_in_the_program_on_one_rank_ends_the_others(run: RunConfig, tmp_path: Path) -> None:
    found = on_ranks(2, train_with_fault, run, tmp_path / "run", out=tmp_path)
    assert found[1]["error"] == ["ZeroDivisionError", "a fault"]
    assert found[0]["error"][0] == "RankLostError"


def train_with_fault(run: RunConfig, out: Path) -> dict[str, Any]:
    original = loop.add_gradients

    def gradients(session: Any, *arguments: Any, **options: Any) -> Any:
        if session.world.rank == 1 and session.step == 2:
            raise ZeroDivisionError("a fault")
        return original(session, *arguments, **options)

    with patch.object(loop, "add_gradients", gradients):
        return train(run, out)


def test_a_loss_that_is_not_finite_on_one_rank_ends_all_and_is_replayed_by_one(run: RunConfig, tmp_path: Path) -> None:
    one_task = replace(run, tasks=run.tasks[:1])
    found = on_ranks(2, train_to_infinity, one_task, tmp_path / "run", out=tmp_path)
    kind, text = found[0]["error"]
    assert kind == "NonFiniteLossError"
    assert text.startswith("step 3, task kinetics: loss nan, ")
    assert found[1]["error"] == ["OtherRankError", text]
    assert read_json(tmp_path / "run" / "nonfinite.json")["world_size"] == 2
    with infinite(range(4, 8)):
        again = replay_step(one_task, tmp_path / "run", 3)
    assert again.first_step == 2
    assert [sample.slot for sample in again.samples] == list(range(8))
    assert [sample.loss != sample.loss for sample in again.samples] == [False] * 4 + [True] * 4


def train_to_infinity(run: RunConfig, out: Path) -> None:
    # Rank 1 has the second half of the slots.
    with infinite(range(4, 8)):
        fit(run, out, progress=False)


def infinite(slots: range) -> Any:
    """Patch: samples in these slots of the third step have a target that is infinite."""
    original = ClipDataset.sample
    seeds = {sample_seed(0, 2, slot) for slot in slots}

    def sample(self: ClipDataset, index: int, *, seed: int) -> ClipSample:
        made = original(self, index, seed=seed)
        targets = made.targets.masked_fill(made.targets > 0, torch.inf) if seed in seeds else made.targets
        return replace(made, targets=targets)

    return patch.object(ClipDataset, "sample", sample)


def test_a_rank_that_hangs_is_given_up(tmp_path: Path) -> None:
    found = on_ranks(2, wait_for_one_that_sleeps, out=tmp_path)
    assert found[0]["error"][0] == "RankLostError"


def wait_for_one_that_sleeps() -> None:
    with joined("cpu", timeout_seconds=1.0) as world:
        if world.is_main:
            world.summed([1.0])
        time.sleep(4)


def broken(only_rank: int | None, share: int) -> Any:
    """Patch: every ``share``-th example cannot be read, on one rank or all."""
    original = ClipDataset.sample

    def sample(self: ClipDataset, index: int, *, seed: int) -> ClipSample:
        if only_rank in (None, int(os.environ.get("RANK", "0"))) and index % share == 0:
            raise VideoError("a.mp4", "broken for a test")
        return original(self, index, seed=seed)

    return patch.object(ClipDataset, "sample", sample)


def test_a_video_that_one_rank_cannot_read_ends_all_with_its_name(run: RunConfig, tmp_path: Path) -> None:
    found = on_ranks(2, train_with_broken, run, tmp_path / "run", 1, 1, out=tmp_path)
    kind, text = found[0]["error"]
    assert kind == "InputError"
    assert text.startswith("rank 1: a.mp4: sample ")
    assert found[1]["error"][0] == "OtherRankError"  # which the command line leaves to rank 0
    assert not (tmp_path / "run" / "state").exists()


def train_with_broken(run: RunConfig, out: Path, only_rank: int | None, share: int) -> dict[str, Any]:
    with broken(only_rank, share), patch("tubelet.train.session.MAX_SKIPPED_SHARE", 1.0):
        return train(run, out, wide=True)


@pytest.mark.parametrize("share", [2, 3])
def test_skipped_samples_shrink_the_step_alike(run: RunConfig, tmp_path: Path, share: int) -> None:
    """Also where a rank has nothing left of its share: the loss divides by what all of them used."""
    skipping = replace(run, on_error="skip", batch_size=4, num_steps=6)
    whole = train_with_broken(skipping, tmp_path / "whole", None, share)
    assert whole["state"]["skipped_samples"] > 0
    ranks = on_ranks(4, train_with_broken, skipping, tmp_path / "run", None, share, out=tmp_path)
    assert merged(ranks) == merged([whole])
    assert any(not step for rank in ranks for step in rank["samples"])
    for rank in ranks:
        assert rank["state"] == whole["state"]
        for mine, other in zip(rank["losses"], whole["losses"], strict=True):
            assert mine == pytest.approx(other, rel=1e-6)


def test_a_signal_to_one_rank_stops_all_after_the_same_step(run: RunConfig, tmp_path: Path) -> None:
    found = on_ranks(2, stopped, run, tmp_path / "run", out=tmp_path)
    assert [kind for kind, _ in (rank["error"] for rank in found)] == ["RunInterruptedError"] * 2
    assert [p.name for p in (tmp_path / "run" / "state").iterdir()] == ["step-00000002"]
    # And it goes on, alone, to the end.
    assert fit(run, tmp_path / "run", progress=False).metrics
    assert read_json(tmp_path / "run" / "meta.json")["finished"]


def stopped(run: RunConfig, out: Path) -> None:
    def stop(report: Any) -> None:
        if os.environ["RANK"] == "1" and report.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    fit(run, out, progress=False, on_step=stop)


@pytest.mark.parametrize("number", [2, 4])
def test_every_sample_is_scored_once_whatever_the_number_of_ranks(run: RunConfig, tmp_path: Path, number: int) -> None:
    whole = scores(run)
    assert {name: len(set(found["ids"])) for name, found in whole.items()} == {
        name: found["size"] for name, found in whole.items()
    }
    for found in on_ranks(number, scores, run, out=tmp_path):
        assert found == whole  # to the last bit: a batch holds the same clips


def scores(run: RunConfig) -> dict[str, Any]:
    """Score a model of random weights in batches of 5, which leave a short one, and some ranks without any."""
    tasks = {config.name: build_task(config, preprocess=run.preprocess) for config in run.tasks}
    torch.manual_seed(0)
    model = VideoModel(run.backbone, {name: task.head for name, task in tasks.items()})
    for head in model.heads.values():
        torch.nn.init.normal_(head.linear.weight)
    found = {}
    with joined("cpu") as world:
        for name, task in tasks.items():
            dataset = task_dataset(task, "val", training=False)
            result = evaluate_task(model, task, dataset, batch_size=5, device=world.device, ranks=world)
            found[name] = {
                "ids": list(result.sample_ids),
                "scores": np.asarray(result.scores, dtype=np.float64).tolist(),
                "targets": result.targets.tolist(),
                "metrics": result.metrics,
                "size": len(dataset),
            }
    return found
