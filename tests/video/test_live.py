"""Streams over a local connection: an endless one loses frames when nobody takes them, a file does not."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from tubelet.types import VideoError
from tubelet.video.convert import FrameSize
from tubelet.video.live import LiveSource, is_live, without_password

SIZE = FrameSize(long_side=64, shrink_only=True)
NUM_FRAMES = 50


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MPEG transport stream of 50 frames, 25 a second, each of the brightness 4 x its number."""
    path = tmp_path_factory.mktemp("live") / "s.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        track = container.add_stream("mpeg2video", rate=25)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for number in range(NUM_FRAMES):
            picture = np.full((48, 64, 3), 4 * number, dtype=np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode(None))
    return path.read_bytes()


@pytest.fixture
def server(stream: bytes) -> Iterator[str]:
    """``/endless`` sends the stream without saying how long it is, ``/whole.ts`` with its length and parts of it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            whole = self.path == "/whole.ts"
            first = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0]) if whole else 0
            self.send_response(206 if whole and first else 200)
            self.send_header("Content-Type", "video/mp2t")
            if whole:
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(stream) - first))
                self.send_header("Content-Range", f"bytes {first}-{len(stream) - 1}/{len(stream)}")
            endless = self.path == "/endless"
            if endless:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            # /broken has neither a length nor chunks: its end is that of the connection.
            chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(stream), stream)
            self.wfile.write(chunks if endless else stream[first:])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    here = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=here.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{here.server_address[1]}"
    here.shutdown()
    thread.join()
    here.server_close()


def brightness(frames: Iterator[tuple[float, np.ndarray]]) -> list[tuple[float, int]]:
    return [(round(pts, 3), round(float(frame.mean()) / 4)) for pts, frame in frames]


def test_every_frame_comes_with_its_time(server: str) -> None:
    with LiveSource(f"{server}/endless", size=SIZE, most_waiting=NUM_FRAMES) as source:
        assert (source.meta.width, source.meta.height, source.meta.fps) == (64, 48, 25.0)
        seen = brightness(source.frames())
        assert source.counts.read == NUM_FRAMES
        assert source.counts.dropped == 0
    assert [pts for pts, _ in seen] == [round(i / 25, 3) for i in range(NUM_FRAMES)]
    assert [number for _, number in seen] == pytest.approx(list(range(NUM_FRAMES)), abs=1)


def test_frames_nobody_takes_are_dropped_evenly_and_counted(server: str) -> None:
    with LiveSource(f"{server}/endless", size=SIZE, most_waiting=8) as source:
        deadline = time.monotonic() + 20
        while source.counts.read < NUM_FRAMES and time.monotonic() < deadline:
            time.sleep(0.01)
        seen = brightness(source.frames())
        counts = source.counts
    assert counts.read == NUM_FRAMES
    assert counts.dropped == NUM_FRAMES - len(seen) > NUM_FRAMES // 2
    times = [pts for pts, _ in seen]
    assert times == sorted(times)
    assert times[0] == 0.0
    assert times[-1] > 1.9, "the newest are there"
    # Frames still belong to their times: brightness says which is which.
    assert [number for _, number in seen] == pytest.approx([round(25 * pts) for pts in times], abs=1)


def test_a_file_waits_instead(server: str) -> None:
    with LiveSource(f"{server}/whole.ts", size=SIZE, most_waiting=4) as source:
        time.sleep(0.2)
        assert len(brightness(source.frames())) == NUM_FRAMES
        assert source.counts.dropped == 0


def test_a_closed_source_ends(server: str) -> None:
    source = LiveSource(f"{server}/whole.ts", size=SIZE, most_waiting=4)
    next(source.frames())
    source.close()
    assert len(list(source.frames())) <= 5


def test_what_came_before_a_stream_broke_off_is_given(server: str) -> None:
    with LiveSource(f"{server}/broken", size=SIZE, most_waiting=NUM_FRAMES) as source:
        frames = source.frames()
        for _ in range(NUM_FRAMES - 2):
            next(frames)
        with pytest.raises(VideoError, match="broke off"):
            list(frames)


def test_what_cannot_be_opened_is_named() -> None:
    with pytest.raises(VideoError, match="camera cannot be opened"):
        LiveSource("7", size=SIZE)
    with pytest.raises(VideoError, match=r"^rtsp://127\.0\.0\.1:9/x: the stream cannot be opened") as caught:
        LiveSource("rtsp://me:secret@127.0.0.1:9/x", size=SIZE)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("rtsp://me:a@b@door:554/cam@1", "rtsp://door:554/cam@1"),
        ("http://door/cam?u=a@b", "http://door/cam?u=a@b"),
        ("udp://@239.0.0.1:5000", "udp://239.0.0.1:5000"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_nobody_is_told_a_password(place: str, shown: str) -> None:
    assert without_password(place) == shown


@pytest.mark.parametrize(
    ("place", "live"),
    [
        ("0", True),
        ("/dev/video1", True),
        ("rtsp://door/1", True),
        ("http://door/cam.mp4", True),
        ("https://door/playlist.m3u8?x=1", True),
        ("https://store/film.mp4?token=a", False),
        ("s3://bucket/film.mp4", False),
        ("film.mp4", False),
    ],
)
def test_which_places_are_live(place: str, live: bool) -> None:
    assert is_live(place) == live


def test_a_file_called_like_a_camera_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0").touch()
    assert not is_live("0")
