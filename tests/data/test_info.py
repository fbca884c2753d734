import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tubelet.cli import main
from tubelet.data.info import describe, draw_classes, manifest_facts
from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace

SPACE = LabelSpace(name="toy", names=("walk", "run", "jump", "never"))


@pytest.fixture
def manifest(tmp_path: Path, squares: Path) -> Manifest:
    (tmp_path / "media").symlink_to(squares / "videos/localise")
    rows = [
        ("test-0", 0.0, 1.0, "train", [0]),
        ("test-1", 0.0, 2.0, "train", [0, 1]),
        ("gone", 1.0, 4.0, "val", [0, 1, 2]),
        ("test-2", 0.0, 1.0, "val", []),
    ]
    return write_manifest(
        tmp_path / "m", name="toy", kind="classify", multi_label=True, label_space=SPACE, media_root=tmp_path / "media",
        licence="", source="", extra_counts={"videos_missing": 7},
        clips=[{"clip_id": n, "video": f"{n}.mp4", "start_seconds": a, "end_seconds": b, "split": s, "labels": k}
               for n, a, b, s, k in rows],
    )  # fmt: skip


def test_facts_counted_by_hand(manifest: Manifest) -> None:
    facts = manifest_facts(manifest)
    assert facts.hours * 3600 == pytest.approx(7)
    assert facts.duration_quantiles[0::2] == pytest.approx((1.0, 1.5, 3.0))
    assert {split: counts.tolist() for split, counts in facts.per_split.items()} == {
        "train": [2, 1, 0, 0],
        "val": [1, 1, 1, 0],
    }
    assert facts.per_class.tolist() == [3, 2, 1, 0]
    assert facts.labels_at_once == {0: 1, 1: 1, 2: 1, 3: 1}
    assert facts.together[0] == ("walk", "run", 2)
    assert set(facts.together[1:]) == {("walk", "jump", 1), ("run", "jump", 1)}
    assert (facts.num_probed, facts.num_unreadable) == (4, 1)
    assert list(facts.resolutions.values()) == [3]
    assert next(iter(facts.resolutions)).startswith("64 x 48, ")


def test_a_localisation_set_counts_boxes(tmp_path: Path, squares: Path) -> None:
    box = {"x1": 0.1, "y1": 0.1, "x2": 0.5, "y2": 0.5}
    manifest = write_manifest(
        tmp_path / "m", name="toy", kind="localise", multi_label=True, label_space=SPACE, media_root=squares,
        licence="", source="",
        clips=[{"clip_id": n, "video": f"{n}.mp4", "start_seconds": 0.0, "end_seconds": 9.0, "split": n, "labels": []}
               for n in ("train", "val")],
        boxes=[{**box, "clip_id": n, "pts_seconds": t, "labels": k}
               for n, t, k in (("val", 1.0, [3]), ("train", 2.0, [0, 3]), ("train", 3.0, []))]
        + [{**box, "clip_id": "train", "pts_seconds": 2.0, "labels": [0, 3], "origin": "detected", "score": 0.9}],
    )  # fmt: skip
    facts = manifest_facts(manifest)
    assert {split: counts.tolist() for split, counts in facts.per_split.items()} == {
        "train": [1, 0, 0, 1],
        "val": [0, 0, 0, 1],
    }
    assert facts.labels_at_once == {0: 1, 1: 1, 2: 1}
    assert facts.together == (("walk", "never", 1),)


def test_what_is_shown_in_the_terminal(manifest: Manifest) -> None:
    console = Console(file=io.StringIO(), width=100, record=True)
    for part in describe(manifest_facts(manifest), top=2):
        console.print(part)
    shown = console.export_text()
    for expected in ("videos missing", "median 1.50", "0: 1, 1: 1, 2: 1, 3: 1", "walk + run: 2", "1 cannot be read"):
        assert expected in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["walk", "2", "1", "█" * 24] in lines
    assert ["run", "1", "1", "█" * 16] in lines
    assert "4 classes, 2 more; 1 without an example" in shown


def test_the_picture_and_the_command(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_classes(manifest_facts(manifest), tmp_path / "a/classes.png")
    with Image.open(tmp_path / "a/classes.png") as picture:
        assert picture.size[0] > 400
        colours = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
        assert len(colours) > 10  # bars and dots, not white
    facts = replace(manifest_facts(manifest), classes=("cost $x_{$ y", "$", "a_b", "50%"))
    draw_classes(facts, tmp_path / "dollars.png")  # no formula
    monkeypatch.setattr(sys, "argv", ["tubelet", "data", "info", str(manifest.root)])
    main()
    assert "picture: " in capsys.readouterr().out
    assert (manifest.root / "classes.png").exists()
