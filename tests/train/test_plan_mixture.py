"""From a run's options to its mixture; three sets of 12 examples each."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tubelet.data.dataset import ClipDataset
from tubelet.recipes.playground import cofinetune
from tubelet.train.config import RunConfig
from tubelet.train.data import open_data, plan_mixture
from tubelet.types import InputError


@pytest.fixture(scope="module")
def run(squares: Path) -> RunConfig:
    return replace(cofinetune(squares, size="tiny"), num_epochs=None, num_steps=30, batch_size=4)


@pytest.fixture(scope="module")
def datasets(run: RunConfig) -> dict[str, ClipDataset]:
    return open_data(run).datasets


def with_tasks(run: RunConfig, **options: dict[str, Any]) -> RunConfig:
    return replace(run, tasks=tuple(replace(task, **options.get(task.name, {})) for task in run.tasks))


def test_weights_and_temperature_reach_the_mixture(run: RunConfig, datasets: dict[str, ClipDataset]) -> None:
    weights = {name: {"mixture_weight": weight} for name, weight in (("kinetics", 1), ("moments", 2), ("localise", 5))}
    table = plan_mixture(with_tasks(run, **weights), datasets).table()
    assert {row.task: row.weight for row in table} == {"kinetics": 0.125, "moments": 0.25, "localise": 0.625}
    assert [row.expected_passes for row in table] == [30 * 4 * share / 12 for share in (0.125, 0.25, 0.625)]
    fewer = {name: dataset.holding(dataset.example(0)) for name, dataset in datasets.items()} | {
        "kinetics": datasets["kinetics"]
    }
    roots = plan_mixture(replace(run, mixture_temperature=2.0), fewer).table()
    assert [row.weight for row in roots] == pytest.approx([12**0.5 / (2 + 12**0.5), *[1 / (2 + 12**0.5)] * 2])
    with pytest.raises(InputError, match="mixture_weight is given for kinetics, not for"):
        plan_mixture(with_tasks(run, kinetics=weights["kinetics"]), datasets)


def test_strategy_and_class_sampling_reach_the_mixture(run: RunConfig, datasets: dict[str, ClipDataset]) -> None:
    uneven = {"kinetics": {"class_sampling": "repeat_factor", "repeat_threshold": 1.0}}
    mixture = plan_mixture(with_tasks(replace(run, mixture="mixed"), **uneven), datasets)
    turns = datasets["kinetics"].class_turns("repeat_factor", 1.0)
    assert turns is not None
    assert {row.task: row.pass_length for row in mixture.table()} == {
        "kinetics": turns.pass_length,
        "moments": 12,
        "localise": 12,
    }
    assert turns.pass_length > 12
    assert {len(mixture.parts(step)) for step in range(30)} == {2}  # two pairs of slots for three tasks
