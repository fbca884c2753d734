"""Checkpoints: written beside the training, damaged, incomplete, or of another model."""

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tubelet.train import checkpoint as checkpoint_module
from tubelet.train import checkpoint_shards
from tubelet.train.checkpoint import (
    CheckpointError,
    CheckpointWriter,
    latest_checkpoint,
    load_checkpoint,
    run_tensors,
)
from tubelet.train.checkpoint_shards import CheckpointShards
from tubelet.train.optim import OptimConfig, build_optimizer
from tubelet.types import InputError

Trained = tuple[nn.Module, torch.optim.Optimizer]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    """A model and its optimizer, whose checkpoint is two files."""
    monkeypatch.setattr(checkpoint_shards, "FILE_BYTES", 20_000)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))
    optimizer = build_optimizer(model, OptimConfig(learning_rate=0.1))
    step(model, optimizer)
    return model, optimizer


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.randn(8, 64)).square().sum().backward()
    optimizer.step()


def fresh() -> Trained:
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))
    return model, build_optimizer(model, OptimConfig(learning_rate=0.1))


def save(
    out: Path, trained: Trained, step: int, *, metrics: Mapping[str, float] | None = None, best: str | None = None
) -> Path:
    with CheckpointWriter(out, best_metric=best) as writer:
        writer.save(run_tensors(*trained), step=step, state={"clips": step * 8}, metrics=metrics)
    return out / "state" / f"step-{step:08d}"


def steps(out: Path) -> list[int]:
    return sorted(int(p.name.removeprefix("step-")) for p in (out / "state").iterdir())


def said_after_some_steps(writer: CheckpointWriter, *, match: str) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            writer.check()
        except CheckpointError as error:
            writer.check()  # said once
            return match in str(error)
    return False


def ends_badly(out: Path, trained: Trained) -> None:
    with CheckpointWriter(out) as writer:
        writer.save(run_tensors(*trained), step=5, state={})
        raise FloatingPointError("loss nan")


def assert_equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def test_the_newest_is_found_by_looking_and_two_stay(tmp_path: Path, trained: Trained) -> None:
    assert latest_checkpoint(tmp_path) is None
    for number in (5, 10, 100):
        save(tmp_path, trained, number)
    assert steps(tmp_path) == [10, 100]
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert (found.step, found.state) == (100, {"clips": 800})


def test_everything_comes_back_as_it_was(tmp_path: Path, trained: Trained) -> None:
    save(tmp_path, trained, 5)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    model, optimizer = fresh()
    load_checkpoint(found, model=model, optimizer=optimizer)
    tensors = run_tensors(*trained)
    assert_equal(run_tensors(model, optimizer), tensors)
    # Weights, the norm's statistics and its counter, and the momentum of each weight.
    assert {"model/0.weight", "model/1.running_mean", "model/1.num_batches_tracked"} < set(tensors)
    assert {"optimizer/0.weight/momentum_buffer", "optimizer/1.bias/momentum_buffer"} < set(tensors)
    assert_equal(load_file(tmp_path / "model.safetensors"), dict(trained[0].state_dict()))
    assert {p.suffix for p in found.folder.iterdir()} == {".json", ".safetensors"}  # nothing that is run when read


def test_the_average_is_what_is_published(tmp_path: Path, trained: Trained) -> None:
    model, optimizer = trained
    averaged = {"0.weight": torch.full((64, 64), 7.0)}
    with CheckpointWriter(tmp_path) as writer:
        writer.save(run_tensors(model, optimizer, averaged=averaged), step=5, state={})
    published = load_file(tmp_path / "model.safetensors")
    assert_equal(published, model.state_dict() | averaged)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    again, its_optimizer = fresh()
    back = {"0.weight": torch.zeros(64, 64)}
    load_checkpoint(found, model=again, optimizer=its_optimizer, averaged=back)
    assert_equal(back, averaged)
    assert_equal(again.state_dict(), model.state_dict())
    with pytest.raises(InputError, match=r"does not fit this model: unexpected \['averaged/0\.weight'\]"):
        load_checkpoint(found, model=again, optimizer=its_optimizer)


@pytest.mark.parametrize(
    "file", ["00001-of-00002.safetensors", "00002-of-00002.safetensors", "state.json", "sums.json"]
)
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_one_is_passed_over_and_said(
    tmp_path: Path, trained: Trained, file: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, trained, 5)
    (path,) = (p for p in save(tmp_path, trained, 10).iterdir() if p.name.endswith(file))
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1  # in the middle of a tensor every public format loads this silently
    path.write_bytes(bytes(data[: {"flip": None, "cut": -9, "empty": 0, "gone": 0}[damage]]))
    if damage == "gone":
        path.unlink()
    with caplog.at_level(logging.WARNING):
        found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 5
    assert "checkpoint passed over, the one before is used" in caplog.text
    assert "step-00000010" in caplog.text
    # The same step can be saved again over the damaged one.
    save(tmp_path, trained, 10)
    again = latest_checkpoint(tmp_path)
    assert again is not None
    assert again.step == 10


def test_any_flipped_bit_is_found(tmp_path: Path, trained: Trained) -> None:
    save(tmp_path, trained, 5)
    folder = save(tmp_path, trained, 10)
    positions = torch.Generator().manual_seed(3)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for _ in range(5):
            place = int(torch.randint(len(whole), (), generator=positions))
            data = bytearray(whole)
            data[place] ^= 1 << int(torch.randint(8, (), generator=positions))
            path.write_bytes(data)
            found = latest_checkpoint(tmp_path)
            # White space between the entries of the checksums themselves may change.
            assert found is not None
            assert found.step == 5 or path.name == "checksums.json", (path.name, place)
        path.write_bytes(whole)


