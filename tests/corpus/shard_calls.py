"""Videos for the tests of shards, and what these do with one; of its own, so that workers can import it."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tubelet.corpus.fingerprint import FingerprintSettings, fingerprint_shard
from tubelet.video.write import VideoWriter

SECONDS = 0.2


def write_video(path: Path, seed: int, num_frames: int = 12) -> None:
    """Write a video of a picture that moves to the left; each seed has its own."""
    picture = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with VideoWriter(path, width=64, height=48, fps=8.0) as writer:
        for k in range(num_frames):
            writer.write(np.roll(picture, 4 * k, axis=1))


def wild_call(
    videos: Sequence[str], *, media_root: Path, settings: FingerprintSettings, fps: Sequence[float]
) -> pa.Table:
    """Do as ``fingerprint_shard``, but for videos whose names say what they do to a process."""
    (video,) = videos
    with (media_root / "calls.log").open("a") as file:
        file.write(f"{video}\n")
    if "deadly" in video:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "grim" in video:
        os.kill(_parent_of(os.getppid()), signal.SIGKILL)
        time.sleep(600)
    if "endless" in video:
        time.sleep(600)
    if "bug" in video:
        raise ZeroDivisionError("a bug in the decoder")
    return fingerprint_shard(videos, media_root=media_root, settings=settings, fps=fps)


def _parent_of(pid: int) -> int:
    """Return the process that started this worker's template: that which makes the shard."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def slow_call(
    videos: Sequence[str], *, media_root: Path, settings: FingerprintSettings, fps: Sequence[float]
) -> pa.Table:
    """Do as ``wild_call``, slowly."""
    time.sleep(SECONDS)
    return wild_call(videos, media_root=media_root, settings=settings, fps=fps)
