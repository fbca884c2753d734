"""AVA v2.1 and v2.2, and files of one's own in AVA's format.

Source: <https://research.google.com/ava/download.html>. Licence of the annotation: CC BY 4.0 (Google).
Columns, without a header: ``video_id,seconds,x1,y1,x2,y2,action_id[,person_id]``; one row for each action of a box;
boxes in 0..1; seconds of the whole film, ``0902`` to ``1798``. A row of two columns is a keyframe with nobody on it.
Lists: actions (``item { name id }`` or ``label { name label_id label_type }``), excluded timestamps
(``video_id,seconds``), videos (``ava_test_v2.2.txt``; the test labels are not published).
Quirks: most copies of the films are cut to 900-1,800 s, others are whole; ids count from 1; 20 of the 80 actions are
not evaluated, but their boxes are people all the same; v2.2 differs from v2.1 in labels only; the test csv of v1.0 has
a header and ``status`` as its eighth column.
Expected (v2.2): 235 / 64 / 131 videos, 837,318 training rows.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.data.ava_csv import read_ava_csv
from tubelet.data.ava_table import CUT_STARTS_AT, AvaTable, Keyframe, instant_numbers, microseconds
from tubelet.data.manifest import BOXES_SCHEMA, KEYFRAMES_SCHEMA, Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.sources.ava_lists import (
    AVA_SPACES,
    PUBLIC_ROWS,
    TABLE_9,
    ava_label_space,
    frequency_differences,
    read_excluded,
    read_video_list,
)
from tubelet.data.sources.boxed_videos import (
    NO_LABEL,
    BoxedVideo,
    check_start,
    clips_table,
    columns_of,
    find_videos,
    join_actions,
    leave_out,
    leave_out_of_place,
    leave_out_of_time,
    leave_out_of_unknown_videos,
    rows_table,
)
from tubelet.data.sources.frame_lists import folder_names, read_frame_lists
from tubelet.data.sources.media_folder import MediaFolder, told
from tubelet.labels import LabelSpace
from tubelet.types import InputError

logger = logging.getLogger(__name__)

LICENCE = "CC BY 4.0 (AVA's annotation; the films are their owners')"
SOURCE = "https://research.google.com/ava/download.html"
CUT_SECONDS = (890.0, 910.0)
"""Lengths that such a copy may have: 900 and what its cutter added or lost."""
END_SLACK = 1.0
"""A last keyframe this much after the end of a video, in seconds, is still taken for a keyframe of this video."""


def import_ava(
    *,
    train: Path | None = None,
    val: Path | None = None,
    test: Path | None = None,
    media_root: Path,
    out: Path,
    labels: str = "ava_60",
    train_excluded: Path | None = None,
    val_excluded: Path | None = None,
    test_excluded: Path | None = None,
    video_starts_at: float | None = None,
    frames_fps: float = 30.0,
    frame_lists: tuple[Path, ...] = (),
    skip_unknown_labels: bool = False,
    name: str | None = None,
    licence: str | None = None,
    source: str | None = None,
) -> Manifest:
    """Turn AVA's files, or your own in AVA's format, into a manifest.

    A video is the file or folder of frames that is called as the csv's video id. Counted in the manifest's ``counts``:
    videos that are missing, unreadable, cut at 900 s or whole; rows and keyframes without a video, excluded, outside
    their video; rows of zero area, repeated, of actions outside the label space (their boxes stay, without a label).

    Args:
        train: AVA csv: video_id, seconds, x1, y1, x2, y2 (0..1), action_id, person_id.
        val: The same for validation.
        test: The same for testing, or a list of videos (txt) where labels are not published.
        media_root: Folder with the videos, named video_id plus any usual suffix, or folders of frames.
        out: Folder of the manifest.
        labels: ava_60 (the evaluated actions), ava_80, or an action list (pbtxt) of your own.
        train_excluded: Excluded timestamps of the training csv.
        val_excluded: The same for validation.
        test_excluded: The same for testing.
        video_starts_at: The csv's time at which the files begin; default: 900 for videos of about 900 s whose keyframes
            end later, and with frame lists, whose readers count from there; else 0.
        frames_fps: Rate of folders of frames.
        frame_lists: Lists of the frames (csv) of LFB and PySlowFast: where each film's folder lies and how many frames
            it holds; folders with another number are counted.
        skip_unknown_labels: Keep boxes of actions outside an action list of your own, without a label, counted.
        name: Of the data set, its task and head; default: ava, or as your action list is called.
        licence: Of the annotations; default: AVA's, or unknown with an action list of your own.
        source: Where they come from; default: AVA's page, or AVA-format files.

    Raises:
        InputError: A mistake in the files, with file and line; no video found; or a video whose length does not say
            where it begins.
    """
    space = ava_label_space(labels)
    files = {split: path for split, path in {"train": train, "val": val, "test": test}.items() if path is not None}
    barred = {"train": train_excluded, "val": val_excluded, "test": test_excluded}
    counts: dict[str, int] = {}
    media = MediaFolder(media_root)
    boxed = read_ava(
        files,
        {split: path for split, path in barred.items() if path is not None},
        media,
        space,
        video_starts_at=CUT_STARTS_AT if frame_lists and video_starts_at is None else video_starts_at,
        frames_fps=frames_fps,
        skip_unknown_labels=skip_unknown_labels,
        counts=counts,
        frame_lists=frame_lists,
    )
    if boxed.boxes.num_rows == 0:
        raise InputError(
            f"{media_root}: no box of {', '.join(map(str, files.values()))} lies inside a video: {told(counts)}"
        )
    published = labels in AVA_SPACES
    return write_manifest(
        out,
        name=name or ("ava" if published else space.name),
        kind="localise",
        multi_label=True,
        label_space=space,
        media_root=Path(media_root).absolute(),
        licence=licence or (LICENCE if published else "unknown"),
        source=source or (SOURCE if published else "AVA-format files"),
        clips=boxed.clips,
        boxes=boxed.boxes,
        keyframes=boxed.keyframes,
        extra_counts=counts,
        left_out=media.left_out,
    )


class BoxedClips(NamedTuple):
    """Tables of a manifest with boxes."""

    clips: pa.Table
    boxes: pa.Table
    keyframes: pa.Table


def read_ava(
    files: Mapping[str, Path],
    excluded: Mapping[str, Path],
    media: MediaFolder,
    space: LabelSpace,
    *,
    video_starts_at: float | None,
    frames_fps: float,
    skip_unknown_labels: bool,
    counts: dict[str, int],
    frame_lists: Sequence[Path] = (),
) -> BoxedClips:
    """Return AVA's csv files as tables; arguments as for ``import_ava``, what is left out is added to ``counts``."""
    check_start(video_starts_at)
    tables = {
        split: read_ava_csv(path, label_space=None if skip_unknown_labels else known_actions(space))
        for split, path in files.items()
        if path.suffix != ".txt"
    }
    split_of = _splits(files, tables)
    listed = read_frame_lists(frame_lists)
    names = {video: folder_names(listed, video) for video in split_of}
    videos = find_videos(media, names, frames_fps=frames_fps, counts=counts)
    if listed:
        counts["videos_not_in_frame_lists"] = sum(video not in listed for video in videos)
        counts["videos_with_other_frames"] = sum(
            video.fps > 0 and name in listed and round(video.seconds * video.fps) != listed[name].num_frames
            for name, video in videos.items()
        )
    starts = _starts(tables.values(), videos, video_starts_at, counts)
    parts = []
    for split, table in tables.items():
        skip = read_excluded(excluded[split]) if split in excluded else set()
        parts.append(boxes_of(table, space, videos, excluded=skip, starts=starts, counts=counts))
    if "train" in tables:
        _compare_frequencies(tables["train"].label_ids, space, counts)
    return BoxedClips(
        clips_table(videos, split_of),
        pa.concat_tables([boxes for boxes, _ in parts]) if parts else BOXES_SCHEMA.empty_table(),
        pa.concat_tables([empty for _, empty in parts]) if parts else KEYFRAMES_SCHEMA.empty_table(),
    )


