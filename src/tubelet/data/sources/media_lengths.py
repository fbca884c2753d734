"""How long the media of a data set are; what cannot be read is counted and left out."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tubelet.data.sources.media_folder import MediaFolder
from tubelet.types import InputError, VideoError
from tubelet.video.container import probe
from tubelet.video.media import MAX_FPS, Media
from tubelet.video.pictures import open_pictures

logger = logging.getLogger(__name__)
opened = logging.getLogger(f"{__name__}.opened")
"""Told (videos opened, videos in all) while their lengths are read, at level INFO: an import prints nothing, and
hundreds of thousands of files take minutes."""


def check_rate(frames_fps: float) -> None:
    """Raise where a rate of frames that is asked for is none."""
    if not 0 <= frames_fps < MAX_FPS:
        raise InputError(f"frames_fps is {frames_fps:g}, expected frames per second: 0 (not known) to {MAX_FPS}")


def durations(
    media: MediaFolder, cells: Sequence[str | None], rates: Sequence[float], counts: dict[str, int]
) -> list[float | None]:
    """Return the length of each medium asked for; None for what is not asked for or cannot be read.

    The latter is counted, and noted in ``media.left_out``.

    Threads, because the decoder lets go of the interpreter while it opens a file.
    """
    wanted = {cell: fps for cell, fps in zip(cells, rates, strict=True) if cell is not None}
    with ThreadPoolExecutor(max_workers=min(16, 2 * (os.cpu_count() or 1))) as pool:
        lengths_of = pool.map(lambda cell: _duration(media, cell, wanted[cell]), wanted)
        measured = {}
        for cell, length in zip(wanted, lengths_of, strict=True):
            measured[cell] = length
            opened.info("%d of %d videos opened", len(measured), len(wanted))
    broken = {cell: length for cell, length in measured.items() if isinstance(length, VideoError)}
    media.left_out.update({cell: _one_line(error) for cell, error in broken.items()})
    counts["videos_unreadable"] = len(broken)
    counts["clips_unreadable"] = sum(cell in broken for cell in cells)
    for error in list(broken.values())[:3]:
        logger.warning("left out: %s", error)
    if len(broken) > 3:
        logger.warning("%s: %d videos cannot be read and are left out", media.root, len(broken))
    lengths = {cell: length for cell, length in measured.items() if not isinstance(length, VideoError)}
    return [None if cell is None else lengths.get(cell) for cell in cells]


def _duration(media: MediaFolder, cell: str, fps: float) -> "float | VideoError":
    place = Media(str(media.root / cell), fps)
    try:
        # A listing says how long frames are; no picture is decoded, a hundred thousand folders are common.
        return open_pictures(place).duration_seconds if media.is_frames(cell) else probe(place).duration_seconds
    except VideoError as error:
        return error


def _one_line(error: VideoError) -> str:
    return error.reason if error.pts_seconds is None else f"{error.reason} at {error.pts_seconds:.3f} s"
