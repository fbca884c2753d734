"""Where a server keeps what was sent to it: a private folder, nothing in it called as a visitor says."""

import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tubelet.records import read_json
from tubelet.types import InputError
from tubelet.web.jobs import is_job_id

LONGEST_STEM = 60
SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".3gp", ".ogv")


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The files of one job."""

    path: Path

    @property
    def upload(self) -> Path:
        """The video as it was sent."""
        return self.path / "upload"

    @property
    def seen(self) -> Path:
        """The results; there once they are whole."""
        return self.path / "seen"

    def attempt(self, number: int) -> Path:
        """Where one attempt writes; it becomes ``seen`` by one rename."""
        return self.path / f"attempt-{number}"


class Folders:
    """The private folder of a server.

    Args:
        root: Made when missing, for its owner only.

    Raises:
        InputError: It belongs to somebody else, or others may look into it and that cannot be changed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        for folder in (self.root, self.incoming, self._jobs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self.root.chmod(0o700)
        except PermissionError:
            raise InputError(f"{root}: belongs to somebody else; expected a folder of your own") from None

    @property
    def incoming(self) -> Path:
        """Uploads on their way."""
        return self.root / "incoming"

    @property
    def database(self) -> Path:
        """The queue."""
        return self.root / "jobs.sqlite3"

    @property
    def _jobs(self) -> Path:
        return self.root / "jobs"

    def of(self, job_id: str) -> JobFolder:
        """Return the folder of a job."""
        if not is_job_id(job_id):
            raise ValueError(f"{job_id!r} is no job id")
        return JobFolder(self._jobs / job_id)

    def accept(self, job_id: str, upload: Path) -> None:
        """Move a whole upload to its job's folder."""
        folder = self.of(job_id)
        folder.path.mkdir(mode=0o700)
        upload.replace(folder.upload)

    def remove(self, job_id: str) -> None:
        """Remove the files of a job."""
        shutil.rmtree(self.of(job_id).path, ignore_errors=True)

    def published(self, job_id: str) -> dict[str, Any] | None:
        """Return the outcome written beside whole results, or None."""
        try:
            outcome: dict[str, Any] = read_json(self.of(job_id).seen / "outcome.json")
        except InputError:
            return None
        return outcome

    def tidy(self, known: set[str]) -> None:
        """Remove what a server that was killed left: uploads on their way, files of unknown jobs, attempts."""
        for path in self.incoming.iterdir():
            path.unlink(missing_ok=True)
        for path in self._jobs.iterdir():
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)
            else:
                for attempt in path.glob("attempt-*"):
                    shutil.rmtree(attempt, ignore_errors=True)

    def free_bytes(self) -> int:
        """Return the space left on the disk."""
        return shutil.disk_usage(self.root).free


def safe_name(name: str) -> str:
    """Return a file name of letters, digits and ``._-`` that looks like the one given; never a path.

    The results are called like it, and so is the video in an AVA csv, where a comma would end the column.
    """
    last = re.split(r"[/\\]", name.replace("\0", ""))[-1]
    plain = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode()
    before, dot, ending = plain.rpartition(".")
    suffix = f".{ending.lower()}" if dot else ""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", before if dot else plain).strip("_-")[:LONGEST_STEM]
    return f"{stem or 'video'}{suffix if suffix in SUFFIXES else '.mp4'}"
