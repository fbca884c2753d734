"""Checkpoints of several ranks: written by four, read by two and by one, and the other way round."""

from pathlib import Path

import pytest
import torch
from rank_runs import on_ranks
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from tubelet.train.checkpoint import CheckpointError, CheckpointWriter, latest_checkpoint, load_checkpoint, run_tensors
from tubelet.train.checkpoint_shards import CheckpointShards
from tubelet.train.distributed import World, joined
from tubelet.train.optim import OptimConfig, build_optimizer
from tubelet.types import InputError

NUM_RANKS = 4


def build(mesh: DeviceMesh | None = None) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model whose tensors do not divide by the ranks: the last of 5 rows over 4 ranks is empty."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 1))
    if mesh is not None:
        fully_shard(model, mesh=mesh)
    return model, build_optimizer(model, OptimConfig(learning_rate=0.1, optimizer="adamw"))


def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.arange(12.0).reshape(2, 6)).sum().backward()
    optimizer.step()


def whole(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    tensors = {n: t.full_tensor() if isinstance(t, DTensor) else t for n, t in run_tensors(model, optimizer).items()}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def restored(out: Path, mesh: DeviceMesh | None = None) -> dict[str, torch.Tensor]:
    found = latest_checkpoint(out)
    assert found is not None
    model, optimizer = build(mesh)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    load_checkpoint(found, model=model, optimizer=optimizer)
    return whole(model, optimizer)


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def four_ranks(place: Path) -> str:
    with joined("cpu", timeout_seconds=60) as world:
        exchange(world, place)
    return "done"


def exchange(world: World, place: Path) -> None:
    rank, beside = world.rank, world.checkpoint_group
    # Written by one, read by four.
    mesh = DeviceMesh("cpu", list(range(NUM_RANKS)))
    assert_equal(restored(place / "by_one", mesh), load_file(place / "one.safetensors"))
    # Written by four.
    model, optimizer = build(mesh)
    train(model, optimizer)
    with CheckpointWriter(place / "by_four", process_group=beside) as writer:
        writer.save(run_tensors(model, optimizer), step=7, state={"clips": 3})
        before = whole(model, optimizer)
        train(model, optimizer)  # goes on meanwhile, with exchanges of its own
    if rank == 0:
        save_file(before, place / "four.safetensors")
    # Read by two.
    two = DeviceMesh("cpu", [0, 1])
    if rank < 2:
        assert_equal(restored(place / "by_four", two), before)
    # What all hold is written once, whoever writes it.
    with CheckpointWriter(place / "replicas", process_group=beside) as writer:
        writer.save({f"model/{n}": torch.full((100,), float(n)) for n in range(8)}, step=1, state={})
    # What fails on one fails on all, which stays as it was.
    if rank == 2:
        CheckpointShards.write = lambda self: fail()  # type: ignore[method-assign]
    writer = CheckpointWriter(place / "by_four", process_group=beside)
    writer.save(run_tensors(model, optimizer), step=9, state={})
    try:
        writer.wait()
    except CheckpointError as error:
        assert "step 9 could not be written (rank 2: OSError: [Errno 28]" in str(error), error  # noqa: PT017
    else:
        pytest.fail("said nothing")
    # The first looks for all of them; so do they find that nothing can be used.
    if rank == 0:
        (place / "replicas/state/step-00000001/state.json").write_text("")
    with pytest.raises(InputError, match="every checkpoint is damaged"):
        latest_checkpoint(place / "replicas", process_group=beside)


def fail() -> list[str]:
    raise OSError(28, "No space left on device")


def test_any_number_of_ranks_reads_what_any_number_wrote(tmp_path: Path) -> None:
    model, optimizer = build()
    train(model, optimizer)
    with CheckpointWriter(tmp_path / "by_one") as writer:
        writer.save(run_tensors(model, optimizer), step=7, state={})
    save_file(whole(model, optimizer), tmp_path / "one.safetensors")

    assert on_ranks(NUM_RANKS, four_ranks, tmp_path, out=tmp_path / "said") == ["done"] * NUM_RANKS

    found = latest_checkpoint(tmp_path / "by_four")
    assert found is not None
    assert (found.step, found.state) == (7, {"clips": 3})
    of_four = load_file(tmp_path / "four.safetensors")
    assert_equal(restored(tmp_path / "by_four"), of_four)
    # Four ranks and one come to the same weights here, but for rounding.
    for name, tensor in whole(model, optimizer).items():
        torch.testing.assert_close(of_four[name], tensor)
    published = load_file(tmp_path / "by_four/model.safetensors")
    assert_equal(
        {f"model/{name}": t for name, t in published.items()}, {n: of_four[n] for n in of_four if "model/" in n}
    )
    assert sorted(published["0.weight"].shape) == [5, 6]
    sizes = [
        sum(t.numel() for t in load_file(p).values()) for p in (tmp_path / "replicas/state").rglob("*.safetensors")
    ]
    assert sizes == [200] * NUM_RANKS
