"""What a run will take, before it is started: memory and the time of a step, without data and without writing."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from tubelet.models.cost import measure_cost
from tubelet.models.model import BackboneConfig, VideoModel
from tubelet.models.precision import Precision, default_autocast, run_dtype
from tubelet.train.config import RunConfig

BUDGET_SECONDS = 60.0
FLOAT_BYTES = 4
USED_SHARE = 0.3
"""Of the speed of large matrix products that a network is guessed to reach where it is not measured."""
LEAST_SHARE = 0.1
"""The same, pessimistically, to decide whether measuring fits the budget."""
STATE_FLOATS = {"sgd": 1, "adamw": 2, "muon": 2}
"""Numbers that an optimizer keeps for each weight; Muon keeps one for the matrices of the blocks, AdamW two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What one process needs."""

    weights_gib: float
    """Weights, gradients, the optimizer's state and a moving average; float32."""
    activations_gib: float
    """Kept from forward to backward for one piece of a step."""
    clip_seconds: float
    """Forward and backward of a clip."""
    how: str
    """Where ``clip_seconds`` comes from."""


def estimate(
    backbone: BackboneConfig,
    *,
    clips_at_once: int,
    optimizer: str,
    averaged: bool,
    frozen: bool,
    recompute: bool,
    device: torch.device,
    precision: Precision,
) -> Estimate:
    """Return what training takes; the heads, small beside the backbone, are left out.

    The time is measured on the device with a clip or a few, where that fits a minute; otherwise it is guessed from the
    network's multiply-accumulates.

    Args:
        backbone: The network.
        clips_at_once: Of a piece of a step.
        optimizer: Key of ``STATE_FLOATS``.
        averaged: Whether a moving average of the weights is kept.
        frozen: Whether the backbone learns nothing.
        recompute: Whether activations are computed again in the backward pass instead of kept.
        device: Where it is trained.
        precision: Of matrix products.
    """

    def build() -> nn.Module:
        whole = VideoModel(backbone, {})
        whole.recompute_activations(recompute=recompute)
        return whole.backbone.train(not frozen).requires_grad_(not frozen)

    number = measure_cost(backbone).num_parameters
    copies = 1 + averaged + (0 if frozen else 1 + STATE_FLOATS[optimizer])
    seconds, how = _clip_seconds(build, backbone, clips_at_once, device, precision, frozen=frozen)
    return Estimate(
        weights_gib=number * copies * FLOAT_BYTES / 2**30,
        activations_gib=activation_bytes(build, _shape(backbone, clips_at_once), device, precision) / 2**30,
        clip_seconds=seconds,
        how=how,
    )


def estimate_run(run: RunConfig, *, num_ranks: int, device: torch.device) -> Estimate:
    """Return what one of ``num_ranks`` processes of a run takes; the arguments of ``estimate`` are the run's."""
    return estimate(
        run.backbone,
        clips_at_once=run.batch_size // (num_ranks * run.accumulation_steps),
        optimizer=run.optim.optimizer,
        averaged=run.optim.ema_decay is not None,
        frozen=run.optim.frozen_backbone,
        recompute=run.recompute_activations,
        device=device,
        precision=run.precision,
    )


def activation_bytes(
    build: Callable[[], nn.Module], shape: tuple[int, ...], device: torch.device, precision: Precision = "auto"
) -> int:
    """Return how many bytes autograd keeps for the backward pass of an input of this shape.

    Computes nothing and allocates nothing: a network of any size is counted in the memory of its names.
    """
    dtype = run_dtype(device, precision)
    kept: dict[int, torch.Tensor] = {}
    with torch.device("meta"):
        model = build()
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with FakeTensorMode(allow_non_fake_inputs=True):
        fakes = {name: torch.empty_like(t, device="cpu").requires_grad_(t.requires_grad) for name, t in tensors.items()}
        weights = {fake.untyped_storage()._cdata for fake in fakes.values()}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()._cdata
            if storage not in weights:
                kept[storage] = tensor  # held, so that no later one gets its number
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32),
        ):
            functional_call(model, fakes, (torch.empty(shape),))
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _clip_seconds(
    build: Callable[[], nn.Module],
    backbone: BackboneConfig,
    clips_at_once: int,
    device: torch.device,
    precision: Precision,
    *,
    frozen: bool,
) -> tuple[float, str]:
    """Return the seconds of a clip's forward and backward, and how they were found."""
    macs = measure_cost(backbone).forward_gmacs * 1e9 * (1 if frozen else 3)
    speed = matrix_speed(run_dtype(device, precision), device)
    affordable = int(BUDGET_SECONDS * LEAST_SHARE * speed / (4 * macs))
    if affordable < 1:
        how = f"guessed: {macs / 1e9:.0f} GMACs at {USED_SHARE:.0%} of the speed of this device's matrix products"
        return macs / (USED_SHARE * speed), how
    number = min(affordable, clips_at_once, 8)
    model = build().to(device)
    video = torch.zeros(_shape(backbone, number), device=device)

    def step() -> None:
        with default_autocast(device, precision):
            features = model(video)
        if features.requires_grad:
            features.float().sum().backward()

    seconds = timed(step, device=device, rounds=3) / number
    return seconds, f"measured on {number} clip{'s' * (number > 1)}"


def matrix_speed(dtype: torch.dtype, device: torch.device) -> float:
    """Return how many multiply-accumulates a second large matrix products do."""
    side = 4096 if device.type == "cuda" else 768
    matrix = torch.ones(side, side, dtype=dtype, device=device)
    return side**3 / timed(lambda: matrix @ matrix, device=device, rounds=5)


def timed(work: Callable[[], object], *, device: torch.device, rounds: int) -> float:
    """Return the median seconds of ``work`` after a first call that does not count."""
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return median(seconds[1:])


def _shape(backbone: BackboneConfig, num_clips: int) -> tuple[int, ...]:
    return (num_clips, 3, backbone.num_frames, backbone.size, backbone.size)
