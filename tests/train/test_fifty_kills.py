"""A run that is killed fifty times, wherever it happens to be, ends with the same losses and the same weights."""

from types import ModuleType
from typing import Any

import pytest
from faulted import assert_held, faulted_place, faults

__all__ = ["faulted_place", "faults"]


@pytest.mark.slow
def test_fifty_kills_change_nothing(faults: ModuleType, faulted_place: Any) -> None:
    row = faults.kills(faulted_place, 50)
    assert_held(row)
    assert "0 kills inside" not in row["detail"], row
