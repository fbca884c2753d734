"""AVA's csv files, read and written exactly: ground truth and detections.

Layout of the public files (no header): ``video_id,seconds,x1,y1,x2,y2,action_id[,person_id or score]``; a row of two
columns, or whose cells after them are all empty, is a keyframe on which nobody does anything. Boxes are 0..1 of the
frame.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from tubelet.data.ava_table import AvaTable, Keyframe, keyframe_of
from tubelet.labels import LabelSpace
from tubelet.types import InputError

COLUMNS = ("video", "seconds", "x1", "y1", "x2", "y2", "action id")
BOX_TOLERANCE = 1e-6
LONGEST_SECONDS = 1e6  # 12 days; a number beyond is no time

_SEVENTH = re.compile(rb",([^,\r\n]*)(?=\r?\n|\r?\Z)")
_EMPTY_CELLS = re.compile(rb"(?<=[^,]),{5,6}(?=\r?\n?$)")


def read_ava_csv(
    path: str | Path,
    *,
    detections: bool = False,
    label_space: LabelSpace | None = None,
    allow_outside: bool = False,
) -> AvaTable:
    """Read ground truth, or detections with a score in the eighth column.

    Args:
        path: The csv; a header line is recognised and skipped.
        detections: The eighth column is a score (default 1) instead of a person id (default -1); of seven columns, the
            seventh is the score where the first row has a decimal point there, else an action.
        label_space: If given, every action id must be one of its published ids (blank and -1 pass for detections).
        allow_outside: Accept boxes outside 0..1 and inverted ones, as the official evaluator does.

    Raises:
        InputError: The first mistake, with file and line.
    """
    path = Path(path)
    data = read_bytes(path)
    rows, lines, keyframes, width = _split_rows(path, data)
    if not rows and not keyframes and not detections:
        raise InputError(f"{path}: has no rows")
    if detections and width == 7 and b"." in rows[: rows.find(b"\n")].rsplit(b",", 1)[-1]:
        rows, width = _SEVENTH.sub(rb",,\1", rows), 8
    names = [f"c{i}" for i in range(width)]
    types = {"c0": pa.string(), **{f"c{i}": pa.float64() for i in range(1, 6)}, "c6": pa.int32()}
    if width == 8:
        types["c7"] = pa.float64() if detections else pa.int64()
    nulls = ["", "nan"]
    try:
        table = csv.read_csv(
            pa.BufferReader(rows or b"," * (width - 1) + b"\n"),  # an empty file is an error to the reader
            # No threads: those of Arrow may end a process that stops on the next line's mistake with an abort.
            read_options=csv.ReadOptions(column_names=names, use_threads=False),
            convert_options=csv.ConvertOptions(column_types=types, null_values=nulls, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise _first_mistake(path, rows, lines, width, detections=detections, cause=error) from None
    table = table.slice(0, len(lines))
    for column in range(1, 6):
        _reject(path, lines, pc.is_null(table.column(column)), f"{COLUMNS[column]} is missing")
    labels = table.column("c6")
    if not detections:
        _reject(path, lines, pc.is_null(labels), "action id is missing")
    ava = AvaTable(
        video=table.column("c0").to_numpy(),
        pts_seconds=table.column("c1").to_numpy(),
        boxes_norm=np.stack([table.column(f"c{i}").to_numpy() for i in range(2, 6)], axis=1),
        label_ids=pc.fill_null(labels, -1).to_numpy().astype(np.int32),
        scores=_eighth(table, width, 1.0) if detections else None,
        person_ids=None if detections else _eighth(table, 7 if _has_status(data) else width, -1),
        keyframes=keyframes,
    )
    _check_values(path, lines, ava, label_space, allow_outside=allow_outside)
    return ava


def write_ava_csv(path: str | Path, table: AvaTable, *, box_decimals: int = 3, score_decimals: int = 4) -> None:
    """Write rows in their order, then two-column rows sorted; seconds as AVA writes them (0902), atomically.

    Args:
        path: The csv; its folder is created.
        table: Detections where ``scores`` is set, ground truth where ``person_ids`` is set, seven columns else.
        box_decimals: Digits of the boxes; AVA publishes 3.
        score_decimals: Digits of the scores.
    """
    lines = ava_rows(table, box_decimals=box_decimals, score_decimals=score_decimals)
    lines += [f"{video},{format_seconds(ticks / 1_000_000)}" for video, ticks in sorted(table.keyframes)]
    write_text(Path(path), "".join(line + "\n" for line in lines))


def ava_rows(table: AvaTable, *, box_decimals: int = 3, score_decimals: int = 4) -> list[str]:
    """Return the csv's row of each box, without the line's end; arguments as for ``write_ava_csv``."""
    box = ",".join([f"%.{box_decimals}f"] * 4)
    columns: list[Iterable[object]] = [table.video.tolist(), map(format_seconds, table.pts_seconds.tolist())]
    columns += [table.boxes_norm[:, i].tolist() for i in range(4)]
    columns.append(table.label_ids.tolist())
    pattern = f"%s,%s,{box},%d"
    if table.scores is not None:
        pattern += f",%.{score_decimals}f"
        columns.append(table.scores.tolist())
    elif table.person_ids is not None:
        pattern += ",%d"
        columns.append(table.person_ids.tolist())
    return [pattern % row for row in zip(*columns, strict=True)]


def format_seconds(seconds: float) -> str:
    """Return AVA's spelling of a time: four digits for whole seconds, else as many decimals as needed (up to 6)."""
    if seconds == int(seconds):
        return f"{int(seconds):04d}"
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def _split_rows(path: Path, data: bytes) -> tuple[bytes, np.ndarray, frozenset[Keyframe], int]:
    """Separate the two-column rows, blank lines and a header from the boxes.

    Returns:
        The box rows, their line numbers, the keyframes of two-column rows, and the number of columns (7 or 8).
    """
    lines = data.splitlines(keepends=True)
    if b",,,,," in data:  # a keyframe with empty cells instead of a box
        lines = [_EMPTY_CELLS.sub(b"", line) for line in lines]
        data = b"".join(lines)
    commas = np.fromiter((line.count(b",") for line in lines), dtype=np.int64, count=len(lines))
    wrong = ~np.isin(commas, (1, 6, 7))
    blank = np.array([not lines[i].strip() for i in np.flatnonzero(wrong)], dtype=bool)
    bad = np.flatnonzero(wrong)[~blank] if wrong.any() else np.empty(0, dtype=np.int64)
    if len(bad):
        found = commas[bad[0]] + 1
        raise InputError(
            f"{path}:{bad[0] + 1}: {found} columns, expected {','.join(COLUMNS)} and maybe an eighth, or 2"
        )
    boxes = commas >= 6
    if lines and _is_header(lines[0]):
        boxes[0], commas[0] = False, 0
    short = np.flatnonzero(commas == 1).tolist()
    keyframes = frozenset(parse_keyframe(path, i + 1, lines[i].decode(errors="replace")) for i in short)
    width = int(commas[boxes].max()) + 1 if boxes.any() else 7
    if width == 8 and (commas[boxes] == 6).any():  # both lengths in one file: the eighth column is then empty
        rows = b"".join(
            line if n == 7 else line.rstrip(b"\r\n") + b",\n" for line, n in zip(lines, commas, strict=True) if n >= 6
        )
    else:
        rows = data if boxes.all() else b"".join(line for line, use in zip(lines, boxes, strict=True) if use)
    return rows, np.flatnonzero(boxes) + 1, keyframes, width


