"""The process that works on one video: limits first, then the video. ``python -m tubelet.web.work``.

Reads one order (JSON, a line of standard input), says how far it is and how it ended (JSON lines on standard output),
and ends when its standard input does, that is, with the server. It imports before it reads, so that a server can
have one ready.
"""

import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, TextIO

from tubelet import load
from tubelet.inference.detections_file import read_detections
from tubelet.inference.formats import FORMATS
from tubelet.inference.outputs import LocalisedVideo, localise_video
from tubelet.inference.pipeline import Localiser  # also, before a video comes, the imports that take long
from tubelet.records import from_json, to_json, write_json
from tubelet.types import InputError, VideoError, first_line
from tubelet.video.playable import Looked, look, write_playable
from tubelet.web.order import Choices, Order, Outcome, ResultFile

SHARE_OF_COPY = 0.2
"""Of the work, where a copy for browsers has to be made."""
NEARLY_ALL = 0.85
"""A process that fails with so much of its memory in use has probably failed for the lack of it."""
REPORTS = 200
"""Progress is told at most so often over the whole work."""


def main() -> None:
    """Do one order."""
    say = _own_output()
    line = sys.stdin.readline()
    if not line:
        return
    order = from_json(Order, json.loads(line), where="order")
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    too_much = f"it may need more than the {order.max_memory_bytes >> 20} MiB of memory that a video may take"
    try:
        limit_resources(order)
        os.chdir(order.folder)  # relative names from here on: no path of this machine in messages or results
        outcome = work(order, lambda stage, share: say({"stage": stage, "share": share}))
        write_json(Path("outcome.json"), outcome)
        say({"outcome": to_json(outcome)})
    except InputError as error:
        # A codec that gets no memory says so in its own words, or not at all.
        note = f"; {too_much}" if data_bytes() > NEARLY_ALL * order.max_memory_bytes else ""
        say({"error": first_line(error) + note})
    except Exception as error:
        # Not MemoryError alone: torch says it as a RuntimeError, a library that cannot be mapped as an ImportError.
        is_memory = isinstance(error, MemoryError) or "memory" in str(error)
        if is_memory or data_bytes() > NEARLY_ALL * order.max_memory_bytes:
            say({"error": too_much})
        elif isinstance(error, OSError):
            say({"error": f"the server could not write its results ({error.strerror or error})"})
        else:
            raise
    os._exit(0)  # before the server closes its end; and taking down what was imported takes longer than the rest


def limit_resources(order: Order) -> None:
    """Bound memory and files of this process; a device's memory is not counted."""
    # Memory that can be written to, rather than addresses (RLIMIT_AS): a GPU's driver reserves terabytes of those.
    resource.setrlimit(resource.RLIMIT_DATA, (order.max_memory_bytes, order.max_memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (order.max_file_bytes, order.max_file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is then an OSError
    os.nice(5)  # the page answers while a video is at work


def data_bytes() -> int:
    """Return what of this process counts for its limit; 0 on systems that do not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:")), 0)


def open_localiser(choices: Choices) -> Localiser:
    """Return what looks at videos as chosen.

    Raises:
        InputError: The choices do not go together, or name what is not there.
    """
    return load(
        choices.model,
        task=choices.task,
        people=choices.people,
        person_threshold=choices.person_threshold,
        every_seconds=choices.every_seconds,
        detect_every=choices.detect_every,
        device=choices.device,
    )


def work(order: Order, say: Callable[[str, float], None]) -> Outcome:
    """Look at a video, make a copy if browsers need one, and find who does what.

    Raises:
        InputError: The video cannot be read, or is larger than the limits; in one line for the one who sent it.
    """
    video = Path(order.name)
    video.symlink_to(Path("..", "upload"))
    say("preparing", 0.0)
    found = look(video, max_pixels=order.max_pixels)
    check_size(video, found, max_seconds=order.max_seconds, max_frames=order.max_frames)
    begun = 0.0
    shown, media_type = str(video), found.media_type
    if media_type is None:
        begun, shown, media_type = SHARE_OF_COPY, "playable.mp4", "video/mp4"
        on_time = _sharing(say, "preparing", found.end_seconds, 0.0, begun)
        write_playable(video, Path(shown), max_pixels=order.max_pixels, on_time=on_time)
    say("looking", begun)
    done = localise_video(
        open_localiser(order.choices),
        video,
        Path("results"),
        threshold=order.choices.threshold,
        also=tuple(FORMATS),
        on_time=_sharing(say, "looking", found.end_seconds, begun, 1.0),
    )
    return _outcome(found, done, shown, media_type)


def _outcome(found: Looked, done: LocalisedVideo, shown: str, media_type: str) -> Outcome:
    formats = ("mp4", "csv", *FORMATS, "json")
    moments = read_detections(done.files.json).moments
    return Outcome(
        video=shown,
        media_type=media_type,
        duration_seconds=found.end_seconds,
        width=found.meta.width,
        height=found.meta.height,
        fps=found.meta.fps,
        num_people=len({int(p) for moment in moments for p in moment.person_ids if p >= 0}),
        num_moments=done.num_moments,
        num_left_out=done.num_left_out,
        files=tuple(
            ResultFile(format=name, path=str(path), num_bytes=path.stat().st_size)
            for name, path in zip(formats, done.files.paths, strict=True)
        ),
    )


def check_size(video: Path, found: Looked, *, max_seconds: float, max_frames: int) -> None:
    """Refuse what is too long, by what was counted."""
    if found.end_seconds > max_seconds:
        raise VideoError(video, f"is {found.end_seconds:.0f} s long; at most {max_seconds:.0f} s are taken")
    if found.num_frames > max_frames:
        raise VideoError(video, f"has {found.num_frames:,} frames; at most {max_frames:,} are taken")


def _sharing(
    say: Callable[[str, float], None], stage: str, end_seconds: float, begin: float, end: float
) -> Callable[[float], None]:
    """Return what turns a time in the video into a share of the work, told now and then."""
    told = -inf

    def on_time(pts_seconds: float) -> None:
        nonlocal told
        share = begin + (end - begin) * min(1.0, pts_seconds / max(end_seconds, 1e-6))
        if share >= told + 1 / REPORTS:
            told = share
            say(stage, share)

    return on_time


def _own_output() -> Callable[[dict[str, Any]], None]:
    """Return what writes JSON lines; whatever else is printed goes to standard error."""
    lines: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(what: dict[str, Any]) -> None:
        print(json.dumps(what), file=lines, flush=True)

    return say


def _end_with_the_server() -> None:
    """Wait until the server closes its end, which it does however it ends, then end at once."""
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
