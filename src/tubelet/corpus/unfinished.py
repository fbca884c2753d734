"""Files that get their name when they are whole, and what killed processes left of such."""

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

LEFT_AFTER_SECONDS = 86_400.0
"""What another host began to write longer ago is taken for left: whether its process lives cannot be seen from here."""


def unfinished(path: Path) -> Path:
    """Return the name under which this process writes what will be called ``path``, a file or a folder."""
    return path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")


@contextmanager
def whole_shard(path: Path) -> Iterator[BinaryIO]:
    """Open a file that gets its name, durably, when the ``with`` block ends without an exception.

    Its unfinished name has the host in it, unlike that of ``records.whole_file``: a cluster's tasks share a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_left(out: Path, work: Path) -> int:
    """Remove what killed processes left half-written in a corpus' folder and in ``work``; return how many it was."""
    found = [path for path in (*out.glob(".*.tmp"), *work.rglob(".*.tmp")) if _is_left(path, out)]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(found)


def _is_left(path: Path, out: Path) -> bool:
    name, _, pid = path.name.removesuffix(".tmp").rpartition(".")
    if not pid.isdecimal():
        return False  # not named by us
    # What lies beside the manifest is written by the command itself, and has no host in its name.
    if path.parent == out or name.endswith(f".{socket.gethostname()}"):
        return int(pid) == os.getpid() or not _is_alive(int(pid))  # ours has not begun to write
    try:
        return time.time() - path.stat().st_mtime > LEFT_AFTER_SECONDS
    except FileNotFoundError:  # finished meanwhile
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
