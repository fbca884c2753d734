"""Write a manifest: everything is checked first, and the folder is one only when all of it is there."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tubelet.data.manifest import (
    BOXES_SCHEMA,
    CLIPS_SCHEMA,
    DEFAULTS,
    DETECTED_TABLE,
    KEYFRAMES_SCHEMA,
    KINDS,
    VERSION,
    Manifest,
    read_manifest,
)
from tubelet.data.validate import validate_manifest, validate_tables
from tubelet.labels import LabelSpace
from tubelet.records import read_json, write_json
from tubelet.types import InputError, did_you_mean

LEFT_OUT = "left_out.json"
"""Beside the tables: the videos that the import left out, each with the reason. It is no part of the data."""


def write_manifest(
    folder: str | Path,
    *,
    name: str,
    kind: str,
    multi_label: bool,
    label_space: LabelSpace,
    media_root: str | Path,
    licence: str,
    source: str,
    clips: pa.Table | Sequence[Mapping[str, object]],
    boxes: pa.Table | Sequence[Mapping[str, object]] | None = None,
    keyframes: pa.Table | Sequence[Mapping[str, object]] | None = None,
    extra_counts: Mapping[str, int] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Manifest:
    """Check everything, then write the folder; ``manifest.json`` comes last, so a half-written folder is not one.

    Args:
        folder: Created if missing; a manifest already there is replaced.
        name: Name of the data set.
        kind: ``classify`` or ``localise``.
        multi_label: Whether several labels may hold at once.
        label_space: Classes; label values in the tables are its columns.
        media_root: Absolute, or relative to ``folder`` (kept relative, so both can move together); or a URI (text).
        licence: Licence of the annotations, or where to find it.
        source: Where they come from.
        clips: Rows or table; ``fps`` may be left out (0).
        boxes: Rows or table; ``person_id`` (-1), ``score`` (1) and ``origin`` (annotated) may be left out.
        keyframes: Annotated keyframes without a box; written if there are any.
        extra_counts: Kept in ``counts``: what an importer left out, say.
        left_out: Videos that an importer left out, with the reason, for ``left_out.json``, which is there only if there
            are any; None = such a file stays as it is.

    Returns:
        The manifest as ``read_manifest`` gives it.

    Raises:
        InputError: The first mistake, with table, row and column; nothing is written then.
    """
    folder = Path(folder)
    tables = {"clips": _as_table(clips, CLIPS_SCHEMA, f"{folder}/clips")}
    if boxes is not None:
        tables["boxes"] = _as_table(boxes, BOXES_SCHEMA, f"{folder}/boxes")
    if keyframes is not None and len(keyframes):
        tables["keyframes"] = _as_table(keyframes, KEYFRAMES_SCHEMA, f"{folder}/keyframes")
    _check_kind(str(folder), kind, has_boxes=boxes is not None)
    validate_tables(
        str(folder),
        tables["clips"],
        tables.get("boxes"),
        tables.get("keyframes"),
        kind=kind,
        multi_label=multi_label,
        label_space=label_space,
    )
    counts = _count(tables["clips"], tables.get("boxes"))
    if boxes is not None:
        found = pc.equal(tables["boxes"].column("origin"), "detected")
        if pc.any(found).as_py():
            tables["detected"] = tables["boxes"].filter(found)
            tables["boxes"] = tables["boxes"].filter(pc.invert(found))
    header = {
        "version": VERSION,
        "name": name,
        "kind": kind,
        "multi_label": multi_label,
        "label_space": label_space.to_json(),
        "media_root": str(media_root),
        "licence": licence,
        "source": source,
        "counts": dict(extra_counts or {}) | counts,
    }
    if left_out:
        write_json(folder / LEFT_OUT, {"schema": "tubelet.left_out/1", "videos": left_out})
    elif left_out is not None:
        (folder / LEFT_OUT).unlink(missing_ok=True)
    _publish(folder, header, tables)
    return read_manifest(folder)


def rewrite_manifest(
    old: Manifest,
    out: Path,
    *,
    clips: pa.Table | None = None,
    boxes: pa.Table | None = None,
    keyframes: pa.Table | None = None,
    media_root: str | None = None,
    extra_counts: Mapping[str, int],
) -> Manifest:
    """Write a manifest anew with other tables; what is not given stays as it is, ``counts`` too.

    Args:
        old: The manifest.
        out: Folder of the new one; may be the same.
        clips: Other clips.
        boxes: Other boxes.
        keyframes: Other keyframes without a box.
        media_root: Another folder of videos, relative to ``out``.
        extra_counts: Added to the old one's counts.

    Raises:
        InputError: As ``write_manifest``.
    """
    splits = {f"clips_{split}" for split in old.clips.column("split").unique().to_pylist()}  # counted anew
    counts = {key: number for key, number in old.counts.items() if key not in splits}
    stored = str(read_json(old.root / "manifest.json")["media_root"])
    return write_manifest(
        out,
        name=old.name,
        kind=old.kind,
        multi_label=old.multi_label,
        label_space=old.label_space,
        media_root=media_root or (stored if Path(out).absolute() == old.root else old.media_root),
        licence=old.licence,
        source=old.source,
        clips=old.clips if clips is None else clips,
        boxes=old.boxes if boxes is None else boxes,
        keyframes=old.keyframes if keyframes is None and old.kind == "localise" else keyframes,
        extra_counts=counts | dict(extra_counts),
    )


def replace_detected(
    old: Manifest, detected: pa.Table, *, out: Path | None, extra_counts: Mapping[str, int]
) -> Manifest:
    """Give a manifest other detected boxes; its other tables stay as they are, in place byte for byte.

    Args:
        old: A manifest with boxes.
        detected: Rows as in ``BOXES_SCHEMA``, of origin ``detected``.
        out: Folder of the new manifest; None = the same folder.
        extra_counts: Take the place of the counts about earlier ones.

    Raises:
        InputError: As ``write_manifest``; nothing is changed then.
    """
    stale = [key for key in old.counts if key.startswith("detected_")]
    old = replace(old, counts={key: number for key, number in old.counts.items() if key not in stale})
    there = old.read_tables(detected=False)
    assert there.boxes is not None
    annotated = there.boxes.filter(pc.equal(there.boxes.column("origin"), "annotated"))
    every = pa.concat_tables([annotated, detected.select(BOXES_SCHEMA.names).cast(BOXES_SCHEMA)])
    mixed = annotated.num_rows != there.boxes.num_rows  # as up to version 2
    if mixed or not (out is None or Path(out).absolute() == old.root):
        return rewrite_manifest(old, out or old.root, boxes=every, extra_counts=extra_counts)
    validate_manifest(old, there._replace(boxes=every))
    header = read_json(old.root / "manifest.json")
    header |= {"version": VERSION, "counts": old.counts | dict(extra_counts) | _count(there.clips, every)}
    _publish(old.root, header, {"detected": every.slice(annotated.num_rows)}, replaced=())
    return read_manifest(old.root)


def _publish(
    folder: Path,
    header: dict[str, Any],
    tables: dict[str, pa.Table],
    *,
    replaced: Sequence[str] = ("manifest.json", "boxes.parquet", "keyframes.parquet", DETECTED_TABLE),
) -> None:
    """Write everything under temporary names, then rename, the header last; what is ``replaced`` goes before."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {key: folder / f".{key}.{os.getpid()}.tmp" for key in (*tables, "manifest")}
    try:
        for key, table in tables.items():
            pq.write_table(table, temporary[key], compression="zstd")
        temporary["manifest"].write_text(json.dumps(header, indent=1) + "\n")
        for name in replaced:
            (folder / name).unlink(missing_ok=True)
        for key in tables:
            temporary[key].replace(folder / f"{key}.parquet")
        temporary["manifest"].replace(folder / "manifest.json")
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def _check_kind(where: str, kind: str, *, has_boxes: bool) -> None:
    if kind not in KINDS:
        raise InputError(f"{where}: kind is {kind!r}, expected one of {KINDS}")
    if has_boxes != (kind == "localise"):
        raise InputError(f"{where}: a {kind} manifest {'must not have' if has_boxes else 'needs'} boxes")


