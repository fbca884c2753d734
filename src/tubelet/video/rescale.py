"""Scale the planes of a decoded frame: all three mixed to RGB, or luma alone.

For RGB each plane is scaled by a triangle filter, as wide as the scale when it shrinks (what PyTorch calls antialiased
bilinear); luma alone is averaged over areas. Rows are combined first, ``LANES`` of them at a time, and turned, so that
all that follows has their pixels side by side: columns are combined, the colour matrix is applied, and the result is
turned back (``rescale_loops.py``). Arithmetic is float32, rounded once at the end: float64's result rounded, but for
what is within 0.0001 of a half.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
from av.video.plane import VideoPlane

from tubelet.video.rescale_loops import BLOCK, F32, I64, LANES, U8, rescale_one, rescale_planes

Taps = tuple[I64, F32]
"""The first source sample of each result, and the weights (results, taps) of it and those behind it."""


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """How a plane becomes one of another size, or a rectangle of that; two arrays, as each costs a call 0.2 us."""

    places: I64
    """First source column; how many are looked at: ``BLOCK`` or more, if the plane has as many; H and K; W and L; the
    (H, K) source rows of each row, the last repeated until H is a multiple of ``LANES``; the first source columns of
    the W columns, counted from that one."""
    weights: F32
    """Of the source rows (H, K); of each column's first source column and those right of it (W, L)."""


@lru_cache(maxsize=256)
def plane_filter(
    source_hw: tuple[int, int],
    wanted_hw: tuple[int, int],
    kept: tuple[int, int, int, int],
    shift: tuple[float, float] = (0.0, 0.0),
) -> Filter:
    """Return the filter of a plane of one size to a rectangle of another.

    Args:
        source_hw: Of the plane.
        wanted_hw: Of the whole picture.
        kept: Top, left, height and width of the rectangle.
        shift: How far up and left of the middle of its share of the picture each sample was taken, in samples.
    """
    rows, columns = (_triangles(source_hw[i], wanted_hw[i], kept[i], kept[i + 2], shift[i]) for i in range(2))
    return _filter(rows, columns, source_hw)


@lru_cache(maxsize=64)
def area_filter(source_hw: tuple[int, int], side: int) -> Filter:
    """Return the filter of a plane to means over side x side cells of equal area; fewer pixels are repeated."""
    rows, columns = (_areas(size, side) for size in source_hw)
    return _filter(rows, columns, source_hw)


def _filter(rows: Taps, columns: Taps, source_hw: tuple[int, int]) -> Filter:
    (top, down), (left, across) = (_used(*taps) for taps in (rows, columns))
    height, width = source_hw
    more = (0, -len(top) % LANES), (0, 0)
    above = np.pad(np.minimum(top[:, None] + np.arange(down.shape[1]), height - 1), more, "edge")
    first = max(0, min(int(left[0]), width - BLOCK))
    stop = min(max(int(left[-1]) + across.shape[1], first + BLOCK), width)
    places = np.concatenate([[first, stop - first, *above.shape, *across.shape], above.reshape(-1), left - first])
    return Filter(places, np.concatenate([np.pad(down, more, "edge").reshape(-1), across.reshape(-1)]))


def _used(start: I64, weights: F32) -> Taps:
    """Return taps without the last ones, where they weigh nothing in any result."""
    count = int(np.flatnonzero(weights.any(axis=0))[-1]) + 1
    return start, np.ascontiguousarray(weights[:, :count])


def _triangles(size: int, wanted: int, first: int, count: int, shift: float) -> Taps:
    """Return the taps of ``count`` results from ``first`` on, of ``wanted`` that ``size`` samples are scaled to."""
    reach = max(size / wanted, 1.0)
    centre = (np.arange(first, first + count) + 0.5) * size / wanted + shift
    start = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + reach + 0.5).astype(np.int64), size)
    sample = start[:, None] + np.arange(int((stop - start).max()))
    weights = np.where(sample < stop[:, None], 1 - np.abs(sample + 0.5 - centre[:, None]) / reach, 0).clip(0)
    return start, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _areas(size: int, cells: int) -> Taps:
    edges = np.linspace(0, size, cells + 1)
    start = np.minimum(edges[:-1].astype(np.int64), size - 1)
    sample = start[:, None] + np.arange(int(np.max(np.ceil(edges[1:] - 1e-9) - start)))
    weights = (np.minimum(edges[1:, None], sample + 1) - np.maximum(edges[:-1, None], sample)).clip(0)
    return start, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=32)
def colour_matrix(kr: float, kb: float, full_range: bool) -> F32:
    """Return what ``rescale`` multiplies and adds, float32 (8,): ITU-R BT.601's and 709's equations, and a half.

    Args:
        kr: Share of red in luma.
        kb: Share of blue in luma.
        full_range: Luma is 0..255, else 16..235 with chroma in 16..240.
    """
    luma, chroma = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)
    black = 0.0 if full_range else 16.0
    red, blue = 2 * (1 - kr) * chroma, 2 * (1 - kb) * chroma
    green_blue, green_red = (-share * gain / (1 - kr - kb) for share, gain in ((kb, blue), (kr, red)))
    terms = [[0.0, red], [green_blue, green_red], [blue, 0.0]]
    offsets = [0.5 - black * luma - 128 * sum(term) for term in terms]
    return np.array([luma, red, green_blue, green_red, blue, *offsets], dtype=np.float32)


def plane_rows(plane: VideoPlane) -> U8:
    """Return a view of a plane as uint8 (H, bytes of a row in memory)."""
    memory = np.frombuffer(cast(memoryview, plane), np.uint8)
    return memory.reshape(-1, plane.line_size)[: plane.height]


def wide_rows(plane: U8) -> U8:
    """Return a plane (H, W) with rows of ``BLOCK`` bytes or more, as that many are read."""
    more = BLOCK - plane.shape[1]
    return plane if more <= 0 else np.pad(plane, ((0, 0), (0, more)))


def rescale(planes: Sequence[int], strides: Sequence[int], filters: Sequence[Filter], matrix: F32, out: U8) -> None:
    """Write the RGB picture of a frame's planes.

    Args:
        planes: Addresses of luma, blue and red difference; three arrays would cost a frame 4 us.
        strides: Bytes from each row of a plane to the next, ``BLOCK`` or more.
        filters: Of luma and of both chroma planes, of the sizes that the planes have.
        matrix: Of ``colour_matrix``.
        out: uint8 (3, H, W), C order, the size that the filters make.
    """
    luma, chroma = filters
    rescale_planes(*planes, *strides, luma.places, luma.weights, chroma.places, chroma.weights, matrix, out)


def rescale_plane(plane: U8, plane_filter: Filter, out: U8) -> None:
    """Write a scaled plane, uint8 (H, W or more: rows may be padded), C order, into ``out``, uint8 (H, W)."""
    plane = wide_rows(plane)
    rescale_one(plane.ctypes.data, plane.shape[1], plane_filter.places, plane_filter.weights, out)
