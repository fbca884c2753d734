"""AVA-Kinetics: boxes and AVA's actions on one instant of each Kinetics-700 clip, together with AVA itself.

Source: <https://research.google.com/ava/download.html> (``ava_kinetics_v1_0.tar.gz``). Licence: CC BY 4.0 (Google).
Columns, without a header: ``video_id,seconds,x1,y1,x2,y2,action_id``, no person id; a row of two columns (or with empty
cells) is an instant with nobody on it. ``kinetics_{train,val}_v1.0.csv`` and AVA v2.2's own files; the test labels are
not published.
Files: Kinetics' clips, ``{id}_{start:06d}_{end:06d}.mp4`` in any folders, and AVA's films, below one media root.
Quirks: seconds are of the whole YouTube video, so that a clip's start is taken off; they are no whole numbers, and the
official evaluation keys them to the microsecond (readers that round to seconds merge instants); clips that were cut
elsewhere than the instant, or cannot be read, are counted (``rows_without_video``), as are instants after the end of a
shorter file (``rows_outside_video``); a manifest holds AVA's boxes and Kinetics' (paper A
trains on both and scores on both).
Expected: about 141,000 training and 32,500 validation clips of Kinetics beside AVA's 235 and 64 films.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tubelet.data.ava_csv import read_ava_csv
from tubelet.data.ava_table import AvaTable, keyframe_of
from tubelet.data.manifest import BOXES_SCHEMA, CLIPS_SCHEMA, KEYFRAMES_SCHEMA, Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.sources.ava import BoxedClips, boxes_of, known_actions, read_ava
from tubelet.data.sources.ava_lists import ava_label_space
from tubelet.data.sources.boxed_videos import clips_table, open_videos
from tubelet.data.sources.media_folder import NOT_THERE, MediaFolder, told, without_suffix
from tubelet.labels import LabelSpace
from tubelet.types import InputError

CLIP_NAME = re.compile(r"^(.+)_(\d{6})_(\d{6})$")
NOTHING = (CLIPS_SCHEMA.empty_table(), BOXES_SCHEMA.empty_table(), KEYFRAMES_SCHEMA.empty_table())


class _Cut(NamedTuple):
    start: float
    end: float
    clip_id: str
    cell: str


def import_ava_kinetics(
    *,
    train: Path | None = None,
    val: Path | None = None,
    ava_train: Path | None = None,
    ava_val: Path | None = None,
    media_root: Path,
    out: Path,
    labels: str = "ava_60",
    ava_train_excluded: Path | None = None,
    ava_val_excluded: Path | None = None,
    ava_video_starts_at: float | None = None,
    frames_fps: float = 30.0,
    name: str = "ava_kinetics",
) -> Manifest:
    """Turn AVA-Kinetics' files into a manifest: the union of Kinetics' boxes and AVA's.

    Args:
        train: kinetics_train_v1.0.csv.
        val: kinetics_val_v1.0.csv.
        ava_train: ava_train_v2.2.csv, to have AVA's boxes in the set as well.
        ava_val: ava_val_v2.2.csv.
        media_root: Folder above Kinetics' clips and AVA's films.
        out: Folder of the manifest.
        labels: ava_60 (the evaluated actions) or ava_80.
        ava_train_excluded: Excluded timestamps of AVA's training csv.
        ava_val_excluded: The same for validation.
        ava_video_starts_at: AVA's time at which its files begin; default: as their length says.
        frames_fps: Rate of folders of frames.
        name: Of the data set, its task and head.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    space = ava_label_space(labels)
    media = MediaFolder(media_root)
    counts: dict[str, int] = {}
    cuts = _cuts(media)
    parts = [
        _kinetics(path, split, media, cuts, space, frames_fps=frames_fps, counts=counts)
        for split, path in (("train", train), ("val", val))
        if path is not None
    ]
    _check_splits(parts)
    films = {split: path for split, path in (("train", ava_train), ("val", ava_val)) if path is not None}
    if films:
        barred = {"train": ava_train_excluded, "val": ava_val_excluded}
        ava = read_ava(
            films,
            {split: path for split, path in barred.items() if path is not None},
            media,
            space,
            video_starts_at=ava_video_starts_at,
            frames_fps=frames_fps,
            skip_unknown_labels=False,
            counts=counts,
        )
        parts.append(ava)
        counts["boxes_of_ava"] = ava.boxes.num_rows
    clips, boxes, keyframes = (pa.concat_tables(tables) for tables in zip(*parts, strict=True)) if parts else NOTHING
    if boxes.num_rows == 0:
        raise InputError(f"{media_root}: no box of AVA-Kinetics lies inside a video there: {told(counts)}")
    return write_manifest(
        out,
        name=name,
        kind="localise",
        multi_label=True,
        label_space=space,
        media_root=Path(media_root).absolute(),
        licence="CC BY 4.0 (annotation; the videos are their owners')",
        source="https://research.google.com/ava/download.html",
        clips=clips,
        boxes=boxes,
        keyframes=keyframes,
        extra_counts=counts,
        left_out=media.left_out,
    )


