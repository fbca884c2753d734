"""Boxes of one's own, drawn on frames that are counted, to a manifest: what CVAT's and COCO's files share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tubelet.data.manifest import KEYFRAMES_SCHEMA, Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.sources.boxed_videos import (
    NO_LABEL,
    BoxedVideo,
    clips_table,
    find_videos,
    join_actions,
    leave_out_of_place,
    leave_out_of_time,
    rows_table,
)
from tubelet.data.sources.frame_clock import FrameClock, frame_clocks, lasting
from tubelet.data.sources.media_folder import MediaFolder, told
from tubelet.labels import LabelSpace
from tubelet.types import InputError
from tubelet.video.container import probe
from tubelet.video.media import Media

LARGEST = 1e9
"""Frames and persons beyond are mistakes of the file."""
SAME_ASPECT = 0.02
"""Boxes drawn on a larger or smaller copy of a video fit; its width over its height may differ by this share."""


class FrameBox(NamedTuple):
    """A box on one frame of a video."""

    video: str
    frame: float
    """From 0; or seconds, where the file says times."""
    box_norm: tuple[float, float, float, float]
    """xyxy in 0..1 of the frame."""
    labels: tuple[str, ...]
    person_id: int


def write_frame_boxes(
    boxes: Sequence[FrameBox],
    *,
    names: Mapping[str, Sequence[str]],
    split_of: Mapping[str, str],
    sizes: Mapping[str, tuple[float, float]],
    in_seconds: bool,
    media_root: Path,
    out: Path,
    name: str,
    labels: Sequence[str] | None,
    frames_fps: float,
    keyframe_every: int,
    licence: str,
    source: str,
    counts: dict[str, int],
    empty_frames: Sequence[tuple[str, float]] = (),
) -> Manifest:
    """Find the videos and write a manifest; several labels may hold at once.

    Args:
        boxes: In any order.
        names: For each video the names its file may have.
        split_of: Split of each video.
        sizes: Width and height of the frames the boxes of a video were drawn on, where there are any.
        in_seconds: ``FrameBox.frame`` is a time.
        media_root: Folder of the videos, or of folders of frames.
        out: Folder of the manifest.
        name: Of the data set.
        labels: Classes in their order; None = those found, sorted.
        frames_fps: Rate of folders of frames.
        keyframe_every: Use boxes of each n-th frame.
        licence: Of the annotations.
        source: Where they come from.
        counts: What was left out is added to it.
        empty_frames: Video and frame (or seconds) of keyframes with nobody on them.

    Raises:
        InputError: A label is not in ``labels``, two names mean one video, frames have another aspect than those that
            were annotated, or no box lies inside a video.
    """
    _check(boxes, keyframe_every, source)
    found = sorted({label for box in boxes for label in box.labels})
    space = LabelSpace(name=name, names=tuple(found if labels is None else labels))
    if not len(space):
        raise InputError(f"{source}: no box has a label; expected actions")
    media = MediaFolder(media_root)
    videos = find_videos(media, names, frames_fps=frames_fps, counts=counts)
    _check_distinct(videos, split_of)
    rate = {v: _fps(media, video, v, sizes.get(v), counts) for v, video in videos.items()}
    clocks = dict.fromkeys(videos, FrameClock(1.0)) if in_seconds else frame_clocks(media, videos, rate, counts)
    videos = lasting(videos, clocks)
    kept = [box for box in boxes if box.video in videos and (in_seconds or box.frame % keyframe_every == 0)]
    counts["boxes_without_video"] = sum(box.video not in videos for box in boxes)
    joined = join_actions(leave_out_of_place(_table(kept, space, clocks, counts), videos, counts), counts)
    if joined.num_rows == 0:
        raise InputError(f"{media_root}: no box of {source} lies inside a video there: {told(counts)}")
    return write_manifest(
        out,
        name=name,
        kind="localise",
        multi_label=True,
        label_space=space,
        media_root=media_root.absolute(),
        licence=licence,
        source=source,
        clips=clips_table(videos, split_of),
        boxes=joined,
        keyframes=_keyframes(
            [(video, at) for video, at in empty_frames if in_seconds or at % keyframe_every == 0],
            videos,
            clocks,
            counts,
        ),
        extra_counts=counts,
        left_out=media.left_out,
    )


def _check(boxes: Sequence[FrameBox], keyframe_every: int, source: str) -> None:
    if keyframe_every < 1:
        raise InputError(f"keyframe_every is {keyframe_every}, expected 1 or more")
    for box in boxes:
        if not abs(box.frame) < LARGEST or not abs(box.person_id) < LARGEST:
            place = f"{source}: video {box.video!r}"
            raise InputError(f"{place}: frame {str(box.frame)[:20]} or id {str(box.person_id)[:20]} is out of range")


def _check_distinct(videos: Mapping[str, BoxedVideo], split_of: Mapping[str, str]) -> None:
    """Refuse two annotations of one video: a leak in two splits, and in one each lacks the boxes of the other."""
    first: dict[str, str] = {}
    for name, video in videos.items():
        other = first.setdefault(video.cell, name)
        if other != name:
            place = f"{other!r} ({split_of[other]}) and {name!r} ({split_of[name]})"
            raise InputError(f"{video.cell}: is the video of both {place}; expected each video once")


def _fps(
    media: MediaFolder, video: BoxedVideo, name: str, annotated: tuple[float, float] | None, counts: dict[str, int]
) -> float:
    """Return a video's frame rate, its size compared with that of the annotation."""
    meta = probe(Media(str(media.root / video.cell), video.fps))
    if annotated is None:
        return meta.fps
    width, height = annotated
    if abs(width * meta.height / (height * meta.width) - 1) > SAME_ASPECT:
        raise InputError(
            f"{media.root / video.cell}: frames are {meta.width} x {meta.height} pixels, but {name!r} was annotated on "
            f"{width:g} x {height:g}; expected the annotated video, or one scaled as a whole"
        )
    if (width, height) != (meta.width, meta.height):
        counts["videos_of_another_size"] = counts.get("videos_of_another_size", 0) + 1
    return meta.fps


