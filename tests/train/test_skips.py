"""When too much of a run cannot be read."""

import pytest

from tubelet.train.session import PartCounts, RunState, check_skips
from tubelet.types import InputError


def step_of(used: int, skipped: int) -> PartCounts:
    return PartCounts(task="a", samples=used, skipped_samples=skipped, losses=used, clamped_frames=0, dropped_boxes=0)


def before(used: int, skipped: int) -> RunState:
    return RunState(samples={"a": used - used // 2, "b": used // 2}, skipped_samples=skipped)


def test_skipping_stops_above_a_share() -> None:
    """11 of the first 1000 or fewer are more than 1 %; later it is 1 % of all. A step must have a sample left."""
    check_skips(0, before(0, 50), [step_of(4, 0)])  # told when it happened
    for step in range(10):
        check_skips(step, before(3 * step, step), [step_of(3, 1)])
    with pytest.raises(InputError, match="step 11: 11 of 44 samples could not be read, more than 1%; the warnings"):
        check_skips(10, before(30, 10), [step_of(3, 1)])
    check_skips(0, before(4947, 49), [step_of(3, 1)])
    with pytest.raises(InputError, match="51 of 5004"):
        check_skips(0, before(4950, 50), [step_of(3, 1)])
    with pytest.raises(InputError, match="step 3 has no sample left, all 4 could not be read; the warnings"):
        check_skips(2, before(9000, 0), [step_of(0, 2), step_of(0, 2)])
    check_skips(2, before(9000, 0), [step_of(0, 2), step_of(1, 2)])


def test_a_step_is_added_to_what_the_run_has_met() -> None:
    state = before(5, 1)
    part = PartCounts(task="b", samples=4, skipped_samples=2, losses=9, clamped_frames=3, dropped_boxes=7)
    state.add([part, step_of(1, 0)])
    assert state == RunState(samples={"a": 4, "b": 6}, skipped_samples=3, clamped_frames=3, dropped_boxes=7)
    assert part.num_slots == 6
