"""Kinetics-400, -600 and -700: the official csv and a folder of what could still be downloaded.

Source: <https://github.com/cvdfoundation/kinetics-dataset>. Licence of the annotation: CC BY 4.0 (Google).
Columns: ``label,youtube_id,time_start,time_end,split[,is_cc]``, with a header, in any order; the test csv of some
releases has no ``label``. Times are seconds of the YouTube video, written ``10`` or ``10.0``.
Files: ``{youtube_id}_{time_start:06d}_{time_end:06d}.mp4``, or ``{youtube_id}.mp4``, in any folder.
Quirks: ``split`` is ``val`` or ``validate``; folders write blanks as underscores; Kinetics-600 has *American football*
with two spellings; much of Kinetics-400's validation is in Kinetics-700's training (CVDF's README); videos vanish, so
nobody has all of them: compare ``counts`` before accuracies.
Expected: the copies that MMAction2 trained on have 240,436 train and 19,796 val clips (400), 383,393 and 27,910 (600),
542,357 and 34,824 (700); the csv files list more.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tubelet.data.ava_rows import LONGEST_SECONDS
from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import ClassNames, packaged_label_space, table_rows, whole_number
from tubelet.data.sources.clip_rows import ClipRow, write_clips
from tubelet.data.sources.media_folder import MediaFolder
from tubelet.types import InputError

COLUMNS = ("youtube_id", "time_start", "time_end", "split")
SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


def import_kinetics(
    *,
    annotations: Sequence[Path],
    media_root: Path,
    out: Path,
    classes: Literal["400", "600", "700"] = "400",
    only_cc: bool = False,
    frames_fps: float = 0.0,
    name: str | None = None,
) -> Manifest:
    """Turn official Kinetics csv files into a manifest.

    Args:
        annotations: The csv of each split; their column ``split`` decides.
        media_root: Folder of the clips, in any sub-folders; files named by id alone may also be whole videos.
        out: Folder of the manifest.
        classes: Which Kinetics.
        only_cc: Keep only videos under Creative Commons (``is_cc`` is 1); the others are counted.
        frames_fps: Rate of the media that are folders of frames.
        name: Of the data set; default ``kinetics400`` and so on.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    space = packaged_label_space(f"kinetics{classes}")
    names = ClassNames(space)
    counts = {"rows_not_cc": 0} if only_cc else {}
    rows = []
    for path in annotations:
        for place, cells in table_rows(path, (*COLUMNS, "is_cc") if only_cc else COLUMNS):
            if only_cc and cells["is_cc"].strip() not in ("1", "1.0", "True"):
                counts["rows_not_cc"] += 1
                continue
            rows.append(_clip(place, cells, names))
    return write_clips(
        out,
        rows=rows,
        media=MediaFolder(media_root),
        frames_fps=frames_fps,
        name=name or space.name,
        label_space=space,
        multi_label=False,
        licence="CC BY 4.0 (annotation; the videos are their uploaders')",
        source="https://github.com/cvdfoundation/kinetics-dataset",
        counts=counts,
    )


def _clip(place: str, cells: dict[str, str], names: ClassNames) -> ClipRow:
    split = SPLITS.get(cells["split"].strip())
    if split is None:
        raise InputError(f"{place}: split is {cells['split']!r}, expected one of {', '.join(SPLITS)}")
    label = cells.get("label", "").strip()
    if not label and split != "test":
        raise InputError(f"{place}: label is missing; expected a class (only the test split may have none)")
    start = whole_number(place, "time_start", cells["time_start"])
    end = whole_number(place, "time_end", cells["time_end"])
    if not 0 <= start < end < LONGEST_SECONDS:
        raise InputError(f"{place}: time_end is {end}, expected after time_start {start}, which is 0 or more")
    video = cells["youtube_id"].strip()
    if not video:
        raise InputError(f"{place}: youtube_id is missing")
    clip_id = f"{video}_{start:06d}_{end:06d}"
    return ClipRow(
        names=(clip_id, video),
        clip_id=clip_id,
        split=split,
        labels=(names.column(place, label),) if label else (),
        cut=(float(start), float(end)),
    )
