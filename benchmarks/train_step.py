"""What training costs: a step in each precision, training on real files against its parts, memory over many steps.

    python benchmarks/train_step.py [--threads N] [--rounds 7] [--memory-steps 1000]

``step``: forward, loss, backward, SGD of a fixed batch, float32 against bfloat16 autocast, interleaved, so that the
ratio holds on a busy machine; ``models/precision.py`` takes its default from these numbers. ``run``: the whole training
loop, reading 340x256 H.264 files with one worker, against the slower of that worker alone and the model alone on a
batch that is there; interleaved, the ratio within each round. They need a core each: on fewer than two idle cores the
ratio says how busy the machine was. ``memory``: resident memory of the training process through ``--memory-steps``
steps (0 leaves it out). About six minutes on two idle cores.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from machine import median_seconds, write_result
from videos import make_videos

from tubelet.data.loader import batches
from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace
from tubelet.losses import softmax_cross_entropy
from tubelet.models.model import BackboneConfig, HeadConfig, VideoModel, measure_cost
from tubelet.models.precision import compute_dtype
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.vivit import vivit_config
from tubelet.tasks import task_config
from tubelet.train.config import RunConfig
from tubelet.train.distributed import World
from tubelet.train.log import RunLog, StepReport
from tubelet.train.loop import train_step, train_steps
from tubelet.train.opening import open_session
from tubelet.train.optim import OptimConfig
from tubelet.train.session import Session
from tubelet.types import Preprocess

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
RUNS: dict[str, BackboneConfig] = {
    "ViViT nano 112 x 16, the worker limits": vivit_config("nano", size=112, num_frames=16),
    "ViViT tiny 112 x 16, the model limits": vivit_config("tiny", size=112, num_frames=16),
    "R(2+1)D-18 112 x 8, the model limits": ResNet3DConfig(depth=18, convolution="2plus1d", size=112, num_frames=8),
}
RUN_BATCH, RUN_STEPS, NUM_CLIPS = 8, 10, 4096


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


def step_rows() -> Iterator[dict[str, Any]]:
    """Yield a row for each model."""
    for name, size, num_frames, patch in CASES:
        variants = {str(d): training_step(name, size, num_frames, patch, d) for d in (torch.float32, torch.bfloat16)}
        for step in variants.values():
            step()
        seconds = median_seconds(variants, rounds=5)
        cost = measure_cost(vivit_config(name, size=size, num_frames=num_frames, patch=patch))
        slow, fast = seconds["torch.float32"], seconds["torch.bfloat16"]
        yield {
            "what": "step",
            "model": f"ViViT {name} {size} x {num_frames}, patch {patch}",
            "parameters_M": round(cost.num_parameters / 1e6, 2),
            "forward_GMAC": round(cost.forward_gmacs, 3),
            "float32_ms_per_clip": round(slow / BATCH * 1e3, 2),
            "bfloat16_ms_per_clip": round(fast / BATCH * 1e3, 2),
            "clips_per_s": round(BATCH / fast, 1),
            "ratio": round(slow / fast, 2),
            "default": str(compute_dtype(torch.device("cpu"))),
        }


def make_manifest(folder: Path) -> Path:
    """Write a manifest of many clips of a video; return its folder."""
    number = range(NUM_CLIPS)
    (folder / "videos").mkdir()
    (video,) = make_videos([], folder / "videos", 12)
    clips = pa.table(
        {
            "clip_id": [f"clip-{i}" for i in number],
            "video": [video.name] * NUM_CLIPS,
            "start_seconds": pa.array([0.0] * NUM_CLIPS),
            "end_seconds": pa.array([10.0] * NUM_CLIPS),
            "split": ["val" if i < RUN_BATCH else "train" for i in number],
            "labels": pa.array([[i % NUM_CLASSES] for i in number], type=pa.list_(pa.int32())),
        }
    )
    space = LabelSpace(name="bench", names=tuple(f"class {k}" for k in range(NUM_CLASSES)))
    common: dict[str, Any] = {
        "kind": "classify",
        "multi_label": False,
        "label_space": space,
        "licence": "",
        "source": "",
    }
    write_manifest(folder / "bench", name="bench", clips=clips, media_root=folder / "videos", **common)
    return folder / "bench"


def session_of(folder: Path, backbone: BackboneConfig, *, num_steps: int) -> Session:
    """Return a run of one data set, read by one worker."""
    run = RunConfig(
        name="bench",
        backbone=backbone,
        tasks=(task_config(folder / "bench"),),
        preprocess=Preprocess(size=backbone.size, num_frames=backbone.num_frames, frame_stride=2, fps=30),
        optim=OptimConfig(learning_rate=1e-3),
        batch_size=RUN_BATCH,
        num_steps=num_steps,
        num_workers=1,
        checkpoint_every_steps=10**9,
        checkpoint_every_minutes=10**6,
    )
    return open_session(run, Path(tempfile.mkdtemp(dir=folder)), world=World(device=torch.device("cpu")))


def worker_alone(session: Session) -> float:
    """Return the clips per second of its worker, the first batch aside."""
    options: dict[str, Any] = {"num_workers": session.run.num_workers, "seed": session.run.seed}
    with closing(batches(session.datasets, session.mixture, **options)) as loader:  # type: ignore[type-var]
        next(loader)
        began = time.perf_counter()
        number = sum(len(batch.sample_ids) for _, (batch,) in loader)
    return number / (time.perf_counter() - began)


def model_alone(session: Session) -> float:
    """Return the clips per second of its steps on a batch that is there."""
    ((_, parts),) = islice(batches(session.datasets, session.mixture, num_workers=0, seed=0), 1)
    parts = tuple(session.tasks[part.task].augmented(part) for part in parts)
    met = session.meet(parts)
    train_step(session, parts, met, learning_rate=1e-3)
    began = time.perf_counter()
    for _ in range(RUN_STEPS):
        train_step(session, parts, met, learning_rate=1e-3)
    return RUN_STEPS * RUN_BATCH / (time.perf_counter() - began)


def whole_loop(session: Session, on_step: Callable[[StepReport], None] | None = None) -> tuple[float, float]:
    """Return the clips per second of training, the first two steps aside, and the share of the time it waited."""
    ends: list[float] = []
    waits: list[float] = []

    def note(report: StepReport) -> None:
        ends.append(time.perf_counter())
        waits.append(report.data_wait)
        if on_step is not None:
            on_step(report)

    log = RunLog(session.out, num_steps=session.num_steps, start_step=0, batch_size=RUN_BATCH, progress=False)
    with session.checkpoints, log:
        # The last step's checkpoint is written beside and after it.
        train_steps(session, log, score=dict, on_step=note)
    return (len(ends) - 2) * RUN_BATCH / (ends[-1] - ends[1]), waits[-1]


def run_rows(folder: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each model."""
    for name, backbone in RUNS.items():
        found = []
        for _ in range(rounds):
            worker = worker_alone(session_of(folder, backbone, num_steps=RUN_STEPS))
            model = model_alone(session_of(folder, backbone, num_steps=RUN_STEPS))
            training, wait = whole_loop(session_of(folder, backbone, num_steps=RUN_STEPS))
            found.append((worker, model, training, wait, training / min(worker, model)))
        worker, model, training, wait, ratio = (statistics.median(column) for column in zip(*found, strict=True))
        yield {
            "what": "run",
            "model": name,
            "worker_alone_clips_per_s": round(worker, 1),
            "model_alone_clips_per_s": round(model, 1),
            "clips_per_s": round(training, 1),
            "ratio": round(ratio, 3),
            "data_wait": round(wait, 3),
        }


def memory_rows(folder: Path, num_steps: int) -> Iterator[dict[str, Any]]:
    """Yield a row: resident memory after a tenth of the steps, at the end, and the most in between."""
    resident: list[float] = []
    session = session_of(folder, replace(vivit_config("nano", size=64, num_frames=8)), num_steps=num_steps)
    rate, wait = whole_loop(session, on_step=lambda _: resident.append(resident_mib()))
    early, late = resident[num_steps // 10], resident[-1]
    yield {
        "what": "memory",
        "model": f"ViViT nano 64 x 8, {num_steps} steps",
        "clips_per_s": round(rate, 1),
        "data_wait": round(wait, 3),
        "early_MiB": round(early),
        "late_MiB": round(late),
        "peak_MiB": round(max(resident)),
        "ratio": round(late / early, 3),
    }


def resident_mib() -> float:
    """Return the memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Measure and write ``benchmarks/results/train_step.json``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory-steps", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = list(step_rows())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_manifest(folder)
        rows += run_rows(folder, options.rounds)
        if options.memory_steps:
            rows += memory_rows(folder, options.memory_steps)
    write_result("train_step", rows)


if __name__ == "__main__":
    main()
