"""The rows of an AVA csv as columns, read in blocks: memory grows with the columns kept, not with the text.

Plain or gzip, UTF-8 with or without a byte-order mark, lines ended in any way. What the cells mean is ``ava_csv``'s.
"""

import codecs
import gzip
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from tubelet.data.ava_table import Keyframe, keyframe_of
from tubelet.records import READ_ERRORS, unreadable
from tubelet.types import InputError

COLUMNS = ("video", "seconds", "x1", "y1", "x2", "y2", "action id")
LONGEST_SECONDS = 1e6  # 12 days; a number beyond is no time
BLOCK_BYTES = 1 << 22
NO_LABEL = int(np.iinfo(np.int32).min)
"""Stands for an empty action id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What the first lines of a file say about all of them."""

    header_line: int
    """Line number of the header, 0 = none."""
    columns: tuple[str, ...]
    """``c0`` to ``c7``; ``c7`` is the score or the person id."""
    has_status: bool
    """The eighth column is AVA v1.0's ``status``, which is no person id."""


@dataclass(slots=True)
class CsvRows:
    """The box rows of a file, in its order; an empty number is nan."""

    video: np.ndarray
    """(R,) of str."""
    seconds: np.ndarray
    """float64 (R,)."""
    boxes: np.ndarray
    """float64 (R, 4)."""
    labels: np.ndarray
    """int32 (R,); ``NO_LABEL`` = empty."""
    last: np.ndarray
    """float64 scores or int64 person ids (R,), where empty or not there 1 and -1."""
    keyframes: set[Keyframe] = field(default_factory=set)
    """Of the rows without a box: two columns, or empty cells after them."""
    without_box: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Places of those with empty cells among all rows of seven or eight columns; needed to find a row's line."""


def read_rows(path: Path, *, scored: bool) -> CsvRows:
    """Read the rows of a csv.

    Args:
        path: The file.
        scored: The eighth column is a score, else a person id.

    Raises:
        InputError: It cannot be read, or a cell is not what its column holds; with file and line.
    """
    layout = find_layout(path, scored=scored)
    size = BLOCK_BYTES if _is_gzip(path) else path.stat().st_size
    columns = _Columns(scored=scored, capacity=size // 40 + 1)
    keyframes: set[Keyframe] = set()
    first_line, text = 1, b""
    for text in _blocks(path):
        block = _Block(path, text, first_line)
        block.check_text()
        batch = _parse_block(block, layout, keyframes, scored=scored)
        if batch is not None:
            columns.add(batch, has_last="c7" in batch.schema.names and not layout.has_status)
        first_line += text.count(b"\n")
        if b"\r" in text:
            first_line += text.count(b"\r") - text.count(b"\r\n")
    if scored and not text.endswith((b"\n", b"\r")) and text[text.rfind(b"\n") + 1 :].count(b",") == 1:
        raise InputError(f"{path}:{first_line}: video_id,seconds without an end of line: is the file cut short?")
    pa.default_memory_pool().release_unused()
    return columns.rows(keyframes)


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield a file's text, unpacked where it is gzip, in pieces of whole lines, without a byte-order mark."""
    try:
        with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
            rest = file.read(len(codecs.BOM_UTF8)).removeprefix(codecs.BOM_UTF8)
            while data := file.read(BLOCK_BYTES):
                data = rest + data
                # A line longer than a block is no row; what is cut out of it will not be taken for one.
                end = data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, len(data) - 1) + 1 or len(data)
                yield data[:end]
                rest = data[end:]
            if rest:
                yield rest
    except READ_ERRORS as error:
        raise unreadable(path, error) from None


