"""The compiled loops of ``rescale.py``, and their innermost steps, with vectors spelt out.

Numba leaves LLVM's search for vectors in straight code off, and finds none across the taps of a filter. In the steps
arrays are in C order, and nothing checks where they end: what each touches is said with it. Loops and steps are one
file, as numba compiles anew what it has kept only where a loop's own file has changed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from tubelet.kernels import kernel

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]

LINE = 64
"""Bytes that come from memory together."""
FASTMATH = {"contract", "nnan", "nsz"}
"""Multiplying and adding may be one instruction; the order of sums stays."""

LANES = 8
"""Rows of the result that are worked on together, side by side in a vector of floats."""
BLOCK = 16
"""Columns that are read, and written, together."""

_INTERLEAVED = {
    1: ((0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15)),
    2: ((0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)),
    4: ((0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)),
}
"""How vectors that lie so far apart are shuffled, in this order, to turn a square of ``LANES``; 8 to 15 are the
second's elements. Each shuffle is one instruction of AVX2."""
_TURNED = (0, 2, 1, 3, 4, 6, 5, 7)
"""Where its columns are then."""
_FLOAT, _BYTE, _INT, _WHOLE = ir.FloatType(), ir.IntType(8), ir.IntType(32), ir.IntType(64)
_MAY_BE_ONE = ("contract",)
"""Multiplying and adding may be one instruction."""


class _Code:
    """Writes the code of a step."""

    def __init__(self, context: Any, builder: ir.IRBuilder, signature: Any, arguments: Sequence[Any]) -> None:
        self._context, self._builder, self._signature, self._arguments = context, builder, signature, arguments

    def data(self, argument: int) -> Any:
        """Return the pointer to the first element of an array."""
        return self._array(argument).data

    def row_length(self, argument: int) -> Any:
        """Return the number of columns of an array."""
        return cgutils.unpack_tuple(self._builder, self._array(argument).shape)[1]

    def _array(self, argument: int) -> Any:
        kind = self._signature.args[argument]
        return self._context.make_array(kind)(self._context, self._builder, self._arguments[argument])

    def load(self, data: Any, place: Any, lanes: int = 1) -> Any:
        """Return the element at a place, or as many elements from there on."""
        pointer = self._builder.gep(data, [place])
        return self._builder.load(pointer if lanes == 1 else self._vector(pointer, lanes), align=1)

    def store(self, vector: Any, data: Any, place: Any) -> None:
        """Write the elements of a vector from a place on."""
        pointer = self._vector(self._builder.gep(data, [place]), vector.type.count)
        self._builder.store(vector, pointer, align=1)

    def _vector(self, pointer: Any, lanes: int) -> Any:
        return self._builder.bitcast(pointer, ir.VectorType(pointer.type.pointee, lanes).as_pointer())

    def times(self, number: Any, constant: int) -> Any:
        """Return a whole number times a constant."""
        return self._builder.mul(number, _WHOLE(constant))

    def plus(self, number: Any, constant: int) -> Any:
        """Return a whole number and a constant added."""
        return self._builder.add(number, _WHOLE(constant))

    def add_product(self, total: Any, pixels: Any, weight: Any) -> None:
        """Add pixels, each times the weight, to the vector of floats kept at ``total``."""
        builder, lanes = self._builder, pixels.type.count
        first = builder.insert_element(_zeros(lanes), weight, _INT(0))
        product = builder.fmul(pixels, self.chosen(first, [0] * lanes), flags=_MAY_BE_ONE)
        builder.store(builder.fadd(builder.load(total), product, flags=_MAY_BE_ONE), total)

    def chosen(self, vector: Any, places: Sequence[int], other: Any = None) -> Any:
        """Return elements of a vector, and of another whose elements are counted on, in an order."""
        mask = ir.Constant(ir.VectorType(_INT, len(places)), list(places))
        return self._builder.shuffle_vector(vector, vector if other is None else other, mask)

    def turned(self, rows: Sequence[Any]) -> list[Any]:
        """Return the columns of a square of ``LANES`` rows."""
        lines = list(rows)
        for apart, (low, high) in _INTERLEAVED.items():
            for i in range(LANES):
                if not i & apart:
                    one, two = lines[i], lines[i + apart]
                    lines[i], lines[i + apart] = self.chosen(one, low, two), self.chosen(one, high, two)
        return [lines[i] for i in _TURNED]


def _zeros(lanes: int) -> ir.Constant:
    """Return a vector of float zeros."""
    return ir.Constant(ir.VectorType(_FLOAT, lanes), [0.0] * lanes)


