"""The model that ships: it is whole, small, and finds who walks in a video it has never seen."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference_fakes import RED, PaintDetector, untrained, write_video

import tubelet
from tubelet.cli.using import classify, localise
from tubelet.inference.detections_file import THRESHOLD, read_detections
from tubelet.inference.outputs import localise_video
from tubelet.inference.pipeline import Localiser
from tubelet.inference.shipped import SHIPPED_MODEL
from tubelet.models.saved import MODEL_FILE, load_model


def test_it_is_small_and_knows_when_to_speak() -> None:
    loaded = load_model(SHIPPED_MODEL)
    assert sum(path.stat().st_size for path in SHIPPED_MODEL.iterdir()) < 20e6
    assert (SHIPPED_MODEL / MODEL_FILE).stat().st_size < 2e6
    task = loaded.task_of_kind("localise")
    thresholds = loaded.thresholds[task]
    assert len(thresholds) == len(loaded.label_spaces[task])
    assert all(0 < threshold < 1 for threshold in thresholds)
    assert len(set(thresholds)) > 10
    assert "/" not in json.dumps(loaded.meta["data"]), "no path of the machine it was trained on"
    assert loaded.task_of_kind("classify") in loaded.heads


def test_a_video_needs_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_video(tmp_path / "v.mp4", lambda i: [((10, 20, 34, 80), RED)], num_frames=12)
    localise((str(video),), out=tmp_path / "out", device="cpu")
    found = read_detections(tmp_path / "out" / "v.json")
    assert found.label_space.names[:2] == ("stand", "walk")
    assert found.thresholds == pytest.approx(np.array(load_model(SHIPPED_MODEL).thresholds[found.task]), abs=1e-4)
    classify((video,), device="cpu", top=2)
    assert capsys.readouterr().out.count(",") == 1


def test_what_is_drawn_follows_the_models_thresholds_unless_one_is_given(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", lambda i: [((10, 20, 34, 80), RED)], num_frames=12)
    chosen = (0.1, 0.2, 0.3, 0.4)
    taught = replace(untrained(), thresholds={"boxes": chosen})
    cases = ((taught, None, chosen), (taught, 0.7, (0.7,) * 4), (untrained(), None, (THRESHOLD,) * 4))
    for loaded, threshold, expected in cases:
        localiser = Localiser(loaded, people=PaintDetector())
        done = localise_video(localiser, video, tmp_path / "out", threshold=threshold)
        assert read_detections(done.files.json).thresholds == pytest.approx(expected)


def test_load_takes_it_when_no_model_is_named() -> None:
    assert tubelet.load(people=PaintDetector(), device="cpu").label_space.name == "playground"
