"""The media of a data set: one listing of a folder, looked up by published name."""

import hashlib
import os
import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tubelet.types import InputError
from tubelet.video.media import PICTURE_SUFFIXES, VIDEO_SUFFIXES

FRAMES_TAR = ".tar"
MAX_DEPTH = 8
"""Folders below the media root are searched this deep: a link to a folder above must not be followed for ever."""


class MediaFolder:
    """One listing of a media root: video files, folders of frames, tars of frames.

    A folder that holds pictures and neither videos nor folders is a folder of frames.

    Args:
        media_root: The folder.

    Raises:
        InputError: It cannot be listed, or holds no media.
    """

    def __init__(self, media_root: str | Path) -> None:
        self.root = Path(media_root)
        self.num_badly_named = 0
        """Files whose names are not UTF-8, left out."""
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        try:
            self._list(str(self.root), "", 0)
        except OSError as error:
            raise InputError(
                f"{self.root}: cannot be listed ({error.strerror}); expected the folder of videos"
            ) from None
        if not self._by_stem:
            raise InputError(f"{self.root}: no videos; expected files like x{', x'.join(VIDEO_SUFFIXES)}, or frames")

    @property
    def cells(self) -> list[str]:
        """Every medium as a manifest's ``video`` cell, sorted."""
        return sorted(cell for cells in self._by_stem.values() for cell in cells)

    def find(self, names: Sequence[str]) -> str | None:
        """Return the cell of the first name that is there; None if none is.

        A name without folders matches in any folder; one with folders must match them from the right.

        Raises:
            InputError: Two media fit equally well.
        """
        for name in names:
            wanted = without_suffix(name.removeprefix("./"))
            fitting = [c for c in self._by_stem.get(wanted.rsplit("/", 1)[-1], ()) if _fits(without_suffix(c), wanted)]
            exact = [cell for cell in fitting if without_suffix(cell) == wanted]
            found = exact or fitting
            if len(found) > 1:
                raise InputError(
                    f"{self.root}: {name!r} is both {found[0]!r} and {found[1]!r}; expected one file for each"
                )
            if found:
                return found[0]
        return None

    def _list(self, folder: str, below: str, depth: int) -> None:
        folders, videos, pictures = [], 0, 0
        with os.scandir(folder) as entries:
            for entry in entries:
                suffix = posixpath.splitext(entry.name)[1].lower()
                if suffix in PICTURE_SUFFIXES:
                    pictures += 1
                elif entry.name.startswith("."):
                    continue
                elif suffix in VIDEO_SUFFIXES or suffix == FRAMES_TAR:
                    videos += 1
                    self._add(below + entry.name)
                elif entry.is_dir():
                    folders.append((entry.name, entry.path))
        if pictures and not videos and not folders and below:
            self._add(below.rstrip("/"))
        if depth < MAX_DEPTH:
            for name, path in sorted(folders):
                self._list(path, f"{below}{name}/", depth + 1)

    def _add(self, cell: str) -> None:
        try:
            cell.encode()
        except UnicodeEncodeError:
            self.num_badly_named += 1
            return
        self._by_stem[without_suffix(cell.rsplit("/", 1)[-1])].append(cell)


def is_frames(cell: str) -> bool:
    """Return whether a cell is a folder or tar of frames."""
    return not cell.lower().endswith(VIDEO_SUFFIXES)


def without_suffix(name: str) -> str:
    """Return a name without the suffix of a medium; other dots stay (HMDB51's names have them)."""
    stem, suffix = posixpath.splitext(name)
    return stem if suffix.lower() in (*VIDEO_SUFFIXES, FRAMES_TAR) else name


def _fits(have: str, wanted: str) -> bool:
    return have == wanted or have.endswith("/" + wanted)


def told(counts: Mapping[str, int]) -> str:
    """Return counts as words, ``2 videos missing, 7 rows without video``; zeros are left out."""
    return ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in counts.items() if number) or "no rows"


def share_of(text: str) -> float:
    """Return a number in [0, 1) that depends on the text only, for splits that do not move when files are added."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
