"""What training costs: a step in each precision, training on real files against its parts, memory, resuming.

    python benchmarks/train_step.py [--parts step run memory resume] [--models ViViT-nano ...] [--device cuda]

Rows of parts and models that are not asked for stay as they were. About 15 minutes for all on two idle cores.
``step``: forward, loss, backward, SGD of a fixed batch, float32 against bfloat16 autocast, interleaved, so that the
ratio holds on a busy machine; ``models/precision.py`` takes its default from these numbers.

``run``: the whole training loop, reading 340x256 H.264 files with ``--workers``, interleaved with its parts. ``alone``:
the loader with nobody training, the model on a batch that is there with nobody loading. ``beside``: both at the same
time in two processes that have nothing to do with each other, which is what a loop could reach at best where they
share cores, caches and memory. ``ratio`` and ``ratio_beside``: clips per second of the loop against the slower of the
two, within each round; with one worker and one thread each has a core of two. ``share_of_peak``: the multiply-adds of
training (three times those of forward) against a square matrix product's, the same that is called MFU.
``memory``: resident memory of the training process. ``resume``: a run stopped in its middle against one that is not.
"""

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from machine import RESULTS, facts, median_seconds, write_result
from models import matmul_peak, sync
from safetensors.torch import load_file
from videos import make_videos

from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace
from tubelet.losses import softmax_cross_entropy
from tubelet.models.cost import measure_cost
from tubelet.models.model import BackboneConfig, HeadConfig, VideoModel
from tubelet.models.precision import compute_dtype
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.vivit import vivit_config
from tubelet.tasks import task_config
from tubelet.train.config import RunConfig
from tubelet.train.data import TrainingData, batches_from, open_data
from tubelet.train.distributed import World
from tubelet.train.fit import fit
from tubelet.train.interrupt import RunInterruptedError, StopRequest
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A run to measure."""

    backbone: BackboneConfig
    batch_size: int
    num_steps: int
    """After two that are not counted."""


CPU_RUNS = {
    "ViViT-nano": Case(backbone=vivit_config("nano", size=112, num_frames=16), batch_size=8, num_steps=24),
    "ViViT-tiny": Case(backbone=vivit_config("tiny", size=112, num_frames=16), batch_size=8, num_steps=6),
    "R(2+1)D-18": Case(
        backbone=ResNet3DConfig(depth=18, convolution="2plus1d", size=112, num_frames=8), batch_size=4, num_steps=6
    ),
}
GPU_RUNS = {
    "R(2+1)D-18": Case(
        backbone=ResNet3DConfig(depth=18, convolution="2plus1d", size=112, num_frames=32), batch_size=64, num_steps=40
    ),
    "ViViT-B": Case(backbone=vivit_config("base", size=224, num_frames=32), batch_size=16, num_steps=40),
}
PARTS = ("step", "run", "memory", "resume")
WARM_STEPS = 2
COLUMNS = {
    **{"loader_alone": 1, "model_alone": 1, "loader_beside": 1, "model_beside": 1},
    **{"clips_per_s": 1, "data_wait": 3, "ratio": 3, "ratio_beside": 3},
}
"""Of the rows ``run``, and their digits."""
MEMORY_RUN = Case(backbone=vivit_config("nano", size=64, num_frames=8), batch_size=4, num_steps=1000)
NUM_CLIPS, NUM_SCORED = 8192, 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """What runs are measured with."""

    folder: Path
    world: World
    """This process alone."""
    num_workers: int


def training_step(
    name: str, size: int, num_frames: int, patch: int, dtype: torch.dtype, device: torch.device
) -> Callable[[], None]:
    """Return a function that does one step on a fixed random batch."""
    torch.manual_seed(0)
    config = vivit_config(name, size=size, num_frames=num_frames, patch=patch, stochastic_depth=0.1)
    model = VideoModel(config, {"task": HeadConfig(kind="classify", num_classes=NUM_CLASSES)}).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    video = torch.randn(BATCH, 3, num_frames, size, size, device=device)
    targets = torch.nn.functional.one_hot(torch.arange(BATCH, device=device) % NUM_CLASSES, NUM_CLASSES)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = model(video, "task", residual_scales=model.residual_scales(range(BATCH)))
            loss = softmax_cross_entropy(logits, targets).mean()
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        sync(device)

    return step


def step_rows(device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield a row for each model."""
    for name, size, num_frames, patch in CASES:
        formats = (torch.float32, torch.bfloat16)
        variants = {str(dtype): training_step(name, size, num_frames, patch, dtype, device) for dtype in formats}
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
            "default": str(compute_dtype(device)),
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
            "split": ["val" if i < NUM_SCORED else "train" for i in number],
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


