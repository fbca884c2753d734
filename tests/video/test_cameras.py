"""Network cameras over real RTSP, from a server on this machine; and what can be tried of a camera that is not here."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from rtsp_server import Camera, h264_frames, on_air

import tubelet.video.live
from tubelet.types import VideoError
from tubelet.video.convert import FrameSize
from tubelet.video.live import LiveSource

SIZE = FrameSize(long_side=320, shrink_only=True)
FPS = 25
NUM_FRAMES = 50


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that does something else for ten seconds nobody has fallen silent."""
    monkeypatch.setattr(tubelet.video.live, "SILENCE_SECONDS", 120.0)


def picture(number: int) -> np.ndarray:
    """Grey of the brightness 4 x its number, and enough noise for packets in pieces."""
    frame = np.full((240, 320, 3), 20 + 4 * (number % NUM_FRAMES), dtype=np.uint8)
    frame[::6, ::4] += np.random.default_rng(number).integers(0, 20, (40, 80, 1), dtype=np.uint8)
    return frame


@pytest.fixture(scope="module")
def street() -> list[list[bytes]]:
    frames = h264_frames((picture(i) for i in range(NUM_FRAMES)), FPS, (320, 240))
    assert len(frames) == NUM_FRAMES
    assert max(len(unit) for unit in frames[0]) > 1200
    return frames


def numbers(frames: Iterator[tuple[float, np.ndarray]]) -> list[tuple[float, int]]:
    return [(round(pts, 3), round((float(np.median(frame)) - 20) / 4)) for pts, frame in frames]


