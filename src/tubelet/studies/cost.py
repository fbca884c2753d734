"""What the unfinished runs of studies will take, before they are started."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tubelet.models.precision import pick_device
from tubelet.studies.plan import Study
from tubelet.studies.runs import PlannedRun
from tubelet.studies.study import StudyPlace
from tubelet.train.config import RunConfig
from tubelet.train.data import open_data
from tubelet.train.estimate import estimate_run


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyCost:
    """The unfinished runs of a study that none before it has."""

    study: Study
    num_runs: int
    num_clips: int
    """That all of them train on."""
    seconds: float
    """Forward and backward of those, on one core or the GPU; reading, scoring and starting come on top."""


def study_costs(studies: Sequence[Study], place: StudyPlace, seeds: Sequence[int]) -> Iterator[StudyCost]:
    """Yield what each study takes; the speed of each network is measured here, on clips of its size."""
    seen: set[str] = set()
    examples: dict[object, int] = {}
    clip_seconds: dict[object, float] = {}
    for study in studies:
        runs: dict[str, PlannedRun] = {}
        for seed in seeds:
            for stages in place.plan(study, seed).values():
                runs |= {p.key: p for p in stages if p.key not in seen and p.result() is None}
        seen |= set(runs)
        num_clips, seconds = 0, 0.0
        for run in (planned.run for planned in runs.values()):
            sets = repr(run.tasks)
            if sets not in examples:
                examples[sets] = open_data(run).num_examples
            clips = run.steps_for(examples[sets]) * run.batch_size
            network = repr((run.backbone, run.batch_size, run.optim.frozen_backbone, run.precision))
            if network not in clip_seconds:
                clip_seconds[network] = _clip_seconds(run)
            num_clips, seconds = num_clips + clips, seconds + clips * clip_seconds[network]
        yield StudyCost(study=study, num_runs=len(runs), num_clips=num_clips, seconds=seconds)


def _clip_seconds(run: RunConfig) -> float:
    with _one_thread():
        return estimate_run(run, num_ranks=1, device=pick_device(run.device)).clip_seconds


@contextmanager
def _one_thread() -> Iterator[None]:
    """A run of a study has one core (``studies/jobs.py``)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
