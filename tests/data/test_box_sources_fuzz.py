"""Damaged files of boxes give a manifest or one clear line, never another error or a half-written folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from still_pictures import write_pictures
from test_annotation_fuzz import damaged
from test_box_sources import CVAT, KINETICS, coco, write_tubes
from text_files import put

from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.sources.ava import import_ava
from tubelet.data.sources.ava_kinetics import import_ava_kinetics
from tubelet.data.sources.coco_video import import_coco_video
from tubelet.data.sources.cvat import import_cvat
from tubelet.data.sources.detected_boxes import add_detected_boxes
from tubelet.data.sources.ucf24 import import_ucf24
from tubelet.data.validate import validate_manifest
from tubelet.labels import LabelSpace
from tubelet.types import InputError

NUM_TRIES = 60
AVA = (
    "film,0002,0.077,0.151,0.283,0.811,80,1\nfilm,0002,0.077,0.151,0.283,0.811,9,1\nfilm,0005\nfilm,0003,0,0,1,1,12,2\n"
)
ACTIONS = 'item {\n  name: "stand"\n  id: 12\n}\nitem {\n  name: "watch"\n  id: 80\n}\nitem {\n  name: "a"\n  id: 9}\n'
FOUND = "film,0002,0.077,0.151,0.283,0.811,,0.97\nfilm,0003,0.1,0.1,0.9,0.9,-1,0.5\nfilm,0003,0.1,0.1,0.9,0.9,1,0.5\n"

Maker = Callable[[Path], Manifest]


def prepared(source: str, folder: Path) -> tuple[list[Path], Maker]:
    """Return the source's files, and the call that reads them."""
    media: dict[str, Any] = {"media_root": folder / "media"}
    if source == "ava":
        files = [put(folder / "a.csv", AVA), put(folder / "e.csv", "film,0003\n"), put(folder / "l.pbtxt", ACTIONS)]
        files.append(put(folder / "t.txt", "film2.mp4\n"))
        options: dict[str, Any] = {"train": files[0], "train_excluded": files[1], "labels": str(files[2])}
        return files, lambda out: import_ava(**options, test=files[3], frames_fps=1.0, out=out, **media)
    if source == "ava-kinetics":
        files = [put(folder / "k.csv", KINETICS)]
        return files, lambda out: import_ava_kinetics(train=files[0], frames_fps=1.0, out=out, **media)
    if source == "ucf24":
        files = [write_tubes(folder / "gt.pkl")]
        return files, lambda out: import_ucf24(annotations=files[0], out=out, **media)
    if source == "cvat":
        files = [put(folder / "one.xml", CVAT.replace("<width>160", "<width>96"))]  # the pictures are square
        return files, lambda out: import_cvat(train=(files[0],), attributes=("action",), out=out, **media)
    if source == "coco-video":
        files = [put(folder / "coco.json", json.dumps(coco()).replace('"width": 160', '"width": 96'))]
        return files, lambda out: import_coco_video(train=files[0], out=out, **media)
    files = [put(folder / "found.csv", FOUND)]
    boxed = write_manifest(
        folder / "boxed",
        name="m",
        kind="localise",
        multi_label=True,
        label_space=LabelSpace(name="one", names=("stand",), ids=(1,)),
        licence="",
        source="",
        clips=[
            {"clip_id": "film", "video": "film", "start_seconds": 0, "end_seconds": 9, "split": "train", "labels": []}
        ],
        boxes=[
            {"clip_id": "film", "pts_seconds": t, "x1": 0.1, "y1": 0.1, "x2": 0.9, "y2": 0.9, "labels": [0]}
            for t in (2.0, 3.0)
        ],
        **media,
    )
    return files, lambda out: add_detected_boxes(boxed.root, files, out=out)


@pytest.mark.parametrize("source", ["ava", "ava-kinetics", "ucf24", "cvat", "coco-video", "detected"])
def test_damaged_files_of_boxes(source: str, tmp_path: Path) -> None:
    for name in ("film", "film2", "--abcdefghi_000030_000040", "zz_defghijk_000010_000020"):
        write_pictures(tmp_path / "media" / name, 10)
    write_pictures(tmp_path / "media" / "Basketball" / "v_a", 10)
    files, call = prepared(source, tmp_path)
    out = tmp_path / "out"
    rng = np.random.default_rng(sum(map(ord, source)))
    call(out)
    shutil.rmtree(out)
    refusals = []
    for number in range(NUM_TRIES):
        path = files[number % len(files)]
        good = path.read_bytes()
        path.write_bytes(damaged(good, rng))
        try:
            manifest = call(out)
        except InputError as error:
            refusals.append(str(error))
            assert not out.exists()
        else:
            validate_manifest(manifest)
            shutil.rmtree(out)
        path.write_bytes(good)
    assert len(refusals) > NUM_TRIES // 10
    assert not any("\n" in refusal for refusal in refusals), refusals
