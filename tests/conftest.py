import signal
from pathlib import Path

import pytest
import torch
from moving_squares import build_moving_squares

# Tiny models gain nothing from threads, and threads that wait for a busy core make a test ten times as slow.
torch.set_num_threads(1)
# A shell's background job starts with Ctrl-C ignored, and what tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out like a playground: two classification sets, posts, and one localisation set."""
    return build_moving_squares(tmp_path_factory.mktemp("squares"))
