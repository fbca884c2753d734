"""One model on several ranks: each holds all of it (DDP) or a part of every tensor (FSDP2).

Either way the gradient of a step is the sum over its pieces and over the ranks, so a loss that was divided by the
step's examples on all ranks gives the gradient that one process would have.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tubelet.models.model import VideoModel
from tubelet.train.distributed import World

Parallel = Literal["ddp", "fsdp"]
NOT_IN_EVERY_STEP = ("heads.", "backbone.mean_norm.")
"""Parameters that some tasks' losses do not reach. DDP waits for a gradient of all it knows of, so these few are summed
apart; searching for them in every graph (``find_unused_parameters``) would also miss those that only an earlier piece
of a mixed step used."""
BLOCK = re.compile(r".*\.blocks\.\d+|.*\bstages\.\d+\.\d+")


class SharedModel:
    """The model as the training loop calls it.

    Args:
        model: On its device, with the weights it starts from. ``fsdp`` replaces its parameters by sharded ones, so the
            optimizer is built afterwards.
        world: The ranks; alone, the model is called as it is.
        parallel: How they share it.
        synchronised_batch_norm: Whether statistics are those of all ranks' clips; otherwise each rank's own (paper B).
    """

    def __init__(
        self, model: VideoModel, world: World, *, parallel: Parallel, synchronised_batch_norm: bool = False
    ) -> None:
        self.model, self._world = model, world
        self._call: nn.Module = model
        self._replica: nn.parallel.DistributedDataParallel | None = None
        self._summed_apart: list[nn.Parameter] = []
        if world.size == 1:
            return
        if synchronised_batch_norm:
            synchronise_batch_norm(model)
        if parallel == "fsdp":
            shard(model, world)
            return
        apart = {name for name, _ in model.named_parameters() if name.startswith(NOT_IN_EVERY_STEP)}
        self._summed_apart = [p for name, p in model.named_parameters() if name in apart and p.requires_grad]
        if any(p.requires_grad and name not in apart for name, p in model.named_parameters()):
            # Kernels of one pixel have the strides of either memory format, their gradients of the other: a small copy.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            ignore = nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
            # Buffers too: statistics of batch normalisation are not handed round before every forward.
            ignore(model, apart | {name for name, _ in model.named_buffers()})  # type: ignore[no-untyped-call]
            self._replica = nn.parallel.DistributedDataParallel(
                model, device_ids=None if world.device.type == "cpu" else [world.device]
            )
            self._call = self._replica

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the model's logits."""
        logits: Tensor = self._call(*args, **kwargs)
        return logits

    @contextmanager
    def piece(self, *, last: bool) -> Iterator[None]:
        """Run forward and backward of one piece of a step; after the ``last`` the gradients are those of all ranks."""
        waits: AbstractContextManager[None] = nullcontext()
        if self._replica is not None and not last:
            waits = self._replica.no_sync()
        with waits:
            yield
        if last:
            self._sum_the_rest()

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of this rank's share of a loss."""
        # DDP and FSDP divide the sum over the ranks by their number; for powers of two this is exact.
        torch.autograd.backward(loss * self._world.size)

    def take_buffers_of_main(self) -> None:
        """Let every rank have rank 0's statistics of batch normalisation, which are what is scored and saved."""
        if self._world.size > 1:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, 0)

    def _sum_the_rest(self) -> None:
        with_gradient = [p for p in self._summed_apart if p.grad is not None]
        if not with_gradient:
            return
        grads = [p.grad for p in with_gradient if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads]) / self._world.size
        torch.distributed.all_reduce(flat)
        for grad, total in zip(grads, torch.split(flat, [grad.numel() for grad in grads]), strict=True):
            grad.copy_(total.view_as(grad))


def shard(model: VideoModel, world: World) -> None:
    """Split every parameter among the ranks (FSDP2): a transformer or residual block at a time, then what is left."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(world.device.type, (world.size,))
    for name, module in list(model.named_modules()):
        if BLOCK.fullmatch(name):
            fully_shard(module, mesh=mesh)
    # A head is apart, so that a step of another task neither gathers nor reduces it.
    for head in model.heads.values():
        fully_shard(head, mesh=mesh)
    fully_shard(model, mesh=mesh)


def local_part(tensor: Tensor) -> Tensor:
    """Return what this rank holds of a tensor; all of it, unless it is sharded."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


class _SumOverRanks(torch.autograd.Function):
    """The sum of every rank's tensor; each rank's loss depends on it, so the gradient is summed as well."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor) -> Tensor:
        total = mine.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


class SynchronisedBatchNorm(nn.BatchNorm3d):
    """Batch normalisation with the statistics of all ranks' clips; torch's own runs on GPUs only."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, T, H, W); B may differ between the ranks."""
        if not self.training:
            return super().forward(x)
        axes = (0, 2, 3, 4)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        number = wide.new_full((1,), x.numel() / self.num_features)
        mine = torch.cat([wide.sum(axes), wide.square().sum(axes), number])
        summed: Tensor = _SumOverRanks.apply(mine)  # type: ignore[no-untyped-call]
        total, squares, count = torch.split(summed, [self.num_features, self.num_features, 1])
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        shape = (1, -1, 1, 1, 1)
        normalised: Tensor = wide * scale.view(shape) + (self.bias - mean * scale).view(shape)
        return normalised.to(x.dtype)


def synchronise_batch_norm(model: nn.Module) -> None:
    """Let every batch normalisation of ``model`` take the statistics of all ranks."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            # The same parameters, buffers and names; only ``forward`` is another.
            module.__class__ = SynchronisedBatchNorm
