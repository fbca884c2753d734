"""Clips per second of a training step: forward, loss, backward, SGD; float32 against bfloat16 autocast.

    python benchmarks/train_step.py [THREADS]

Both precisions are timed in the same run, interleaved, so the ratio holds on a busy machine.
``models/precision.py`` takes its default from these numbers.
"""

import sys
from collections.abc import Callable

import torch
from machine import median_seconds, write_result

from tubelet.losses import softmax_cross_entropy
from tubelet.models.model import HeadConfig, VideoModel, measure_cost
from tubelet.models.precision import compute_dtype
from tubelet.models.vivit import vivit_config

BATCH = 16
NUM_CLASSES = 20
CASES = (
    # size, pixels, frames, patch
    ("nano", 64, 8, 16),
    ("micro", 64, 8, 16),
    ("micro", 64, 8, 8),
    ("micro", 96, 8, 16),
    ("micro", 96, 8, 12),
    ("mini", 96, 8, 16),
    ("mini", 96, 16, 16),
    ("tiny", 96, 16, 16),
)


def training_step(name: str, size: int, num_frames: int, patch: int, dtype: torch.dtype) -> Callable[[], None]:
    """Return a function that does one step on a fixed random batch."""
    torch.manual_seed(0)
    config = vivit_config(name, size=size, num_frames=num_frames, patch=patch, stochastic_depth=0.1)
    model = VideoModel(config, {"task": HeadConfig(kind="classify", num_classes=NUM_CLASSES)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    video = torch.randn(BATCH, 3, num_frames, size, size)
    targets = torch.nn.functional.one_hot(torch.arange(BATCH) % NUM_CLASSES, NUM_CLASSES)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = softmax_cross_entropy(model(video, "task"), targets).mean()
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    """Time every case and write ``benchmarks/results/train_step.json``."""
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    rows = []
    for name, size, num_frames, patch in CASES:
        variants = {str(d): training_step(name, size, num_frames, patch, d) for d in (torch.float32, torch.bfloat16)}
        for step in variants.values():
            step()
        seconds = median_seconds(variants, rounds=5)
        cost = measure_cost(vivit_config(name, size=size, num_frames=num_frames, patch=patch))
        slow, fast = seconds["torch.float32"], seconds["torch.bfloat16"]
        rows.append(
            {
                "vivit": name,
                "pixels": size,
                "frames": num_frames,
                "patch": patch,
                "parameters_M": round(cost.num_parameters / 1e6, 2),
                "forward_GMAC": round(cost.forward_gmacs, 3),
                "float32_ms_per_clip": round(slow / BATCH * 1e3, 2),
                "bfloat16_ms_per_clip": round(fast / BATCH * 1e3, 2),
                "bfloat16_clips_per_s": round(BATCH / fast, 1),
                "ratio": round(slow / fast, 2),
                "default": str(compute_dtype(torch.device("cpu"))),
            }
        )
    write_result("train_step", rows)


if __name__ == "__main__":
    main()
