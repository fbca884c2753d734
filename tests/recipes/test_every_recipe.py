"""Every named recipe builds and can be looked at without being trained; the papers' values are theirs."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tubelet.cli import main
from tubelet.models.saved import model_meta
from tubelet.recipes import RECIPES
from tubelet.recipes.clips import finetune_clips, pretrain_clips
from tubelet.recipes.own_data import finetune
from tubelet.recipes.playground import SETS, train_sets, transfer
from tubelet.records import read_json, write_json
from tubelet.train.config import PREVIOUS
from tubelet.types import InputError


@pytest.fixture(scope="module")
def playground(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The squares with every set of a playground: each that they lack is one that they have."""
    out = tmp_path_factory.mktemp("recipes") / "playground"
    shutil.copytree(squares, out, symlinks=True)
    for name in SETS:
        source = out / "manifests" / ("localise" if name == "single_keyframe" else "kinetics")
        if not (out / "manifests" / name).exists():
            shutil.copytree(source, out / "manifests" / name)
            about = out / "manifests" / name / "manifest.json"
            write_json(about, read_json(about) | {"name": name})
    return out


def arguments(name: str, playground: Path) -> list[str]:
    manifests = playground / "manifests"
    if name in ("finetune_clips", "pretrain_clips"):
        return ["--manifests", str(manifests / "kinetics"), "--model", "r2plus1d_18"]
    if name in ("cofinetune_ava", "transfer_ava"):
        sets = [str(manifests / "kinetics"), str(manifests / "localise")]
        return ["--manifests", *sets, "--boxes", "annotated", "--eval-boxes", "annotated", "--vivit", "nano"]
    if name == "paper_a":
        return ["--row", "2-cofinetune", "--data", str(manifests), "--scale", "mini"]
    if name == "paper_b":
        return ["--row", "14-kinetics-verb", "--data", str(manifests), "--scale", "mini"]
    if name == "finetune":
        return ["--manifests", str(manifests / "localise"), "--init-from", str(playground / "run")]
    return ["--playground", str(playground), "--size", "tiny"]


@pytest.fixture(scope="module")
def run_folder(playground: Path) -> Path:
    """What ``finetune`` reads of a run before it is trained."""
    run = RECIPES["cofinetune"](playground, size="tiny")
    assert not isinstance(run, tuple)
    meta = model_meta(
        recipe="x",
        backbone=run.backbone,
        preprocess=run.preprocess,
        heads={},
        extra={"finished": False, "step": 0, "num_steps": 9},
    )
    write_json(playground / "run" / "meta.json", meta)
    return playground / "run"