def test_one_that_was_renamed_or_added_to_is_not_trusted(tmp_path: Path, trained: Trained) -> None:
    save(tmp_path, trained, 5)
    newest = save(tmp_path, trained, 10)
    shutil.copytree(newest, newest.with_name("step-00000020"))
    shutil.copy(newest / "state.json", newest / "shard-00002-model-00001-of-00002.safetensors")
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 5


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(tmp_path: Path, trained: Trained) -> None:
    (save(tmp_path, trained, 5) / "checksums.json").unlink()
    with pytest.raises(InputError, match="every checkpoint is damaged; delete the folder to begin this run anew"):
        latest_checkpoint(tmp_path)


def test_what_an_attempt_left_after_the_damage_makes_no_room_for_itself(tmp_path: Path, trained: Trained) -> None:
    """A run that went back before a damaged checkpoint must not count it among those it keeps."""
    save(tmp_path, trained, 5)
    (save(tmp_path, trained, 10) / "state.json").write_text("{}")
    save(tmp_path, trained, 7)
    save(tmp_path, trained, 8)
    assert steps(tmp_path) == [7, 8]


def test_the_best_stays_beside_the_newest(tmp_path: Path, trained: Trained) -> None:
    scores = {1: 0.2, 2: 0.5, 3: float("nan"), 4: 0.5, 5: 0.1, 6: 0.3, 7: None}
    for number, score in scores.items():
        save(tmp_path, trained, number, metrics=None if score is None else {"a/val/top1": score}, best="a/val/top1")
    assert steps(tmp_path) == [4, 6, 7]
    with pytest.raises(InputError, match="best_metric 'a/val/top2' is not scored; scored are a/val/top1"):
        save(tmp_path, trained, 8, metrics={"a/val/top1": 0.0}, best="a/val/top2")


def test_the_run_goes_on_while_a_copy_is_written(
    tmp_path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps after the save change nothing in it, and the next save waits for it."""
    may_write, write = threading.Event(), CheckpointShards.write

    def slow(self: CheckpointShards) -> list[str]:
        assert may_write.wait(timeout=30)
        return write(self)

    monkeypatch.setattr(CheckpointShards, "write", slow)
    before = {name: tensor.clone() for name, tensor in run_tensors(*trained).items()}
    with CheckpointWriter(tmp_path) as writer:
        writer.save(run_tensors(*trained), step=5, state={})
        step(*trained)
        writer.check()  # it has not ended, and that is no error
        assert not (tmp_path / "state" / "step-00000005").exists()
        may_write.set()
        writer.save(run_tensors(*trained), step=10, state={})
        assert (tmp_path / "state" / "step-00000005").exists()
    assert steps(tmp_path) == [5, 10]
    for number, tensors in ((5, before), (10, run_tensors(*trained))):
        model, optimizer = fresh()
        found = checkpoint_module.Checkpoint(folder=tmp_path / f"state/step-{number:08d}", step=number, state={})
        load_checkpoint(found, model=model, optimizer=optimizer)
        assert_equal(run_tensors(model, optimizer), tensors)


def test_what_a_kill_left_is_gone_after_the_next_write(tmp_path: Path, trained: Trained) -> None:
    for name in ("step-00000003.incomplete", "step-00000005.incomplete", "step-00000001.old.incomplete"):
        shutil.copytree(save(tmp_path / "other", trained, 3), tmp_path / "state" / name)
    assert latest_checkpoint(tmp_path) is None
    save(tmp_path, trained, 5)
    save(tmp_path, trained, 5)  # again, as before a step that cannot be done
    assert steps(tmp_path) == [5]


def test_a_failed_write_is_said_and_leaves_the_previous_one(
    tmp_path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, trained, 5)
    before = (tmp_path / "model.safetensors").read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "write_json", full)
    wanted = r"the checkpoint of step 10 could not be written \(.*No space left.*\); the one of step 5 stays in use"
    with pytest.raises(CheckpointError, match=wanted) as caught:
        save(tmp_path, trained, 10)
    assert caught.value.filename == str(tmp_path / "state")
    writer = CheckpointWriter(tmp_path)
    writer.save(run_tensors(*trained), step=10, state={})
    assert said_after_some_steps(writer, match="step 10")
    monkeypatch.undo()
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.step == 5
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert steps(tmp_path) == [5]  # and nothing is left that takes room


def test_what_ended_the_run_is_not_hidden_by_a_failed_write(
    tmp_path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(CheckpointShards, "write", lambda self: (_ for _ in ()).throw(full))
    with pytest.raises(FloatingPointError):
        ends_badly(tmp_path, trained)
    assert "step 5 could not be written (OSError: [Errno 28] No space left on device); there is none" in caplog.text


def test_it_is_time_by_steps_or_by_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("tubelet.train.checkpoint.time.monotonic", lambda: now[0])
    writer = CheckpointWriter(tmp_path)
    assert [n for n in range(1, 8) if writer.due(n, every_steps=3, every_minutes=2)] == [3, 6]
    now[0] += 121
    assert writer.due(5, every_steps=3, every_minutes=2)
    writer.save({"model/a": torch.zeros(1)}, step=5, state={})
    assert not writer.due(5, every_steps=3, every_minutes=2)
    writer.wait()


def test_weights_of_another_shape_list_what_differs(tmp_path: Path, trained: Trained) -> None:
    save(tmp_path, trained, 5)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    other = nn.Sequential(nn.Linear(32, 64), nn.BatchNorm1d(64))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    wanted = r"does not fit this model: missing \[\], other shape \['model/0\.weight \(64, 64\) for \(64, 32\)'\]"
    with pytest.raises(InputError, match=wanted):
        load_checkpoint(found, model=other, optimizer=build_optimizer(other, OptimConfig(learning_rate=0.1)))
    assert_equal(other.state_dict(), before)
