"""What strangers' uploads may take: bytes, seconds, pixels, frames, memory, places in the queue."""

from dataclasses import dataclass

from tubelet.types import InputError

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Limits of a server; every one is tested before, or while, the thing it bounds is made."""

    max_bytes: int = 1 * GIB
    """Of an upload."""
    max_seconds: float = 1800.0
    """Of a video, by its last frame, not by what it claims."""
    max_pixels: int = 3840 * 2160
    """Width times height of a frame, known before one is decoded."""
    max_frames: int = 90_000
    """Of a video: half an hour at 50 frames a second. Counted before any is decoded."""
    max_uploads: int = 8
    """Received at the same time."""
    max_waiting: int = 50
    """Videos that wait or are at work, of everybody."""
    max_waiting_each: int = 10
    """The same, of one visitor."""
    num_parallel: int = 1
    """Videos at work at the same time; each has a process of its own."""
    keep_seconds: float = 24 * 3600.0
    """A video and its results are removed so long after it was sent."""
    job_seconds: float = 2 * 3600.0
    """A process that works longer on a video is ended."""
    job_bytes: int = 6 * GIB
    """Memory of such a process."""
    idle_seconds: float = 20.0
    """An upload of which nothing comes for so long is given up."""
    least_bytes_per_second: int = 20_000
    """An upload that is slower on average, after ``idle_seconds``, is given up: it holds one of few places."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise InputError(f"limit {name} is {getattr(self, name)}, expected more than 0")


USUAL = Limits()
"""Where nothing else is asked for."""
