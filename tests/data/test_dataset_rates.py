"""Clips whose stride counts in frames of the file, and folders of frames, which have a rate by what is said of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dataset_rows import CLIPS, SPACE, box, clip, dataset, numbers
from numbered_video import number_of, painted, write_numbered
from PIL import Image

from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest_writer import write_manifest
from tubelet.types import Preprocess
from tubelet.video.cache import FrameCache
from tubelet.video.transforms import read_size


def test_stride_in_frames_of_the_file(tmp_path: Path) -> None:
    for fps in (10, 50):
        write_numbered(tmp_path / f"{fps}.mp4", num_frames=60, fps=fps)
    clips = [clip(str(fps), f"{fps}.mp4", 0.0, 60 / fps, "train", 0) for fps in (10, 50)]
    boxes = [box(str(fps), 30 / fps, 0.25, 1) for fps in (10, 50)]
    common: dict[str, Any] = {"multi_label": True, "label_space": SPACE, "licence": "", "source": ""}
    common |= {"media_root": tmp_path, "clips": clips}
    sets = [
        write_manifest(tmp_path / "c", name="c", kind="classify", **common),
        write_manifest(tmp_path / "l", name="l", kind="localise", boxes=boxes, **common),
    ]
    own_rate = replace(CLIPS, fps=0.0, frame_stride=3)
    cache = FrameCache(tmp_path / "cache", read_size(own_rate.fit), own_rate.fps)
    for manifest in sets:
        read, cached = (dataset(manifest, preprocess=own_rate, augment=None, cache=c) for c in (None, cache))
        for index in (0, 1):
            assert np.diff(numbers(read.view(index))).tolist() == [3] * 4  # whatever the rate
            for sample in (read, cached):
                assert np.diff(numbers(sample.sample(index, 4))).tolist() == [3] * 4
            assert torch.equal(read.sample(index, 4).frames, cached.sample(index, 4).frames)
            assert torch.equal(read.view(index).frames, cached.view(index).frames)
    assert numbers(dataset(sets[1], preprocess=own_rate).view(0)) == [24, 27, 30, 33, 36]


def test_a_folder_of_frames_is_read_at_its_rate(tmp_path: Path) -> None:
    frames = tmp_path / "media" / "frames"
    frames.mkdir(parents=True)
    for number in range(30):
        Image.fromarray(painted(number)).save(frames / f"{number:05d}.png")
    manifest = write_manifest(
        tmp_path / "manifest",
        name="f",
        kind="classify",
        multi_label=False,
        label_space=SPACE,
        media_root=tmp_path / "media",
        licence="",
        source="",
        clips=[clip("one", "frames", 0.0, 3.0, "train", 0) | {"fps": 10.0}],
    )
    preprocess = Preprocess(size=160, num_frames=3, frame_stride=5, fps=10)
    sample = ClipDataset(manifest, "train", preprocess=preprocess, augment=None).view(0)
    # Three seconds hold frames 0 to 29; a clip that spans ten frames in the middle begins at 0.95 s, between 9 and 10.
    assert [number_of(frame[:, 32:128]) for frame in sample.frames] == [9, 14, 19]
