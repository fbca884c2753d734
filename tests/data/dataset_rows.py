"""Rows of small manifests, and what the tests of data sets ask of them."""

from typing import Any

from numbered_video import number_of

from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest import Manifest
from tubelet.labels import LabelSpace
from tubelet.types import ClipSample, Preprocess
from tubelet.video.augmentations import Augment

SPACE = LabelSpace(name="toy", names=("walk", "run", "jump", "sit"))
CLIPS = Preprocess(size=80, num_frames=5, frame_stride=2, fps=25)
STILL = Augment(scale_range=(1.0, 1.0), box_jitter=0.0)


def clip(clip_id: str, video: str, start: float, end: float, split: str, *labels: int) -> dict[str, Any]:
    return {
        "clip_id": clip_id,
        "video": video,
        "start_seconds": start,
        "end_seconds": end,
        "split": split,
        "labels": list(labels),
    }


def box(clip_id: str, time: float, x1: float, *labels: int, **more: Any) -> dict[str, Any]:
    row = {"clip_id": clip_id, "pts_seconds": time, "x1": x1, "y1": 0.25, "x2": x1 + 0.25, "y2": 0.75}
    return row | {"labels": list(labels)} | more


def dataset(manifest: Manifest, split: str = "train", **changes: Any) -> ClipDataset:
    options: dict[str, Any] = {"preprocess": CLIPS, "augment": STILL}
    return ClipDataset(manifest, split, **(options | changes))


def numbers(sample: ClipSample) -> list[int]:
    # 160x96 on a canvas of 80: scaled to 80x48 with 16 rows of zeros above.
    return [number_of(frame[:, 16:64]) for frame in sample.frames]
