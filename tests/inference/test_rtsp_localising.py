"""``tubelet localise rtsp://...`` and ``tubelet.load(...)("rtsp://...")``, from a camera server on this machine."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from inference_fakes import BLUE, GREY, RED, PaintDetector, untrained
from rtsp_server import Camera, h264_frames, on_air

import tubelet
import tubelet.video.live
from tubelet.cli import main
from tubelet.inference.detections_file import read_detections
from tubelet.inference.pipeline import Localiser
from tubelet.video.live import LiveSource

FPS = 10
NUM_FRAMES = 60
NUM_MOMENTS = 12
"""A moment each half second from 0 on."""


def pictures() -> Iterator[np.ndarray]:
    for i in range(NUM_FRAMES):
        frame = np.full((96, 160, 3), GREY, dtype=np.uint8)
        frame[20:80, 10 + i : 34 + i] = RED
        frame[20:80, 130:150] = BLUE
        yield frame


@pytest.fixture(scope="module")
def street() -> list[list[bytes]]:
    return h264_frames(pictures(), FPS, (160, 96))


@pytest.fixture(autouse=True)
def painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small untrained model and a detector of painted people; all else is as the command has it."""
    monkeypatch.setattr(tubelet, "load", lambda *_, **__: Localiser(untrained(), people=PaintDetector()))
    monkeypatch.setattr(tubelet.video.live, "SILENCE_SECONDS", 120.0)


def localise(monkeypatch: pytest.MonkeyPatch, address: str, out: Path, *more: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tubelet", "localise", address, "--out", str(out), "--threshold", "0", *more])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def seen_in(out: Path, camera: Camera) -> Path:
    return out / f"127-0-0-1-{camera.server_address[1]}-street.json"


def test_a_camera_is_watched_to_its_end(monkeypatch, capsys, street, tmp_path):
    with on_air(Camera(street, fps=FPS, pace=0.01, password="me:secret")) as camera:
        address = camera.address.replace("://", "://me:secret@")
        assert localise(monkeypatch, address, tmp_path, "--also", "vtt") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len([line for line in lines if " s  1: " in line]) == NUM_MOMENTS
    assert "the source ended: 60 frames read, 0 dropped to keep up, 0 damaged" in lines
    assert lines[-3:] == [str(seen_in(tmp_path, camera).with_suffix(s)) for s in (".csv", ".vtt", ".json")]
    assert err == ""
    found = read_detections(seen_in(tmp_path, camera))
    assert [m.pts_seconds for m in found.moments] == [0.5 * k for k in range(NUM_MOMENTS)]
    for moment in found.moments:
        assert sorted(moment.person_ids.tolist()) == [1, 2]
        red = moment.boxes_norm[moment.person_ids.tolist().index(1)] * (160, 96, 160, 96)
        assert red == pytest.approx([10 + FPS * moment.pts_seconds, 20, 34 + FPS * moment.pts_seconds, 80], abs=3)
    assert "secret" not in out + seen_in(tmp_path, camera).read_text()
    assert json.loads(seen_in(tmp_path, camera).read_text())["video"]["path"] == camera.address


def test_a_camera_that_falls_silent_leaves_what_was_found(monkeypatch, capsys, street, tmp_path):
    monkeypatch.setattr(tubelet.video.live, "SILENCE_SECONDS", 1.0)
    with on_air(Camera(street, fps=FPS, end="silent")) as camera:
        assert localise(monkeypatch, camera.address, tmp_path) == 2
    out, err = capsys.readouterr()
    assert "the source ended: 60 frames read, 0 dropped to keep up, 0 damaged" in out
    assert err == (
        f"tubelet: {camera.address}: the stream broke off (nothing came for 1 s); what was found until then is in "
        f"{seen_in(tmp_path, camera)}\n"
    )
    # All of it: also the moments that were still waiting for frames to come.
    assert len(read_detections(seen_in(tmp_path, camera)).moments) == NUM_MOMENTS


def test_an_endless_camera_is_stopped_in_time(monkeypatch, capsys, street, tmp_path):
    with on_air(Camera(street * 500, fps=FPS, pace=0.005)) as camera:
        assert localise(monkeypatch, camera.address, tmp_path, "--seconds", "1") == 0
        assert camera.num_sent < 500 * NUM_FRAMES
    out, _ = capsys.readouterr()
    assert "stopped: " in out
    assert len(read_detections(seen_in(tmp_path, camera)).moments) > 0


def test_in_python_an_address_will_do(street, caplog):
    with on_air(Camera(street, fps=FPS, pace=0.01)) as camera:
        moments = list(tubelet.load()(camera.address))
    assert [m.pts_seconds for m in moments] == [0.5 * k for k in range(NUM_MOMENTS)]
    assert {m.video for m in moments} == {camera.address}
    assert caplog.text == ""


def test_in_python_what_a_slow_loop_loses_is_said(street, caplog, monkeypatch):
    with on_air(Camera(street * 4, fps=FPS)) as camera:
        moments = iter(tubelet.load()(camera.address))
        first = next(moments)
        with LiveSource(camera.address, size=tubelet.inference.pipeline.DECODE_SIZE) as other:  # meanwhile all has come
            while other.counts.read < 4 * NUM_FRAMES:
                assert not other.was_closed
        rest = list(moments)
    assert first.pts_seconds == 0.0
    assert [m.pts_seconds for m in rest] == sorted(m.pts_seconds for m in rest)
    assert rest[-1].pts_seconds > 20  # the newest is there
    (said,) = caplog.messages
    assert said.startswith(f"{camera.address}: 240 frames read, ")
    assert " 0 dropped" not in said
