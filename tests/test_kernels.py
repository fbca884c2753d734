"""Compiled loops where neither the package's folder nor the home folder can be written to."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import tubelet

RENDER = """
import multiprocessing, os, sys
import numba, numpy as np
from tubelet.playground.raster import average_down

def main():
    image = np.full((2, 2, 3), 7, dtype=np.uint8)
    out, out_ids = np.zeros((1, 1, 3), dtype=np.uint8), np.zeros((1, 1), dtype=np.uint8)
    average_down(image, np.ones((2, 2), dtype=np.uint8), out, out_ids)
    assert out.tolist() == [[[7, 7, 7]]] and out_ids.tolist() == [[1]]
    hits = sum(average_down.stats.cache_hits.values())
    print(numba.config.CACHE_DIR, os.path.isdir(numba.config.CACHE_DIR), hits, flush=True)

if __name__ == "__main__":
    main()
    worker = multiprocessing.get_context("spawn").Process(target=main)
    worker.start()
    worker.join()
    sys.exit(worker.exitcode)
"""


def test_a_read_only_installation_compiles_into_a_folder_of_the_run(tmp_path: Path) -> None:
    source = Path(tubelet.__file__).parent
    for name in ("__init__.py", "defaults.py", "kernels.py", "playground/__init__.py", "playground/raster.py"):
        (tmp_path / "site/tubelet" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, tmp_path / "site/tubelet" / name)
    # A file where numba wants a folder: also root, who may write into any folder, cannot.
    (tmp_path / "site/tubelet/playground/__pycache__").touch()
    script = tmp_path / "render.py"
    script.write_text(RENDER)
    nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache", "TMPDIR": str(tmp_path)}
    environment = os.environ | nowhere | {"PYTHONPATH": str(tmp_path / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ours, workers = (line.split() for line in done.stdout.splitlines())
    assert ours[1:] == ["True", "0"]
    assert workers == [ours[0], "True", "1"]  # one folder for both; the worker did not compile again
    assert ours[0].startswith(str(tmp_path))
    assert not Path(ours[0]).exists()
