"""The stored outputs of published models on random weights, and the scripts that made them."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[1] / "golden" / "weights"


def script(name: str) -> Any:
    """Import ``tests/golden/weights/NAME.py``."""
    spec = spec_from_file_location(f"golden_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}_outputs.npz") as held:
        return dict(held)
