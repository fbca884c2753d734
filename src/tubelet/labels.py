"""Label spaces: ordered class names with their published ids, groups and frequency buckets."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tubelet.types import InputError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class LabelSpace:
    """An ordered list of classes. A model's column k, a target's column k and ``names[k]`` are the same class."""

    name: str
    names: tuple[str, ...]
    """K class names, unique."""
    ids: tuple[int, ...] = ()
    """K ids as published (AVA's 1-based ids, say), unique; empty = 0..K-1."""
    groups: tuple[str, ...] = ()
    """K group names (AVA: ``pose``, ``person-object``, ``person-person``); empty = no groups."""
    buckets: tuple[str, ...] = ()
    """K of ``head`` | ``mid`` | ``tail`` by training frequency (paper A, 4.2); empty = not known."""
    mirrored: tuple[int, ...] = ()
    """K columns: the class that a clip of class k shows in a mirror, itself where nothing changes; empty = as the
    names say (``mirror_columns``)."""

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            twice = sorted({n for n in self.names if self.names.count(n) > 1})
            raise InputError(f"label space {self.name}: class names must be unique, these are not: {twice}")
        if len(set(self.ids)) != len(self.ids):
            raise InputError(
                f"label space {self.name}: ids must be unique, these are not: "
                f"{sorted({i for i in self.ids if self.ids.count(i) > 1})}"
            )
        for field in ("ids", "groups", "buckets", "mirrored"):
            values = getattr(self, field)
            if values and len(values) != len(self.names):
                raise InputError(f"label space {self.name}: {len(values)} {field} for {len(self.names)} names")
        for k, other in enumerate(self.mirrored):
            if not 0 <= other < len(self.names) or self.mirrored[other] != k:
                raise InputError(
                    f"label space {self.name}: mirrored[{k}] is {other}, expected columns that swap in pairs or stay"
                )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def published_ids(self) -> tuple[int, ...]:
        """The K ids that files use."""
        return self.ids or tuple(range(len(self.names)))

    def index(self, name: str) -> int:
        """Return the column of a class name; an unknown name is an error that offers the nearest one."""
        try:
            return self.names.index(name)
        except ValueError:
            hint = did_you_mean(name, self.names)
            raise InputError(f"label space {self.name} has no class {name!r}{hint}") from None

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict that ``from_json`` reads back."""
        return {
            "name": self.name,
            "names": list(self.names),
            "ids": list(self.ids),
            "groups": list(self.groups),
            "buckets": list(self.buckets),
            "mirrored": list(self.mirrored),
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> "LabelSpace":
        """Rebuild a label space from ``to_json``'s dict."""
        return LabelSpace(
            name=data["name"],
            names=tuple(data["names"]),
            ids=tuple(data.get("ids", ())),
            groups=tuple(data.get("groups", ())),
            buckets=tuple(data.get("buckets", ())),
            mirrored=tuple(data.get("mirrored", ())),
        )


def buckets_by_count(counts: Sequence[int], *, head_above: int = 10_000, tail_below: int = 1_000) -> tuple[str, ...]:
    """Return the bucket of each class by its training examples; the defaults are paper A's (section 4.2).

    Args:
        counts: Training examples per class.
        head_above: More than this is ``head``.
        tail_below: Fewer than this is ``tail``; the rest is ``mid``.
    """
    if tail_below > head_above + 1:
        raise InputError(f"tail_below {tail_below} lies above head_above {head_above}: a class would be both")
    return tuple("head" if n > head_above else "tail" if n < tail_below else "mid" for n in counts)


# Words, also in snake_case and CamelCase, but not inside others (upright, copyright, nightclub).
_SIDE = re.compile(
    r"(?<![A-Za-z])(?:left|right|Left|Right|LEFT|RIGHT)(?=$|[^A-Za-z]|[A-Z][a-z]|wards?\b|most\b)"
    r"|(?<=[a-z])(?:Left|Right)(?![a-z])"
)
_TURN = re.compile(r"\b(counter-?|anti-?)?clockwise\b", re.I)


def mirror_columns(space: LabelSpace) -> tuple[int, ...]:
    """Return for each column the class that its clips show in a mirror.

    What the label space states holds. Else the names say it: *left* and *right*, *clockwise* and *counterclockwise* are
    swapped, and a class whose name has none of them stays itself.

    Raises:
        InputError: A name has such a word, nothing is stated, and no class has the mirrored name.
    """
    if space.mirrored:
        return space.mirrored
    return swap_sides(space.names, where=f"label space {space.name}")


def swap_sides(names: Sequence[str], *, where: str, unchanged: Sequence[str] = ()) -> tuple[int, ...]:
    """Return the columns of the mirrored names.

    Args:
        names: Of the classes.
        where: For the message.
        unchanged: Names in which such a word is no direction ("pulling it right out").

    Raises:
        InputError: A name has a direction and its mirror image is no class.
    """
    column = {name: k for k, name in enumerate(names)}
    columns = []
    for k, name in enumerate(names):
        images = [] if name in unchanged else _mirror_images(name)
        found = [column[image] for image in images if image in column]
        if images and not found:
            raise InputError(
                f"{where}: class {name!r} depends on direction and {images[0]!r} is no class: clips cannot be mirrored;"
                " expected flip off, or the label space's field 'mirrored'"
            )
        columns.append(found[0] if found else k)
    return tuple(columns)


def _mirror_images(name: str) -> list[str]:
    """Return the spellings of a name with its directions swapped; none where it has no direction."""
    sides = _SIDE.sub(lambda word: _like(word[0], "right" if word[0].lower() == "left" else "left"), name)
    images = [sides]
    if _TURN.search(name):
        images = [
            _TURN.sub(lambda word, back=back: _like(word[0], "clockwise" if word[1] else back), sides)  # type: ignore[misc]
            for back in ("counterclockwise", "anticlockwise", "counter-clockwise", "anti-clockwise")
        ]
    return [] if images[0] == name else images


def _like(pattern: str, word: str) -> str:
    """Return ``word`` with the capitals of ``pattern``."""
    if pattern.isupper():
        return word.upper()
    return word.capitalize() if pattern[0].isupper() else word


def one_of(names: Sequence[str], *, seed: int, video: str) -> int:
    """Return the place of the label that a video with several is given, from (seed, video) alone (paper B, 3.3).

    The one with the smallest hash: their order does not count, and one more or less changes no other video.
    ``corpus.match`` has the same rule for millions of posts at once.
    """

    def drawn(place: int) -> str:
        return hashlib.md5(f"{seed}\x1f{video}\x1f{names[place]}".encode(), usedforsecurity=False).hexdigest()

    return min(range(len(names)), key=drawn)
