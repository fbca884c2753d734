"""Commands that make data: the demo, the playground, a corpus from tagged posts."""

from pathlib import Path
from typing import Literal


def demo(
    *, size: Literal["tiny", "small"] = "small", out: Path = Path("out/demo"), seed: int = 0, num_workers: int = 2
) -> None:
    """Run the whole path on data that renders itself and on one real video, and write a report.

    Args:
        size: ``small`` takes up to 10 minutes on 2 cores, ``tiny`` up to 90 seconds.
        out: Folder for everything it makes; what is there already is reused.
        seed: Decides the data, the training and so every number.
        num_workers: Processes that render and prepare batches.
    """
    from tubelet.demo import run_demo

    run_demo(size=size, out=out, seed=seed, num_workers=num_workers)


def playground_build(
    *, out: Path, size: Literal["tiny", "small", "study", "full"] = "small", seed: int = 0, num_workers: int = 2
) -> None:
    """Render the playground: videos of people from motion capture, annotated exactly, in published file formats.

    Args:
        out: Folder; videos that are there already are kept.
        size: How many videos.
        seed: Same seed, same bytes of annotation.
        num_workers: Processes that render.
    """
    from tubelet.playground.build import build_playground

    build_playground(size, out, num_workers=num_workers, seed=seed)
    print(f"playground: {out}")


def corpus_build(
    *, posts: Path, seed_labels: Path, media_root: Path, out: Path, min_videos: int = 50, seed: int = 0
) -> None:
    """Turn tagged posts into a weakly labelled manifest (paper B, 3.1): match hashtags, keep one label per video.

    Args:
        posts: Parquet with the columns video and tags (or text) and duration_seconds.
        seed_labels: Text file with one phrase a line, such as "catching a fish".
        media_root: Folder the posts' videos lie in.
        out: Folder of the manifest.
        min_videos: Labels with fewer videos are dropped and counted.
        seed: Decides which of a video's labels is kept.
    """
    from tubelet.corpus.build import build_corpus, read_seed_labels

    labels = read_seed_labels(seed_labels)
    manifest = build_corpus(posts, labels, out, media_root=media_root, min_videos=min_videos, seed=seed)
    print(f"manifest: {manifest.root} ({len(manifest.clips)} videos, {len(manifest.label_space)} labels)")
