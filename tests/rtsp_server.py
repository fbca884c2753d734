"""A camera as an RTSP server on this machine: H.264 in RTP packets between the answers of one TCP connection.

RFC 2326 (RTSP: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN; interleaved data, 10.12), RFC 3550 (RTP, and the BYE with
which a sender leaves) and RFC 6184 (H.264 in RTP: a NAL unit a packet, large ones in pieces).
"""

import base64
import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import av
import numpy as np

LARGEST = 1200
"""Bytes of a packet's load; larger NAL units go in pieces."""
CLOCK = 3_000_000_000
"""Of the first frame, in 1 / 90,000 s; cameras begin anywhere."""
End = Literal["bye", "gone", "reset", "silent"]
"""Says goodbye; ends the connection without a word; breaks it off in the middle of a packet; sends nothing any more."""


def h264_frames(pictures: Iterator[np.ndarray], fps: int, size_wh: tuple[int, int]) -> list[list[bytes]]:
    """Encode pictures (H, W, 3) as a camera does; return each frame's NAL units, parameter sets before key frames."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size_wh
    encoder.pix_fmt, encoder.framerate, encoder.gop_size = "yuv420p", fps, fps
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast", "x264-params": "log=-1"}
    packets = [p for picture in pictures for p in encoder.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))]
    units = [re.split(b"\0\0\0?\1", bytes(packet)) for packet in (*packets, *encoder.encode(None))]
    return [[unit for unit in frame if unit] for frame in units]


class Camera(socketserver.ThreadingTCPServer):
    """Sends its frames to whoever asks it to play.

    Args:
        frames: NAL units of each frame.
        fps: Frames a second, in their times.
        pace: Seconds between two frames; 0 = as fast as they are taken.
        end: What happens after the last frame.
        length: Seconds that are announced; None = a live stream, without an end.
        password: ``user:password`` that is wanted; None = nothing is.
    """

    daemon_threads = True

    def __init__(self, frames: Sequence[list[bytes]], *, fps: int, pace: float = 0.0, end: End = "bye",
                 length: float | None = None, password: str | None = None) -> None:  # fmt: skip
        self.video, self.fps, self.pace, self.end, self.length, self.password = frames, fps, pace, end, length, password
        self.asked: list[str] = []
        self.num_sent = 0
        self.stopped = threading.Event()
        super().__init__(("127.0.0.1", 0), _Conversation)

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self.server_address[1]}/street"

    def describe(self) -> str:
        sets = ",".join(base64.b64encode(unit).decode() for unit in self.video[0] if unit[0] & 31 in (7, 8))
        until = "now-" if self.length is None else f"0-{self.length}"
        lines = ("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=street", "t=0 0", f"a=range:npt={until}", "m=video 0 RTP/AVP 96",
                 "a=rtpmap:96 H264/90000", f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}",
                 f"a=framerate:{self.fps}", "a=control:video")  # fmt: skip
        return "".join(f"{line}\r\n" for line in lines)


class _Conversation(socketserver.StreamRequestHandler):
    server: Camera

    def handle(self) -> None:
        while words := self.rfile.readline().split():
            headers = dict(line.decode().strip().split(": ", 1) for line in iter(self.rfile.readline, b"\r\n"))
            method = words[0].decode()
            self.server.asked.append(method)
            if method == "TEARDOWN" or not self._answered(method, headers):
                return

    def _answered(self, method: str, headers: dict[str, str]) -> bool:
        """Answer a request, and play where that was it; return whether there may be another."""
        wanted, body, more = self.server.password, "", {"Public": "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"}
        if wanted and headers.get("Authorization") != f"Basic {base64.b64encode(wanted.encode()).decode()}":
            self._say("401 Unauthorized", headers, {"WWW-Authenticate": 'Basic realm="street"'})
            return True
        if method == "DESCRIBE":
            body, more = self.server.describe(), {"Content-Type": "application/sdp"}
        elif method == "SETUP":
            if "TCP" not in headers["Transport"]:
                self._say("461 Unsupported transport", headers, {})
                return True
            more = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
        self._say("200 OK", headers, more | {"Session": "1;timeout=60"}, body)
        if method == "PLAY":
            self._play()
        return method != "PLAY"

    def _say(self, status: str, headers: dict[str, str], more: dict[str, str], body: str = "") -> None:
        lines = (f"RTSP/1.0 {status}", f"CSeq: {headers['CSeq']}", *(f"{name}: {text}" for name, text in more.items()))
        self.wfile.write("\r\n".join((*lines, f"Content-Length: {len(body)}", "", body)).encode())

    def _play(self) -> None:
        camera, number, begun = self.server, 0, time.monotonic()
        try:
            for i, units in enumerate(camera.video):
                if camera.stopped.wait(max(0.0, begun + i * camera.pace - time.monotonic())):
                    return
                loads = [load for unit in units for load in _loads(unit)]
                for k, load in enumerate(loads):
                    last = k + 1 == len(loads)
                    head = struct.pack(
                        ">BBHII", 0x80, 96 | 128 * last, number & 0xFFFF, CLOCK + 90000 * i // camera.fps, 7
                    )
                    self.wfile.write(struct.pack(">cBH", b"$", 0, len(head + load)) + head + load)
                    number += 1
                camera.num_sent += 1
            if camera.end == "bye":
                self.wfile.write(struct.pack(">cBHBBHI", b"$", 1, 8, 0x81, 203, 1, 7))
            elif camera.end == "reset":
                self.wfile.write(struct.pack(">cBH", b"$", 0, 1000) + b"only a part")
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                        struct.pack("ii", 1, 0))  # fmt: skip
            elif camera.end == "silent":
                camera.stopped.wait()
            if camera.end in ("bye", "gone"):  # what has been sent is still to arrive
                self.request.shutdown(socket.SHUT_WR)
                self.rfile.read()
        except OSError:  # who looked has gone
            pass


def _loads(unit: bytes) -> Iterator[bytes]:
    """Yield what the packets of a NAL unit carry."""
    if len(unit) <= LARGEST:
        yield unit
        return
    pieces = [unit[i : i + LARGEST] for i in range(1, len(unit), LARGEST)]
    for i, piece in enumerate(pieces):
        place = 128 * (i == 0) | 64 * (i + 1 == len(pieces))
        yield bytes((unit[0] & 0xE0 | 28, place | unit[0] & 31)) + piece


@contextmanager
def on_air(camera: Camera) -> Iterator[Camera]:
    """Have a camera answer."""
    thread = threading.Thread(target=camera.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield camera
    finally:
        camera.stopped.set()
        camera.shutdown()
        thread.join()
        camera.server_close()