def _keyframes(
    empty: Sequence[tuple[str, float]],
    videos: Mapping[str, BoxedVideo],
    clocks: Mapping[str, FrameClock],
    counts: dict[str, int],
) -> pa.Table:
    """Return the keyframes with nobody on them, in seconds; those outside a video are left out and counted."""
    present = [(video, at) for video, at in empty if video in videos]
    counts["keyframes_without_video"] = len(empty) - len(present)
    seconds = np.array([clocks[video].seconds(at) for video, at in present], dtype=np.float64)
    table = pa.table({"clip_id": pa.array([video for video, _ in present], pa.string()), "pts_seconds": seconds})
    return leave_out_of_time(table, videos, counts, "keyframes_outside_video").cast(KEYFRAMES_SCHEMA)


def _table(
    boxes: Sequence[FrameBox], space: LabelSpace, clocks: Mapping[str, FrameClock], counts: dict[str, int]
) -> pa.Table:
    """Return a row for each action of each box, in seconds; boxes that leave the frame are counted."""
    column = {label: space.index(label) for label in dict.fromkeys(label for box in boxes for label in box.labels)}
    rows = [(box, column[label]) for box in boxes for label in box.labels]
    rows += [(box, NO_LABEL) for box in boxes if not box.labels]
    corners = np.array([box.box_norm for box, _ in rows], dtype=np.float64).reshape(-1, 4)
    counts["boxes_cut_to_frame"] = int(((corners < 0) | (corners > 1)).any(axis=1).sum())
    return rows_table(
        [box.video for box, _ in rows],
        np.array([clocks[box.video].seconds(box.frame) for box, _ in rows], dtype=np.float64),
        corners,
        np.array([label for _, label in rows]),
        np.array([box.person_id for box, _ in rows]),
    )
