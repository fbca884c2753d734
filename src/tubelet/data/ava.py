"""AVA's files: csv of boxes and detections, action lists, excluded timestamps; and the way from them to a manifest."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.data.ava_csv import (
    AvaTable,
    Keyframe,
    format_seconds,
    keyframe_of,
    parse_keyframe,
    read_ava_csv,
    read_bytes,
    write_ava_csv,
    write_text,
)
from tubelet.data.manifest import Manifest, write_manifest
from tubelet.labels import LabelSpace
from tubelet.types import InputError
from tubelet.video.container import probe

__all__ = [
    "AvaTable",
    "Keyframe",
    "format_seconds",
    "import_ava",
    "keyframe_of",
    "read_ava_csv",
    "read_excluded",
    "read_label_map",
    "write_ava_csv",
    "write_label_map",
]

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".flv", ".mpg", ".ts")

GROUPS = {
    "PERSON_MOVEMENT": "pose",
    "OBJECT_MANIPULATION": "person-object",
    "PERSON_INTERACTION": "person-person",
}
"""AVA's published ``label_type`` and the name of the group in a label space."""


def read_excluded(path: str | Path) -> set[Keyframe]:
    """Read a file of excluded timestamps, ``video_id,seconds`` in each line."""
    path = Path(path)
    keys: set[Keyframe] = set()
    for number, line in enumerate(read_bytes(path).decode().splitlines(), start=1):
        if line.strip():
            keys.add(parse_keyframe(path, number, line))
    return keys


def read_label_map(path: str | Path, *, name: str | None = None) -> LabelSpace:
    """Read an action list: ``item { name: "..." id: N }``, or ``label { ... label_id: N label_type: T }``.

    Args:
        path: The pbtxt.
        name: Name of the label space; default: the file's stem.

    Raises:
        InputError: A block without name or id, or twice the same, with file and line.
    """
    path = Path(path)
    text = read_bytes(path).decode()
    names, ids, types = [], [], []
    for block in re.finditer(r'\b\w+\s*\{((?:"(?:\\.|[^"\\])*"|[^}"])*)\}', text):
        place = f"{path}:{text.count(chr(10), 0, block.start()) + 1}"
        label = re.search(r'\bname\s*:\s*"((?:\\.|[^"\\])*)"', block[1])
        number = re.search(r"(?:\b|\")(?:label_)?id\s*:\s*(-?\d+)", block[1])
        kind = re.search(r"label_type\s*:\s*(\w+)", block[1])
        if label is None or number is None:
            raise InputError(f'{place}: expected a name: "..." and an id: N (or label_id: N) in this block')
        names.append(re.sub(r"\\(.)", r"\1", label[1]))
        ids.append(int(number[1]))
        types.append(kind[1] if kind else "")
        if ids[-1] in ids[:-1] or names[-1] in names[:-1]:
            raise InputError(f"{place}: class {names[-1]!r} with id {ids[-1]} repeats an earlier name or id")
    if not names:
        raise InputError(f'{path}:1: no classes; expected blocks like item {{ name: "stand" id: 12 }}')
    groups = tuple(GROUPS.get(t, t) for t in types) if all(types) else ()
    return LabelSpace(name=name or path.stem, names=tuple(names), ids=tuple(ids), groups=groups)


def write_label_map(path: str | Path, space: LabelSpace) -> None:
    """Write an action list in the layout public parsers key on; AVA's groups become ``label_type`` lines."""
    published = {group: kind for kind, group in GROUPS.items()}
    blocks = []
    for i, (name, label_id) in enumerate(zip(space.names, space.published_ids, strict=True)):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        kind = f"  label_type: {published.get(space.groups[i], space.groups[i])}\n" if space.groups else ""
        blocks.append(f'item {{\n  name: "{quoted}"\n  id: {label_id}\n{kind}}}\n')
    write_text(Path(path), "".join(blocks))


