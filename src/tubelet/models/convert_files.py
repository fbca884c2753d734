"""Read the files that published weights come in, as tensors by name; nothing in them is run.

Four kinds of file: torch's ``.pth`` (zip, and the older form of 2019's releases) and safetensors, numpy's ``.npz``,
Caffe2's pickled blobs, and Flax's msgpack. Of the last, names are joined with ``/``: ``Transformer/encoder_norm/bias``,
as in the ``.npz`` of the original ViT.
"""

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tubelet.foreign_pickle import read_foreign_pickle
from tubelet.models.flax_msgpack import read_flax
from tubelet.models.saved import read_tensors
from tubelet.types import InputError

FileKind = Literal["torch", "npz", "caffe2", "flax"]
WRAPPERS = ("state_dict", "model", "module")
"""Keys under which training scripts put the tensors."""


def read_file(path: Path, kind: FileKind) -> dict[str, Tensor]:
    """Return the tensors of a published file by name.

    Raises:
        InputError: It cannot be read, is of another kind, or holds something that is no tensor.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return READERS[kind](path)


def read_torch(path: Path) -> dict[str, Tensor]:
    """Read a ``.pth`` or ``.bin`` with torch's restricted unpickler, or a safetensors file."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # safetensors: eight bytes of length, then JSON
        return read_tensors(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns of pickles that it then refuses
            held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises anything at all
        why = _refused(str(error)) if isinstance(error, pickle.UnpicklingError) else _in_a_line(error)
        raise InputError(f"{path}: expected torch weights, and nothing but tensors ({why})") from None
    for wrapper in WRAPPERS:
        if isinstance(held, dict) and isinstance(held.get(wrapper), dict):
            held = held[wrapper]
    return _tensors(held, path)


def read_npz(path: Path) -> dict[str, Tensor]:
    """Read the arrays of an ``.npz``."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = dict(held)
    except Exception as error:  # a damaged archive raises anything at all
        raise InputError(f"{path}: expected an .npz of arrays ({_in_a_line(error)})") from None
    return _tensors(arrays, path)


def _refused(message: str) -> str:
    """Return what torch's unpickler would not read, without its advice on how to read it all the same."""
    reason = message.strip().split("\n\n")[-2:][0].rsplit("WeightsUnpickler error: ", 1)[-1]
    return " ".join(reason.split(" was not an allowed global")[0].split())[:200]


def _in_a_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:200]


def read_caffe2(path: Path) -> dict[str, Tensor]:
    """Read VMZ's pickles: a dict whose entry ``blobs`` maps names to arrays."""
    held = read_foreign_pickle(path)
    blobs = held.get("blobs") if isinstance(held, dict) else None
    if not isinstance(blobs, dict):
        raise InputError(f"{path}: expected a dict with the entry 'blobs'")
    return _tensors(blobs, path)


def read_flax_weights(path: Path) -> dict[str, Tensor]:
    """Read the parameters of a Flax checkpoint of either layout: ``params``, or the older ``optimizer/target``."""
    held = read_flax(path)
    if "params" in held:
        held = held["params"]
    elif isinstance(held.get("optimizer"), dict) and isinstance(held["optimizer"].get("target"), dict):
        held = held["optimizer"]["target"]
        held = held.get("params", held)  # before Linen, modules put their parameters one level lower
    else:
        raise InputError(f"{path}: expected a Flax train state with 'params' or 'optimizer/target', has {sorted(held)}")
    return _tensors(_flatten(held), path)


READERS: dict[FileKind, Callable[[Path], dict[str, Tensor]]] = {
    "torch": read_torch,
    "npz": read_npz,
    "caffe2": read_caffe2,
    "flax": read_flax_weights,
}


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for name, item in tree.items():
        flat |= _flatten(item, f"{prefix}/{name}" if prefix else str(name))
    return flat


def _tensors(held: Any, path: Path) -> dict[str, Tensor]:
    """Check that every entry is an array of numbers and return float32 tensors (integers stay)."""
    if not isinstance(held, dict) or not held:
        raise InputError(f"{path}: expected a dict of names to arrays, found {type(held).__name__}")
    tensors = {}
    for name, value in held.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            native = value.astype(value.dtype.newbyteorder("="), copy=True)
            value = torch.from_numpy(native)
        if not isinstance(value, Tensor):
            raise InputError(f"{path}: {name!r} is a {type(value).__name__}, expected an array of numbers")
        tensors[str(name)] = value.float() if value.is_floating_point() else value
    return tensors
