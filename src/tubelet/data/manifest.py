"""The manifest: a folder with ``clips.parquet``, maybe ``boxes.parquet`` and ``keyframes.parquet``, ``manifest.json``.

Every published format is converted to it once; nothing after that knows the source. Messages count rows from 0.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tubelet.data.validate import validate_tables
from tubelet.labels import LabelSpace
from tubelet.types import InputError, did_you_mean

VERSION = 2  # 2: clips have ``fps`` and no ``weight``; keyframes.parquet
READABLE = (1, 2)
KINDS = ("classify", "localise")

CLIPS_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("video", pa.string()),  # below media_root, with forward slashes; or a URI
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
        ("split", pa.string()),  # train, val, test, or one of these with a suffix: test_unseen
        ("labels", pa.list_(pa.int32())),  # columns of the label space, not published ids
        ("fps", pa.float64()),  # rate of a folder or tar of frames; 0: the file's own
    ]
)
BOXES_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("pts_seconds", pa.float64()),  # in the video, not in the clip
        ("x1", pa.float64()),
        ("y1", pa.float64()),
        ("x2", pa.float64()),
        ("y2", pa.float64()),
        ("labels", pa.list_(pa.int32())),
        ("person_id", pa.int64()),  # -1: not known
        ("score", pa.float64()),
        ("origin", pa.string()),  # annotated or detected
    ]
)
KEYFRAMES_SCHEMA = pa.schema([("clip_id", pa.string()), ("pts_seconds", pa.float64())])
"""Annotated instants at which nobody has a box: a model that finds somebody there is wrong."""
DEFAULTS: dict[str, object] = {"fps": 0.0, "person_id": -1, "score": 1.0, "origin": "annotated"}
ADDED_LATER = ("fps",)
"""Columns that a manifest of an older version may lack."""


class Tables(NamedTuple):
    """The rows of a manifest."""

    clips: pa.Table
    """Columns as in ``CLIPS_SCHEMA``."""
    boxes: pa.Table | None
    """Columns as in ``BOXES_SCHEMA``; None where the manifest has none."""
    keyframes: pa.Table
    """Columns as in ``KEYFRAMES_SCHEMA``."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """An opened manifest; the tables are read when first used."""

    root: Path
    """The folder."""
    name: str
    kind: str
    """``classify`` (labels belong to clips) or ``localise`` (labels belong to boxes at keyframes)."""
    multi_label: bool
    """Several labels may hold at once (sigmoid); otherwise exactly one (softmax)."""
    label_space: LabelSpace
    media_root: Path
    """Folder the ``video`` column is relative to, absolute; ``video.media.resolve_media`` joins the two."""
    licence: str
    source: str
    counts: dict[str, int]
    """Written with the tables: clips, videos, boxes, keyframes (of the boxes), and clips per split."""

    @cached_property
    def clips(self) -> pa.Table:
        """The table of clips, columns as in ``CLIPS_SCHEMA``."""
        return _read_table(self.root / "clips.parquet", CLIPS_SCHEMA)

    @cached_property
    def boxes(self) -> pa.Table | None:
        """The table of boxes, columns as in ``BOXES_SCHEMA``; None where the manifest has none."""
        path = self.root / "boxes.parquet"
        return _read_table(path, BOXES_SCHEMA) if self.kind == "localise" else None

    @cached_property
    def keyframes(self) -> pa.Table:
        """The annotated keyframes without a box, columns as in ``KEYFRAMES_SCHEMA``; most sets have none."""
        return self._read_keyframes()

    def read_tables(self) -> "Tables":
        """Read the tables without keeping them: a data set needs them once, and 10^6 rows take 150 MB."""
        return Tables(
            _read_table(self.root / "clips.parquet", CLIPS_SCHEMA),
            None if self.kind == "classify" else _read_table(self.root / "boxes.parquet", BOXES_SCHEMA),
            self._read_keyframes(),
        )

    def _read_keyframes(self) -> pa.Table:
        path = self.root / "keyframes.parquet"
        return _read_table(path, KEYFRAMES_SCHEMA) if path.exists() else KEYFRAMES_SCHEMA.empty_table()


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
) -> Manifest:
    """Check everything, then write the folder; ``manifest.json`` comes last, so a half-written folder is not one.

    Args:
        folder: Created if missing; a manifest already there is replaced.
        name: Name of the data set.
        kind: ``classify`` or ``localise``.
        multi_label: Whether several labels may hold at once.
        label_space: Classes; label values in the tables are its columns.
        media_root: Absolute, or relative to ``folder`` (kept relative, so both can move together).
        licence: Licence of the annotations, or where to find it.
        source: Where they come from.
        clips: Rows or table; ``fps`` may be left out (0).
        boxes: Rows or table; ``person_id`` (-1), ``score`` (1) and ``origin`` (annotated) may be left out.
        keyframes: Annotated keyframes without a box; written if there are any.
        extra_counts: Kept in ``counts``: what an importer left out, say.

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
    header = {
        "version": VERSION,
        "name": name,
        "kind": kind,
        "multi_label": multi_label,
        "label_space": label_space.to_json(),
        "media_root": str(media_root),
        "licence": licence,
        "source": source,
        "counts": dict(extra_counts or {}) | _count(tables["clips"], tables.get("boxes")),
    }
    _publish(folder, header, tables)
    return read_manifest(folder)


