"""The innermost steps of ``rescale.py``, called from its compiled loops, with their vectors spelt out.

Numba leaves LLVM's search for vectors in straight code off, and finds none across the taps of a filter. Arrays are in C
order, and nothing checks where they end: what each step touches is said with it.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

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
        first = builder.insert_element(zeros(lanes), weight, _INT(0))
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


def zeros(lanes: int) -> ir.Constant:
    """Return a vector of float zeros."""
    return ir.Constant(ir.VectorType(_FLOAT, lanes), [0.0] * lanes)


def _combine_rows(typing: Any, plane: Any, x: Any, places: Any, weights: Any, y: Any, columns: Any, to: Any) -> Any:
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
        sums = [cgutils.alloca_once_value(builder, zeros(BLOCK)) for _ in range(LANES)]
        firsts = [builder.mul(code.plus(y, row), num_taps) for row in range(LANES)]
        for total in sums:
            builder.store(zeros(BLOCK), total)
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


def _combine_columns(typing: Any, columns: Any, first: Any, weights: Any, x: Any, num_taps: Any, out: Any) -> Any:
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
        total = cgutils.alloca_once_value(builder, zeros(LANES))
        builder.store(zeros(LANES), total)
        with cgutils.for_range(builder, num_taps) as loop:
            pixels = code.load(columns, code.times(builder.add(first, loop.index), LANES), LANES)
            code.add_product(total, pixels, code.load(weights, builder.add(builder.mul(x, num_taps), loop.index)))
        code.store(builder.load(total), out, code.times(x, LANES))
        return context.get_dummy_value()

    return types.void(columns, types.int64, weights, types.int64, types.int64, out), generate


def _turn_back(typing: Any, columns: Any, x: Any, out: Any, y: Any) -> Any:
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


def _fetch(typing: Any, out: Any, place: Any) -> Any:
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


fetch: Any = intrinsic(_fetch)
combine_rows: Any = intrinsic(_combine_rows)
combine_columns: Any = intrinsic(_combine_columns)
turn_back: Any = intrinsic(_turn_back)
