"""The nouns of Tubelet: plain, frozen, checked at construction.

Shapes use: T frames, H height, W width, B clips in a batch, N boxes, K classes of the task's label space.
"""

from __future__ import annotations  # Tensor is a name only: commands that compute nothing start without torch

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import pairwise
from math import ceil, inf
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class InputError(ValueError):
    """Something a user gave cannot be used; the message is one line: what, where, what was expected.

    The command line prints it and exits with status 2. Inside the library it is an ordinary ``ValueError``.
    """


class OtherRankError(InputError):
    """What ended another of the processes that train together, where it is told; here nothing more needs to be said."""


def first_line(error: Exception) -> str:
    """Return the first line of what another library's error says, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known name, or nothing when none is near.

    Capitals are as small letters, and spaces and underscores as hyphens.
    """
    plain = {_plain(other): other for other in known}
    near = get_close_matches(_plain(name), list(plain), n=1)
    return f"; did you mean {plain[near[0]]!r}?" if near else ""


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-").replace(" ", "-")


class VideoError(InputError):
    """A video file could not be read as asked.

    Args:
        path: The file.
        reason: What is wrong and what was expected.
        pts_seconds: The place in the video, if there is one.
    """

    def __init__(self, path: object, reason: str, pts_seconds: float | None = None) -> None:
        self.path = str(path)
        self.reason = reason
        self.pts_seconds = pts_seconds
        place = "" if pts_seconds is None else f" at {pts_seconds:.3f} s"
        # A name may hold a line break or a bell: the message stays one printable line.
        name = "".join(c if c.isprintable() else repr(c)[1:-1] for c in self.path)
        super().__init__(f"{name}{place}: {reason}")

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str, float | None]]:
        """Cross from a worker process whole."""
        return VideoError, (self.path, self.reason, self.pts_seconds)


def _check_shape(name: str, value: Tensor | np.ndarray, expected: tuple[int | None, ...]) -> None:
    """Raise unless ``value`` has the expected shape; ``None`` accepts any size."""
    actual = tuple(value.shape)
    if len(actual) != len(expected) or any(e not in (None, a) for a, e in zip(actual, expected, strict=True)):
        wanted = ", ".join("*" if e is None else str(e) for e in expected)
        raise ValueError(f"{name} has shape {actual}, expected ({wanted})")


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoMeta:
    """What a container says about its first video stream, before anything is decoded."""

    path: str
    width: int
    """Pixels, after rotation metadata is applied."""
    height: int
    """Pixels, after rotation metadata is applied."""
    fps: float
    """Average frame rate; never rounded."""
    duration_seconds: float
    """Claimed by the container; frames read are counted, this is never believed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """Decoded frames: what was asked for, with the time each frame really has."""

    frames: Tensor
    """uint8 (T, 3, H, W), RGB."""
    pts_seconds: np.ndarray
    """float64 (T,), presentation time of each returned frame."""
    num_clamped: int = 0
    """How many of the wanted times lay outside the video and were answered by its first or last frame."""

    def __post_init__(self) -> None:
        _check_shape("Clip.frames", self.frames, (None, 3, None, None))
        _check_shape("Clip.pts_seconds", self.pts_seconds, (self.frames.shape[0],))


Aggregation = Literal["per_place", "spatial_only", "broadcast_temporal", "frame_token", "joint"]
"""What ViViT's tokens see over time; ``models.vivit.ViViTConfig`` explains each."""
AvaProtocol = Literal["official", "slowfast", "mmaction"]
"""Whose rules of AVA's frame mAP; ``evals.ava.PROTOCOLS`` says how they differ."""
FrameProtocol = Literal[AvaProtocol, "multisports"]
"""Whose rules of frame mAP."""
BoxChoice = Literal["annotated", "detected", "both"]
"""Which person boxes of a data set are used, by their origin."""
ClassSampling = Literal["uniform", "square_root", "repeat_factor"]
"""How often the examples of rare and of frequent classes come in a pass of a set (``data.class_turns``)."""
OnError = Literal["raise", "skip"]
"""What becomes of a sample that cannot be made: it ends the run, or its batch is short of it."""
Crops = Literal["centre", "three", "whole"]
"""What scoring shows of a frame that is larger than the canvas: its centre, three squares along its longer side whose
scores are averaged, or all of it. A letterboxed frame is always shown whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How a frame comes onto the model's square canvas; with neither option it is letterboxed.

    Letterbox: the longer side is scaled to ``size``, the rest of the canvas is zero (paper A, A.2). Otherwise the frame
    is scaled and a square of it is shown: a random one in training, ``Crops`` in scoring.
    """

    size: int
    """Side of the canvas in pixels."""
    exact_hw: tuple[int, int] | None = None
    """Height and width that every frame is scaled to, whatever its aspect; paper B, 3.3: 128x171, 112x112 of it."""
    short_side: int | None = None
    """Pixels that the shorter side is scaled to ("short edge scaling")."""

    def __post_init__(self) -> None:
        if self.exact_hw is not None and self.short_side is not None:
            raise InputError("give one of exact_hw and short_side")
        if self.size < 1 or self.least_side < self.size:
            given = f"exact_hw {self.exact_hw}" if self.exact_hw is not None else f"short_side {self.short_side}"
            raise InputError(f"a square of {self.size} pixels does not fit a frame of {given}")

    @property
    def is_letterbox(self) -> bool:
        """Whether all of a frame is shown, with zeros around."""
        return self.exact_hw is None and self.short_side is None

    @property
    def least_side(self) -> int:
        """Shorter side of a scaled frame, in pixels; of a letterboxed one, of its canvas."""
        return min(self.exact_hw) if self.exact_hw is not None else self.short_side or self.size


