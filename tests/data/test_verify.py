"""Manifests whose media are damaged in every way that is told apart, checks that are killed, and what is left."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import deadly
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numbered_video import faststart, write_numbered
from still_pictures import write_pictures

from tubelet.cli import main
from tubelet.data import verify
from tubelet.data.info import manifest_facts
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.verify import Report, check_video, verify_manifest, write_clean
from tubelet.labels import LabelSpace
from tubelet.types import InputError

SPACE = LabelSpace(name="toy", names=("walk", "run", "jump"))


def write(root: Path, rows: list[dict[str, Any]], **options: Any) -> Manifest:
    clips = [{"start_seconds": 0.0, "end_seconds": 2.0, "split": "train", "labels": [0], **row} for row in rows]
    common: dict[str, Any] = {"kind": "classify", "multi_label": False, **options}
    return write_manifest(
        root / "manifest", name="toy", label_space=SPACE, media_root=root, licence="", source="", clips=clips, **common
    )


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("verify")
    write_numbered(root / "good.mp4", num_frames=50)
    write_numbered(root / "other.mp4", num_frames=50, first=100)
    shutil.copy(root / "other.mp4", root / "again.mp4")
    whole = faststart(write_numbered(root / "x.mp4", num_frames=50, first=200), root / "whole.mp4")
    (root / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size * 7 // 10])
    (root / "text.mp4").write_text("not a video")
    return root


ROWS: list[dict[str, Any]] = [
    {"clip_id": "fine", "video": "good.mp4"},
    {"clip_id": "gone", "video": "gone.mp4"},
    {"clip_id": "text", "video": "text.mp4", "split": "val"},
    {"clip_id": "cut", "video": "cut.mp4"},
    {"clip_id": "before the cut", "video": "cut.mp4", "end_seconds": 0.8},
    {"clip_id": "longer", "video": "good.mp4", "end_seconds": 3.0, "split": "test"},
    {"clip_id": "nearly", "video": "good.mp4", "end_seconds": 2.2},
    {"clip_id": "first", "video": "other.mp4"},
    {"clip_id": "twin", "video": "again.mp4", "split": "test"},
    {"clip_id": "same row", "video": "good.mp4", "labels": [1]},
    {"clip_id": "another part", "video": "again.mp4", "end_seconds": 1.0},
]


def test_each_problem_is_found_with_its_reason(media: Path, tmp_path: Path) -> None:
    manifest = write(media, ROWS)
    calls: list[tuple[int, int]] = []
    report = verify_manifest(manifest, tmp_path / "report.json", num_workers=2, on_video=lambda *n: calls.append(n))
    assert {i.clip_id: i.problem for i in report.items} == {
        "gone": "missing",
        "text": "broken",
        "cut": "broken",
        "longer": "short",
        "twin": "duplicate",
        "same row": "duplicate",
    }
    reasons = {i.clip_id: i.reason for i in report.items}
    assert reasons["gone"] == "no such file"
    assert "not a video" in reasons["text"]
    assert reasons["longer"] == "the video ends at 2.00 s, the clip needs it up to 3.00 s"
    assert reasons["twin"] == "shows the same as clip 'first' of split 'train'"
    assert reasons["same row"] == "shows the same as clip 'fine' of split 'train'"
    assert (report.num_videos, report.num_clips, report.counts["broken"]) == (6, 11, 2)
    assert 150 < report.num_frames < 200  # three whole videos of 50, and what is left of the cut one
    assert calls == [(n, 6) for n in range(7)]
    written = json.loads((tmp_path / "report.json").read_text())
    assert [i["clip_id"] for i in written["items"]] == ["gone", "text", "cut", "longer", "twin", "same row"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.json", "report.json.journal"]


def test_a_second_check_decodes_only_what_has_changed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_numbered(tmp_path / f"{name}.mp4", num_frames=20)
        write_pictures(tmp_path / name, 3)
    rows = [{"clip_id": n, "video": n, "fps": 3.0 if "." not in n else 0.0} for n in ("a", "b", "a.mp4", "b.mp4")]
    manifest = write(
        tmp_path, [{"end_seconds": 0.7, **row} for row in rows], extra_counts={"videos_missing": 2, "x": 0}
    )
    first = verify_manifest(manifest, tmp_path / "r.json", num_workers=1)
    assert first.at_import == {"videos_missing": 2}
    calls: list[int] = []

    def again() -> Report:
        calls.clear()
        return verify_manifest(manifest, tmp_path / "r.json", num_workers=1, on_video=lambda n, _: calls.append(n))

    assert (again(), calls) == (first, [4])
    (tmp_path / "b.mp4").write_bytes((tmp_path / "b.mp4").read_bytes()[:-100])
    min((tmp_path / "a").iterdir()).write_bytes(b"no picture")  # the folder itself stays as it is
    changed = again()
    assert calls == [2, 3, 4]
    assert {item.clip_id: item.problem for item in changed.items if item.problem == "broken"} == {
        "a": "broken",
        "b.mp4": "broken",
    }


def test_damage_behind_the_clips_loses_none(media: Path, tmp_path: Path) -> None:
    manifest = write(media, [{"clip_id": "a", "video": "cut.mp4", "end_seconds": 0.8}])
    report = verify_manifest(manifest, tmp_path / "r.json", num_workers=1)
    assert (report.items, report.damaged_elsewhere) == ((), ("cut.mp4",))


def test_a_last_frame_that_cannot_be_read_breaks_its_clip(tmp_path: Path) -> None:
    write_pictures(tmp_path / "frames", 3)
    last = tmp_path / "frames" / "00003.png"
    last.write_bytes(last.read_bytes()[:40])
    row = {"clip_id": "f", "video": "frames", "start_seconds": 0.0, "end_seconds": 0.3, "split": "train", "labels": [0]}
    manifest = write(tmp_path, [row | {"fps": 10.0}])
    (item,) = verify_manifest(manifest, tmp_path / "r.json", num_workers=1).items
    assert item.problem == "broken"


def test_a_localisation_set_needs_its_last_keyframe(media: Path, tmp_path: Path) -> None:
    box = {"x1": 0.1, "y1": 0.1, "x2": 0.5, "y2": 0.5, "labels": [1]}
    rows = [{"clip_id": n, "video": n, "labels": [], "end_seconds": 9.0} for n in ("good.mp4", "other.mp4")]
    boxes = [{**box, "clip_id": "good.mp4", "pts_seconds": 1.5}, {**box, "clip_id": "other.mp4", "pts_seconds": 4.0}]
    manifest = write(media, rows, boxes=boxes, kind="localise", multi_label=True)
    report = verify_manifest(manifest, tmp_path / "r.json", num_workers=1)
    assert [(i.clip_id, i.problem) for i in report.items] == [("other.mp4", "short")]
    clean = write_clean(manifest, report, tmp_path / "clean")
    assert clean.boxes is not None
    assert (clean.clips.num_rows, clean.boxes.num_rows, clean.counts["clips_short_removed"]) == (1, 1, 1)


def test_the_clean_manifest_has_the_rest_and_the_counts(media: Path, tmp_path: Path) -> None:
    manifest = write(media, ROWS, extra_counts={"rows_excluded": 4})
    report = verify_manifest(manifest, tmp_path / "r.json", num_workers=2)
    clean = read_manifest(write_clean(manifest, report, tmp_path / "clean").root)
    names = ["fine", "before the cut", "nearly", "first", "another part"]
    assert clean.clips.column("clip_id").to_pylist() == names
    expected = {"clips": 5, "videos": 4, "clips_train": 5, "rows_excluded": 4, "clips_missing_removed": 1}
    assert clean.counts.items() >= (expected | {"clips_broken_removed": 2, "clips_duplicate_removed": 2}).items()
    assert "clips_test" not in clean.counts
    with pytest.raises(InputError, match="is the manifest itself"):
        write_clean(manifest, report, manifest.root)
    nothing = write(media, ROWS[1:3])
    report = verify_manifest(nothing, tmp_path / "n.json", num_workers=1)
    with pytest.raises(InputError, match="no clip can be used"):
        write_clean(nothing, report, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("video", "../good.mp4", "video is '../good.mp4', expected a path below the media root"),
        ("clip_id", "first", "clip_id is 'first', which an earlier row has already"),
        ("end_seconds", math.nan, "end_seconds is nan"),
        ("start_seconds", -5.0, "start_seconds is -5.0"),
        ("labels", [999], "labels is [999], expected columns 0..2"),
    ],
)
def test_tables_with_a_mistake_are_refused_before_anything_is_opened(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, value: Any, message: str
) -> None:
    monkeypatch.chdir(media)  # where a cell that was taken for a path from here would be found
    manifest = write(tmp_path, [{"clip_id": name, "video": "gone.mp4"} for name in ("first", "second")])
    rows = [manifest.clips.to_pylist()[0], manifest.clips.to_pylist()[1] | {column: value}]
    pq.write_table(pa.Table.from_pylist(rows, schema=manifest.clips.schema), manifest.root / "clips.parquet")
    spoilt = read_manifest(manifest.root)
    for check in (lambda: verify_manifest(spoilt, tmp_path / "r.json", num_workers=1), lambda: manifest_facts(spoilt)):
        with pytest.raises(InputError) as error:
            check()
        assert f"clips.parquet: row 1: {message}" in str(error.value)
    assert not list(tmp_path.glob("r.json*"))


def test_a_video_that_crashes_the_decoder_is_a_line(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "check_video", deadly.check_or_die)
    shutil.copy(media / "good.mp4", tmp_path / "deadly.mp4")
    shutil.copy(media / "other.mp4", tmp_path / "other.mp4")
    manifest = write(tmp_path, [{"clip_id": n, "video": f"{n}.mp4"} for n in ("deadly", "other")])
    report = verify_manifest(manifest, tmp_path / "r.json", num_workers=2)
    assert [(i.clip_id, i.problem) for i in report.items] == [("deadly", "broken")]
    assert report.items[0].reason == "its worker process ended 3 times (signal 11, SIGSEGV)"


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import deadly
from tubelet.cli import main
from tubelet.data import verify
from tubelet.data.manifest import read_manifest
verify.check_video = deadly.check_slowly
verify.verify_manifest(read_manifest({manifest!r}), Path({report!r}), num_workers=2)
"""


