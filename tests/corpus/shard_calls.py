"""What the tests of shards do with a video; in a module of its own, so that workers can import it."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from tubelet.corpus.fingerprint import FingerprintSettings, fingerprint_shard

SECONDS = 0.2


def wild_call(
    videos: Sequence[str], *, media_root: Path, settings: FingerprintSettings, fps: Sequence[float]
) -> pa.Table:
    """Do as ``fingerprint_shard``, but for videos whose names say what they do to a process."""
    (video,) = videos
    with (media_root / "calls.log").open("a") as file:
        file.write(f"{video}\n")
    if "deadly" in video:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "endless" in video:
        time.sleep(600)
    if "bug" in video:
        raise ZeroDivisionError("a bug in the decoder")
    return fingerprint_shard(videos, media_root=media_root, settings=settings, fps=fps)


def slow_call(
    videos: Sequence[str], *, media_root: Path, settings: FingerprintSettings, fps: Sequence[float]
) -> pa.Table:
    """Do as ``wild_call``, slowly."""
    time.sleep(SECONDS)
    return wild_call(videos, media_root=media_root, settings=settings, fps=fps)
