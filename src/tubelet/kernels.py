"""How inner loops are compiled: once per machine, wherever a compiled copy can be kept."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import numba


def kernel(**options: Any) -> Callable[[Any], Any]:
    """Return the decorator of a compiled loop that releases the GIL; ``options`` are those of ``numba.njit``."""

    def decorate(function: Any) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:
            # Neither beside this package nor in the home folder: read-only containers and shared installations.
            _keep_for_this_run()
            return numba.njit(nogil=True, cache=True, **options)(function)

    return decorate


def _keep_for_this_run() -> None:
    """Give numba a new folder that goes when the process does; worker processes find it in the environment.

    New, because numba keeps pickles: a fixed name in the temporary folder could be filled by somebody else.
    """
    folder = tempfile.mkdtemp(prefix="tubelet-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = folder
    numba.config.CACHE_DIR = folder  # type: ignore[attr-defined]  # numba makes its settings' names as it starts
