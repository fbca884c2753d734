import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from moving_squares import build_moving_squares

# Tiny models gain nothing from threads, and threads that wait for a busy core make a test ten times as slow.
torch.set_num_threads(1)
# A shell's background job starts with Ctrl-C ignored, and what tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is said to be installed, a test that is skipped compares nothing."""
    report = yield
    expected = hasattr(report, "wasxfail")  # pytest counts an expected failure as skipped
    if report.skipped and not expected and "TUBELET_NO_SKIPS" in os.environ:
        report.outcome = "failed"
        report.longrepr = str(report.longrepr)
    return report


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out like a playground: two classification sets, posts, and one localisation set."""
    return build_moving_squares(tmp_path_factory.mktemp("squares"))
