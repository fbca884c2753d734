"""``torch.compile`` where it pays: on GPUs. On CPUs it does not: 0.9 to 1.1 times, after a minute of compiling."""

import os
import shutil

import torch

from tubelet.models.model import VideoModel
from tubelet.models.resnet3d import ResNet3D

VARIANTS_PER_HEAD = 32
"""Training and scoring; none, one or any number of boxes; one, a fixed or any number of clips; with room to spare."""


def compile_pays(device: torch.device) -> bool:
    """Return whether models run faster compiled on ``device``, and this machine can compile: it needs a C compiler."""
    if device.type != "cuda" or not torch.utils._triton.has_triton():
        return False
    return any(map(shutil.which, filter(None, (os.environ.get("CC"), "gcc", "clang", "cc"))))


def compile_where_it_pays(model: VideoModel, device: torch.device, *, exchanges: bool = False) -> bool:
    """Compile the model in place if that is the fast way on ``device``; return whether it was.

    Call it with the model on its device, after ``recompute_activations``, before it is wrapped for several processes.

    Args:
        model: Its forward pass is replaced; weights and their names stay.
        device: Where it runs.
        exchanges: Whether processes exchange something inside the forward pass (sharded parameters, synchronised batch
            normalisation), which one graph cannot hold.
    """
    # Recomputing leaves batch normalisation's averages alone by changing its modules, which cannot be traced.
    untraceable = exchanges or (isinstance(model.backbone, ResNet3D) and model.backbone.recompute)
    if untraceable or not compile_pays(device):
        return False
    compile_model(model)
    return True


def compile_model(model: VideoModel, *, backend: str = "inductor") -> None:
    """Compile the model's forward pass in place, as one graph from video to logits.

    Args:
        model: Each of its heads is compiled when it is first called.
        backend: Of ``torch.compile``.

    Raises:
        torch._dynamo.exc.Unsupported: In the first call: something cannot be traced.
    """
    # Beyond the limit torch gives up, with fullgraph by an error; its 8 are for all heads, modes and shapes together.
    variants = VARIANTS_PER_HEAD * len(model.heads)
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, variants)
    model.compile(fullgraph=True, backend=backend)
