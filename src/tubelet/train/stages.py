"""Multi-stage transfer: runs one after another, each from the weights of the one before.

Paper A compares with it (Kinetics, then Moments in Time, then AVA), paper B is it (pre-training, then fine-tuning).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tubelet.train.config import PREVIOUS, RunConfig
from tubelet.train.fit import fit
from tubelet.train.folder import RunResult


def stage_folders(names: Iterable[str], out: Path) -> list[Path]:
    """Return where the runs of these names go: ``out/1-<name>`` and following."""
    return [out / f"{number}-{name}" for number, name in enumerate(names, start=1)]


def fit_stages(
    runs: Sequence[RunConfig],
    out: Path,
    *,
    on_stage: Callable[[str], None] | None = None,
    progress: bool = True,
) -> list[RunResult]:
    """Train every run in its folder; what is finished is kept, what was interrupted goes on.

    Args:
        runs: In order; ``init_from`` may be ``PREVIOUS`` in all but the first.
        out: Folder of all.
        on_stage: Called with the name of each run before it starts.
        progress: As for ``fit``.
    """
    results: list[RunResult] = []
    for run, folder in zip(runs, stage_folders((run.name for run in runs), out), strict=True):
        if on_stage is not None:
            on_stage(run.name)
        if run.init_from == PREVIOUS:
            run = replace(run, init_from=str(results[-1].out.resolve()))
        results.append(fit(run, folder, progress=progress))
    return results
