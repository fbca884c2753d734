"""Rows of csv and jsonl as posts: a row that cannot be read is counted under the rule it breaks."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from tubelet.corpus.columns import PostColumns, check_names
from tubelet.types import InputError

MAX_LINE_BYTES = 64 * 2**20
"""Longer lines of jsonl, and cells of csv, are malformed: a tag of 10 MB is read and then counted as a tag."""
REASONS = (
    "the row is UTF-8",
    "the row has as many cells as the header",
    f"the row is no longer than {MAX_LINE_BYTES >> 20} MiB",
    "the row is a JSON object",
    "the row's cells have the types of their columns",
)


@dataclass(slots=True)
class Malformed:
    """Rows that could not be read, by the rule they break."""

    stop: bool
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: int, place: str) -> None:
        """Count a row, or stop.

        Args:
            reason: Place in ``REASONS`` of the rule that it breaks.
            place: File and line.

        Raises:
            InputError: ``stop`` is set.
        """
        rule = REASONS[reason]
        if self.stop:
            raise InputError(f"{place}: expected that {rule}")
        self.counts[rule] += 1
        self.first.setdefault(rule, place)


def csv_rows(file: str, stream: BinaryIO, columns: PostColumns, malformed: Malformed) -> Iterator[dict[str, Any]]:
    """Yield the posts of a csv; the first line names its columns.

    Args:
        file: Named in messages.
        stream: Its bytes.
        columns: What they are called.
        malformed: Takes what cannot be read.

    Raises:
        InputError: A column is missing, or tags cannot be told apart.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    before = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        reader = csv.reader(text)
        header = next(reader, None)
        if header is None:
            raise InputError(f"{file}: empty, expected a line of column names")
        there = check_names(file, header, columns)
        if "tags" in there and not columns.tag_separator:
            raise InputError(f"{file}: column {columns.tags or 'tags'!r} of a csv is text, expected a tag separator")
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                malformed.add(2, f"{file}, line {reader.line_num}")
                continue
            if not cells:
                continue  # an empty line is no row
            if len(cells) != len(header):
                malformed.add(1, f"{file}, line {reader.line_num}")
                continue
            row = typed(dict(zip(header, cells)), columns)
            if _is_utf8(row):
                yield row
            else:
                malformed.add(0, f"{file}, line {reader.line_num}")
    finally:
        text.detach()  # who opened the stream closes it
        csv.field_size_limit(before)


def json_rows(file: str, stream: BinaryIO, columns: PostColumns, malformed: Malformed) -> Iterator[dict[str, Any]]:
    """Yield the posts of a file with a JSON object on each line; arguments as of ``csv_rows``."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        place = f"{file}, line {number}"
        if len(line) > MAX_LINE_BYTES:
            while not line.endswith(b"\n") and (line := stream.readline(MAX_LINE_BYTES)):
                pass
            malformed.add(2, place)
            continue
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except UnicodeDecodeError:
            malformed.add(0, place)
            continue
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            malformed.add(3, place)
            continue
        post = typed(row, columns)
        if not _has_types(post):
            malformed.add(4, place)
        elif _is_utf8(post):
            yield post
        else:
            malformed.add(0, place)


def typed(row: dict[str, Any], columns: PostColumns) -> dict[str, Any]:
    """Return the named cells of a row under our names; a duration that is no number is None."""
    made: dict[str, Any] = {"video": row.get(columns.video)}
    tags_name, duration_name = columns.tags or "tags", columns.duration_seconds or "duration_seconds"
    if tags_name in row:
        tags = row[tags_name]
        made["tags"] = tags.split(columns.tag_separator) if isinstance(tags, str) and columns.tag_separator else tags
    texts = [row[name] for name in columns.text or ("text",) if name in row]
    if texts:
        strings = [text for text in texts if isinstance(text, str)]
        wrong = [text for text in texts if text is not None and not isinstance(text, str)]
        made["text"] = wrong[0] if wrong else "\n".join(strings) if strings else None
    if duration_name in row:
        made["duration_seconds"] = _seconds(row[duration_name])
    return made


def _seconds(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _has_types(row: dict[str, Any]) -> bool:
    tags = row.get("tags")
    is_list = isinstance(tags, list) and all(tag is None or isinstance(tag, str) for tag in tags)
    texts = all(row.get(name) is None or isinstance(row[name], str) for name in ("video", "text"))
    return texts and (tags is None or is_list)


def _is_utf8(row: dict[str, Any]) -> bool:
    """Say whether the cells have no byte, and no lone half of a pair, that is no character."""
    cells = [row.get("video"), row.get("text"), *(row.get("tags") or ())]
    try:
        for cell in cells:
            (cell or "").encode()
    except UnicodeEncodeError:
        return False
    return True
