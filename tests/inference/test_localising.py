"""What the command does with several videos, folders and streams."""

import threading
from pathlib import Path

import numpy as np
import pytest
from inference_fakes import BLUE, RED, PaintDetector, untrained, write_uneven, write_video

from tubelet.cli.localising import Options, check_places, closed_in_time, found_in, localise_places, name_of
from tubelet.cli.using import localise
from tubelet.inference.detections_file import read_detections
from tubelet.inference.outputs import localise_live, localise_video
from tubelet.inference.pipeline import Localiser
from tubelet.types import InputError, VideoError
from tubelet.video.convert import FrameSize
from tubelet.video.live import LiveSource


def walking(path: Path, num_frames: int = 20) -> Path:
    return write_video(
        path, lambda i: [((10 + i, 20, 34 + i, 80), RED), ((100, 20, 124, 80), BLUE)], num_frames=num_frames
    )


def options(out: Path, **changes: object) -> Options:
    usual = {"out": out, "threshold": None, "csv_threshold": 0.05, "also": (), "strip": False, "seconds": None}
    return Options(**usual | changes)  # type: ignore[arg-type]


def localiser() -> Localiser:
    return Localiser(untrained(), people=PaintDetector())


def test_a_stream_gives_the_moments_of_the_file_it_is_made_of(tmp_path: Path) -> None:
    video = walking(tmp_path / "v.mp4")
    said: list[float] = []
    with LiveSource(f"file://{video}", size=FrameSize()) as source:
        done = localise_live(
            localiser(),
            source,
            tmp_path / "out",
            name="door",
            also=("vtt",),
            on_moment=lambda moment: said.append(moment.pts_seconds),
        )
    assert [path.name for path in done.files.paths] == ["door.csv", "door.vtt", "door.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["door.csv", "door.json", "door.vtt"]
    found, expected = read_detections(done.files.json), list(localiser()(video))
    assert said == [moment.pts_seconds for moment in expected]
    for live, moment in zip(found.moments, expected, strict=True):
        assert live.person_ids.tolist() == moment.person_ids.tolist()
        assert live.scores == pytest.approx(moment.scores, abs=2e-4)
        assert live.boxes_norm == pytest.approx(moment.boxes_norm, abs=2e-4)
    assert found.video.path == f"file://{video}"


def test_what_was_found_before_a_stream_broke_off_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LiveSource(f"file://{walking(tmp_path / 'v.mp4')}", size=FrameSize()) as source:
        whole = source.frames

        def broken():  # type: ignore[no-untyped-def]
            yield from whole()
            raise VideoError("door", "the stream broke off")

        monkeypatch.setattr(source, "frames", broken)
        with pytest.raises(VideoError, match="broke off"):
            localise_live(localiser(), source, tmp_path / "out", name="door")
    assert len(read_detections(tmp_path / "out" / "door.json").moments) > 0


def test_after_its_time_a_source_is_closed(tmp_path: Path) -> None:
    with LiveSource(f"file://{walking(tmp_path / 'v.mp4')}", size=FrameSize(), most_waiting=2) as source:
        with closed_in_time(source, 0.0):
            for _ in range(200):
                if source.was_closed:
                    break
                threading.Event().wait(0.02)
        assert len(list(source.frames())) < 5


def test_folders_are_opened_and_names_told_apart(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", "notes.txt"):
        (tmp_path / name).touch()
    inside = [str(tmp_path / "a.MKV"), str(tmp_path / "b.mp4")]
    assert found_in((str(tmp_path), "rtsp://door/1", "x.mp4")) == [*inside, "rtsp://door/1", "x.mp4"]
    check_places(inside, tmp_path, None)
    with pytest.raises(InputError, match=r"\['a'\]: more than one video of this name"):
        check_places([*inside, "elsewhere/a.mp4"], tmp_path, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no video in this folder"):
        found_in((str(tmp_path / "empty"),))
    with pytest.raises(InputError, match="no video given"):
        localise(())


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("in/street.1.mp4", "street.1"),
        ("0", "camera0"),
        ("/dev/video2", "camera2"),
        ("rtsp://user:secret@door:554/cam/1", "door-554-cam-1"),
    ],
)
def test_results_have_a_files_name(place: str, name: str) -> None:
    assert name_of(place) == name


def test_a_broken_video_does_not_keep_the_others_from_their_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    walking(tmp_path / "b.mp4", 6)
    with pytest.raises(InputError, match="1 of 2 videos could not be read"):
        localise_places(localiser(), found_in((str(tmp_path),)), options(tmp_path / "out"))
    printed = capsys.readouterr()
    assert "a.mp4: not a video file" in printed.err
    assert f"{tmp_path / 'out' / 'b.mp4'}" in printed.out
    with pytest.raises(VideoError, match=r"a\.mp4"):
        localise_places(localiser(), [str(tmp_path / "a.mp4")], options(tmp_path / "out"))


def test_a_threshold_reaches_the_files(tmp_path: Path) -> None:
    localise_places(localiser(), [str(walking(tmp_path / "v.mp4", 6))], options(tmp_path / "out", threshold=0.25))
    assert read_detections(tmp_path / "out" / "v.json").thresholds == pytest.approx(np.full(4, 0.25))
    with pytest.raises(InputError, match="threshold is 2"):
        localise_places(localiser(), [str(tmp_path / "v.mp4")], options(tmp_path / "out", threshold=2.0))


def test_frames_that_the_mp4_repeats_or_leaves_out_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At 6 / 1.3 s on average, two of 0.0, 0.1 and 0.2 fall on one frame, and the pause up to 1.0 is filled."""
    uneven = write_uneven(tmp_path / "uneven.mp4", [0, 1, 2, 10, 11, 12, 13])
    localise_places(localiser(), [str(walking(tmp_path / "even.mp4", 6))], options(tmp_path / "out"))
    assert "in the mp4" not in capsys.readouterr().out
    done = localise_video(localiser(), uneven, tmp_path / "direct")
    assert done.num_repeated > 0
    assert done.num_dropped > 0
    localise_places(localiser(), [str(uneven)], options(tmp_path / "out"))
    told = f"{done.num_repeated} frames repeated, {done.num_dropped} left out in the mp4: its rate is constant"
    assert told in capsys.readouterr().out
