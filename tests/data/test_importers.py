"""Every importer's manifest says what the published files say, validates, and trains."""

import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
from layout_builder import SECONDS, Builder, Layout, write_video
from PIL import Image
from published_layouts import LAYOUTS

from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.sources.importers import IMPORTERS
from tubelet.data.validate import validate_manifest
from tubelet.models.vivit import ViViTConfig
from tubelet.tasks import task_config
from tubelet.train.config import RunConfig
from tubelet.train.fit import fit
from tubelet.train.log import read_rows
from tubelet.train.optim import OptimConfig
from tubelet.types import Preprocess


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("tiny") / "video.mp4")


@pytest.fixture(scope="module", params=list(LAYOUTS))
def imported(
    request: pytest.FixtureRequest, video: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Layout, Manifest]:
    folder = tmp_path_factory.mktemp(request.param)
    layout = LAYOUTS[request.param](Builder(folder, video))
    return layout, IMPORTERS[layout.source](out=folder / "manifest", **layout.options)


def test_clips_labels_splits_and_times(imported: tuple[Layout, Manifest]) -> None:
    layout, manifest = imported
    names = manifest.label_space.names
    rows = manifest.clips.to_pylist()
    found = {row["clip_id"]: (row["video"], row["split"], tuple(names[k] for k in row["labels"])) for row in rows}
    assert found == {
        key: (video, split, tuple(sorted(labels, key=names.index)))
        for key, (video, split, labels) in layout.clips.items()
    }
    for row in rows:
        start, end = layout.times.get(row["clip_id"], (0.0, SECONDS))
        assert (row["start_seconds"], row["end_seconds"], row["fps"]) == (start, pytest.approx(end), 0.0)


def test_what_is_left_out_is_counted(imported: tuple[Layout, Manifest]) -> None:
    layout, manifest = imported
    assert {key: manifest.counts[key] for key in layout.counts} == layout.counts
    left_out = ("clips_without_video", "clips_unreadable", "rows_repeated", "rows_not_cc", "rows_below_agreement")
    gone = sum(manifest.counts.get(key, 0) for key in left_out)
    # Rows that are no clips of this split are counted before they are rows.
    assert manifest.counts["rows"] - gone == manifest.counts["clips"]


def test_the_manifest_validates_and_trains(imported: tuple[Layout, Manifest], tmp_path: Path) -> None:
    (loss,) = losses_of_one_step(imported[1], tmp_path / "run")
    assert math.isfinite(loss)


def test_frames_in_folders_and_tars_train(tmp_path: Path) -> None:
    media = tmp_path / "20bn-something-something-v1"
    for number in (7, 8):
        (media / str(number)).mkdir(parents=True)
        for k in range(1, 13):
            picture = np.full((12, 16, 3), 20 * k % 255, dtype=np.uint8)
            Image.fromarray(picture).save(media / str(number) / f"{k:05d}.jpg")
    with tarfile.open(media / "9.tar", "w") as tar:
        for path in sorted((media / "8").iterdir()):
            tar.add(path, arcname=path.name)
    lists = Builder(tmp_path, media)
    train = lists.text("train.csv", "7;Holding something\n8;Unfolding something\n")
    val = lists.text("val.csv", "9;Holding something\n")
    manifest = IMPORTERS["something-v1"](train=train, val=val, media_root=media, out=tmp_path / "manifest")
    assert manifest.clips.select(["video", "end_seconds", "fps"]).to_pylist() == [
        {"video": video, "end_seconds": 1.0, "fps": 12.0} for video in ("7", "8", "9.tar")
    ]
    (loss,) = losses_of_one_step(manifest, tmp_path / "run")
    assert math.isfinite(loss)


def losses_of_one_step(manifest: Manifest, out: Path) -> list[float]:
    validate_manifest(read_manifest(manifest.root))
    preprocess = Preprocess(size=16, num_frames=4, frame_stride=1, fps=10.0)
    backbone = ViViTConfig(size=16, num_frames=4, dim=8, spatial_layers=1, temporal_layers=1, num_heads=1, patch=8)
    eval_split = "val" if "clips_val" in manifest.counts else "test"
    run = RunConfig(
        name="contract",
        backbone=backbone,
        tasks=(task_config(manifest.root, eval_split=eval_split),),
        preprocess=preprocess,
        optim=OptimConfig(learning_rate=0.01),
        batch_size=2,
        num_epochs=None,
        num_steps=1,
        num_workers=0,
    )
    fit(run, out, progress=False)
    return [row["loss"] for row in read_rows(out / "metrics.jsonl") if "task" in row]


def test_every_importer_says_what_it_reads() -> None:
    for name, function in IMPORTERS.items():
        document = function.__doc__ or ""
        assert "Args:" in document, name
        assert "Raises:" in document, name