def run_of(case: Case, where: Where, *, num_steps: int | None = None) -> RunConfig:
    """Return a run of one data set; of as many steps as the case has, and the warm ones, if none are given."""
    backbone = case.backbone
    return RunConfig(
        name="bench",
        backbone=backbone,
        tasks=(task_config(where.folder / "bench"),),
        preprocess=Preprocess(size=backbone.size, num_frames=backbone.num_frames, frame_stride=2, fps=30),
        optim=OptimConfig(learning_rate=1e-3),
        batch_size=case.batch_size,
        num_steps=num_steps or WARM_STEPS + case.num_steps,
        num_workers=where.num_workers,
        checkpoint_every_steps=10**9,
        checkpoint_every_minutes=10**6,
    )


def opened(run: RunConfig, where: Where, data: TrainingData) -> Session:
    """Return the run in a folder of its own."""
    return open_session(run, Path(tempfile.mkdtemp(dir=where.folder)), data, world=where.world)


def loader_alone(run: RunConfig, where: Where) -> float:
    """Return the clips per second of its workers, the first steps aside."""
    with closing(batches_from(0, run, open_data(run), where.world, num_workers=run.num_workers)) as loader:
        list(islice(loader, WARM_STEPS))
        began = time.perf_counter()
        number = sum(len(batch.sample_ids) for _, (batch,) in loader)
    return number / (time.perf_counter() - began)


def model_alone(run: RunConfig, where: Where) -> float:
    """Return the clips per second of its steps on a batch that is there."""
    data = open_data(run)
    session = opened(run, where, data)
    ((_, found),) = islice(batches_from(0, run, data, where.world, num_workers=0), 1)
    parts = [session.tasks[part.task].augmented(part.to(session.device)) for part in found]
    counts = session.counted(parts)
    began = 0.0
    for step in range(session.num_steps):
        began = time.perf_counter() if step <= WARM_STEPS else began
        train_step(session, parts, counts, learning_rate=1e-3)
    return (session.num_steps - WARM_STEPS) * run.batch_size / (time.perf_counter() - began)


def both_beside(case: Case, where: Where) -> tuple[float, float]:
    """Return the clips per second of the workers and of the model's steps, each without the other's clips."""
    made = multiprocessing.Value("q", 0)
    # More than will be made: the loader is ended when the model is done.
    endless = run_of(case, where, num_steps=NUM_CLIPS)
    loading = multiprocessing.get_context("fork").Process(target=load_and_count, args=(endless, where, made))
    loading.start()
    while made.value == 0:
        time.sleep(0.01)
    before, began = made.value, time.perf_counter()
    model = model_alone(run_of(case, where), where)
    loader = (made.value - before) / (time.perf_counter() - began)
    loading.terminate()
    loading.join()
    return loader, model


def load_and_count(run: RunConfig, where: Where, made: Any) -> None:
    """Make batches and count their clips."""
    for _, (batch,) in batches_from(0, run, open_data(run), where.world, num_workers=run.num_workers):
        made.value += len(batch.sample_ids)


def whole_loop(
    run: RunConfig, where: Where, on_step: Callable[[StepReport], None] | None = None
) -> tuple[float, float]:
    """Return the clips per second of training, the first steps aside, and the share of the time it waited."""
    ends: list[float] = []
    waits: list[float] = []

    def note(report: StepReport) -> None:
        ends.append(time.perf_counter())
        waits.append(report.data_wait)
        if on_step is not None:
            on_step(report)

    data = open_data(run)
    session = opened(run, where, data)
    batches = batches_from(0, run, data, where.world, num_workers=run.num_workers)
    log = RunLog(session.out, num_steps=session.num_steps, start_step=0, batch_size=run.batch_size, progress=False)
    with session.checkpoints, log, closing(batches):
        # The last step's checkpoint is written beside and after it.
        train_steps(session, batches, log, StopRequest(), score=dict, on_step=note)
    counted = ends[WARM_STEPS - 1 :]
    return (len(counted) - 1) * run.batch_size / (counted[-1] - counted[0]), waits[-1]


