"""Scale the planes of a decoded frame, row by row: all three mixed to RGB, or luma alone.

For RGB each plane is scaled by a triangle filter, as wide as the scale when it shrinks (what PyTorch calls antialiased
bilinear); luma alone is averaged over areas. Rows are combined first; across a row a block of ``LANES`` results is one
vector, to which every source pixel that any of them needs adds itself. Arithmetic is float32, rounded once at the end:
the nearest of 0..255 to float64's result, but for ties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
from av.video.plane import VideoPlane
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from tubelet.kernels import kernel

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]
Taps = tuple[I64, F32]
"""The first source sample of each result, and the weights (results, taps) of it and those behind it."""

LANES = 8
"""Results side by side in a vector of floats; more would waste more of each, for a result needs few of the pixels."""
ROWS = 8
"""Rows at a time, whose sums do not wait for each other."""
FASTMATH = {"contract", "nnan", "nsz"}
"""Multiplying and adding may be one instruction; the order of sums stays."""


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """How a plane becomes one of another size, or a rectangle of that."""

    first_column: int
    num_columns: int
    """Source columns that are looked at."""
    top: I64
    """(H,), first source row of each row."""
    down: F32
    """(H, an even number), weights of that row and those below; 0 behind the last."""
    left: I64
    """(B,), first source column, counted from ``first_column``, of each block of ``LANES`` columns."""
    across: F32
    """(B, K, LANES), weights of that column and those right of it; 0 behind the last."""


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
    return _filter(rows, columns, source_hw[1])


@lru_cache(maxsize=64)
def area_filter(source_hw: tuple[int, int], side: int) -> Filter:
    """Return the filter of a plane to means over side x side cells of equal area; fewer pixels are repeated."""
    rows, columns = (_areas(size, side) for size in source_hw)
    return _filter(rows, columns, source_hw[1])


def _filter(rows: Taps, columns: Taps, width: int) -> Filter:
    (top, down), (left, weights) = rows, columns
    first_column, stop = int(left[0]), min(int(left[-1]) + weights.shape[1], width)
    blocks = -(-len(left) // LANES)
    column = np.arange(len(left))
    shift = left - left[::LANES][column // LANES]
    across = np.zeros((blocks, int(shift.max()) + weights.shape[1], LANES), dtype=np.float32)
    for tap in range(weights.shape[1]):
        across[column // LANES, shift + tap, column % LANES] = weights[:, tap]
    down = np.pad(down, ((0, 0), (0, down.shape[1] % 2)))
    return Filter(first_column, stop - first_column, top, down, left[::LANES] - first_column, across)


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
    return np.frombuffer(cast(memoryview, plane), np.uint8).reshape(-1, plane.line_size)[: plane.height]


def rescale(planes: Sequence[U8], filters: Sequence[Filter], matrix: F32, out: U8) -> None:
    """Write the RGB picture of a frame's planes.

    Args:
        planes: Luma, blue and red difference, each uint8 (H, W or more: rows may be padded), C order in memory.
        filters: Of luma and of both chroma planes.
        matrix: Of ``colour_matrix``.
        out: uint8 (3, H, W), the size that the filters make.
    """
    luma, chroma = filters
    _rescale(
        *planes,
        *(luma.first_column, luma.num_columns, luma.top, luma.down, luma.left, luma.across),
        *(chroma.first_column, chroma.num_columns, chroma.top, chroma.down, chroma.left, chroma.across),
        *(matrix, out),
    )


def rescale_plane(plane: U8, plane_filter: Filter, out: U8) -> None:
    """Write a scaled plane into ``out``, uint8 (H, W); of ``plane`` rows may be padded, C order in memory."""
    f = plane_filter
    _rescale_plane(plane, f.first_column, f.num_columns, f.top, f.down, f.left, f.across, out)


def _typed_block(typing: Any, rows: Any, start: Any, across: Any, block: Any, out: Any) -> Any:
    """Return the types and the code of ``_block``.

    Its vectors are spelt out, because numba leaves LLVM's search for them in straight code off.
    """
    signature = types.void(rows, types.int64, across, types.int64, out)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        vector, whole = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)
        source, weights, result = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2, 4)
        )
        source_width, result_width = (cgutils.unpack_tuple(builder, a.shape)[1] for a in (source, result))
        taps = cgutils.unpack_tuple(builder, weights.shape)[1]
        zeros = ir.Constant(vector, [0.0] * LANES)
        sums = [cgutils.alloca_once_value(builder, zeros) for _ in range(ROWS)]
        first_weight = builder.mul(builder.mul(arguments[3], taps), whole(LANES))
        with cgutils.for_range(builder, taps) as loop:
            place = builder.add(first_weight, builder.mul(loop.index, whole(LANES)))
            weight = builder.load(builder.bitcast(builder.gep(weights.data, [place]), vector.as_pointer()), align=4)
            for row, total in enumerate(sums):
                place = builder.add(builder.mul(source_width, whole(row)), builder.add(arguments[1], loop.index))
                pixel = builder.insert_element(zeros, builder.load(builder.gep(source.data, [place])), whole(0))
                pixels = builder.shuffle_vector(pixel, zeros, ir.Constant(ir.VectorType(ir.IntType(32), LANES), None))
                product = builder.fmul(pixels, weight, flags=("contract",))
                builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
        for row, total in enumerate(sums):
            place = builder.add(builder.mul(result_width, whole(row)), builder.mul(arguments[3], whole(LANES)))
            pointer = builder.bitcast(builder.gep(result.data, [place]), vector.as_pointer())
            builder.store(builder.load(total), pointer, align=4)
        return context.get_dummy_value()

    return signature, generate


_block: Any = intrinsic(_typed_block)
"""Write ``LANES`` results for each of ``ROWS`` rows: out[r, LANES * block :] = rows[r, start :] @ across[block]."""


@kernel(fastmath=FASTMATH)
def _scale(
    plane: U8, first: int, width: int, top: I64, down: F32, left: I64, across: F32, y: int, rows: F32, out: F32
) -> None:
    """Write rows ``y`` to ``y + ROWS`` of the scaled plane into ``out``; behind the last it is repeated."""
    end = plane.shape[0] - 1
    for r in range(ROWS):
        i = min(y + r, top.shape[0] - 1)
        row = rows[r]
        for k in range(0, down.shape[1], 2):
            one = plane[min(top[i] + k, end), first : first + width]
            two = plane[min(top[i] + k + 1, end), first : first + width]
            w1, w2 = down[i, k], down[i, k + 1]
            if k == 0:
                for x in range(width):
                    row[x] = w1 * np.float32(one[x]) + w2 * np.float32(two[x])
            else:
                for x in range(width):
                    row[x] += w1 * np.float32(one[x]) + w2 * np.float32(two[x])
    for block in range(left.shape[0]):
        _block(rows, left[block], across, block, out)


@kernel(fastmath=FASTMATH, inline="always")
def _byte(value: Any) -> Any:
    return min(max(np.int32(value), np.int32(0)), np.int32(255))


@kernel(fastmath=FASTMATH)
def _rescale(
    luma: U8,
    blue: U8,
    red: U8,
    first: int,
    width: int,
    top: I64,
    down: F32,
    left: I64,
    across: F32,
    chroma_first: int,
    chroma_width: int,
    chroma_top: I64,
    chroma_down: F32,
    chroma_left: I64,
    chroma_across: F32,
    matrix: F32,
    out: U8,
) -> None:
    """Write the picture into ``out`` (3, H, W): the fields of both filters one by one, as compiled code takes them."""
    rows = np.zeros((ROWS, width + across.shape[1]), np.float32)  # weights of 0 reach behind the last column
    chroma_rows = np.zeros((ROWS, chroma_width + chroma_across.shape[1]), np.float32)
    scaled = np.empty((3, ROWS, left.shape[0] * LANES), np.float32)
    m0, m1, m2, m3, m4, m5, m6, m7 = matrix
    for y in range(0, out.shape[1], ROWS):
        _scale(luma, first, width, top, down, left, across, y, rows, scaled[0])
        for plane, part in ((blue, scaled[1]), (red, scaled[2])):
            _scale(
                plane,
                chroma_first,
                chroma_width,
                chroma_top,
                chroma_down,
                chroma_left,
                chroma_across,
                y,
                chroma_rows,
                part,
            )
        for r in range(min(ROWS, out.shape[1] - y)):
            light, blueness, redness = scaled[0, r], scaled[1, r], scaled[2, r]
            out_red, out_green, out_blue = out[0, y + r], out[1, y + r], out[2, y + r]
            for x in range(out.shape[2]):
                level, u, v = m0 * light[x], blueness[x], redness[x]
                out_red[x] = _byte(level + m1 * v + m5)
                out_green[x] = _byte(level + m2 * u + m3 * v + m6)
                out_blue[x] = _byte(level + m4 * u + m7)


@kernel(fastmath=FASTMATH)
def _rescale_plane(plane: U8, first: int, width: int, top: I64, down: F32, left: I64, across: F32, out: U8) -> None:
    rows = np.zeros((ROWS, width + across.shape[1]), np.float32)
    scaled = np.empty((ROWS, left.shape[0] * LANES), np.float32)
    for y in range(0, out.shape[0], ROWS):
        _scale(plane, first, width, top, down, left, across, y, rows, scaled)
        for r in range(min(ROWS, out.shape[0] - y)):
            for x in range(out.shape[1]):
                out[y + r, x] = _byte(scaled[r, x] + np.float32(0.5))
