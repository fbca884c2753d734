"""The commands as a user types them, and the mistakes a user makes: one line, exit status 2, nothing half-written."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_calls import call

from tubelet.cli import COMMANDS
from tubelet.data.ava_csv import read_ava_csv
from tubelet.data.manifest import read_manifest
from tubelet.data.sources.importers import IMPORTERS
from tubelet.inference.shipped import SHIPPED_MODEL
from tubelet.train.evaluate import evaluate_run, run_config
from tubelet.types import InputError

VIDEO = "videos/localise/test-0.mp4"


@pytest.fixture(scope="module")
def run_folder(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    command = ["train", "cofinetune", "--playground", squares, "--size", "tiny", "--out", out]
    done = subprocess.run(
        [sys.executable, "-m", "tubelet", *map(str, command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "localise/val/mAP" in done.stdout
    return out


def test_every_command_explains_itself(monkeypatch, capsys):
    assert call(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)
    for name in ("demo", "localise", "evaluate"):
        assert call(monkeypatch, name, "--help") == 0
        assert "usage: tubelet " + name in capsys.readouterr().out


def test_every_source_explains_its_options(monkeypatch, capsys):
    assert call(monkeypatch, "data", "import") == 0
    listed = capsys.readouterr().out
    assert all(source in listed for source in IMPORTERS)
    for source, function in IMPORTERS.items():
        assert call(monkeypatch, "data", "import", source, "--help") == 0
        shown = capsys.readouterr().out
        assert f"usage: tubelet data import {source}" in shown
        for name in inspect.signature(function).parameters:
            assert f"--{name.replace('_', '-')} " in shown or f"--{name.replace('_', '-')}," in shown, (source, name)


def test_an_import_shows_how_far_it_is_and_prints_nothing_by_itself(monkeypatch, capsys, squares, tmp_path):
    videos = squares / "videos/kinetics"
    number = len(list(videos.iterdir()))
    table = tmp_path / "clips.csv"
    table.write_text("path,label\n" + "".join(f"{video.name},a\n" for video in videos.iterdir()))
    options = {"train": table, "media_root": videos, "out": tmp_path / "set"}
    IMPORTERS["table"](**options)
    assert capsys.readouterr() == ("", "")
    options["out"] = tmp_path / "again"
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert call(monkeypatch, "data", "import", "table", *words) == 0
    shown = capsys.readouterr()
    assert f"{number}/{number}" in shown.err
    assert shown.out.startswith("manifest: ")
    assert "left_out.json" not in shown.out
    table.write_text(table.read_text() + "gone.mp4,a\n")
    words[words.index("--out") + 1] = tmp_path / "third"
    assert call(monkeypatch, "data", "import", "table", *words) == 0
    assert capsys.readouterr().out.endswith(f"each video left out, and why: {tmp_path}/third/left_out.json\n")


def test_a_detectors_boxes_join_a_manifest(monkeypatch, capsys, squares, tmp_path):
    row = read_manifest(squares / "manifests/localise").boxes.slice(0, 1).to_pylist()[0]
    found = tmp_path / "found.csv"
    found.write_text(f"{row['clip_id']},{row['pts_seconds']},0.1,0.1,0.5,0.5,,0.9\n")
    call_it = ["data", "add-boxes", squares / "manifests/localise", found, "--out"]
    assert call(monkeypatch, *call_it, tmp_path / "with_boxes") == 0
    assert " 1  boxes detected" in capsys.readouterr().out
    found.write_text("a,1\n")
    assert call(monkeypatch, *call_it, tmp_path / "more") == 2
    assert "no box lies on a keyframe" in capsys.readouterr().err


def test_a_finished_run_is_not_trained_again(monkeypatch, capsys, run_folder, squares):
    before = (run_folder / "model.safetensors").read_bytes()
    assert call(monkeypatch, "train", "cofinetune", "--playground", squares, "--size", "tiny", "--out", run_folder) == 0
    assert (run_folder / "model.safetensors").read_bytes() == before
    assert "localise/val/mAP" in capsys.readouterr().out


def test_dry_run_writes_nothing(monkeypatch, capsys, squares, tmp_path):
    out = tmp_path / "run"
    status = call(
        monkeypatch, "train", "cofinetune", "--playground", squares, "--size", "tiny", "--out", out, "--dry-run"
    )
    assert status == 0
    assert not out.exists()
    shown = capsys.readouterr().out
    assert "kinetics" in shown
    assert "GMACs" in shown


def test_evaluate_writes_numbers_and_detections(monkeypatch, run_folder, tmp_path):
    numbers, detections = tmp_path / "n.json", tmp_path / "d.csv"
    status = call(monkeypatch, "evaluate", run_folder, "--split", "test", "--json", numbers, "--detections", detections)
    assert status == 0
    measured = json.loads(numbers.read_text())
    assert measured["localise/ava"]["protocol"] == "official"
    assert {c["name"] for c in measured["localise/ava"]["per_class"]} == {"red", "green", "blue", "left", "right"}
    # 6 test videos x 2 keyframes x 1 box x 5 classes; the file scores as the run does.
    found = read_ava_csv(detections, detections=True)
    scored = evaluate_run(run_folder, split="test", tasks=("localise",), device="cpu")["localise"].detections
    np.testing.assert_array_equal(np.argsort(found.scores, kind="stable"), np.argsort(scored.scores, kind="stable"))
    np.testing.assert_allclose(found.scores, scored.scores, atol=1e-11)
    assert len(found) == 60


def test_nothing_is_replaced_and_what_cannot_be_written_is_one_line(monkeypatch, capsys, squares, tmp_path):
    videos = squares / "videos/kinetics"
    made = tmp_path / "made"
    table = tmp_path / "t.csv"
    table.write_text("".join(f"train-{i}.mp4,{'ab'[i % 2]}\n" for i in range(4)))
    arguments = ("data", "import", "table", "--train", table, "--media-root", videos)
    assert call(monkeypatch, *arguments, "--out", made) == 0
    before = (made / "clips.parquet").read_bytes()
    capsys.readouterr()
    for command in (
        (*arguments, "--out", made),
        ("data", "verify", made, "--report", tmp_path / "r.json", "--write-clean", made),
        (*arguments, "--out", table),
        ("data", "add-boxes", squares / "manifests/localise"),
        ("data", "shard", made, tmp_path / "s", "--shard-mib", 0),
        ("data", "detect", squares / "manifests/localise", "--out", tmp_path / "d.csv", "--threshold", 2),
    ):
        assert call(monkeypatch, *command) == 2, command
        said = capsys.readouterr().err.strip().splitlines()
        assert sum(line.startswith("tubelet: ") for line in said) == 1, said
        assert "Traceback" not in "".join(said)
    assert (made / "clips.parquet").read_bytes() == before


def test_evaluate_says_the_views_that_were_averaged(monkeypatch, capsys, run_folder, tmp_path):
    numbers = tmp_path / "n.json"
    options = ("--task", "kinetics", "localise", "--num-views", 2, "--json", numbers)
    assert call(monkeypatch, "evaluate", run_folder, *options) == 0
    measured = json.loads(numbers.read_text())
    assert (measured["kinetics/views"], measured["localise/views"]) == ("2 x centre", "1 x centre")
    assert "2 x centre" in capsys.readouterr().out
    assert call(monkeypatch, "evaluate", run_folder, "--task", "localise", "--num-views", 2) == 2
    assert "num_views is for classification" in capsys.readouterr().err
    assert call(monkeypatch, "evaluate", run_folder, "--task", "kinetics", "--crops", "three") == 2
    assert "letterboxed frames are shown whole" in capsys.readouterr().err


def test_evaluate_on_a_detectors_boxes(monkeypatch, capsys, run_folder, squares, tmp_path):
    manifest = squares / "manifests/localise"
    capsys.readouterr()
    assert call(monkeypatch, "data", "detect", manifest, "--split", "test", "--out", tmp_path / "people.csv") == 0
    assert re.fullmatch(rf"\d+ boxes: {tmp_path / 'people.csv'}\n", capsys.readouterr().out)  # the bar goes elsewhere
    # The squares are nobody; the annotated boxes, half of them unsure, stand for what a detector would find.
    truth = read_manifest(manifest)
    test = [c["clip_id"] for c in truth.clips.to_pylist() if c["split"] == "test"]
    rows = [
        f"{b['clip_id']},{b['pts_seconds']},{b['x1']},{b['y1']},{b['x2']},{b['y2']},,{0.9 if k % 2 else 0.3}"
        for k, b in enumerate(b for b in truth.boxes.to_pylist() if b["clip_id"] in test)
    ]
    (tmp_path / "found.csv").write_text("\n".join(rows) + "\n")
    both = tmp_path / "both"
    assert call(monkeypatch, "data", "add-boxes", manifest, tmp_path / "found.csv", "--out", both) == 0
    run = run_config(run_folder)
    moved = [replace(task, manifest=str(both)) if task.kind == "localise" else task for task in run.tasks]
    monkeypatch.setattr("tubelet.train.evaluate.run_config", lambda folder: replace(run, tasks=tuple(moved)))
    numbers = tmp_path / "n.json"
    evaluate = (
        "evaluate",
        run_folder,
        "--split",
        "test",
        "--task",
        "localise",
        "--boxes",
        "detected",
        "--json",
        numbers,
    )
    counts = []
    for options in ((), ("--box-threshold", 0.5)):
        assert call(monkeypatch, *evaluate, *options, "--detections", tmp_path / "d.csv") == 0
        counts.append(len((tmp_path / "d.csv").read_text().splitlines()))
        assert json.loads(numbers.read_text())["localise/ava"]["protocol"] == "official"
    assert counts == [60, 30]  # 12 keyframes x 5 classes, then the sure half


def test_localise_and_classify_a_raw_video(monkeypatch, capsys, run_folder, squares, tmp_path):
    assert call(monkeypatch, "localise", squares / VIDEO, "--model", run_folder, "--out", tmp_path) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["test-0.csv", "test-0.json", "test-0.mp4"]
    assert json.loads((tmp_path / "test-0.json").read_text())["schema"] == "tubelet.detections/1"
    capsys.readouterr()
    assert call(monkeypatch, "classify", squares / VIDEO, "--model", run_folder, "--task", "moments") == 0
    assert "left" in capsys.readouterr().out


def test_detections_hold_one_task(monkeypatch, capsys, run_folder, tmp_path):
    run = run_config(run_folder)
    second = [replace(task, name="second") for task in run.tasks if task.kind == "localise"]
    twice = replace(run, tasks=(*run.tasks, *second))
    monkeypatch.setattr("tubelet.train.evaluate.run_config", lambda folder: twice)
    monkeypatch.setattr("tubelet.train.evaluate.evaluate_run", lambda *a, **k: {})
    found = tmp_path / "found.csv"
    assert call(monkeypatch, "evaluate", run_folder, "--detections", found) == 2
    assert "one localisation task, found localise, second; choose one with --task" in capsys.readouterr().err
    assert call(monkeypatch, "evaluate", run_folder, "--detections", found, "--task", "kinetics") == 2
    assert "found none" in capsys.readouterr().err
    assert call(monkeypatch, "evaluate", run_folder, "--detections", found, "--task", "second") == 0


def test_info_knows_runs_manifests_videos_and_models(monkeypatch, capsys, run_folder, squares):
    models = ("r2plus1d_18", "vivit_fe_ti16x2", "vivit_ti16x2")
    assert call(monkeypatch, "info", run_folder, squares / "manifests/localise", squares / VIDEO, *models) == 0
    shown = capsys.readouterr().out
    for expected in ("cofinetune", "CC0-1.0", "64 x 48 pixels", "2 + 2 + 2 + 2 simple blocks", "33,165,639", "83.0"):
        assert expected in shown
    assert "12 spatial + 4 temporal" in shown
    assert call(monkeypatch, "info", "r3d_19") == 2
    assert "not a run folder, manifest, video file or model name" in capsys.readouterr().err


def broken_files(folder: Path, good: Path) -> dict[str, Path]:
    """Return a file of each kind that is no readable video."""
    files = {name: folder / f"{name}.mp4" for name in ("missing", "empty", "text", "truncated", "directory")}
    files["empty"].touch()
    files["text"].write_text("not a video\n" * 100)
    files["truncated"].write_bytes(good.read_bytes()[:700])
    files["directory"].mkdir()
    return files


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "truncated", "directory"])
@pytest.mark.parametrize("command", ["localise", "classify"])
def test_a_file_that_is_no_video(monkeypatch, capsys, run_folder, squares, tmp_path, kind, command):
    path = broken_files(tmp_path, squares / VIDEO)[kind]
    out = tmp_path / "out"
    options = ["--out", out] if command == "localise" else []
    assert call(monkeypatch, command, path, "--model", run_folder, *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(path) in error
    assert not list(out.glob("*"))


def ava_files(folder: Path, rows: str) -> list[object]:
    """Write AVA-format files and return the options that import them."""
    (folder / "train.csv").write_text(rows)
    (folder / "actions.pbtxt").write_text('item {\n  name: "red"\n  id: 1\n}\nitem {\n  name: "left"\n  id: 4\n}\n')
    media = folder / "media"
    media.mkdir()
    return [
        *("--train", folder / "train.csv", "--labels", folder / "actions.pbtxt"),
        *("--media-root", media, "--out", folder / "manifest"),
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("clip,1,0.1,0.1,0.5,0.5", "train.csv:2"),  # a column is missing
        ("clip,1,0.1,0.1,1.5,0.5,1,0", "train.csv:2"),  # a box outside [0, 1]
        ("clip,1,0.1,0.1,0.5,0.5,77,0", "train.csv:2"),  # a label that is not in the list
        ("clip,one,0.1,0.1,0.5,0.5,1,0", "train.csv:2"),  # a time that is no number
    ],
)
def test_a_mistake_in_an_annotation_names_file_and_line(monkeypatch, capsys, squares, tmp_path, row, expected):
    options = ava_files(tmp_path, f"clip,1,0.1,0.1,0.5,0.5,1,0\n{row}\n")
    shutil.copy(squares / VIDEO, tmp_path / "media/clip.mp4")
    assert call(monkeypatch, "data", "import", "ava", *options) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not (tmp_path / "manifest").exists()


def test_own_data_from_csv_to_a_fine_tuned_model(monkeypatch, capsys, squares, run_folder, tmp_path):
    rows = "".join(f"clip{i},1,0.1,0.1,0.5,0.5,{label},0\n" for i, label in enumerate((1, 4, 1, 4)))
    options = ava_files(tmp_path, rows)
    for i in range(4):
        shutil.copy(squares / VIDEO, tmp_path / f"media/clip{i}.mp4")
    assert call(monkeypatch, "data", "import", "ava", *options, "--val", tmp_path / "train.csv", "--name", "mine") == 2
    assert "is in train as well" in capsys.readouterr().err
    assert call(monkeypatch, "data", "import", "ava", *options, "--name", "mine") == 0
    fine_tune = ["--manifests", tmp_path / "manifest", "--init-from", run_folder, "--num-epochs", 1]
    out = tmp_path / "mine"
    status = call(monkeypatch, "train", "finetune", *fine_tune, "--eval-split", "train", "--out", out)
    assert status == 0
    assert "mine/train/mAP" in capsys.readouterr().out


def test_commands_that_compute_nothing_start_without_torch():
    answered = subprocess.run(
        [sys.executable, "-c", "import sys, tubelet.cli; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answered.stdout == "False\n"


def test_results_never_replace_what_is_read(monkeypatch, capsys, tmp_path):
    truth, found, labels = tmp_path / "gt.csv", tmp_path / "found.csv", tmp_path / "actions.pbtxt"
    truth.write_text("a,1,0.1,0.1,0.5,0.5,1\n")
    found.write_text("a,1,0.1,0.1,0.5,0.5,1,0.9\n")
    labels.write_text('item {\n  name: "walk"\n  id: 1\n}\n')
    files = ("--ground-truth", truth, "--detections", found, "--labels", labels)
    for command in ("ava-eval", "tube-eval"):
        for path in (truth, found, labels):
            before = path.read_bytes()
            assert call(monkeypatch, command, *files, "--json", path) == 2
            assert (
                capsys.readouterr().err
                == f"tubelet: --json {path}: is one of the files that are read; give another name\n"
            )
            assert path.read_bytes() == before
    assert call(monkeypatch, "ava-eval", *files, "--json", tmp_path) == 2
    assert capsys.readouterr().err == f"tubelet: --json {tmp_path}: a folder, expected a file to write\n"


def test_localise_refuses_what_it_would_pass_over(monkeypatch, capsys, squares, run_folder, tmp_path):
    video = squares / VIDEO
    out = tmp_path / "out"
    assert call(monkeypatch, "localise", video, "--model", run_folder, "--out", out, "--seconds", 1) == 2
    assert f"--seconds is for cameras and streams; {video} is read whole" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert call(monkeypatch, "localise", video, "--model", run_folder, "--out", tmp_path / "file") == 2
    assert "a file, expected a folder of results" in capsys.readouterr().err
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    assert call(monkeypatch, "localise", cut, "--model", run_folder, "--out", out) == 2
    assert not out.exists()
    assert call(monkeypatch, "search", tmp_path, "red", "--top", 0) == 2
    assert "--top is 0, expected at least 1" in capsys.readouterr().err


def test_a_model_without_its_run_is_not_scored() -> None:
    with pytest.raises(InputError, match="playground: a model without the run that made it; expected what"):
        run_config(SHIPPED_MODEL)