@dataclass(frozen=True, slots=True)
class _Block:
    """Whole lines of a file."""

    path: Path
    text: bytes
    first_line: int
    """Line number of the first, from 1."""

    def check_text(self) -> None:
        """Refuse what is not UTF-8, and quotes that are not closed, behind which rows would vanish."""
        try:
            if not self.text.isascii():
                self.text.decode()
        except UnicodeDecodeError as error:
            line = self.first_line + len(re.findall(rb"\r\n|\r|\n", self.text[: error.start]))
            raise InputError(f"{self.path}:{line}: not UTF-8; expected a text file") from None
        if self.text.count(b'"') % 2:
            number = next(number for number, line in self.lines() if line.count('"') % 2)
            raise InputError(f"{self.path}:{number}: a quote that is not closed")

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield (line number, line without its end)."""
        lines = io.StringIO(self.text.decode(), newline=None)
        for number, line in enumerate(lines, start=self.first_line):
            yield number, line.rstrip("\n")


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line without its end) of a text file, plain or gzip; bytes that are not UTF-8 are replaced.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=None)
            for number, line in enumerate(text, start=1):
                yield number, line.rstrip("\n")
    except READ_ERRORS as error:
        raise unreadable(path, error) from None


def line_of(path: Path, row: int, rows: CsvRows) -> tuple[int, str]:
    """Return the line number and the line of a row; the file is read again."""
    place = row
    for other in rows.without_box.tolist():
        place += other <= place
    seen = -1
    for number, line in lines_of(path):
        seen += line.count(",") >= 6 and not (seen < 0 and is_header(line))
        if seen == place:
            return number, line
    return 0, ""


def is_header(line: str) -> bool:
    """Return whether a line names the columns."""
    cells = line.strip().split(",")
    return len(cells) > 1 and not any(is_number(cell) for cell in cells[1:]) and cells[0].startswith("video")


def is_number(text: str) -> bool:
    """Return whether a cell is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse_keyframe(path: Path, number: int, line: str) -> Keyframe:
    """Return the key of a line ``video_id,seconds``; ``number`` is the line's, for the message."""
    cells = line.strip().split(",")
    if len(cells) != 2 or not cells[0] or not is_number(cells[1]) or not abs(float(cells[1])) < LONGEST_SECONDS:
        raise InputError(f"{path}:{number}: {line.strip()!r} is not video_id,seconds")
    return keyframe_of(cells[0], float(cells[1]))


def find_layout(path: Path, *, scored: bool) -> Layout:
    """Return the layout of a file from its lines up to the first box."""
    header, status = 0, False
    for number, line in lines_of(path):
        if not header and is_header(line):
            header, status = number, line.rstrip().endswith(",status")
        elif line.count(",") in (6, 7):
            cells = line.split(",")
            if len(cells) == 7 and scored and "." in cells[6]:
                return Layout(header_line=header, columns=(*(f"c{i}" for i in range(6)), "c7"), has_status=status)
            columns = tuple(f"c{i}" for i in range(len(cells)))
            return Layout(header_line=header, columns=columns, has_status=status)
    return Layout(header_line=header, columns=tuple(f"c{i}" for i in range(7)), has_status=status)


def _parse_block(block: _Block, layout: Layout, keyframes: set[Keyframe], *, scored: bool) -> pa.RecordBatch | None:
    """Return the box rows of a block, None where it has none; ``keyframes`` gets the rows of two columns.

    Rows of another width than the rest are looked for only where Arrow has refused the block. (Its own handler of such
    rows is called from a thread that may outlive the interpreter, and then ends the process with an abort.)
    """
    try:
        return _parse(block.text, layout, scored=scored, skip_rows=max(0, layout.header_line - block.first_line + 1))
    except pa.ArrowInvalid:
        pass
    rows: list[tuple[int, str]] = []
    for number, line in block.lines():
        width = line.count(",") + 1
        if number <= layout.header_line or not line.strip():
            continue
        if width == 2:
            try:
                keyframes.add(parse_keyframe(block.path, number, line))
            except InputError as error:
                raise _mistake(block.path, layout, rows, scored=scored) or error from None
        elif width in (7, 8):
            rows.append((number, line))
        else:
            wrong = InputError(
                f"{block.path}:{number}: {width} columns, expected {','.join(COLUMNS)} and maybe an eighth, or 2"
            )
            raise _mistake(block.path, layout, rows, scored=scored) or wrong
    if not rows:
        return None
    if len({line.count(",") for _, line in rows} | {len(layout.columns) - 1}) > 1:
        # Rows of seven and of eight columns in one file: the eighth is then empty.
        layout = replace(layout, columns=tuple(f"c{i}" for i in range(8)))
        rows = [(number, line if line.count(",") == 7 else f"{line},") for number, line in rows]
    try:
        return _parse("\n".join(line for _, line in rows).encode(), layout, scored=scored)
    except pa.ArrowInvalid as error:
        said = re.search(r"Row #(\d+): (.*)", str(error))
        place, what = (f":{rows[int(said[1]) - 1][0]}", said[2]) if said else ("", str(error).splitlines()[0])
        wrong = InputError(f"{block.path}{place}: {what}")
        raise _mistake(block.path, layout, rows, scored=scored) or wrong from None


def _parse(text: bytes, layout: Layout, *, scored: bool, skip_rows: int = 0) -> pa.RecordBatch | None:
    """Return rows of one width, None of no row; anything else is an ``ArrowInvalid``."""
    types = {"c0": pa.dictionary(pa.int32(), pa.string()), **{f"c{i}": pa.float64() for i in range(1, 6)}}
    types |= {"c6": pa.int32(), "c7": pa.string() if layout.has_status else pa.float64() if scored else pa.int64()}
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(
            column_names=layout.columns, use_threads=False, block_size=len(text) + 1, skip_rows=skip_rows
        ),
        convert_options=csv.ConvertOptions(
            column_types={name: types[name] for name in layout.columns}, null_values=[""], strings_can_be_null=False
        ),
    )
    return next(iter(table.combine_chunks().to_batches()), None)


