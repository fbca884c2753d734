"""``tubelet train`` and ``evaluate`` as a user types them: options of every run, stages, and every mistake one line."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from cli_calls import call
from safetensors.torch import load_file

from tubelet.models.saved import read_meta
from tubelet.records import read_json, write_json
from tubelet.train.log import read_rows
from tubelet.train.session import MAX_SKIPPED_SHARE, SHARE_FLOOR

TINY = ("--size", "tiny")
SETTINGS = ("num_epochs=null", "num_steps=3", "mixture=mixed", "optim.ema_decay=0.5", "tasks.localise.loss_weight=2")
MIXED = tuple(word for setting in SETTINGS for word in ("--set", setting))


@pytest.fixture(scope="module")
def trained(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps, with the weights' average and both kinds of task in every step."""
    out = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        train = ("train", "cofinetune", "--playground", squares, *TINY, "--out", out, "--num-workers", 0)
        assert call(patch, *train, *MIXED, "--eval-every-steps", 2, "--checkpoint-every-steps", 1) == 0
    return out


def test_options_of_every_run_and_settings_reach_the_run(trained: Path) -> None:
    config = read_meta(trained)["config"]
    assert (config["num_workers"], config["num_steps"], config["num_epochs"]) == (0, 3, None)
    assert (config["mixture"], config["optim"]["ema_decay"]) == ("mixed", 0.5)
    assert [task["loss_weight"] for task in config["tasks"]] == [1.0, 1.0, 2.0]
    assert config["eval_every_steps"] == 2
    rows = read_rows(trained / "metrics.jsonl")
    assert [row["step"] for row in rows if "metrics" in row] == [2, 3]
    first = [row["task"] for row in rows if row["step"] == 1 and "task" in row]
    assert len(first) > 1  # a step of several tasks
    seen = [row["mixture"] for row in rows if "mixture" in row][-1]
    assert sum(task["clips seen"] for task in seen.values()) == 3 * 8
    assert sum(task["share"] for task in seen.values()) == pytest.approx(1)


def test_the_average_of_the_weights_is_what_is_published(trained: Path) -> None:
    published = load_file(trained / "model.safetensors")
    pieces = [load_file(path) for path in sorted((trained / "state/step-00000003").glob("*.safetensors"))]
    held = {name: tensor for piece in pieces for name, tensor in piece.items()}
    name = "backbone.spatial.blocks.0.mlp_in.weight"
    own = next(tensor for key, tensor in held.items() if key.startswith("model/") and name in key)
    average = next(tensor for key, tensor in held.items() if key.startswith("averaged/") and name in key)
    assert torch.equal(published[name], average.view_as(published[name]))
    assert not torch.equal(own, average)


def test_a_step_is_replayed(monkeypatch, capsys, trained: Path, squares: Path) -> None:
    copy = trained.parent / "copy"
    shutil.copytree(trained, copy)
    shutil.rmtree(copy / "state/step-00000003")
    meta = read_json(copy / "meta.json")
    write_json(copy / "meta.json", meta | {"finished": False, "step": 2})
    before = sorted((path, path.stat().st_mtime_ns) for path in copy.rglob("*") if path.is_file())
    replay = ("train", "cofinetune", "--playground", squares, *TINY, "--out", copy, "--replay-step", 3, *MIXED)
    assert call(monkeypatch, *replay) == 0
    shown = capsys.readouterr().out
    loss = next(row["loss"] for row in read_rows(trained / "metrics.jsonl") if row["step"] == 3 and "task" in row)
    assert f"{loss:.6g}"[:5] in shown
    assert sorted((path, path.stat().st_mtime_ns) for path in copy.rglob("*") if path.is_file()) == before


def test_stages_start_from_each_other(monkeypatch, capsys, squares: Path, tmp_path: Path) -> None:
    options = ("--playground", squares, *TINY, "--out", tmp_path, "--num-workers", 0, "--set", "num_epochs=0.5")
    assert call(monkeypatch, "train", "transfer", *options) == 0
    folders = [tmp_path / f"{n}-transfer_{name}" for n, name in enumerate(("kinetics", "moments", "localise"), 1)]
    assert [read_meta(folder)["config"]["init_from"] for folder in folders[1:]] == [str(f) for f in folders[:2]]
    assert "localise/val/mAP" in capsys.readouterr().out
    assert call(monkeypatch, "train", "transfer", *options, "--replay-step", 1) == 2
    assert "--replay-step is for one run, and transfer has 3 stages" in capsys.readouterr().err


