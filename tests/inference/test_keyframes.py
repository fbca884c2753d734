"""Person boxes found on annotated keyframes become a data set's detected boxes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tubelet.data.ava_csv import write_ava_csv
from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest import read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.sources.detected_boxes import add_detected_boxes
from tubelet.inference.keyframes import detect_keyframes
from tubelet.types import InputError, PersonBoxes, Preprocess


def find_square(frames: Sequence[np.ndarray]) -> list[PersonBoxes]:
    """Find the coloured square: the background is dull."""
    found = []
    for frame in frames:
        rows, columns = np.nonzero(np.ptp(frame.astype(int), axis=2) > 110)
        box = [np.percentile(columns, 1), np.percentile(rows, 1), np.percentile(columns, 99), np.percentile(rows, 99)]
        box[2:] = [box[2] + 1, box[3] + 1]
        found.append(PersonBoxes(boxes=np.array([box], dtype=np.float32), scores=np.array([0.75], dtype=np.float32)))
    return found


def test_boxes_found_on_keyframes_are_trained_and_scored_on(squares: Path, tmp_path: Path) -> None:
    manifest = read_manifest(squares / "manifests/localise")
    done: list[tuple[int, int]] = []
    found = detect_keyframes(manifest, find_square, on_clip=lambda *now: done.append(now))
    assert done[-1] == (len(manifest.clips), len(manifest.clips))
    assert len(found) == manifest.boxes.num_rows  # one square on every annotated keyframe
    write_ava_csv(tmp_path / "boxes.csv", found)
    both = add_detected_boxes(manifest.root, [tmp_path / "boxes.csv"], out=tmp_path / "both")
    preprocess = Preprocess(size=48, num_frames=4, frame_stride=1, fps=12.5)
    detected, annotated = (
        ClipDataset(both, "test", preprocess=preprocess, augment=None, boxes=boxes, label_iou=0.7)
        for boxes in ("detected", "annotated")
    )
    assert len(detected) == len(annotated)
    for index in range(len(detected)):
        np.testing.assert_array_equal(detected.targets(index), annotated.targets(index))
        ours, theirs = (each.view(index).boxes_norm for each in (detected, annotated))
        np.testing.assert_allclose(ours, theirs, atol=0.05)
    assert detected.view(0).box_scores.tolist() == [0.75]


def test_keyframes_on_which_nobody_is_annotated_are_looked_at_too(squares: Path, tmp_path: Path) -> None:
    old = read_manifest(squares / "manifests/localise")
    clip = old.clips.filter(np.array(old.clips.column("split").to_pylist()) == "val").slice(0, 1)
    name = clip.column("clip_id")[0].as_py()
    boxes = [row for row in old.boxes.to_pylist() if row["clip_id"] == name][:1]
    made = write_manifest(
        tmp_path / "m", name="one", kind="localise", multi_label=True, label_space=old.label_space,
        media_root=old.media_root, licence="CC0-1.0", source="tests", clips=clip, boxes=boxes,
        keyframes=[{"clip_id": name, "pts_seconds": 0.4}],
    )  # fmt: skip
    found = detect_keyframes(made, find_square, splits=("val",))
    assert sorted(found.pts_seconds) == [0.4, boxes[0]["pts_seconds"]]
    with pytest.raises(InputError, match=r"no keyframe is in split test; the manifest has val"):
        detect_keyframes(made, find_square, splits=("test",))
    with pytest.raises(InputError, match="expected kind localise"):
        detect_keyframes(read_manifest(squares / "manifests/kinetics"), find_square)
