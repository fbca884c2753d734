"""Files of every kind, cut, changed, of another kind and hostile: one line, never a traceback."""

import pickle
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_weights import FOLDER
from safetensors.torch import save_file

from tubelet.models.convert_files import FileKind, read_file
from tubelet.types import InputError


def make(kind: str, path: Path) -> tuple[Path, FileKind]:
    """Write a small file of a kind."""
    tensors = {"a.weight": torch.arange(6.0).view(2, 3), "b.bias": torch.ones(4)}
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    if kind in ("zip", "legacy"):
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
        return path, "torch"
    if kind == "safetensors":
        save_file(tensors, path)
        return path, "torch"
    if kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **arrays)
        return path, "npz"
    if kind == "caffe2":
        path.write_bytes(pickle.dumps({"blobs": arrays}, protocol=2))
        return path, "caffe2"
    path.write_bytes((FOLDER / "scenic_joint.msgpack").read_bytes()[:-1])
    return path, "flax"


KINDS = ("zip", "legacy", "safetensors", "npz", "caffe2")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_tensors_come_out_of_every_kind(tmp_path: Path, kind: str) -> None:
    held = read_file(*make(kind, tmp_path / "x"))
    assert {name: tensor.tolist() for name, tensor in held.items()} == {
        "a.weight": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
        "b.bias": [1.0] * 4,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_one_line(tmp_path: Path, kind: str) -> None:
    path, read_as = make(kind, tmp_path / "x")
    whole = path.read_bytes()
    for cut in sorted({0, 1, 2, 3, *range(5, len(whole), max(1, len(whole) // 60)), len(whole) - 1}):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError) as error:
            read_file(path, read_as)
        assert "\n" not in str(error.value), cut


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_gives_tensors_or_one_line(tmp_path: Path, kind: str) -> None:
    path, read_as = make(kind, tmp_path / "x")
    whole, draw = path.read_bytes(), random.Random(0)
    names = set(read_file(path, read_as))
    outcomes = Counter[str]()
    for _ in range(150):
        changed = bytearray(whole)
        changed[draw.randrange(len(whole))] = draw.randrange(256)
        path.write_bytes(changed)
        try:
            found = read_file(path, read_as)
        except InputError as error:
            one_line = "\n" not in str(error) and path.name in str(error)
            outcomes["refused" if one_line else f"unclear: {error}"] += 1
        else:
            outcomes["same names" if set(found) == names else "other names"] += 1
    assert set(outcomes) <= {"refused", "same names", "other names"}
    assert outcomes["refused"] > 0
    assert outcomes["same names"] > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read_as", ["torch", "npz", "caffe2", "flax"])
def test_a_file_of_another_kind_is_one_line(tmp_path: Path, kind: str, read_as: FileKind) -> None:
    path, right = make(kind, tmp_path / "x")
    if right != read_as:
        with pytest.raises(InputError, match="expected"):
            read_file(path, read_as)


def test_what_is_no_array_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(1), "epoch": 3}}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="'epoch' is a int, expected an array of numbers"):
        read_file(tmp_path / "x.pth", "torch")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"blobs": {"a": "text"}}, protocol=2))
    with pytest.raises(InputError, match="'a' is a str, expected an array of numbers"):
        read_file(tmp_path / "x.pkl", "caffe2")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1], protocol=2))
    with pytest.raises(InputError, match="expected a dict with the entry 'blobs'"):
        read_file(tmp_path / "x.pkl", "caffe2")


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "module"])
def test_tensors_inside_a_training_scripts_dict(tmp_path: Path, wrapper: str) -> None:
    torch.save({wrapper: {"a": torch.ones(1)}, "epoch": 3}, tmp_path / "x.pth")
    assert list(read_file(tmp_path / "x.pth", "torch")) == ["a"]


def test_halves_become_float32_and_integers_stay(tmp_path: Path) -> None:
    torch.save({"h": torch.ones(2, dtype=torch.bfloat16), "n": torch.tensor(5)}, tmp_path / "x.pth")
    held = read_file(tmp_path / "x.pth", "torch")
    assert held["h"].dtype == torch.float32
    assert held["n"].dtype == torch.int64
