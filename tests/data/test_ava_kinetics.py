"""Kinetics' clips of AVA-Kinetics are opened when they are imported: broken and short ones are told."""

from pathlib import Path

import pytest
from numbered_video import write_numbered
from still_pictures import write_pictures
from text_files import put

from tubelet.data.sources.ava_kinetics import import_ava_kinetics
from tubelet.data.validate import validate_manifest
from tubelet.types import InputError

ROWS = """good_______,12.5,0.1,0.2,0.5,0.9,80
broken_____,12.5,0.1,0.2,0.5,0.9,80
broken_____,13
short______,11,0.1,0.2,0.5,0.9,80
short______,18,0.1,0.2,0.5,0.9,80
short______,19
"""


def test_broken_and_short_clips_are_counted(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    write_numbered(media / "good________000010_000020.mp4", num_frames=100)
    write_numbered(media / "short_______000010_000020.mp4", num_frames=50)
    put(media / "broken______000010_000020.mp4", "not a video")
    manifest = import_ava_kinetics(train=put(tmp_path / "train.csv", ROWS), media_root=media, out=tmp_path / "out")
    validate_manifest(manifest)
    assert manifest.boxes is not None
    assert manifest.boxes.select(["clip_id", "pts_seconds"]).to_pylist() == [
        {"clip_id": "good________000010_000020", "pts_seconds": 2.5},
        {"clip_id": "short_______000010_000020", "pts_seconds": 1.0},
    ]
    assert manifest.clips.column("end_seconds").to_pylist() == [4.0, 2.0]
    told = {key: value for key, value in manifest.counts.items() if key.startswith(("rows_", "videos_", "keyframes_"))}
    assert {key: value for key, value in told.items() if value} == {
        "videos_unreadable": 1,
        "rows_without_video": 1,
        "keyframes_without_video": 1,
        "rows_outside_video": 1,
        "keyframes_outside_video": 1,
    }


def test_frames_without_a_rate_and_nothing_that_can_be_read(tmp_path: Path) -> None:
    train = put(tmp_path / "train.csv", ROWS)
    put(tmp_path / "torn" / "broken______000010_000020.mp4", "not a video")
    with pytest.raises(InputError, match=r"lies inside a video there: .*1 videos unreadable"):
        import_ava_kinetics(train=train, media_root=tmp_path / "torn", out=tmp_path / "out")
    write_pictures(tmp_path / "media" / "good________000010_000020", 3)
    with pytest.raises(InputError, match=r"good_\S+: frames without a rate; expected frames_fps"):
        import_ava_kinetics(train=train, media_root=tmp_path / "media", out=tmp_path / "out", frames_fps=0.0)