def test_the_backbone_of_fc_only_stays_as_it_was(monkeypatch, squares: Path, trained: Path, tmp_path: Path) -> None:
    options = ("--manifests", squares / "manifests/kinetics", "--init-from", trained, "--num-workers", 0)
    frozen = ("--set", "optim.frozen_backbone=true", "--num-epochs", 0.7, "--out", tmp_path / "fc")
    assert call(monkeypatch, "train", "finetune", *options, *frozen) == 0
    before, after = load_file(trained / "model.safetensors"), load_file(tmp_path / "fc/model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("backbone."))
    assert after["heads.kinetics.linear.weight"].abs().max() > 0


def test_the_help_says_what_skipping_allows(monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert call(monkeypatch, "train", "cofinetune", "--help") == 0
    assert "when more than 1 % of its samples are (of the first thousand: more than ten)" in capsys.readouterr().out
    assert (MAX_SKIPPED_SHARE, MAX_SKIPPED_SHARE * SHARE_FLOOR) == (0.01, 10)


def manifest_without(squares: Path, out: Path, split: str) -> Path:
    """Return a copy of the localisation set without a split."""
    shutil.copytree(squares / "manifests/localise", out / "manifests/localise")
    (out / "videos").symlink_to(squares / "videos")
    clips = pq.read_table(out / "manifests/localise/clips.parquet")
    keep = [value != split for value in clips.column("split").to_pylist()]
    kept = clips.filter(keep)
    pq.write_table(kept, out / "manifests/localise/clips.parquet")
    boxes = pq.read_table(out / "manifests/localise/boxes.parquet")
    ids = set(kept.column("clip_id").to_pylist())
    pq.write_table(
        boxes.filter([value in ids for value in boxes.column("clip_id").to_pylist()]),
        out / "manifests/localise/boxes.parquet",
    )
    return out / "manifests/localise"


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that was said on standard error."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tubelet: ")]
    return line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--manifests", "nowhere"), "nowhere/manifest.json: not found"),
        (("--num-epochs", 0), "num_epochs must be above 0, found 0.0"),
        (("--accumulation-steps", 3), "batch_size is 16, expected a multiple of 3 (processes x accumulation_steps)"),
        (
            ("--eval-split", "vla"),
            "no clip is in split 'vla'; the manifest has test, train, val (task localise, eval_split",
        ),
        (("--set", "optim.momentm=0.9"), "OptimConfig has no option 'momentm'; did you mean 'momentum'?"),
        (("--set", "optm.momentum=0.9"), "optm.momentum: no option 'optm'; did you mean 'optim'?"),
        (("--set", "tasks.localize.loss_weight=2"), "no option 'localize'; did you mean 'localise'?"),
        (("--set", "seed=often"), "seed: expected int, found 'often'"),
        (("--set", "seed"), "seed: expected place=value"),
        (("--set", "backbone.size=32"), "the backbone takes 8 frames of 32 px, but preprocess gives 8 of 64"),
        (("--set", "mixture=mixd"), "mixture: expected one of weighted, alternating, sequential, mixed, found 'mixd'"),
        (("--set", "tasks.localise.boxes=detected"), "no detected boxes"),
        (("--set", "init_from=nowhere"), "nowhere: neither a run folder, nor a .safetensors file, nor published"),
        (("--set", "init_from=hf_in21k_vit_bb"), "did you mean 'hf_in21k_vit_b'?"),
        (("--set", "init_skip=[]"), "unexpected: heads.kinetics.linear.bias, heads.kinetics.linear.weight"),
        (
            ("--set", "backbone.dim=48", "--set", "backbone.num_heads=3"),
            "weights do not fit: missing: none; unexpected: none",
        ),
        (("--track", "wandb"), "the package wandb is not installed"),
        (("--device", "cuda:99x"), "device 'cuda:99x' is not one torch knows"),
    ],
)
def test_a_mistake_in_training_is_one_line(
    monkeypatch, capsys, squares: Path, trained: Path, tmp_path: Path, options: tuple[object, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    out = tmp_path / "out"
    base = ["--init-from", trained, "--out", out, "--num-workers", 0]
    if "--manifests" not in options:
        base += ["--manifests", squares / "manifests/localise"]
    assert call(monkeypatch, "train", "finetune", *base, *options) == 2
    line = said(capsys)
    assert expected in line
    assert len(line) < 700
    assert not (out / "model.safetensors").exists()


def test_a_manifest_without_a_val_split_says_how_to_choose_another(
    monkeypatch, capsys, squares, trained, tmp_path
) -> None:
    manifest = manifest_without(squares, tmp_path, "val")
    train = ("train", "finetune", "--manifests", manifest, "--init-from", trained, "--out", tmp_path / "out")
    assert call(monkeypatch, *train) == 2
    assert "no clip is in split 'val'; the manifest has test, train (task localise, eval_split 'val')" in said(capsys)
    assert call(monkeypatch, *train, "--eval-split", "test", "--num-epochs", 0.3, "--num-workers", 0) == 0


def test_labels_outside_the_head_are_one_line(monkeypatch, capsys, squares, trained, tmp_path) -> None:
    shutil.copytree(squares / "manifests/kinetics", tmp_path / "manifests/kinetics")
    (tmp_path / "videos").symlink_to(squares / "videos")
    path = tmp_path / "manifests/kinetics/clips.parquet"
    clips = pq.read_table(path)
    labels = clips.column("labels").to_pylist()
    labels[4] = [7]
    place = clips.schema.get_field_index("labels")
    pq.write_table(
        clips.set_column(place, clips.schema.field(place), pa.array(labels, clips.schema.field(place).type)), path
    )
    train = ("train", "finetune", "--manifests", tmp_path / "manifests/kinetics", "--init-from", trained)
    assert call(monkeypatch, *train, "--out", tmp_path / "out") == 2
    assert "row 4: labels is [7], expected columns 0..2 of label space 'colours'" in said(capsys)


def test_a_folder_of_another_recipe_or_a_broken_checkpoint_is_one_line(
    monkeypatch, capsys, squares, trained, tmp_path
) -> None:
    recipe = ("--playground", squares, *TINY, "--num-workers", 0)
    assert call(monkeypatch, "train", "localise_only", *recipe, "--out", trained) == 2
    assert "holds another run, which differs in name: 'cofinetune' there" in said(capsys)
    out = tmp_path / "broken"
    shutil.copytree(trained, out)
    write_json(out / "meta.json", read_json(out / "meta.json") | {"finished": False})
    for state in (out / "state").iterdir():
        piece = next(state.glob("*.safetensors"))
        piece.write_bytes(piece.read_bytes()[:-100])
    assert call(monkeypatch, "train", "cofinetune", *recipe, "--out", out, *MIXED) == 2
    assert "damaged" in said(capsys)


def test_evaluate_refuses_before_it_works(monkeypatch, capsys, trained: Path, tmp_path: Path) -> None:
    monkeypatch.setattr("tubelet.train.evaluate.evaluate_run", lambda *a, **k: pytest.fail("worked first"))
    (tmp_path / "file").write_text("x")
    for options, expected in (
        (("--task", "kinetics", "--boxes", "annotated"), "--boxes and --box-threshold are for localisation"),
        (("--task", "kinetics", "moments", "--box-threshold", 0.5), "but kinetics, moments classify whole clips"),
        (("--json", tmp_path), "a folder, expected a file to write"),
        (("--json", tmp_path / "file/x.json"), "cannot be written"),
        (("--detections", tmp_path / "file/x.csv"), "cannot be written"),
    ):
        assert call(monkeypatch, "evaluate", trained, *options) == 2
        assert expected in said(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_numbers_go_where_they_were_asked_for(monkeypatch, trained: Path, tmp_path: Path) -> None:
    numbers = tmp_path / "new/folder/n.json"
    assert call(monkeypatch, "evaluate", trained, "--task", "moments", "--json", numbers) == 0
    assert "moments/val/top1" in json.loads(numbers.read_text())
