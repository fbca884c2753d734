"""Row checks of a manifest's tables: vectorised, and the first mistake is named by table, row and column."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tubelet.data.manifest import Manifest, Tables
from tubelet.labels import LabelSpace
from tubelet.types import InputError
from tubelet.video.media import SCHEMES

SPLIT_PATTERN = r"^(train|val|test)(_[A-Za-z0-9]+)*$"
SPLIT_EXPECTED = "expected train, val or test, or one of these with a suffix (test_unseen)"
ORIGINS = ("annotated", "detected")
NOT_BELOW_ROOT = r"^$|^/|(^|/)\.\.(/|$)|\x00|://"
TIME_TOLERANCE = 1e-3  # seconds; published times carry three decimals at most


def validate_manifest(manifest: Manifest, tables: Tables | None = None) -> None:
    """Check every row; vectorised, about half a second per million rows.

    Args:
        manifest: Its tables are read unless they are given.
        tables: Of ``read_tables``.

    Raises:
        InputError: The first mistake, with table, row and column.
    """
    clips, boxes, keyframes = manifest.read_tables() if tables is None else tables
    detected = None
    if boxes is not None:  # mistakes are named by the file they stand in
        num_annotated = pq.read_metadata(manifest.root / "boxes.parquet").num_rows
        boxes, detected = boxes.slice(0, num_annotated), boxes.slice(num_annotated)
    validate_tables(
        str(manifest.root),
        clips,
        boxes,
        keyframes,
        detected=detected,
        kind=manifest.kind,
        multi_label=manifest.multi_label,
        label_space=manifest.label_space,
        suffix=".parquet",
    )


def validate_tables(
    where: str,
    clips: pa.Table,
    boxes: pa.Table | None,
    keyframes: pa.Table | None = None,
    *,
    detected: pa.Table | None = None,
    kind: str,
    multi_label: bool,
    label_space: LabelSpace,
    suffix: str = "",
) -> None:
    """Check every row of the tables.

    Args:
        where: Folder named in messages.
        clips: Columns as in ``manifest.CLIPS_SCHEMA``.
        boxes: Columns as in ``manifest.BOXES_SCHEMA``, or None.
        keyframes: Columns as in ``manifest.KEYFRAMES_SCHEMA``, or None.
        detected: Boxes of a table of their own, or None.
        kind: ``classify`` or ``localise``.
        multi_label: Whether a clip or box may have any number of labels.
        label_space: Labels must be columns of it.
        suffix: Appended to the table's name in messages.

    Raises:
        InputError: The first mistake.
    """
    place = f"{where}/clips{suffix}"
    if clips.num_rows == 0:
        raise InputError(f"{place}: no rows")
    _no_nulls(place, clips)
    _finite(place, clips, ("start_seconds", "end_seconds", "fps"))
    start, end = _numbers(clips, "start_seconds"), _numbers(clips, "end_seconds")
    _reject(place, start < 0, clips, "start_seconds", "expected 0 or more")
    _reject(place, end < start, clips, "end_seconds", "expected no earlier than start_seconds")
    _reject(place, _numbers(clips, "fps") < 0, clips, "fps", "expected 0 or more")
    _unique(place, clips, "clip_id")
    fits = _boolean(pc.match_substring_regex(clips.column("split"), SPLIT_PATTERN))
    _reject(place, ~fits, clips, "split", SPLIT_EXPECTED)
    _inside_media_root(place, clips)
    _labels(place, clips, label_space)
    if kind == "classify" and not multi_label:
        lengths = _boolean(pc.list_value_length(clips.column("labels")))
        hidden = _boolean(pc.starts_with(clips.column("split"), "test"))
        wrong = (lengths > 1) | ((lengths == 0) & ~hidden)
        _reject(place, wrong, clips, "labels", "expected exactly one (single-label data set)")
    for name, table in (("boxes", boxes), ("detected", detected)):
        if table is not None:
            _validate_boxes(f"{where}/{name}{suffix}", table, clips, label_space, multi_label=multi_label)
    if keyframes is not None and keyframes.num_rows:
        place = f"{where}/keyframes{suffix}"
        _no_nulls(place, keyframes)
        _finite(place, keyframes, ("pts_seconds",))
        _inside_clips(place, keyframes, clips)


def _validate_boxes(
    place: str, boxes: pa.Table, clips: pa.Table, label_space: LabelSpace, *, multi_label: bool
) -> None:
    _no_nulls(place, boxes)
    _finite(place, boxes, ("pts_seconds", "x1", "y1", "x2", "y2", "score"))
    for name in ("x1", "y1", "x2", "y2"):
        values = _numbers(boxes, name)
        _reject(place, (values < 0) | (values > 1), boxes, name, "expected 0..1 of the frame, not pixels")
    _reject(place, _numbers(boxes, "x2") <= _numbers(boxes, "x1"), boxes, "x2", "expected greater than x1")
    _reject(place, _numbers(boxes, "y2") <= _numbers(boxes, "y1"), boxes, "y2", "expected greater than y1")
    score = _numbers(boxes, "score")
    _reject(place, (score < 0) | (score > 1), boxes, "score", "expected 0..1")
    known = pc.is_in(boxes.column("origin"), value_set=pa.array(ORIGINS))
    _reject(place, ~_boolean(known), boxes, "origin", f"expected one of {', '.join(ORIGINS)}")
    _inside_clips(place, boxes, clips)
    _labels(place, boxes, label_space)
    if not multi_label:
        lengths = _boolean(pc.list_value_length(boxes.column("labels")))
        _reject(place, lengths > 1, boxes, "labels", "expected one at most (single-label data set)")


def _inside_clips(place: str, table: pa.Table, clips: pa.Table) -> None:
    rows = pc.index_in(table.column("clip_id"), value_set=clips.column("clip_id").combine_chunks())
    _reject(place, _boolean(pc.is_null(rows)), table, "clip_id", "expected a clip_id of the clips table")
    clip = rows.to_numpy()
    time = _numbers(table, "pts_seconds")
    start, end = _numbers(clips, "start_seconds")[clip], _numbers(clips, "end_seconds")[clip]
    outside = (time < start - TIME_TOLERANCE) | (time > end + TIME_TOLERANCE)
    _reject(place, outside, table, "pts_seconds", "expected inside the clip's start_seconds..end_seconds")


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = table.column(name).to_numpy()
    return values


def _boolean(values: Any) -> np.ndarray:
    return np.asarray(values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy())


def _reject(place: str, wrong: np.ndarray, table: pa.Table, name: str, expected: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        value = table.column(name)[row].as_py()
        more = int(wrong.sum()) - 1
        also = f" (and {more} more rows)" if more else ""
        raise InputError(f"{place}: row {row}: {name} is {value!r}, {expected}{also}")


def _no_nulls(place: str, table: pa.Table) -> None:
    for name in table.column_names:
        column = table.column(name)
        if column.null_count:
            _reject(place, _boolean(pc.is_null(column)), table, name, "expected a value")


def _finite(place: str, table: pa.Table, names: tuple[str, ...]) -> None:
    for name in names:
        _reject(place, ~np.isfinite(_numbers(table, name)), table, name, "expected a finite number")


def _unique(place: str, table: pa.Table, name: str) -> None:
    column = table.column(name)
    if len(column.unique()) != table.num_rows:
        codes = column.combine_chunks().dictionary_encode().indices.to_numpy()
        again = np.ones(len(codes), dtype=bool)
        again[np.unique(codes, return_index=True)[1]] = False
        _reject(place, again, table, name, "which an earlier row has already; expected unique")


def _inside_media_root(place: str, clips: pa.Table) -> None:
    """Refuse a video path that is absolute, climbs out with ``..``, or a URI of an unknown kind.

    A manifest may come from anywhere; ``file://`` would name any file of this machine.
    """
    column = clips.column("video")
    uri = pc.match_substring_regex(column, rf"^({'|'.join(SCHEMES)})://[^/]")
    below = pc.if_else(uri, pc.replace_substring_regex(column, r"^[a-z0-9]+://", ""), column)
    wrong = _boolean(pc.match_substring_regex(below, NOT_BELOW_ROOT))
    expected = f"expected a path below the media root, relative, without '..'; or a URI ({', '.join(SCHEMES)})"
    _reject(place, wrong, clips, "video", expected)


def _labels(place: str, table: pa.Table, label_space: LabelSpace) -> None:
    column = table.column("labels").combine_chunks()
    values = column.flatten()
    if values.null_count:
        parents = pc.list_parent_indices(column).to_numpy()
        wrong = np.zeros(len(column), dtype=bool)
        wrong[parents[_boolean(pc.is_null(values))]] = True
        _reject(place, wrong, table, "labels", "expected numbers")
    numbers = values.to_numpy()
    outside = (numbers < 0) | (numbers >= len(label_space))
    if outside.any():
        wrong = np.zeros(len(column), dtype=bool)
        wrong[pc.list_parent_indices(column).to_numpy()[outside]] = True
        expected = f"expected columns 0..{len(label_space) - 1} of label space {label_space.name!r}"
        _reject(place, wrong, table, "labels", expected)
