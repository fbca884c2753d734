"""Frozen dataclasses to plain JSON and back, strictly: an unknown or missing option is one clear line.

Files are read and written whole here too.
"""

import gzip
import json
import os
import types
import typing
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TextIO, TypeVar, Union, get_args, get_origin

from tubelet.types import InputError, did_you_mean

T = TypeVar("T")
READ_ERRORS = (OSError, EOFError, zlib.error)
"""What the system and gzip raise for a file that is damaged or not there."""


def to_json(value: Any) -> Any:
    """Return ``value`` as dicts, lists and scalars; dataclasses become dicts of all their fields."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def from_json(kind: type[T], data: Any, *, where: str) -> T:
    """Rebuild a dataclass from ``to_json``'s dict.

    Args:
        kind: The dataclass.
        data: Plain JSON.
        where: File or option the data came from, for messages.

    Raises:
        InputError: An option is unknown (the nearest valid name is offered), missing, or of another type.
    """
    if not isinstance(data, dict):
        raise InputError(f"{where}: expected a table of options for {kind.__name__}, found {data!r}")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]  # only dataclasses are passed
    for name in data:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise InputError(f"{where}: {kind.__name__} has no option {name!r}; {hint}")
    for name, field in known.items():
        if name not in data and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where}: {kind.__name__} needs the option {name!r}")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _convert(hints[name], item, f"{where}: {name}") for name, item in data.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    """Return ``value`` as the annotated type, or raise with the place."""
    origin = get_origin(kind)
    if origin is Literal:
        if value not in get_args(kind):
            raise InputError(f"{where}: expected one of {', '.join(map(str, get_args(kind)))}, found {value!r}")
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(get_args(kind), value, where)
    if origin is tuple:
        return _convert_tuple(get_args(kind), value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"{where}: expected a table, found {value!r}")
        return {key: _convert(get_args(kind)[1], item, f"{where}: {key}") for key, item in value.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return from_json(kind, value, where=where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is an int to Python; an option that counts must not take True.
    if kind in (str, int, float, bool) and type(value) is not kind:
        raise InputError(f"{where}: expected {kind.__name__}, found {value!r}")
    return value


def check_choices(value: Any) -> None:
    """Raise unless each field of a dataclass that has a list of values (``Literal``) has one of them.

    Recipes are Python, where nothing else looks at it before the run.

    Raises:
        InputError: A field has another value; the nearest is offered.
    """
    for name, kind in typing.get_type_hints(type(value)).items():
        choices = get_args(kind) if get_origin(kind) is Literal else None
        found = getattr(value, name)
        if choices is not None and found not in choices:
            hint = did_you_mean(str(found), choices)
            raise InputError(
                f"{type(value).__name__}.{name}: expected one of {', '.join(choices)}, found {found!r}{hint}"
            )


def family_from_json(kinds: tuple[type[T], ...], data: Any, *, where: str) -> T:
    """Rebuild one of several dataclasses, told apart by the option ``family``, whose default differs in each.

    Args:
        kinds: The dataclasses; data without ``family`` are the first, which is how files from before it read.
        data: Plain JSON.
        where: File or option the data came from, for messages.

    Raises:
        InputError: As ``from_json``, or no dataclass has that family.
    """
    families = {_family(kind): kind for kind in kinds}
    family = data.get("family", _family(kinds[0])) if isinstance(data, dict) else _family(kinds[0])
    if family not in families:
        raise InputError(f"{where}: expected a family of {', '.join(families)}, found {family!r}")
    return from_json(families[family], data, where=where)


def _family(kind: Any) -> str:
    (name,) = (str(field.default) for field in fields(kind) if field.name == "family")
    return name


def _convert_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    present = tuple(k for k in kinds if k is not type(None))
    if len(present) > 1:
        return family_from_json(present, value, where=where)
    return _convert(present[0], value, where)


def _convert_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: expected a list, found {value!r}")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_convert(kinds[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(kinds) != len(value):
        raise InputError(f"{where}: expected {len(kinds)} values, found {len(value)}")
    return tuple(_convert(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value)))


def first_difference(before: Any, after: Any, place: str = "") -> str | None:
    """Return the first place where two JSON values differ, with both values, or None when they are equal."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(k for k in after if k not in before)]:
            inner = f"{place}.{key}" if place else str(key)
            if key not in before or key not in after:
                return f"{inner}: {before.get(key, 'absent')!r} there, {after.get(key, 'absent')!r} here"
            if found := first_difference(before[key], after[key], inner):
                return found
        return None
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after))
        return next((d for i, (b, a) in pairs if (d := first_difference(b, a, f"{place}[{i}]"))), None)
    return None if before == after else f"{place}: {before!r} there, {after!r} here"


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Open a text file for writing that gets its name, durably, when the ``with`` block ends without an exception.

    A reader sees the old file or the whole new one, whatever happens in between; nothing else stays behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write ``to_json(data)``, whole or not at all."""
    with whole_file(path) as file:
        json.dump(to_json(data), file, indent=1)
        file.write("\n")


def read_json(path: str | Path) -> Any:
    """Return what a JSON file holds; text as of ``read_text``.

    Raises:
        InputError: It cannot be read or is not JSON; the message has the line and column.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None


def read_text(path: str | Path) -> str:
    """Return a text file, UTF-8 with or without a byte-order mark, plain or gzip.

    Raises:
        InputError: It cannot be read or is not text.
    """
    try:
        return read_bytes(Path(path)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8; expected a text file") from None


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, unpacked where it is gzip; a file that cannot be read is an ``InputError``."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except READ_ERRORS as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> InputError:
    """Return the error for a file that the system or gzip refuses."""
    return InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or str(error).splitlines()[0]})")
