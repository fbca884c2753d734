"""Stored files and outputs of published models on random weights, the networks they are of, and their scripts."""

from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tubelet.models.vivit import ViViTConfig
from tubelet.models.weights import WEIGHTS, PublishedHead
from tubelet.types import Preprocess

FOLDER = Path(__file__).parent / "golden" / "weights"
PICTURE = ViViTConfig(
    size=24,
    patch=8,
    dim=24,
    num_heads=3,
    spatial_layers=2,
    temporal_layers=0,
    num_frames=1,
    tubelet=1,
    aggregation="spatial_only",
    pooling="class_token",
)
"""Of ``original_vit.npz`` and, with the exact GELU, ``timm_vit.safetensors``."""
JOINT = replace(PICTURE, num_frames=8, tubelet=2, aggregation="joint")
"""Of ``scenic_joint.msgpack``."""
FE = replace(JOINT, temporal_layers=3, aggregation="frame_token", pooling="mean")
"""Of ``scenic_fe.msgpack``."""


def small_input(num_frames: int) -> Preprocess:
    return Preprocess(size=24, num_frames=num_frames, frame_stride=1, fps=25.0)


def enter_small_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put ``small_image`` and ``small_video`` into the table: published entries, of the size of the stored files."""
    image = replace(WEIGHTS["original_in21k_vit_b"], backbone=PICTURE, preprocess=small_input(1))
    heads = (PublishedHead(task="noun", num_classes=8), PublishedHead(task="verb", num_classes=3))
    video = replace(WEIGHTS["scenic_epic_vivit_l_fe"], backbone=FE, heads=heads, preprocess=small_input(8))
    monkeypatch.setitem(WEIGHTS, "small_image", image)
    monkeypatch.setitem(WEIGHTS, "small_video", video)


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
