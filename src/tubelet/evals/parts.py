"""Frame mAP of the parts of a set and of their union: AVA-Kinetics is reported as AVA, Kinetics and both."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import AvaResult, frame_map
from tubelet.labels import LabelSpace
from tubelet.types import InputError

KINETICS_CLIP = re.compile(r".+_\d{6}_\d{6}$")
"""Name of a clip of Kinetics: YouTube's id, first and last second."""


def concat_tables(tables: Sequence[AvaTable]) -> AvaTable:
    """Return the rows of several tables of one kind, one after the other."""
    if len(tables) == 1:
        return tables[0]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(table, name) for table in tables])
        for name in ("video", "pts_seconds", "boxes_norm", "label_ids", "scores", "person_ids")
        if getattr(tables[0], name) is not None
    }
    return AvaTable(**columns, keyframes=frozenset().union(*(table.keyframes for table in tables)))


def kinetics_and_ava(ground_truth: AvaTable) -> dict[str, AvaTable]:
    """Return the parts ``ava`` and ``kinetics`` of AVA-Kinetics by the names of the videos; nothing if one is empty."""
    names = {str(video) for video in np.unique(ground_truth.video.astype(str))}
    names |= {video for video, _ in ground_truth.keyframes}
    kinetics = {name for name in names if KINETICS_CLIP.match(name)}
    if not kinetics or kinetics == names:
        return {}
    return {"ava": _of_videos(ground_truth, names - kinetics), "kinetics": _of_videos(ground_truth, kinetics)}


def part_maps(
    parts: Mapping[str, AvaTable], detections: AvaTable, label_space: LabelSpace, **options: Any
) -> dict[str, AvaResult]:
    """Return the frame mAP of each part, scored on the detections in its videos.

    Args:
        parts: Name to ground truth; no video is in two parts.
        detections: Of all parts.
        label_space: The classes evaluated.
        options: Of ``frame_map``.

    Raises:
        InputError: A video is in two parts, or what ``frame_map`` raises, with the part's name.
    """
    owner: dict[str, str] = {}
    results = {}
    for name, truth in parts.items():
        videos = set(truth.video.tolist()) | {video for video, _ in truth.keyframes}
        for video in videos:
            if owner.setdefault(video, name) != name:
                raise InputError(f"video {video!r} is in the ground truth of {owner[video]} and of {name}")
        try:
            results[name] = frame_map(truth, _of_videos(detections, videos), label_space, **options)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    return results


def _of_videos(table: AvaTable, videos: set[str]) -> AvaTable:
    rows = np.fromiter((video in videos for video in table.video), dtype=bool, count=len(table))
    return AvaTable(
        video=table.video[rows],
        pts_seconds=table.pts_seconds[rows],
        boxes_norm=table.boxes_norm[rows],
        label_ids=table.label_ids[rows],
        scores=None if table.scores is None else table.scores[rows],
        person_ids=None if table.person_ids is None else table.person_ids[rows],
        keyframes=frozenset(key for key in table.keyframes if key[0] in videos),
    )
