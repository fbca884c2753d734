"""A split of a manifest as columns: what a data set needs of the tables, without a Python object per row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from tubelet.data.box_labels import label_detected
from tubelet.data.manifest import Tables
from tubelet.types import InputError


@dataclass(frozen=True, kw_only=True)
class Examples:
    """E examples; a classification example is a clip, a localisation example a keyframe with its boxes."""

    clip_ids: pa.Array
    """The split's clips, (C,) strings."""
    videos: pa.Array
    """(C,) strings."""
    media_fps: np.ndarray
    """(C,), rate of a folder or tar of frames; 0 = the file's own."""
    start_seconds: np.ndarray
    """(C,)."""
    end_seconds: np.ndarray
    """(C,)."""
    clip: np.ndarray
    """int64 (E,), the clip of each example."""
    pts_seconds: np.ndarray
    """(E,), the keyframe; NaN for classification."""
    row_offsets: np.ndarray
    """int64 (E + 1,): rows of labels (boxes, or the clip itself) of each example."""
    label_offsets: np.ndarray
    """int64 (R + 1,): labels of each row."""
    label_values: np.ndarray
    """int32, columns of the label space."""
    boxes_norm: np.ndarray
    """float32 (R, 4) xyxy in 0..1; (0, 4) for classification."""
    box_scores: np.ndarray
    """float32 (R,), the detector's confidence; 1 for annotated boxes; (0,) for classification."""

    def __len__(self) -> int:
        return len(self.clip)

    def only(self, index: int) -> "Examples":
        """Return one example by itself: a few numbers, cheap to send to another process."""
        clip = int(self.clip[index])
        first, last = int(self.row_offsets[index]), int(self.row_offsets[index + 1])
        labels = self.label_offsets[first : last + 1]
        return Examples(
            # Not slices: arrow pickles the whole buffer under a slice.
            clip_ids=pa.array([self.clip_ids[clip].as_py()]),
            videos=pa.array([self.videos[clip].as_py()]),
            media_fps=self.media_fps[clip : clip + 1],
            start_seconds=self.start_seconds[clip : clip + 1],
            end_seconds=self.end_seconds[clip : clip + 1],
            clip=np.zeros(1, dtype=np.int64),
            pts_seconds=self.pts_seconds[index : index + 1],
            row_offsets=np.array([0, last - first]),
            label_offsets=labels - labels[0],
            label_values=self.label_values[labels[0] : labels[-1]],
            boxes_norm=self.boxes_norm[first:last],
            box_scores=self.box_scores[first:last],
        )

    def clip_id(self, index: int) -> str:
        """Return the clip an example belongs to."""
        return str(self.clip_ids[int(self.clip[index])].as_py())

    def video(self, index: int) -> str:
        """Return the ``video`` cell of an example."""
        return str(self.videos[int(self.clip[index])].as_py())

    def segment(self, index: int) -> tuple[float, float]:
        """Return (start_seconds, end_seconds) of an example's clip."""
        clip = self.clip[index]
        return float(self.start_seconds[clip]), float(self.end_seconds[clip])

    def label_lists(self, index: int) -> list[np.ndarray]:
        """Return the labels of each row of an example."""
        rows = range(self.row_offsets[index], self.row_offsets[index + 1])
        return [self.label_values[self.label_offsets[r] : self.label_offsets[r + 1]] for r in rows]

    def boxes_norm_of(self, index: int) -> Tensor:
        """Return an example's boxes, float32 (N, 4) xyxy in 0..1."""
        return torch.from_numpy(self.boxes_norm[self.row_offsets[index] : self.row_offsets[index + 1]].copy())

    def box_scores_of(self, index: int) -> Tensor:
        """Return the confidence of an example's boxes, float32 (N,)."""
        return torch.from_numpy(self.box_scores[self.row_offsets[index] : self.row_offsets[index + 1]].copy())


def clip_examples(table: pa.Table, split: str, *, where: Path) -> Examples:
    """Return a split's clips, each with its labels.

    Args:
        table: Columns as in ``manifest.CLIPS_SCHEMA``.
        split: Exact name.
        where: The manifest's folder, for messages.

    Raises:
        InputError: Nothing is in the split.
    """
    clips = table.filter(pc.equal(table.column("split"), split)).combine_chunks()
    if clips.num_rows == 0:
        known = ", ".join(sorted(table.column("split").unique().to_pylist()))
        raise InputError(f"{where}: no clip is in split {split!r}; the manifest has {known}")
    offsets, values = _labels(clips)
    return Examples(
        clip_ids=_whole(clips, "clip_id"),
        videos=_whole(clips, "video"),
        media_fps=clips.column("fps").to_numpy(),
        start_seconds=clips.column("start_seconds").to_numpy(),
        end_seconds=clips.column("end_seconds").to_numpy(),
        clip=np.arange(clips.num_rows),
        pts_seconds=np.full(clips.num_rows, np.nan),
        row_offsets=np.arange(clips.num_rows + 1),
        label_offsets=offsets,
        label_values=values,
        boxes_norm=np.zeros((0, 4), dtype=np.float32),
        box_scores=np.zeros(0, dtype=np.float32),
    )


