"""Checkpoints that are damaged, incomplete or of another model."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tubelet.records import read_json, write_json
from tubelet.train.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from tubelet.train.optim import OptimConfig, build_optimizer
from tubelet.types import InputError


@pytest.fixture
def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(64, 64)
    optimizer = build_optimizer(model, OptimConfig(learning_rate=0.1))
    model(torch.ones(1, 64)).sum().backward()
    optimizer.step()
    return model, optimizer


def save(out: Path, trained: tuple[nn.Module, torch.optim.Optimizer], step: int) -> Path:
    return save_checkpoint(out, step=step, model=trained[0], optimizer=trained[1], state={"clips": step * 8})


def test_the_newest_is_found_by_looking_and_two_stay(
    tmp_path: Path, trained: tuple[nn.Module, torch.optim.Optimizer]
) -> None:
    assert latest_checkpoint(tmp_path) is None
    for step in (5, 10, 100):
        save(tmp_path, trained, step)
    assert sorted(p.name for p in (tmp_path / "state").iterdir()) == ["step-00000010", "step-00000100"]
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert (found.step, found.state) == (100, {"clips": 800})
    model = nn.Linear(64, 64)
    optimizer = build_optimizer(model, OptimConfig(learning_rate=0.1))
    load_checkpoint(found, model=model, optimizer=optimizer)
    assert torch.equal(model.weight, trained[0].weight)
    momentum = optimizer.state[model.weight]["momentum_buffer"]
    assert torch.equal(momentum, trained[1].state[trained[0].weight]["momentum_buffer"])
    assert torch.equal(load_file(tmp_path / "model.safetensors")["weight"], trained[0].weight)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "no state", "half a state"])
def test_a_damaged_one_is_passed_over_and_said(
    tmp_path: Path,
    trained: tuple[nn.Module, torch.optim.Optimizer],
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    save(tmp_path, trained, 5)
    newest = save(tmp_path, trained, 10)
    weights = newest / "model.safetensors"
    data = bytearray(weights.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1  # every public format loads this silently
        weights.write_bytes(data)
    elif damage == "cut":
        weights.write_bytes(data[:-100])
    elif damage == "gone":
        (newest / "optimizer.safetensors").unlink()
    elif damage == "no state":
        (newest / "state.json").unlink()
    else:
        (newest / "state.json").write_text('{"step": 10,')
    with caplog.at_level(logging.WARNING):
        found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 5
    assert "checkpoint passed over" in caplog.text
    # The same step can be saved again over the damaged one.
    save(tmp_path, trained, 10)
    again = latest_checkpoint(tmp_path)
    assert again is not None
    assert again.step == 10


def test_one_without_checksums_is_not_trusted(tmp_path: Path, trained: tuple[nn.Module, torch.optim.Optimizer]) -> None:
    folder = save(tmp_path, trained, 5)
    state = read_json(folder / "state.json")
    write_json(folder / "state.json", {k: v for k, v in state.items() if k != "sha256"})
    assert latest_checkpoint(tmp_path) is None


def test_a_failed_write_leaves_the_previous_one(
    tmp_path: Path, trained: tuple[nn.Module, torch.optim.Optimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, trained, 5)
    before = (tmp_path / "model.safetensors").read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tubelet.train.checkpoint.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, trained, 10)
    monkeypatch.undo()
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 5
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_weights_of_another_shape_list_what_differs(
    tmp_path: Path, trained: tuple[nn.Module, torch.optim.Optimizer]
) -> None:
    save(tmp_path, trained, 5)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    other = nn.Linear(32, 64)
    with pytest.raises(InputError, match=r"weights do not fit.*other shape \['weight \(64, 64\) for \(64, 32\)'\]"):
        load_checkpoint(found, model=other, optimizer=build_optimizer(other, OptimConfig(learning_rate=0.1)))
