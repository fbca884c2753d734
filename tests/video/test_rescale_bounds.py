"""The compiled loops with every index checked: what reads outside a plane need not be seen in a picture."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.ci
def test_no_index_lies_outside(tmp_path: Path) -> None:
    tests = [str(Path(__file__).with_name(name)) for name in ("test_convert.py", "test_luma.py")]
    checked = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        env=checked, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