def read_manifest(folder: str | Path) -> Manifest:
    """Open a manifest: the header and the tables' columns are checked, rows are not read yet.

    Raises:
        InputError: No manifest there, or a header or column that does not fit.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    try:
        header = json.loads(path.read_text())
    except OSError:
        raise InputError(f"{path}: not found; expected a manifest folder (manifest.json, clips.parquet)") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    try:
        if header["version"] not in READABLE:
            raise InputError(f"{path}: version {header['version']}, this program reads {READABLE}")
        manifest = Manifest(
            root=folder.absolute(),
            name=header["name"],
            kind=header["kind"],
            multi_label=header["multi_label"],
            label_space=LabelSpace.from_json(header["label_space"]),
            media_root=(folder.absolute() / header["media_root"]).resolve(),
            licence=header["licence"],
            source=header["source"],
            counts=header["counts"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: field missing or of the wrong type: {error}") from None
    if manifest.kind not in KINDS:
        raise InputError(f"{path}: kind is {manifest.kind!r}, expected one of {KINDS}")
    _check_columns(folder / "clips.parquet", CLIPS_SCHEMA)
    if manifest.kind == "localise":
        _check_columns(folder / "boxes.parquet", BOXES_SCHEMA)
    return manifest


def validate_manifest(manifest: Manifest, tables: Tables | None = None) -> None:
    """Check every row; vectorised, about half a second per million rows.

    Args:
        manifest: Its tables are read unless they are given.
        tables: Of ``read_tables``.

    Raises:
        InputError: The first mistake, with table, row and column.
    """
    tables = manifest.read_tables() if tables is None else tables
    validate_tables(
        str(manifest.root),
        *tables,
        kind=manifest.kind,
        multi_label=manifest.multi_label,
        label_space=manifest.label_space,
        suffix=".parquet",
    )


def _publish(folder: Path, header: dict[str, Any], tables: dict[str, pa.Table]) -> None:
    """Write everything under temporary names, then rename; the header last."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {key: folder / f".{key}.{os.getpid()}.tmp" for key in (*tables, "manifest")}
    try:
        for key, table in tables.items():
            pq.write_table(table, temporary[key], compression="zstd")
        temporary["manifest"].write_text(json.dumps(header, indent=1) + "\n")
        for stale in ("manifest.json", "boxes.parquet", "keyframes.parquet"):
            (folder / stale).unlink(missing_ok=True)
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


def _check_columns(path: Path, schema: pa.Schema) -> None:
    """Compare a parquet file's columns with the schema without reading rows."""
    try:
        actual = pq.read_schema(path)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; the manifest is incomplete") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a parquet file ({str(error).splitlines()[0]})") from None
    for field in schema:
        if field.name not in actual.names:
            if field.name in ADDED_LATER:
                continue
            raise InputError(f"{path}: column {field.name!r} is missing; expected {', '.join(schema.names)}")
        found = actual.field(field.name).type
        if found != field.type and not (pa.types.is_list(found) and found.value_type == field.type.value_type):
            raise InputError(f"{path}: column {field.name!r} is {found}, expected {field.type}")


def _read_table(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        there = pq.read_schema(path).names
        table = pq.read_table(path, columns=[name for name in schema.names if name in there])
        for name in (name for name in schema.names if name not in there):
            default = pa.scalar(DEFAULTS[name], schema.field(name).type)
            table = table.append_column(name, pa.repeat(default, table.num_rows))
        return table.select(schema.names).cast(schema)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; the manifest is incomplete") from None
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None


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
