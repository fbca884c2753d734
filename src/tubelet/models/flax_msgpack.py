"""Read a Flax checkpoint without JAX: msgpack, with Flax's extension types for arrays.

Format: msgpack's specification (github.com/msgpack/msgpack/blob/master/spec.md); Flax, ``flax/serialization.py``
(Apache-2.0): extension 1 is an array and 3 a scalar, each a msgpack tuple (shape, name of the type, bytes in C order);
2 is a complex number. Arrays above 1 GiB are cut into a dict with ``__msgpack_chunked_array__``, ``shape`` and
``chunks``.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from tubelet.types import InputError

ARRAY, COMPLEX, SCALAR = 1, 2, 3
CHUNKED = "__msgpack_chunked_array__"
MAX_DEPTH = 64


class _Damaged(Exception):
    """The bytes are no msgpack."""


_NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"} | {
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
# Code to what follows and the type of its length.
_SIZED = {
    0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I"),
    0xC7: ("extension", ">B"), 0xC8: ("extension", ">H"), 0xC9: ("extension", ">I"),
    0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I"),
    0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("dict", ">H"), 0xDF: ("dict", ">I"),
}  # fmt: skip


class _Reader:
    """Walks over msgpack bytes once."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.place = data, 0

    def take(self, count: int) -> memoryview:
        """Return the next bytes without copying them."""
        if self.place + count > len(self.data):
            raise _Damaged(f"ends inside an object at byte {self.place}")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, form: str) -> Any:
        """Return the next number of a ``struct`` type."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def item(self, depth: int = 0) -> Any:
        """Return the next object."""
        if depth > MAX_DEPTH:
            raise _Damaged(f"more than {MAX_DEPTH} levels")
        code = self.take(1)[0]
        if code <= 0x7F:
            return code
        if code >= 0xE0:
            return code - 0x100
        if code in _CONSTANTS:
            return _CONSTANTS[code]
        if code in _NUMBERS:
            return self.number(_NUMBERS[code])
        kind, length = self._kind_and_length(code)
        return self._sized(kind, length, depth)

    def _kind_and_length(self, code: int) -> tuple[str, int]:
        if code <= 0x8F:
            return "dict", code & 0x0F
        if code <= 0x9F:
            return "list", code & 0x0F
        if code <= 0xBF:
            return "text", code & 0x1F
        if 0xD4 <= code <= 0xD8:
            return "extension", 1 << (code - 0xD4)
        if code not in _SIZED:
            raise _Damaged(f"byte {code:#x} begins no object")
        kind, form = _SIZED[code]
        return kind, self.number(form)

    def _sized(self, kind: str, length: int, depth: int) -> Any:
        if kind == "bytes":
            return bytes(self.take(length))
        if kind == "text":
            return str(self.take(length), "utf-8")
        if kind == "extension":
            return _extension(self.number(">b"), self.take(length))
        if length > len(self.data) - self.place:  # every item takes a byte at least
            raise _Damaged(f"{kind} of {length} items at byte {self.place}")
        if kind == "list":
            return [self.item(depth + 1) for _ in range(length)]
        return _joined({str(self.item(depth + 1)): self.item(depth + 1) for _ in range(length)})


def _extension(code: int, data: memoryview) -> Any:
    reader = _Reader(data)
    if code == COMPLEX:
        return complex(*reader.item())
    if code not in (ARRAY, SCALAR):
        raise _Damaged(f"extension {code}")
    # The bytes stay where they are: a checkpoint of 2 GB is read once and not copied.
    if reader.take(1)[0] != 0x93:
        raise _Damaged("array without shape, type and bytes")
    shape, name = reader.item(), _text(reader.item())
    form = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
    head = reader.take(1)[0]
    if 0xA0 <= head <= 0xBF:
        raw = reader.take(head & 0x1F)
    elif head in form:
        raw = reader.take(reader.number(form[head]))
    else:
        raise _Damaged("array without bytes")
    if name == "bfloat16":  # the upper half of a float32
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    array = np.frombuffer(raw, np.dtype(name).newbyteorder("<")).reshape(shape)
    return array if code == ARRAY else array[()]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _joined(held: dict[str, Any]) -> Any:
    """Put an array that was cut into chunks together; return anything else as it is."""
    if CHUNKED not in held:
        return held
    shape, chunks = held["shape"], held["chunks"]
    flat = np.concatenate([chunks[str(i)] for i in range(len(chunks))])
    return flat.reshape([shape[str(i)] for i in range(len(shape))])


def read_flax(path: Path) -> dict[str, Any]:
    """Return the tree of a Flax checkpoint: nested dicts with numpy arrays (read-only views of the file's bytes).

    Raises:
        InputError: It cannot be read, or is no checkpoint.
    """
    try:
        reader = _Reader(memoryview(path.read_bytes()))
        held = reader.item()
        if reader.place != len(reader.data):
            raise _Damaged(f"{len(reader.data) - reader.place} bytes after the end")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (_Damaged, ValueError, TypeError, KeyError, UnicodeDecodeError, RecursionError, MemoryError) as error:
        what = " ".join(str(error).split())
        raise InputError(f"{path}: expected a Flax checkpoint in msgpack ({what})") from None
    if not isinstance(held, dict):
        raise InputError(f"{path}: holds a {type(held).__name__}, expected a Flax train state")
    return held
