"""Several processes (ranks) that train one model: who this one is, what all of them agree on, how they share the model.

``torchrun`` starts the ranks and says in the environment who each is. Batches need no talk between them, because what a
rank loads is a function of the step. What they do exchange: a few numbers per step, gradients, and what went wrong. An
error on one rank ends all of them with the same message; a rank that dies makes the others' next exchange fail, at once
where its connections break, after ``timeout_seconds`` where they do not. A single process is rank 0 of 1 and exchanges
nothing.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch

from tubelet.models.precision import pick_device
from tubelet.train.interrupt import RunInterruptedError
from tubelet.types import InputError, OtherRankError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

T = TypeVar("T")

TIMEOUT_SECONDS = 600.0
"""How long a rank waits for the others in one exchange; the slowest is reading data sets or scoring meanwhile."""


_kept: list[object] = []
"""Groups of ranks, until the process ends. Python must let go of one last, as it gives its lock away for that:
let go by DDP's reducer, the group waits for a thread of its own that waits for the lock."""


class RankLostError(ConnectionError):
    """Another rank has died or does not answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """The ranks of a run, and this process among them."""

    rank: int = 0
    size: int = 1
    device: torch.device
    """Where this rank computes."""
    checkpoint_group: "ProcessGroup | None" = None
    """The same ranks on the CPU, for what runs beside the training; None in a process of its own."""

    @property
    def is_main(self) -> bool:
        """Whether this rank speaks and writes for all of them."""
        return self.rank == 0

    def summed(self, values: Sequence[float]) -> list[float]:
        """Return each value summed over the ranks, in float64; every rank gives as many."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        with naming_lost_ranks():
            torch.distributed.all_reduce(total)
        return total.tolist()

    def gathered(self, value: T) -> list[T]:
        """Return every rank's ``value``, in the order of the ranks."""
        if self.size == 1:
            return [value]
        found: list[T | None] = [None] * self.size
        with naming_lost_ranks():
            torch.distributed.all_gather_object(found, value)
        return found  # type: ignore[return-value]  # all are filled

    def together(self, call: Callable[[], T]) -> T:
        """Return what ``call`` does here; where it fails on any rank it fails on all, with one message.

        Raises:
            InputError: It failed on another rank, which the message names.
            Exception: What it raised here.
        """
        if self.size == 1:
            return call()
        error: Exception | None = None
        try:
            result = call()
        except RankLostError:
            raise
        except Exception as caught:
            error = caught
        if self.summed([error is not None]) == [0.0]:
            return result
        said = self.gathered(None if error is None else _one_line(error))
        self.settle()
        if error is not None:
            raise error
        rank, text = next((rank, text) for rank, text in enumerate(said) if text is not None)
        raise InputError(f"rank {rank}: {text}")

    def settle(self) -> None:
        """Wait for the others before this rank ends: its end must not reach one that is in the exchange before."""
        with suppress(RankLostError):
            self.summed([0.0])

    def in_step(self, items: Iterable[T]) -> Iterator[T]:
        """Yield from ``items``, of which every rank has as many; an error on one rank ends all."""
        iterator = iter(items)
        while (item := self.together(lambda: next(iterator, None))) is not None:
            yield item


@contextmanager
def joined(device: str | None = None, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[World]:
    """Join the ranks that ``torchrun`` started, for the time of the ``with``; without it, be the only one.

    Args:
        device: ``cpu``, ``cuda``, ...; None = a GPU if there is one. Of several GPUs each rank takes its own.
        timeout_seconds: How long an exchange may take.

    Raises:
        InputError: The device is not there, or the environment of ``torchrun`` is not whole.
        RankLostError: Another rank has died or does not answer.
    """
    if "WORLD_SIZE" not in os.environ:
        yield World(device=pick_device(device))
        return
    import torch.distributed as dist

    rank, size, local_rank = (_number(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    place = pick_device(device)
    if place.type == "cuda" and place.index is None:
        place = pick_device(f"cuda:{local_rank}")
        torch.cuda.set_device(place)
    timeout = timedelta(seconds=timeout_seconds)
    with naming_lost_ranks():
        dist.init_process_group("cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo", timeout=timeout)
        beside = dist.new_group(backend="gloo", timeout=timeout) if size > 1 else None
    _kept.extend([dist.group.WORLD, beside])
    try:
        world = World(rank=rank, size=size, device=place, checkpoint_group=beside)
        with naming_lost_ranks():  # whichever exchange fails: many are inside of torch
            yield world
        world.settle()
    except RunInterruptedError:
        world.settle()
        raise
    except (InputError, FloatingPointError) as error:
        if isinstance(error, FloatingPointError):  # As signals do, it ends all ranks after the same step.
            world.settle()
        if rank == 0:
            raise
        raise OtherRankError(str(error)) from error  # rank 0 has it too, and says it
    finally:
        dist.destroy_process_group()


@contextmanager
def naming_lost_ranks() -> Iterator[None]:
    """Say what a failed exchange means: gloo tells of sockets, NCCL of work that was aborted."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        raise RankLostError(f"another rank has died or does not answer ({_one_line(error)})") from error


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdigit():
        raise InputError(f"{name} is {text!r} in the environment, expected a number as torchrun sets it")
    return int(text)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
