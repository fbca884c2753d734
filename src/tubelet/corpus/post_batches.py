"""Rows of a parquet file of posts in batches of Arrow arrays, whatever types and names the file has for them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tubelet.corpus.columns import PostColumns
from tubelet.types import InputError

BATCH_ROWS = 2**17
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
P = TypeVar("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class PostFile:
    """A parquet file of posts on this machine."""

    name: str
    """As it was named, for messages."""
    path: Path
    columns: PostColumns
    there: frozenset[str]
    """Which of tags, text and duration_seconds it has."""
    first_row: int
    """How many posts come before it in other files."""
    row_groups: tuple[int, ...]
    """Rows of each row group."""

    @property
    def num_rows(self) -> int:
        """Rows of all row groups."""
        return sum(self.row_groups)


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts one after another, as the compiled loops take them: of text k the bytes offsets[k]..offsets[k + 1]."""

    offsets: I64
    data: U8
    array: pa.LargeStringArray
    """The same in Arrow, without nulls."""


@dataclass(frozen=True, slots=True)
class PostBatch:
    """Posts; what was not asked for, or is not there, is None."""

    rows: slice
    """Which of all posts."""
    video: Texts | None
    duration: NDArray[np.float64] | None
    """Seconds, NaN where there is none."""
    tags: Texts | None
    """Of all posts of the batch."""
    tag_offsets: I64 | None
    """Of post k the tags tag_offsets[k]..tag_offsets[k + 1]."""
    text: Texts | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A row group: what is read at a time."""

    file: PostFile
    row_group: int
    first_row: int
    """Of all posts."""


def pieces_of(files: tuple[PostFile, ...]) -> list[Piece]:
    """Return the row groups of the files in order."""
    return [
        Piece(file, group, file.first_row + before)
        for file in files
        for group, before in enumerate([0, *accumulate(file.row_groups)][:-1])
    ]


def read_piece(piece: Piece, *wanted: str) -> Iterator[PostBatch]:
    """Yield the posts of a row group.

    Args:
        piece: Where.
        wanted: Of ``video``, ``duration_seconds``, ``tags`` and ``text``.

    Raises:
        InputError: The file is damaged.
    """
    names, there = piece.file.columns, piece.file.there
    columns = {
        "video": [names.video],
        "duration_seconds": [names.duration_seconds or "duration_seconds"],
        "tags": [names.tags or "tags"],
        "text": list(names.text or ("text",)),
    }
    read = {kind: columns[kind] for kind in wanted if kind == "video" or kind in there}
    row = piece.first_row
    names_read = list(dict.fromkeys(name for some in read.values() for name in some))
    try:
        with pq.ParquetFile(piece.file.path) as file:
            for batch in file.iter_batches(
                BATCH_ROWS, row_groups=[piece.row_group], columns=names_read, use_threads=False
            ):
                yield _canonical(batch, read, row, names.tag_separator)
                row += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{piece.file.name}: cannot be read to its end ({str(error).splitlines()[0]})") from error


def texts_of(array: pa.Array) -> Texts:
    """Return strings of any Arrow type as ``Texts``; null becomes empty."""
    strings = array.cast(pa.large_string(), safe=False)
    if strings.null_count:
        strings = pc.fill_null(strings, "")
    _, offsets, data = strings.buffers()
    first = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    if not len(first):
        first = np.zeros(1, np.int64)  # Arrow leaves the offsets of no strings out
    return Texts(first, np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), strings)


def _canonical(batch: pa.RecordBatch, read: dict[str, list[str]], row: int, separator: str) -> PostBatch:
    video = duration = tags = tag_offsets = text = None
    if "video" in read:
        video = texts_of(batch.column(read["video"][0]))
    if "duration_seconds" in read:
        seconds = batch.column(read["duration_seconds"][0]).cast(pa.float64(), safe=False)
        duration = seconds.to_numpy(zero_copy_only=False)
    if "tags" in read:
        lists = batch.column(read["tags"][0])
        if separator and not pa.types.is_null(lists.type):
            lists = pc.split_pattern(lists.cast(pa.large_string()), separator)
        if pa.types.is_null(lists.type):
            lists = lists.cast(pa.list_(pa.string()))
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        tag_offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        tags = texts_of(lists.flatten())
    if "text" in read:
        columns = [batch.column(name).cast(pa.large_string(), safe=False) for name in read["text"]]
        joined = columns[0]
        if len(columns) > 1:
            joined = pc.binary_join_element_wise(*columns, pa.scalar("\n", pa.large_string()), null_handling="skip")
        text = texts_of(joined)
    return PostBatch(slice(row, row + batch.num_rows), video, duration, tags, tag_offsets, text)


def in_order(call: Callable[[P], T], pieces: Iterable[P], num_threads: int) -> Iterator[T]:
    """Yield the results in the order of the pieces, few of them ahead of the caller."""
    with ThreadPoolExecutor(num_threads) as threads:
        ahead: deque[Future[T]] = deque()
        try:
            for piece in pieces:
                ahead.append(threads.submit(call, piece))
                if len(ahead) > num_threads + 1:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def decoded(texts: pa.Array) -> list[str | None]:
    """Return the texts; None for bytes that are none."""
    try:
        return list(texts.to_pylist())
    except UnicodeDecodeError:
        return [_text(raw) for raw in texts.cast(pa.large_binary()).to_pylist()]


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
