"""Where a video's bytes are: a file, a folder or tar of frames, a picture, a member of a shard, or a URI.

Everything that reads video takes a ``Media`` or a string for one. A manifest's cell becomes one through
``resolve_media``, which keeps it under the media root.
"""

import errno
import io
import json
import os
import posixpath
import stat
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from tubelet.types import InputError, VideoError, first_line

SCHEMES = ("s3", "gs", "hf", "https", "memory")
"""URIs that are followed, through fsspec. Anything else, ``http`` and ``file`` too, is refused."""
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".flv", ".asf", ".wmv"),
    *(".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".ogv", ".ogg"),
)
"""What files are called that hold a format which ``container.FORMATS`` lets in; a file that is named is read whatever
its suffix, these are the ones found in a folder."""
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
INDEX_SUFFIXES = (".index.json", ".index.parquet")
"""An index beside ``shard.tar`` is ``shard.tar.index.json`` (name: [offset, size]) or the same as parquet columns."""
MAX_FPS = 1000
PASSING_ERRORS = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN)
RETRY_SECONDS = (0.1, 1.0, 5.0)
T = TypeVar("T")
MediaRoot = Path | str
"""What a manifest's cells are relative to: a folder, or a URI of ``SCHEMES`` as a string (a path has no ``//``)."""


