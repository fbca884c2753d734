"""The loader: how much of the cores it keeps busy, what a worker costs, and what a large manifest costs.

python benchmarks/loader.py [--rounds 9] [--parts rate start]

``rate``: clips per second of one process without workers, with as many workers as cores, and of as many processes side
by side, which tells on a machine with neighbours what its cores give at that time; and the processor's milliseconds a
clip, of all processes of a loader together. A clip is 32 frames, stride 2, of 340x256 H.264 videos with B-frames, GOP
12; medians of interleaved rounds, ratios within each round. ``start``: opening a manifest of 10^4 and 10^6 rows, until
the first batch, beyond imports and the start of the worker template; memory of the training process and of each worker
beyond its imports, at the first batch and 200 batches later. About two minutes on two idle cores.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from machine import write_result
from videos import make_videos

from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import WORKER_MODULES, batches
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.mixture import Mixture
from tubelet.labels import LabelSpace
from tubelet.types import Preprocess
from tubelet.video.augmentations import Augment
from tubelet.worker_pool import template

CLIPS = Preprocess(size=112, num_frames=32, frame_stride=2, fps=30)
SPACE = LabelSpace(name="bench", names=tuple(f"class {k}" for k in range(400)))
NUM_VIDEOS, BATCH_SIZE, NUM_BATCHES = 6, 8, 12
ROWS = (10_000, 1_000_000)
LATER = 200


def make_manifest(root: Path, num_rows: int) -> Manifest:
    """Write a manifest of ``num_rows`` clips of the same few videos."""
    number = list(range(num_rows))
    table = pa.table(
        {
            "clip_id": [f"clip-{i:09d}" for i in number],
            "video": [f"{i % NUM_VIDEOS}.mp4" for i in number],
            "start_seconds": pa.array([0.0] * num_rows),
            "end_seconds": pa.array([10.0] * num_rows),
            "split": ["train"] * num_rows,
            "labels": pa.array([[i % 400] for i in number], type=pa.list_(pa.int32())),
        }
    )
    common: dict[str, Any] = {"kind": "classify", "multi_label": False, "label_space": SPACE, "media_root": root}
    return write_manifest(root / str(num_rows), name="bench", licence="", source="", clips=table, **common)


def read_batches(dataset: ClipDataset, num_workers: int, seed: int) -> tuple[float, float]:
    """Return clips per second over ``NUM_BATCHES`` batches, the first aside, and the processor's seconds a clip."""
    plan = Mixture({"bench": len(dataset)}, batch_size=BATCH_SIZE, num_steps=NUM_BATCHES + 1, seed=seed)
    used = time.process_time()
    loader = batches({"bench": dataset}, plan, num_workers=num_workers, seed=seed, prefetch_bytes=2**26)
    next(loader)
    began, number = time.perf_counter(), 0
    workers = workers_of(template(WORKER_MODULES)._process.pid) if num_workers else []
    in_workers = 0.0
    for _, (batch,) in loader:
        number += len(batch.sample_ids)
        in_workers = sum(map(processor_seconds, workers))  # while they are there
    rate = number / (time.perf_counter() - began)
    return rate, (time.process_time() - used + in_workers) / (number + BATCH_SIZE)


