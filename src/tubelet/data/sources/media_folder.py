"""The media of a data set: one listing of a folder, looked up by published name; and rows of clips to a manifest.

What the annotation names and the folder lacks is counted, never replaced: published sets lose videos every year.
"""

import hashlib
import logging
import math
import os
import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace
from tubelet.types import InputError, VideoError
from tubelet.video.container import probe
from tubelet.video.media import MAX_FPS, PICTURE_SUFFIXES, VIDEO_SUFFIXES, Media, resolve_media
from tubelet.video.pictures import open_pictures

logger = logging.getLogger(__name__)
opened = logging.getLogger(f"{__name__}.opened")
"""Told (videos opened, videos in all) while their lengths are read, at level INFO: an import prints nothing, and
hundreds of thousands of files take minutes."""

FRAMES_TAR = ".tar"
MAX_DEPTH = 8
"""Folders below the media root are searched this deep: a link to a folder above must not be followed for ever."""
WHOLE_VIDEO_SECONDS = 1.0
"""A file longer than its clip by more than this is the whole video."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRow:
    """One clip as the annotation names it."""

    names: tuple[str, ...]
    """Names the medium may have below the media root, best first; with or without folders and suffix."""
    clip_id: str
    split: str
    labels: tuple[int, ...]
    """Columns of the label space; empty where a test set is published without."""
    segment: tuple[float, float] | None = None
    """Start and end in seconds of the medium; None = all of it."""
    cut: tuple[float, float] | None = None
    """Where the clip was cut from its whole video, in seconds; used if the file is that whole video."""
    frames_fps: float | None = None
    """Rate if the medium is a folder or tar of frames; None = the rate given for all of them."""


class MediaFolder:
    """One listing of a media root: video files, folders of frames, tars of frames.

    A folder that holds pictures and neither videos nor folders is a folder of frames.

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
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        if not listed:
            return
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


def check_rate(frames_fps: float) -> None:
    """Raise where a rate of frames that is asked for is none."""
    if not 0 <= frames_fps < MAX_FPS:
        raise InputError(f"frames_fps is {frames_fps:g}, expected frames per second: 0 (not known) to {MAX_FPS}")


def told(counts: Mapping[str, int]) -> str:
    """Return counts as words, ``2 videos missing, 7 rows without video``; zeros are left out."""
    return ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in counts.items() if number) or "no rows"