def run_row(name: str, case: Case, where: Where, rounds: int) -> dict[str, Any]:
    """Return the row of a model."""
    found = []
    for _ in range(rounds):
        run = run_of(case, where)
        loader, model = loader_alone(run, where), model_alone(run, where)
        beside = both_beside(case, where)
        training, wait = whole_loop(run, where)
        found.append((loader, model, *beside, training, wait, training / min(loader, model), training / min(beside)))
    middle = [statistics.median(column) for column in zip(*found, strict=True)]
    gflop = 6 * measure_cost(case.backbone).forward_gmacs
    peak = matmul_peak(where.world.device, compute_dtype(where.world.device), time.perf_counter)
    return {
        "what": "run",
        "model": name,
        "input": f"{case.backbone.size} x {case.backbone.num_frames}, batch {case.batch_size}",
        "rounds": rounds,
        **{column: round(value, digits) for (column, digits), value in zip(COLUMNS.items(), middle, strict=True)},
        "share_of_peak": round(1e9 * gflop * middle[4] / peak, 3),
    }


def memory_row(where: Where, num_steps: int) -> dict[str, Any]:
    """Return a row: resident memory after a tenth of the steps, at the end, and the most in between."""
    resident: list[float] = []
    whole_loop(run_of(MEMORY_RUN, where, num_steps=num_steps), where, on_step=lambda _: resident.append(resident_mib()))
    tenth = num_steps // 10
    early, late = statistics.median(resident[tenth : 2 * tenth]), statistics.median(resident[-tenth:])
    return {
        "what": "memory",
        "model": f"ViViT-nano 64 x 8, {num_steps} steps",
        "early_MiB": round(early, 1),
        "late_MiB": round(late, 1),
        "peak_MiB": round(max(resident), 1),
        "ratio": round(late / early, 4),
    }


def resume_row(where: Where) -> dict[str, Any]:
    """Return a row: how far a run that was stopped and went on ends from one that was not; 0 on a CPU."""
    case = Case(backbone=vivit_config("nano", size=64, num_frames=8), batch_size=8, num_steps=6)
    run = run_of(case, where, num_steps=case.num_steps)
    outs = [Path(tempfile.mkdtemp(dir=where.folder)) for _ in range(2)]

    def stop(report: StepReport) -> None:
        if report.step == case.num_steps // 2:
            signal.raise_signal(signal.SIGTERM)

    device = str(where.world.device)
    fit(run, outs[0], device=device, progress=False)
    with suppress(RunInterruptedError):
        fit(run, outs[1], device=device, progress=False, on_step=stop)
    began = time.perf_counter()
    ends: list[float] = []
    fit(run, outs[1], device=device, progress=False, on_step=lambda _: ends.append(time.perf_counter()))
    one, other = (load_file(out / "model.safetensors") for out in outs)
    return {
        "what": "resume",
        "model": "ViViT-nano 64 x 8",
        "steps_done_again": len(ends),
        "seconds_to_first_step": round(ends[0] - began, 2),
        "largest_difference": max(float((one[n].double() - other[n].double()).abs().max()) for n in one),
    }


def resident_mib() -> float:
    """Return the memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def rows_of(part: str, where: Where, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the rows of a part."""
    if part == "step":
        yield from step_rows(where.world.device)
    elif part == "run":
        runs = CPU_RUNS if where.world.device.type == "cpu" else GPU_RUNS
        for name in options.models or runs:
            yield run_row(name, runs[name], where, options.rounds)
    elif part == "memory":
        yield memory_row(where, options.memory_steps)
    else:
        yield resume_row(where)


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a row is the measurement of."""
    return tuple(row[name] for name in ("what", "model", "threads", "workers"))


def main() -> None:
    """Measure and write ``benchmarks/results/train_step.json``, of a GPU ``train_step_cuda.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--models", nargs="*", choices=[*CPU_RUNS, *GPU_RUNS])
    parser.add_argument("--device", default="cpu")
    for name, number in (("threads", 1), ("workers", 1), ("rounds", 5), ("memory-steps", MEMORY_RUN.num_steps)):
        parser.add_argument(f"--{name}", type=int, default=number)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    result = "train_step" if device.type == "cpu" else f"train_step_{device.type}"
    path = RESULTS / f"{result}.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = {key_of(row): row for row in before}
    with tempfile.TemporaryDirectory() as folder:
        where = Where(folder=Path(folder), world=World(device=device), num_workers=options.workers)
        make_manifest(where.folder)
        for part in options.parts:
            for row in rows_of(part, where, options):
                row |= {"threads": options.threads, "workers": options.workers, "measured": facts()["time"]}
                rows[key_of(row)] = row
    write_result(result, sorted(rows.values(), key=lambda row: PARTS.index(row["what"])))


if __name__ == "__main__":
    main()
