"""Where a command's result may be written, looked at before the work; nothing is made by looking."""

import os
from collections.abc import Iterable
from pathlib import Path

from tubelet.types import InputError


def check_file(option: str, path: Path | None, inputs: Iterable[Path | str | None] = ()) -> None:
    """Raise unless a file can be written at ``path``; None is nothing to write.

    Args:
        option: What the user calls it.
        path: The file; its folders are made later.
        inputs: What is read, which a result may not replace; None is nothing.

    Raises:
        InputError: It is a folder or one of the inputs, or its folder cannot be made or written.
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{option} {path}: a folder, expected a file to write")
    if path.resolve() in {Path(read).resolve() for read in inputs if read is not None}:
        raise InputError(f"{option} {path}: is one of the files that are read; give another name")
    _check_writable(option, path, path.parent)


def check_folder(option: str, path: Path) -> None:
    """Raise where a folder of results, new or old, cannot be one."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{option} {path}: a file, expected a folder of results")


def check_new_folder(option: str, path: Path | None) -> None:
    """Raise unless a folder can be made at ``path``, where nothing is yet; None is nothing to write."""
    if path is None:
        return
    if path.exists():
        raise InputError(f"{option} {path}: exists already; give a new folder")
    _check_writable(option, path, path.parent)


def check_new_manifest(option: str, path: Path | None) -> None:
    """Raise unless a manifest can be written to the folder ``path``, which has none yet; None is nothing to write."""
    if path is None:
        return
    if (path / "manifest.json").exists():
        raise InputError(f"{option} {path}: holds a manifest already; give a new folder, or remove it first")
    check_folder(option, path)
    _check_writable(option, path, path)


def _check_writable(option: str, path: Path, folder: Path) -> None:
    """Raise where ``path`` cannot be written because ``folder`` cannot be made, or is there and cannot be written."""
    there = next(above for above in (folder.absolute(), *folder.absolute().parents) if above.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path}: cannot be written, {there} is no folder that can be written")
