"""Views: what scoring shows the model of one sample, and how the scores are averaged; said beside every number."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from tubelet.boxes import flip_boxes
from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest import Manifest
from tubelet.evals.salience import SalientClips
from tubelet.labels import LabelSpace, mirror_columns
from tubelet.models.model import VideoModel
from tubelet.models.saved import ScoreKind, probabilities
from tubelet.types import ClipBatch, Crops, Fit, InputError, Preprocess
from tubelet.video.normalise import normalise
from tubelet.video.transforms import check_crops

Average = Literal["probabilities", "logits"]
"""What is averaged over the views; the result is a probability either way."""
LEAST = 1e-30  # a probability of 0 in float32 has no logit


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """The views of a sample. The papers' own settings: one view for boxes (A), 10 clips of a video (B, 4)."""

    num_views: int = 1
    """Clips spread over a video; exactly 1 for a keyframe."""
    crops: Crops = "centre"
    """Shown of a frame larger than the canvas."""
    scales: tuple[float, ...] = (1.0,)
    """Sizes of the canvas relative to training."""
    flip: bool = False
    """Also mirrored; classes that depend on direction are swapped back."""
    average: Average = "probabilities"
    dense: bool = False
    """Clips are scored at every place of their frames, the linear layer as a convolution (paper B, 4.4)."""
    salient_by: str = ""
    """The light model whose most salient clips these are (``salience``); empty = clips spread evenly."""
    frames: str = ""
    """How frames are scaled and cut (``frames_of``); empty = as in training."""

    def __post_init__(self) -> None:
        if self.num_views < 1:
            raise InputError(f"num_views={self.num_views}: expected at least 1")
        if (
            not self.scales
            or not all(0 < scale < inf for scale in self.scales)
            or len(set(self.scales)) != len(self.scales)
        ):
            raise InputError(f"scales {self.scales}: expected different numbers above 0")

    def __str__(self) -> str:
        """Return what stands beside a number: ``10 x centre``, and what else differs from one plain view."""
        parts = [f"{self.num_views} x {self.crops}"]
        parts += [f"the most salient of all clips by {self.salient_by}"] * bool(self.salient_by)
        parts += [self.frames] * bool(self.frames)
        if self.scales != (1.0,):
            parts.append(f"scales {', '.join(f'{scale:g}' for scale in self.scales)}")
        parts += ["mirrored too"] * self.flip + ["at every place"] * self.dense
        parts += ["logits averaged"] * (self.average == "logits")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        names = ("num_views", "crops", "scales", "flip", "average", "dense", "salient_by", "frames")
        return {name: getattr(self, name) for name in names} | {"scales": list(self.scales)}


def frames_of(fit: Fit) -> str:
    """Return how frames are scaled and cut, as it stands beside a number."""
    if fit.is_letterbox:
        return f"whole frames in {fit.size} x {fit.size}"
    scaled = f"{fit.exact_hw[0]} x {fit.exact_hw[1]}" if fit.exact_hw else f"a shorter side of {fit.short_side}"
    return f"{fit.size} x {fit.size} of frames of {scaled}"


@dataclass(frozen=True, slots=True)
class View:
    """One of them."""

    dataset: ClipDataset
    """The samples, on a canvas of the view's scale."""
    arguments: Mapping[str, Any]
    """Of ``evaluation_batches``."""
    flip: bool


