"""What workers are asked to do in tests of processes that die; in a module of its own, so that they can import it."""

import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tubelet.data.verify import VideoCheck, check_video
from tubelet.types import Clip, InputError, VideoError
from tubelet.video.cache import FrameCache
from tubelet.video.decode import WantedTimes, read_frames
from tubelet.video.media import Media


def add(setup: int, number: int) -> int:
    return setup + number


def die(_: int, signal_number: int) -> None:
    os.kill(os.getpid(), signal_number)


def leave(_: int, status: int) -> None:
    os._exit(status)


def wait(_: int, seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def die_once(_: int, mark: str) -> str:
    """Die at the first call, answer at the second."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "lived"


def mistake(_: int, text: str) -> None:
    raise VideoError("a.mp4", text, 2.5) if text == "video" else InputError(text)


def bug(_: int) -> None:
    raise ZeroDivisionError("a bug")


def read_and_write(_: int, fd: int) -> bytes:
    text = os.pread(fd, 100, 0)
    os.pwrite(fd, b"there", 0)
    return text


def modules(_: int) -> list[str]:
    return list(sys.modules)


def compiled(_: int) -> list[int]:
    """How many kinds of arguments each loop that scales frames is compiled for."""
    from tubelet.video import rescale_loops

    return [len(loop.nopython_signatures) for loop in (rescale_loops.rescale_planes, rescale_loops.rescale_one)]


def check_or_die(_: None, location: str, fps: float) -> VideoCheck:
    if location.endswith("deadly.mp4"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return check_video(None, location, fps)


def check_slowly(_: None, location: str, fps: float) -> VideoCheck:
    time.sleep(0.2)
    return check_video(None, location, fps)


@dataclass(frozen=True)
class DeadlyCache(FrameCache):
    """Reads files like a data set without cache, but one of these videos ends the process, another one every time."""

    deadly: str = ""
    broken: tuple[str, ...] = ()
    log: str = ""
    """A file that gets a line for each read: process and video."""
    seconds: float = 0.0
    """Each read takes as long."""

    def clip(self, media: Media | str | Path, pts_seconds: WantedTimes) -> Clip:
        name = Path(str(media)).name
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{os.getpid()} {name}\n")
        if name == self.deadly:
            os.kill(os.getpid(), signal.SIGSEGV)
        if name in self.broken:
            raise VideoError(media, "broken for a test")
        time.sleep(self.seconds)
        return read_frames(media, pts_seconds, size=self.size)


def faults_of_buffers(_: int) -> list[int]:
    """Fill and drop five buffers of 4 MiB, three times; return the page faults of each time."""
    found = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        buffers = [b"x" * 2**22 for _ in range(5)]
        del buffers
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return found
