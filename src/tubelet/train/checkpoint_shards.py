"""A run's tensors in files: every rank writes what it holds of them, and any number of ranks reads them back.

The files are safetensors, never pickles: ``torch.distributed.checkpoint`` plans who writes what (a tensor that all
ranks hold is written once) and cuts what is read to what a rank needs. Its ``save`` is one call, which talks to the
other ranks while it writes; here planning (which talks) and writing (which does not) are apart, so that writing can go
on beside the training. Importing this takes a second, so ``checkpoint.py`` does it when it is needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import MetadataIndex, TensorStorageMetadata
from torch.distributed.tensor import DTensor

from tubelet.train.distributed import naming_lost_ranks
from tubelet.types import InputError

FILE_BYTES = 32 * 2**20
"""The writer makes a file in memory first and holds Python's lock meanwhile, so the training stands still that long."""


class CheckpointShards(DefaultSavePlanner):
    """Copies of what this rank writes, taken when it is made; every rank makes one at the same time.

    Args:
        tensors: By name. The same on every rank, but for what a rank holds of a ``DTensor``.
        folder: Where the files go.
        process_group: Of the ranks, on the CPU; None in a process of its own.
    """

    def __init__(self, tensors: Mapping[str, Tensor], folder: Path, *, process_group: dist.ProcessGroup | None) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        rank = dist.get_rank(process_group) if process_group else 0
        self._writer = HuggingFaceStorageWriter(
            str(folder), fqn_to_index_mapping=_file_numbers(tensors), save_distributed=True
        )
        # Otherwise it goes through a CUDA stream wherever there is a GPU; what it writes is on the CPU already.
        self._writer.per_thread_copy_ahead = 0
        self._writer.set_up_storage_writer(rank == 0)
        self.set_up_planner(dict(tensors), is_coordinator=rank == 0)
        local = self._writer.prepare_local_plan(self.create_local_plan())
        # Every rank cuts the same list of plans in the same way, so nothing needs to be sent back.
        plans, _ = self.create_global_plan(gathered(local, process_group))
        self._plan = self.finish_plan(self._writer.prepare_global_plan(plans)[rank])
        self._copies = {item.index.fqn: _copied(tensors[item.index.fqn]) for item in self._plan.items}
        self.state_dict = {}

    def lookup_object(self, index: MetadataIndex) -> Tensor:
        """Return the copy, where the class above would take the tensor itself, which the next step changes."""
        return self._copies[index.fqn]

    def write(self) -> list[str]:
        """Write the copies and sync them; return the names of the files."""
        results = self._writer.write_data(self._plan, self).wait()
        self._copies = {}
        return sorted({result.storage_data.relative_path for result in results})


def read_shards(folder: Path, targets: Mapping[str, Tensor]) -> None:
    """Fill ``targets`` in place; of a ``DTensor`` only what this rank holds is read.

    Raises:
        InputError: A tensor is not there or has another shape; nothing is changed then.
    """
    found = shard_shapes(folder)
    missing = sorted(set(targets) - set(found))
    shapes = [
        f"{name} {tuple(found[name][0])} for {tuple(target.shape)}"
        for name, target in targets.items()
        if name in found and found[name][0] != target.shape
    ]
    if missing or shapes:
        raise InputError(f"{folder}: does not fit this model: missing {missing}, other shape {shapes}")
    reader = HuggingFaceStorageReader(str(folder))
    metadata = reader.read_metadata()
    reader.set_up_storage_reader(metadata, is_coordinator=True)
    planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    planner.set_up_planner(dict(targets), metadata, is_coordinator=True)
    plan = reader.prepare_local_plan(planner.create_local_plan())
    reader.read_data(planner.finish_plan(plan), planner).wait()


def shard_shapes(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Return the whole shape and the type of every tensor."""
    metadata = HuggingFaceStorageReader(str(folder)).read_metadata()
    return {
        name: (entry.size, entry.properties.dtype)
        for name, entry in metadata.state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }


def gathered(value: Any, process_group: dist.ProcessGroup | None) -> list[Any]:
    """Return every rank's ``value``, in the order of the ranks.

    Raises:
        RankLostError: One of them has died or does not answer.
    """
    if process_group is None:
        return [value]
    values: list[Any] = [None] * dist.get_world_size(process_group)
    with naming_lost_ranks():
        dist.all_gather_object(values, value, group=process_group)
    return values


def _file_numbers(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the file of each tensor, from 1; all but those of a single tensor are at most ``FILE_BYTES`` long."""
    numbers, number, room = {}, 0, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if size > room:
            number, room = number + 1, FILE_BYTES
        numbers[name] = number
        room -= size
    return numbers


def _copied(tensor: Tensor) -> Tensor:
    """Return a copy of this rank's part, on the CPU and contiguous, which the format needs."""
    part = tensor.detach()
    part = part.to_local() if isinstance(part, DTensor) else part
    return torch.empty(part.shape, dtype=part.dtype).copy_(part)