@dataclass(frozen=True, slots=True)
class Media:
    """One video, wherever it lies."""

    location: str
    """A path; a URI of ``SCHEMES``; for a shard's member ``…/shard.tar#name``, both for paths and URIs."""
    fps: float = 0.0
    """Frames per second of a folder or tar of frames; 0 = the file's own rate."""

    def __post_init__(self) -> None:
        if not 0 <= self.fps < MAX_FPS:
            raise InputError(
                f"{self.location}: frame rate must be 0 (the file's own) or up to {MAX_FPS}, got {self.fps}"
            )

    @classmethod
    def of(cls, media: "Media | str | Path") -> "Media":
        """Return ``media`` itself, or the media at a path or URI."""
        return media if isinstance(media, Media) else cls(str(media))

    def __str__(self) -> str:
        return self.location

    @property
    def is_uri(self) -> bool:
        """Whether it is read through fsspec."""
        return "://" in self.location

    @property
    def member(self) -> str | None:
        """Name inside a shard, or None."""
        shard, mark, name = self.location.partition(".tar#")
        return name if mark and shard else None

    @property
    def container(self) -> str:
        """Path or URI without the member's name."""
        return self.location if self.member is None else self.location[: -len(self.member) - 1]

    @property
    def is_pictures(self) -> bool:
        """Whether it is a folder of frames, a tar of frames or one picture."""
        name = (self.member or self.location).lower()
        if name.endswith(PICTURE_SUFFIXES):
            return True
        if self.member is not None:
            return False
        return name.endswith(".tar") or (not self.is_uri and _is_folder(self.location))

    def version(self) -> tuple[int, int]:
        """Return (bytes, time of change in ns) of the file behind it; (bytes, 0) for a URI.

        Raises:
            VideoError: There is none.
        """
        if self.is_uri:
            return _remote_size(self), 0
        status = _status(self, self.container)
        return status.st_size, status.st_mtime_ns

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the bytes, seekable.

        Raises:
            VideoError: There is no such file or member, or the place cannot be reached.
        """
        if self.is_pictures and self.container.lower().endswith(".tar") and self.member is None:
            raise VideoError(self, "is a tar of frames, expected a video file")
        with open_container(self) as file:
            if self.member is None:
                yield file
                return
            place = members(self).get(self.member)
            if place is None:
                raise VideoError(self, f"{self.container} has no member {self.member!r}")
            yield cast(BinaryIO, _Window(file, *place))


def absolute_root(root: MediaRoot) -> MediaRoot:
    """Return a media root that means the same in every process; a URI does as it is."""
    return root if is_uri(root) else Path(root).absolute()


def is_uri(root: MediaRoot) -> bool:
    """Say whether a media root is a URI."""
    return "://" in str(root)


def resolve_media(root: MediaRoot, video: str, fps: float = 0.0) -> Media:
    """Return the media of a manifest's cell, which must stay under the media root.

    Links inside the root are followed: they are its owner's.

    Args:
        root: The media root.
        video: The cell: a path relative to the root (an absolute one must lie inside it) or a URI of ``SCHEMES``.
        fps: Frame rate of a folder or tar of frames, 0 = the file's own.

    Raises:
        VideoError: The path leaves the root, has a NUL, or the URI's scheme is not followed.
    """
    if "://" in video:
        check_uri(video)
        return Media(video, fps)
    if not video or "\0" in video:
        raise VideoError(repr(video), f"is not a path under {root}")
    if is_uri(root):
        return Media(_below_uri(str(root), video), fps)
    base = os.path.normpath(os.path.abspath(root))  # noqa: PTH100 - not resolve(): links are kept as they are
    path = os.path.normpath(os.path.join(base, video))  # noqa: PTH118
    if path == base or not path.startswith(base.rstrip(os.sep) + os.sep):
        raise VideoError(video, f"leaves the media root {root}; expected a path below it")
    return Media(path, fps)


def _below_uri(root: str, video: str) -> str:
    """Return the URI of a relative cell below a root that is one."""
    path = posixpath.normpath(video)
    if path == "." or path.startswith("/") or ".." in video.split("/"):
        raise VideoError(video, f"leaves the media root {root}; expected a relative path below it, without '..'")
    uri = f"{root.rstrip('/')}/{path}"
    check_uri(uri)
    return uri


@contextmanager
def open_container(media: Media) -> Iterator[BinaryIO]:
    """Open the whole file behind ``media``: the shard of a member, else the file itself."""
    if media.is_uri:
        with _remote(media) as file:
            yield file
        return
    status = _status(media, media.container)
    if stat.S_ISDIR(status.st_mode):
        raise VideoError(media, "is a folder, expected a video file")
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(media, "is not a regular file")
    if status.st_size == 0:
        raise VideoError(media, "the file is empty")
    with ExitStack() as stack:
        try:
            opened = _patiently(partial(Path(media.container).open, "rb"))
            file = cast(BinaryIO, stack.enter_context(opened))
        except OSError as error:
            raise VideoError(media, f"cannot be opened ({error.strerror})") from None
        yield file


def members(media: Media) -> Mapping[str, tuple[int, int]]:
    """Return name to (offset, size) of every file in a tar, from the index beside it or else from its headers."""
    size, changed = media.version()
    return _members(media.container, size, changed)


@lru_cache(maxsize=64)
def _members(container: str, size: int, changed: int) -> Mapping[str, tuple[int, int]]:
    for suffix in INDEX_SUFFIXES:
        beside = Media(container + suffix)
        try:
            beside.version()
        except VideoError:
            continue
        return _read_index(beside, size)
    with open_container(Media(container)) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                return {entry.name: (entry.offset_data, entry.size) for entry in tar if entry.isfile()}
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise VideoError(container, f"not a tar file that can be read ({error})") from error


def _read_index(index: Media, shard_size: int) -> Mapping[str, tuple[int, int]]:
    with open_container(index) as file:
        data = file.read()
    try:
        if index.location.endswith(".json"):
            listed = {str(n): (int(o), int(s)) for n, (o, s) in json.loads(data).items()}
        else:
            import pyarrow.parquet as pq  # late: workers that read no parquet index do without pyarrow

            table = pq.read_table(io.BytesIO(data), columns=["name", "offset", "size"])
            columns = (table[name].to_pylist() for name in ("name", "offset", "size"))
            listed = {name: (offset, size) for name, offset, size in zip(*columns, strict=True)}
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise VideoError(index, f"not an index that can be read ({first_line(error)})") from error
    if any(offset < 0 or size < 0 or offset + size > shard_size for offset, size in listed.values()):
        raise VideoError(index, "names bytes outside its shard: was the shard written again?")
    return listed


class _Window(io.RawIOBase):
    """The bytes [offset, offset + size) of a file, as a file."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._at, 0)
        wanted = left if size < 0 else min(size, left)
        try:
            self._file.seek(self._offset + self._at)
            data = self._file.read(wanted)
        except OSError:
            raise
        except Exception as error:  # each store has errors of its own; readers expect OSError
            raise OSError(first_line(error)) from error
        self._at += len(data)
        return data


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def _status(media: Media, path: str) -> os.stat_result:
    try:
        return _patiently(Path(path).stat)
    except FileNotFoundError:
        raise VideoError(media, "no such file") from None
    except (OSError, ValueError) as error:
        raise VideoError(media, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from None


def _patiently(call: Callable[[], T]) -> T:
    """Call again, after longer and longer waits, what fails as network file systems do for a moment."""
    for seconds in RETRY_SECONDS:
        try:
            return call()
        except OSError as error:
            if error.errno not in PASSING_ERRORS:
                raise
            time.sleep(seconds)
    return call()


def check_uri(uri: str) -> None:
    """Raise for an address that is not followed.

    Raises:
        VideoError: Its scheme is none of ``SCHEMES``, or it may lead elsewhere than it says.
    """
    scheme = uri.partition("://")[0]
    if scheme not in SCHEMES:
        raise VideoError(uri, f"addresses with {scheme}:// are not followed; expected {', '.join(SCHEMES)}")
    if ".." in uri.split("/"):
        raise VideoError(uri, "climbs out of its bucket")
    if "::" in uri:  # fsspec would go on to the address behind it, of any scheme
        raise VideoError(uri, "has '::', which joins several addresses; expected one")


@contextmanager
def _remote(media: Media) -> Iterator[BinaryIO]:
    import fsspec  # late: most workers read local files

    check_uri(media.location)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(fsspec.open(media.container, "rb"))
        except FileNotFoundError:
            raise VideoError(media, "no such file") from None
        except ImportError as error:  # the file system's own package
            raise VideoError(media, f"needs another package ({error})") from error
        except Exception as error:  # each store has errors of its own
            raise VideoError(media, f"cannot be opened ({first_line(error)})") from error
        yield cast(BinaryIO, _Window(file, 0, _remote_size(media)))


def _remote_size(media: Media) -> int:
    import fsspec

    check_uri(media.location)
    try:
        system, path = fsspec.core.url_to_fs(media.container)
        return int(system.size(path) or 0)
    except FileNotFoundError:
        raise VideoError(media, "no such file") from None
    except Exception as error:  # each store has errors of its own
        raise VideoError(media, f"cannot be reached ({first_line(error)})") from error