def _typed_combine_rows(
    typing: Any, plane: Any, x: Any, places: Any, weights: Any, y: Any, columns: Any, to: Any
) -> Any:
    """Scale ``BLOCK`` columns of a plane to ``LANES`` rows, and turn them: a column's rows come side by side.

    columns[to + c, r] = sum over k of weights[y + r, k] * plane[places[y + r, k] + x + c]

    Args:
        typing: Numba's, as of every step.
        plane: Address of uint8 (N,); ``BLOCK`` bytes are read from each place on.
        x: First column.
        places: int64 (H, K), H beyond ``y`` by ``LANES`` or more.
        weights: float32 (H, K).
        y: First row.
        columns: float32 (W, LANES); ``BLOCK`` rows are written.
        to: The first of them.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        code = _Code(context, builder, signature, arguments)
        plane, x, _, _, y, _, to = arguments
        plane = builder.inttoptr(plane, _BYTE.as_pointer())
        places, weights, out = (code.data(i) for i in (2, 3, 5))
        num_taps = code.row_length(2)
        sums = [cgutils.alloca_once_value(builder, _zeros(BLOCK)) for _ in range(LANES)]
        firsts = [builder.mul(code.plus(y, row), num_taps) for row in range(LANES)]
        for total in sums:
            builder.store(_zeros(BLOCK), total)
        with cgutils.for_range(builder, num_taps) as loop:
            for first, total in zip(firsts, sums, strict=True):
                tap = builder.add(first, loop.index)
                pixels = code.load(plane, builder.add(code.load(places, tap), x), BLOCK)
                pixels = builder.zext(pixels, ir.VectorType(_INT, BLOCK))
                pixels = builder.sitofp(pixels, ir.VectorType(_FLOAT, BLOCK))
                code.add_product(total, pixels, code.load(weights, tap))
        rows = [builder.load(total) for total in sums]
        for first in range(0, BLOCK, LANES):
            square = [code.chosen(row, range(first, first + LANES)) for row in rows]
            for c, column in enumerate(code.turned(square), first):
                code.store(column, out, code.times(code.plus(to, c), LANES))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, places, weights, types.int64, columns, types.int64), generate


def _typed_combine_columns(typing: Any, columns: Any, first: Any, weights: Any, x: Any, num_taps: Any, out: Any) -> Any:
    """Scale the columns of ``LANES`` rows to one column: out[x] = sum over k of weights[x, k] * columns[first + k].

    Args:
        typing: Numba's.
        columns: float32 (W, LANES); ``num_taps`` rows are read.
        first: The first of them.
        weights: float32 (N, num_taps).
        x: Row of weights and of ``out``.
        num_taps: A constant where it can be: the sum is written out then.
        out: float32 (N, LANES).
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        code = _Code(context, builder, signature, arguments)
        _, first, _, x, num_taps, _ = arguments
        columns, weights, out = (code.data(i) for i in (0, 2, 5))
        total = cgutils.alloca_once_value(builder, _zeros(LANES))
        builder.store(_zeros(LANES), total)
        with cgutils.for_range(builder, num_taps) as loop:
            pixels = code.load(columns, code.times(builder.add(first, loop.index), LANES), LANES)
            code.add_product(total, pixels, code.load(weights, builder.add(builder.mul(x, num_taps), loop.index)))
        code.store(builder.load(total), out, code.times(x, LANES))
        return context.get_dummy_value()

    return types.void(columns, types.int64, weights, types.int64, types.int64, out), generate


def _typed_turn_back(typing: Any, columns: Any, x: Any, out: Any, y: Any) -> Any:
    """Write ``BLOCK`` columns of ``LANES`` rows as rows: out[y + r, x + c] = columns[x + c, r].

    Args:
        typing: Numba's.
        columns: uint8 (W, LANES), W beyond ``x`` by ``BLOCK`` or more.
        x: First column.
        out: uint8 (H, W), H beyond ``y`` by ``LANES`` or more.
        y: First row.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        code = _Code(context, builder, signature, arguments)
        _, x, _, y = arguments
        columns, out = code.data(0), code.data(2)
        square = code.load(columns, code.times(x, LANES), BLOCK * LANES)
        square = code.chosen(square, [c * LANES + r for r in range(LANES) for c in range(BLOCK)])
        for row in range(LANES):
            place = builder.add(builder.mul(code.plus(y, row), code.row_length(2)), x)
            code.store(code.chosen(square, range(row * BLOCK, (row + 1) * BLOCK)), out, place)
        return context.get_dummy_value()

    return types.void(columns, types.int64, out, types.int64), generate


def _typed_fetch(typing: Any, out: Any, place: Any) -> Any:
    """Have the memory of an element of ``out``, counted through all its rows, fetched to be written soon.

    It need not be an element: nothing happens where there is no memory.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        pointer = builder.gep(_Code(context, builder, signature, arguments).data(0), [arguments[1]])
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, _INT, _INT, _INT])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(fetch, [pointer, _INT(1), _INT(3), _INT(1)])  # to write, into the nearest cache, data
        return context.get_dummy_value()

    return types.void(out, types.int64), generate


_fetch: Any = intrinsic(_typed_fetch)
_combine_rows: Any = intrinsic(_typed_combine_rows)
_combine_columns: Any = intrinsic(_typed_combine_columns)
_turn_back: Any = intrinsic(_typed_turn_back)


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
        _combine_rows(plane, x, rows, down, y, columns, x)
    taps = across.shape[1]
    if taps == 2:
        for x in range(left.shape[0]):
            _combine_columns(columns, left[x], across, x, 2, out)
    elif taps == 4:
        for x in range(left.shape[0]):
            _combine_columns(columns, left[x], across, x, 4, out)
    else:
        for x in range(left.shape[0]):
            _combine_columns(columns, left[x], across, x, taps, out)


@kernel(fastmath=FASTMATH)
def _write(columns: U8, y: int, out: U8) -> None:
    """Write ``LANES`` rows, turned (W, LANES), into ``out`` from row ``y`` on, as far as it has them.

    A last block that begins earlier writes some columns again.
    """
    height, width = out.shape
    if y + LANES <= height and width >= BLOCK:
        for block in range(0, width, BLOCK):
            _turn_back(columns, min(block, width - BLOCK), out, y)
    else:
        for r in range(min(LANES, height - y)):
            for x in range(width):
                out[y + r, x] = columns[x, r]


@kernel(fastmath=FASTMATH, inline="always")
def _byte(value: Any) -> Any:
    return min(max(np.int32(value), np.int32(0)), np.int32(255))


@kernel(fastmath=FASTMATH)
def rescale_planes(
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
    """Write the picture of planes in memory into ``out`` (3, H, W); filters as in ``rescale.Filter``."""
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
                _fetch(out[channel], place)
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
def rescale_one(plane: int, stride: int, places: I64, weights: F32, out: U8) -> None:
    """Write a scaled plane in memory into ``out`` (H, W)."""
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
