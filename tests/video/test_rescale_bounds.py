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


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_no_byte_outside_a_plane_is_touched() -> None:
    """The steps of ``vectors.py`` check nothing: planes lie next to pages that end the process."""
    script = Path(__file__).with_name("guarded_planes.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "all inside\n"), done.stderr[-2000:]