def _as_table(rows: pa.Table | Sequence[Mapping[str, object]], schema: pa.Schema, where: str) -> pa.Table:
    """Return rows as a table of exactly ``schema``, defaults filled in."""
    table = rows if isinstance(rows, pa.Table) else None
    names = table.column_names if table is not None else list(dict.fromkeys(key for row in rows for key in row))
    for name in names:
        if name not in schema.names:
            raise InputError(f"{where}: unknown column {name!r}{did_you_mean(name, schema.names)}")
    columns = []
    for field in schema:
        if field.name not in names and (field.name in DEFAULTS or len(rows) == 0):
            columns.append(pa.repeat(pa.scalar(DEFAULTS.get(field.name), field.type), len(rows)))
        elif field.name not in names:
            raise InputError(f"{where}: column {field.name!r} is missing; expected {', '.join(schema.names)}")
        elif table is not None:
            columns.append(_cast(table.column(field.name), field, where))
        else:
            columns.append(_column([row.get(field.name, DEFAULTS.get(field.name)) for row in rows], field, where))
    return pa.table(columns, schema=schema)


def _cast(column: Any, field: pa.Field, where: str) -> Any:
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{where}: column {field.name!r} is {column.type}, expected {field.type} ({error})") from None


def _column(values: list[object], field: pa.Field, where: str) -> Any:
    """Return a typed column; on failure name the row."""
    try:
        return pa.array(values, type=field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError):
        for row, value in enumerate(values):
            try:
                pa.array([value], type=field.type)
            except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError):
                raise InputError(f"{where}: row {row}: {field.name} is {value!r}, expected {field.type}") from None
        raise


def _count(clips: pa.Table, boxes: pa.Table | None) -> dict[str, int]:
    counts = {"clips": clips.num_rows, "videos": len(clips.column("video").unique())}
    splits = clips.column("split").value_counts().to_pylist()
    counts |= {f"clips_{entry['values']}": entry["counts"] for entry in sorted(splits, key=lambda e: str(e["values"]))}
    if boxes is not None:
        counts["boxes"] = boxes.num_rows
        counts["keyframes"] = (
            boxes.select(["clip_id", "pts_seconds"]).group_by(["clip_id", "pts_seconds"]).aggregate([]).num_rows
        )
    return counts