def test_a_killed_check_goes_on_and_ends_with_the_same_report(media: Path, tmp_path: Path) -> None:
    names = ["good.mp4", "gone.mp4", "text.mp4", "cut.mp4", "other.mp4", "again.mp4"]
    for i in range(6):
        shutil.copy(media / "good.mp4", media / f"copy{i}.mp4")
    names += [f"copy{i}.mp4" for i in range(6)]
    manifest = write(media, [{"clip_id": n, "video": n} for n in names])
    expected = verify_manifest(manifest, tmp_path / "whole.json", num_workers=2)
    report, journal = tmp_path / "r.json", tmp_path / "r.json.journal"
    script = SCRIPT.format(tests=str(Path(__file__).parent.parent), manifest=str(manifest.root), report=str(report))
    process = subprocess.Popen([sys.executable, "-c", script])
    while (known := journal.read_text().count("\n{") if journal.exists() else 0) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not report.exists()
    with journal.open("a") as file:
        file.write('{"video": "good.mp4", "fps"')  # a line that the kill cut short
    known = sum(line.endswith("}") for line in journal.read_text().splitlines())
    (media / "copy5.mp4").touch()  # changed since: looked at again if it was known
    calls: list[int] = []
    result = verify_manifest(manifest, report, num_workers=2, on_video=lambda done, _: calls.append(done))
    assert calls[0] in (known - 1, known)
    assert calls[-1] == 12
    assert result == expected
    assert report.read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_a_remuxed_copy_shows_the_same(media: Path) -> None:
    copy = faststart(media / "good.mp4", media / "remuxed.mkv")
    first, second = (check_video(None, str(path), 0.0) for path in (media / "good.mp4", copy))
    assert copy.read_bytes() != (media / "good.mp4").read_bytes()
    assert (first.num_frames, second.num_frames) == (50, 50)
    assert replace(first, digest="") == replace(second, digest="")