@pytest.mark.usefixtures("run_folder")
@pytest.mark.parametrize("name", RECIPES)
def test_dry_run(
    name: str, playground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing is timed here: the machine's speed is said to be too low for that.
    monkeypatch.setattr("tubelet.train.estimate.matrix_speed", lambda *_: 1e6)
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "out"
    monkeypatch.setattr(
        "sys.argv", ["tubelet", "train", name, *arguments(name, playground), "--out", str(out), "--dry-run"]
    )
    main()
    shown = capsys.readouterr().out
    for part in (
        "expected passes",
        "learning rate",
        "GMACs a clip",
        "of activations for",
        "of computing on cpu (guessed",
    ):
        assert part in shown, (name, part)
    assert not out.exists()
    assert shown.count("expected passes") == {"transfer": 3, "transfer_ava": 2, "paper_a": 2, "paper_b": 2}.get(name, 1)


def test_the_playgrounds_other_sets_are_reached(playground: Path) -> None:
    run = train_sets(playground, sets=("direction", "kitchen", "single_keyframe"), size="tiny", num_epochs=3.0)
    assert [Path(task.manifest).name for task in run.tasks] == ["direction", "kitchen", "single_keyframe"]
    assert run.num_epochs == 3.0
    with pytest.raises(InputError, match="no set 'kitchens' to train on; it has kinetics, "):
        train_sets(playground, sets=("kitchens",))


def test_transfer_names_the_stage_before(playground: Path) -> None:
    stages = transfer(playground, size="tiny", init_from=playground, seed=3)
    assert [run.name for run in stages] == ["transfer_kinetics", "transfer_moments", "transfer_localise"]
    assert [run.init_from for run in stages] == [str(playground), PREVIOUS, PREVIOUS]
    assert {run.seed for run in stages} == {3}


@pytest.mark.parametrize(("num_frames", "clips_per_gpu"), [(8, 16), (32, 6)])
def test_fine_tuning_has_paper_bs_values(playground: Path, num_frames: int, clips_per_gpu: int) -> None:
    manifest = playground / "manifests" / "kinetics"
    run = finetune_clips((manifest,), num_frames=num_frames, batch_size=64 * clips_per_gpu, learning_rate=0.00003)
    assert run.preprocess.exact_hw == (128, 171)
    assert (run.preprocess.size, run.preprocess.num_frames, run.preprocess.frame_stride) == (112, num_frames, 1)
    assert run.tasks[0].eval_num_views == 10
    # Table 8: 58 epochs, warm-up 16, LR per GPU 0.00003 x 16 nodes x 4 GPUs, [16, 16]; A.4: weight decay 0.0001.
    rates = run.rate_plan(64 * clips_per_gpu * 100)  # an epoch of 100 steps
    assert rates.num_steps == 5800
    assert run.optim.weight_decay == 0.0001
    peak = 0.00003 * 64
    assert [rates.at(s) / peak for s in (1600, 3199, 3200, 4799, 4800, 5799)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    assert rates.at(0) == pytest.approx(0.00003, rel=0.05)
    frozen = finetune_clips((manifest,), fc_only=True, init_from="x")
    assert frozen.optim.frozen_backbone
    assert frozen.init_from == "x"


def test_pre_training_has_paper_bs_values(playground: Path) -> None:
    run = pretrain_clips((playground / "manifests" / "kinetics",), num_frames=8, batch_size=2048, num_epochs=1.0)
    rates = run.rate_plan(2048 * 14000)
    assert rates.peak == pytest.approx(0.192)
    assert rates.at(13999) == pytest.approx(0.192 / 2**13)
    assert run.tasks[0].labels == "one"
    small = pretrain_clips((playground / "manifests" / "kinetics",), batch_size=16)
    assert small.rate_plan(10**6).peak == pytest.approx(0.192 / 128)


@pytest.mark.parametrize("model", ["r3d_18", "vivit_fe_ti16x2", "vivit_nano16x2", "r2d_50"])
def test_any_backbone_takes_the_input(playground: Path, model: str) -> None:
    run = finetune_clips((playground / "manifests" / "moments",), model=model)
    assert (run.backbone.size, run.backbone.num_frames) == (112, 8)


def test_published_weights_must_become_a_run_folder_first(playground: Path) -> None:
    with pytest.raises(InputError, match="hf_in21k_vit_b: published weights; tubelet weights convert hf_in21k_vit_b "):
        finetune((playground / "manifests" / "kinetics",), init_from=Path("hf_in21k_vit_b"))


def test_no_manifest_is_one_line() -> None:
    for recipe in (finetune_clips, pretrain_clips):
        with pytest.raises(InputError, match="needs at least one manifest folder"):
            recipe(())


def test_recipes_take_no_option_of_every_run() -> None:
    from tubelet.cli.training import SweepOptions, TrainOptions, options_of, with_run_options

    def greedy(num_workers: int = 3) -> Any:
        """Take an option that is not a recipe's."""

    for recipe in RECIPES.values():
        options_of(recipe, with_run_options(TrainOptions))
        options_of(recipe, with_run_options(SweepOptions))
    with pytest.raises(InputError, match="'num_workers' is an option of every run"):
        options_of(greedy, with_run_options(TrainOptions))
