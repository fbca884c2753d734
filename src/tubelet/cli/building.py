"""``tubelet corpus build`` and ``dedup``: from posts to a deduplicated manifest, and its second half alone."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from tyro.conf import Positional

from tubelet.cli.options import call_with_options
from tubelet.cli.training import options_of, summary
from tubelet.corpus.limits import SHARD_VIDEOS, VIDEO_SECONDS
from tubelet.types import InputError

if TYPE_CHECKING:
    from tubelet.corpus.comparison import CompareSettings, Engine
    from tubelet.data.manifest import Manifest


@dataclass(kw_only=True)
class BuildOptions:
    """Options of every corpus."""

    out: Path
    """Folder of the manifest; what is done there already is kept."""
    work: Path | None = None
    """Folder of what is done; corpora that share it decode the same targets once. Default: work in --out."""
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
    prog = f"tubelet corpus build {arguments[0]}"
    chosen = call_with_options(options_of(recipe, BuildOptions), arguments[1:], prog)
    own = {field.name for field in fields(BuildOptions)}
    config = recipe(**{field.name: getattr(chosen, field.name) for field in fields(chosen) if field.name not in own})
    with _Bars() as bars:
        corpus = build_recipe(
            config,
            chosen.out,
            work=chosen.work,
            engine=chosen.engine,
            num_workers=chosen.num_workers,
            on_progress=bars.update,
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


def corpus_dedup(
    manifest: Positional[Path],
    out: Positional[Path],
    *,
    targets: tuple[Path, ...] = (),
    dedup: Literal["paper", "balanced"] = "paper",
    mirrored: bool = False,
    within: bool = False,
    explain: str = "",
    engine: Literal["local", "ray"] = "local",
    num_workers: int = 2,
    video_seconds: float = VIDEO_SECONDS,
    shard_videos: int = SHARD_VIDEOS,
) -> None:
    """Leave out the videos of a manifest that show what a target data set's videos show (paper B, A.2).

    A run that was stopped goes on when the same command is given again.

    Args:
        manifest: Manifest folder.
        out: New manifest folder; duplicates.parquet in it has each pair, quarantine.parquet what cannot be decoded.
        targets: Manifest folders of the data sets whose videos must not be in it.
        dedup: paper: all that may be a duplicate goes. balanced: what only looks alike stays.
        mirrored: Look for mirror images of the targets too.
        within: Of near-duplicates among the manifest's own videos keep the first by name.
        explain: Instead, say what is found of this video and draw the matched frames, into out/explained.
        engine: local: this machine; ray: a cluster that is there (RAY_ADDRESS), which sees the same paths.
        num_workers: Processes that decode; with ray those of each task.
        video_seconds: A video whose decoding takes longer is given up.
        shard_videos: Videos of one shard of work.
    """
    from tubelet.corpus.comparison import CompareSettings, Engine
    from tubelet.corpus.dedup import OPERATING_POINTS
    from tubelet.data.manifest import read_manifest

    settings = CompareSettings(
        dedup=replace(OPERATING_POINTS[dedup], mirrored=mirrored),
        within=within,
        video_seconds=video_seconds,
        shard_videos=shard_videos,
    )
    source, others = read_manifest(manifest), [read_manifest(target) for target in targets]
    with _Bars() as bars:
        workers = Engine(engine, num_workers, bars.update)
        if explain:
            _explain(explain, source, others, out, settings, workers)
            return
        _drop(source, others, out, settings, workers)


def _drop(
    source: "Manifest", targets: "list[Manifest]", out: Path, settings: "CompareSettings", engine: "Engine"
) -> None:
    from tubelet.corpus.rules import rule_lines
    from tubelet.corpus.without_duplicates import drop_duplicates

    if out.resolve() == source.root.resolve():
        raise InputError(f"{out}: is the manifest itself; expected another folder")
    made = drop_duplicates(source, targets, out, settings, engine)
    print(*rule_lines(made.rules), sep="\n")
    print(f"not decoded: {made.comparison.quarantine.num_rows} videos, see {out / 'quarantine.parquet'}")
    print(f"manifest: {made.manifest.root} ({len(made.manifest.clips)} clips)")


def _explain(
    video: str,
    source: "Manifest",
    targets: "list[Manifest]",
    out: Path,
    settings: "CompareSettings",
    engine: "Engine",
) -> None:
    from tubelet.corpus.without_duplicates import explain, pair_line

    pairs, picture = explain(video, source, targets, out, settings, engine)
    print(*(map(pair_line, pairs) if pairs else [f"{video}: shares no frame with a target"]), sep="\n")
    if picture is not None:
        path = out / "explained" / f"{video.replace('/', '_')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(picture)
        temporary.replace(path)
        print(f"picture: {path}")