def import_ava(
    csv: Mapping[str, str | Path],
    label_map: str | Path,
    media_root: str | Path,
    out: str | Path,
    *,
    name: str = "ava",
    licence: str = "unknown",
    source: str = "AVA-format files",
    excluded: Mapping[str, str | Path] | None = None,
    video_starts_at: float = 0.0,
    skip_unknown_labels: bool = False,
) -> Manifest:
    """Turn AVA-format annotation of videos in a folder into a manifest.

    A video is the file of ``media_root`` whose stem is the csv's video id. What is left out is counted in the
    manifest's ``counts`` and told in one line: videos without a file, excluded keyframes, boxes of zero area, and
    keyframes without a box (a manifest holds boxes).

    Args:
        csv: Ground-truth csv for each split.
        label_map: The action list; label columns follow its order.
        media_root: Folder of the videos.
        out: Folder of the manifest.
        name: Of the data set.
        licence: Of the annotations.
        source: Where they come from.
        excluded: File of excluded timestamps for each split that has one.
        video_starts_at: The csv's time at which the files begin (AVA files cut to 900-1800 s: 900).
        skip_unknown_labels: Leave out rows of classes outside the list (AVA's 80 against the 60), counted.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    space = read_label_map(label_map)
    files = _videos_by_stem(Path(media_root))
    counts: dict[str, int] = {"videos_missing": 0}
    clips: list[dict[str, object]] = []
    tables: list[pa.Table] = []
    for split, path in csv.items():
        ava = read_ava_csv(path, label_space=None if skip_unknown_labels else space)
        skip = read_excluded(excluded[split]) if excluded and split in excluded else set()
        missing, table = _boxes_of(ava, space, skip, counts, files, video_starts_at)
        counts["videos_missing"] += len(missing)
        tables.append(table)
        clips += [_clip(files[video], video, split) for video in sorted(table.column("clip_id").unique().to_pylist())]
        if missing:
            shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            logger.warning("%s: %d videos have no file in %s: %s", path, len(missing), media_root, shown)
    if not clips:
        raise InputError(f"{media_root}: none of the videos in {', '.join(map(str, csv.values()))} is there")
    return write_manifest(
        out,
        name=name,
        kind="localise",
        multi_label=True,
        label_space=space,
        media_root=Path(media_root).absolute(),
        licence=licence,
        source=source,
        clips=clips,
        boxes=pa.concat_tables(tables),
        extra_counts=counts,
    )


def _videos_by_stem(media_root: Path) -> dict[str, Path]:
    try:
        found = sorted(p for p in media_root.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    except OSError as error:
        raise InputError(f"{media_root}: cannot be listed ({error.strerror}); expected the folder of videos") from None
    files: dict[str, Path] = {}
    for path in found:
        if path.stem in files:
            raise InputError(f"{path}: {files[path.stem].name} has the same video id; expected one file for each")
        files[path.stem] = path
    return files


def _clip(path: Path, video: str, split: str) -> dict[str, object]:
    return {
        "clip_id": video,
        "video": path.name,
        "start_seconds": 0.0,
        "end_seconds": probe(path).duration_seconds,
        "split": split,
        "labels": [],
    }


def _boxes_of(
    ava: AvaTable,
    space: LabelSpace,
    excluded: set[Keyframe],
    counts: dict[str, int],
    files: Mapping[str, Path],
    video_starts_at: float,
) -> tuple[list[str], pa.Table]:
    """Return the videos without a file, and the boxes: one row for all actions of a box."""
    person_ids = ava.person_ids if ava.person_ids is not None else np.full(len(ava), -1)
    table = pa.table(
        {
            "clip_id": pa.array(ava.video, type=pa.string()),
            "pts_seconds": ava.pts_seconds,
            **{c: np.clip(ava.boxes_norm[:, i], 0, 1) for i, c in enumerate(("x1", "y1", "x2", "y2"))},
            "person_id": person_ids,
            "id": ava.label_ids,
        }
    )
    column = np.full(max((*space.published_ids, *ava.label_ids.tolist()), default=0) + 1, -1, dtype=np.int32)
    column[list(space.published_ids)] = np.arange(len(space), dtype=np.int32)
    table = table.append_column("label", pa.array(column[ava.label_ids]))
    videos = table.column("clip_id").unique().to_pylist()
    missing = sorted(v for v in videos if v not in files)
    table = table.filter(pc.invert(pc.is_in(table.column("clip_id"), value_set=pa.array(missing, type=pa.string()))))
    barred = np.array([keyframe_of(v, t) in excluded for v, t in _keys(table)], dtype=bool)
    table = _drop(table, barred, counts, "rows_excluded") if excluded else table
    table = _drop(table, table.column("label").to_numpy() < 0, counts, "rows_of_unknown_labels")
    width = table.column("x2").to_numpy() - table.column("x1").to_numpy()
    height = table.column("y2").to_numpy() - table.column("y1").to_numpy()
    table = _drop(table, (width <= 0) | (height <= 0), counts, "rows_of_zero_area")
    known = {key for key in ava.keyframes if key[0] in files} - set(excluded)
    counts["keyframes_without_box"] = counts.get("keyframes_without_box", 0) + len(known)
    keys = ["clip_id", "pts_seconds", "x1", "y1", "x2", "y2", "person_id"]
    boxes = table.group_by(keys, use_threads=False).aggregate([("label", "list")])
    time = pc.subtract(boxes.column("pts_seconds"), video_starts_at)
    boxes = boxes.set_column(1, "pts_seconds", time)
    return missing, boxes.rename_columns({"label_list": "labels"})


def _keys(table: pa.Table) -> "zip[tuple[str, float]]":
    return zip(table.column("clip_id").to_pylist(), table.column("pts_seconds").to_pylist(), strict=True)


def _drop(table: pa.Table, wrong: np.ndarray, counts: dict[str, int], what: str) -> pa.Table:
    """Leave rows out and count them."""
    counts[what] = counts.get(what, 0) + int(wrong.sum())
    return table.filter(pa.array(~wrong))