def known_actions(space: LabelSpace) -> LabelSpace:
    """Return the actions a csv may name: all 80 of AVA for the evaluated 60, else the label space's own."""
    return ava_label_space("ava_80") if space.name == "ava_60" else space


def boxes_of(
    ava: AvaTable,
    space: LabelSpace,
    videos: Mapping[str, BoxedVideo],
    *,
    excluded: set[Keyframe],
    starts: Mapping[str, float],
    counts: dict[str, int],
) -> tuple[pa.Table, pa.Table]:
    """Return the boxes of a csv, one row for all actions of each, and its keyframes without a box.

    Args:
        ava: The csv.
        space: Rows of other actions keep their box without a label, counted as ``rows_of_other_actions``.
        videos: Those that are there; a clip is called as its video.
        excluded: Keyframes to leave out, in the csv's time.
        starts: The csv's time at which each video begins.
        counts: What is left out is added to it.
    """
    person_ids = ava.person_ids if ava.person_ids is not None else np.full(len(ava), -1)
    label = columns_of(ava.label_ids, space)
    table = rows_table(ava.video, ava.pts_seconds, ava.boxes_norm, label, person_ids)
    table = leave_out_of_unknown_videos(table, videos, counts)
    other = int(np.count_nonzero(table.column("label").to_numpy() == NO_LABEL))
    counts["rows_of_other_actions"] = counts.get("rows_of_other_actions", 0) + other
    if excluded:
        table = leave_out(table, _is_excluded(table, excluded), counts, "rows_excluded")
    table = leave_out_of_place(_shifted(table, starts), videos, counts)
    boxes = join_actions(table, counts)
    return boxes, _empty_keyframes(ava.keyframes, videos, excluded=excluded, starts=starts, counts=counts)


