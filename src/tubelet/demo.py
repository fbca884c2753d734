"""``tubelet demo``: the whole path once, on data that renders itself and on one real video.

Tagged posts -> weakly labelled corpus -> pre-training -> co-finetuning beside both controls of paper A -> AVA
evaluation -> two raw videos localised -> one page to read. Everything lands in one folder and is reused there.
"""

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from tubelet import __version__
from tubelet.corpus.pipeline import CorpusConfig, build_recipe
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.evals.page import percent
from tubelet.inference.detections_file import read_detections
from tubelet.inference.outputs import ResultFiles, localise_video, results_of
from tubelet.inference.pipeline import Localiser
from tubelet.inference.real_video import real_video
from tubelet.inference.tubes import NOT_FOLLOWED, link_from
from tubelet.models.saved import MODEL_FILE, load_model
from tubelet.playground.build import build_playground
from tubelet.recipes.playground import CLASSIFY_SETS, LOCALISE_SET, POSTS_SET, manifest_of
from tubelet.studies.arms import ARMS
from tubelet.studies.arms_report import chance_arm, class_facts, loss_chart, reported_arms, video_stills
from tubelet.studies.cofinetuning import ArmsOutcome, run_arms, run_start
from tubelet.studies.report import Report, ReportedArm, write_report
from tubelet.train.stages import stage_folders
from tubelet.video.container import probe

# Playground videos are short and posts few: paper B's least number of videos a label needs (50) scales down with them.
MIN_VIDEOS = {"tiny": 2, "small": 4}
DRAWN_THRESHOLD = 0.2


@dataclass
class Stages:
    """Numbered headings with the time each stage took."""

    console: Console
    total: int
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Print the heading, run the block, note its time."""
        self.console.rule(f"[bold]{len(self.seconds) + 1}/{self.total}  {title}", align="left")
        began = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - began


def run_demo(*, size: str, out: Path, seed: int = 0, num_workers: int = 2) -> Path:
    """Run or finish the demo.

    Args:
        size: ``tiny`` or ``small``.
        out: Folder for everything; what is finished there is reused, what was interrupted goes on.
        seed: Of the data and of the training.
        num_workers: Processes that render and prepare batches.

    Returns:
        The report.
    """
    console = Console()
    real = real_video()  # First, so that a missing file is not found out after minutes.
    stages = Stages(console, total=5)
    playground, runs, results = out / "playground", out / "runs", out / "results"
    with stages.stage("The playground: people from motion capture, rendered and annotated"):
        build_playground(size, playground, num_workers=num_workers, seed=seed)
    with stages.stage("Tagged posts to a weakly labelled set, and pre-training on it (paper B)"):
        build_posts(playground, min_videos=MIN_VIDEOS[size], seed=seed, console=console)
        start = run_start(playground, size, runs, num_workers=num_workers)
    with stages.stage("Co-finetuning, and both controls of paper A, from the same start"):
        outcome = run_arms(
            playground,
            size,
            runs,
            seed,
            start=start,
            num_workers=num_workers,
            on_stage=lambda recipe: console.print(f"[bold]{recipe}"),
        )
    with stages.stage("Who does what, where and when: an unseen rendered video and a real one"):
        found = localise_both(outcome.folders["cofinetune"], (unseen_video(playground), real), results, console)
    with stages.stage("The report"):
        report = compose_report(size, seed, playground, outcome, found, stages.seconds, out)
        path = write_report(out / "report.html", report)
    say_what_came_out(console, outcome, report, found, path)
    return path


def build_posts(playground: Path, *, min_videos: int, seed: int, console: Console) -> Manifest:
    """Build the corpus from the playground's posts, or read it if it is there."""
    folder = manifest_of(playground, POSTS_SET)
    if not (folder / "manifest.json").exists():
        config = CorpusConfig(
            name=POSTS_SET,
            posts=str(playground / "posts.parquet"),
            seed_labels=str(playground / "seed_labels.txt"),
            media_root=playground,
            min_videos=min_videos,
            seed=seed,
        )
        build_recipe(config, folder)
    manifest = read_manifest(folder)
    console.print(f"{len(manifest.clips)} posts carry one of {len(manifest.label_space)} hashtag labels")
    return manifest


def unseen_video(playground: Path) -> Path:
    """Return the first video of the localisation set's test split."""
    manifest = read_manifest(manifest_of(playground, LOCALISE_SET))
    rows = zip(manifest.clips["video"].to_pylist(), manifest.clips["split"].to_pylist(), strict=True)
    first: str = min(video for video, split in rows if split == "test")
    return Path(manifest.media_root) / first


def localise_both(run: Path, videos: tuple[Path, ...], out: Path, console: Console) -> list[ResultFiles]:
    """Localise the videos with a run's model; results newer than the model are reused."""
    # Rendered people look less like people to the detector than real ones (docs/localise.md).
    localiser = Localiser(load_model(run), link=link_from(0.4))
    found = []
    for video in videos:
        results = results_of(video, out)
        # Where the JSON is, the others are.
        if not results.json.exists() or results.json.stat().st_mtime < (run / MODEL_FILE).stat().st_mtime:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            with Progress(*columns, console=console) as progress:
                bar = progress.add_task(video.name, total=probe(video).duration_seconds)
                on_time = partial(_advance, progress, bar)
                localise_video(localiser, video, out, threshold=DRAWN_THRESHOLD, on_time=on_time)
        console.print(f"{video.name}: {num_followed(results)} people followed")
        found.append(results)
    return found


