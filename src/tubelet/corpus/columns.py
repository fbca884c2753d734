"""What the columns of a table of posts are called; of its own, because the command line shows it and starts fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tubelet.types import InputError, did_you_mean


@dataclass(frozen=True, kw_only=True, slots=True)
class PostColumns:
    """Which columns of a table of posts are what; an empty name is the column that is called so, if there is one."""

    video: str = "video"
    """Path or address of the video or picture."""
    tags: str = ""
    """Tags: a list of strings, or with ``tag_separator`` one string."""
    text: tuple[str, ...] = ()
    """Captions that hashtags are parsed from."""
    duration_seconds: str = ""
    """Length of the video in seconds."""
    tag_separator: str = ""
    """Stands between the tags where a cell holds them as one string ("|")."""


def check_names(file: str | Path, names: Sequence[str], columns: PostColumns) -> set[str]:
    """Return which of tags, text and duration_seconds the table has."""
    named = [columns.video, columns.tags, *columns.text, columns.duration_seconds]
    for name in named:
        if name and name not in names:
            raise InputError(f"{file}: no column {name!r}{did_you_mean(name, list(names))}; it has {list(names)}")
    there = {
        kind
        for kind, chosen in (
            ("tags", columns.tags), ("text", columns.text), ("duration_seconds", columns.duration_seconds)
        )
        if chosen or kind in names
    }  # fmt: skip
    if not there & {"tags", "text"}:
        raise InputError(f"{file}: no column 'tags' (tags) or 'text' (captions); it has {list(names)}")
    return there
