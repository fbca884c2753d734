"""Builds a playground: plans it, renders what is missing on all cores, publishes the tables.

A build that was stopped goes on where it was; a second build of the same playground renders nothing.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tubelet.data.manifest import Manifest, read_manifest
from tubelet.playground import duplicates, render
from tubelet.playground.jobs import Job, make_video, read_truth
from tubelet.playground.plan import plan_duplicates, plan_jobs
from tubelet.playground.publish import Truth, count_labels, publish
from tubelet.playground.sets import SIZES
from tubelet.records import read_json, write_json
from tubelet.types import InputError
from tubelet.worker_pool import WorkerPool

VERSION = 3
"""Raised when the same seed would give other videos or labels."""
_JOBS_PER_CALL = 2
CALL_SECONDS = 3600.0
_HEADER = "playground.json"

Work = tuple[Job, Job | None]
"""A job, and the video it copies if it is a near-duplicate."""


@dataclass(frozen=True, kw_only=True)
class Playground:
    """A finished playground on disk."""

    root: Path
    size: str
    seed: int
    counts: dict[str, Any]
    """``frames`` and ``videos`` per set, ``boxes`` per split and class of the localisation set, ``seconds`` spent."""

    @property
    def ava(self) -> Path:
        """Folder of the AVA files."""
        return self.root / "ava"

    @property
    def posts(self) -> Path:
        """Table of tagged posts."""
        return self.root / "posts.parquet"

    @property
    def seed_labels(self) -> Path:
        """Phrases, one a line, to build a corpus from the posts with."""
        return self.root / "seed_labels.txt"

    def summary(self) -> list[str]:
        """Return lines that say what there is: videos and frames per set, boxes per class of the localisation set."""
        videos, frames, boxes = self.counts["videos"], self.counts["frames"], self.counts["boxes"]
        lines = [f"{name:12} {videos[name]:6d} videos {frames[name]:8d} frames" for name in videos]
        space = self.manifest("localise").label_space
        splits = ("train", "val", "test")
        lines.append(f"{'class':14} {'group':14} {'bucket':6} " + " ".join(f"{split:>6}" for split in splits))
        rows = zip(space.names, space.groups, space.buckets, strict=True)
        for name, group, bucket in sorted(rows, key=lambda row: -boxes["train"].get(row[0], 0)):
            counts = " ".join(f"{boxes[split].get(name, 0):6d}" for split in splits)
            lines.append(f"{name:14} {group:14} {bucket:6} {counts}")
        return lines

    def manifest(self, name: str) -> Manifest:
        """Open a data set."""
        return read_manifest(self.root / "manifests" / name)


def build_playground(
    size: str, out: str | Path, *, num_workers: int | None = None, seed: int = 0, progress: bool = True
) -> Playground:
    """Build a playground, or finish or reuse the one that is there.

    Args:
        size: A key of ``sets.SIZES``.
        out: Its folder.
        num_workers: Processes that render; 0 = this one, None = one per core.
        seed: Same seed, same annotation bytes, whatever the number of workers.
        progress: Show a bar.

    Raises:
        InputError: There is no such size, or the folder holds another playground.
    """
    if size not in SIZES:
        raise InputError(f"playground size {size!r} is not known; there are {', '.join(SIZES)}")
    root = Path(out)
    header = {"version": VERSION, "size": size, "seed": seed}
    stored = _read_header(root)
    _refuse_other(root, stored, header)
    if stored.get("finished"):
        return open_playground(root)
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / _HEADER, header | {"finished": False})
    started = time.perf_counter()
    jobs = plan_jobs(size, seed)
    copies = plan_duplicates(size, seed, jobs)
    work: list[Work] = [(job, None) for job in jobs]
    _do_all(root, [work, list(copies)], num_workers=num_workers, progress=progress)
    truths: dict[str, list[Truth]] = {}
    for job in (*jobs, *(copy for copy, _ in copies)):
        truth = read_truth(root, job)
        assert truth is not None  # everything has just been made
        truths.setdefault(job.set_name, []).append(truth)
    publish(root, truths)
    counts = _count(truths) | {"seconds": round(time.perf_counter() - started, 1)}
    write_json(root / _HEADER, header | {"finished": True, "counts": counts})
    return open_playground(root)


def open_playground(root: str | Path) -> Playground:
    """Open a finished playground.

    Raises:
        InputError: There is none, or it is not finished.
    """
    root = Path(root)
    header = _read_header(root)
    if not header:
        raise InputError(f"{root}: no playground here; expected {_HEADER} (tubelet playground build)")
    if header.get("version") != VERSION:
        raise InputError(f"{root}/{_HEADER}: version {header.get('version')}, this program makes {VERSION}; build anew")
    if not header["finished"]:
        raise InputError(f"{root}: the playground is not finished; build it again to go on")
    return Playground(root=root, size=header["size"], seed=header["seed"], counts=header["counts"])


def _read_header(root: Path) -> dict[str, Any]:
    path = root / _HEADER
    header: dict[str, Any] = read_json(path) if path.exists() else {}
    return header


def _refuse_other(root: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse to mix two playgrounds in one folder."""
    for key, value in wanted.items():
        if stored and stored.get(key) != value:
            raise InputError(
                f"{root}: holds a playground of {key} {stored.get(key)}, not {value}; choose another folder"
            )


