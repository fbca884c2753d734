"""Clips per second from file to training tensor: this reader, its floor, its lossy mode, and three peers, in one run.

python benchmarks/decode.py [--rounds 9] [--gop 12 250] [--cpu-time] [--videos FILE ...]

A clip is 32 frames, stride 2, from a random start; exact frames; one thread; the file is opened each time; the result
is uint8 RGB, 128x171 or 112x112 of it. Videos: the real ones given (and bikes.mp4 of the ``demo`` extra; without any a
rendered pattern), made 10 s of 30 fps, 340x256, H.264 with B-frames, a key frame every 12 and every 250 frames. Readers
take turns at a video, in another order each round; a turn is one clip that is not counted, for training reads clip
after clip too, and all clips of the video. Medians over the rounds, taken clip by clip and summed. Peers (``pip install
tubelet[bench]``) that are not installed are left out and named. Each may scale by torch or by its own decoder; the best
of all these is the best peer.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import geometric_mean, median

import av
import numpy as np
import torch
from decode_peers import peers
from machine import median_seconds, orders, write_result
from torch.nn.functional import interpolate
from videos import FPS, NUM_FRAMES, make_videos

from tubelet.inference.real_video import real_video
from tubelet.types import InputError
from tubelet.video import plan
from tubelet.video.cache import FrameCache
from tubelet.video.container import open_video
from tubelet.video.convert import Crop, FrameBatch, FrameSize
from tubelet.video.decode import read_clips, read_frames

STARTS_PER_VIDEO = 2
SCALED, CROP = (128, 171), Crop(112, 112, 0.25, 0.75)
SHAPES: Mapping[str, Crop | None] = {"128x171": None, "112x112": CROP}
SIZES = {crop: FrameSize(exact_hw=SCALED, crop=crop) for crop in SHAPES.values()}
"""Made once, as a data set makes its own."""

Reader = Callable[[Path, int, Crop | None], object]


def times_from(start: int) -> list[float]:
    """Return the times of a clip whose first frame is frame ``start``."""
    return [(start + 2 * i) / FPS for i in range(32)]


def ours(path: Path, start: int, crop: Crop | None) -> object:
    """Read a clip with this reader."""
    return read_frames(path, times_from(start), size=SIZES[crop])


def lossy(path: Path, start: int, crop: Crop | None) -> object:
    """Read a clip without the loop filter."""
    return read_frames(path, times_from(start), size=SIZES[crop], lossy=True)


class Counter(FrameBatch):
    """Counts frames and converts none."""

    def __init__(self) -> None:
        super().__init__("", FrameSize(), 1)
        self.count = 0

    def add(self, frame: av.VideoFrame, seconds: float | None) -> int:
        """Count a frame."""
        self.count += 1
        return self.count - 1


def floor(path: Path, start: int, crop: Crop | None) -> object:
    """Decode what a clip needs and nothing else: no pixel is looked at."""
    with open_video(path) as video:
        return [plan.read_planned(video, group, Counter()) for group in plan.plan(video, times_from(start))]


def decode_everything(path: Path, start: int, crop: Crop | None) -> object:
    """Decode the whole file to RGB, choose by index, scale: what simple readers do."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    picked = torch.from_numpy(np.stack(frames[start : start + 64 : 2])).permute(0, 3, 1, 2)
    return interpolate(picked, size=SCALED, mode="bilinear", antialias=True)


def run(read: Reader, videos: list[Path], starts: np.ndarray, crop: Crop | None) -> None:
    """Read the clips of one round."""
    for path in videos:
        for start in starts:
            read(path, int(start), crop)


def compare(videos: list[Path], *, gop: int, rounds: int, clock: Callable[[], float]) -> list[dict[str, object]]:
    """Return a row for each reader and shape."""
    others = peers(SCALED)
    own: dict[str, Reader] = {"ours": ours, "ours, lossy": lossy, "decode only": floor, "everything": decode_everything}
    starts = np.random.default_rng(1).integers(0, NUM_FRAMES - 64, (len(videos), STARTS_PER_VIDEO))
    rows: list[dict[str, object]] = []
    for shape, crop in SHAPES.items():
        readers = {name: partial(clip_seconds, reader, crop, clock) for name, reader in {**own, **others}.items()}
        seconds = dict.fromkeys(readers, 0.0)
        for path, some in zip(videos, starts.tolist(), strict=True):
            found: dict[str, list[list[float]]] = {name: [] for name in readers}
            for order in orders(readers, rounds):  # video by video, so that a burst of load meets all readers alike
                for name, read in order:
                    found[name].append(read(path, some))
            for name, times in found.items():
                seconds[name] += float(np.median(times, axis=0).sum()) / starts.size
        best = min((seconds[name] for name in others), default=float("nan"))
        rows += [
            {
                "reader": name,
                "gop": gop,
                "shape": shape,
                "clock": clock.__name__,
                "ms_per_clip": 1000 * value,
                "clips_per_second": 1 / value,
                "x_best_peer": best / value,
                "x_everything": seconds["everything"] / value,
                "x_floor": seconds["decode only"] / value,
            }
            for name, value in seconds.items()
        ]
    return rows


