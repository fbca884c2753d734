"""A run at several learning rates, compared on held-out training videos (paper B, 4).

"We do a grid search for best the hyper-parameters (learning rate etc.) on validation data constructed by randomly
holding out (10%) of training data." Only the rate is searched here. The runs read manifests that have nothing but the
training split, so what is reported later cannot be seen; the final run trains on all of it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tubelet.data.held_out import HELD_OUT_SPLIT, hold_out
from tubelet.data.manifest import read_manifest
from tubelet.records import first_difference, read_json, to_json, write_json
from tubelet.studies.jobs import note_failure, result_in, run_jobs
from tubelet.train.config import RunConfig, deciding_options
from tubelet.train.fit import fit
from tubelet.train.folder import data_hash, sole_writer
from tubelet.train.nonfinite import NonFiniteLossError
from tubelet.train.search import at_edge, best_of
from tubelet.types import InputError

PLAN_FILE = "plan.json"
RESULT_FILE = "held_out.json"
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Of the recipe's own rate, where none are given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RateResult:
    """One learning rate."""

    learning_rate: float
    score: float | None
    """On the held-out videos, in [0, 1]; None = the loss stopped being a finite number."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Everything that was scored there."""
    seconds: float = 0.0
    """Of the last attempt."""
    reason: str = ""
    """Why there is no score."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """What was found."""

    metric: str
    """``<task>/<split>/<metric>`` that decides."""
    num_held_out: dict[str, int]
    """Task to clips that were held out."""
    results: tuple[RateResult, ...]
    """By rising rate."""

    @property
    def best(self) -> float | None:
        """The chosen rate; None where every run failed."""
        return best_of({result.learning_rate: result.score for result in self.results})

    @property
    def at_edge(self) -> bool:
        """Whether the chosen rate is the lowest or highest of those tried."""
        return at_edge(self.best, [result.learning_rate for result in self.results])


@dataclass(frozen=True, kw_only=True)
class RateWork:
    """Runs one learning rate; a value that can be sent to another process."""

    run: RunConfig
    """On the held-out manifests."""
    out: Path
    metric: str
    progress: bool

    def folder(self, rate: float) -> Path:
        """Return the run folder of a rate."""
        return self.out / "runs" / f"lr{rate:g}"

    def result(self, rate: float) -> RateResult | None:
        """Return what is known of a rate, if it is finished one way or the other."""
        return result_in(self.folder(rate), RESULT_FILE, RateResult, failed=RateResult)

    def __call__(self, rate: float) -> RateResult:
        """Train at a rate and score the held-out videos; a run that diverges would do so again, so that is noted."""
        run = replace(self.run, optim=replace(self.run.optim, learning_rate=rate))
        began = time.monotonic()
        try:
            metrics = fit(run, self.folder(rate), progress=self.progress).metrics
        except NonFiniteLossError as error:
            return note_failure(self.folder(rate), RateResult(learning_rate=rate, score=None, reason=str(error)))
        seconds = time.monotonic() - began
        result = RateResult(learning_rate=rate, score=metrics[self.metric], metrics=metrics, seconds=seconds)
        write_json(self.folder(rate) / RESULT_FILE, result)
        return result


def run_sweep(
    run: RunConfig,
    out: Path,
    *,
    learning_rates: Sequence[float] | None = None,
    task: str | None = None,
    held_out_seed: int = 0,
    num_parallel: int = 1,
    note: Callable[[float, RateResult], None] = lambda rate, result: None,
) -> Sweep:
    """Train a run at every rate on nine tenths of its training videos and score the rest; again to go on.

    Args:
        run: As it would be trained in the end; its evaluation splits are not read.
        out: Sweep folder; finished runs are kept, and rates may be added. Decoded frames lie in it too, whatever
            ``cache_dir`` says: nothing is written beside what is read.
        learning_rates: None = ``FACTORS`` times the run's own.
        task: Whose score decides; None = the only one.
        held_out_seed: Decides which videos are held out.
        num_parallel: Runs at the same time.
        note: Called after every run.

    Raises:
        InputError: A rate is not above 0, the task is not one, a split cannot be parted, or ``out`` holds another
            sweep.
    """
    rates = sorted({float(rate) for rate in learning_rates or [f * run.optim.learning_rate for f in FACTORS]})
    if not rates[0] > 0:
        raise InputError(f"learning rates {tuple(rates)}: expected all above 0")
    if num_parallel < 1:
        raise InputError(f"num_parallel is {num_parallel}, expected at least 1")
    metric = _metric(run, task)
    with sole_writer(out):
        held = _held_out(run, out, held_out_seed)
        work = RateWork(run=held, out=out, metric=metric, progress=True)
        run_jobs(
            rates,
            work,
            finished=lambda rate: work.result(rate) is not None,
            note=note,
            num_parallel=num_parallel,
            quiet=replace(work, progress=False),
        )
    found = [work.result(rate) for rate in rates]
    counts = {t.name: read_manifest(Path(t.manifest)).counts[f"clips_{HELD_OUT_SPLIT}"] for t in held.tasks}
    return Sweep(metric=metric, num_held_out=counts, results=tuple(result for result in found if result is not None))


def _metric(run: RunConfig, task: str | None) -> str:
    """Return the name of the score that decides."""
    configs = {config.name: config for config in run.tasks}
    if task is None and len(configs) > 1:
        raise InputError(f"the run has the tasks {', '.join(configs)}; --task says whose score decides")
    name = task or next(iter(configs))
    if name not in configs:
        raise InputError(f"the run has no task {name!r}; it has {', '.join(configs)}")
    manifest = read_manifest(Path(configs[name].manifest))
    ranked = manifest.kind == "localise" or manifest.multi_label
    return f"{name}/{HELD_OUT_SPLIT}/{'mAP' if ranked else 'top1'}"


def _held_out(run: RunConfig, out: Path, seed: int) -> RunConfig:
    """Return the run on manifests of its training videos alone, made where they are missing."""
    plan = {  # the rates are no part of it: more may be added
        "run": deciding_options(to_json(replace(run, optim=replace(run.optim, learning_rate=1.0)))),
        "data": {task.name: data_hash(Path(task.manifest), detected=True) for task in run.tasks},
        "held_out_seed": seed,
    }
    path = out / PLAN_FILE
    if path.exists() and (difference := first_difference(read_json(path), to_json(plan))):
        raise InputError(f"{out}: holds another sweep, which differs in {difference}; give another --out")
    tasks = []
    for task in run.tasks:
        folder = out / "data" / task.name
        if not path.exists():
            hold_out(read_manifest(Path(task.manifest)), folder, train_split=task.train_split, seed=seed)
        tasks.append(replace(task, manifest=str(folder.resolve()), eval_split=HELD_OUT_SPLIT))
    write_json(path, plan)
    cache = None if run.cache_dir is None else str(out.resolve() / "cache")
    return replace(run, tasks=tuple(tasks), best_metric=None, cache_dir=cache)