def _empty_keyframes(
    named: Set[Keyframe],
    videos: Mapping[str, BoxedVideo],
    *,
    excluded: set[Keyframe],
    starts: Mapping[str, float],
    counts: dict[str, int],
) -> pa.Table:
    """Return the keyframes with nobody on them, in the time of their video; arguments as for ``boxes_of``."""
    present = {key for key in named if key[0] in videos}
    counts["keyframes_without_video"] = counts.get("keyframes_without_video", 0) + len(named) - len(present)
    if excluded:
        counts["keyframes_excluded"] = counts.get("keyframes_excluded", 0) + len(present & excluded)
    empty = sorted(present - excluded)
    keyframes = pa.table(
        {
            "clip_id": pa.array([video for video, _ in empty], pa.string()),
            "pts_seconds": np.array([ticks / 1_000_000 for _, ticks in empty], dtype=np.float64),
        }
    )
    keyframes = leave_out_of_time(_shifted(keyframes, starts), videos, counts, "keyframes_outside_video")
    return keyframes.cast(KEYFRAMES_SCHEMA)


def _splits(files: Mapping[str, Path], tables: Mapping[str, AvaTable]) -> dict[str, str]:
    """Return the split of each video, in the order of the files.

    Raises:
        InputError: A video is in two splits, or no file is given.
    """
    if not files:
        raise InputError("no annotation: expected train, val or test")
    split_of: dict[str, str] = {}
    for split, path in files.items():
        if split in tables:
            named = pa.array(tables[split].video, pa.string()).unique().to_pylist()
            ids = sorted({*named, *(video for video, _ in tables[split].keyframes)})
        else:
            ids = read_video_list(path)
        for video in ids:
            if video in split_of:
                raise InputError(f"{path}: video {video!r} is in {split_of[video]} as well; expected it in one split")
            split_of[video] = split
    return split_of


