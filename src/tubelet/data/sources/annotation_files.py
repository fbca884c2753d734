"""Read the text files that classification sets publish: rows with their place, and lists of classes."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import TypeVar

from tubelet.labels import LabelSpace
from tubelet.records import read_json, read_text
from tubelet.types import InputError, did_you_mean

T = TypeVar("T")

PACKAGED = (
    "ava_60",
    "ava_80",
    "hmdb51",
    "kinetics400",
    "kinetics600",
    "kinetics700",
    "moments_in_time",
    "multi_moments",
    "something_v1",
    "something_v2",
    "sports1m",
    "ucf101",
)
"""Label spaces that come with Tubelet; the licences are in ``assets/LICENSES.md`` beside them."""


def packaged_label_space(name: str) -> LabelSpace:
    """Return a label space that comes with Tubelet.

    Raises:
        InputError: It has none of this name.
    """
    if name not in PACKAGED:
        raise InputError(
            f"no label space {name!r}{did_you_mean(name, PACKAGED)}; expected one of {', '.join(PACKAGED)}"
        )
    with resources.as_file(resources.files("tubelet.data") / "assets" / f"{name}.json") as path:
        return read_label_space(path)


def read_classes(labels: str, *, name: str | None = None) -> LabelSpace:
    """Return the label space of a packaged name, a JSON label space, or a text file with a class on each line.

    Args:
        labels: Name or path.
        name: Of the label space read from a text file; default: the file's stem.
    """
    path = Path(labels)
    if labels in PACKAGED or not path.suffix:
        return packaged_label_space(labels)
    if path.suffix == ".json":
        return read_label_space(path)
    names = [line.strip().strip('"') for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise InputError(f"{path}: no classes; expected a name on each line")
    return LabelSpace(name=name or path.stem, names=tuple(names))


def read_label_space(path: Path) -> LabelSpace:
    """Read a label space from its JSON file.

    Raises:
        InputError: It is not the file of one.
    """
    data = read_json(path)
    try:
        return LabelSpace.from_json(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a label space file ({error})") from error


def table_rows(path: Path, columns: tuple[str, ...], *, delimiter: str = ",") -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (``file:line``, cells by column) of a csv with a header.

    Raises:
        InputError: A column is missing or there twice, a row has another number of cells, or there is no row.
    """
    rows = _csv_rows(path, delimiter)
    header = [cell.strip() for cell in next(rows, ("", []))[1]]
    missing = [column for column in columns if column not in header]
    if missing:
        raise InputError(f"{path}:1: column {missing[0]!r} is missing; expected {delimiter.join(columns)}")
    if twice := {column for column in header if column and header.count(column) > 1}:
        raise InputError(f"{path}:1: column {min(twice)!r} is there twice; expected it once")
    for place, cells in some_of(path, (row for row in rows if row[1])):
        if len(cells) != len(header):
            raise InputError(f"{place}: {len(cells)} columns, expected {len(header)} as in the header")
        yield place, dict(zip(header, cells, strict=True))


def plain_rows(path: Path, *, delimiter: str = ",") -> Iterator[tuple[str, list[str]]]:
    """Yield (``file:line``, cells) of a csv without a header; blank lines are passed over.

    Raises:
        InputError: It has no rows.
    """
    return some_of(path, (row for row in _csv_rows(path, delimiter) if any(cell.strip() for cell in row[1])))


def _csv_rows(path: Path, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    try:
        for cells in reader:
            yield f"{path}:{reader.line_num}", cells
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: {error}; is a quote left open?") from None


def given(**splits: Path | None) -> list[tuple[str, Path]]:
    """Return the splits whose file is given, in the order of the arguments."""
    return [(split, path) for split, path in splits.items() if path is not None]


def plain_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (``file:line``, line) of a text file; blank lines are passed over.

    Raises:
        InputError: It has no rows.
    """
    lines = enumerate(read_text(path).splitlines(), start=1)
    return some_of(path, ((f"{path}:{number}", line.strip()) for number, line in lines if line.strip()))


def some_of(path: Path, rows: Iterable[T]) -> Iterator[T]:
    """Yield a file's rows.

    Raises:
        InputError: There is none: a file that lost its rows must not make a smaller data set.
    """
    none = True
    for row in rows:
        none = False
        yield row
    if none:
        raise InputError(f"{path}: has no rows")


def whole_number(place: str, what: str, text: str) -> int:
    """Return a cell that must be a whole number; ``10.0`` is one, as Kinetics' copies write it.

    Raises:
        InputError: It is not.
    """
    try:
        value = float(text)
        if value != int(value):
            raise ValueError
        return int(value)
    except (ValueError, OverflowError):
        raise InputError(f"{place}: {what} is {text!r}, expected a whole number") from None


class ClassNames:
    """Names of classes as files spell them, to columns: underscores for blanks, quotes and capitals do not matter."""

    def __init__(self, space: LabelSpace) -> None:
        self.space = space
        self._exact = {name: k for k, name in enumerate(space.names)}
        self._loose: dict[str, int | None] = {}
        for k, name in enumerate(space.names):
            self._loose[_loose(name)] = None if _loose(name) in self._loose else k

    def column(self, place: str, name: str) -> int:
        """Return the column of a class.

        Raises:
            InputError: No class is called so; the nearest name is offered.
        """
        found = self._exact.get(name)
        found = self._loose.get(_loose(name)) if found is None else found
        if found is None:
            hint = did_you_mean(name, self.space.names)
            raise InputError(f"{place}: {name!r} is no class of {self.space.name} ({len(self.space)} classes){hint}")
        return found


def column_of_id(place: str, space: LabelSpace, columns: Mapping[int, int], text: str) -> int:
    """Return the column of a published id; ``columns`` is ``id_columns(space)``.

    Raises:
        InputError: It is no whole number, or no class has it.
    """
    number = whole_number(place, "the label", text)
    if number not in columns:
        known = space.published_ids
        raise InputError(f"{place}: label {number} is not in {space.name}; expected {min(known)}..{max(known)}")
    return columns[number]


def id_columns(space: LabelSpace) -> dict[int, int]:
    """Return published id to column."""
    return {label_id: k for k, label_id in enumerate(space.published_ids)}


def _loose(name: str) -> str:
    return " ".join(name.replace("_", " ").replace('"', " ").lower().split())
