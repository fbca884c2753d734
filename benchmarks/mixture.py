"""What the order of training costs: its plan, and steps that mix tasks against steps of one task.

    python benchmarks/mixture.py [--rounds 9]

``plan``: time to make a ``Mixture`` of 10^7 steps, bytes that it holds, time of one step's parts; for sets of 10^8
examples, with and without class-aware sampling. ``step``: processor time of a training step (forward, loss, backward,
SGD) of a small ViViT with three heads, a batch from one task (``weighted``) against the same number of clips from
several (``mixed``, the variant paper A, 3.2, dropped as less efficient); interleaved, one thread.
"""

import argparse
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from machine import median_seconds, write_result

from tubelet.data.class_turns import class_turns
from tubelet.data.mixture import STRATEGIES, Mixture
from tubelet.losses import sigmoid_cross_entropy
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.precision import default_autocast
from tubelet.models.vivit import vivit_config

SIZES = {"kinetics": 240_000, "moments": 790_000, "ava": 210_000}
"""Orders of magnitude of three sets; the last is localised."""
NUM_CLASSES, BOXES_A_CLIP, NUM_STEPS = 400, 3, 8


def plan_rows(num_steps: int, batch_size: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each strategy, and one for each kind of sampling of 10^8 examples."""
    for strategy in STRATEGIES:
        yield plan_row(strategy, SIZES, strategy=strategy, num_steps=num_steps, batch_size=batch_size)
    many = 10**8
    labels = (np.random.default_rng(0).zipf(1.3, many) % 10_000).astype(np.int32)
    yield plan_row("10^8 examples", {"many": many}, num_steps=num_steps, batch_size=batch_size)
    began = time.process_time()
    turns = class_turns(np.arange(many + 1), labels, 10_000, "square_root", 0.001)
    assert turns is not None
    grouped = time.process_time() - began
    bytes_held = turns.order.nbytes + turns.sizes.nbytes + turns.turns.nbytes
    options: dict[str, Any] = {"num_steps": num_steps, "batch_size": batch_size, "turns": {"many": turns}}
    row = plan_row("10^8 examples, square root of classes", {"many": many}, **options)
    yield row | {"make_s": row["make_s"] + grouped, "held_kib": row["held_kib"] + bytes_held / 1024}


def plan_row(what: str, sizes: dict[str, int], **options: Any) -> dict[str, Any]:
    """Make a mixture and some of its steps."""
    tracemalloc.start()
    began = time.process_time()
    mixture = Mixture(sizes, seed=0, **options)
    made = time.process_time() - began
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    mixture.parts(0)
    began = time.process_time()
    for step in range(500):
        mixture.parts(step)
    seconds = (time.process_time() - began) / 500
    return {"what": f"plan, {what}", "make_s": made, "held_kib": held / 1024, "step_ms": 1e3 * seconds}


def training_steps(strategy: str, name: str, size: int, batch_size: int) -> Callable[[], None]:
    """Return a function that does a few steps on random clips."""
    torch.manual_seed(0)
    heads = {
        task: HeadConfig(kind="localise" if task == "ava" else "classify", num_classes=NUM_CLASSES) for task in SIZES
    }
    model = VideoModel(vivit_config(name, size=size, num_frames=8, patch=16), heads)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    mixture = Mixture(SIZES, strategy=strategy, batch_size=batch_size, num_steps=NUM_STEPS, seed=0)
    video = torch.randn(batch_size, 3, 8, size, size)

    def steps() -> None:
        for step in range(NUM_STEPS):
            for part in mixture.parts(step):
                number = len(part.slots)
                boxes = clip = None
                if part.task == "ava":
                    boxes = torch.tensor([[4.0, 4.0, 40.0, 60.0]]).repeat(BOXES_A_CLIP * number, 1)
                    clip = torch.arange(number).repeat_interleave(BOXES_A_CLIP)
                with default_autocast(torch.device("cpu")):
                    logits = model(video[:number], part.task, boxes=boxes, box_clip=clip)
                    loss = sigmoid_cross_entropy(logits, torch.zeros_like(logits)).mean()
                torch.autograd.backward(loss * number / batch_size)
            optimizer.step()
            optimizer.zero_grad()

    return steps


def step_rows(rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each model and size of batch."""
    for name, size, batch_size in (("micro", 64, 8), ("micro", 64, 32), ("mini", 96, 8), ("mini", 96, 32)):
        variants = {strategy: training_steps(strategy, name, size, batch_size) for strategy in ("weighted", "mixed")}
        for steps in variants.values():
            steps()
        seconds = median_seconds(variants, rounds=rounds, clock=time.process_time)
        clips = NUM_STEPS * batch_size
        yield {
            "what": f"step, ViViT {name} {size} px, batch {batch_size}",
            "weighted_ms_per_clip": 1e3 * seconds["weighted"] / clips,
            "mixed_ms_per_clip": 1e3 * seconds["mixed"] / clips,
            "mixed_to_weighted": seconds["mixed"] / seconds["weighted"],
        }


def main() -> None:
    """Measure, print and write ``results/mixture.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    write_result("mixture", [*plan_rows(10**7, 64), *step_rows(options.rounds)])


if __name__ == "__main__":
    main()
