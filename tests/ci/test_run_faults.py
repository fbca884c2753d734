"""A training run under the faults of ``benchmarks/faults.py``, each a few times."""

from types import ModuleType
from typing import Any

import pytest
from faulted import assert_held

pytestmark = pytest.mark.ci


def test_a_stopped_run_says_so_and_goes_on(faults: ModuleType, faulted_place: Any) -> None:
    assert_held(faults.signals(faulted_place, 1))


def test_a_full_disk_leaves_the_checkpoint_before(faults: ModuleType, faulted_place: Any) -> None:
    assert_held(faults.full_disk(faulted_place, 1))


def test_dead_loader_processes_cost_nothing(faults: ModuleType, faulted_place: Any) -> None:
    assert_held(faults.dead_workers(faulted_place, 3))


@pytest.mark.parametrize("name", ["damage", "not_finite", "other_world_sizes", "missing_video"])
def test_other_faults(faults: ModuleType, faulted_place: Any, name: str) -> None:
    assert_held(faults.FAULTS[name](faulted_place))
