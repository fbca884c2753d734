"""Person detectors' boxes for a data set that is there: published files, or those of a detector of one's own.

Read are csv files in AVA's layout, ``video_id,seconds,x1,y1,x2,y2,label,score`` with boxes in 0..1: those of LFB and
PySlowFast (``ava_{train,val}_predicted_boxes.csv``, ``..._boxes_and_labels_include_negative_v2.2.csv``; CC BY-SA 3.0),
where a blank label or -1 means *not known to do anything* and several rows of a box hold several labels; a csv of
seven columns that ends in the score; and mmaction2's proposals (pkl: ``"video,0902"`` to x1, y1, x2, y2, score).
Quirks: thresholds belong to the task, not to the file (paper A: 0.8 on AVA in training, 0.2 on AVA-Kinetics in scoring;
LFB 0.9 and 0.85); PySlowFast keys on whole seconds, so that instants of AVA-Kinetics fall together: not here.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.data.ava_csv import read_ava_csv
from tubelet.data.ava_table import AvaTable, instant_numbers, microseconds
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.manifest_writer import replace_detected
from tubelet.data.sources.boxed_videos import (
    CORNERS,
    NO_LABEL,
    check_start,
    columns_of,
    join_actions,
    leave_out,
    rows_table,
)
from tubelet.data.sources.media_folder import told, without_suffix
from tubelet.data.sources.proposals import read_proposals
from tubelet.types import InputError
from tubelet.video.sampling import nearest

SNAP = 1_000
"""Microseconds between a detection and an annotated keyframe that still are the same instant (three decimals)."""
LIKELY_PIXELS = 2.0
"""No detector leaves the frame by this much in 0..1."""


def add_detected_boxes(
    manifest: Path,
    boxes: Sequence[Path],
    *,
    out: Path | None = None,
    video_starts_at: float | None = None,
    only_keyframes: bool = True,
) -> Manifest:
    """Put detected person boxes beside a manifest's annotated ones; earlier detected boxes are replaced.

    They lie in a table of their own, so runs begun on the annotated boxes go on. A detected box keeps the labels its
    file gives it; one without takes those of the annotated box it overlaps when a task asks for detected boxes
    (``TaskConfig.label_iou``). Counted in the manifest's ``counts``: boxes of unknown videos, of zero area, cut to the
    frame, off the keyframes, outside their video, labels outside the label space.

    Args:
        manifest: Folder of a manifest with boxes.
        boxes: Files of all splits: csv in AVA's layout with a score, or mmaction2's proposals (pkl).
        out: Folder of the new manifest; default: the same folder.
        video_starts_at: The files' time at which the videos begin; default: for each video 0, 900 or the start in its
            name (AVA-Kinetics), whichever meets most of its annotated keyframes.
        only_keyframes: Leave out boxes at instants that nobody annotated, in splits with annotation.

    Raises:
        InputError: A mistake in a file, with file and line; no box fits; or the manifest has no boxes of its own.
    """
    check_start(video_starts_at)
    old = read_manifest(manifest)
    if old.boxes is None:
        raise InputError(f"{manifest}: a {old.kind} set has no keyframes to put boxes on; expected kind localise")
    counts: dict[str, int] = {}
    table = pa.concat_tables([_rows(path, old, counts) for path in boxes])
    table = _timed(table, old, video_starts_at, counts)
    if only_keyframes:
        seen = pc.index_in(old.clips.column("clip_id"), value_set=_annotated(old).column("clip_id").combine_chunks())
        has_truth = np.isin(_splits(old), np.unique(_splits(old)[seen.is_valid().to_numpy(zero_copy_only=False)]))
        off = ~table.column("met").to_numpy() & has_truth[table.column("clip").to_numpy()]
        table = leave_out(table, off, counts, "detected_off_keyframes")
    if table.num_rows == 0:
        raise InputError(f"{', '.join(map(str, boxes))}: no box lies on a keyframe of {manifest}: {told(counts)}")
    table = join_actions(table.drop_columns(["clip", "met"]), counts, more=("score",))
    found = table.append_column("origin", pa.repeat("detected", table.num_rows))
    counts["detected_repeated"] = counts.pop("rows_repeated")
    counts["boxes_detected"] = found.num_rows
    return replace_detected(old, found, out=out, extra_counts=counts)


def _rows(path: Path, manifest: Manifest, counts: dict[str, int]) -> pa.Table:
    """Return a file's rows of known videos, with the number ``clip`` of each, in the file's time."""
    ava = read_detected_boxes(path)
    pixels = np.flatnonzero(np.abs(ava.boxes_norm).max(axis=1, initial=0) > LIKELY_PIXELS)
    if len(pixels):
        box = ava.boxes_norm[pixels[0]].tolist()
        raise InputError(f"{path}: {len(pixels)} boxes such as {box} are not in 0..1 of the frame; are they pixels?")
    inverted = np.flatnonzero((ava.boxes_norm[:, 2:] < ava.boxes_norm[:, :2]).any(axis=1))
    if len(inverted):
        box = ava.boxes_norm[inverted[0]].tolist()
        raise InputError(
            f"{path}: {len(inverted)} boxes such as {box} end before they begin; are they x, y, width, height?"
        )
    score = ava.scores if ava.scores is not None else np.ones(len(ava))
    wrong = score[(score < 0) | (score > 1)]
    if len(wrong):
        raise InputError(f"{path}: {len(wrong)} scores such as {wrong[0]:g} are not in 0..1; are they logits?")
    label = columns_of(ava.label_ids, manifest.label_space)
    _add(counts, "detected_labels_outside", int(((label == NO_LABEL) & (ava.label_ids >= 0)).sum()))
    outside = (ava.boxes_norm < 0) | (ava.boxes_norm > 1)
    _add(counts, "detected_cut_to_frame", int(outside.any(axis=1).sum()))
    clip, known = _clip_numbers(pa.array(ava.video, pa.string()), manifest)
    table = rows_table(known, ava.pts_seconds, ava.boxes_norm, label, np.full(len(ava), -1))
    table = table.append_column("score", pa.array(score)).append_column("clip", pa.array(clip))
    table = leave_out(table, clip < 0, counts, "detected_without_video")
    x1, y1, x2, y2 = (table.column(c).to_numpy() for c in CORNERS)
    return leave_out(table, (x2 <= x1) | (y2 <= y1), counts, "detected_of_zero_area")


def read_detected_boxes(path: Path) -> AvaTable:
    """Read a file of person boxes: AVA's layout with a score, or mmaction2's proposals.

    Raises:
        InputError: A mistake, with file and line.
    """
    if path.suffix in (".pkl", ".pickle"):
        return read_proposals(path)
    return read_ava_csv(path, detections=True, boxes="any")


def _clip_numbers(videos: pa.Array, manifest: Manifest) -> tuple[np.ndarray, pa.Array]:
    """Return for each row of a file the row of its clip (-1: none) and that clip's id.

    A file names a clip by its id, by its video's name, or by the part before ``_000010_000020`` (AVA-Kinetics).
    """
    clips = manifest.clips
    ids = clips.column("clip_id").to_pylist()
    number: dict[str, int] = {}
    for k, (clip_id, video) in enumerate(zip(ids, clips.column("video").to_pylist(), strict=True)):
        for name in (_youtube_id(clip_id), without_suffix(video).rsplit("/", 1)[-1], without_suffix(video)):
            number.setdefault(name, k)
    number |= {clip_id: k for k, clip_id in enumerate(ids)}
    named = videos.dictionary_encode()
    clip = np.array([number.get(name, -1) for name in named.dictionary.to_pylist()], dtype=np.int64)
    rows = clip[named.indices.to_numpy()] if len(videos) else np.zeros(0, dtype=np.int64)
    return rows, pa.array(ids, pa.string()).take(pa.array(np.maximum(rows, 0)))


def _youtube_id(clip_id: str) -> str:
    return re.sub(r"_\d{6}_\d{6}$", "", clip_id)


def _named_starts(manifest: Manifest) -> np.ndarray:
    """Return for each clip the start in its name, 0 without."""
    found = [re.search(r"_(\d{6})_\d{6}$", clip_id) for clip_id in manifest.clips.column("clip_id").to_pylist()]
    return np.array([float(match[1]) if match else 0.0 for match in found])


def _timed(table: pa.Table, manifest: Manifest, given: float | None, counts: dict[str, int]) -> pa.Table:
    """Return the rows inside their video, in the video's time, and in ``met`` whether that is an annotated keyframe."""
    clip, time = table.column("clip").to_numpy(), table.column("pts_seconds").to_numpy()
    ends = manifest.clips.column("end_seconds").to_numpy()
    num_clips = len(ends)
    if given is not None:
        starts = [np.full(num_clips, given)]
    else:
        starts = [np.zeros(num_clips), np.full(num_clips, 900.0), _named_starts(manifest)]
    truth = _keyframes(manifest)
    fits = []
    for start in starts:
        moved = time - start[clip]
        _, met = _snapped(clip, moved, truth)
        inside = (moved >= 0) & (moved <= ends[clip])
        weight = met * float(len(time) + 1) + inside
        fits.append(np.bincount(clip, weights=weight, minlength=num_clips))
    best = np.argmax(fits, axis=0)
    start = np.choose(best, starts)
    pts, met = _snapped(clip, time - start[clip], truth)
    counts["detected_videos_shifted"] = int((start[np.unique(clip)] != 0).sum())
    table = table.set_column(1, "pts_seconds", pa.array(pts)).append_column("met", pa.array(met))
    return leave_out(table, (pts < 0) | (pts > ends[clip]), counts, "detected_outside_video")


