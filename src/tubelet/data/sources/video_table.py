"""A plain table of your own: csv or parquet with ``path,label``, one row for each clip.

Columns: ``path`` and ``label``; optional ``split`` (train, val, test, ...), ``start_seconds`` and ``end_seconds`` (of
the video; empty = all of it). A csv needs the header line, except with exactly the two columns path and label.
A path is below the media root or a URI (``s3://``, ``https://`` ...), which needs ``start_seconds`` and
``end_seconds``, since nothing is fetched here. Several labels stand in one cell with a separator between, or in a list
column of a parquet file.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tubelet.data.ava_rows import LONGEST_SECONDS
from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import ClassNames, given, plain_rows, read_classes, some_of, table_rows
from tubelet.data.sources.clip_rows import ClipRow, write_clips
from tubelet.data.sources.media_folder import MediaFolder, share_of, without_suffix
from tubelet.data.validate import SPLIT_EXPECTED, SPLIT_PATTERN
from tubelet.labels import LabelSpace
from tubelet.types import InputError, did_you_mean, first_line

COLUMNS = ("path", "label", "split", "start_seconds", "end_seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    place: str
    path: str
    labels: tuple[str, ...]
    split: str
    segment: tuple[float, float] | None


def import_video_table(
    *,
    train: Path,
    val: Path | None = None,
    test: Path | None = None,
    media_root: Path,
    out: Path,
    labels: str | None = None,
    multi_label: bool = False,
    separator: str = "|",
    val_share: float = 0.0,
    frames_fps: float = 0.0,
    name: str = "mine",
    licence: str = "unknown",
) -> Manifest:
    """Turn csv or parquet tables of ``path,label`` into a manifest.

    Args:
        train: The table, or that of the training split; a column ``split`` goes before the file.
        val: The same for validation.
        test: The same for testing; its labels may be empty.
        media_root: Folder that holds the videos; absolute paths are taken from below it. Not looked at if every row has
            a URI.
        out: Folder of the manifest.
        labels: A label space that comes with Tubelet (``kinetics400``), or a file with a class on each line; default:
            the labels of the tables, sorted.
        multi_label: A cell may hold several labels, or none.
        separator: Between the labels of a cell; empty: a cell is one label.
        val_share: The share of the training videos that becomes ``val``, decided by each one's name.
        frames_fps: Rate of the media that are folders of frames.
        name: Of the data set.
        licence: Of the annotation.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    if not 0 <= val_share < 1:
        raise InputError(f"val_share must be in [0, 1), got {val_share}")
    rows = [
        row
        for split, path in given(train=train, val=val, test=test)
        for row in _read(path, split, separator, multi_label=multi_label)
    ]
    space = read_classes(labels) if labels else LabelSpace(name=name, names=_sorted_names(rows))
    names = ClassNames(space)
    clips = [_clip(row, names, media_root, multi_label=multi_label, val_share=val_share) for row in rows]
    return write_clips(
        out,
        rows=clips,
        media=MediaFolder(media_root, listed=not all("://" in row.path for row in rows)),
        frames_fps=frames_fps,
        name=name,
        label_space=space,
        multi_label=multi_label,
        licence=licence,
        source=f"table ({train})",
        own_splits=True,
    )


def _read(path: Path, split: str, separator: str, *, multi_label: bool) -> Iterator[_Row]:
    for place, cells in _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path):
        video, label = _text(place, "path", cells["path"]), cells["label"]
        if not video:
            raise InputError(f"{place}: path is missing; expected a video below the media root")
        parts = label if isinstance(label, list) else [label]
        texts = [_text(place, "label", part) for part in parts]
        if separator and not isinstance(label, list):
            texts = [part.strip() for part in texts[0].split(separator)]
        found = tuple(text for text in texts if text)
        row_split = _text(place, "split", cells.get("split")) or split
        if not re.match(SPLIT_PATTERN, row_split):
            raise InputError(f"{place}: split is {row_split!r}, {SPLIT_EXPECTED}")
        if len(found) > 1 and not multi_label:
            raise InputError(
                f"{place}: {len(found)} labels ({', '.join(found)}), expected one; say --multi-label if several may "
                f"hold, or another --separator if {separator!r} belongs to a label"
            )
        yield _Row(place=place, path=video, labels=found, split=row_split, segment=_segment(place, cells))


