"""Where localising a video spends its time: ``python benchmarks/inference.py [VIDEO] [--model RUN]``.

Without a video: 20 s of 640x360 at 25 frames a second, rendered people doing one thing after another, 2 to 4 of them at
once, encoded as H.264. With the model that ships every part is timed where it is called, in a run of ``tubelet
localise`` as a user starts it; what is left over is cut finding, canvases, linking's queue and writing. ``times real
time`` is seconds of video a second of work; its memory is the most the process held after half of a video and after all
of one three times as long: it must not grow.
"""

import argparse
import resource
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from machine import write_result
from PIL import Image

import tubelet
from tubelet.data.manifest import read_manifest
from tubelet.inference import pipeline, render
from tubelet.inference.detections_file import read_detections
from tubelet.inference.outputs import localise_video
from tubelet.inference.pipeline import Localiser
from tubelet.inference.ring import FrameRing
from tubelet.inference.tubes import TubeLinker
from tubelet.video.container import probe
from tubelet.video.decode import iter_frames
from tubelet.video.write import VideoWriter

WIDTH, HEIGHT, FPS = 640, 360, 25.0
SECONDS = 20.0
NUM_SOURCES = 4


def crowded(playground: Path) -> list[Path]:
    """Return the rendered test videos with the most people at once."""
    manifest = read_manifest(playground / "manifests" / "localise")
    assert manifest.boxes is not None
    people = Counter(manifest.boxes.column("clip_id").to_pylist())
    instants = {(row["clip_id"], row["pts_seconds"]) for row in manifest.boxes.to_pylist()}
    keyframes = Counter(clip for clip, _ in instants)
    clips = [row for row in manifest.clips.to_pylist() if row["split"] == "test" and keyframes[row["clip_id"]]]
    clips.sort(key=lambda row: -people[row["clip_id"]] / keyframes[row["clip_id"]])
    return [Path(manifest.media_root) / row["video"] for row in clips[:NUM_SOURCES]]


def street(path: Path, sources: list[Path], seconds: float) -> Path:
    """Write a video of 640x360 at 25 frames a second out of rendered ones, one after the other, over and over."""
    wanted = round(seconds * FPS)
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS) as writer:
        written = 0
        while written < wanted:
            for source in sources:
                for _, frame in iter_frames(source):
                    if written < wanted:
                        scaled = Image.fromarray(frame).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
                        writer.write(np.asarray(scaled))
                        written += 1
    return path


class Clock:
    """Adds up the seconds spent in parts of a program that do not overlap: a part inside another is taken from it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = time.perf_counter()

    def _turn(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def enter(self, part: str) -> None:
        """Begin a part."""
        self._turn()
        self._open.append(part)

    def leave(self) -> None:
        """End the part begun last."""
        self._turn()
        self._open.pop()

    def calls(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose calls are counted to a part."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.enter(part)
            try:
                return call(*args, **kwargs)
            finally:
                self.leave()

        return timed

    def steps(self, part: str, make: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """Return a generator function whose steps are counted to a part."""

        def timed(*args: Any, **kwargs: Any) -> Iterator[Any]:
            step = self.calls(part, make(*args, **kwargs).__next__)
            while True:
                try:
                    item = step()
                except StopIteration:
                    return
                yield item

        return timed


def parts_of(localiser: Localiser, video: Path, out: Path) -> dict[str, float]:
    """Localise a video; return the seconds of each part."""
    clock = Clock()
    with ExitStack() as stack:
        for place, name, part in (
            (TubeLinker, "update", "track"),
            (TubeLinker, "at", "track"),
            (FrameRing, "add", "canvases"),
            (localiser, "_score", "actions"),
            (localiser, "_people", "detect"),
            (render, "draw_people", "draw"),
            (VideoWriter, "write", "encode"),
        ):
            stack.enter_context(patch.object(place, name, clock.calls(part, getattr(place, name))))
        for module, name, part in ((pipeline, "iter_frames", "decode"), (render, "iter_frames", "decode again")):
            stack.enter_context(patch.object(module, name, clock.steps(part, getattr(module, name))))
        clock.enter("rest")
        localise_video(localiser, video, out)
        clock.leave()
    return dict(clock.seconds)


def most_mib() -> float:
    """Return the most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and write ``benchmarks/results/inference.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--playground", type=Path, default=Path("out/demo/playground"))
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # Rendered people look less like people to the detector than real ones.
    localiser = tubelet.load(options.model, person_threshold=0.5 if options.video else 0.4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = options.video
        if video is None:
            if not options.playground.is_dir():
                print(f"inference: skipped, {options.playground} is not here; make demo renders it")
                return
            sources = crowded(options.playground)
            video = street(folder / "street.mp4", sources, options.seconds)
        parts_of(localiser, video, folder / "warm")
        runs = [parts_of(localiser, video, folder / "out") for _ in range(options.rounds)]
        held = most_mib()
        meta = probe(video)
        middle = sorted(runs, key=lambda run: sum(run.values()))[len(runs) // 2]
        moments = read_detections(folder / "out" / f"{video.stem}.json").moments
        rows: list[dict[str, Any]] = [
            {"part": part, "seconds": seconds, "ms_per_frame": 1000 * seconds / (meta.fps * meta.duration_seconds)}
            for part, seconds in sorted(middle.items(), key=lambda item: -item[1])
        ]
        total = sum(middle.values())
        rows.append(
            {
                "part": "all",
                "seconds": total,
                "ms_per_frame": 1000 * total / (meta.fps * meta.duration_seconds),
                "times_real_time": meta.duration_seconds / total,
                "video": f"{meta.width}x{meta.height}, {meta.fps:g} frames a second, {meta.duration_seconds:.1f} s",
                "people_at_once": float(np.mean([len(moment.person_ids) for moment in moments])),
                "threads": torch.get_num_threads(),
                "most_mib": held,
            }
        )
        if options.video is None:
            longer = street(folder / "long.mp4", sources, 3 * options.seconds)
            held = most_mib()
            parts_of(localiser, longer, folder / "out")
            rows.append({"part": "a video three times as long", "most_mib": most_mib(), "grown_mib": most_mib() - held})
    write_result("inference", rows)


if __name__ == "__main__":
    main()
