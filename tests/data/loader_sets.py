"""Two small sets, and what the tests of the loader do with them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from deadly import DeadlyCache
from numbered_video import write_numbered

from tubelet.data import loader as loader_module
from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.mixture import Mixture
from tubelet.labels import LabelSpace
from tubelet.types import ClipBatch, Preprocess
from tubelet.video.augmentations import Augment
from tubelet.video.transforms import read_size

SPACE = LabelSpace(name="toy", names=("walk", "run", "jump"))
CLIPS = Preprocess(size=48, num_frames=4, frame_stride=2, fps=25)
COMMON: dict[str, Any] = {"label_space": SPACE, "licence": "", "source": ""}


def make_sets(root: Path) -> dict[str, ClipDataset]:
    for name in ("a", "b"):
        if not (root / f"{name}.mp4").exists():
            write_numbered(root / f"{name}.mp4", num_frames=50)
    clip = {"start_seconds": 0.0, "end_seconds": 2.0, "split": "train"}
    classify = write_manifest(
        root / "classify",
        name="c",
        kind="classify",
        multi_label=False,
        media_root=root,
        clips=[{**clip, "clip_id": str(i), "video": f"{'ab'[i % 2]}.mp4", "labels": [i % 3]} for i in range(7)],
        **COMMON,
    )
    localise = write_manifest(
        root / "localise",
        name="l",
        kind="localise",
        multi_label=True,
        media_root=root,
        clips=[{**clip, "clip_id": name, "video": f"{name}.mp4", "labels": []} for name in "ab"],
        boxes=[
            {"clip_id": name, "pts_seconds": t / 2, "x1": 0.2, "y1": 0.1, "x2": 0.5 + k / 9, "y2": 0.9, "labels": [k]}
            for name in "ab"
            for t in range(4)
            for k in range(1 + t % 3)
        ],
        **COMMON,
    )
    augment = Augment(flip=True)
    return {
        "classify": ClipDataset(classify, "train", preprocess=CLIPS, augment=augment),
        "localise": ClipDataset(localise, "train", preprocess=CLIPS, augment=augment),
    }


def mixture(sets: dict[str, ClipDataset], num_steps: int = 12) -> Mixture:
    return Mixture({k: len(v) for k, v in sets.items()}, batch_size=3, num_steps=num_steps, seed=2)


def batches(*arguments: Any, **options: Any) -> Iterator[tuple[int, ClipBatch]]:
    """Steps of a single part."""
    with closing(loader_module.batches(*arguments, **options)) as steps:  # type: ignore[type-var]
        for step, (batch,) in steps:
            yield step, batch


def same(a: ClipBatch, b: ClipBatch) -> bool:
    tensors = ("video", "targets", "boxes", "box_clip", "boxes_norm", "box_scores")
    pairs = [(getattr(a, name), getattr(b, name)) for name in tensors]
    return (a.task, a.sample_ids, a.num_clamped) == (b.task, b.sample_ids, b.num_clamped) and all(
        (x is None and y is None) or torch.equal(x, y) for x, y in pairs
    )


def deadly_sets(root: Path, **options: Any) -> dict[str, ClipDataset]:
    """Sets whose videos may kill: ``DeadlyCache`` stands where a data set keeps its frame cache."""
    cache = DeadlyCache(root, read_size(CLIPS.fit), 25.0, log=str(root / "reads.txt"), **options)
    made = make_sets(root)
    for dataset in made.values():
        dataset._cache = cache
    return made
