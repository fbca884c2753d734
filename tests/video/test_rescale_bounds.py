"""The compiled loops with every index checked: what reads outside a plane need not be seen in a picture."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tubelet.video.rescale import area_filter, plane_filter
from tubelet.video.rescale_loops import BLOCK, LANES


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
    """The steps of ``rescale_loops.py`` check nothing: planes lie next to pages that end the process."""
    script = Path(__file__).with_name("guarded_planes.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "all inside\n"), done.stderr[-2000:]


@pytest.mark.parametrize("source", [1, 2, 5, 15, 16, 17, 40, 171, 1080])
def test_filters_name_no_sample_outside_a_plane(source: int) -> None:
    """``combine_columns`` reads from each first column on as many as there are weights: room is for all with weight."""
    for wanted in (1, 2, 7, 16, 33, 112, 2000):
        whole = plane_filter((source, source), (wanted, wanted), (0, 0, wanted, wanted), (0.25, -0.25))
        corner = plane_filter((source, source), (wanted, wanted), (wanted - 1, wanted - 1, 1, 1))
        for found in (whole, corner, area_filter((source, source), wanted)):
            first, width, height, num_above, columns, num_across = found.places[:6].tolist()
            above, left = np.split(found.places[6:], [height * num_above])
            assert height % LANES == 0
            assert 0 <= above.min() <= above.max() < source
            assert 0 <= first < first + width <= source
            assert width >= min(BLOCK, source)
            assert len(left) == columns
            assert 0 <= left.min() <= left.max() < width
            assert len(found.weights) == len(above) + columns * num_across
