"""Signals between two steps: which are noted, and what a second one does."""

import signal

import pytest

from tubelet.train import interrupt
from tubelet.train.interrupt import RunInterruptedError, deferred_signals


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_the_first_signal_is_noted_and_sent_again_changes_nothing(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with deferred_signals() as stop:
        assert stop.signal_number is None
        signal.raise_signal(number)
        signal.raise_signal(number)  # torchrun passes on what the scheduler has sent already
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal_number == number
    assert signal.getsignal(number) == before


def press_three_times(now: list[float]) -> None:
    with deferred_signals() as stop:
        signal.raise_signal(signal.SIGINT)
        now[0] += interrupt.SAME_CTRL_C_SECONDS
        signal.raise_signal(signal.SIGINT)
        assert stop.signal_number == signal.SIGINT
        now[0] += 0.1
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it was only noted")


def test_a_second_ctrl_c_acts_at_once_when_it_is_not_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("tubelet.train.interrupt.time.monotonic", lambda: now[0])
    with pytest.raises(KeyboardInterrupt):
        press_three_times(now)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_the_exit_status_says_which_signal_it_was(number: signal.Signals, status: int) -> None:
    assert RunInterruptedError("stopped", signal_number=number).exit_status == status
