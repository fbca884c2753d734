"""``tubelet study``: the papers' tables and figures as runs, and what they say."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from tubelet.cli.places import check_folder
from tubelet.types import InputError

if TYPE_CHECKING:
    from tubelet.studies.plan import Study
    from tubelet.studies.runs import PlannedRun, RunScores
    from tubelet.studies.study import StudyPlace


def study_list() -> None:
    """List every table and figure of the papers that is a study."""
    from tubelet.studies.index import STUDIES

    table = Table("study", "what it compares", "arms", "claims")
    for study in STUDIES.values():
        table.add_row(study.name, study.title, str(len(study.arms) or len(study.corpora)), str(len(study.claims)))
    Console(markup=False).print(table)


def study_show(
    name: Positional[str], *, out: Path = Path("out/studies"), scale: Literal["mini", "small"] = "mini"
) -> None:
    """Show a study: the paper's numbers, its arms, its claims, and what its runs have reached.

    Args:
        name: Of the study.
        out: Folder of the studies' runs.
        scale: Of the runs whose results are shown.
    """
    from tubelet.studies.index import find_study
    from tubelet.studies.study import read_result, result_file
    from tubelet.studies.study_page import study_markdown

    study = find_study(name)
    check_folder("--out", out)
    file = result_file(study.name, out, scale)
    print(study_markdown(study, read_result(file) if file.exists() else None), end="")


def study_run(
    name: Positional[str] = "",
    *,
    playground: Path,
    out: Path = Path("out/studies"),
    scale: Literal["mini", "small"] = "mini",
    seeds: tuple[int, ...] = (0, 1, 2),
    start: Path | None = None,
    num_epochs: float | None = None,
    videos_seen: int | None = None,
    budget_minutes: float | None = None,
    num_parallel: int = 2,
    dry_run: bool = False,
) -> None:
    """Do the next unfinished runs of a study, or of all; call it again to go on.

    Args:
        name: Of the study; default: all, in the order of `tubelet study list`.
        playground: Playground folder, with its `posts` manifest built.
        out: Folder of all studies, which share runs; finished ones are kept.
        scale: Networks on the playground: mini for 2 CPU cores, small for one GPU (`recipes/miniature.py`). The papers'
            own scale is each arm's recipe.
        seeds: Of every arm; more may be added later.
        start: Run folder whose weights begin every arm of paper A that has its network, but those from scratch;
            default: each row's own pre-training on the posts.
        num_epochs: Passes over the sets of each of paper A's stages; default: the scale's.
        videos_seen: By each of paper B's pre-trainings; default: the scale's.
        budget_minutes: Start no run after this time; default: until all are finished.
        num_parallel: Runs at the same time, one core each.
        dry_run: Say how many runs are left and about how long they take, and stop. Sets that are made of the posts are
            made for it.
    """
    import time

    if num_parallel < 1:
        raise InputError(f"--num-parallel is {num_parallel}, expected at least 1")
    from tubelet.studies.index import STUDIES, find_study
    from tubelet.studies.study import StudyPlace, result_file, run_study
    from tubelet.studies.study_page import status

    chosen = [find_study(name)] if name else list(STUDIES.values())
    place = StudyPlace(
        playground=playground,
        out=out,
        start=None if start is None else start.resolve(),
        scale=scale,
        num_epochs=num_epochs,
        videos_seen=videos_seen,
    )
    if dry_run:
        _print_costs(chosen, place, seeds, num_parallel)
        return
    began = time.monotonic()
    for study in chosen:
        left = None if budget_minutes is None else budget_minutes - (time.monotonic() - began) / 60
        if left is not None and left <= 0 and study is not chosen[0]:
            break
        result = run_study(study, place, seeds=seeds, budget_minutes=left, num_parallel=num_parallel, note=_note)
        print(f"{study.name}: {status(study, result)}", flush=True)
    results = result_file("", out, scale).parent
    print(f"results: {results}; tubelet study report --results {results} --to DIR draws their pages")


def _print_costs(studies: "Sequence[Study]", place: "StudyPlace", seeds: Sequence[int], num_parallel: int) -> None:
    from tubelet.studies.cost import study_costs

    table = Table("study", "runs left", "clips", f"minutes, {num_parallel} at a time")
    costs = []
    for cost in study_costs(studies, place, seeds):
        costs.append(cost)
        row = (f"{cost.num_runs}", f"{cost.num_clips:,}", f"{cost.seconds / 60 / num_parallel:.0f}")
        table.add_row(cost.study.name, *row)
    Console(markup=False).print(table)
    runs, clips = sum(cost.num_runs for cost in costs), sum(cost.num_clips for cost in costs)
    hours = sum(cost.seconds for cost in costs) / 3600 / num_parallel
    print(f"{runs} runs, {clips:,} clips: {hours:.1f} hours of computing, by the speed that each network has here now")
    print("a run that several studies have is counted once; reading videos for the first time and scoring come on top")


def _note(planned: "PlannedRun", found: "RunScores") -> None:
    scores = f"failed, {found.reason}" if found.reason else f"{found.seconds:.0f} s"
    print(f"{planned.name}, seed {planned.run.seed} ({planned.key}): {scores}", flush=True)


def study_merge(files: Positional[tuple[Path, ...]], *, out: Path) -> None:
    """Put results of one study that ran in different places together: other seeds, or other arms of a seed.

    Args:
        files: Results, ``<study>.json`` each.
        out: The result of all; may be one of the files.
    """
    from tubelet.records import write_json
    from tubelet.studies.study import merge

    if len(files) < 2:
        raise InputError("study merge needs two results or more")
    merged = merge(files)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, merged)
    print(f"{merged.study}, seeds {', '.join(merged.scores)}: {out}")


def study_report(*, results: Path = Path("out/studies/results"), to: Path = Path("out/studies/report")) -> None:
    """Write a page for each study that has results, and say how every study stands.

    Args:
        results: Folder of the results, ``<study>.json`` each.
        to: Folder of the pages; a README.md there has its table of studies renewed.
    """
    from tubelet.studies.report_files import write_pages

    if not results.is_dir():
        raise InputError(f"{results}: no such folder; tubelet study run makes it")
    table = Table("study", "what it compares", "verdict")
    for study, state in write_pages(results, to).items():
        table.add_row(study.name, study.title, state.replace("**", ""))
    Console(markup=False).print(table)
    print(f"pages: {to}")


def study_cofinetuning(
    *,
    playground: Path,
    out: Path,
    size: Literal["tiny", "small", "study"] = "study",
    learning_rates: tuple[float, ...] = (0.0005, 0.002, 0.004, 0.008),
    seeds: tuple[int, ...] = (0, 1, 2),
    budget_minutes: float | None = None,
    num_parallel: int = 2,
) -> None:
    """Compare co-finetuning with both controls of paper A over several seeds; call it again to go on.

    Args:
        playground: Playground folder.
        out: Study folder; finished runs are kept.
        size: Scale of the recipes.
        learning_rates: Tried for every arm on the validation split.
        seeds: Reported on the test split.
        budget_minutes: Start no run after this time; default: until all are finished.
        num_parallel: Runs at the same time, one core each.
    """
    from tubelet.studies.cofinetuning import run_cofinetuning_study
    from tubelet.studies.summary import summarise

    finished = run_cofinetuning_study(
        playground,
        out,
        size=size,
        learning_rates=learning_rates,
        seeds=seeds,
        budget_minutes=budget_minutes,
        num_parallel=num_parallel,
    )
    if finished:
        print(summarise(out).table())
    else:
        print(f"{out}: not finished; the same command goes on")