def _check_splits(parts: Sequence[BoxedClips]) -> None:
    """Refuse a clip of Kinetics in two splits."""
    split_of: dict[str, str] = {}
    for part in parts:
        for row in part.clips.select(["clip_id", "split"]).to_pylist():
            if split_of.setdefault(row["clip_id"], row["split"]) != row["split"]:
                both = f"{split_of[row['clip_id']]} and in {row['split']}"
                raise InputError(f"AVA-Kinetics: clip {row['clip_id']!r} is in {both}; expected it in one split")


def _cuts(media: MediaFolder) -> dict[str, list[_Cut]]:
    """Return the clips that are there, by YouTube id, as their names say."""
    cuts: dict[str, list[_Cut]] = defaultdict(list)
    for cell in media.cells:
        stem = without_suffix(cell.rsplit("/", 1)[-1])
        if match := CLIP_NAME.match(stem):
            cuts[match[1]].append(_Cut(float(match[2]), float(match[3]), stem, cell))
    return cuts


def _kinetics(
    path: Path,
    split: str,
    media: MediaFolder,
    cuts: dict[str, list[_Cut]],
    space: LabelSpace,
    *,
    frames_fps: float,
    counts: dict[str, int],
) -> BoxedClips:
    """Return a csv of Kinetics' boxes as tables, in the time of each clip."""
    ava = read_ava_csv(path, label_space=known_actions(space))
    instants = {*zip(ava.video.tolist(), ava.pts_seconds.tolist(), strict=True)}
    instants |= {(video, ticks / 1_000_000) for video, ticks in ava.keyframes}
    place = {(video, time): _holding(cuts.get(video, ()), time) for video, time in instants}
    used = {cut.clip_id: cut for cut in place.values() if cut is not None}
    missing = {video for video, _ in instants} - {*cuts}
    counts["videos_missing"] = counts.get("videos_missing", 0) + len(missing)
    media.left_out.update(dict.fromkeys(sorted(missing), NOT_THERE))
    found = [place[key] for key in zip(ava.video.tolist(), ava.pts_seconds.tolist(), strict=True)]
    start = np.array([0.0 if cut is None else cut.start for cut in found])
    # A video without a clip there keeps its id, which is no clip's, and is left out and counted below.
    names = [cut.clip_id if cut else video for cut, video in zip(found, ava.video.tolist(), strict=True)]
    keyframes = set()
    for video, ticks in ava.keyframes:
        cut = place[video, ticks / 1_000_000]
        keyframes.add(keyframe_of(cut.clip_id, ticks / 1_000_000 - cut.start) if cut else (video, ticks))
    moved: AvaTable = replace(
        ava,
        video=np.array(names, dtype=object),
        pts_seconds=np.round(ava.pts_seconds - start, 6),
        keyframes=frozenset(keyframes),
    )
    cells = {clip_id: cut.cell for clip_id, cut in sorted(used.items())}
    videos = {
        clip_id: replace(video, seconds=min(video.seconds, used[clip_id].end - used[clip_id].start))
        for clip_id, video in open_videos(media, cells, frames_fps=frames_fps, counts=counts).items()
    }
    boxes, empty = boxes_of(moved, space, videos, excluded=set(), starts=dict.fromkeys(videos, 0.0), counts=counts)
    return BoxedClips(clips_table(videos, dict.fromkeys(videos, split)), boxes, empty)


def _holding(cuts: "list[_Cut] | tuple[()]", time: float) -> _Cut | None:
    """Return the first clip that shows an instant of its YouTube video."""
    return next((cut for cut in cuts if cut.start <= time <= cut.end), None)
