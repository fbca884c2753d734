"""Read the pickles that published annotation and weights come in, without running what they say.

A pickle is a program; ``pickle.load`` runs it. Here every class it names is refused but numpy's arrays and scalars, and
those are rebuilt from their bytes by this file, so a damaged or hostile pickle ends in one error line.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from tubelet.types import InputError

MAX_BYTES = 1 << 31


class _Dtype:
    """Stands for ``numpy.dtype``."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = {"|": "", "=": "<"}.get(state[1], state[1])

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numbers it stands for; objects, strings and records are refused."""
        kind = np.dtype(self.order + self.name.lstrip("<>|="))
        if kind.kind not in "fiub":
            raise pickle.UnpicklingError(f"array of {kind}")
        return kind


class _Array:
    """Stands for ``numpy.ndarray``; ``__setstate__`` gets version, shape, type, order and bytes."""

    def __init__(self, *_: object) -> None:
        self.value = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state[-5:]
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        flat = np.frombuffer(raw, dtype=dtype.numpy)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _from_buffer(raw: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(raw, dtype=dtype.numpy).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: _Dtype, raw: bytes | str) -> object:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    return np.frombuffer(raw, dtype=dtype.numpy)[0].item()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1" if encoding == "latin1" else "utf-8")


def _bytes(held: object = b"", *_: object) -> bytes:
    """Return bytes; a number would ask for that many zeros."""
    if not isinstance(held, bytes | bytearray | list | str):
        raise pickle.UnpicklingError("bytes of unknown content")
    return held.encode("latin1") if isinstance(held, str) else bytes(held)


_NUMPY = {"_reconstruct": _Array, "ndarray": _Array, "dtype": _Dtype, "scalar": _scalar, "_frombuffer": _from_buffer}
_MODULES = ("numpy", *(f"numpy.{core}.{part}" for core in ("core", "_core") for part in ("multiarray", "numeric")))
_PLAIN = {"set": set, "bytes": _bytes, "bytearray": _bytes}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return our stand-in, or refuse."""
        if module in _MODULES and name in _NUMPY:
            return _NUMPY[name]
        if module in ("builtins", "__builtin__") and name in _PLAIN:
            return _PLAIN[name]
        if (module, name) == ("_codecs", "encode"):
            return _encode
        raise pickle.UnpicklingError(f"names {module}.{name}")


def read_foreign_pickle(path: Path) -> Any:
    """Return dicts, lists, tuples, text, numbers and arrays of numbers of a pickle, of Python 2 as well.

    Raises:
        InputError: It cannot be read, is no pickle, or holds anything else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: {len(data)} bytes; expected a pickle of 2 GiB at most")
    try:
        return _arrays(_Unpickler(io.BytesIO(data), encoding="latin1").load())
    except Exception as error:  # a damaged pickle raises anything at all, from EOFError to MemoryError
        what = " ".join(f"{type(error).__name__} {error}".split())
        raise InputError(f"{path}: expected a pickle of plain containers and arrays of numbers ({what})") from None


def _arrays(value: Any) -> Any:
    """Return the value with arrays in place of their stand-ins."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {_arrays(key): _arrays(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_arrays(item) for item in value)
    return value
