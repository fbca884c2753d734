"""The faults of ``benchmarks/faults.py``, for the tests that make them happen."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="session")
def faults() -> Iterator[ModuleType]:
    """The module; its own imports lie beside it."""
    sys.path.insert(0, str(FOLDER))
    try:
        import faults

        yield faults
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="session")
def faulted_place(faults: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Data and an undisturbed run."""
    with faults.prepared(tmp_path_factory.mktemp("faults")) as place:
        yield place


def assert_held(row: dict[str, Any]) -> None:
    assert row["times"] > 0, row
    assert row["as promised"] == row["times"], row
