"""Where a command's result may be written, looked at before the work."""

from collections.abc import Iterable
from pathlib import Path

from tubelet.types import InputError


def check_result(option: str, path: Path | None, inputs: Iterable[Path | str | None]) -> None:
    """Raise where a file to be written is a folder, or one of those that are read; None is nothing to write."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{option} {path}: a folder, expected a file to write")
    if path.resolve() in {Path(read).resolve() for read in inputs if read is not None}:
        raise InputError(f"{option} {path}: is one of the files that are read; give another name")


def check_folder(option: str, path: Path) -> None:
    """Raise where a folder of results cannot be one."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{option} {path}: a file, expected a folder of results")
