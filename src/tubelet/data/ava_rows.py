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
    _check_text(path)
    layout = find_layout(path, scored=scored)
    odd = _OddRows(path, len(layout.columns))
    try:
        stream = pa.input_stream(str(path), compression="gzip" if _is_gzip(path) else None)
        return _read(stream, layout, odd, scored=scored)
    except (OSError, pa.ArrowInvalid) as error:
        if not odd.has_both_widths:
            raise _mistake(path, layout, odd, error, scored=scored) from None
    # Rows of seven and of eight columns in one file: the eighth is then empty.
    lines = (f"{line}," if line.count(",") == 6 else line for _, line in lines_of(path))
    layout = replace(layout, columns=tuple(f"c{i}" for i in range(8)))
    odd = _OddRows(path, 8)
    try:
        return _read(pa.BufferReader("\n".join(lines).encode()), layout, odd, scored=scored)
    except pa.ArrowInvalid as error:
        raise _mistake(path, layout, odd, error, scored=scored) from None


def _check_text(path: Path) -> None:
    """Refuse what is not UTF-8: Arrow's handler of odd rows cannot be told of such a row, and says so on stderr."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                if not block.isascii() or decoder.getstate()[0]:
                    decoder.decode(block)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        line = next((number for number, text in lines_of(path) if "\ufffd" in text), 1)
        raise InputError(f"{path}:{line}: not UTF-8; expected a text file") from None
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from None


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
    except (OSError, EOFError) as error:
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


def unreadable(path: Path, error: OSError | EOFError) -> InputError:
    """Return the error for a file that the system or gzip refuses."""
    return InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or str(error).splitlines()[0]})")


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


@dataclass(slots=True)
class _OddRows:
    """What is done with a row that has not the width of the others."""

    path: Path
    width: int
    keyframes: set[Keyframe] = field(default_factory=set)
    has_both_widths: bool = False
    num_read: int = 0
    """Rows of the blocks that were read before a mistake."""

    def __call__(self, row: csv.InvalidRow) -> str:
        text = str(row.text)
        if not text.strip():
            return "skip"
        if row.actual_columns == 2:
            try:
                self.keyframes.add(parse_keyframe(self.path, 0, text))
            except InputError:
                return "error"
            return "skip"
        self.has_both_widths = {row.actual_columns, self.width} == {7, 8}
        return "error"


def _read(stream: pa.NativeFile, layout: Layout, odd: _OddRows, *, scored: bool) -> CsvRows:
    """Read all blocks of a stream into columns."""
    types = {"c0": pa.dictionary(pa.int32(), pa.string()), **{f"c{i}": pa.float64() for i in range(1, 6)}}
    types |= {"c6": pa.int32(), "c7": pa.string() if layout.has_status else pa.float64() if scored else pa.int64()}
    size = stream.size() if stream.seekable() else BLOCK_BYTES
    columns = _Columns(scored=scored, capacity=size // 40 + 1)
    if size == 0:  # an empty file is an error to the reader
        return columns.rows(odd.keyframes)
    try:
        reader = csv.open_csv(
            stream,
            # No threads: those of Arrow may end a process that stops on the next line's mistake with an abort.
            read_options=csv.ReadOptions(
                column_names=layout.columns, use_threads=False, block_size=BLOCK_BYTES, skip_rows=layout.header_line
            ),
            parse_options=csv.ParseOptions(invalid_row_handler=odd),
            convert_options=csv.ConvertOptions(
                column_types={name: types[name] for name in layout.columns}, null_values=[""], strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file" not in str(error):  # nothing but blank lines, a header or keyframes
            raise
        return columns.rows(odd.keyframes)
    for block in reader:
        columns.add(block, has_last="c7" in layout.columns and not layout.has_status)
        odd.num_read += block.num_rows
    del reader
    pa.default_memory_pool().release_unused()
    return columns.rows(odd.keyframes)


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


def _mistake(path: Path, layout: Layout, odd: _OddRows, cause: Exception, *, scored: bool) -> InputError:
    """Find the line and the cell that are wrong; only run when the fast reader has refused the file."""
    if isinstance(cause, OSError) and not isinstance(cause, pa.ArrowInvalid):
        return unreadable(path, cause)
    names = (*COLUMNS, "score" if scored else "person id")
    num_rows = 0
    for number, line in lines_of(path):
        is_row = number != layout.header_line and line.count(",") >= 6
        num_rows += is_row
        if num_rows + (not is_row) <= odd.num_read or not line.strip() or number == layout.header_line:
            continue
        cells = line.split(",")
        if len(cells) not in (2, 7, 8):
            expected = f"expected {','.join(COLUMNS)} and maybe an eighth, or 2"
            return InputError(f"{path}:{number}: {len(cells)} columns, {expected}")
        if len(cells) == 2:
            try:
                parse_keyframe(path, number, line)
            except InputError as error:
                return error
            continue
        if "\ufffd" in line:
            return InputError(f"{path}:{number}: not UTF-8 text")
        for place, cell in zip((int(name[1:]) for name in layout.columns[1:]), cells[1:], strict=False):
            whole = place == 6 or (place == 7 and not scored)
            known = r"[+-]?\d+" if whole else r".*"
            if cell and not (re.fullmatch(known, cell) and (whole or is_number(cell))):
                kind = "a whole number" if whole else "a number"
                return InputError(f"{path}:{number}: {names[place]} is {cell!r}, expected {kind}")
    return InputError(f"{path}: {str(cause).splitlines()[0]}")