def _csv_rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    _, first = next(plain_rows(path), ("", []))
    header = [cell.strip() for cell in first]
    if "path" in header or "label" in header:
        _check_columns(f"{path}:1", header)
        yield from table_rows(path, COLUMNS[:2])
        return
    for place, cells in plain_rows(path):
        if len(cells) != 2:
            raise InputError(f"{place}: {len(cells)} columns and no header; expected a first line path,label,...")
        yield place, {"path": cells[0], "label": cells[1]}


def _parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from None
    _check_columns(str(path), table.column_names)
    for number, cells in some_of(path, enumerate(table.to_pylist())):
        yield f"{path}: row {number}", cells


def _check_columns(place: str, names: Sequence[str]) -> None:
    for name in COLUMNS[:2]:
        if name not in names:
            raise InputError(f"{place}: column {name!r} is missing; expected {', '.join(COLUMNS)}")
    for name in names:
        if name not in COLUMNS:
            hint = did_you_mean(name, COLUMNS)
            raise InputError(f"{place}: unknown column {name!r}{hint}; expected {', '.join(COLUMNS)}")


def _segment(place: str, cells: Mapping[str, object]) -> tuple[float, float] | None:
    texts = {column: _text(place, column, cells.get(column)) for column in COLUMNS[3:]}
    if not any(texts.values()):
        return None
    times = []
    for column, text in texts.items():
        try:
            times.append(float(text))
        except ValueError:
            raise InputError(f"{place}: {column} is {text!r}, expected seconds (or both times empty)") from None
    if not 0 <= times[0] < times[1] < LONGEST_SECONDS:
        raise InputError(f"{place}: end_seconds is {times[1]}, expected seconds after start_seconds {times[0]}")
    return times[0], times[1]


def _clip(row: _Row, names: ClassNames, media_root: Path, *, multi_label: bool, val_share: float) -> ClipRow:
    video = row.path if "://" in row.path else _below(row, media_root)
    held_out = row.split == "train" and share_of(video) < val_share
    return ClipRow(
        names=(video,),
        clip_id=_clip_id(video, row.segment),
        split="val" if held_out else row.split,
        labels=_columns(row, names, multi_label=multi_label),
        segment=row.segment,
    )


def _below(row: _Row, media_root: Path) -> str:
    """Return a path as it is below the media root; one that is absolute elsewhere is taken for below it too."""
    path = os.path.normpath(row.path) if ".." in row.path.split("/") else row.path
    path = path.removeprefix(f"{os.path.normpath(media_root.absolute())}/").lstrip("/")
    if path.split("/")[0] == "..":
        raise InputError(f"{row.place}: path {row.path!r} leaves the media root {media_root}")
    return path


def _columns(row: _Row, names: ClassNames, *, multi_label: bool) -> tuple[int, ...]:
    if not multi_label and len(row.labels) != 1 and not (row.split.startswith("test") and not row.labels):
        raise InputError(f"{row.place}: label is missing, expected one")
    return tuple(sorted({names.column(row.place, label) for label in row.labels}))


def _sorted_names(rows: Sequence[_Row]) -> tuple[str, ...]:
    """Return the labels in order; numbers by value."""
    found = {label for row in rows for label in row.labels}
    if not found:
        raise InputError(f"{rows[0].place.rsplit(':', 1)[0]}: no row has a label")
    if all(re.fullmatch("[0-9]{1,9}", label) for label in found):
        return tuple(sorted(found, key=int))
    return tuple(sorted(found))


def _clip_id(video: str, segment: tuple[float, float] | None) -> str:
    stem = without_suffix(video)
    return stem if segment is None else f"{stem}@{segment[0]:g}-{segment[1]:g}"


def _text(place: str, column: str, value: object) -> str:
    if value is None or value != value:  # pandas writes what is missing as NaN
        return ""
    if not isinstance(value, (str, int, float)):
        raise InputError(f"{place}: {column} is {value!r}, expected text or a number")
    return str(value).strip()
