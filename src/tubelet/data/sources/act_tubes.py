"""The pickle of tubes that UCF101-24, JHMDB and MultiSports share, to a manifest.

Layout (made for the ACT detector): ``labels``: names; ``gttubes``: video to label to arrays of ``frame, x1, y1, x2,
y2``, frames from 1, pixels; ``nframes``; ``resolution``: (height, width); ``train_videos`` and ``test_videos``: a list
for each split.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.sources.boxed_videos import (
    clips_table,
    find_videos,
    join_actions,
    leave_out_of_place,
    rows_table,
)
from tubelet.data.sources.frame_clock import FrameClock, frame_clocks, lasting
from tubelet.data.sources.media_folder import MediaFolder, told
from tubelet.foreign_pickle import read_foreign_pickle
from tubelet.labels import LabelSpace
from tubelet.types import InputError
from tubelet.video.container import probe

KEYS = ("labels", "gttubes", "nframes", "resolution", "train_videos", "test_videos")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tubes:
    """What such a file says of one of its splits."""

    labels: tuple[str, ...]
    train: tuple[str, ...]
    """Videos, as ``Basketball/v_Basketball_g01_c01``."""
    test: tuple[str, ...]
    tubes: Mapping[str, Any]
    """Video to label to arrays (n, 5)."""
    num_frames: Mapping[str, int]
    resolution: Mapping[str, Any]
    """Video to (height, width)."""


def read_tubes(path: Path, *, split: int = 1) -> Tubes:
    """Read the file.

    Args:
        path: The pickle.
        split: Which of its splits, from 1.

    Raises:
        InputError: Another layout, or it has no such split.
    """
    held = read_foreign_pickle(path)
    if not isinstance(held, dict) or (missing := [key for key in KEYS if key not in held]):
        what = f"lacks {missing[0]!r}" if isinstance(held, dict) else f"holds a {type(held).__name__}"
        raise InputError(f"{path}: {what}; expected a dict of {', '.join(KEYS)}")
    try:
        if not 1 <= split <= len(held["train_videos"]):
            raise InputError(f"{path}: split {split}, expected 1..{len(held['train_videos'])}")
        train, test = (tuple(map(str, held[key][split - 1])) for key in ("train_videos", "test_videos"))
        tubes = Tubes(
            labels=tuple(map(str, held["labels"])),
            train=train,
            test=test,
            tubes=held["gttubes"],
            num_frames={video: int(held["nframes"][video]) for video in (*train, *test)},
            resolution=held["resolution"],
        )
    except (TypeError, ValueError, LookupError) as error:
        raise InputError(f"{path}: expected lists of videos and a number of frames for each ({error!r})") from None
    return tubes


def write_tubes(
    path: Path,
    held: Tubes,
    *,
    media_root: Path,
    out: Path,
    name: str,
    test_split: str,
    frames_fps: float,
    keyframe_every: int,
    licence: str,
    source: str,
) -> Manifest:
    """Write a manifest in which every annotated frame is a keyframe, or each ``keyframe_every``-th.

    A tube's number in its video is the boxes' ``person_id``; frame *n* is the *n*-th that the video shows. Counted:
    videos missing, unreadable, of another length than the annotation says by more than a frame and a half (its boxes
    may be off), boxes cut to the frame, of zero area, outside their video.

    Args:
        path: For messages.
        held: Of ``read_tubes``.
        media_root: Folder of the videos, or of folders of frames, called as the annotation calls them.
        out: Folder of the manifest.
        name: Of the data set.
        test_split: What the file's test videos are called in the manifest.
        frames_fps: Rate of folders of frames.
        keyframe_every: In frames.
        licence: Of the annotations.
        source: Where they come from.
    """
    if keyframe_every < 1:
        raise InputError(f"keyframe_every is {keyframe_every}, expected 1 or more")
    split_of = dict.fromkeys(held.train, "train") | dict.fromkeys(held.test, test_split)
    if both := set(held.train) & set(held.test):
        raise InputError(f"{path}: {min(both)!r} is a training and a test video")
    counts: dict[str, int] = {"boxes_cut_to_frame": 0, "videos_of_other_length": 0}
    media = MediaFolder(media_root)
    videos = find_videos(media, {v: (v,) for v in split_of}, frames_fps=frames_fps, counts=counts)
    rate = {v: found.fps or probe(media.root / found.cell).fps for v, found in videos.items()}
    clocks = frame_clocks(media, videos, rate, counts)
    videos = lasting(videos, clocks)
    for video, clock in clocks.items():
        there = clock.fps * videos[video].seconds if clock.times is None else len(clock.times)
        counts["videos_of_other_length"] += abs(there - held.num_frames[video]) > 1.5
    parts = [_rows(path, video, held, clocks[video], keyframe_every) for video in videos if held.tubes.get(video)]
    ids = [video for video, rows in parts for _ in range(len(rows))]
    rows = np.concatenate([rows for _, rows in parts]) if parts else np.zeros((0, 7))
    counts["boxes_cut_to_frame"] = int(((rows[:, 1:5] < 0) | (rows[:, 1:5] > 1)).any(axis=1).sum())
    table = rows_table(ids, rows[:, 0], rows[:, 1:5], rows[:, 5], rows[:, 6])
    boxes = join_actions(leave_out_of_place(table, videos, counts), counts)
    if boxes.num_rows == 0:
        raise InputError(f"{path}: no box lies inside a video of {media_root}: {told(counts)}")
    return write_manifest(
        out,
        name=name,
        kind="localise",
        multi_label=False,
        label_space=LabelSpace(name=name, names=held.labels),
        media_root=media_root.absolute(),
        licence=licence,
        source=source,
        clips=clips_table(videos, split_of),
        boxes=boxes,
        extra_counts=counts,
        left_out=media.left_out,
    )


def _rows(path: Path, video: str, held: Tubes, clock: FrameClock, keyframe_every: int) -> tuple[str, np.ndarray]:
    """Return rows (R, 7) of a video: seconds, x1, y1, x2, y2 in 0..1, column, number of the tube."""
    place = f"{path}: video {video!r}"
    try:
        height, width = (float(n) for n in held.resolution[video])
        labelled = [(int(label), tube) for label, tubes in held.tubes[video].items() for tube in tubes]
        tubes = [(label, np.asarray(tube, dtype=np.float64).reshape(-1, 5)) for label, tube in labelled]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{place}: expected (height, width) and arrays of frame, x1, y1, x2, y2 ({error})") from None
    rows = []
    for number, (label, tube) in enumerate(tubes):
        if not 0 <= label < len(held.labels):
            raise InputError(f"{place}: label {label}, expected 0..{len(held.labels) - 1}")
        if not np.isfinite(tube).all() or (tube[:, 0] < 1).any():
            raise InputError(f"{place}: tube {number} has a frame before 1 or a number that is not finite")
        tube = tube[(tube[:, 0].astype(np.int64) - 1) % keyframe_every == 0]
        seconds = np.array([clock.seconds(frame - 1) for frame in tube[:, 0].tolist()]).reshape(-1, 1)
        boxes = tube[:, 1:] / [width, height, width, height]
        rows.append(np.hstack([seconds, boxes, np.full((len(tube), 1), label), np.full((len(tube), 1), number)]))
    return video, np.concatenate(rows)
