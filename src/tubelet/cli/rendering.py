"""Commands that render: the demo, the playground."""

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