def test_a_stopped_check_says_how_to_go_on(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write(media, ROWS)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tubelet.data.verify.verify_manifest", stopped)
    monkeypatch.setattr(
        sys, "argv", ["tubelet", "data", "verify", str(manifest.root), "--report", f"{tmp_path}/r.json"]
    )
    with pytest.raises(SystemExit, match="130"):
        main()
    assert capsys.readouterr().err.endswith("tubelet: stopped; the same command goes on from here\n")


def test_the_command(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write(media, ROWS, extra_counts={"videos_missing": 2, "rows_excluded": 0})
    options = ["--report", str(tmp_path / "r.json"), "--write-clean", str(tmp_path / "clean"), "--num-workers", "2"]
    monkeypatch.setattr(sys, "argv", ["tubelet", "data", "verify", str(manifest.root), *options])
    main()
    shown = capsys.readouterr()
    assert shown.out.startswith("missing    gone (gone.mp4): no such file\nbroken ")  # the gravest first
    assert "11 clips of 6 videos" in shown.out
    assert "1 missing, 2 broken, 1 short, 2 duplicate" in shown.out
    assert "(5 clips)" in shown.out
    assert "6/6" in shown.err
    assert "counted at the import: 2 videos missing\n" in shown.out
    monkeypatch.setattr(sys, "argv", ["tubelet", "data", "verify", str(manifest.root), *options[:2]])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    monkeypatch.setattr(sys, "argv", ["tubelet", "data", "verify", str(tmp_path / "clean"), *options[:2]])
    main()  # nothing is wrong with what is left
    assert "0 missing, 0 broken, 0 short, 0 duplicate" in capsys.readouterr().out
