"""A run whose model sees squares of scaled frames: one value decides training, scoring and inference."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tubelet.data.manifest import read_manifest
from tubelet.evals.views import Views
from tubelet.inference.classify import classify
from tubelet.inference.pipeline import Localiser
from tubelet.models.saved import load_model
from tubelet.recipes.playground import cofinetune
from tubelet.records import read_json, write_json
from tubelet.train.config import RunConfig
from tubelet.train.evaluate import evaluate_run
from tubelet.train.fit import fit
from tubelet.types import Fit, InputError, Preprocess
from tubelet.video.augmentations import Augment

STILL = Augment(scale_range=(1.0, 1.0))


@pytest.fixture(scope="module")
def run(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Paper B's way in small: 48x64 scaled to an exact size, strides in frames of the file, decoded frames kept."""
    run = cofinetune(squares, size="tiny")
    size = run.preprocess.size
    return replace(
        run,
        num_epochs=None,
        num_steps=3,
        num_workers=0,
        preprocess=replace(run.preprocess, fps=0.0, frame_stride=2, exact_hw=(size + 16, 2 * size)),
        tasks=tuple(replace(task, augment=STILL) for task in run.tasks),
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )


@pytest.fixture(scope="module")
def trained(run: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "squares"
    fit(run, out, progress=False)
    with_loud_heads(out)
    return out


def with_loud_heads(folder: Path) -> None:
    """Give the heads random weights: those of a few steps answer alike whatever they see."""
    tensors = load_file(folder / "model.safetensors")
    noise = torch.Generator().manual_seed(0)
    loud = {
        name: torch.randn(tensor.shape, generator=noise) if name.startswith("heads.") else tensor
        for name, tensor in tensors.items()
    }
    save_file(loud, folder / "model.safetensors")


def test_scoring_and_inference_take_the_runs_input(run: RunConfig, trained: Path, squares: Path) -> None:
    assert load_model(trained).preprocess == run.preprocess
    again = evaluate_run(trained)
    many = evaluate_run(trained, tasks=("kinetics",), num_views=2, crops="three")["kinetics"]
    assert str(many.views) == "2 x three"
    assert abs(many.scores - again["kinetics"].scores).max() > 1e-6
    whole = evaluate_run(trained, crops="whole")  # twice as wide as high: positions are interpolated
    assert whole["localise"].num_boxes_outside == 0
    assert again["localise"].num_boxes_outside >= 0
    loaded = load_model(trained)
    video = read_manifest(squares / "manifests/kinetics").media_root / f"{many.sample_ids[0]}.mp4"
    found = classify(video, loaded, task="kinetics", num_views=2, crops="three")
    assert found == pytest.approx(many.scores[0], abs=2e-3)  # another size of batch rounds otherwise
    assert len(list(Localiser(loaded)(squares / "videos/localise/val-0.mp4"))) > 1


def test_larger_frames_are_said_with_the_number(run: RunConfig, trained: Path) -> None:
    size = run.preprocess.size
    larger = Fit(size=2 * size, short_side=2 * size)
    result = evaluate_run(trained, tasks=("kinetics",), fit=larger, more=Views(dense=True))["kinetics"]
    shown = f"{2 * size} x {2 * size} of frames of a shorter side of {2 * size}"
    assert str(result.views) == f"1 x {result.views.crops}, {shown}, at every place"


def test_a_cached_run_scores_as_one_that_decodes(trained: Path, tmp_path: Path) -> None:
    for name in ("meta.json", "model.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    meta = read_json(tmp_path / "meta.json")
    meta["config"]["cache_dir"] = None
    write_json(tmp_path / "meta.json", meta)
    for task, result in evaluate_run(tmp_path).items():
        assert (result.scores == evaluate_run(trained, tasks=(task,))[task].scores).all()


def test_a_run_from_before_these_options_is_a_letterbox(squares: Path, tmp_path: Path) -> None:
    run = replace(cofinetune(squares, size="tiny"), num_epochs=None, num_steps=1, num_workers=0)
    fit(run, tmp_path, progress=False)
    with_loud_heads(tmp_path)
    meta = read_json(tmp_path / "meta.json")
    scores = evaluate_run(tmp_path, tasks=("localise",))["localise"].scores
    assert scores.std() > 0.01
    for part in (meta["preprocess"], meta["config"]["preprocess"]):
        for option in ("exact_hw", "short_side"):
            del part[option]
    for task in meta["config"]["tasks"]:
        del task["augment"]["batch"], task["eval_num_views"], task["eval_crops"]
    write_json(tmp_path / "meta.json", meta)
    assert load_model(tmp_path).preprocess.fit.is_letterbox
    assert (evaluate_run(tmp_path, tasks=("localise",))["localise"].scores == scores).all()
    assert fit(run, tmp_path, progress=False).metrics == meta["metrics"]  # and goes on as the same run


def test_whole_frames_that_do_not_fit_the_patches_are_one_line(run: RunConfig, trained: Path, tmp_path: Path) -> None:
    for name in ("meta.json", "model.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    meta = read_json(tmp_path / "meta.json")
    size: Preprocess = run.preprocess
    meta["config"]["preprocess"]["exact_hw"] = [size.size, size.size + 3]
    write_json(tmp_path / "meta.json", meta)
    with pytest.raises(InputError, match=r"video has shape .*, expected T a multiple of"):
        evaluate_run(tmp_path, tasks=("kinetics",), crops="whole")
