"""The runs of a study, shared by what they are: a run that two arms or two studies have is trained once.

A run's key is a hash of everything that decides its weights: its options, the content of its manifests and the key of
the run it starts from; where files lie is no part of it. ``OUT/runs/KEY`` is its run folder, ``scores.json`` in it what
it reached on the test split, ``failed.json`` that its loss stopped being a finite number.
"""

import hashlib
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path

import torch

from tubelet.data.manifest import DETECTED_TABLE, read_manifest
from tubelet.evals.breakdown import by_group
from tubelet.models.download import sha256_of
from tubelet.models.saved import MODEL_FILE
from tubelet.recipes.ava import A1
from tubelet.records import read_json, write_json
from tubelet.studies.jobs import note_failure, result_in, run_jobs
from tubelet.tasks import TaskConfig
from tubelet.train.config import PREVIOUS, RunConfig, deciding_options
from tubelet.train.evaluate import evaluate_run
from tubelet.train.fit import fit
from tubelet.train.folder import task_data_hash
from tubelet.train.nonfinite import NonFiniteLossError

SCORES_FILE = "scores.json"
TEST_SPLITS = ("test", "test_unseen", "val")
"""What a study reports of a set is its score on the first of these that it has: posts have no test split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunScores:
    """What one run reached."""

    scores: dict[str, float] = field(default_factory=dict)
    """``<set> <metric>`` in [0, 1]: ``localise mAP``, ``localise tail``, ``kinetics top1``."""
    per_class: dict[str, float] = field(default_factory=dict)
    """Class of the localisation set to AP."""
    clips_seen: int = 0
    seconds: float = 0.0
    """Wall-clock time of training and scoring; of the last attempt only."""
    commit: str = ""
    """Of the code that trained and scored it; empty where it was not written down."""
    hardware: str = ""
    reason: str = ""
    """Why there are no scores."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run with its place."""

    key: str
    name: str
    """Row and stage that asked for it; another study's may share the run."""
    run: RunConfig
    """As it will be trained, named by its key, ``init_from`` being a folder where it is another run of the study."""
    folder: Path
    after: str | None
    """Key of the run it starts from."""

    def result(self) -> RunScores | None:
        """Return what is known of it, if it is finished one way or the other."""
        return result_in(self.folder, SCORES_FILE, RunScores, failed=RunScores)


def plan_stages(stages: Sequence[RunConfig], out: Path) -> tuple[PlannedRun, ...]:
    """Return the runs of an arm, each in the folder of its key, decoded frames in ``OUT/cache``."""
    planned: list[PlannedRun] = []
    for stage in stages:
        after = planned[-1] if stage.init_from == PREVIOUS else None
        run = replace(stage, cache_dir=None if stage.cache_dir is None else str(out.resolve() / "cache"), num_workers=0)
        if after is not None:
            run = replace(run, init_from=str(after.folder.resolve()))
        key = run_key(run, after.key if after else None)
        folder = out / "runs" / key
        run = replace(run, name=key)  # whoever goes on with a run that was begun for another row finds the same
        planned.append(PlannedRun(key=key, name=stage.name, run=run, folder=folder, after=after.key if after else None))
    return tuple(planned)