def _keyframes(manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Return the annotated keyframes, sorted: (clip, microseconds) as one number each, and seconds."""
    keys = ["clip_id", "pts_seconds"]
    table = pa.concat_tables([_annotated(manifest).select(keys), manifest.keyframes])
    ids = manifest.clips.column("clip_id").combine_chunks()
    clip = pc.index_in(table.column("clip_id"), value_set=ids).to_numpy().astype(np.int64)
    time = table.column("pts_seconds").to_numpy()
    number, first = np.unique(instant_numbers(clip, microseconds(time)), return_index=True)
    return number, time[first]


def _snapped(
    clip: np.ndarray, time: np.ndarray, keyframes: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the times, those within ``SNAP`` of an annotated keyframe at it, and which these are."""
    number, seconds = keyframes
    if len(number) == 0:
        return time, np.zeros(len(time), dtype=bool)
    wanted = instant_numbers(clip, microseconds(np.clip(time, -1e4, 1e5)))
    index = nearest(number, wanted)
    met = np.abs(number[index] - wanted) <= SNAP
    return np.where(met, seconds[index], time), met


def _annotated(manifest: Manifest) -> pa.Table:
    assert manifest.boxes is not None
    return manifest.boxes.filter(pc.equal(manifest.boxes.column("origin"), "annotated"))


def _splits(manifest: Manifest) -> np.ndarray:
    return np.asarray(manifest.clips.column("split").to_numpy().astype(str))


def _add(counts: dict[str, int], what: str, number: int) -> None:
    counts[what] = counts.get(what, 0) + number