class Sampling(TypedDict):
    """Which frames make a clip."""

    num_frames: int
    frame_stride: int
    """Frames of ``fps`` from one to the next."""
    fps: float
    whole_frames: bool
    """A clip begins at a multiple of ``1 / fps``, where a file of that rate has its frames. Halfway between two of them
    rounding would choose now the one and now the other, and the stride would differ inside a clip."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocess:
    """How a video becomes model input. It is stored with the weights, so inference cannot use other values."""

    size: int
    """Side of the square canvas in pixels; how a frame comes onto it is said by ``Fit``."""
    num_frames: int
    """Frames in a clip."""
    frame_stride: int
    """Frames of ``fps`` between two sampled frames; 1 = consecutive."""
    fps: float
    """Frame rate in which ``frame_stride`` counts. Frames are chosen by time: files of any rate give the same clip.
    0 = the rate of the file itself, as the papers count."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Subtracted from RGB in [0, 1]; the default maps to [-1, 1] as ViViT's public code does."""
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    still_weight: float = 1.0
    """Weight of the clip's mean frame. Below ``motion_weight`` it fades what does not move: a network trained from
    scratch on a small set otherwise learns backgrounds by heart before it sees people. 1 for pre-trained weights."""
    motion_weight: float = 1.0
    """Weight of each frame's difference from the clip's mean frame."""
    exact_hw: tuple[int, int] | None = None
    """As in ``Fit``; with neither this nor ``short_side`` frames are letterboxed."""
    short_side: int | None = None
    """As in ``Fit``."""

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.frame_stride < 1 or not 0 <= self.fps < inf:
            raise InputError(
                f"num_frames={self.num_frames} and frame_stride={self.frame_stride} must be at least 1, "
                f"fps={self.fps} 0 (the file's own) or above"
            )
        _ = self.fit  # its checks

    @property
    def fit(self) -> Fit:
        """How a frame comes onto the canvas."""
        return Fit(size=self.size, exact_hw=self.exact_hw, short_side=self.short_side)

    def scaled(self, scale: float, step: int = 16) -> Preprocess:
        """Return the same on a canvas ``scale`` times as large, to the next ``step`` pixels, frames scaled as it is."""
        size = max(step, step * round(self.size * scale / step))
        ratio = size / self.size
        exact_hw = None if self.exact_hw is None else (ceil(self.exact_hw[0] * ratio), ceil(self.exact_hw[1] * ratio))
        short_side = None if self.short_side is None else ceil(self.short_side * ratio)
        return replace(self, size=size, exact_hw=exact_hw, short_side=short_side)

    def sampling(self, file_fps: float) -> Sampling:
        """Return which frames of a file of this rate a clip takes, as arguments of ``video.sampling``."""
        return Sampling(
            num_frames=self.num_frames,
            frame_stride=self.frame_stride,
            fps=self.fps or file_fps,
            whole_frames=self.fps == 0,
        )

    def step_seconds(self, file_fps: float) -> float:
        """Return the time from one frame of a clip to the next, in a file of this rate."""
        return self.frame_stride / (self.fps or file_fps)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipSample:
    """The tensors made of one example: a clip with its targets, already on the model's canvas."""

    frames: Tensor
    """uint8 (T, 3, S, S)."""
    targets: Tensor
    """float32 (1, K) for a clip-classification task, (N, K) for a localisation task; multi-hot."""
    boxes: Tensor | None
    """float32 (N, 4) xyxy in pixels of the canvas at the keyframe; None for classification."""
    boxes_norm: Tensor | None
    """float32 (N, 4) xyxy in 0..1 of the original frame, before any augmentation; what evaluation reports."""
    box_scores: Tensor | None
    """float32 (N,), the person detector's confidence; 1 for annotated boxes."""
    sample_id: str
    """``clip_id`` for classification, ``video,pts_seconds`` for a keyframe; unique inside a task and split."""
    num_clamped: int = 0
    """Frames whose wanted time lay outside the video and that its first or last frame stands for."""
    num_dropped_boxes: int = 0
    """Boxes off the canvas: in training dropped with their targets, in scoring shown at its edge."""
    seed: int = 0
    """What decided the random changes made so far, and decides those made to the whole batch."""

    def __post_init__(self) -> None:
        _check_shape("ClipSample.frames", self.frames, (None, 3, None, None))
        rows = 1 if self.boxes is None else self.boxes.shape[0]
        _check_shape("ClipSample.targets", self.targets, (rows, None))
        if self.boxes is not None:
            _check_shape("ClipSample.boxes", self.boxes, (rows, 4))


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipBatch:
    """A homogeneous batch: one task, one head (paper A, 3.2)."""

    task: str
    video: Tensor
    """uint8 (B, 3, T, S, S); normalised on the device by ``video.normalise.normalise``."""
    targets: Tensor
    """float32 (B, K) for classification, (N, K) for localisation, N boxes over all clips."""
    boxes: Tensor | None
    """float32 (N, 4) xyxy in pixels of the canvas; None for classification."""
    box_clip: Tensor | None
    """int64 (N,), which clip of the batch each box belongs to; non-decreasing."""
    boxes_norm: Tensor | None
    """float32 (N, 4) xyxy in 0..1 of the original frames, before any augmentation; None for classification."""
    box_scores: Tensor | None
    """float32 (N,), the person detector's confidence, 1 for annotated boxes; None for classification."""
    sample_ids: tuple[str, ...]
    """B ids, in order."""
    num_clamped: int = 0
    """Sum over the samples."""
    num_dropped_boxes: int = 0
    """Sum over the samples."""
    skipped_ids: tuple[str, ...] = ()
    """Samples that belong to the batch and could not be made; nothing stands for them."""
    seeds: tuple[int, ...] = ()
    """``ClipSample.seed`` of each."""
    slots: tuple[int, ...] = ()
    """Place of each in its step's global batch, ascending; in training only."""

    def __post_init__(self) -> None:
        _check_shape("ClipBatch.video", self.video, (len(self.sample_ids), 3, None, None, None))
        if self.boxes is None:
            _check_shape("ClipBatch.targets", self.targets, (len(self.sample_ids), None))
        else:
            _check_shape("ClipBatch.boxes", self.boxes, (self.targets.shape[0], 4))

    def pieces(self, number: int) -> list[ClipBatch]:
        """Return the batch cut into ``number`` batches of nearly the same size, in order; some may be empty."""
        edges = [len(self.sample_ids) * place // number for place in range(number + 1)]
        return [self._rows(first, last) for first, last in pairwise(edges)]

    def _rows(self, first: int, last: int) -> ClipBatch:
        """Return the clips ``first`` to ``last - 1`` with their boxes; what was counted stays with the whole batch."""
        targets = slice(first, last)
        if self.box_clip is not None:
            targets = slice(int((self.box_clip < first).sum()), int((self.box_clip < last).sum()))  # they are in order
        boxes, box_clip, norm, scores = (
            None if value is None else value[targets]
            for value in (self.boxes, self.box_clip, self.boxes_norm, self.box_scores)
        )
        return ClipBatch(
            task=self.task,
            video=self.video[first:last],
            targets=self.targets[targets],
            boxes=boxes,
            box_clip=None if box_clip is None else box_clip - first,
            boxes_norm=norm,
            box_scores=scores,
            sample_ids=self.sample_ids[first:last],
            seeds=self.seeds[first:last],
            slots=self.slots[first:last],
        )

    def to(self, device: torch.device) -> ClipBatch:
        """Return the batch with every tensor on ``device``."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name in ("video", "targets", "boxes", "box_clip", "boxes_norm", "box_scores")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonBoxes:
    """Person boxes in one frame: a detector's output."""

    boxes: np.ndarray
    """float32 (N, 4) xyxy, pixels of that frame."""
    scores: np.ndarray
    """float32 (N,), confidence in [0, 1]."""

    def __post_init__(self) -> None:
        _check_shape("PersonBoxes.boxes", self.boxes, (None, 4))
        _check_shape("PersonBoxes.scores", self.scores, (self.boxes.shape[0],))


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionDetections:
    """Actors at one instant of one video, with a score for every action."""

    video: str
    pts_seconds: float
    boxes_norm: np.ndarray
    """float32 (N, 4) xyxy in 0..1 of the frame."""
    scores: np.ndarray
    """float32 (N, K) in [0, 1], one column per class of the label space."""
    box_scores: np.ndarray
    """float32 (N,), the person detector's confidence; 1 for annotated boxes."""
    person_ids: np.ndarray
    """int64 (N,), identity inside the video; -1 = not followed."""
    shot_seconds: tuple[float, float] = (-inf, inf)
    """Where the shot of this instant begins and ends; infinite as far as the video was not looked at for cuts."""

    def __post_init__(self) -> None:
        rows = self.boxes_norm.shape[0]
        _check_shape("ActionDetections.boxes_norm", self.boxes_norm, (None, 4))
        _check_shape("ActionDetections.scores", self.scores, (rows, None))
        _check_shape("ActionDetections.box_scores", self.box_scores, (rows,))
        _check_shape("ActionDetections.person_ids", self.person_ids, (rows,))