def _starts(
    tables: Iterable[AvaTable], videos: Mapping[str, BoxedVideo], given: float | None, counts: dict[str, int]
) -> dict[str, float]:
    """Return the csv's time at which each video begins, recognised by its length unless it is given.

    Raises:
        InputError: A video is too short for its keyframes and not the usual 900 s.
    """
    if given is not None:
        counts[f"videos_that_start_at_{given:g}"] = len(videos)
        return dict.fromkeys(videos, given)
    times = _first_and_last(tables)
    starts = {}
    for video, found in videos.items():
        first, last = times.get(video, (0.0, 0.0))
        cut = CUT_SECONDS[0] <= found.seconds <= CUT_SECONDS[1] and (first >= CUT_STARTS_AT or video not in times)
        if last > found.seconds + END_SLACK and not cut:
            raise InputError(
                f"{found.cell}: lasts {found.seconds:.1f} s, but its keyframes lie at {first:g} to {last:g} s; "
                "expected a whole video, or one cut to 900-1,800 s; say --video-starts-at"
            )
        starts[video] = CUT_STARTS_AT if cut and (last > found.seconds or video not in times) else 0.0
    for start in (0.0, CUT_STARTS_AT):
        counts[f"videos_that_start_at_{start:g}"] = sum(value == start for value in starts.values())
    return starts


def _first_and_last(tables: Iterable[AvaTable]) -> dict[str, tuple[float, float]]:
    """Return the first and last keyframe of each video, in the csv's time."""
    times: dict[str, tuple[float, float]] = {}
    for ava in tables:
        table = pa.table({"video": pa.array(ava.video, pa.string()), "time": ava.pts_seconds})
        spans = table.group_by("video").aggregate([("time", "min"), ("time", "max")])
        times |= {row["video"]: (row["time_min"], row["time_max"]) for row in spans.to_pylist()}
        for video, ticks in ava.keyframes:
            first, last = times.get(video, (np.inf, -np.inf))
            times[video] = min(first, ticks / 1_000_000), max(last, ticks / 1_000_000)
    return times


def _shifted(table: pa.Table, starts: Mapping[str, float]) -> pa.Table:
    """Return the rows with times of the video instead of the csv."""
    clip = pc.index_in(table.column("clip_id"), value_set=pa.array(starts, pa.string())).to_numpy()
    begin = np.array(list(starts.values()), dtype=np.float64)[clip]
    return table.set_column(1, "pts_seconds", pa.array(table.column("pts_seconds").to_numpy() - begin))


def _is_excluded(table: pa.Table, excluded: set[Keyframe]) -> np.ndarray:
    """Return which rows lie at an excluded keyframe."""
    videos = pa.array(sorted({video for video, _ in excluded}), pa.string())
    number = {video: k for k, video in enumerate(videos.to_pylist())}
    keys = [(number[video], ticks) for video, ticks in excluded]
    barred = instant_numbers(*np.array(keys, dtype=np.int64).T)
    video = pc.fill_null(pc.index_in(table.column("clip_id"), value_set=videos), -1).to_numpy().astype(np.int64)
    found = instant_numbers(video, microseconds(table.column("pts_seconds").to_numpy()))
    return np.asarray(np.isin(found, barred) & (video >= 0))


def _compare_frequencies(label_ids: np.ndarray, space: LabelSpace, counts: dict[str, int]) -> None:
    """Count and tell where the training csv differs from paper A's Table 9."""
    if space.name != "ava_60":
        return
    different = frequency_differences(label_ids, space)
    moved = [line for line in different if "stored split" in line]
    counts["classes_unlike_table_9"] = len(different)
    counts["classes_in_another_bucket"] = len(moved)
    if different:
        logger.warning(
            "%d actions are not as frequent as in paper A's Table 9: it sums to %s examples, this csv has %s of these "
            "actions, and all rows of the public one are %s",
            len(different),
            f"{sum(TABLE_9.values()):,}",
            f"{int(np.isin(label_ids, space.published_ids).sum()):,}",
            f"{PUBLIC_ROWS:,}",
        )
    for line in different:
        logger.log(logging.WARNING if line in moved else logging.INFO, "%s", line)