def processor_seconds(pid: int) -> float:
    """Return what a process has used of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alone(folder: Path) -> None:
    """Print the rate of this process without workers for each seed that is asked for."""
    torch.set_num_threads(1)
    dataset = ClipDataset(read_manifest(folder), "train", preprocess=CLIPS, augment=Augment())
    for line in sys.stdin:
        print(read_batches(dataset, 0, int(line))[0], flush=True)


class SideBySide:
    """Processes that know nothing of each other: no loader can do more than they do together."""

    def __init__(self, folder: Path, number: int) -> None:
        command = [sys.executable, __file__, "--alone", str(folder)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._processes = [subprocess.Popen(command, **pipes) for _ in range(number)]
        self.rate(0)  # they have started when they have answered

    def rate(self, seed: int) -> float:
        """Return the sum of their rates."""
        for number, process in enumerate(self._processes):
            assert process.stdin is not None
            process.stdin.write(f"{1000 * number + seed}\n")
            process.stdin.flush()
        answers = [process.stdout.readline() for process in self._processes if process.stdout is not None]
        return sum(float(answer) for answer in answers)

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.communicate()


def throughput(folder: Path, cores: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each way to read."""
    dataset = ClipDataset(read_manifest(folder), "train", preprocess=CLIPS, augment=Augment())
    single, workers, together = "one process, no workers", f"{cores} workers", f"{cores} processes side by side"
    rates: dict[str, list[float]] = {single: [], workers: [], together: []}
    used: dict[str, list[float]] = {single: [], workers: []}
    with closing(SideBySide(folder, cores)) as neighbours:
        for seed in range(rounds):
            for what, number in ((single, 0), (workers, cores)):
                rate, seconds = read_batches(dataset, number, seed)
                rates[what].append(rate)
                used[what].append(seconds)
            rates[together].append(neighbours.rate(seed))
    for what, found in rates.items():
        row: dict[str, Any] = {"what": what, "clips_per_s": statistics.median(found)}
        for name, other, times in (("of_cores_x_single", single, cores), ("of_side_by_side", together, 1)):
            if what != single:
                row[name] = statistics.median(a / (times * b) for a, b in zip(found, rates[other], strict=True))
        if what in used:
            row["processor_ms_a_clip"] = 1000 * statistics.median(used[what])
        yield row


def unique_mib(pid: int) -> float:
    """Return the memory that belongs to one process alone."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024


def workers_of(pid: int) -> list[int]:
    """Return the children of the template, which are the workers."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def start_up(folder: Path, num_workers: int) -> dict[str, Any]:
    """Open a manifest and read batches; runs in a process of its own."""
    torch.set_num_threads(1)
    forked_from = template(WORKER_MODULES)._process.pid
    time.sleep(4)  # its imports are not counted
    before = unique_mib(os.getpid())
    began = time.perf_counter()
    dataset = ClipDataset(read_manifest(folder), "train", preprocess=CLIPS, augment=Augment())
    opened = time.perf_counter() - began
    plan = Mixture({"bench": len(dataset)}, batch_size=1, num_steps=LATER + 1, seed=0)
    loader = batches({"bench": dataset}, plan, num_workers=num_workers, seed=0, prefetch_bytes=2**24)
    next(loader)
    row: dict[str, Any] = {"open_s": opened, "first_batch_s": time.perf_counter() - began}
    row |= {"parent_mib": unique_mib(os.getpid()) - before}
    row |= {"worker_mib": max(map(unique_mib, workers_of(forked_from)))}
    for step, _ in loader:
        if step == LATER - 1:
            row |= {"parent_mib_later": unique_mib(os.getpid()) - before}
            row |= {"worker_mib_later": max(map(unique_mib, workers_of(forked_from)))}
    return row


def main() -> None:
    """Measure, print and write ``results/loader_rate.json`` and ``results/loader_start.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--parts", nargs="*", choices=("rate", "start"), default=("rate", "start"))
    parser.add_argument("--start-up", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    if options.start_up is not None:
        print(json.dumps(start_up(options.start_up, cores)))
        return
    if options.alone is not None:
        alone(options.alone)
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (video,) = make_videos([], root, gop=12)
        for i in range(NUM_VIDEOS):
            shutil.copyfile(video, root / f"{i}.mp4")
        manifests = [make_manifest(root, num_rows) for num_rows in ROWS]
        if "rate" in options.parts:
            write_result("loader_rate", list(throughput(manifests[0].root, cores, options.rounds)))
        if "start" in options.parts:
            write_result("loader_start", [start_row(manifest) for manifest in manifests])


def start_row(manifest: Manifest) -> dict[str, Any]:
    """Return what a process of its own measures in ``start_up``."""
    command = [sys.executable, __file__, "--start-up", str(manifest.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"what": f"start, {manifest.counts['clips']:,} rows", **json.loads(done.stdout)}


if __name__ == "__main__":
    main()