def _advance(progress: Progress, bar: TaskID, pts_seconds: float) -> None:
    progress.update(bar, completed=pts_seconds)


def num_followed(found: ResultFiles) -> int:
    """Return how many different identities were followed."""
    moments = read_detections(found.json).moments
    return len({int(person) for moment in moments for person in moment.person_ids if person != NOT_FOLLOWED})


def compose_report(
    size: str,
    seed: int,
    playground: Path,
    outcome: ArmsOutcome,
    found: list[ResultFiles],
    seconds: dict[str, float],
    out: Path,
) -> Report:
    """Gather everything the page shows."""
    manifest = read_manifest(manifest_of(playground, LOCALISE_SET))
    runs = outcome.start.parent
    stages = {arm: stage_folders(recipes, runs / arm) for arm, recipes in ARMS.items()}
    names = {arm: facts.name for arm, facts in zip(("cofinetune", "transfer", "localise_only"), reported_arms(outcome))}
    folders = {names[arm]: stages[arm] for arm in names}
    charts = (
        loss_chart("Localisation set: training loss", folders, LOCALISE_SET),
        *(loss_chart(f"Set {name}: training loss", folders, name) for name in CLASSIFY_SETS),
        loss_chart("Weak pre-training: loss on hashtag labels", {"posts": [outcome.start]}, POSTS_SET),
    )
    headings = ("A rendered video the model has never seen", "A real video: bikes.mp4")
    return Report(
        title="Tubelet demo: who does what, where and when",
        what_ran=(
            f"One small ViViT was pre-trained on tagged posts, then trained in three ways on the {size} playground, "
            "from the same start and with the same number of clips seen."
        ),
        arms=reported_arms(outcome),
        chance=chance_arm(outcome.chance),
        classes=class_facts(manifest, outcome.arms["cofinetune"]),
        charts=tuple(chart for chart in charts if chart.curves),
        stills=tuple(
            (heading, video_stills(video, manifest.label_space, threshold=DRAWN_THRESHOLD))
            for heading, video in zip(headings, found, strict=True)
        ),
        links=tuple(
            (path.relative_to(out).as_posix(), path.name, what)
            for video in found
            for path, what in zip(
                video.paths, ("boxes, identities and actions drawn", "AVA csv", "every score, JSON"), strict=True
            )
        ),
        facts=tuple(run_facts(size, seed, seconds)),
        next_steps=tuple(next_steps(outcome, size, out)),
    )


def run_facts(size: str, seed: int, seconds: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Yield what a reader needs to judge and repeat the run."""
    yield "Tubelet, torch, Python", f"{__version__}, {torch.__version__}, {platform.python_version()}"
    yield "machine", f"{platform.machine()}, {os.cpu_count()} cores"
    yield "size, seed", f"{size}, {seed}"
    for title, value in seconds.items():
        yield title, f"{value:.0f} s"


def next_steps(outcome: ArmsOutcome, size: str, out: Path) -> Iterator[tuple[str, str]]:
    """Yield (command, what it does)."""
    run = outcome.folders["cofinetune"]
    playground = out / "playground"
    tubelet = shown_command()
    yield f"{tubelet} localise YOUR_VIDEO.mp4 --model {run} --out {out}/mine", "Localise a video of your own."
    yield f"{tubelet} evaluate {run} --split test --json {out}/numbers.json", "Score the model again, class by class."
    again = f"{tubelet} train cofinetune --playground {playground} --size {size} --init-from {outcome.start}"
    yield f"{again} --seed 1 --out {out}/seed-1", "Train it once more with another seed."
    yield f"{Path(tubelet).with_name('tensorboard')} --logdir {outcome.start.parent}", "Look at every curve."


def shown_command() -> str:
    """Return what to type for ``tubelet``: a path from here where the environment lies in this folder."""
    command = Path(sys.executable).with_name("tubelet")
    return str(command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command)


def say_what_came_out(
    console: Console, outcome: ArmsOutcome, report: Report, found: list[ResultFiles], path: Path
) -> None:
    """Print the table, where everything is, and what to type next."""
    table = Table("", "mAP %", "head", "mid", "tail", *(f"{name} top-1" for name in CLASSIFY_SETS))
    for arm in (*report.arms, report.chance):
        table.add_row(*arm_row(arm))
    console.print(table)
    console.print("One seed: a difference of a few points may be luck.")
    console.print(f"\n[bold]report[/bold]     {path}")
    for video in found:
        console.print(f"[bold]video[/bold]      {video.annotated}")
    console.print(f"[bold]model[/bold]      {outcome.folders['cofinetune']}")
    console.print("\nNext:")
    for command, why in report.next_steps:
        console.print(f"  {command}\n      {why}", soft_wrap=True, highlight=False)


def arm_row(arm: ReportedArm) -> list[str]:
    """Return an arm's row of the final table."""
    buckets = [percent(arm.by_bucket.get(bucket)) for bucket in ("head", "mid", "tail")]
    return [arm.name, percent(arm.mean_ap), *buckets, *(percent(arm.top1.get(name)) for name in CLASSIFY_SETS)]