def clip_seconds(
    read: Reader, crop: Crop | None, clock: Callable[[], float], path: Path, starts: list[int]
) -> list[float]:
    """Return the seconds of each clip of a video, after one that is not counted: caches then hold the reader's code."""
    read(path, starts[0], crop)
    seconds = []
    for start in starts:
        began = clock()
        read(path, start, crop)
        seconds.append(clock() - began)
    return seconds


def ten_clips(videos: list[Path], *, gop: int, rounds: int) -> dict[str, object]:
    """Compare ten clips of each video in one pass with ten reads, and check that they are the same."""
    starts = np.linspace(0, NUM_FRAMES - 64, 10).astype(int)
    clips = [times_from(int(start)) for start in starts]

    def together() -> None:
        for path in videos:
            read_clips(path, clips, size=SIZES[CROP])

    def apart() -> None:
        for path in videos:
            for clip in clips:
                read_frames(path, clip, size=SIZES[CROP])

    for path in videos:
        for one, clip in zip(read_clips(path, clips, size=SIZES[CROP]), clips, strict=True):
            assert torch.equal(one.frames, read_frames(path, clip, size=SIZES[CROP]).frames)
    seconds = median_seconds({"together": together, "apart": apart}, rounds=rounds)
    value = seconds["together"] / len(videos)
    name = "ten clips in one pass, against ten reads"
    return {"reader": name, "gop": gop, "ms_per_clip": 100 * value, "x_apart": seconds["apart"] / seconds["together"]}


def scaling(videos: list[Path], *, gop: int, rounds: int) -> Iterator[dict[str, object]]:
    """Yield what two processes do in the time of one, of this reader and of plain arithmetic beside it.

    Arithmetic in registers shares nothing: what it lacks of 2 was taken by others at that moment. The processor's
    seconds do not count what others took, only what the two processes take from each other.
    """
    starts = np.random.default_rng(2).integers(0, NUM_FRAMES - 64, 4 * STARTS_PER_VIDEO)
    works: dict[str, Callable[[], None]] = {
        "two processes, against one": partial(run, ours, videos, starts, CROP),
        "two processes of arithmetic": _arithmetic,
    }
    start = partial(ProcessPoolExecutor, mp_context=get_context("spawn"), initializer=torch.set_num_threads)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    with start(2, initargs=(1,)) as pool:
        list(pool.map(_clocked, [works["two processes, against one"]] * 4))  # both have started and imported
        for _ in range(rounds):
            for name, work in works.items():
                (one,) = pool.map(_clocked, [work])
                two = list(pool.map(_clocked, [work] * 2))
                wall, cpu = (2 * one[k] / max(t[k] for t in two) for k in range(2))
                found[name].append((wall, cpu))
    for name, ratios in found.items():
        wall, cpu = (median(r[k] for r in ratios) for k in range(2))
        yield {"reader": name, "gop": gop, "x_one": wall, "x_one_processor_seconds": cpu}


def _arithmetic() -> None:
    total = 0
    for i in range(2_000_000):
        total += i * i & 7


def _clocked(work: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds on the wall and of the processor that a call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def cached(videos: list[Path], folder: Path, *, rounds: int) -> dict[str, object]:
    """Return what the frame cache gives, once filled."""
    cache = FrameCache(folder / "cache", FrameSize(long_side=171, shrink_only=True), FPS)

    def read(path: Path, start: int, crop: Crop | None) -> object:
        return cache.clip(path, times_from(start))

    starts = np.random.default_rng(1).integers(0, NUM_FRAMES - 64, STARTS_PER_VIDEO)
    run(read, videos, starts, None)
    seconds = median_seconds({"cache": partial(run, read, videos, starts, None)}, rounds=rounds)
    clips = len(videos) * len(starts)
    return {
        "reader": "FrameCache, long side 171",
        "ms_per_clip": 1000 * seconds["cache"] / clips,
        "clips_per_second": clips / seconds["cache"],
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--gop", type=int, nargs="*", default=[12, 250], help="a result file for each")
    parser.add_argument(
        "--cpu-time", action="store_true", help="seconds of the processor: for a machine that is shared"
    )
    parser.add_argument("--videos", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    sources = list(arguments.videos)
    try:
        sources.append(real_video())
    except InputError as error:
        print(f"without bikes.mp4: {error}")
    with tempfile.TemporaryDirectory() as folder:
        for gop in arguments.gop:
            videos = make_videos(sources, Path(folder), gop)
            rows = compare(videos, gop=gop, rounds=arguments.rounds, clock=clock)
            rows.append(ten_clips(videos, gop=gop, rounds=arguments.rounds))
            rows += scaling(videos, gop=gop, rounds=arguments.rounds)
            rows.append(cached(videos, Path(folder), rounds=arguments.rounds))
            wins = [float(str(r["x_best_peer"])) for r in rows if r["reader"] == "ours" and "x_best_peer" in r]
            print(f"ours against the best peer, geometric mean: {geometric_mean(wins):.2f}")
            write_result(f"decode_gop{gop}", rows)


if __name__ == "__main__":
    main()
