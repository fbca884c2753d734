"""Commands about data refuse options that mean nothing and places no result can have, before they do the work."""

from pathlib import Path

import numpy as np
import pytest

from tubelet.cli.dispatch import run
from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace
from tubelet.types import InputError
from tubelet.video.write import VideoWriter


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    with VideoWriter(tmp_path / "media" / "a.mp4", width=16, height=16, fps=10) as writer:
        for _ in range(10):
            writer.write(np.zeros((16, 16, 3), np.uint8))
    row = {"clip_id": "a", "video": "a.mp4", "start_seconds": 0, "end_seconds": 1, "split": "train", "labels": [0]}
    space = LabelSpace(name="one", names=("run",))
    write_manifest(
        tmp_path / "m", name="m", kind="classify", multi_label=False, label_space=space,
        media_root=tmp_path / "media", licence="", source="", clips=[row],
    )  # fmt: skip
    return tmp_path / "m"


def test_what_cannot_be_is_told_before_the_work(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file.txt"
    file.write_text("kept")
    busy = tmp_path / "media"

    def undecoded(*_: object, **__: object) -> None:
        raise AssertionError("the work was begun")

    monkeypatch.setattr("tubelet.data.verify.verify_manifest", undecoded)
    monkeypatch.setattr("tubelet.data.info.manifest_facts", undecoded)
    monkeypatch.setattr("tubelet.data.shard.shard_manifest", undecoded)
    for arguments, message in (
        # The videos' folder is missing as well: that is noticed only when the work begins.
        (
            ["import", "class-folders", "--media-root", str(tmp_path / "gone"), "--out", str(file)],
            "file.txt: a file, expected a folder of results",
        ),
        (
            ["import", "class-folders", "--media-root", str(tmp_path / "gone"), "--out", str(file / "x")],
            "x: cannot be written",
        ),
        (["verify", str(manifest), "--report", str(busy)], "media: a folder, expected a file to write"),
        (["verify", str(manifest), "--report", str(file / "r.json")], "r.json: cannot be written"),
        (["verify", str(manifest), "--write-clean", str(file)], "file.txt: a file, expected a folder of results"),
        (["info", str(manifest), "--png", str(busy)], "media: a folder, expected a file to write"),
        (["verify", str(manifest), "--num-workers", "0"], "--num-workers is 0, expected at least 1"),
        (["info", str(manifest), "--top", "-3"], "--top is -3, expected 0 or more"),
        (["shard", str(manifest), str(file)], "file.txt: a file, expected a folder of results"),
        (["shard", str(manifest), str(manifest)], "m: holds a manifest already"),
    ):
        with pytest.raises(InputError, match=message):
            run(["data", *arguments])
    assert file.read_text() == "kept"
