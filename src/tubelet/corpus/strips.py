"""Frames of videos side by side, for a person to look at; read in worker processes, for these are anybody's videos."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tubelet.types import VideoError
from tubelet.video.decode import read_frames
from tubelet.video.media import MediaRoot, resolve_media
from tubelet.worker_pool import WorkerPool

NUM_FRAMES = 6
FRAME_HEIGHT = 96
QUALITY = 80
CALL_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Row:
    """Frames of one video."""

    media_root: MediaRoot
    video: str
    pts_seconds: tuple[float, ...]


def strips(wanted: Sequence[Sequence[Row]], num_workers: int) -> list[bytes | None]:
    """Return a JPEG for each wanted strip, its rows below one another; None where a video cannot be read.

    Args:
        wanted: Rows of each strip.
        num_workers: Processes that decode.
    """
    found: list[bytes | None] = [None] * len(wanted)
    if not wanted:
        return found
    with WorkerPool(num_workers, setup=None, modules=("tubelet.corpus.strips",), call_seconds=CALL_SECONDS) as pool:
        for place, rows in enumerate(wanted):
            pool.submit(place, strip, tuple(rows))
        for _ in wanted:
            done = pool.result()
            found[done.key] = done.value
    return found


def strip(_: None, rows: Sequence[Row]) -> bytes | None:
    """Return one strip, in which frames that belong together stand above each other; runs in a worker."""
    try:
        lines = [_frames(row) for row in rows]
    except VideoError:
        return None
    width = max(frame.shape[1] for line in lines for frame in line)
    file = io.BytesIO()
    cells = [np.concatenate([_centred(frame, width) for frame in line], axis=1) for line in lines]
    Image.fromarray(np.concatenate(cells)).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def evenly(duration_seconds: float) -> tuple[float, ...]:
    """Return the middles of ``NUM_FRAMES`` equal parts of a video."""
    return tuple((k + 0.5) * duration_seconds / NUM_FRAMES for k in range(NUM_FRAMES))


def _frames(row: Row) -> list[np.ndarray]:
    media = resolve_media(row.media_root, row.video)
    frames = read_frames(media, row.pts_seconds).frames.permute(0, 2, 3, 1).numpy()
    width = max(1, round(frames.shape[2] * FRAME_HEIGHT / frames.shape[1]))
    return [np.asarray(Image.fromarray(frame).resize((width, FRAME_HEIGHT))) for frame in frames]


def _centred(frame: np.ndarray, width: int) -> np.ndarray:
    left = (width - frame.shape[1]) // 2
    return np.pad(frame, ((0, 0), (left, width - frame.shape[1] - left), (0, 0)))
