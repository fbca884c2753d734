"""Rows of clips, as an annotation names them, and a folder of media to a classification manifest.

What the annotation names and the folder lacks is counted, never replaced: published sets lose videos every year.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.sources.media_folder import NOT_THERE, MediaFolder, told, without_suffix
from tubelet.data.sources.media_lengths import check_rate, durations
from tubelet.labels import LabelSpace
from tubelet.types import InputError
from tubelet.video.media import resolve_media

logger = logging.getLogger(__name__)

WHOLE_VIDEO_SECONDS = 1.0
"""A file that has not the clip's own name, and is longer than the clip by more than this, is the whole video."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRow:
    """One clip as the annotation names it."""

    names: tuple[str, ...]
    """Names the medium may have below the media root, best first; with or without folders and suffix. Of a clip with a
    ``cut`` the first is that of the clip by itself."""
    clip_id: str
    split: str
    labels: tuple[int, ...]
    """Columns of the label space; empty where a test set is published without."""
    segment: tuple[float, float] | None = None
    """Start and end in seconds of the medium; None = all of it."""
    cut: tuple[float, float] | None = None
    """Where the clip was cut from its whole video, in seconds; used if the file has not the clip's own name and is
    longer than the clip."""
    frames_fps: float | None = None
    """Rate if the medium is a folder or tar of frames; None = the rate given for all of them."""


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
    ``clips_unreadable``, clips that begin behind the end of their video (``clips_behind_end``), exact repeats
    (``rows_repeated``); all but the repeats are named in ``left_out.json``. A clip that comes again in another split or
    with another label is kept as ``id#2`` and counted (``clips_named_twice``). Videos with clips in several splits are
    counted (``videos_in_two_splits``).

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
    total = {"rows": len(rows), **(counts or {}), **media.passed_over}
    if not rows:
        raise InputError(f"{source}: no row is left: {told(total)}")
    rows = _distinct(rows, total)
    cells = [_uri(row) or media.find_picture(row.names[0]) or media.find(row.names) for row in rows]
    total["videos_in_two_splits"] = _count_leaks(rows, cells, refuse=own_splits)
    _count_missing(rows, cells, media, total)
    found = [(row, cell) for row, cell in zip(rows, cells, strict=True) if cell is not None]
    if not found:
        raise InputError(
            f"{media.root}: none of the {len(rows)} annotated videos is there, such as {rows[0].names[0]!r}"
        )
    rates = [_rate(row, cell, media, frames_fps) for row, cell in found]
    lengths = durations(media, [c if r.segment is None else None for r, c in found], rates, total)
    clips = _clips(found, rates, lengths, media, total)
    if not clips:
        raise InputError(f"{media.root}: none of the {len(found)} videos can be used, such as {_example(media)}")
    return write_manifest(
        out,
        name=name,
        kind="classify",
        multi_label=multi_label,
        label_space=label_space,
        media_root=media.root.absolute(),
        licence=licence,
        source=source,
        clips=clips,
        extra_counts=total,
        left_out=media.left_out,
    )


def _clips(
    found: Sequence[tuple[ClipRow, str]],
    rates: Sequence[float],
    lengths: Sequence[float | None],
    media: MediaFolder,
    counts: dict[str, int],
) -> list[dict[str, object]]:
    """Return rows of a manifest's clips; without those whose medium cannot be read, or ends before them."""
    clips: list[dict[str, object]] = []
    for (row, cell), fps, length in zip(found, rates, lengths, strict=True):
        part = row.segment or (None if length is None else _used_part(row, cell, length, media, counts))
        if part is not None:
            clip = {"clip_id": row.clip_id, "video": cell, "start_seconds": part[0], "end_seconds": part[1]}
            clips.append({**clip, "split": row.split, "labels": list(row.labels), "fps": fps})
    return clips


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
    media.left_out.update(dict.fromkeys(missing, NOT_THERE))
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        logger.warning("%s: %d annotated videos are not there: %s", media.root, len(missing), shown)


def _rate(row: ClipRow, cell: str, media: MediaFolder, frames_fps: float) -> float:
    if not media.is_frames(cell):
        return 0.0
    fps = frames_fps if row.frames_fps is None else row.frames_fps
    if fps <= 0:
        raise InputError(f"{media.root / cell}: frames without a rate; expected frames_fps, their frames per second")
    return fps


def _used_part(
    row: ClipRow, cell: str, length: float, media: MediaFolder, counts: dict[str, int]
) -> tuple[float, float] | None:
    """Return the part of a medium of ``length`` seconds that a clip is: all of it, or its cut of a whole video.

    None where the cut begins behind the end, counted.
    """
    is_trimmed = without_suffix(cell.rsplit("/", 1)[-1]) == row.names[0]
    if row.cut is None or is_trimmed or length <= row.cut[1] - row.cut[0] + WHOLE_VIDEO_SECONDS:
        return 0.0, length
    start, end = row.cut[0], min(row.cut[1], length)
    if end <= start:
        counts["clips_behind_end"] = counts.get("clips_behind_end", 0) + 1
        media.left_out[row.clip_id] = f"begins at {start:g} s, but {cell} ends at {length:.2f} s"
        return None
    counts["clips_cut_from_whole_videos"] = counts.get("clips_cut_from_whole_videos", 0) + 1
    return start, end


def _example(media: MediaFolder) -> str:
    """Return what was left out last, and why."""
    cell, reason = next(reversed(media.left_out.items()))
    return f"{cell}: {reason}"
