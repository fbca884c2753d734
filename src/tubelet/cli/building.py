"""``tubelet corpus build``: from a recipe's posts to a deduplicated manifest and what became of them."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tubelet.cli.training import options_of, summary


@dataclass(kw_only=True)
class BuildOptions:
    """Options of every corpus."""

    out: Path
    """Folder of the manifest; what is done there already is kept."""
    engine: Literal["local", "ray"] = "local"
    """local: this machine; ray: a cluster that is there (RAY_ADDRESS), which sees the same paths. The result is the
    same."""
    num_workers: int = 2
    """Processes that decode; with ray those of each task."""


def corpus_build(arguments: list[str]) -> None:
    """Turn a recipe's tagged posts into a deduplicated, weakly labelled manifest, and report what became of them.

    ``tubelet corpus build [RECIPE] --out DIR [options]``; without RECIPE the playground's posts. A build that was
    stopped goes on when the same command is given again.
    """
    from tubelet.recipes import CORPUS_RECIPES, find_corpus_recipe

    if arguments[:1] in (["-h"], ["--help"]):
        print("usage: tubelet corpus build [RECIPE] --out DIR [options]     (RECIPE --help lists them)\n")
        for name, function in CORPUS_RECIPES.items():
            print(f"  {name:20} {summary(function)}")
        return
    if not arguments or arguments[0].startswith("-"):
        arguments = [next(iter(CORPUS_RECIPES)), *arguments]
    from tubelet.corpus.pipeline import build_recipe
    from tubelet.corpus.rules import rule_lines
    from tubelet.studies.corpus_page import write_corpus_report

    recipe = find_corpus_recipe(arguments[0])
    chosen: Any = tyro.cli(
        options_of(recipe, BuildOptions), args=arguments[1:], prog=f"tubelet corpus build {arguments[0]}"
    )
    own = {field.name for field in fields(BuildOptions)}
    config = recipe(**{field.name: getattr(chosen, field.name) for field in fields(chosen) if field.name not in own})
    with _Bars() as bars:
        corpus = build_recipe(
            config, chosen.out, engine=chosen.engine, num_workers=chosen.num_workers, on_progress=bars.update
        )
        bars.update("report", 0, 1)
        page, text = write_corpus_report(corpus, config, chosen.out, chosen.num_workers)
        bars.update("report", 1, 1)
    print(*rule_lines(corpus.matches.report.rules), sep="\n")
    manifest = corpus.manifest
    print(f"not decoded: {corpus.quarantine.num_rows} videos; pairs of duplicates: {corpus.duplicates.num_rows}")
    print(f"manifest: {manifest.root} ({len(manifest.clips)} videos, {len(manifest.label_space)} labels)")
    print(f"report: {page} and {text.name}")


class _Bars:
    """A bar on standard error for each thing that is told of."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, what: str, done: int, total: int) -> None:
        """Show how much of something is done."""
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what)
        self._progress.update(self._bars[what], completed=done, total=total)
