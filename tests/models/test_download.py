"""Fetching from a server on this machine: whole, continued, changed in between, another file, none at all."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tubelet.models.download import download
from tubelet.types import InputError

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    content = CONTENT
    cut_after: int | None = None
    """Close the connection after this many bytes of an answer."""
    ranges: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path != "/file":
            self.send_error(404)
            return
        content = self.server.content
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.headers["If-Range"] == tag else 0
        if begin >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.send_header("ETag", tag)
        self.end_headers()
        end = None if self.server.cut_after is None else begin + self.server.cut_after
        self.wfile.write(content[begin:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.ranges = []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def address(server: Server, name: str = "file") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{name}"


def test_a_whole_file_gets_its_name_and_nothing_else_stays(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = tmp_path / "folder" / "file"
    digest = download(address(server), path, sha256=DIGEST[:8], on_bytes=lambda *numbers: seen.append(numbers))
    assert digest == DIGEST
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [item.name for item in path.parent.iterdir()] == ["file"]
    assert download(address(server), path) == DIGEST
    assert len(server.ranges) == 1  # the second time it was there


def test_a_stopped_transfer_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cut_after = 100_000
    with pytest.raises(InputError, match=r"the transfer ended early \(.*100000 bytes are kept"):
        download(address(server), tmp_path / "file")
    assert not (tmp_path / "file").exists()
    server.cut_after = None
    download(address(server), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_a_file_that_arrived_whole_but_was_not_named_is_only_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    (tmp_path / "file.part.tag").write_text(f'"{hashlib.md5(CONTENT).hexdigest()}"')
    assert download(address(server), tmp_path / "file") == DIGEST
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_file_that_changed_in_between_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.cut_after = 100_000
    with pytest.raises(InputError, match="ended early"):
        download(address(server), tmp_path / "file")
    server.cut_after, server.content = None, CONTENT[::-1]
    download(address(server), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT[::-1]


def test_another_file_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"its SHA-256 begins {DIGEST[:16]}, expected 00000000"):
        download(address(server), tmp_path / "file", sha256="00000000")
    assert list(tmp_path.iterdir()) == []


def test_no_file_and_no_server_are_one_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the server says 404 Not Found"):
        download(address(server, "none"), tmp_path / "file")
    with pytest.raises(InputError, match="no network connection") as error:
        download("http://127.0.0.1:9/file", tmp_path / "file")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
