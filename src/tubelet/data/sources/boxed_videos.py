"""Steps that importers of boxes share: find the videos, leave rows out by name, join the actions of a box."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.data.ava_rows import LONGEST_SECONDS
from tubelet.data.sources.annotation_files import id_columns
from tubelet.data.sources.media_folder import NOT_THERE, MediaFolder
from tubelet.data.sources.media_lengths import check_rate, durations
from tubelet.labels import LabelSpace
from tubelet.types import InputError

CORNERS = ("x1", "y1", "x2", "y2")
NO_LABEL = -1
"""In the column ``label``: somebody is there and does nothing of the label space."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxedVideo:
    """A video of the annotation that is there."""

    cell: str
    """As in a manifest's column ``video``."""
    fps: float
    """Rate of a folder or tar of frames; 0 for a video file."""
    seconds: float
    """Length."""


def find_videos(
    media: MediaFolder, names: Mapping[str, Sequence[str]], *, frames_fps: float, counts: dict[str, int]
) -> dict[str, BoxedVideo]:
    """Return the annotated videos that are there; the others are counted.

    Args:
        media: The listing.
        names: For each id the names its medium may have, best first.
        frames_fps: Rate of folders and tars of frames.
        counts: ``videos_missing`` and ``videos_unreadable`` are added to it; the videos to ``media.left_out``.

    Raises:
        InputError: None is there, or frames without a rate.
    """
    check_rate(frames_fps)
    cells = {video: cell for video, wanted in names.items() if (cell := media.find(wanted)) is not None}
    counts["videos_missing"] = counts.get("videos_missing", 0) + len(names) - len(cells)
    media.left_out.update({video: NOT_THERE for video in names if video not in cells})
    if not cells:
        example = next(iter(names), "")
        raise InputError(f"{media.root}: none of the {len(names)} annotated videos is there, such as {example!r}")
    return open_videos(media, cells, frames_fps=frames_fps, counts=counts)


def open_videos(
    media: MediaFolder, cells: Mapping[str, str], *, frames_fps: float, counts: dict[str, int]
) -> dict[str, BoxedVideo]:
    """Return videos with their lengths; those that cannot be read are left out and counted.

    Args:
        media: The listing.
        cells: For each id its medium.
        frames_fps: Rate of folders and tars of frames.
        counts: ``videos_unreadable`` is added to it, and what of the folder is ``passed_over``.

    Raises:
        InputError: Frames without a rate.
    """
    check_rate(frames_fps)
    rates = [frames_fps if media.is_frames(cell) else 0.0 for cell in cells.values()]
    for cell, fps in zip(cells.values(), rates, strict=True):
        if media.is_frames(cell) and fps <= 0:
            raise InputError(f"{media.root / cell}: frames without a rate; expected frames_fps, frames per second")
    unreadable: dict[str, int] = {}
    lengths = durations(media, list(cells.values()), rates, unreadable)
    counts["videos_unreadable"] = counts.get("videos_unreadable", 0) + unreadable["videos_unreadable"]
    counts.update(media.passed_over)
    return {
        video: BoxedVideo(cell=cell, fps=fps, seconds=seconds)
        for (video, cell), fps, seconds in zip(cells.items(), rates, lengths, strict=True)
        if seconds is not None
    }