def test_every_frame_comes_with_its_time(street: list[list[bytes]]) -> None:
    with on_air(Camera(street, fps=FPS)) as camera, LiveSource(camera.address, size=SIZE) as source:
        assert (source.meta.width, source.meta.height, source.meta.fps) == (320, 240, 25.0)
        seen = numbers(source.frames())
        assert (source.counts.read, source.counts.dropped, source.counts.damaged) == (NUM_FRAMES, 0, 0)
        assert not source.was_closed
    assert camera.asked[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    assert [pts for pts, _ in seen] == [round(i / FPS, 3) for i in range(NUM_FRAMES)]
    assert [number for _, number in seen] == pytest.approx(list(range(NUM_FRAMES)), abs=1)


def test_a_password_is_given_and_told_nobody(street: list[list[bytes]]) -> None:
    with on_air(Camera(street, fps=FPS, password="me:secret")) as camera:
        with LiveSource(camera.address.replace("://", "://me:secret@"), size=SIZE) as source:
            assert source.place == source.meta.path == camera.address
            assert len(numbers(source.frames())) == NUM_FRAMES
        with pytest.raises(VideoError, match="the stream cannot be opened") as caught:
            LiveSource(camera.address.replace("://", "://me:wrong@"), size=SIZE)
    assert str(caught.value) == f"{camera.address}: the stream cannot be opened (Server returned 401 Unauthorized (authorization failed))"  # noqa: E501  # fmt: skip


def test_a_recording_waits_for_who_is_slow(street: list[list[bytes]]) -> None:
    recording = Camera(street * 4, fps=FPS, length=8.0)
    with on_air(recording) as camera, LiveSource(camera.address, size=SIZE, most_waiting=4) as source:
        time.sleep(0.2)
        assert len(numbers(source.frames())) == 4 * NUM_FRAMES
        assert source.counts.dropped == 0


def test_who_is_slow_loses_frames_and_is_never_far_behind(street: list[list[bytes]]) -> None:
    """However long it lasts: behind by what came since the frame before was taken, and a few times what may wait."""
    most = 8
    quick = Camera(street * 8, fps=FPS, pace=0.004)
    with on_air(quick) as camera, LiveSource(camera.address, size=SIZE, most_waiting=most) as source:
        seen, read = [], [0, 0]
        for pts, _ in source.frames():
            seen.append(round(pts * FPS))
            read.append(source.counts.read)
            assert read[-1] - seen[-1] <= read[-1] - read[-3] + 4 * most
            time.sleep(0.1)
        counts = source.counts
    assert counts.read == 8 * NUM_FRAMES
    assert counts.dropped == counts.read - len(seen) > 4 * NUM_FRAMES
    assert seen == sorted(set(seen))
    assert seen[-1] == 8 * NUM_FRAMES - 1


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_an_hour_takes_no_more_memory_than_a_minute(street: list[list[bytes]]) -> None:
    """Of 4,000 frames nobody takes all but those that wait are let go; kept, they would be 880 MiB."""
    with on_air(Camera(street * 80, fps=FPS)) as camera, LiveSource(camera.address, size=SIZE) as source:
        deadline, before = time.monotonic() + 240, 0.0
        while source.counts.read < 80 * NUM_FRAMES and time.monotonic() < deadline:
            time.sleep(0.01)
            if not before and source.counts.read > 1000:
                before = resident_mib()
        assert source.counts.read == 80 * NUM_FRAMES
        assert resident_mib() - before < 100
        assert len(list(source.frames())) <= tubelet.video.live.MOST_WAITING


@pytest.mark.parametrize("end", ["gone", "reset"])
def test_a_connection_that_ends_is_the_end(street: list[list[bytes]], end: Any) -> None:
    """Whether the camera has gone or the film is over, FFmpeg says the same."""
    with on_air(Camera(street, fps=FPS, pace=0.01, end=end)) as camera, LiveSource(camera.address, size=SIZE) as source:
        seen = numbers(source.frames())
    assert NUM_FRAMES - 2 <= len(seen) <= NUM_FRAMES
    assert not source.was_closed


def test_a_camera_that_falls_silent_has_failed(street: list[list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tubelet.video.live, "SILENCE_SECONDS", 0.5)
    with on_air(Camera(street, fps=FPS, end="silent")) as camera, LiveSource(camera.address, size=SIZE) as source:
        frames = source.frames()
        assert len(numbers(next(frames) for _ in range(NUM_FRAMES))) == NUM_FRAMES
        with pytest.raises(VideoError) as caught:
            next(frames)
    assert str(caught.value) == f"{camera.address}: the stream broke off (nothing came for 0.5 s)"


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tubelet.video.live, "SILENCE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"rtsp://127.0.0.1:{mute.getsockname()[1]}/street"
        with pytest.raises(VideoError, match=r"the stream cannot be opened \(nothing came for 0\.3 s\)"):
            LiveSource(address, size=SIZE)


# A camera on a cable. None is here: FFmpeg's own test picture stands for it, in the pixels that webcams send, behind
# the very call that would open one.


def test_a_webcam_is_asked_for_by_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    really, asked = av.open, []

    def stand_in(place: str, mode: str, **options: Any) -> Any:
        asked.append((place, mode, options))
        return really("testsrc=size=320x240:rate=30,format=yuyv422", "r", format="lavfi")

    monkeypatch.setattr(av, "open", stand_in)
    for place in ("1", "/dev/video1"):
        with LiveSource(place, size=SIZE, most_waiting=4) as source:
            assert (source.place, source.meta.width, source.meta.height, source.meta.fps) == (
                "/dev/video1",
                320,
                240,
                30,
            )
            frames = source.frames()
            times = [next(frames)[0] for _ in range(20)]
        assert times[0] == 0.0
        assert times == sorted(set(times))
    assert asked == [("/dev/video1", "r", {"timeout": 120.0, "format": "v4l2"})] * 2


def test_what_is_no_camera_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VideoError, match=r"^/dev/video77: the camera cannot be opened \(No such file or directory\)$"):
        LiveSource("77", size=SIZE)
    with pytest.raises(
        VideoError, match=r"^/dev/null: the camera cannot be opened \(Inappropriate ioctl for device\)$"
    ):
        LiveSource("/dev/null", size=SIZE)

    def refused(*_: object, **__: object) -> None:
        raise av.error.PermissionError(13, "Permission denied", "/dev/video0")

    monkeypatch.setattr(av, "open", refused)
    with pytest.raises(VideoError, match=r"^/dev/video0: the camera cannot be opened \(Permission denied\)$"):
        LiveSource("0", size=SIZE)
