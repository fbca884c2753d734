"""A 64-bit code for each frame, by a Census transform of its luma (paper B, A.2; Zabih and Woodfill, ECCV 1994).

The frame is averaged to 10 x 10 cells; each of the inner 8 x 8 gives a bit: brighter than the mean of its eight
neighbours or not. So a code says nothing about brightness, contrast or size, and codes are compared by the number of
bits in which they differ. The paper's 64 numbers a frame are bits here: 65 million videos of 20 s have 2 x 10^10
frames.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRID = 8
"""Inner cells along a side; a row of them is a byte of the code."""
FLAT_BELOW = 1.0
"""Grey levels: a frame whose cells differ from their neighbours by less, in the median, has a code of noise."""

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
        """Where a frame (black, fog, one colour) has nothing that a code could hold: it may match nothing."""
        return self.contrast < FLAT_BELOW


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeRuns:
    """Runs of equal codes: a still picture of a minute is one entry of an index, not a thousand."""

    codes: U64
    """(R,), neighbours differ."""
    first: NDArray[np.int64]
    """(R,), place of the first frame of each run."""
    length: NDArray[np.int64]
    """(R,), frames of each run."""


def frame_codes(luma: U8) -> FrameCodes:
    """Return the code of each frame.

    Args:
        luma: Y planes (T, H, W) of at least 10 x 10 pixels; A.2 scales to 112 x 112.
    """
    if luma.ndim != 3 or min(luma.shape[1:]) < GRID + 2:
        raise ValueError(f"luma has shape {luma.shape}, expected (*, at least {GRID + 2}, at least {GRID + 2})")
    rows, columns = (_averaging(side) for side in luma.shape[1:])
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


def distances(codes_a: U64, codes_b: U64) -> U8:
    """Return the number of bits in which codes differ, 0..64, broadcast as numpy does."""
    differing: U8 = np.bitwise_count(codes_a ^ codes_b)
    return differing


def code_runs(codes: U64) -> CodeRuns:
    """Return the runs of equal codes."""
    if not len(codes):
        none = np.zeros(0, dtype=np.int64)
        return CodeRuns(codes=codes, first=none, length=none)
    first = np.concatenate([[0], np.flatnonzero(codes[1:] != codes[:-1]) + 1])
    return CodeRuns(codes=codes[first], first=first, length=np.diff(np.append(first, len(codes))))


def _averaging(side: int) -> NDArray[np.float32]:
    """Return the matrix (10, side) that averages pixels to cells; a pixel across an edge counts for both in part."""
    edges = np.linspace(0, side, GRID + 3)
    pixels = np.arange(side)
    share = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(share, 0, None).astype(np.float32)
    averaging: NDArray[np.float32] = weights / weights.sum(axis=1, keepdims=True)
    return averaging
