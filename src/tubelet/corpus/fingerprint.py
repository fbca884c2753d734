"""A 64-bit code for each frame, by a Census transform of its luma (paper B, A.2; Zabih and Woodfill, ECCV 1994).

The frame is averaged to 10 x 10 cells; each of the inner 8 x 8 gives a bit: brighter than the mean of its eight
neighbours or not. So a code says nothing about brightness, contrast or size, and codes are compared by the number of
bits in which they differ. The paper's 64 numbers a frame are bits here: 65 million videos of 20 s have 2 x 10^10
frames. A border that is cut off moves every cell, so a video may also carry the codes that its frames have without
some of their border.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tubelet.types import InputError, VideoError, first_line
from tubelet.video.luma import iter_luma
from tubelet.video.media import MediaRoot, resolve_media

VERSION = 4
"""Of the codes; those of different versions are not compared."""
NOTHING = 0
"""Code of a flat frame, which may match nothing; also of one with no cell brighter than around it."""
BLOCK = 256
"""Frames whose codes are computed together."""

GRID = 8
"""Inner cells along a side; a row of them is a byte of the code."""
FLAT_BELOW = 0.3
"""Grey levels: a frame whose cells differ from their neighbours by less, in the median, has a code of noise. Black,
white, grey and noise have up to 0.1, a lawn seen from above 0.9."""
FEW_BITS = 8
"""A code with fewer ones, or fewer zeros, tells no more than where light falls: 8,600 frames of 55 videos have 15."""

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameCodes:
    """Codes of frames in their order."""

    codes: U64
    """(T,); bit 8 * row + column from the lowest, 1 where the cell is brighter than around it."""
    contrast: NDArray[np.float32]
    """(T,), grey levels by which a cell differs from its neighbours' mean: the median over cells."""

    @property
    def is_flat(self) -> NDArray[np.bool_]:
        """Where a frame (black, fog, an empty wall) has nothing that a code could hold: it may match nothing."""
        ones = np.bitwise_count(self.codes)
        flat: NDArray[np.bool_] = (self.contrast < FLAT_BELOW) | (np.minimum(ones, 64 - ones) < FEW_BITS)
        return flat


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeRuns:
    """Runs of equal codes: a still picture of a minute is one entry of an index, not a thousand."""

    codes: U64
    """(R,), neighbours differ."""
    first: NDArray[np.int64]
    """(R,), place of the first frame of each run."""
    length: NDArray[np.int64]
    """(R,), frames of each run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FingerprintSettings:
    """How videos are turned into codes; videos can be compared whose settings differ in nothing but the crops."""

    fps: float = 16.0
    """Frames per second of a video that get a code (A.2)."""
    side: int = 112
    """Pixels of a side of the frames (A.2)."""
    crops: tuple[float, ...] = ()
    """Shares of each border cut off for further codes of every frame. Only one of two videos that are compared needs
    them, and finds the other where that is a crop of it: ``TARGET_CROPS`` for targets, none for the many sources."""

    def __post_init__(self) -> None:
        if not 0 < self.fps <= 1000 or self.side < GRID + 2 or not all(0 < crop < 0.4 for crop in self.crops):
            raise InputError(
                f"fps={self.fps}, side={self.side} and crops={self.crops} must be in 0..1000, at least {GRID + 2}, "
                "and each above 0 and below 0.4"
            )

    @property
    def schema(self) -> pa.Schema:
        """Columns of a table of codes, and these settings.

        ``video``: as asked for. ``reason``: why it could not be read, or not to its end; empty where all is well.
        ``num_frames``: frames that got a code. ``codes``: theirs, ``NOTHING`` for flat ones, then those of each crop.
        """
        kept = {"codes": f"census/{VERSION}", "fps": f"{self.fps:g}", "side": str(self.side)}
        kept["crops"] = " ".join(f"{crop:g}" for crop in self.crops)
        return pa.schema(
            [
                pa.field("video", pa.string(), nullable=False),
                pa.field("reason", pa.string(), nullable=False),
                pa.field("num_frames", pa.int64(), nullable=False),
                pa.field("codes", pa.list_(pa.uint64()), nullable=False),
            ],
            metadata=kept,
        )


TARGET_CROPS = (0.03, 0.06, 0.09)
"""Found with these: borders of up to a tenth cut off on each side."""


def fingerprint_shard(
    videos: Sequence[str], *, media_root: MediaRoot, settings: FingerprintSettings, fps: Sequence[float] | None = None
) -> pa.Table:
    """Return the codes of some videos, one row each, in their order; nothing about a video raises.

    The same videos and settings give the same table. A video that crashes the decoder ends the process: who calls
    this for videos of others does so in a worker process, and puts a ``failed_row`` where that has ended.

    Args:
        videos: Cells as of a manifest: paths below ``media_root``, or addresses.
        media_root: Folder they lie in.
        settings: Which codes.
        fps: Frame rate of each folder or tar of frames, 0 = the file's own; None = all are files.

    Returns:
        A table of ``settings.schema``.
    """
    rates = [0.0] * len(videos) if fps is None else fps
    rows = [_fingerprint(media_root, video, rate, settings) for video, rate in zip(videos, rates, strict=True)]
    return pa.Table.from_pylist(rows, schema=settings.schema)


def failed_row(video: str, reason: str, settings: FingerprintSettings) -> pa.Table:
    """Return the row of a video that could not be tried to the end."""
    row = {"video": video, "reason": reason, "num_frames": 0, "codes": []}
    return pa.Table.from_pylist([row], schema=settings.schema)


def _fingerprint(root: MediaRoot, video: str, fps: float, settings: FingerprintSettings) -> dict[str, object]:
    """Return the row of one video; what came before an error is kept."""
    blocks: list[U64] = []
    reason = ""
    try:
        for luma in _blocks(iter_luma(resolve_media(root, video, fps), fps=settings.fps, side=settings.side)):
            blocks.append(_block_codes(luma, settings.crops))
    except VideoError as error:
        place = "" if error.pts_seconds is None else f" at {error.pts_seconds:.3f} s"
        reason = error.reason + place
    except Exception as error:  # whatever a decoder or a store comes up with: millions of others wait
        reason = f"{type(error).__name__}: {first_line(error)}"
    codes = np.concatenate(blocks, axis=1) if blocks else np.zeros((1, 0), dtype=np.uint64)
    return {"video": video, "reason": reason, "num_frames": codes.shape[1], "codes": codes.ravel()}


def _blocks(frames: Iterator[tuple[float, U8]]) -> Iterator[U8]:
    """Yield up to ``BLOCK`` frames at a time (T, side, side); at an error first those before it."""
    block: list[U8] = []
    failed: Exception | None = None
    while failed is None:
        try:
            block.append(next(frames)[1])
        except StopIteration:
            break
        except Exception as error:
            failed = error
        if len(block) == BLOCK:
            yield np.stack(block)
            block = []
    if block:
        yield np.stack(block)
    if failed is not None:
        raise failed


def _block_codes(luma: U8, crops: Sequence[float]) -> U64:
    """Return codes (1 + crops, T)."""
    found = [frame_codes(luma, crop=crop) for crop in (0.0, *crops)]
    flat = found[0].is_flat
    return np.stack([np.where(flat, np.uint64(NOTHING), one.codes) for one in found])


def frame_codes(luma: U8, *, crop: float = 0.0) -> FrameCodes:
    """Return the code of each frame.

    Args:
        luma: Y planes (T, H, W) of at least 10 x 10 pixels; A.2 scales to 112 x 112.
        crop: Share of the height cut off above and below, and of the width left and right, before.
    """
    if luma.ndim != 3 or min(luma.shape[1:]) < GRID + 2:
        raise ValueError(f"luma has shape {luma.shape}, expected (*, at least {GRID + 2}, at least {GRID + 2})")
    rows, columns = (_averaging(side, crop) for side in luma.shape[1:])
    cells = rows @ luma.astype(np.float32) @ columns.T  # (T, 10, 10)
    size = GRID + 2
    block = sum(cells[:, y : y + GRID, x : x + GRID] for y in range(3) for x in range(3))
    inner = cells[:, 1 : size - 1, 1 : size - 1]
    difference = inner - (block - inner) / 8  # (T, 8, 8)
    bits = np.packbits(difference > 0, axis=2, bitorder="little").reshape(len(luma), GRID)
    codes = np.ascontiguousarray(bits).view("<u8").reshape(len(luma)).astype(np.uint64)
    contrast = np.median(np.abs(difference).reshape(len(luma), -1), axis=1).astype(np.float32)
    return FrameCodes(codes=codes, contrast=contrast)


def mirrored_codes(codes: U64) -> U64:
    """Return the codes of the frames in a mirror: the bits of each row turned round.

    Exact but for cells that are as bright as around them to the last bit.
    """
    octets = codes.astype("<u8").view(np.uint8)
    turned = np.packbits(np.unpackbits(octets, bitorder="little").reshape(-1, GRID), axis=1, bitorder="big")
    return np.ascontiguousarray(turned.ravel()).view("<u8").astype(np.uint64)


def code_runs(codes: U64) -> CodeRuns:
    """Return the runs of equal codes."""
    if not len(codes):
        none = np.zeros(0, dtype=np.int64)
        return CodeRuns(codes=codes, first=none, length=none)
    first = np.concatenate([[0], np.flatnonzero(codes[1:] != codes[:-1]) + 1])
    return CodeRuns(codes=codes[first], first=first, length=np.diff(np.append(first, len(codes))))


@lru_cache(maxsize=64)
def _averaging(side: int, crop: float) -> NDArray[np.float32]:
    """Return the matrix (10, side) that averages pixels to cells; a pixel across an edge counts for both in part."""
    edges = np.linspace(side * crop, side * (1 - crop), GRID + 3)
    pixels = np.arange(side)
    share = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(share, 0, None).astype(np.float32)
    averaging: NDArray[np.float32] = weights / weights.sum(axis=1, keepdims=True)
    return averaging
