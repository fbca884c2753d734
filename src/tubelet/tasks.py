"""A task: one data set, one head, one loss. The training loop and the evaluation know nothing more about a data set."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tubelet.data.box_labels import LABEL_IOU
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.shuffle import key_of
from tubelet.labels import LabelSpace
from tubelet.losses import sigmoid_cross_entropy, softmax_cross_entropy
from tubelet.models.heads import ROI_SIZE
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.saved import HeadMeta, probabilities
from tubelet.records import check_choices
from tubelet.types import BoxChoice, ClassSampling, ClipBatch, Crops, InputError, Preprocess
from tubelet.video.augmentations import Augment, augment_batch
from tubelet.video.normalise import normalise

LabelChoice = Literal["all", "one", "one_each_pass"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskConfig:
    """One data set of a run, and how the model is trained and scored on it."""

    name: str
    """Names the head, the metrics and the log lines; unique inside a run."""
    manifest: str
    """Folder of the manifest."""
    kind: Literal["classify", "localise"]
    """Whether whole clips have labels, or person boxes; as the manifest says."""
    loss: Literal["softmax", "sigmoid"]
    """``softmax``: one class per example; ``sigmoid``: every class on its own (several actions at once)."""
    labels: LabelChoice = "all"
    """Of a clip with several. ``one``: drawn once for all from the run's seed and its video (paper B, 3.3: "randomly
    assigning one of the associated hashtags to each video"); ``one_each_pass``: drawn anew whenever it is seen."""
    augment: Augment = field(default_factory=Augment)
    """What training changes at random."""
    boxes: BoxChoice = "annotated"
    """Person boxes to train on (paper A, A.1: detected boxes for AVA, annotated ones for AVA-Kinetics)."""
    box_score_threshold: float = 0.0
    """Detected boxes below this confidence are not trained on (paper A, A.1: 0.8 for AVA)."""
    label_iou: float = LABEL_IOU
    """A detected box without labels of its own takes those of the annotated box it overlaps most, from this IoU on;
    below it its target is all zero."""
    roi_size: int = ROI_SIZE
    """Cells that a person box is pooled into on each side, before they are averaged (``models.heads``)."""
    eval_boxes: BoxChoice = "annotated"
    """Person boxes to score the model on."""
    eval_box_score_threshold: float = 0.0
    """Detected boxes below this confidence are not scored (paper A, A.1: 0.2 for AVA-Kinetics, not given for AVA)."""
    eval_num_views: int = 1
    """Clips spread over each video whose scores are averaged; paper B, 4: 10. Not for localisation."""
    eval_crops: Crops = "centre"
    """What is shown of a frame larger than the canvas; paper B, 4: the centre."""
    label_smoothing: float = 0.1
    """Share of a target that is spread out (``losses.py``; paper A, A.1: 0.1)."""
    loss_weight: float = 1.0
    """Multiplies the loss; the mixture's weights decide how often the task comes, this how hard it pulls."""
    mixture_weight: float | None = None
    """Share of the run's samples, in any scale; for all tasks of a run or none. None = the size of the set."""
    class_sampling: ClassSampling = "uniform"
    """How often the examples of rare and of frequent classes come in a pass of the set (``data.class_turns``)."""
    repeat_threshold: float = 0.001
    """Of ``repeat_factor``: classes in a smaller share of the examples come more often."""
    train_split: str = "train"
    """Split of the manifest that is trained on."""
    eval_split: str = "val"
    """Split that the run is scored on."""

    def __post_init__(self) -> None:
        check_choices(self)
        for option, low, high in (
            ("label_smoothing", 0, 1),
            ("box_score_threshold", 0, 1),
            ("eval_box_score_threshold", 0, 1),
            ("label_iou", 0, 1),
            ("repeat_threshold", 0, 1),
            ("loss_weight", 0, math.inf),
            ("mixture_weight", 0, math.inf),
            ("eval_num_views", 1, math.inf),
            ("roi_size", 1, math.inf),
        ):
            value = getattr(self, option)
            if value is not None and not low <= value <= high:
                raise InputError(f"task {self.name}: {option} must be between {low} and {high}, found {value}")
        if self.label_smoothing == 1 or self.label_iou == 0:
            raise InputError(f"task {self.name}: label_smoothing must be below 1 and label_iou above 0")
        if self.labels != "all" and self.kind != "classify":
            raise InputError(f"task {self.name}: labels {self.labels!r} is for whole clips; a box has all its labels")