def list_views(dataset: ClipDataset, views: Views, salient: SalientClips | None = None, *, step: int) -> list[View]:
    """Return the single views.

    Args:
        dataset: The samples.
        views: Which.
        salient: Which clips instead of evenly spread ones.
        step: Pixels of the model's grid; a scaled canvas is a multiple of them.

    Raises:
        InputError: Several clips of a keyframe, or three squares of a letterboxed frame or of boxes.
    """
    localise = dataset.kind == "localise"
    if views.num_views > 1 and localise:
        raise InputError(f"num_views={views.num_views}: expected exactly 1 for localisation")
    if views.dense and localise:
        raise InputError("a score at every place of a frame is for classification: boxes have their own place")
    num_crops = check_crops(dataset.preprocess.fit, views.crops)
    if num_crops > 1 and localise:
        raise InputError(f"crops {views.crops!r}: most boxes lie outside some of them; expected centre or whole")
    scaled = [dataset if scale == 1 else dataset.at_scale(scale, step) for scale in views.scales]
    flips = (False, True) if views.flip else (False,)
    clips: list[dict[str, Any]] = [{"view": v, "num_views": views.num_views} for v in range(views.num_views)]
    if salient is not None:
        clips = [{"view": own.tolist(), "num_views": salient.num_clips.tolist()} for own in salient.views.T]
    return [
        View(data, clip | {"crop": c, "crops": views.crops}, flip)
        for data, flip, clip, c in itertools.product(scaled, flips, clips, range(num_crops))
    ]


def mirrored(batch: ClipBatch) -> ClipBatch:
    """Return a batch as a mirror shows it; ``boxes_norm`` stay those of the frame."""
    width = batch.video.shape[-1]
    boxes = None if batch.boxes is None else flip_boxes(batch.boxes, width=width)
    return replace(batch, video=batch.video.flip(-1), boxes=boxes)


def unmirrored(scores: np.ndarray, label_space: LabelSpace) -> np.ndarray:
    """Return scores (R, K) of a mirrored batch as those of the batch itself."""
    return scores[:, list(mirror_columns(label_space))]


class Averaging:
    """Mean of scores (R, K) over views.

    Args:
        average: What is averaged.
        exclusive: The scores of a row are those of a softmax; else each class stands on its own.
    """

    def __init__(self, average: Average, *, exclusive: bool) -> None:
        self._average, self._exclusive = average, exclusive
        self._sum: np.ndarray | None = None
        self._count = 0

    def add(self, probability: np.ndarray) -> None:
        """Take the probabilities of one more view, float32 (R, K)."""
        values = probability.astype(np.float64)
        if self._average == "logits":
            # A softmax's logits are the logarithms of its probabilities, but for a number that is the row's own.
            rest = 0.0 if self._exclusive else np.log(np.maximum(1 - values, LEAST))
            values = np.log(np.maximum(values, LEAST)) - rest
        self._sum = values if self._sum is None else self._sum + values
        self._count += 1

    def mean(self) -> np.ndarray:
        """Return probabilities, float32 (R, K)."""
        assert self._sum is not None
        mean = self._sum / self._count
        if self._average == "logits":
            if self._exclusive:
                mean = np.exp(mean - mean.max(axis=1, keepdims=True))
                mean /= mean.sum(axis=1, keepdims=True)
            else:
                mean = 1 / (1 + np.exp(-mean))
        return np.asarray(mean, dtype=np.float32)


class ClassifyingTask(Protocol):
    """What scoring at every place needs of a task."""

    @property
    def name(self) -> str:
        """Names the head."""

    @property
    def label_space(self) -> LabelSpace:
        """Classes."""

    @property
    def manifest(self) -> Manifest:
        """The data set."""


@dataclass(frozen=True, slots=True)
class AtEveryPlace:
    """A task whose clips are scored on every window of their frames: the mean of the windows' probabilities."""

    task: ClassifyingTask
    preprocess: Preprocess
    kind: ScoreKind

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name

    @property
    def label_space(self) -> LabelSpace:
        """The task's classes."""
        return self.task.label_space

    @property
    def manifest(self) -> Manifest:
        """The task's data set."""
        return self.task.manifest

    @torch.no_grad()
    def scores(self, model: VideoModel, batch: ClipBatch) -> Tensor:
        """Return probabilities (B, K)."""
        logits = model.forward_dense(normalise(batch.video, self.preprocess), self.name)
        windows = logits.flatten(1, 3)
        scores: Tensor = probabilities(windows.flatten(0, 1), self.kind).view(windows.shape).mean(dim=1)
        return scores
