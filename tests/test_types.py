"""The nouns check their shapes when they are made, and say what they expected."""

import json

import numpy as np
import pytest
import torch

from tubelet.records import from_json, to_json
from tubelet.types import ActionDetections, Clip, ClipBatch, Fit, InputError, Preprocess, VideoError, did_you_mean


def test_a_clip_with_too_few_times():
    with pytest.raises(ValueError, match=r"pts_seconds has shape \(3,\), expected \(4\)"):
        Clip(frames=torch.zeros(4, 3, 2, 2, dtype=torch.uint8), pts_seconds=np.zeros(3))


def test_a_batch_whose_boxes_and_targets_disagree():
    with pytest.raises(ValueError, match=r"boxes has shape \(1, 4\), expected \(2, 4\)"):
        ClipBatch(
            task="t",
            video=torch.zeros(1, 3, 2, 4, 4, dtype=torch.uint8),
            targets=torch.zeros(2, 5),
            boxes=torch.zeros(1, 4),
            box_clip=torch.zeros(1, dtype=torch.int64),
            boxes_norm=torch.zeros(1, 4),
            box_scores=torch.ones(1),
            sample_ids=("a",),
        )


def test_detections_need_one_identity_each():
    with pytest.raises(ValueError, match="person_ids"):
        ActionDetections(
            video="v",
            pts_seconds=0.0,
            boxes_norm=np.zeros((2, 4), np.float32),
            scores=np.zeros((2, 3), np.float32),
            box_scores=np.ones(2, np.float32),
            person_ids=np.zeros(1, np.int64),
        )


def test_a_rate_of_0_is_the_files():
    asked = Preprocess(size=224, num_frames=32, frame_stride=2, fps=30.0)
    assert asked.step_seconds(25.0) == pytest.approx(2 / 30)
    assert asked.sampling(25.0) == {"num_frames": 32, "frame_stride": 2, "fps": 30.0, "whole_frames": False}
    own = Preprocess(size=224, num_frames=32, frame_stride=2, fps=0.0)
    assert own.step_seconds(25.0) == pytest.approx(2 / 25)
    assert own.sampling(25.0) == {"num_frames": 32, "frame_stride": 2, "fps": 25.0, "whole_frames": True}


def test_a_preprocess_is_read_back_and_one_of_before_is_a_letterbox():
    paper_b = Preprocess(size=112, num_frames=32, frame_stride=2, fps=0.0, exact_hw=(128, 171))
    assert from_json(Preprocess, json.loads(json.dumps(to_json(paper_b))), where="meta.json") == paper_b
    old = {"size": 224, "num_frames": 32, "frame_stride": 2, "fps": 25.0, "mean": [0.5] * 3, "std": [0.5] * 3}
    assert from_json(Preprocess, old, where="meta.json").fit == Fit(size=224)
    with pytest.raises(InputError, match="does not fit a frame of exact_hw"):
        Preprocess(size=112, num_frames=32, frame_stride=2, fps=25.0, exact_hw=(100, 171))
    with pytest.raises(InputError, match="fps=-1 0 \\(the file's own\\) or above"):
        Preprocess(size=112, num_frames=32, frame_stride=2, fps=-1)


def test_a_video_error_is_one_line_with_file_and_time():
    assert str(VideoError("a.mp4", "no frame", 1.5)) == "a.mp4 at 1.500 s: no frame"


@pytest.mark.parametrize("name", ["paper-a-table-2", "a table 2", "A_table_2", "a-tabel-2"])
def test_the_nearest_name_is_found_however_it_is_written(name):
    known = ["B-table-2", "A-table-1", "A-table-2", "B-figure-2"]
    assert did_you_mean(name, known) == "; did you mean 'A-table-2'?"
    assert did_you_mean("lorem ipsum", known) == ""
