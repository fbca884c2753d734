"""Numbers for the keyframes of ground truth and detections, in the order in which a protocol visits them."""

import ctypes
from collections.abc import Collection

import numpy as np
import pyarrow as pa

from tubelet.data.ava_table import AvaTable, Keyframe, microseconds


def number_keyframes(
    ground_truth: AvaTable,
    detections: AvaTable,
    truth_inside: np.ndarray,
    found_inside: np.ndarray,
    excluded: Collection[Keyframe],
    *,
    whole_seconds: bool,
    truth_leads: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Number the keyframes in the order in which the protocol visits them: that order breaks ties between frames.

    Detections of one class are ranked over all keyframes in the order of the first evaluated row of each, in the
    detections or in the ground truth. Rows of one keyframe usually follow each other: names are compared once a run.

    Args:
        ground_truth: R rows, and the keyframes listed without a box.
        detections: S rows.
        truth_inside: bool (R,), whether the row's class is evaluated.
        found_inside: bool (S,).
        excluded: Keyframes that need a number as well.
        whole_seconds: Keyframes of one whole second are one.
        truth_leads: The ground truth's order counts (mmaction2).

    Returns:
        int32 numbers >= 0 of the ground truth rows (R,), of the detection rows (S,), of the listed keyframes (those
        of rows included), and of the excluded ones.
    """
    tables = (ground_truth, detections)
    starts = [_run_starts(table) for table in tables]
    groups = [
        (np.asarray(table.video, dtype=object)[first], _ticks(table.pts_seconds[first], whole_seconds))
        for table, first in zip(tables, starts, strict=True)
    ]
    groups += [_as_columns(keyframes, whole_seconds) for keyframes in (ground_truth.keyframes, excluded)]
    keys = _keys(groups)
    truth, found, listed, shut = keys
    inside = truth_inside if truth_leads else found_inside
    lead, first = (truth, starts[0]) if truth_leads else (found, starts[1])
    evaluated = lead if inside.all() else lead[np.logical_or.reduceat(inside, first)]
    numbers = pa.array(np.concatenate([evaluated, found, truth, listed, shut])).dictionary_encode().indices.to_numpy()
    sizes = np.cumsum([len(found), len(truth), len(listed)])
    found, truth, listed, shut = np.split(numbers[len(evaluated) :], sizes)
    rows = [
        np.repeat(number, np.diff(np.append(first, len(table))))
        for number, first, table in zip((truth, found), starts, tables, strict=True)
    ]
    return rows[0], rows[1], np.concatenate([truth, listed]), shut


def _run_starts(table: AvaTable) -> np.ndarray:
    """Return the rows, int64, at which another video or another time begins."""
    video, seconds = np.ascontiguousarray(table.video, dtype=object), np.asarray(table.pts_seconds)
    changes = np.zeros(len(seconds), dtype=bool)
    changes[:1] = True
    # Equal names are mostly one object: addresses are compared first, a tenth of the time of asking every name.
    address = np.ctypeslib.as_array((ctypes.c_ssize_t * len(video)).from_address(video.ctypes.data))
    other = np.flatnonzero(address[1:] != address[:-1])
    changes[other + 1] = video[other + 1] != video[other]
    changes[1:] |= seconds[1:] != seconds[:-1]
    return np.flatnonzero(changes)


def _ticks(seconds: np.ndarray, whole_seconds: bool) -> np.ndarray:
    """Return times as whole numbers: seconds, or microseconds as the official evaluation keys them."""
    return np.trunc(seconds).astype(np.int64) if whole_seconds else microseconds(seconds)


def _as_columns(keyframes: Collection[Keyframe], whole_seconds: bool) -> tuple[np.ndarray, np.ndarray]:
    rows = sorted(keyframes)
    seconds = np.array([ticks / 1_000_000 for _, ticks in rows], dtype=np.float64)
    return np.array([video for video, _ in rows], dtype=object), _ticks(seconds, whole_seconds)


def _keys(groups: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Return a whole number for each (video, ticks) of each group, equal for equal ones."""
    names = [pa.array(video, pa.string()) for video, _ in groups]
    videos = pa.chunked_array(names).combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    ticks = np.concatenate([ticks for _, ticks in groups])
    low = int(ticks.min(initial=0))
    span = int(ticks.max(initial=0)) - low + 1
    return np.split(videos * span + (ticks - low), np.cumsum([len(name) for name in names])[:-1])