class Task:
    """A task's data, head and loss, bound together."""

    def __init__(self, config: TaskConfig, manifest: Manifest, *, preprocess: Preprocess) -> None:
        if config.kind != manifest.kind:
            raise InputError(
                f"task {config.name}: kind is {config.kind!r}, but {manifest.root} holds a {manifest.kind!r} set"
            )
        if config.loss == "softmax" and manifest.multi_label and config.labels == "all":
            raise InputError(
                f"task {config.name}: {manifest.root} is multi-label, which needs loss 'sigmoid', or labels 'one'"
            )
        if config.kind == "localise" and config.augment.batch.mixes_clips:
            raise InputError(f"task {config.name}: mixup and CutMix mix whole clips: they do not go with boxes")
        self.config = config
        self.manifest = manifest
        self.preprocess = preprocess

    @property
    def name(self) -> str:
        """The task's name in the run."""
        return self.config.name

    @property
    def label_space(self) -> LabelSpace:
        """The classes, in the order of the head's outputs."""
        return self.manifest.label_space

    @property
    def head(self) -> HeadConfig:
        """The head this task needs."""
        return self.head_meta.config

    @property
    def head_meta(self) -> HeadMeta:
        """What is stored with the weights about this task's head."""
        config = self.config
        return HeadMeta(kind=config.kind, label_space=self.label_space, score=config.loss, roi_size=config.roi_size)

    def augmented(self, batch: ClipBatch) -> ClipBatch:
        """Return a training batch with the changes made to whole batches, on its device; its targets may be soft.

        What is drawn follows from the samples' seeds, so from (seed, step, place in the batch) alone.
        """
        targets = batch.targets
        if self.config.labels == "one_each_pass":
            targets = one_label(targets, [key_of(seed, "label") for seed in batch.seeds])
        settings, has_boxes = self.config.augment.batch, batch.boxes is not None
        video, targets = augment_batch(batch.video, targets, settings, batch.seeds, batch.slots, has_boxes=has_boxes)
        return replace(batch, video=video, targets=targets)

    def losses(self, model: Callable[..., Tensor], batch: ClipBatch) -> Tensor:
        """Return the loss of each clip (B,) or box (N,), float32 whatever the autocast type.

        They are not yet multiplied by ``loss_weight``. A batch of keyframes has as many as it has boxes.
        """
        loss_function = softmax_cross_entropy if self.config.loss == "softmax" else sigmoid_cross_entropy
        return loss_function(self._logits(model, batch), batch.targets, label_smoothing=self.config.label_smoothing)

    @torch.no_grad()
    def scores(self, model: VideoModel, batch: ClipBatch) -> Tensor:
        """Return probabilities, float32: (B, K) per clip or (N, K) per box."""
        return probabilities(self._logits(model, batch), self.config.loss)

    def _logits(self, model: Callable[..., Tensor], batch: ClipBatch) -> Tensor:
        video = normalise(batch.video, self.preprocess)
        logits: Tensor = model(video, self.name, boxes=batch.boxes, box_clip=batch.box_clip)
        return logits


def one_label(targets: Tensor, draws: Sequence[int]) -> Tensor:
    """Return targets (B, K) with one of each row's classes left; a number drawn for each row says which."""
    positive = targets > 0
    number = positive.sum(dim=1, keepdim=True)
    chosen = torch.tensor(draws, device=targets.device).view(-1, 1) % number.clamp(min=1)
    return (positive & (positive.cumsum(dim=1) - 1 == chosen)).to(targets.dtype)


def task_config(folder: Path, *, labels: LabelChoice = "all", **options: Any) -> TaskConfig:
    """Return the config of a manifest's task, named after it; kind and loss follow from what the manifest says.

    Args:
        folder: Of the manifest.
        labels: As in ``TaskConfig``; for a multi-label set of clips. With one label a clip the loss is a softmax.
        options: Other fields of ``TaskConfig``.
    """
    manifest = read_manifest(folder)
    return TaskConfig(
        name=manifest.name,
        manifest=str(folder.resolve()),
        kind="localise" if manifest.kind == "localise" else "classify",
        loss="sigmoid" if manifest.multi_label and labels == "all" else "softmax",
        labels=labels,
        **options,
    )


def build_task(config: TaskConfig, *, preprocess: Preprocess) -> Task:
    """Read a task's manifest and bind it."""
    return Task(config, read_manifest(Path(config.manifest)), preprocess=preprocess)
