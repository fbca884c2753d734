"""Where a model runs, and in which number format, decided by what the hardware can do."""

from typing import Literal

import torch

from tubelet.types import InputError

Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""Of matrix products; ``auto``: ``compute_dtype`` of the device."""


def pick_device(name: str | None) -> torch.device:
    """Return the named device, or a GPU if there is one, or the CPU."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device {name!r} is not one torch knows; expected cpu, cuda or cuda:0") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name!r} was asked for, but torch finds no GPU")
    return device


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype that matrix products use on ``device``: bfloat16 where it pays, else float32.

    On a CPU it pays when the instruction set has bfloat16 products (AVX512_BF16 or AMX): a training step of ViViTs of
    width 96 to 192 was 2.1 to 3.0 times as fast on one and on two cores with AVX512_BF16 and without AMX
    (``benchmarks/train_step.py``). Without those instructions bfloat16 is emulated and slower than float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        flags = torch.cpu.get_capabilities()
        return torch.bfloat16 if flags.get("avx512_bf16") or flags.get("amx_bf16") else torch.float32
    return torch.float32


def run_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """Return the dtype that ``precision`` means on ``device``."""
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return named[precision] if precision != "auto" else compute_dtype(device)


def default_autocast(device: torch.device, precision: Precision = "auto") -> torch.autocast:
    """Return the context in which to run the model and its loss on ``device``; parameters stay float32.

    Only float16 needs its loss scaled (``train.loss_scale``): bfloat16 has float32's range. Losses and heads compute in
    float32 by themselves.
    """
    dtype = run_dtype(device, precision)
    if dtype == torch.float32:
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype=dtype)
