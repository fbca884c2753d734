"""A run that recomputes its activations ends with the weights of one that keeps them, and may change over half way."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.recipes.playground import cofinetune
from tubelet.train.config import RunConfig
from tubelet.train.estimate import estimate
from tubelet.train.fit import fit
from tubelet.train.folder import check_same_run


@pytest.mark.parametrize("family", ["vivit", "resnet3d"])
def test_the_same_weights_and_an_option_of_the_machine(squares: Path, tmp_path: Path, family: str) -> None:
    run: RunConfig = replace(
        cofinetune(squares, size="tiny"), num_epochs=None, num_steps=2, num_workers=0, batch_size=2
    )
    if family == "vivit":
        run = replace(run, backbone=replace(run.backbone, stochastic_depth=0.5))  # type: ignore[call-arg]
    else:
        size, num_frames = run.preprocess.size, run.preprocess.num_frames
        run = replace(run, backbone=ResNet3DConfig(depth=18, convolution="2plus1d", size=size, num_frames=num_frames))
    saving = replace(run, recompute_activations=True)
    for config, name in ((run, "kept"), (saving, "recomputed")):
        fit(config, tmp_path / name, progress=False)
    kept, recomputed = (load_file(tmp_path / name / "model.safetensors") for name in ("kept", "recomputed"))
    assert kept.keys() == recomputed.keys()
    assert [name for name, value in kept.items() if not torch.equal(value, recomputed[name])] == []
    check_same_run(saving, tmp_path / "kept")


def test_a_dry_run_says_what_it_saves(squares: Path) -> None:
    run = cofinetune(squares, size="tiny")
    taken = [
        estimate(
            run.backbone,
            clips_at_once=2,
            optimizer="sgd",
            averaged=False,
            frozen=False,
            recompute=recompute,
            device=torch.device("cpu"),
            precision="auto",
        )
        for recompute in (False, True)
    ]
    assert taken[1].activations_gib < taken[0].activations_gib / 3
    assert taken[1].weights_gib == taken[0].weights_gib
