"""A share of the training videos held out to choose settings on (paper B, 4: a random 10 % of the training data)."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import rewrite_manifest
from tubelet.data.shuffle import key_of
from tubelet.types import InputError

SHARE = 0.1
HELD_OUT_SPLIT = "val_held_out"


def held_out_videos(videos: Iterable[str], *, seed: int, share: float = SHARE) -> frozenset[str]:
    """Return the held-out videos, a function of (seed, video) and of how many there are; all clips of one go together.

    Args:
        videos: ``video`` cells of the training examples, in any order and any number of times.
        seed: Other seeds hold out others.
        share: Of the videos; at least one is held out and one is left.

    Raises:
        InputError: There is one video only.
    """
    ordered = sorted(set(videos), key=lambda video: (key_of(seed, "held out", video), video))
    if len(ordered) < 2:
        raise InputError(f"{len(ordered)} training video cannot be parted into training and held-out ones")
    return frozenset(ordered[: min(max(1, round(share * len(ordered))), len(ordered) - 1)])


def hold_out(source: Manifest, out: Path, *, train_split: str, seed: int) -> Manifest:
    """Write a manifest that has nothing but a training split, ``SHARE`` of it under the name ``HELD_OUT_SPLIT``.

    Args:
        source: The data set.
        out: Folder of the new manifest.
        train_split: What is parted; the other splits are left out.
        seed: As in ``held_out_videos``.

    Raises:
        InputError: The split has fewer than two videos.
    """
    clips = source.clips.filter(pc.equal(source.clips.column("split"), train_split))
    videos = clips.column("video").to_pylist()
    try:
        chosen = held_out_videos(videos, seed=seed)
    except InputError as error:
        raise InputError(f"{source.root}: split {train_split!r}: {error}") from None
    splits = pa.array([HELD_OUT_SPLIT if video in chosen else train_split for video in videos])
    clips = clips.set_column(clips.column_names.index("split"), "split", splits)
    kept = {"clips": clips}
    if source.boxes is not None:
        ids = clips.column("clip_id")
        for name, table in (("boxes", source.boxes), ("keyframes", source.keyframes)):
            kept[name] = table.filter(pc.is_in(table.column("clip_id"), value_set=ids.combine_chunks()))
    counts = {"clips_of_other_splits_left_out": source.clips.num_rows - clips.num_rows}
    return rewrite_manifest(source, out, **kept, extra_counts=counts)