def run_key(run: RunConfig, after: str | None) -> str:
    """Return the hash that names a run.

    Args:
        run: With manifests that are there.
        after: Key of the run it starts from; None = what ``init_from`` says: a folder counts by its weights' bytes.
    """
    options = deciding_options(run.to_json())
    start = run.init_from
    if after is None and start is not None and (weights := Path(start) / MODEL_FILE).exists():
        start = sha256_of(weights)
    options |= {"name": "", "cache_dir": run.cache_dir is not None, "init_from": after or start}
    for task, config in zip(options["tasks"], run.tasks, strict=True):
        task["manifest"] = task_data_hash(config)
    text = json.dumps(options, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class TrainAndScore:
    """Trains and scores a planned run; a value that can be sent to another process."""

    progress: bool

    def __call__(self, planned: PlannedRun) -> RunScores:
        """Return the scores, or why there are none: a run that diverges would do so again, so that is its result."""
        began = time.monotonic()
        try:
            fit(planned.run, planned.folder, progress=self.progress)
        except NonFiniteLossError as error:
            return note_failure(planned.folder, RunScores(reason=str(error), commit=commit(), hardware=hardware()))
        found = measure(planned.folder, planned.run)
        found = replace(found, seconds=time.monotonic() - began, commit=commit(), hardware=hardware())
        write_json(planned.folder / SCORES_FILE, found)
        return found


def measure(folder: Path, run: RunConfig) -> RunScores:
    """Score a finished run on the test split of each of its sets."""
    scores: dict[str, float] = {}
    per_class: dict[str, float] = {}
    for task in run.tasks:
        split = test_split(task)
        result = evaluate_run(folder, split=split, tasks=(task.name,), num_workers=0)[task.name]
        if (Path(task.manifest) / DETECTED_TABLE).exists():
            on_detected = evaluate_run(
                folder,
                split=split,
                tasks=(task.name,),
                boxes="detected",
                box_score_threshold=A1.ava_kinetics_eval_box_threshold,
                num_workers=0,
            )
            scores[f"{task.name} mAP on detected boxes"] = on_detected[task.name].metrics[f"{task.name}/{split}/mAP"]
        for name, value in result.metrics.items():
            scores[f"{task.name} {name.rsplit('/', 1)[1].removeprefix('mAP_')}"] = value
        if result.ava is not None:
            groups = by_group(result.ava, result.label_space) if result.label_space.groups else {}
            scores |= {f"{task.name} {name}": value for name, value in groups.items() if value is not None}
            per_class |= {c.name: c.ap for c in result.ava.per_class if c.ap is not None and not math.isnan(c.ap)}
    clips = int(read_json(folder / "meta.json")["step"]) * run.batch_size
    return RunScores(scores=scores, per_class=per_class, clips_seen=clips)


def test_split(task: TaskConfig) -> str:
    """Return the split of a set that a study reports."""
    counts = read_manifest(task.manifest).counts
    return next(split for split in TEST_SPLITS if f"clips_{split}" in counts)


def commit() -> str:
    """Return the commit that this code is of, or its version where it is not in a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return f"tubelet {version('tubelet')}"


def hardware() -> str:
    """Return the GPU that is trained on, if there is one, the processor and its cores in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return f"{gpu}{model}, {os.cpu_count()} cores"


def do_runs(
    seeds: Sequence[Sequence[Sequence[PlannedRun]]],
    *,
    deadline: float = math.inf,
    num_parallel: int = 1,
    progress: bool = True,
    note: Callable[[PlannedRun, RunScores], None] = lambda planned, found: None,
) -> None:
    """Do the unfinished runs, each once, none started after the deadline: those of a seed before the next seed's.

    The next seed's begin while the last of a seed go on: no core waits for a long run. What starts from a failed run is
    left out: it can have no result.

    Args:
        seeds: The arms of each seed; an arm is a run after another.
        deadline: Of ``time.monotonic``.
        num_parallel: Runs at the same time.
        progress: Whether runs show a live line.
        note: Called after each.
    """
    runs = {run.key: run for arms in seeds for depth in zip_longest(*arms) for run in depth if run is not None}

    def failed(run: PlannedRun) -> bool:
        found = run.result()
        return bool(found is not None and found.reason) or (run.after is not None and failed(runs[run.after]))

    run_jobs(
        list(runs.values()),
        TrainAndScore(progress=progress),
        finished=lambda run: run.result() is not None or failed(run),
        note=note,
        num_parallel=num_parallel,
        deadline=deadline,
        quiet=TrainAndScore(progress=False),
        ready=lambda run: run.after is None or runs[run.after].result() is not None,
    )
