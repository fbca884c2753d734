"""What scoring asks of the processes that do it together."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Ranks(Protocol):
    """Processes that score a data set together (``train.distributed.World``)."""

    @property
    def rank(self) -> int:
        """Number of this one."""

    @property
    def size(self) -> int:
        """How many there are."""

    def gathered(self, value: T) -> list[T]:
        """Return what each of them has, in the order of their numbers."""

    def in_step(self, items: Iterable[T]) -> Iterator[T]:
        """Yield from ``items``, of which all have as many; an error on one ends all."""
