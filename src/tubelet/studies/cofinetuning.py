"""Does co-finetuning beat transfer? Paper A's Tables 1 to 3 and Fig. 1 in miniature, on the playground.

    tubelet playground build --size study --out out/playground
    tubelet study cofinetuning --playground out/playground --out out/study --budget-minutes 60   # again to go on

Claim: with the same data, the same start and the same number of samples seen, one model trained on all sets at once
localises better than one trained on them in turn, tail classes gaining most; a second control sees only the
localisation set, for as many samples. Each arm's learning rate is chosen on the validation split with the same number
of runs; then every arm runs with each seed and is measured on the test split. A run whose loss is no longer a finite
number is counted as failed, and the others go on.
It is a study apart from those of ``index.py``, whose arms all have one rate: it searches each arm's rate on the
validation split, and repeats paper A's claims in longer runs (docs/reproduce.md).
Hardware: 2 CPU cores. Duration and what was measured so far: docs/reproduce.md.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tubelet.recipes.playground import CLASSIFY_SETS, LOCALISE_SET, POSTS_SET, manifest_of, pretrain_posts
from tubelet.records import first_difference, from_json, read_json, to_json, write_json
from tubelet.studies.arms import ARMS, ArmResult, FailedArm, run_arm
from tubelet.studies.chance import Chance, measure_chance
from tubelet.studies.jobs import note_failure, result_in, run_jobs
from tubelet.train.fit import fit
from tubelet.train.folder import data_hash
from tubelet.train.nonfinite import NonFiniteLossError
from tubelet.train.search import best_of
from tubelet.train.stages import stage_folders
from tubelet.types import InputError

PLAN_FILE = "study.json"
CHANCE_FILE = "chance.json"
START_FOLDER = "start"


@dataclass(frozen=True, kw_only=True, slots=True)
class CofinetuningPlan:
    """What makes two calls the same study."""

    playground: str
    data: dict[str, str]
    """Set to the hash of its manifest: a playground that is built again with other content is another one."""
    size: str
    learning_rates: tuple[float, ...]
    """Tried for every arm."""
    search_seed: int
    """Of the runs that choose the rate; not among the reported seeds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmJob:
    """One run of one arm."""

    arm: str
    seed: int
    learning_rate: float
    split: str

    def folder(self, out: Path) -> Path:
        """Return where its runs and its result go."""
        return out / "runs" / f"{self.arm}-lr{self.learning_rate:g}-seed{self.seed}"

    def result(self, out: Path) -> ArmResult | FailedArm | None:
        """Return its result if it is finished, one way or the other."""
        return result_in(self.folder(out), f"{self.split}.json", ArmResult, failed=FailedArm)


@dataclass(frozen=True, kw_only=True)
class ArmsOutcome:
    """All arms with one seed, as the demo shows them."""

    start: Path
    arms: dict[str, ArmResult]
    folders: dict[str, Path]
    """Arm to the run folder of its last stage."""
    chance: Chance


def run_arms(
    playground: Path,
    size: str,
    out: Path,
    seed: int,
    *,
    start: Path | None = None,
    on_stage: Callable[[str], None] | None = None,
    progress: bool = True,
    num_workers: int = 1,
) -> ArmsOutcome:
    """Run every arm once with the recipes' own learning rates; what is finished is reused, what is not goes on.

    Args:
        playground: Playground folder, with the ``posts`` manifest built.
        size: Scale of the recipes.
        out: Gets one folder per arm.
        seed: Of every run.
        start: Run folder all arms start from; None = pre-train on the posts first.
        on_stage: Called with the name of each recipe before it starts.
        progress: Whether runs show a live line.
        num_workers: Processes that prepare batches.
    """
    if start is None:
        if on_stage is not None:
            on_stage("pretrain_posts")
        start = run_start(playground, size, out, progress=progress, num_workers=num_workers)
    results, folders = {}, {}
    for arm, recipes in ARMS.items():
        results[arm] = run_arm(
            arm,
            playground,
            out / arm,
            size=size,
            seed=seed,
            start=start,
            on_stage=on_stage,
            progress=progress,
            num_workers=num_workers,
        )
        folders[arm] = stage_folders(recipes, out / arm)[-1]
    chance = chance_of(playground, folders["localise_only"], out)
    return ArmsOutcome(start=start, arms=results, folders=folders, chance=chance)


def run_start(
    playground: Path,
    size: str,
    out: Path,
    *,
    progress: bool = True,
    num_workers: int = 1,
) -> Path:
    """Pre-train on the posts, or reuse the run; every arm and seed starts from these weights."""
    folder = out / START_FOLDER
    run = replace(pretrain_posts(playground, size=size), num_workers=num_workers)
    fit(run, folder, progress=progress)
    return folder


def chance_of(playground: Path, localise_run: Path, out: Path) -> Chance:
    """Return what random scores reach on the test boxes; measured once."""
    path = out / CHANCE_FILE
    if not path.exists():
        write_json(path, measure_chance(playground, localise_run, split="test"))
    return from_json(Chance, read_json(path), where=str(path))


