"""What ``tubelet localise`` does with each thing it is given: a file, a folder, a camera, a stream."""

import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tubelet.inference.outputs import LocalisedVideo, localise_live, localise_video
from tubelet.inference.pipeline import DECODE_SIZE, Localiser
from tubelet.inference.render import LabelStyle
from tubelet.types import ActionDetections, InputError, VideoError
from tubelet.video.container import probe
from tubelet.video.live import LiveSource, is_live, without_password
from tubelet.video.media import VIDEO_SUFFIXES


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Of the command that reach every video."""

    out: Path
    threshold: float | None
    csv_threshold: float
    also: tuple[str, ...]
    strip: bool
    seconds: float | None


def found_in(places: Sequence[str]) -> list[str]:
    """Return the places with every folder of videos replaced by what lies in it, sorted.

    Raises:
        InputError: A folder has no video, or nothing was given.
    """
    if not places:
        raise InputError("no video given; expected files, folders, cameras (0, /dev/video0) or streams (rtsp://...)")
    found: list[str] = []
    for place in places:
        if "://" in place or not Path(place).is_dir():
            found.append(place)
            continue
        inside = sorted(str(path) for path in Path(place).iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
        if not inside:
            raise InputError(f"{place}: no video in this folder; expected {', '.join(VIDEO_SUFFIXES)}")
        found += inside
    return found


def name_of(place: str) -> str:
    """Return what the results of a place are called: a file's stem, ``camera0``, an address without strange signs."""
    if not is_live(place):
        return Path(place).stem
    if "://" not in place:
        return f"camera{place.removeprefix('/dev/video')}"
    address = without_password(place).partition("://")[2]
    return re.sub(r"[^A-Za-z0-9]+", "-", address).strip("-") or "stream"


def check_places(places: Sequence[str], out: Path, seconds: float | None) -> None:
    """Raise if two results would have the same name, or a file is to be listened to for some seconds."""
    if seconds is not None and (files := [place for place in places if not is_live(place)]):
        raise InputError(f"--seconds is for cameras and streams; {files[0]} is read whole")
    names = [name_of(place) for place in places]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{twice}: more than one video of this name would be written to {out}; use several --out")


def localise_places(localiser: Localiser, places: Sequence[str], options: Options) -> None:
    """Localise one after the other; one that cannot be read does not keep the others from their turn.

    Raises:
        InputError: Some could not be read; each has been named by then.
    """
    failed: list[VideoError] = []
    for place in places:
        try:
            done = (_listen if is_live(place) else _watch)(localiser, place, options)
        except VideoError as error:
            if len(places) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            failed.append(error)
            continue
        for path in done.files.paths:
            print(path)
        if done.num_left_out:
            print(f"{done.num_left_out:,} scores below {options.csv_threshold} are in the JSON only")
        if done.num_repeated or done.num_dropped:
            counts = f"{done.num_repeated:,} frames repeated, {done.num_dropped:,} left out"
            print(f"{counts} in the mp4: its rate is constant, that of {place} is not")
    if failed:
        raise InputError(f"{len(failed)} of {len(places)} videos could not be read; they are named above")


def _watch(localiser: Localiser, place: str, options: Options) -> LocalisedVideo:
    """Localise a file, with a bar that tells the time left."""
    video = place if "://" in place else Path(place)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True))
    bar = progress.add_task(Path(place).name, total=probe(video).duration_seconds)

    def show(seconds: float) -> None:
        progress.start()  # Only now: a bar that never moved would leave an empty line. Again, it does nothing.
        progress.update(bar, completed=seconds)

    try:
        return localise_video(
            localiser,
            video,
            options.out,
            threshold=options.threshold,
            csv_threshold=options.csv_threshold,
            also=options.also,
            strip=options.strip,
            on_time=show,
        )
    finally:
        if progress.live.is_started:
            progress.stop()


def _listen(localiser: Localiser, place: str, options: Options) -> LocalisedVideo:
    """Localise a camera or stream, a line for each moment at which somebody does something."""
    least = localiser.thresholds if options.threshold is None else options.threshold
    style = LabelStyle(label_space=localiser.label_space, threshold=least)

    def say(moment: ActionDetections) -> None:
        people = [
            f"{'?' if person < 0 else person}: " + ", ".join(f"{name} {score:.2f}" for name, score in actions)
            for person, scores in zip(moment.person_ids.tolist(), moment.scores, strict=True)
            if (actions := style.actions(scores))
        ]
        if people:
            print(f"{moment.pts_seconds:.1f} s  {'; '.join(people)}", flush=True)

    with LiveSource(place, size=DECODE_SIZE) as source:
        try:
            with closed_in_time(source, options.seconds):
                return localise_live(
                    localiser,
                    source,
                    options.out,
                    name=name_of(place),
                    threshold=options.threshold,
                    csv_threshold=options.csv_threshold,
                    also=options.also,
                    on_moment=say,
                )
        finally:
            print(f"{'stopped' if source.was_closed else 'the source ended'}: {source.counts}")


@contextmanager
def closed_in_time(source: LiveSource, seconds: float | None) -> Iterator[None]:
    """Close the source after so many seconds or at Ctrl-C, so that what was found is written whole."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        # Not in the handler: closing waits for the thread that reads.
        threading.Thread(target=source.close, daemon=True).start()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C ends at once

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, interrupted) if in_main else None
    clock = threading.Timer(seconds, source.close) if seconds is not None else None
    if clock is not None:
        clock.daemon = True
        clock.start()
    try:
        yield
    finally:
        if clock is not None:
            clock.cancel()
        if in_main:
            signal.signal(signal.SIGINT, before)
