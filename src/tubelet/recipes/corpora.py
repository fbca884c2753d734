"""Corpora to build: ``tubelet corpus build NAME [the function's parameters] --out DIR``.

    tubelet corpus build --out out/corpus                                  # the playground's tagged posts
    tubelet corpus build own_posts --posts posts.parquet --seed-labels verbs --media-root videos --out my_corpus

Hardware: any; a core reads some 90 seconds of video a second. ``playground_posts`` takes a minute on 2 cores.
"""

from pathlib import Path
from typing import Literal

from tubelet.corpus.columns import PostColumns
from tubelet.corpus.join import MAX_SECONDS, JoinSettings
from tubelet.corpus.limits import SHARD_VIDEOS, VIDEO_SECONDS
from tubelet.corpus.pipeline import CorpusConfig
from tubelet.playground.build import build_playground
from tubelet.recipes.playground import CLASSIFY_SETS, LOCALISE_SET, manifest_of

NO_COLUMNS = PostColumns()


def playground_posts(
    playground: Path = Path("out/playground"),
    *,
    size: Literal["tiny", "small", "study", "full"] = "tiny",
    min_videos: int = 1,
    dedup: Literal["paper", "balanced"] = "balanced",
    seed: int = 0,
) -> CorpusConfig:
    """Build a corpus from the playground's tagged posts, without copies of what the other sets show.

    Args:
        playground: Its folder; rendered first if there are no posts in it.
        size: Of a playground that has to be rendered.
        min_videos: Labels with fewer videos are dropped; of a larger playground take 4 (small) or 8 (study).
        dedup: Operating point.
        seed: Decides which of a video's labels is kept.
    """
    if not (playground / "posts.parquet").exists():
        build_playground(size, playground, num_workers=2, seed=seed)
    return CorpusConfig(
        name="posts",
        posts=str(playground / "posts.parquet"),
        seed_labels=str(playground / "seed_labels.txt"),
        media_root=playground,
        min_videos=min_videos,
        seed=seed,
        targets=tuple(manifest_of(playground, name) for name in (*CLASSIFY_SETS, LOCALISE_SET)),
        dedup=dedup,
        shard_videos=32,
    )


def own_posts(
    *,
    posts: str,
    seed_labels: str,
    media_root: Path,
    nouns: str = "",
    targets: tuple[Path, ...] = (),
    dedup: Literal["paper", "balanced"] = "paper",
    mirrored: bool = False,
    within: bool = False,
    min_videos: int = 50,
    seed: int = 0,
    all_labels: bool = False,
    val_share: float = 0.05,
    max_seconds: float = MAX_SECONDS,
    columns: PostColumns = NO_COLUMNS,
    on_malformed: Literal["count", "stop"] = "count",
    memory_gib: float = 2.0,
    video_seconds: float = VIDEO_SECONDS,
    shard_videos: int = SHARD_VIDEOS,
    name: str = "posts",
    licence: str = "unknown",
) -> CorpusConfig:
    """Build a corpus from your tagged posts (paper B, 3 and A.2).

    Args:
        posts: Parquet, csv or jsonl of posts: a file, a folder of files or an address.
        seed_labels: verbs, nouns, verb-nouns, a published label space (kinetics400), a text file with one phrase a line
            such as "catching a fish", or a csv of labels and hashtags as `tubelet corpus labels --out` writes it.
        media_root: Folder the posts' videos lie in.
        nouns: A second list: the labels are pairs of the first list's verbs with these nouns.
        targets: Manifests of data sets that will be trained on or scored later: no copy of their videos stays.
        dedup: paper: everything above a low threshold goes; balanced: scenes that only look alike stay.
        mirrored: Look for mirror images of the targets' videos too.
        within: Of near-duplicates among the posts' own videos keep the first by name.
        min_videos: Labels with fewer videos are dropped and counted.
        seed: Decides which of a video's labels is kept.
        all_labels: Keep every label of a video: for losses that are not a softmax.
        val_share: Share of the videos in the split val.
        max_seconds: Longer posts are dropped and counted.
        columns: What the columns of the posts are called.
        on_malformed: Count rows that cannot be read, or stop at the first.
        memory_gib: What the tables may take in memory; the rest is spilled to disk.
        video_seconds: A video whose decoding takes longer is given up and counted.
        shard_videos: Videos of one shard: what a killed run has to do again at most, for each process.
        name: Of the data set.
        licence: Of the posts, written into the manifest.
    """
    return CorpusConfig(
        name=name,
        posts=posts,
        seed_labels=seed_labels,
        nouns=nouns,
        media_root=media_root,
        min_videos=min_videos,
        seed=seed,
        all_labels=all_labels,
        val_share=val_share,
        licence=licence,
        join=JoinSettings(
            columns=columns,
            max_seconds=max_seconds,
            stop_at_malformed=on_malformed == "stop",
            memory_gib=memory_gib,
        ),
        targets=targets,
        dedup=dedup,
        mirrored=mirrored,
        within=within,
        video_seconds=video_seconds,
        shard_videos=shard_videos,
    )
