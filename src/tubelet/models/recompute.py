"""Activation checkpointing: keep a block's input only, and compute the block once more in the backward pass.

Paper: Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016). An option of the run, not of the weights:
``VideoModel.recompute_activations`` turns it on, state-dict keys and every number stay as they are. Stochastic depth is
an input of a block, so both passes drop the same residuals. What it saves and costs is measured by
``benchmarks/models.py``.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, *inputs: Tensor | None, recompute: bool) -> Tensor:
    """Call a block; with ``recompute`` nothing but its inputs is kept for the backward pass."""
    if not recompute or not torch.is_grad_enabled():
        result: Tensor = block(*inputs)
        return result
    if any(isinstance(module, _BatchNorm) for module in block.modules()):
        recomputed: Tensor = checkpoint(
            block, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=partial(_contexts, block)
        )
        return recomputed
    recomputed = checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
    return recomputed


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_left_alone(block)


@contextmanager
def _statistics_left_alone(block: nn.Module) -> Iterator[None]:
    """Let batch normalisation leave its running statistics as they are: the first pass has counted the batch."""
    # Without its running statistics it would keep other tensors for the backward pass, which checkpointing refuses.
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, number) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, number