def columns_of(label_ids: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Return int32 (R,), the column of each published id; ``NO_LABEL`` where the label space has none."""
    column = id_columns(space)
    ids, inverse = np.unique(label_ids, return_inverse=True)
    return np.array([column.get(label_id, NO_LABEL) for label_id in ids.tolist()], dtype=np.int32)[inverse]


def check_start(video_starts_at: float | None) -> None:
    """Raise where the time at which videos begin is none."""
    if video_starts_at is not None and not abs(video_starts_at) < LONGEST_SECONDS:
        raise InputError(f"video_starts_at is {video_starts_at:g}, expected seconds")


def clips_table(videos: Mapping[str, BoxedVideo], split_of: Mapping[str, str]) -> pa.Table:
    """Return a clip for each video, whole, in the order of ``videos``; its id is the video's."""
    return pa.table(
        {
            "clip_id": pa.array(videos, pa.string()),
            "video": pa.array([v.cell for v in videos.values()], pa.string()),
            "start_seconds": np.zeros(len(videos)),
            "end_seconds": np.array([v.seconds for v in videos.values()]),
            "split": pa.array([split_of[video] for video in videos], pa.string()),
            "labels": pa.array([[]] * len(videos), pa.list_(pa.int32())),
            "fps": np.array([v.fps for v in videos.values()]),
        }
    )


def rows_table(
    clip_id: object, pts_seconds: np.ndarray, boxes_norm: np.ndarray, label: np.ndarray, person_id: np.ndarray
) -> pa.Table:
    """Return rows of boxes, one for each action: ``clip_id, pts_seconds, x1, y1, x2, y2, person_id, label``.

    Args:
        clip_id: (R,) strings.
        pts_seconds: (R,).
        boxes_norm: (R, 4) xyxy; cut to 0..1.
        label: (R,) columns of the label space, or ``NO_LABEL``.
        person_id: (R,), -1 = not known.
    """
    corners = {name: np.clip(boxes_norm[:, i], 0, 1) for i, name in enumerate(CORNERS)}
    return pa.table(
        {
            "clip_id": clip_id if isinstance(clip_id, pa.ChunkedArray) else pa.array(clip_id, pa.string()),
            "pts_seconds": pts_seconds,
            **corners,
            "person_id": np.asarray(person_id, dtype=np.int64),
            "label": np.asarray(label, dtype=np.int32),
        }
    )


def leave_out(table: pa.Table, wrong: np.ndarray, counts: dict[str, int], what: str) -> pa.Table:
    """Leave rows out and count them under ``what``."""
    number = int(np.count_nonzero(wrong))
    counts[what] = counts.get(what, 0) + number
    return table.filter(pa.array(~wrong)) if number else table


def leave_out_of_unknown_videos(table: pa.Table, videos: Mapping[str, BoxedVideo], counts: dict[str, int]) -> pa.Table:
    """Leave out the rows of videos that are not there, counted as ``rows_without_video``."""
    known = pc.is_in(table.column("clip_id"), value_set=pa.array(videos, pa.string()))
    return leave_out(table, ~known.to_numpy(), counts, "rows_without_video")


def leave_out_of_place(table: pa.Table, videos: Mapping[str, BoxedVideo], counts: dict[str, int]) -> pa.Table:
    """Leave out boxes of zero area and rows outside their video, counted."""
    x1, y1, x2, y2 = (table.column(c).to_numpy() for c in CORNERS)
    table = leave_out(table, (x2 <= x1) | (y2 <= y1), counts, "rows_of_zero_area")
    return leave_out_of_time(table, videos, counts, "rows_outside_video")


def leave_out_of_time(table: pa.Table, videos: Mapping[str, BoxedVideo], counts: dict[str, int], what: str) -> pa.Table:
    """Leave out rows before or after their video and count them under ``what``."""
    ends = np.array([video.seconds for video in videos.values()])
    clip = pc.index_in(table.column("clip_id"), value_set=pa.array(videos, pa.string())).to_numpy()
    time = table.column("pts_seconds").to_numpy()
    return leave_out(table, (time < 0) | (time > ends[clip]), counts, what)


def join_actions(table: pa.Table, counts: dict[str, int], *, more: Sequence[str] = ()) -> pa.Table:
    """Return one row for all actions of a box, as in ``manifest.BOXES_SCHEMA``; rows that repeat an action are counted.

    Args:
        table: Of ``rows_table``.
        counts: ``rows_repeated`` is added to it.
        more: Further columns of a box.
    """
    keys = ["clip_id", "pts_seconds", *CORNERS, "person_id", *more]
    distinct = table.group_by([*keys, "label"], use_threads=False).aggregate([])
    labelled, kept = (np.count_nonzero(t.column("label").to_numpy() != NO_LABEL) for t in (table, distinct))
    counts["rows_repeated"] = counts.get("rows_repeated", 0) + int(labelled - kept)
    joined = distinct.group_by(keys, use_threads=False).aggregate([("label", "list")])
    lists = joined.column("label_list").combine_chunks()
    values = lists.flatten().to_numpy()
    lengths = np.add.reduceat(values != NO_LABEL, lists.offsets.to_numpy()[:-1]) if len(values) else np.zeros(0, int)
    offsets = pa.array(np.append(0, np.cumsum(lengths)), pa.int32())
    labels = pa.ListArray.from_arrays(offsets, pa.array(values[values != NO_LABEL], pa.int32()))
    return joined.drop_columns(["label_list"]).append_column("labels", labels)
