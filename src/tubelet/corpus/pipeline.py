"""``tubelet corpus build``: from posts to a deduplicated manifest, in steps that are kept as soon as they are done.

Posts are matched with hashtags; the videos that are left are decoded once to codes (paper B, A.2), and what shows the
same as a video of a target data set goes. What a video costs is done shard by shard (``comparison.py``).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from tubelet.corpus.build import check_build, is_present, write_corpus
from tubelet.corpus.comparison import QUARANTINE, CompareSettings, Engine, Progress, compare
from tubelet.corpus.dedup import OPERATING_POINTS, PAIRS
from tubelet.corpus.join import JoinSettings, join_posts, labelled_path
from tubelet.corpus.limits import SHARD_VIDEOS, VIDEO_SECONDS
from tubelet.corpus.match import Matches, choose_labels, keep_frequent, keep_present
from tubelet.corpus.posts import posts_version
from tubelet.corpus.seeds import read_seeds
from tubelet.corpus.shards import write_shard
from tubelet.corpus.stored import Labelled, keep_videos, read_labelled
from tubelet.corpus.unfinished import remove_left
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.records import check_choices
from tubelet.types import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusConfig:
    """A corpus to build."""

    name: str
    """Of the data set and its label space."""
    posts: str
    """See ``open_posts``."""
    seed_labels: str
    """See ``read_seeds``."""
    nouns: str = ""
    """A second list: labels are pairs of the first list's verbs with these nouns."""
    media_root: Path
    """Folder the posts' videos lie in."""
    min_videos: int = 50
    """Labels with fewer videos are dropped, before videos are decoded and again at the end."""
    seed: int = 0
    """Decides which of a video's labels is kept."""
    all_labels: bool = False
    """Keep every label of a video."""
    val_share: float = 0.05
    """Share of the videos in split ``val``."""
    licence: str = "unknown"
    """Of the posts."""
    join: JoinSettings = field(default_factory=JoinSettings)
    """How the posts are read."""
    targets: tuple[Path, ...] = ()
    """Manifests of the data sets whose videos must not be in the corpus."""
    dedup: Literal["paper", "balanced"] = "paper"
    """Operating point (``OPERATING_POINTS``)."""
    mirrored: bool = False
    """Look for mirror images too."""
    within: bool = False
    """Of near-duplicates among the posts' own videos keep the first by name."""
    video_seconds: float = VIDEO_SECONDS
    """A video whose decoding takes longer is given up."""
    shard_videos: int = SHARD_VIDEOS
    """Videos of one shard."""

    def __post_init__(self) -> None:
        check_choices(self)
        self.compared()

    def compared(self) -> CompareSettings:
        """Return how the videos are compared.

        Raises:
            InputError: ``video_seconds`` or ``shard_videos`` cannot be.
        """
        return CompareSettings(
            dedup=replace(OPERATING_POINTS[self.dedup], mirrored=self.mirrored),
            within=self.within,
            video_seconds=self.video_seconds,
            shard_videos=self.shard_videos,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """What was built."""

    manifest: Manifest
    matches: Matches
    duplicates: pa.Table
    """``PAIRS`` that a video was dropped for."""
    quarantine: pa.Table
    """``QUARANTINE``."""


def build_recipe(
    config: CorpusConfig,
    out: Path,
    *,
    work: Path | None = None,
    engine: str = "local",
    num_workers: int = 2,
    on_progress: Progress = lambda what, done, total: None,
) -> Corpus:
    """Build a corpus, or go on with one; the result depends on the config and its inputs alone.

    Args:
        config: What to build.
        out: Folder of the manifest.
        work: Holds what is done and may be deleted afterwards; corpora that share it decode the same targets once.
            None = ``out/work``.
        engine: ``local`` or ``ray``.
        num_workers: Processes that decode; with ``ray`` those of each task.
        on_progress: Told what is done.

    Raises:
        InputError: Something cannot be used, or no label is left.
    """
    check_build(config.media_root, config.val_share)
    if config.min_videos < 1:
        raise InputError(f"min_videos is {config.min_videos}, expected at least 1")
    targets = [read_manifest(path) for path in config.targets]
    work = (out / "work" if work is None else work).absolute()
    remove_left(out, work)
    labelled = _labelled(config, work, on_progress)
    quarantine, duplicates = QUARANTINE.empty_table(), PAIRS.empty_table()
    if targets or config.within:
        labelled = keep_frequent(labelled, config.min_videos)
        labelled, quarantine, duplicates = _deduplicated(
            labelled, config, targets, work, Engine(engine, num_workers, on_progress)
        )
    matches = choose_labels(labelled, min_videos=config.min_videos, seed=config.seed, all_labels=config.all_labels)
    manifest = write_corpus(
        out,
        matches,
        name=config.name,
        media_root=config.media_root,
        licence=config.licence,
        val_share=config.val_share,
        chosen=_chosen(config, targets),
    )
    write_shard(out / "quarantine.parquet", quarantine)
    write_shard(out / "duplicates.parquet", duplicates)
    return Corpus(manifest=manifest, matches=matches, duplicates=duplicates, quarantine=quarantine)


def _chosen(config: CorpusConfig, targets: Sequence[Manifest]) -> dict[str, object]:
    """Return what the report says of the config."""
    return {
        "min_videos": config.min_videos,
        "seed": config.seed,
        "max_seconds": config.join.max_seconds,
        "targets": [manifest.name for manifest in targets],
        "dedup": config.dedup if targets or config.within else "none",
        "mirrored": config.mirrored,
        "within": config.within,
        "video_seconds": config.video_seconds,
    }


def _labelled(config: CorpusConfig, work: Path, on_progress: Progress) -> Labelled:
    """Return the posts' videos with all their labels; matched once for the same posts and hashtags."""
    what = "posts matched with hashtags"
    on_progress(what, 0, 1)
    seeds = read_seeds(config.seed_labels, nouns=config.nouns)
    path = labelled_path(work, posts_version(config.posts), seeds, config.join)
    labelled = read_labelled(path) if path.exists() else join_posts(config.posts, seeds, config.join, path)
    on_progress(what, 1, 1)
    return keep_present(labelled, partial(is_present, config.media_root))


def _deduplicated(
    labelled: Labelled, config: CorpusConfig, targets: Sequence[Manifest], work: Path, engine: Engine
) -> tuple[Labelled, pa.Table, pa.Table]:
    """Drop videos that cannot be decoded and duplicates; return what is left, the quarantine and the pairs."""
    found = compare(
        ((video, 0.0) for video in _videos(labelled)),
        media_root=config.media_root,
        targets=targets,
        settings=config.compared(),
        work=work,
        engine=engine,
    )
    labelled = _without(labelled, found.unreadable(), "the video can be decoded to its end")
    if targets:
        labelled = _without(labelled, found.of_targets.column("source").to_pylist(), "no duplicate of a target's video")
    if config.within:
        gone = found.of_each_other.column("source").to_pylist()
        labelled = _without(labelled, gone, "no duplicate of another post's video")
    return labelled, found.quarantine, pa.concat_tables([found.of_targets, found.of_each_other])


def _without(labelled: Labelled, videos: Iterable[str], rule: str) -> Labelled:
    gone = set(videos)
    return keep_videos(labelled, np.array([video not in gone for video in _videos(labelled)], np.bool_), rule)


def _videos(labelled: Labelled) -> Iterator[str]:
    return (video for batch in labelled.batches() for video in batch.column("video").to_pylist())
