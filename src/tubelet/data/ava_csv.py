"""AVA's csv files, read and written exactly: ground truth and detections.

Layout of the public files (no header): ``video_id,seconds,x1,y1,x2,y2,action_id[,person_id or score]``; a row of two
columns, or whose cells after them are all empty, is a keyframe on which nobody does anything. Boxes are 0..1 of the
frame.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from tubelet.data.ava_rows import COLUMNS, LONGEST_SECONDS, NO_LABEL, CsvRows, line_of, read_rows
from tubelet.data.ava_table import AvaTable
from tubelet.labels import LabelSpace
from tubelet.records import whole_file
from tubelet.types import InputError

BOX_TOLERANCE = 1e-6
BoxRule = Literal["inside", "near", "any"]
"""Boxes accepted: ``inside`` the frame; ``near`` it, up to its size on each side, as detectors' boxes reach out of it
(pixels are still noticed; detections may be inverted, which evaluation leaves out and counts); ``any``."""


def read_ava_csv(
    path: str | Path,
    *,
    detections: bool = False,
    label_space: LabelSpace | None = None,
    boxes: BoxRule = "inside",
) -> AvaTable:
    """Read ground truth, or detections with a score in the eighth column; plain or gzip, ten million rows in seconds.

    Args:
        path: The csv; a header line is recognised and skipped.
        detections: The eighth column is a score (default 1) instead of a person id (default -1); of seven columns, the
            seventh is the score where the first row has a decimal point there, else an action.
        label_space: If given, every action id must be one of its published ids (blank and -1 pass for detections).
        boxes: Which are accepted.

    Raises:
        InputError: The first mistake, with file and line.
    """
    path = Path(path)
    rows = read_rows(path, scored=detections)
    if not len(rows.labels) and not rows.keyframes and not detections:
        raise InputError(f"{path}: has no rows")
    _check_cells(path, rows, detections=detections)
    if detections:
        rows.labels[rows.labels == NO_LABEL] = -1
    _check_boxes(path, rows, boxes, may_be_inverted=detections and boxes == "near")
    if label_space is not None:
        known = [*label_space.published_ids, -1] if detections else list(label_space.published_ids)
        unknown = ~np.isin(rows.labels, known)
        _reject(path, rows, unknown, f"action id {{}} is not in label space {label_space.name!r}", rows.labels)
    return AvaTable(
        video=rows.video,
        pts_seconds=rows.seconds,
        boxes_norm=rows.boxes,
        label_ids=rows.labels,
        scores=rows.last if detections else None,
        person_ids=None if detections else rows.last,
        keyframes=frozenset(rows.keyframes),
    )


def write_ava_csv(path: str | Path, table: AvaTable, *, box_decimals: int = 3, score_decimals: int = 4) -> None:
    """Write rows in their order, then two-column rows sorted; seconds as AVA writes them (0902), atomically.

    Args:
        path: The csv; its folder is created.
        table: Detections where ``scores`` is set, ground truth where ``person_ids`` is set, seven columns else.
        box_decimals: Digits of the boxes; AVA publishes 3.
        score_decimals: Digits of the scores.
    """
    lines = csv_lines(table, box_decimals=box_decimals, score_decimals=score_decimals)
    lines += [f"{video},{format_seconds(ticks / 1_000_000)}" for video, ticks in sorted(table.keyframes)]
    with whole_file(Path(path)) as file:
        file.writelines(f"{line}\n" for line in lines)


def csv_lines(table: AvaTable, *, box_decimals: int = 3, score_decimals: int = 4) -> list[str]:
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


def _check_cells(path: Path, rows: CsvRows, *, detections: bool) -> None:
    """Check what every row must have."""
    for column in range(1, 6):
        values = rows.seconds if column == 1 else rows.boxes[:, column - 2]
        bad = ~np.isfinite(values)
        if bad.any():
            row = int(np.argmax(bad))
            number, line = line_of(path, row, rows)
            cell = line.split(",")[column].strip()
            what = f"is {cell!r}, expected a finite number" if cell else "is missing"
            raise InputError(f"{path}:{number}: {COLUMNS[column]} {what}{_also(bad)}")
    _reject(path, rows, rows.video == "", "video id is missing")
    _reject(path, rows, np.abs(rows.seconds) >= LONGEST_SECONDS, "seconds is {}, which is no time", rows.seconds)
    if detections:
        _reject(path, rows, ~np.isfinite(rows.last), "score is {}, expected a finite number", rows.last)
    else:
        _reject(path, rows, rows.labels == NO_LABEL, "action id is missing")


def _check_boxes(path: Path, rows: CsvRows, rule: BoxRule, *, may_be_inverted: bool) -> None:
    if rule == "any":
        return
    slack = BOX_TOLERANCE if rule == "inside" else 1.0
    outside = np.asarray(((rows.boxes < -slack) | (rows.boxes > 1 + slack)).any(axis=1))
    _reject(path, rows, outside, "box {}, expected 0..1 of the frame, not pixels", rows.boxes)
    if not may_be_inverted:
        inverted = (rows.boxes[:, 2] < rows.boxes[:, 0]) | (rows.boxes[:, 3] < rows.boxes[:, 1])
        _reject(path, rows, inverted, "box {}, expected x1,y1,x2,y2 with x2 >= x1 and y2 >= y1", rows.boxes)


def _reject(path: Path, rows: CsvRows, wrong: np.ndarray, what: str, values: np.ndarray | None = None) -> None:
    """Raise for the first row that is wrong; ``{}`` in the text stands for its value."""
    if wrong.any():
        row = int(np.argmax(wrong))
        shown = "" if values is None else values[row].tolist()
        raise InputError(f"{path}:{line_of(path, row, rows)[0]}: {what.replace('{}', str(shown))}{_also(wrong)}")


def _also(wrong: np.ndarray) -> str:
    more = int(wrong.sum()) - 1
    return f" (and {more} more rows)" if more else ""