def _has_status(data: bytes) -> bool:
    """Return whether the eighth column is AVA v1.0's ``status``, which is no person id."""
    return data[: data.find(b"\n")].rstrip().endswith(b",status")


def _is_header(line: bytes) -> bool:
    cells = line.decode(errors="replace").strip().split(",")
    return len(cells) > 1 and not any(_is_number(cell) for cell in cells[1:]) and cells[0].startswith("video")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse_keyframe(path: Path, number: int, line: str) -> Keyframe:
    """Return the key of a line ``video_id,seconds``; ``number`` is the line's, for the message."""
    cells = line.strip().split(",")
    if len(cells) != 2 or not cells[0] or not _is_number(cells[1]) or not abs(float(cells[1])) < LONGEST_SECONDS:
        raise InputError(f"{path}:{number}: {line.strip()!r} is not video_id,seconds")
    return keyframe_of(cells[0], float(cells[1]))


def _eighth(table: pa.Table, width: int, missing: float) -> np.ndarray:
    if width == 8:
        values: np.ndarray = pc.fill_null(table.column("c7"), missing).to_numpy()
        return values
    return np.full(table.num_rows, missing)


def _check_values(
    path: Path, lines: np.ndarray, ava: AvaTable, label_space: LabelSpace | None, *, allow_outside: bool
) -> None:
    boxes = ava.boxes_norm
    _reject(path, lines, ava.video == "", "video id is missing")
    _reject(path, lines, ~np.isfinite(boxes).all(axis=1) | ~np.isfinite(ava.pts_seconds), "not a finite number")
    if not allow_outside:
        outside = ((boxes < -BOX_TOLERANCE) | (boxes > 1 + BOX_TOLERANCE)).any(axis=1)
        _reject(path, lines, outside, "box {box}, expected 0..1 of the frame, not pixels", boxes)
        inverted = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
        _reject(path, lines, inverted, "box {box}, expected x1,y1,x2,y2 with x2 >= x1 and y2 >= y1", boxes)
    if label_space is not None:
        known = [*label_space.published_ids, -1] if ava.scores is not None else list(label_space.published_ids)
        unknown = ~np.isin(ava.label_ids, known)
        what = f"action id {{box}} is not in label space {label_space.name!r}"
        _reject(path, lines, unknown, what, ava.label_ids)


def _reject(path: Path, lines: np.ndarray, wrong: object, what: str, values: np.ndarray | None = None) -> None:
    mask = np.asarray(wrong)
    if mask.any():
        row = int(np.argmax(mask))
        more = int(mask.sum()) - 1
        shown = "" if values is None else values[row].tolist()
        also = f" (and {more} more rows)" if more else ""
        raise InputError(f"{path}:{lines[row]}: {what.replace('{box}', str(shown))}{also}")


def _first_mistake(
    path: Path, rows: bytes, lines: np.ndarray, width: int, *, detections: bool, cause: Exception
) -> InputError:
    """Find the cell that is not a number; only run when the fast reader has refused the file."""
    names = (*COLUMNS, "score" if detections else "person id")
    for number, line in zip(lines, rows.decode(errors="replace").splitlines(), strict=False):
        for place, cell in enumerate(line.split(",")[1:width], start=1):
            whole = place == 6 or (place == 7 and not detections)
            if cell and not (re.fullmatch(r"[+-]?\d+", cell) if whole else _is_number(cell)):
                kind = "a whole number" if whole else "a number"
                return InputError(f"{path}:{number}: {names[place]} is {cell!r}, expected {kind}")
    return InputError(f"{path}: {str(cause).splitlines()[0]}")


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; a file that cannot be read is an ``InputError``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def write_text(path: Path, text: str) -> None:
    """Write a text file by renaming a complete one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.replace(path)
