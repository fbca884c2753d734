"""From a manifest's rows to examples on the model's canvas; plain methods, pure functions of (index, seed)."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from tubelet.data.box_labels import LABEL_IOU
from tubelet.data.class_turns import ClassTurns, class_turns
from tubelet.data.examples import Examples, clip_examples, keyframe_examples
from tubelet.data.manifest import Manifest
from tubelet.data.validate import validate_manifest
from tubelet.labels import mirror_columns, one_of
from tubelet.types import BoxChoice, ClassSampling, Clip, ClipSample, Crops, InputError, Preprocess
from tubelet.video.augmentations import Augment
from tubelet.video.cache import FrameCache
from tubelet.video.decode import WantedTimes, read_frames
from tubelet.video.media import Media, resolve_media
from tubelet.video.sampling import keyframe_times, random_clip_times, view_times
from tubelet.video.transforms import (
    Augmented,
    augment,
    canvas_boxes,
    crop_offsets,
    placement,
    read_size,
    shown_boxes,
    to_canvas,
)

MAX_DRAWS = 8


class ClipDataset:
    """One split of a manifest as examples.

    A ``classify`` example is a clip of the table; a ``localise`` example is a keyframe with all its boxes. Keyframes
    left without a box by ``boxes`` and ``box_score_threshold`` are no examples; ``num_skipped_keyframes`` counts them.
    Holds arrays, no list of rows; workers get single examples of it.

    Args:
        manifest: The data set; every row is checked here.
        split: Exact name of the split.
        preprocess: Canvas, frames and rate.
        augment: Random changes of ``sample``; None = none.
        boxes: Which boxes are used: ``annotated``, ``detected`` or ``both``.
        box_score_threshold: Detected boxes below it are left out; annotated ones stay.
        label_iou: Overlap (IoU) from which a detected box without labels of its own takes those of the annotated box it
            overlaps most; below it its target is all zero, and ``num_unlabelled_boxes`` counts it.
        one_label_seed: Give each clip that has several labels one of them, drawn from this and its video
            (``labels.one_of``); None = it has all.
        cache: Decoded frames; None = read the files.

    Raises:
        InputError: The manifest has a mistake, nothing is in the split, or flips are asked for and a label depends on
            direction without a mirrored one.
    """

    def __init__(
        self,
        manifest: Manifest,
        split: str,
        *,
        preprocess: Preprocess,
        augment: Augment | None,
        boxes: BoxChoice = "annotated",
        box_score_threshold: float = 0.0,
        label_iou: float = LABEL_IOU,
        one_label_seed: int | None = None,
        cache: FrameCache | None = None,
    ) -> None:
        if boxes not in get_args(BoxChoice):
            raise InputError(f"boxes={boxes!r} is not one of {', '.join(get_args(BoxChoice))}")
        if not 0 < label_iou <= 1:
            raise InputError(f"label_iou must be in (0, 1], got {label_iou}")
        tables = manifest.read_tables(detected=boxes != "annotated")
        validate_manifest(manifest, tables)
        clips = clip_examples(tables.clips, split, where=manifest.root)
        self.name, self.split, self.kind = manifest.name, split, manifest.kind
        self.label_space, self.multi_label = manifest.label_space, manifest.multi_label
        self.boxes = boxes if manifest.kind == "localise" else None
        self.num_skipped_keyframes = self.num_unlabelled_boxes = 0
        self._examples: Examples = clips
        if manifest.kind == "localise":
            origins = ("annotated", "detected") if boxes == "both" else (boxes,)
            self._examples, self.num_skipped_keyframes, self.num_unlabelled_boxes = keyframe_examples(
                tables, clips, origins=origins, score_threshold=box_score_threshold, label_iou=label_iou
            )
        del tables
        pa.default_memory_pool().release_unused()  # else the decode workers carry what reading needed
        if len(self._examples) == 0:
            raise InputError(f"{manifest.root}: split {split!r} has no {boxes} boxes of score {box_score_threshold}")
        if augment is not None:
            _check_scale(preprocess, augment)
        self._media_root = manifest.media_root
        self._preprocess, self._augment, self._cache = preprocess, augment, cache
        self._one_label_seed = one_label_seed
        self._mirror = mirror_columns(manifest.label_space) if augment is not None and augment.flip else None

    def __len__(self) -> int:
        return len(self._examples)

    def example(self, index: int) -> Examples:
        """Return one example's rows by themselves; with ``holding``, what a worker needs to make its sample."""
        return self._examples.only(index)

    def holding(self, examples: Examples) -> "ClipDataset":
        """Return this data set with other examples, its settings kept."""
        other = copy.copy(self)
        other._examples = examples
        return other

    def at_scale(self, scale: float, step: int) -> "ClipDataset":
        """Return this data set on a canvas ``scale`` times as large, to the next ``step`` pixels, and its frames."""
        other = copy.copy(self)
        other._preprocess, other._cache = self._preprocess.scaled(scale, step), None
        return other

    @property
    def preprocess(self) -> Preprocess:
        """Canvas, frames and rate of the samples."""
        return self._preprocess

    def class_turns(self, sampling: ClassSampling, threshold: float) -> ClassTurns | None:
        """Return how often each example comes in a pass of the set (``data.class_turns``); None = once."""
        rows, labels = self._examples.row_offsets, self._examples.label_offsets
        return class_turns(
            labels[rows], self._examples.label_values, len(self.label_space), sampling=sampling, threshold=threshold
        )

    def sample_id(self, index: int) -> str:
        """Return ``clip_id`` or ``video,pts_seconds``, the name of an example in messages and results."""
        if self.kind == "classify":
            return self._examples.clip_id(index)
        return f"{self._examples.video(index)},{self.pts_seconds(index):.6f}"

    def video(self, index: int) -> str:
        """Return the ``video`` cell of an example."""
        return self._examples.video(index)

    def media(self, index: int) -> Media:
        """Return where an example's video lies.

        Raises:
            VideoError: Its ``video`` cell leaves the media root.
        """
        fps = float(self._examples.media_fps[self._examples.clip[index]])
        return resolve_media(self._media_root, self._examples.video(index), fps)

    def pts_seconds(self, index: int) -> float:
        """Return the keyframe of a localisation example, in seconds of the video."""
        return float(self._examples.pts_seconds[index])

    def targets(self, index: int) -> Tensor:
        """Return an example's multi-hot targets, float32 (1, K) for a clip, (N, K) for the N boxes of a keyframe."""
        lists = self._examples.label_lists(index)
        if self._one_label_seed is not None and len(lists[0]) > 1:
            names = [self.label_space.names[k] for k in lists[0]]
            lists = [lists[0][[one_of(names, seed=self._one_label_seed, video=self.video(index))]]]
        targets = torch.zeros((len(lists), len(self.label_space)))
        for row, labels in enumerate(lists):
            targets[row, torch.from_numpy(labels.astype(np.int64))] = 1.0
        return targets

    def sample(self, index: int, seed: int) -> ClipSample:
        """Return a training sample of an example: random clip of the segment (or the keyframe's), augmented.

        Where all boxes left the canvas the clip is put on it again, at most seven times, then without being moved or
        scaled (letterboxed: whole; otherwise its centre, boxes cut at the edge). Boxes that the last draw lacks are
        counted.

        Raises:
            VideoError: The video cannot be read there.
        """
        generator = torch.Generator().manual_seed(seed)
        max_scale = 1.0 if self._augment is None else self._augment.scale_range[1]
        times = self._times(index, partial(random_clip_times, generator=generator))
        clip = self._read(index, times, max_scale=max_scale)
        return replace(self._changed(index, clip, generator), seed=seed)

    def _changed(self, index: int, clip: Clip, generator: torch.Generator) -> ClipSample:
        """Return a training sample of the frames read."""
        if self._augment is None:
            return self._finish(index, clip)
        if self.kind == "classify":
            changed = self._augmented(clip.frames, None, generator)
            return self._build(index, clip, changed, torch.ones(1, dtype=torch.bool), 0)
        boxes = self._examples.boxes_norm_of(index) * _frame_size(clip.frames)
        for _ in range(MAX_DRAWS):
            changed = self._augmented(clip.frames, boxes, generator)
            if changed.keep is not None and changed.keep.any():
                return self._build(index, clip, changed, changed.keep, changed.num_dropped)
        return self._finish(index, clip)

    def view(
        self, index: int, *, view: int = 0, num_views: int = 1, crop: int = 0, crops: Crops = "centre"
    ) -> ClipSample:
        """Return an evaluation sample of an example, nothing random.

        Args:
            index: Of the example.
            view: Which of ``num_views`` clips of the segment; the only clip of a keyframe.
            num_views: Clips spread evenly over the segment.
            crop: Which of the views that ``crops`` makes of the clip.
            crops: What is shown of a frame larger than the canvas.

        Raises:
            VideoError: The video cannot be read there.
        """

        def chosen(start: float, end: float, **sampling: Any) -> list[float]:
            return view_times(start, end, num_views=num_views, **sampling)[view]

        clip = self._read(index, self._times(index, chosen), max_scale=1.0)
        return self._finish(index, clip, crop=crop, crops=crops)

    def view_hw(self, crops: Crops) -> tuple[int, int]:
        """Return the height and width of ``view``'s frames.

        Raises:
            InputError: Frames of different videos would differ.
        """
        fit = self._preprocess.fit
        if crops != "whole" or fit.is_letterbox:
            return fit.size, fit.size
        if fit.exact_hw is None:
            raise InputError(
                "crops 'whole': frames scaled by their shorter side differ in size; expected centre, three"
            )
        return fit.exact_hw

    def _times(self, index: int, of_segment: Callable[..., list[float]]) -> WantedTimes:
        """Return the times of a clip, given the file's rate: those of the keyframe, or ``of_segment`` chosen ones."""

        def times(fps: float) -> list[float]:
            sampling = self._preprocess.sampling(fps)
            if self.kind == "localise":
                return keyframe_times(self.pts_seconds(index), **sampling)
            return of_segment(*self._examples.segment(index), **sampling)

        return times

    def _read(self, index: int, times: WantedTimes, *, max_scale: float) -> Clip:
        """Read frames no larger than the canvas needs when they are scaled by up to ``max_scale``."""
        media = self.media(index)
        if self._cache is not None:
            return self._cache.clip(media, times)
        return read_frames(media, times, size=read_size(self._preprocess.fit, max_scale))

    def _augmented(self, frames: Tensor, boxes: Tensor | None, generator: torch.Generator) -> Augmented:
        assert self._augment is not None
        return augment(
            frames,
            boxes,
            fit=self._preprocess.fit,
            scale_range=self._augment.scale_range,
            box_jitter=self._augment.box_jitter,
            flip=self._augment.flip,
            generator=generator,
        )

    def _finish(self, index: int, clip: Clip, *, crop: int = 0, crops: Crops = "centre") -> ClipSample:
        """Return a sample of the clip with nothing random, as it is scored: unmoved at scale 1, with every box.

        Where the canvas is cut out of the frame, boxes outside it stay, at its edge, and count as dropped.
        """
        fit, whole = self._preprocess.fit, crops == "whole"
        height, width = clip.frames.shape[-2:]
        offset = crop_offsets(height, width, crops)[crop]
        frames, _ = to_canvas(clip.frames, None, fit=fit, offset=offset, whole=whole)
        boxes, rows, num_dropped = None, 1, 0
        if self.kind == "localise":
            place = placement(height, width, fit=fit, offset=offset, whole=whole)
            boxes = canvas_boxes(self._examples.boxes_norm_of(index), place)
            if not fit.is_letterbox:
                boxes, num_dropped = shown_boxes(boxes, place.canvas_hw)
            rows = boxes.shape[0]
        keep = torch.ones(rows, dtype=torch.bool)
        shown = Augmented(frames=frames, boxes=boxes, keep=keep, num_dropped=0, mirrored=False)
        return self._build(index, clip, shown, keep, num_dropped)

    def _build(self, index: int, clip: Clip, changed: Augmented, keep: Tensor, num_dropped: int) -> ClipSample:
        localise = self.kind == "localise"
        targets = self.targets(index)[keep]
        if changed.mirrored:
            assert self._mirror is not None
            targets = targets[:, list(self._mirror)]
        return ClipSample(
            frames=changed.frames,
            targets=targets,
            boxes=changed.boxes,
            boxes_norm=self._examples.boxes_norm_of(index)[keep] if localise else None,
            box_scores=self._examples.box_scores_of(index)[keep] if localise else None,
            sample_id=self.sample_id(index),
            num_clamped=clip.num_clamped,
            num_dropped_boxes=num_dropped,
        )


def _check_scale(preprocess: Preprocess, augment: Augment) -> None:
    fit, low = preprocess.fit, augment.scale_range[0]
    if not fit.is_letterbox and fit.least_side * low < fit.size:
        raise InputError(
            f"scale_range {augment.scale_range}: frames of {fit.least_side} pixels scaled by {low} are smaller than "
            f"the square of {fit.size} cut out of them; expected {fit.size / fit.least_side:.3g} or more"
        )


def _frame_size(frames: Tensor) -> Tensor:
    """Return (W, H, W, H), which turns boxes in 0..1 into pixels."""
    height, width = frames.shape[-2:]
    return torch.tensor([width, height, width, height], dtype=torch.float32)
