"""The manifest: a folder with ``clips.parquet``, ``manifest.json``, and for boxes up to three tables more.

Every published format is converted to it once (``manifest_writer``); nothing after that knows the source. Messages
count rows from 0.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tubelet.labels import LabelSpace
from tubelet.records import read_json
from tubelet.types import InputError, first_line
from tubelet.video.media import MediaRoot, check_uri, is_uri

VERSION = 3  # 2: clips have ``fps`` and no ``weight``; keyframes.parquet. 3: detected.parquet
READABLE = (1, 2, 3)
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
DETECTED_TABLE = "detected.parquet"
"""The rows of origin ``detected``, columns as in ``BOXES_SCHEMA``: a table of their own, so that what is trained on
annotated boxes stays the same when a detector's are added. Up to version 2 they stood in boxes.parquet."""
ADDED_LATER = ("fps",)
"""Columns that a manifest of an older version may lack."""


class Tables(NamedTuple):
    """The rows of a manifest."""

    clips: pa.Table
    """Columns as in ``CLIPS_SCHEMA``."""
    boxes: pa.Table | None
    """Annotated, then detected; columns as in ``BOXES_SCHEMA``; None where the manifest has none."""
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
    media_root: MediaRoot
    """What the ``video`` column is relative to: an absolute folder, or a URI; ``video.media.resolve_media`` joins."""
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
        """The table of boxes, annotated and then detected, as in ``BOXES_SCHEMA``; None where the manifest has none."""
        return None if self.kind == "classify" else self._read_boxes(detected=True)

    @cached_property
    def keyframes(self) -> pa.Table:
        """The annotated keyframes without a box, columns as in ``KEYFRAMES_SCHEMA``; most sets have none."""
        return self._read_keyframes()

    def read_tables(self, *, detected: bool = True) -> "Tables":
        """Read the tables without keeping them: a data set needs them once, and 10^6 rows take 150 MB.

        Args:
            detected: Read detected boxes too.
        """
        boxes = None if self.kind == "classify" else self._read_boxes(detected=detected)
        return Tables(_read_table(self.root / "clips.parquet", CLIPS_SCHEMA), boxes, self._read_keyframes())

    def _read_boxes(self, *, detected: bool) -> pa.Table:
        annotated = _read_table(self.root / "boxes.parquet", BOXES_SCHEMA)
        if not detected or not (self.root / DETECTED_TABLE).exists():
            return annotated
        return pa.concat_tables([annotated, _read_table(self.root / DETECTED_TABLE, BOXES_SCHEMA)])

    def _read_keyframes(self) -> pa.Table:
        path = self.root / "keyframes.parquet"
        return _read_table(path, KEYFRAMES_SCHEMA) if path.exists() else KEYFRAMES_SCHEMA.empty_table()


def read_manifest(folder: str | Path) -> Manifest:
    """Open a manifest: the header and the tables' columns are checked, rows are not read yet.

    Raises:
        InputError: No manifest there, or a header or column that does not fit.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    if not path.is_file():
        raise InputError(f"{path}: not found; expected a manifest folder (manifest.json, clips.parquet)")
    header = read_json(path)
    try:
        if header["version"] not in READABLE:
            raise InputError(f"{path}: version {header['version']}, this program reads {READABLE}")
        manifest = Manifest(
            root=folder.absolute(),
            name=header["name"],
            kind=header["kind"],
            multi_label=header["multi_label"],
            label_space=LabelSpace.from_json(header["label_space"]),
            media_root=_media_root(folder, header["media_root"]),
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
        if (folder / DETECTED_TABLE).exists():
            _check_columns(folder / DETECTED_TABLE, BOXES_SCHEMA)
    return manifest


def _media_root(folder: Path, stored: str) -> MediaRoot:
    if is_uri(stored):
        check_uri(stored)
        return stored.rstrip("/")
    return (folder.absolute() / stored).resolve()


def _check_columns(path: Path, schema: pa.Schema) -> None:
    """Compare a parquet file's columns with the schema without reading rows."""
    try:
        actual = pq.read_schema(path)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; the manifest is incomplete") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a parquet file ({first_line(error)})") from None
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
        raise InputError(f"{path}: cannot be read ({first_line(error)})") from None
