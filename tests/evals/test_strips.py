import io
from pathlib import Path

import numpy as np
import pytest
from moving_squares import COLOURS, build_localise
from PIL import Image

from tubelet.data.manifest import read_manifest
from tubelet.evals.ava import frame_map
from tubelet.evals.examined import Examined, examine
from tubelet.evals.predictions import read_predictions, write_predictions
from tubelet.evals.run import TaskResult, detections_table, ground_truth_table
from tubelet.evals.strips import FALSE_COLOUR, OFFSETS, TILE_WIDTH, class_strips, costliest_classes
from tubelet.types import InputError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    build_localise(tmp_path, num_clips=6)
    return tmp_path


def examined(place: Path) -> Examined:
    """Return predictions that give every box of the split its scores in order: red rises from box to box."""
    folder = next(path.parent for path in place.rglob("manifest.json"))
    manifest = read_manifest(folder)
    assert manifest.boxes is not None
    videos = {row["clip_id"]: row["video"] for row in manifest.clips.to_pylist() if row["split"] == "val"}
    rows = [box for box in manifest.boxes.to_pylist() if box["clip_id"] in videos]
    ids = tuple(f"{videos[box['clip_id']]},{box['pts_seconds']:.6f}" for box in rows)
    boxes = np.array([[box[c] for c in ("x1", "y1", "x2", "y2")] for box in rows])
    scores = np.full((len(rows), 5), 0.1, dtype=np.float32)
    scores[:, 0] = np.linspace(0.2, 0.9, len(rows))
    truth = ground_truth_table(manifest, "val")
    found = detections_table(ids, boxes, scores, manifest, "val")
    result = TaskResult(
        task="localise", split="val", kind="localise", label_space=manifest.label_space, metrics={}, sample_ids=ids,
        scores=scores, targets=np.zeros_like(scores), boxes="annotated", detections=found, ground_truth=truth,
        ava=frame_map(truth, found, manifest.label_space),
    )  # fmt: skip
    data = {"name": "squares", "manifest": str(folder), "sha256": "0" * 64}
    write_predictions(place / "predictions", result, {"run": "r", "weights_sha256": "1" * 64, "data": data})
    return examine({"r": read_predictions(place / "predictions")}, num_draws=10)[0]


def test_strips_show_the_box_in_its_frame(place: Path) -> None:
    run = examined(place)
    strips = class_strips(run, "red", count=3)
    scores = [float(still.caption.split(",")[0]) for still in strips.false_positives]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3
    assert strips.num_unreadable == 0
    caption = strips.false_positives[0].caption
    assert "wrong action: does " in caption
    does = next(name for name in COLOURS if name in caption.split("does ")[1])
    assert does != "red"
    picture = np.asarray(Image.open(io.BytesIO(strips.false_positives[0].image))).astype(int)
    assert picture.shape[1] == len(OFFSETS) * (TILE_WIDTH + 2) - 2
    tiles = [picture[:, i * (TILE_WIDTH + 2) : i * (TILE_WIDTH + 2) + TILE_WIDTH] for i in range(len(OFFSETS))]
    outlined = [(np.abs(tile - FALSE_COLOUR).sum(axis=2) < 90).sum() for tile in tiles]
    assert outlined.index(max(outlined)) == OFFSETS.index(0.0)
    rows, columns = np.nonzero(np.abs(tiles[2] - FALSE_COLOUR).sum(axis=2) < 90)
    inside = tiles[2][(rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2]
    assert np.abs(inside - COLOURS[does]).max() < 60  # the box is round the square
    assert "precision" in strips.misses[0].caption
    precisions = [float(still.caption.split("precision ")[1].split(" %")[0]) for still in strips.misses]
    assert precisions == sorted(precisions)


def test_videos_that_are_gone_are_counted(place: Path) -> None:
    run = examined(place)
    whole = class_strips(run, "red", count=50)
    gone = next(place.rglob("val-0.mp4"))
    gone.unlink()
    less = class_strips(run, "red", count=50)
    assert less.num_unreadable > 0
    kept = len(less.false_positives) + len(less.misses)
    assert kept + less.num_unreadable == len(whole.false_positives) + len(whole.misses)
    for path in place.rglob("*.mp4"):
        path.unlink()
    with pytest.raises(InputError, match="videos could be read"):
        class_strips(run, "red", count=50)


def test_the_costliest_classes_come_first(place: Path) -> None:
    run = examined(place)
    values = {q.name: q.value for q in run.per_class}
    assert [values[name] for name in costliest_classes(run, 3)] == sorted(v for v in values.values() if v is not None)[
        :3
    ]