class _Columns:
    """Columns that grow in place, so that no block is kept beside them."""

    def __init__(self, *, scored: bool, capacity: int) -> None:
        self._missing = 1.0 if scored else -1
        self._names: dict[str, str] = {}
        self._size = self._seen = 0
        self._keyframes: set[Keyframe] = set()
        self._without_box: list[np.ndarray] = []
        self._video = np.empty(capacity, dtype=object)
        self._seconds = np.empty(capacity)
        self._boxes = np.empty((capacity, 4))
        self._labels = np.empty(capacity, dtype=np.int32)
        self._last = np.empty(capacity, dtype=np.float64 if scored else np.int64)

    def _all(self) -> tuple[np.ndarray, ...]:
        return self._video, self._seconds, self._boxes, self._labels, self._last

    def _resize(self, capacity: int) -> None:
        for array in self._all():
            array.resize((capacity, *array.shape[1:]), refcheck=False)

    def add(self, block: pa.RecordBatch, *, has_last: bool) -> None:
        """Append the rows of a block."""
        numbers = np.stack([_floats(block, f"c{i}") for i in range(2, 6)], axis=1)
        labels = _filled(block, "c6", NO_LABEL)
        box = ~np.isnan(numbers[:, 0])
        empty = np.isnan(numbers).all(axis=1) & (labels == NO_LABEL)
        if has_last and empty.any():
            empty &= np.asarray(pc.is_null(block.column("c7")))
        video, seconds = self._videos(block.column("c0")), _floats(block, "c1")
        last = _filled(block, "c7", self._missing) if has_last else np.full(len(box), self._missing)
        places = np.flatnonzero(empty & np.isfinite(seconds))
        self._keyframes |= {keyframe_of(str(video[row]), float(seconds[row])) for row in places}
        self._without_box.append(places + self._seen)
        self._seen += len(box)
        new = [video, seconds, numbers, labels, last]
        if len(places):
            new = [np.delete(values, places, axis=0) for values in new]
        end = self._size + len(new[0])
        if end > len(self._labels):
            self._resize(end + end // 4)
        for array, values in zip(self._all(), new, strict=True):
            array[self._size : end] = values
        self._size = end

    def _videos(self, column: pa.DictionaryArray) -> np.ndarray:
        """Return a block's video ids, equal ones as one object: what compares them later is then fast."""
        names = [self._names.setdefault(name, name) for name in column.dictionary.to_pylist()]
        videos: np.ndarray = np.array(names, dtype=object)[column.indices.to_numpy()]
        return videos

    def rows(self, keyframes: set[Keyframe]) -> CsvRows:
        """Return everything added, with the keyframes of rows of two columns."""
        self._resize(self._size)
        places = np.concatenate([*self._without_box, np.empty(0, dtype=np.int64)])
        video, seconds, boxes, labels, last = self._all()
        return CsvRows(
            video=video,
            seconds=seconds,
            boxes=boxes,
            labels=labels,
            last=last,
            keyframes=keyframes | self._keyframes,
            without_box=places,
        )


def _floats(block: pa.RecordBatch, name: str) -> np.ndarray:
    values: np.ndarray = block.column(name).to_numpy(zero_copy_only=False)
    return values


def _filled(block: pa.RecordBatch, name: str, value: float) -> np.ndarray:
    if name not in block.schema.names:
        return np.full(block.num_rows, value, dtype=np.int32)
    values: np.ndarray = pc.fill_null(block.column(name), value).to_numpy(zero_copy_only=False)
    return values


def _is_gzip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise unreadable(path, error) from None


def _mistake(path: Path, layout: Layout, rows: list[tuple[int, str]], *, scored: bool) -> InputError | None:
    """Return what is wrong with the first cell that is not what its column holds; rows are (line number, line)."""
    names = (*COLUMNS, "score" if scored else "person id")
    for number, line in rows:
        for place, cell in zip((int(name[1:]) for name in layout.columns[1:]), line.split(",")[1:], strict=False):
            whole = place == 6 or (place == 7 and not scored)
            known = r"[+-]?\d+" if whole else r".*"
            if cell and not (re.fullmatch(known, cell) and (whole or is_number(cell))):
                kind = "a whole number" if whole else "a number"
                return InputError(f"{path}:{number}: {names[place]} is {cell!r}, expected {kind}")
    return None