def share_of(text: str) -> float:
    """Return a number in [0, 1) that depends on the text only, for splits that do not move when files are added."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def write_clips(
    out: str | Path,
    *,
    rows: Sequence[ClipRow],
    media: MediaFolder,
    frames_fps: float,
    name: str,
    label_space: LabelSpace,
    multi_label: bool,
    licence: str,
    source: str,
    counts: Mapping[str, int] | None = None,
    own_splits: bool = False,
) -> Manifest:
    """Find every row's medium, measure those used whole, and write a classification manifest.

    Left out and counted: ``clips_without_video`` (and the ``videos_missing`` of them), ``videos_unreadable`` with
    ``clips_unreadable``, exact repeats (``rows_repeated``). A clip that comes again in another split or with another
    label is kept as ``id#2`` and counted (``clips_named_twice``). Videos with clips in several splits are counted
    (``videos_in_two_splits``).

    Args:
        out: Folder of the manifest.
        rows: Of all splits.
        media: The listing.
        frames_fps: Rate of folders and tars of frames where a row does not say it; 0 = not known.
        name: Of the data set, its task and head.
        label_space: The classes.
        multi_label: Whether several labels may hold at once.
        licence: Of the annotations.
        source: Where they come from.
        counts: What the reader of the annotation left out.
        own_splits: The splits are a user's own: one video that is shown in two of them is a mistake.

    Raises:
        InputError: No clip is left; a rate is missing or none; two media fit one clip.
    """
    check_rate(frames_fps)
    total = {"rows": len(rows), **(counts or {}), "names_not_utf8": media.num_badly_named}
    if not rows:
        raise InputError(f"{source}: no row is left: {told(total)}")
    rows = _distinct(rows, total)
    cells = [_uri(row) or media.find(row.names) for row in rows]
    total["videos_in_two_splits"] = _count_leaks(rows, cells, refuse=own_splits)
    _count_missing(rows, cells, media, total)
    found = [(row, cell) for row, cell in zip(rows, cells, strict=True) if cell is not None]
    if not found:
        raise InputError(
            f"{media.root}: none of the {len(rows)} annotated videos is there, such as {rows[0].names[0]!r}"
        )
    rates = [_rate(row, cell, media, frames_fps) for row, cell in found]
    lengths = durations(media, [c if r.segment is None else None for r, c in found], rates, total)
    columns: dict[str, list[object]] = defaultdict(list)
    for (row, cell), fps, length in zip(found, rates, lengths, strict=True):
        if row.segment is None and length is None:
            continue
        start, end = row.segment or _used_part(row, length or 0.0, total)
        columns["clip_id"].append(row.clip_id)
        columns["video"].append(cell)
        columns["start_seconds"].append(start)
        columns["end_seconds"].append(end)
        columns["split"].append(row.split)
        columns["labels"].append(list(row.labels))
        columns["fps"].append(fps)
    if not columns:
        raise InputError(f"{media.root}: none of the {len(found)} videos can be read")
    return write_manifest(
        out,
        name=name,
        kind="classify",
        multi_label=multi_label,
        label_space=label_space,
        media_root=media.root.absolute(),
        licence=licence,
        source=source,
        clips=[dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)],
        extra_counts=total,
    )


def _distinct(rows: Sequence[ClipRow], counts: dict[str, int]) -> list[ClipRow]:
    """Drop exact repeats and give every other clip an id of its own."""
    seen: dict[str, list[ClipRow]] = {}
    kept = []
    counts |= {"rows_repeated": 0, "clips_named_twice": 0}
    for row in rows:
        earlier = seen.setdefault(row.clip_id, [])
        if row in earlier:
            counts["rows_repeated"] += 1
            continue
        earlier.append(row)
        if len(earlier) > 1:
            counts["clips_named_twice"] += 1
            kept.append(replace(row, clip_id=f"{row.clip_id}#{len(earlier)}"))
        else:
            kept.append(row)
    return kept


def _count_leaks(rows: Sequence[ClipRow], cells: Sequence[str | None], *, refuse: bool) -> int:
    """Count videos with clips in several splits.

    Raises:
        InputError: They show the same, and ``refuse``.
    """
    of_video: dict[str, list[ClipRow]] = defaultdict(list)
    for row, cell in zip(rows, cells, strict=True):
        if cell is not None:
            of_video[cell].append(row)
    leaking = {cell: found for cell, found in of_video.items() if len({row.split for row in found}) > 1}
    for cell, found in leaking.items() if refuse else ():
        shown: dict[str, tuple[float, str]] = {}  # split to how far its clips reach so far, and the clip that does
        for start, end, row in sorted(((*(row.segment or (0.0, math.inf)), row) for row in found), key=lambda p: p[:2]):
            for split, (until, clip_id) in shown.items():
                if split != row.split and start < until:
                    raise InputError(
                        f"{cell}: is in split {split!r} ({clip_id}) and in {row.split!r} ({row.clip_id}); expected a "
                        "video, or each part of it, in one split"
                    )
            shown[row.split] = max(shown.get(row.split, (0.0, "")), (end, row.clip_id))
    if leaking:
        logger.warning("%d videos have clips in several splits, such as %s", len(leaking), next(iter(leaking)))
    return len(leaking)


def _uri(row: ClipRow) -> str | None:
    """Return the cell of a row that names a URI; it is not looked up."""
    if "://" not in row.names[0]:
        return None
    resolve_media("", row.names[0])  # its scheme is one that is followed
    if row.segment is None:
        raise InputError(f"{row.names[0]}: a URI is not opened here; expected its start_seconds and end_seconds")
    return row.names[0]


def _count_missing(
    rows: Sequence[ClipRow], cells: Sequence[str | None], media: MediaFolder, counts: dict[str, int]
) -> None:
    missing = sorted({row.names[0] for row, cell in zip(rows, cells, strict=True) if cell is None})
    counts["clips_without_video"] = sum(cell is None for cell in cells)
    counts["videos_missing"] = len(missing)
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        logger.warning("%s: %d annotated videos are not there: %s", media.root, len(missing), shown)


def _rate(row: ClipRow, cell: str, media: MediaFolder, frames_fps: float) -> float:
    if not is_frames(cell):
        return 0.0
    fps = frames_fps if row.frames_fps is None else row.frames_fps
    if fps <= 0:
        raise InputError(f"{media.root / cell}: frames without a rate; expected frames_fps, their frames per second")
    return fps


def durations(
    media: MediaFolder, cells: Sequence[str | None], rates: Sequence[float], counts: dict[str, int]
) -> list[float | None]:
    """Return the length of each medium asked for; None for what is not asked for or cannot be read, the latter counted.

    Threads, because the decoder lets go of the interpreter while it opens a file.
    """
    wanted = {cell: fps for cell, fps in zip(cells, rates, strict=True) if cell is not None}
    with ThreadPoolExecutor(max_workers=min(16, 2 * (os.cpu_count() or 1))) as pool:
        lengths_of = pool.map(lambda cell: _duration(media, cell, wanted[cell]), wanted)
        measured = {}
        for cell, length in zip(wanted, lengths_of, strict=True):
            measured[cell] = length
            opened.info("%d of %d videos opened", len(measured), len(wanted))
    broken = {cell: length for cell, length in measured.items() if isinstance(length, VideoError)}
    counts["videos_unreadable"] = len(broken)
    counts["clips_unreadable"] = sum(cell in broken for cell in cells)
    for error in list(broken.values())[:3]:
        logger.warning("left out: %s", error)
    if len(broken) > 3:
        logger.warning("%s: %d videos cannot be read and are left out", media.root, len(broken))
    lengths = {cell: length for cell, length in measured.items() if not isinstance(length, VideoError)}
    return [None if cell is None else lengths.get(cell) for cell in cells]


def _duration(media: MediaFolder, cell: str, fps: float) -> "float | VideoError":
    place = Media(str(media.root / cell), fps)
    try:
        # A listing says how long frames are; no picture is decoded, a hundred thousand folders are common.
        return open_pictures(place).duration_seconds if is_frames(cell) else probe(place).duration_seconds
    except VideoError as error:
        return error


def _used_part(row: ClipRow, length: float, counts: dict[str, int]) -> tuple[float, float]:
    """Return the part of a medium of ``length`` seconds that a clip is: all of it, or its cut of a whole video."""
    if row.cut is None or length <= row.cut[1] - row.cut[0] + WHOLE_VIDEO_SECONDS:
        return 0.0, length
    counts["clips_cut_from_whole_videos"] = counts.get("clips_cut_from_whole_videos", 0) + 1
    start = min(row.cut[0], length)
    return start, min(row.cut[1], length)