class KeyframeExamples(NamedTuple):
    """A split's keyframes, and what its choice of boxes left out."""

    examples: Examples
    num_skipped_keyframes: int
    """Annotated or detected keyframes left without a box."""
    num_unlabelled_boxes: int
    """Detected boxes that match no annotated box, so that their targets are all zero."""


def keyframe_examples(
    tables: Tables, clips: Examples, *, origins: Sequence[str], score_threshold: float, label_iou: float
) -> KeyframeExamples:
    """Return a split's keyframes in the order (clip, time), each with its boxes in the order of the table.

    Args:
        tables: Of a ``localise`` manifest.
        clips: The split's clips.
        origins: Which boxes are used.
        score_threshold: Boxes of origin ``detected`` below it are left out.
        label_iou: Overlap from which a detected box has the labels of an annotated one.
    """
    table = tables.boxes
    assert table is not None
    table = _of_clips(table, clips)
    keyframe, num_keyframes = _numbered_keyframes(table)
    num_all = num_keyframes + _num_new(_of_clips(tables.keyframes, clips), table)
    if "detected" in origins:
        table = label_detected(table, keyframe, min_iou=label_iou)
    wanted = pc.is_in(table.column("origin"), value_set=pa.array(list(origins)))
    detected = pc.equal(table.column("origin"), "detected")
    sure = pc.or_(pc.invert(detected), pc.greater_equal(table.column("score"), score_threshold))
    chosen = pc.and_(wanted, sure).to_numpy()
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(keyframe[rows], kind="stable")]
    table = table.take(pa.array(rows)).combine_chunks()
    keyframe = keyframe[rows]
    first = np.flatnonzero(np.diff(keyframe, prepend=-1))  # sorted numbers >= 0
    offsets, values = _labels(table)
    boxes = np.stack([table.column(c).to_numpy() for c in ("x1", "y1", "x2", "y2")], axis=1).astype(np.float32)
    examples = Examples(
        clip_ids=clips.clip_ids,
        videos=clips.videos,
        media_fps=clips.media_fps,
        start_seconds=clips.start_seconds,
        end_seconds=clips.end_seconds,
        clip=table.column("clip").to_numpy().astype(np.int64)[first],
        pts_seconds=table.column("pts_seconds").to_numpy()[first],
        row_offsets=np.append(first, len(keyframe)),
        label_offsets=offsets,
        label_values=values,
        boxes_norm=boxes,
        box_scores=table.column("score").to_numpy().astype(np.float32),
    )
    unlabelled = pc.equal(table.column("origin"), "detected").to_numpy() & (np.diff(offsets) == 0)
    return KeyframeExamples(examples, num_all - len(first), int(unlabelled.sum()))


def _of_clips(table: pa.Table, clips: Examples) -> pa.Table:
    """Return the rows of these clips, with a column ``clip`` of their numbers."""
    clip = pc.index_in(table.column("clip_id"), value_set=clips.clip_ids)
    return table.drop_columns(["clip_id"]).append_column("clip", clip).filter(pc.is_valid(clip))


def _numbered_keyframes(table: pa.Table) -> tuple[np.ndarray, int]:
    """Return each row's keyframe, numbered by (clip, time), and the number of keyframes."""
    clip, time = table.column("clip").to_numpy(), table.column("pts_seconds").to_numpy()
    if len(clip) == 0:
        return np.zeros(0, dtype=np.int64), 0
    order = np.lexsort((time, clip))
    begins = np.ones(len(clip), dtype=bool)
    begins[1:] = (clip[order][1:] != clip[order][:-1]) | (time[order][1:] != time[order][:-1])
    keyframe = np.empty(len(clip), dtype=np.int64)
    keyframe[order] = np.cumsum(begins) - 1
    return keyframe, int(begins.sum())


def _num_new(keyframes: pa.Table, boxes: pa.Table) -> int:
    """Return how many of the keyframes are not among those of the boxes."""
    if keyframes.num_rows == 0:
        return 0
    keys = ["clip", "pts_seconds"]
    return int(keyframes.select(keys).join(boxes.select(keys), keys, join_type="left anti").num_rows)


def _labels(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return (offsets, values) of the labels column."""
    column = _whole(table, "labels")
    lengths = pc.list_value_length(column).to_numpy()
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), column.flatten().to_numpy()


def _whole(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name).combine_chunks()
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