def run_cofinetuning_study(
    playground: Path,
    out: Path,
    *,
    size: str = "study",
    learning_rates: Sequence[float] = (0.0005, 0.002, 0.004, 0.008),
    seeds: Sequence[int] = (0, 1, 2),
    search_seed: int = 100,
    budget_minutes: float | None = None,
    num_parallel: int = 1,
    progress: bool = True,
    num_workers: int = 0,
) -> bool:
    """Do the next unfinished runs; return whether all are finished. A killed study goes on where it was.

    Args:
        playground: Playground folder, with the ``posts`` manifest built.
        out: Study folder.
        size: Scale of the recipes.
        learning_rates: Tried for every arm with ``search_seed``; the best validation mAP wins.
        seeds: Reported; more may be added later.
        search_seed: Of the search.
        budget_minutes: No run is started after this time; None = until all are finished.
        num_parallel: Runs at the same time, one core each.
        progress: Whether anything is shown.
        num_workers: Processes that prepare batches, per run.
    """
    if search_seed in seeds:
        raise InputError(f"search_seed {search_seed} is among the reported seeds {tuple(seeds)}; choose another")
    deadline = float("inf") if budget_minutes is None else time.monotonic() + 60 * budget_minutes
    check_plan(
        CofinetuningPlan(
            playground=str(playground.resolve()),
            data={name: data_hash(manifest_of(playground, name)) for name in (*CLASSIFY_SETS, LOCALISE_SET, POSTS_SET)},
            size=size,
            learning_rates=tuple(float(rate) for rate in learning_rates),
            search_seed=search_seed,
        ),
        out,
    )
    start = run_start(playground, size, out, progress=progress, num_workers=num_workers)
    work = ArmWork(playground=playground, out=out, size=size, start=start, num_workers=num_workers, progress=progress)
    search = [ArmJob(arm=a, seed=search_seed, learning_rate=r, split="val") for r in learning_rates for a in ARMS]
    if not work.run(search, num_parallel=num_parallel, deadline=deadline):
        return False
    best = {arm: best_rate(arm, search, out) for arm in ARMS}
    final = [ArmJob(arm=a, seed=s, learning_rate=best[a], split="test") for s in seeds for a in ARMS]
    if not work.run(final, num_parallel=num_parallel, deadline=deadline):
        return False
    scored = [job for job in final if isinstance(job.result(out), ArmResult)]
    if not scored:
        raise InputError(f"{out}: every reported run failed; give another --out and lower --learning-rates")
    chance_of(playground, final_folder(scored[0], out), out)
    return True


def check_plan(plan: CofinetuningPlan, out: Path) -> None:
    """Write the plan, or raise when the folder holds another study; learning rates may be added to one."""
    path = out / PLAN_FILE
    if path.exists():
        there, here = from_json(CofinetuningPlan, read_json(path), where=str(path)), plan
        if there.data != plan.data:
            raise InputError(f"{out}: {plan.playground} was built anew since this study began; give another --out")
        if set(there.learning_rates) < set(plan.learning_rates):  # A wider search, for every arm alike.
            here = replace(plan, learning_rates=there.learning_rates)
        if difference := first_difference(to_json(there), to_json(here)):
            raise InputError(f"{out}: holds another study, which differs in {difference}; give another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, plan)


def best_rate(arm: str, search: Iterable[ArmJob], out: Path) -> float:
    """Return the learning rate with the best validation mAP of an arm; rates that failed are out."""
    mine = {job.learning_rate: job.result(out) for job in search if job.arm == arm}
    found = best_of({rate: r.mean_ap if isinstance(r, ArmResult) else None for rate, r in mine.items()})
    if found is None:
        raise InputError(f"{out}: {arm} failed at every learning rate; give another --out and lower --learning-rates")
    return found


def final_folder(job: ArmJob, out: Path) -> Path:
    """Return the run folder of the last stage of a job."""
    return stage_folders(ARMS[job.arm], job.folder(out))[-1]


@dataclass(frozen=True, kw_only=True)
class ArmWork:
    """Runs jobs; a value that can be sent to another process."""

    playground: Path
    out: Path
    size: str
    start: Path
    num_workers: int
    progress: bool

    def __call__(self, job: ArmJob) -> ArmResult | FailedArm:
        """Run one job to its result; one that diverges would do so again, so that is noted as its result."""
        folder = job.folder(self.out)
        try:
            return run_arm(
                job.arm,
                self.playground,
                folder,
                size=self.size,
                seed=job.seed,
                start=self.start,
                learning_rate=job.learning_rate,
                split=job.split,
                progress=self.progress,
                num_workers=self.num_workers,
            )
        except NonFiniteLossError as error:
            failed = FailedArm(
                arm=job.arm, seed=job.seed, learning_rate=job.learning_rate, split=job.split, reason=str(error)
            )
            return note_failure(folder, failed)

    def run(self, jobs: Sequence[ArmJob], *, num_parallel: int, deadline: float) -> bool:
        """Run the unfinished jobs, none started after the deadline; return whether all are finished."""
        return run_jobs(
            jobs,
            self,
            finished=lambda job: job.result(self.out) is not None,
            note=note,
            num_parallel=num_parallel,
            deadline=deadline,
            quiet=replace(self, progress=False),
        )


def note(job: ArmJob, result: ArmResult | FailedArm) -> None:
    """Say that a job is finished."""
    name = f"{job.arm}, rate {job.learning_rate:g}, seed {job.seed}"
    if isinstance(result, FailedArm):
        print(f"{name}: failed, {result.reason}", flush=True)
    else:
        print(f"{name}: {job.split} mAP {100 * result.mean_ap:.1f} % in {result.seconds:.0f} s", flush=True)
