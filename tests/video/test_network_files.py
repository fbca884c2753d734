"""Files on a network file system that fail for a moment are opened again; for longer, the error is a typed one."""

import errno
from pathlib import Path

import pytest

from tubelet.types import VideoError
from tubelet.video import media
from tubelet.video.media import Media


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr("tubelet.video.media.time.sleep", found.append)
    return found


def fail(monkeypatch: pytest.MonkeyPatch, name: str, number: int, times: int) -> None:
    original, left = getattr(Path, name), [times]

    def failing(self: Path, *args: object, **kwargs: object) -> object:
        if self.name == "a.mp4" and left[0]:
            left[0] -= 1
            raise OSError(number, "Stale file handle")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, name, failing)


@pytest.mark.parametrize("name", ["stat", "open"])
def test_a_stale_handle_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float], name: str
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"bytes")
    fail(monkeypatch, name, errno.ESTALE, times=3)
    with Media(str(tmp_path / "a.mp4")).open() as file:
        assert file.read() == b"bytes"
    assert 2 <= len(waits) <= 3  # whether it is a folder was asked before
    assert waits == list(media.RETRY_SECONDS)[: len(waits)]


@pytest.mark.parametrize(("number", "tried"), [(errno.ESTALE, len(media.RETRY_SECONDS)), (errno.EACCES, 0)])
def test_what_stays_is_the_videos_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float], number: int, tried: int
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"bytes")
    fail(monkeypatch, "open", number, times=100)
    with pytest.raises(VideoError, match=r"a\.mp4.*cannot be opened \(Stale file handle\)"):
        Media(str(tmp_path / "a.mp4")).open().__enter__()
    assert len(waits) == tried
