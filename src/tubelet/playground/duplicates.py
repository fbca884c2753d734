"""Near-duplicates: an existing video rescaled, trimmed and encoded again, as uploaders do."""

import json
from pathlib import Path
from typing import Any

from tubelet.playground.jobs import Job, truth_path
from tubelet.records import whole_file
from tubelet.video.container import probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import iter_frames
from tubelet.video.write import VideoWriter

_LONGEST = 160
"""Pixels; posts are small."""


def copy_video(job: Job, target: Job, root: Path) -> dict[str, Any]:
    """Write a post that shows (part of) another video of the playground.

    Args:
        job: The post.
        target: The video it copies; it must exist.
        root: The playground's folder.
    """
    rng = job.rng()
    source = root / target.video
    meta = probe(source)
    start = float(rng.uniform(0, 0.15)) * meta.duration_seconds
    end = meta.duration_seconds * float(rng.uniform(0.85, 1.0))
    long_side = round(min(max(meta.width, meta.height), _LONGEST) * float(rng.uniform(0.6, 0.95)))
    crf = int(rng.integers(28, 34))
    frames = [f for t, f in iter_frames(source, size=FrameSize(long_side=long_side)) if start <= t <= end]
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    with VideoWriter(root / job.video, width=width, height=height, fps=meta.fps, crf=crf) as writer:
        for frame in frames:
            writer.write(frame[:height, :width])
    truth = {
        "video": job.video, "split": job.split, "width": width, "height": height, "fps": meta.fps,
        "num_frames": len(frames), "crf": crf, "place": None, "keyframes": [], "label": "", "post": job.post,
    }  # fmt: skip
    with whole_file(truth_path(root, job)) as file:
        file.write(json.dumps(truth, sort_keys=True) + "\n")
    return truth
