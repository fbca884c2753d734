"""The media of a data set: one listing of a folder, looked up by published name."""

import hashlib
import os
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tubelet.types import InputError
from tubelet.video.media import PICTURE_SUFFIXES, VIDEO_SUFFIXES

NOT_THERE = "no video, frames or picture of this name is there"
FRAMES_TAR = ".tar"
LISTED_SUFFIXES = (*VIDEO_SUFFIXES, FRAMES_TAR)
MAX_DEPTH = 8
"""Folders below the media root are searched this deep: a link to a folder above must not be followed for ever."""


class MediaFolder:
    """One listing of a media root: video files, folders of frames, tars of frames.

    A folder that holds pictures and neither videos nor folders is a folder of frames, whatever it is called.

    Args:
        media_root: The folder.
        listed: Look what is in it; False where nothing of it is used.

    Raises:
        InputError: It cannot be listed, or holds no media.
    """

    def __init__(self, media_root: str | Path, *, listed: bool = True) -> None:
        self.root = Path(media_root)
        self.num_badly_named = 0
        """Files whose names are not UTF-8, left out."""
        self.num_of_other_kinds = 0
        """Files that are neither videos, tars nor pictures, not looked at; hidden ones are not counted."""
        self.num_pictures = 0
        """Pictures that are in no folder of frames; one is a clip where it is named (``find_picture``)."""
        self.left_out: dict[str, str] = {}
        """Videos, or single clips, that an import leaves out, with the reason; filled while it looks and measures."""
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._folders: set[str] = set()
        if not listed:
            return
        try:
            self._list(str(self.root), "", 0)
        except OSError as error:
            raise InputError(
                f"{self.root}: cannot be listed ({error.strerror}); expected the folder of videos"
            ) from None
        if not self._by_stem and not self.num_pictures:
            raise InputError(f"{self.root}: no videos; expected files like x{', x'.join(VIDEO_SUFFIXES)}, or frames")

    @property
    def cells(self) -> list[str]:
        """Every medium as a manifest's ``video`` cell, sorted."""
        return sorted(cell for cells in self._by_stem.values() for cell in cells)

    def find(self, names: Sequence[str]) -> str | None:
        """Return the cell of the first name that is there; None if none is.

        A name without folders matches in any folder; one with folders must match them from the right. Of the media
        that fit, the one at the very path goes first, then one at the path with another suffix, then one with the
        suffix in another folder.

        Raises:
            InputError: Two media fit equally well.
        """
        for name in names:
            path = name.removeprefix("./")
            wanted = without_suffix(path)
            fitting = [c for c in self._by_stem.get(wanted.rsplit("/", 1)[-1], ()) if _fits(without_suffix(c), wanted)]
            found = (
                [cell for cell in fitting if cell == path]
                or [cell for cell in fitting if without_suffix(cell) == wanted]
                or [cell for cell in fitting if path != wanted and _fits(cell, path)]
                or fitting
            )
            if len(found) > 1:
                raise InputError(
                    f"{self.root}: {name!r} is both {found[0]!r} and {found[1]!r}; expected one file for each"
                )
            if found:
                return found[0]
        return None

    def find_picture(self, name: str) -> str | None:
        """Return the cell of the single picture of this name, with folders and suffix; None if there is none."""
        cell = name.removeprefix("./")
        if not cell.lower().endswith(PICTURE_SUFFIXES) or cell.startswith("/") or ".." in cell.split("/"):
            return None
        return cell if os.path.isfile(self.root / cell) else None  # noqa: PTH113 - any name, also one that is too long

    @property
    def passed_over(self) -> dict[str, int]:
        """Return how many files are no media by their names, as a manifest's ``counts`` call them."""
        return {"names_not_utf8": self.num_badly_named, "files_of_other_kinds": self.num_of_other_kinds}

    def is_folder(self, cell: str) -> bool:
        """Return whether a cell is a folder of frames."""
        return cell in self._folders

    def is_frames(self, cell: str) -> bool:
        """Return whether a cell is a folder or tar of frames, which has no rate of its own."""
        return cell in self._folders or cell.lower().endswith(FRAMES_TAR)

    def pictures_in(self, cell: str) -> list[str]:
        """Return the cells of the pictures in a folder of frames, each by itself, in the order of their names."""
        with os.scandir(self.root / cell) as entries:
            names = sorted(e.name for e in entries if e.name.lower().endswith(PICTURE_SUFFIXES) and e.name[0] != ".")
        return [f"{cell}/{name}" for name in names if self._is_utf8(name)]

    def _list(self, folder: str, below: str, depth: int) -> None:
        folders, videos, pictures = [], 0, 0
        with os.scandir(folder) as entries:
            for entry in entries:
                suffix = posixpath.splitext(entry.name)[1].lower()
                if entry.name.startswith("."):
                    continue
                if suffix in PICTURE_SUFFIXES:
                    pictures += 1
                elif suffix in LISTED_SUFFIXES and not _is_folder(entry):
                    videos += 1
                    self._add(below + entry.name)
                elif entry.is_dir():
                    folders.append((entry.name, entry.path))
                elif entry.is_file():
                    self.num_of_other_kinds += 1
        if pictures and not videos and not folders and below:
            cell = below.rstrip("/")
            self._folders.add(cell)
            self._add(cell)
        else:
            self.num_pictures += pictures
        if depth < MAX_DEPTH:
            for name, path in sorted(folders):
                self._list(path, f"{below}{name}/", depth + 1)

    def _add(self, cell: str) -> None:
        if self._is_utf8(cell):
            self._by_stem[without_suffix(cell.rsplit("/", 1)[-1])].append(cell)

    def _is_utf8(self, name: str) -> bool:
        """Return whether a name is UTF-8; one that is not is counted."""
        try:
            name.encode()
        except UnicodeEncodeError:
            self.num_badly_named += 1
            return False
        return True


def without_suffix(name: str) -> str:
    """Return a name without the suffix of a medium; other dots stay (HMDB51's names have them)."""
    stem, suffix = posixpath.splitext(name)
    return stem if suffix.lower() in LISTED_SUFFIXES else name


def clip_names(cells: Iterable[str]) -> dict[str, str]:
    """Return the name of each medium's clip: without its suffix, or with it where two media differ in nothing else."""
    stems = {cell: without_suffix(cell) for cell in cells}
    times = Counter(stems.values())
    return {cell: stem if times[stem] == 1 else cell for cell, stem in stems.items()}


def _fits(have: str, wanted: str) -> bool:
    return have == wanted or have.endswith("/" + wanted)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say; it is said when it is opened
        return False


def told(counts: Mapping[str, int]) -> str:
    """Return counts as words, ``2 videos missing, 7 rows without video``; zeros are left out."""
    return ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in counts.items() if number) or "no rows"


def share_of(text: str) -> float:
    """Return a number in [0, 1) that depends on the text only, for splits that do not move when files are added."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
