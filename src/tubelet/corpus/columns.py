"""What the columns of a table of posts are called; of its own, because the command line shows it and starts fast."""

from dataclasses import dataclass


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
