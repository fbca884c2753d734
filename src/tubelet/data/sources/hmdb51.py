"""HMDB51: 51 actions in 6,766 clips, three splits.

Source: <https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database>, ``testTrainMulti_7030_splits``.
Licence: CC BY 4.0.
Files: ``{class}_test_split{N}.txt`` for each class with lines ``file.avi number``: 1 = train, 2 = test, 0 = in neither.
Quirks: each split uses 100 of a class's clips (70 train, 30 test), the others are 0; file names hold blanks, ``#``,
``&`` and brackets.
Expected: 3,570 train and 1,530 test in each split.
"""

from pathlib import Path
from typing import Literal

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import ClassNames, packaged_label_space, plain_lines
from tubelet.data.sources.clip_rows import ClipRow, write_clips
from tubelet.data.sources.media_folder import MediaFolder, without_suffix
from tubelet.types import InputError

SPLITS = {"1": "train", "2": "test"}


def import_hmdb51(
    *,
    annotations: Path,
    media_root: Path,
    out: Path,
    fold: Literal["1", "2", "3"] = "1",
    frames_fps: float = 30.0,
    name: str = "hmdb51",
) -> Manifest:
    """Turn one of HMDB51's three splits into a manifest; clips in neither part of it are counted.

    Args:
        annotations: Folder ``testTrainMulti_7030_splits``.
        media_root: Folder of the videos, in folders of classes.
        out: Folder of the manifest.
        fold: Which of the three splits.
        frames_fps: Rate of the media that are folders of frames.
        name: Of the data set.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    space = packaged_label_space("hmdb51")
    names = ClassNames(space)
    ending = f"_test_split{fold}.txt"
    files = sorted(annotations.glob(f"*{ending}"))
    if not files:
        raise InputError(f"{annotations}: no files; expected one like brush_hair{ending} for each class")
    counts = {"rows_in_neither_split": 0}
    rows = []
    for path in files:
        folder = path.name.removesuffix(ending)
        label = names.column(str(path), folder)
        for where, line in plain_lines(path):
            video, _, number = line.rpartition(" ")
            if not video or number not in ("0", "1", "2"):
                raise InputError(f"{where}: {line!r} is not file.avi and 0 (unused), 1 (train) or 2 (test)")
            if number == "0":
                counts["rows_in_neither_split"] += 1
                continue
            video = video.strip()
            clip_id = f"{folder}/{without_suffix(video)}"
            row_names = (f"{folder}/{video}", video)
            rows.append(ClipRow(names=row_names, clip_id=clip_id, split=SPLITS[number], labels=(label,)))
    return write_clips(
        out,
        rows=rows,
        media=MediaFolder(media_root),
        frames_fps=frames_fps,
        name=name,
        label_space=space,
        multi_label=False,
        licence="CC BY 4.0",
        source="https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database",
        counts=counts,
    )