def _count(truths: dict[str, list[Truth]]) -> dict[str, Any]:
    localise = truths["localise"]
    splits = ("train", "val", "test")
    keys = [k for t in localise for k in t["keyframes"]]
    return {
        "videos": {name: len(rows) for name, rows in truths.items()},
        "frames": {name: sum(t["num_frames"] for t in rows) for name, rows in truths.items()},
        "boxes": {split: dict(count_labels(localise, split).most_common()) for split in splits},
        "keyframes": len(keys),
        "keyframes_excluded": sum(k["ambiguous"] for k in keys),
    }


def _make(root: Path, batch: Sequence[Work]) -> int:
    """Make some videos that are missing; runs in a worker."""
    for job, target in batch:
        if read_truth(root, job) is None:
            if target is None:
                make_video(job, root)
            else:
                duplicates.copy_video(job, target, root)
    return len(batch)


def _do_all(root: Path, stages: Sequence[Sequence[Work]], *, num_workers: int | None, progress: bool) -> None:
    """Make what is missing, one stage after the other: copies need what they copy."""
    missing = [[w for w in stage if read_truth(root, w[0]) is None] for stage in stages]
    if not any(missing):
        return
    for folder in {(root / w[0].video).parent for stage in missing for w in stage}:
        folder.mkdir(parents=True, exist_ok=True)
    total = sum(len(stage) for stage in stages)
    render.warm_up()  # compiled code is cached on disk, so that workers load it
    workers = len(os.sched_getaffinity(0)) if num_workers is None else num_workers
    with _bar(total, total - sum(map(len, missing)), show=progress) as advance:
        for stage in missing:
            # Long videos first: nobody waits for the last one.
            ordered = sorted(stage, key=lambda w: -w[0].seconds[1] * (4 if w[0].set_name == "localise" else 1))
            batches = [ordered[k : k + _JOBS_PER_CALL] for k in range(0, len(ordered), _JOBS_PER_CALL)]
            for done in _run(root, batches, min(workers, len(batches))):
                advance(done)


def _run(root: Path, batches: Sequence[Sequence[Work]], workers: int) -> Iterator[int]:
    """Yield the number of videos of each finished batch."""
    if workers <= 0:
        yield from (_make(root, batch) for batch in batches)
        return
    with WorkerPool(workers, setup=root, modules=[__name__], call_seconds=CALL_SECONDS) as pool:
        for number, batch in enumerate(batches):
            pool.submit(number, _make, batch)
        for _ in batches:
            done = pool.result()
            if done.error is not None:
                raise done.error
            yield done.value


@contextmanager
def _bar(total: int, done: int, *, show: bool) -> Iterator[Any]:
    columns = (TextColumn("playground"), BarColumn(), MofNCompleteColumn(), TextColumn("videos"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bar:
        task = bar.add_task("", total=total, completed=done)
        yield lambda count: bar.advance(task, count)
