"""Flax's msgpack: bytes written out by the specification, and every way in which a file can be cut."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_weights import FOLDER

from tubelet.models.convert_files import read_file
from tubelet.models.flax_msgpack import read_flax
from tubelet.types import InputError


def pack(value: Any) -> bytes:
    """Write msgpack in its shortest forms, as far as Flax uses them."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return struct.pack("B", value) if 0 <= value < 128 else b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode()
        return bytes([0xA0 | len(raw)]) + raw if len(raw) < 32 else b"\xd9" + bytes([len(raw)]) + raw
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, list):
        return bytes([0x90 | len(value)]) + b"".join(map(pack, value))
    if isinstance(value, dict):
        return b"\xde" + struct.pack(">H", len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())
    return extension(1, array_bytes(value))


def array_bytes(array: np.ndarray, name: str = "") -> bytes:
    return pack([list(array.shape), name or array.dtype.name, array.tobytes()])


def extension(code: int, data: bytes) -> bytes:
    return b"\xc9" + struct.pack(">Ib", len(data), code) + data


def read(tmp_path: Path, data: bytes) -> dict[str, Any]:
    path = tmp_path / "checkpoint"
    path.write_bytes(data)
    return read_flax(path)


def test_every_kind_of_value(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tree = {
        "a": {"kernel": array, "none": None},
        "list": [1, -5, 2.5, True],
        "a name longer than thirty-one bytes": "x",
    }
    held = read(tmp_path, pack(tree))
    assert held["list"] == [1, -5, 2.5, True]
    assert held["a"]["none"] is None
    assert held["a name longer than thirty-one bytes"] == "x"
    assert held["a"]["kernel"].dtype == np.float32
    np.testing.assert_array_equal(held["a"]["kernel"], array)


def test_bfloat16_scalars_complex_and_small_integers(tmp_path: Path) -> None:
    halves = np.array([0x3F80, 0xC020, 0x0000], dtype="<u2")  # 1, -2.5, 0
    data = (
        b"\x84\xa1b" + extension(1, array_bytes(halves, "bfloat16"))
        + b"\xa1s" + extension(3, array_bytes(np.array(7, dtype=np.int32)))
        + b"\xa1c" + extension(2, b"\x92" + pack(1.0) + pack(-2.0))
        + b"\xa1n\xff"
    )  # fmt: skip
    held = read(tmp_path, data)
    assert held["b"].tolist() == [1.0, -2.5, 0.0]
    assert held["s"] == 7
    assert held["c"] == 1 - 2j
    assert held["n"] == -1


def test_arrays_above_a_gigabyte_come_in_chunks(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    chunks = {str(i): part for i, part in enumerate(np.split(array.ravel(), 3))}
    chunked = {"__msgpack_chunked_array__": True, "shape": {"0": 2, "1": 3, "2": 4}, "chunks": chunks}
    np.testing.assert_array_equal(read(tmp_path, pack({"w": chunked}))["w"], array)


def test_both_layouts_of_a_train_state(tmp_path: Path) -> None:
    weights = {"embedding": {"bias": np.ones(2, dtype=np.float32)}}
    path = tmp_path / "checkpoint"
    for state in (
        {"params": weights, "opt_state": {}},
        {"optimizer": {"target": weights, "state": {}}},
        {"optimizer": {"target": {"params": weights}, "state": {}}},
    ):
        path.write_bytes(pack(state))
        assert {name: t.tolist() for name, t in read_file(path, "flax").items()} == {"embedding/bias": [1.0, 1.0]}
    path.write_bytes(pack({"step": 1}))
    with pytest.raises(
        InputError, match=r"expected a Flax train state with 'params' or 'optimizer/target', has \['step'\]"
    ):
        read_file(path, "flax")


def test_a_checkpoint_of_flax_itself_cut_anywhere_is_one_line(tmp_path: Path) -> None:
    whole = (FOLDER / "scenic_joint.msgpack").read_bytes()
    path = tmp_path / "checkpoint"
    for cut in (*range(0, 400, 7), *range(400, len(whole), 9973), len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="expected a Flax checkpoint in msgpack"):
            read_flax(path)
    path.write_bytes(whole + b"\x00")
    with pytest.raises(InputError, match="1 bytes after the end"):
        read_flax(path)


@pytest.mark.parametrize(
    "data",
    [
        b"\xdf\xff\xff\xff\xff\xa1a",  # four thousand million entries in six bytes
        b"\xc1",  # no object begins so
        b"\x91" * 5000,  # lists in lists
        b"\x81\xa1a" + b"\xd4\x09\x00",  # an extension that Flax does not have
        b"\x81\xa1a" + extension(1, pack([[10**6, 10**6], "float32", b"1234"])),
        b"\x81\xa1a" + extension(1, pack([[1], "object", b"12345678"])),
        b"\x81\xa1\xff\x01",  # text that is no UTF-8
    ],
)
def test_hostile_bytes_are_one_line(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError, match="expected a Flax checkpoint in msgpack") as error:
        read(tmp_path, data)
    assert "\n" not in str(error.value)
