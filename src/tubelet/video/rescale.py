"""Scale the planes of a decoded frame: all three mixed to RGB, or luma alone.

For RGB each plane is scaled by a triangle filter, as wide as the scale when it shrinks (what PyTorch calls antialiased
bilinear); luma alone is averaged over areas. Rows are combined first, ``LANES`` of them at a time, and turned, so that
all that follows has their pixels side by side: columns are combined, the colour matrix is applied, and the result is
turned back. Arithmetic is float32, rounded once at the end: the nearest of 0..255 to float64's result, but for ties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from tubelet.kernels import kernel
from tubelet.video.vectors import BLOCK, LANES, combine_columns, combine_rows, fetch, turn_back

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]
Taps = tuple[I64, F32]
"""The first source sample of each result, and the weights (results, taps) of it and those behind it."""

LINE = 64
"""Bytes that come from memory together."""
FASTMATH = {"contract", "nnan", "nsz"}
"""Multiplying and adding may be one instruction; the order of sums stays."""


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """How a plane becomes one of another size, or a rectangle of that; two arrays, as each costs a call 0.2 us."""

    places: I64
    """First source column; how many are looked at: ``BLOCK`` or more, if the plane has as many; H and K; W and L; the
    (H, K) source rows of each row, the last repeated until H is a multiple of ``LANES``; the first source columns of
    the W columns, counted from the very first."""
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
    _rescale(*planes, *strides, luma.places, luma.weights, chroma.places, chroma.weights, matrix, out)


def rescale_plane(plane: U8, plane_filter: Filter, out: U8) -> None:
    """Write a scaled plane, uint8 (H, W or more: rows may be padded), C order, into ``out``, uint8 (H, W)."""
    if plane.shape[1] < BLOCK:
        plane = np.pad(plane, ((0, 0), (0, BLOCK - plane.shape[1])))
    _rescale_plane(plane.ctypes.data, plane.shape[1], plane_filter.places, plane_filter.weights, out)


@kernel(fastmath=FASTMATH)
def _opened(places: I64, weights: F32, stride: int) -> Any:
    """Return a filter for a plane in memory.

    Returns:
        Where the first pixel of each row's source rows is, int64 (H, K), and their weights; the number of source
        columns; the first of each column, int64 (W,), and the weights from there on, float32 (W, L).
    """
    first, width, height, num_above, columns, num_across = places[:6]
    end = height * num_above
    rows = (places[6 : 6 + end] * stride + first).reshape(height, num_above)
    across = weights[end:].reshape(columns, num_across)
    return rows, weights[:end].reshape(height, num_above), width, places[6 + end :], across


@kernel(fastmath=FASTMATH)
def _scale(
    plane: int, rows: I64, down: F32, width: int, left: I64, across: F32, y: int, columns: F32, out: F32
) -> None:
    """Write rows ``y`` to ``y + LANES`` of the scaled plane, turned, into ``out``, float32 (W, LANES)."""
    for block in range(0, width, BLOCK):
        x = max(min(block, width - BLOCK), 0)  # the last block begins earlier: its row may end with it
        combine_rows(plane, x, rows, down, y, columns, x)
    taps = across.shape[1]
    if taps == 2:
        for x in range(left.shape[0]):
            combine_columns(columns, left[x], across, x, 2, out)
    elif taps == 4:
        for x in range(left.shape[0]):
            combine_columns(columns, left[x], across, x, 4, out)
    else:
        for x in range(left.shape[0]):
            combine_columns(columns, left[x], across, x, taps, out)


@kernel(fastmath=FASTMATH)
def _write(columns: U8, y: int, out: U8) -> None:
    """Write ``LANES`` rows, turned (W, LANES), into ``out`` from row ``y`` on, as far as it has them."""
    height, width = out.shape
    if y + LANES <= height and width >= BLOCK:
        for block in range(0, width, BLOCK):
            turn_back(columns, min(block, width - BLOCK), out, y)
    else:
        for r in range(min(LANES, height - y)):
            for x in range(width):
                out[y + r, x] = columns[x, r]


@kernel(fastmath=FASTMATH, inline="always")
def _byte(value: Any) -> Any:
    return min(max(np.int32(value), np.int32(0)), np.int32(255))


@kernel(fastmath=FASTMATH)
def _rescale(
    luma: int,
    blue: int,
    red: int,
    luma_stride: int,
    blue_stride: int,
    red_stride: int,
    luma_places: I64,
    luma_weights: F32,
    chroma_places: I64,
    chroma_weights: F32,
    matrix: F32,
    out: U8,
) -> None:
    """Write the picture into ``out`` (3, H, W): the fields of both filters one by one, as compiled code takes them."""
    rows, down, width, left, across = _opened(luma_places, luma_weights, luma_stride)
    blue_rows, chroma_down, chroma_width, chroma_left, chroma_across = _opened(
        chroma_places, chroma_weights, blue_stride
    )
    red_rows = _opened(chroma_places, chroma_weights, red_stride)[0]
    # Weights of 0 reach behind the last column.
    most = max(width + across.shape[1], chroma_width + chroma_across.shape[1])
    columns = np.zeros((most + BLOCK, LANES), np.float32)
    scaled = np.empty((3, out.shape[2], LANES), np.float32)
    mixed = np.empty((3, out.shape[2], LANES), np.uint8)
    light, blueness, redness = scaled[0].reshape(-1), scaled[1].reshape(-1), scaled[2].reshape(-1)
    out_red, out_green, out_blue = mixed[0].reshape(-1), mixed[1].reshape(-1), mixed[2].reshape(-1)
    m0, m1, m2, m3, m4, m5, m6, m7 = matrix
    for y in range(0, out.shape[1], LANES):
        for channel in range(3):
            for place in range(y * out.shape[2], (y + LANES) * out.shape[2], LINE):
                fetch(out[channel], place)
        _scale(luma, rows, down, width, left, across, y, columns, scaled[0])
        for plane, there, part in ((blue, blue_rows, scaled[1]), (red, red_rows, scaled[2])):
            _scale(plane, there, chroma_down, chroma_width, chroma_left, chroma_across, y, columns, part)
        for i in range(light.shape[0]):
            level, u, v = m0 * light[i], blueness[i], redness[i]
            out_red[i] = _byte(level + m1 * v + m5)
            out_green[i] = _byte(level + m2 * u + m3 * v + m6)
            out_blue[i] = _byte(level + m4 * u + m7)
        for channel in range(3):
            _write(mixed[channel], y, out[channel])


@kernel(fastmath=FASTMATH)
def _rescale_plane(plane: int, stride: int, places: I64, weights: F32, out: U8) -> None:
    rows, down, width, left, across = _opened(places, weights, stride)
    columns = np.zeros((width + across.shape[1] + BLOCK, LANES), np.float32)
    scaled = np.empty((out.shape[1], LANES), np.float32)
    rounded = np.empty((out.shape[1], LANES), np.uint8)
    level, nearest = scaled.reshape(-1), rounded.reshape(-1)
    for y in range(0, out.shape[0], LANES):
        _scale(plane, rows, down, width, left, across, y, columns, scaled)
        for i in range(level.shape[0]):
            nearest[i] = _byte(level[i] + np.float32(0.5))
        _write(rounded, y, out)
