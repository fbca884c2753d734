"""Twenty steps of the small recipes are what they were: a refactor must not change training."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"
FLOAT64_REL = 2e-4
"""Frames are resized to whole grey levels, which torch's kernels for other processors round to the other side now and
then: without AVX2 that changed a loss by 3e-5; with AVX2 instead of AVX-512 nothing above 1e-15."""
RECIPE_REL = 5e-3
"""In float32, and with Muon, which rounds to bfloat16, where a product on the other side moves a weight by 1/256 of its
step: AVX2 instead of AVX-512 changed a loss by up to 7e-4. Other samples or another rate change it by percents."""
NORMS = 10
"""Norms of gradients moved ten times as far as losses."""


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("training_curves", GOLDEN / "training_curves.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / "training_curves.json").read_text())
    return found


@pytest.mark.parametrize("recipe", script().RECIPES)
def test_a_small_recipe_trains_as_it_did(recipe: str, stored: dict[str, Any], squares: Path, tmp_path: Path) -> None:
    found = script().curve(squares, tmp_path, recipe, wide=False)
    assert found["tasks"] == stored[recipe]["tasks"]
    assert found["losses"] == pytest.approx(stored[recipe]["losses"], rel=RECIPE_REL)
    assert found["norms"] == pytest.approx(stored[recipe]["norms"], rel=NORMS * RECIPE_REL)


def test_co_finetuning_in_float64_trains_as_it_did(stored: dict[str, Any], squares: Path, tmp_path: Path) -> None:
    found = script().curve(squares, tmp_path, "cofinetune", wide=True)
    expected = stored["cofinetune in float64"]
    assert found["tasks"] == expected["tasks"]
    assert found["losses"] == pytest.approx(expected["losses"], rel=FLOAT64_REL)
    assert found["norms"] == pytest.approx(expected["norms"], rel=NORMS * FLOAT64_REL)
