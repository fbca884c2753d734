"""Moments in Time (one label) and Multi-Moments in Time (several).

Source: <http://moments.csail.mit.edu>, on request. Licence: the data set's own, non-commercial research.
Columns of ``trainingSet.csv`` and ``validationSet.csv``, no header: ``category/file.mp4,category,votes for,votes
against`` (workers who agree and disagree with the label); of Multi-Moments: ``path,index,index,...``.
``moments_categories.txt``: ``category,index``. Videos lie in ``training/`` and ``validation/``; where there is neither,
a file is looked up by its name alone.
Quirks: everybody trains on all rows whatever their votes; there is no test split with labels.
Expected: Moments in Time 802,264 training and 33,900 validation clips of 3 s, 339 classes (v1; 305 in v2);
Multi-Moments 1.02 million clips with 2.01 million labels, 313 classes (292 in v2).
"""

from pathlib import Path

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import (
    ClassNames,
    column_of_id,
    given,
    id_columns,
    packaged_label_space,
    plain_rows,
    whole_number,
)
from tubelet.data.sources.clip_rows import ClipRow, write_clips
from tubelet.data.sources.media_folder import MediaFolder, without_suffix
from tubelet.labels import LabelSpace
from tubelet.types import InputError

FOLDERS = {"train": "training", "val": "validation"}
LICENCE = "Moments in Time's own: non-commercial research"
SOURCE = "http://moments.csail.mit.edu"


def import_moments(
    *,
    train: Path,
    val: Path | None = None,
    media_root: Path,
    out: Path,
    categories: Path | None = None,
    min_agreement: float = 0.0,
    name: str = "moments_in_time",
) -> Manifest:
    """Turn the files of Moments in Time into a manifest.

    Args:
        train: ``trainingSet.csv``.
        val: ``validationSet.csv``.
        media_root: Folder with ``training/`` and ``validation/``.
        out: Folder of the manifest.
        categories: ``moments_categories.txt``; default: the 339 classes of the first release.
        min_agreement: Leave out clips for which a smaller share of the workers agreed (0..1), counted.
        name: Of the data set.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    if not 0 <= min_agreement <= 1:
        raise InputError(f"min_agreement is {min_agreement:g}, expected a share in 0..1")
    space = packaged_label_space("moments_in_time") if categories is None else _read_categories(categories)
    names = ClassNames(space)
    media = MediaFolder(media_root)
    in_splits = _has_split_folders(media)
    counts = {"rows_below_agreement": 0}
    rows = []
    for split, path in given(train=train, val=val):
        for place, cells in plain_rows(path):
            if len(cells) not in (2, 4):
                raise InputError(f"{place}: {len(cells)} columns, expected file,category,votes for,votes against")
            label = names.column(place, cells[1].strip())
            if len(cells) == 4 and _agreement(place, cells) < min_agreement:
                counts["rows_below_agreement"] += 1
                continue
            rows.append(_clip(cells[0].strip(), split, (label,), in_splits=in_splits))
    return write_clips(
        out,
        rows=rows,
        media=media,
        frames_fps=0.0,
        name=name,
        label_space=space,
        multi_label=False,
        licence=LICENCE,
        source=SOURCE,
        counts=counts,
    )


def import_multi_moments(
    *,
    train: Path,
    val: Path | None = None,
    media_root: Path,
    out: Path,
    categories: Path | None = None,
    name: str = "multi_moments",
) -> Manifest:
    """Turn the files of Multi-Moments in Time into a multi-label manifest.

    Args:
        train: ``trainingSet.csv``.
        val: ``validationSet.csv``.
        media_root: Folder of the videos, with or without ``training/`` and ``validation/``.
        out: Folder of the manifest.
        categories: ``moments_categories.txt``; default: the 313 classes of the first release.
        name: Of the data set.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    space = packaged_label_space("multi_moments") if categories is None else _read_categories(categories)
    columns = id_columns(space)
    media = MediaFolder(media_root)
    in_splits = _has_split_folders(media)
    rows = []
    for split, path in given(train=train, val=val):
        for place, cells in plain_rows(path):
            if len(cells) < 2:
                raise InputError(f"{place}: 1 column, expected path,index,index,...")
            labels = {column_of_id(place, space, columns, text) for text in cells[1:] if text.strip()}
            if not labels:
                raise InputError(f"{place}: has no label, expected path,index,index,...")
            rows.append(_clip(cells[0].strip(), split, tuple(sorted(labels)), in_splits=in_splits))
    return write_clips(
        out,
        rows=rows,
        media=media,
        frames_fps=0.0,
        name=name,
        label_space=space,
        multi_label=True,
        licence=LICENCE,
        source=SOURCE,
    )


def _has_split_folders(media: MediaFolder) -> bool:
    """Return whether any video lies in ``training/`` or ``validation/``, however far below the media root."""
    return any(folder in FOLDERS.values() for cell in media.cells for folder in cell.split("/")[:-1])


def _clip(file: str, split: str, labels: tuple[int, ...], *, in_splits: bool) -> ClipRow:
    # The same category/file may lie in both folders: there, a video that is missing in one is not that of the other.
    name = f"{FOLDERS[split]}/{file}"
    names = (name,) if in_splits else (name, file)
    return ClipRow(names=names, clip_id=f"{FOLDERS[split]}/{without_suffix(file)}", split=split, labels=labels)


def _agreement(place: str, cells: list[str]) -> float:
    """Return the share of the workers who agreed with the label; 1 without votes."""
    agreed, against = whole_number(place, "votes for", cells[2]), whole_number(place, "votes against", cells[3])
    if agreed < 0 or against < 0:
        raise InputError(f"{place}: {agreed} votes for and {against} against, expected no negative number")
    total = agreed + against
    return agreed / total if total else 1.0


def _read_categories(path: Path) -> LabelSpace:
    """Read ``category,index`` rows into a label space in the order of the indices."""
    pairs = []
    for place, cells in plain_rows(path):
        if len(cells) != 2:
            raise InputError(f"{place}: {len(cells)} columns, expected category,index")
        pairs.append((whole_number(place, "the index", cells[1]), cells[0].strip()))
    pairs.sort()
    return LabelSpace(name=path.stem, names=tuple(name for _, name in pairs), ids=tuple(number for number, _ in pairs))
