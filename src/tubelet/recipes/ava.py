"""Paper A's setting on manifests of your own: AVA and any clip-classification sets.

    tubelet train cofinetune_ava --manifests ava kinetics400 --out out/ava

Hardware: as published, accelerators for a batch of 128 clips of 32 x 224 x 224 (ViViT-Base).
Duration: not measured by us; ``--dry-run`` estimates it for the machine at hand, ``tubelet recipes paper_a`` for an
H100 (AVA with Kinetics 400: 11 hours). Expected (paper A, Table 1a): AVA v2.2 mAP@0.5 of 25.2 with Kinetics 400, top-1
76.2, from an ImageNet-21K checkpoint (``--init-from hf_in21k_vit_b``); from scratch expect less. ``paper_a`` has every
row of the paper's tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tubelet.data.manifest import read_manifest
from tubelet.models.heads import ROI_SIZE
from tubelet.models.vivit import ViViTConfig, vivit_config
from tubelet.tasks import TaskConfig, task_config
from tubelet.train.config import PREVIOUS, RunConfig
from tubelet.train.optim import OptimConfig
from tubelet.train.start import absolute_start
from tubelet.types import BoxChoice, InputError, Preprocess
from tubelet.video.augmentations import Augment


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperASettings:
    """Paper A, 4.1 and A.1, in its own words; ``A1`` is the only value."""

    num_frames: int = 32
    frame_stride: int = 2
    patch: int = 16
    """"16 x 16 x 2 tubelets" (4.1)."""
    tubelet: int = 2
    batch_size: int = 128
    learning_rate: float = 0.2
    momentum: float = 0.9
    warmup_epochs: float = 2.5
    """Linear, then a cosine."""
    cofinetune_epochs: float = 15.0
    """Of the sum of the sets (4.1)."""
    baseline_epochs: float = 20.0
    """"For our baseline strategy, we finetuned all models for 20 epochs on both AVA and AVA-Kinetics" (A.1). 4.1 says
    15 for all models; the appendix is taken, because it tells the two apart."""
    scale_range: tuple[float, float] = (0.65, 1.1)
    box_jitter: float = 0.15
    label_smoothing: float = 0.1
    stochastic_depth: float = 0.2
    ava_box_threshold: float = 0.8
    """"For AVA, our models are trained on detected person boxes and they are first thresholded with ... 0.8"."""
    ava_kinetics_eval_box_threshold: float = 0.2
    """AVA-Kinetics is trained on annotated boxes and scored on detections from here."""


A1 = PaperASettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class NotInPaper:
    """What paper A does not give; every value here is our choice or taken from where the line says."""

    upstream_epochs: float = 15.0
    """Of a set that a model is transferred from. As long as co-finetuning, so that both see it as often: the tables
    compare "with the same total amount of data"."""
    weight_decay: float = 0.0
    """Scenic's public ViViT configs train with momentum SGD and no weight decay."""
    clip_norm: float | None = 1.0
    """Scenic's public ViViT configs clip at 1."""
    flip: bool = False
    """The augmentation that A.1 lists has no flips."""
    eval_box_score_threshold: float = 0.8
    """A.1 gives 0.8 for training on AVA; the same for scoring is our reading."""
    roi_size: int = ROI_SIZE
    """Cells on each side that a box is pooled into before they are averaged: 7 in PySlowFast's settings for AVA."""
    fps: float = 0.0
    """Rate in which the stride of 2 counts. 0, the default: frames of each file, as "32 frames sampled with a temporal
    stride of 2" (A.1) reads; 25 makes clips of all files span the same time."""


OUR_CHOICES = NotInPaper()


def cofinetune_ava(
    manifests: Sequence[Path],
    *,
    vivit: str = "base",
    size: int = 224,
    boxes: BoxChoice = "detected",
    eval_boxes: BoxChoice = "detected",
    num_epochs: float = A1.cofinetune_epochs,
    init_from: str | None = None,
    seed: int = 0,
    not_in_paper: NotInPaper = OUR_CHOICES,
) -> RunConfig:
    """Co-finetune one ViViT on all the manifests at once (paper A, 3.2, 4.1 and A.1).

    Args:
        manifests: Folders; each becomes a task named after its manifest.
        vivit: Name in ``VIVIT_SIZES``; the paper uses ``base`` and ``large``.
        size: Longer side in pixels; the paper uses 224 to 512.
        boxes: Trained on: ``detected`` for AVA (from 0.8), ``annotated`` for AVA-Kinetics (A.1).
        eval_boxes: Scored: ``detected`` (AVA-Kinetics from 0.2, A.1), or ``annotated`` as a row of its own (paper A,
            4.3: 47.0 against 33.1 on AVA-Kinetics).
        num_epochs: Passes over the summed sets; 15 for co-finetuning, 20 for the paper's fine-tuning baseline.
        init_from: Start: a run folder, a .safetensors, or published weights by name, such as hf_in21k_vit_b.
        seed: Decides weights, order and augmentation.
        not_in_paper: Values the paper does not give.
    """
    if not manifests:
        raise InputError("cofinetune_ava needs at least one manifest folder, found none")
    return RunConfig(
        name="cofinetune_ava",
        backbone=paper_vivit(vivit, size),
        tasks=tuple(_task(Path(folder), boxes=boxes, eval_boxes=eval_boxes, ours=not_in_paper) for folder in manifests),
        preprocess=Preprocess(size=size, num_frames=A1.num_frames, frame_stride=A1.frame_stride, fps=not_in_paper.fps),
        optim=OptimConfig(
            learning_rate=A1.learning_rate,
            momentum=A1.momentum,
            warmup_epochs=A1.warmup_epochs,
            weight_decay=not_in_paper.weight_decay,
            clip_norm=not_in_paper.clip_norm,
        ),
        mixture="weighted",
        batch_size=A1.batch_size,
        num_epochs=num_epochs,
        seed=seed,
        init_from=absolute_start(init_from),
        num_workers=8,
    )


def paper_vivit(vivit: str, size: int) -> ViViTConfig:
    """Return paper A's network, of a name in ``VIVIT_SIZES`` and for a side in pixels (4.1, A.1)."""
    return vivit_config(
        vivit,
        size=size,
        num_frames=A1.num_frames,
        patch=A1.patch,
        tubelet=A1.tubelet,
        stochastic_depth=A1.stochastic_depth,
    )


def transfer_ava(
    manifests: Sequence[Path],
    *,
    vivit: str = "base",
    size: int = 224,
    boxes: BoxChoice = "detected",
    eval_boxes: BoxChoice = "detected",
    num_epochs: float = A1.baseline_epochs,
    init_from: str | None = None,
    seed: int = 0,
    not_in_paper: NotInPaper = OUR_CHOICES,
) -> tuple[RunConfig, ...]:
    """Traditional transfer, paper A's control: one set after another, each from the weights before (3.2, Table 2).

    Args:
        manifests: In the order of the stages, such as Kinetics, Moments in Time, AVA.
        vivit: As in ``cofinetune_ava``, and so are the others.
        size: Longer side in pixels.
        boxes: Trained on.
        eval_boxes: Scored.
        num_epochs: Of the last stage, 20 in the paper (A.1); the stages before have ``not_in_paper.upstream_epochs``.
        init_from: Start of the first stage.
        seed: Decides weights, order and augmentation.
        not_in_paper: Values the paper does not give.
    """
    stages = [
        cofinetune_ava(
            [folder],
            vivit=vivit,
            size=size,
            boxes=boxes,
            eval_boxes=eval_boxes,
            num_epochs=num_epochs if number == len(manifests) - 1 else not_in_paper.upstream_epochs,
            init_from=init_from if number == 0 else PREVIOUS,
            seed=seed,
            not_in_paper=not_in_paper,
        )
        for number, folder in enumerate(manifests)
    ]
    if not stages:
        raise InputError("transfer_ava needs at least one manifest folder, found none")
    return tuple(replace(run, name=f"transfer_{run.tasks[0].name}") for run in stages)


def _task(folder: Path, *, boxes: BoxChoice, eval_boxes: BoxChoice, ours: NotInPaper) -> TaskConfig:
    augment = Augment(scale_range=A1.scale_range, box_jitter=A1.box_jitter, flip=ours.flip)
    if read_manifest(folder).kind != "localise":
        return task_config(folder, augment=augment, label_smoothing=A1.label_smoothing)
    return task_config(
        folder,
        augment=augment,
        label_smoothing=A1.label_smoothing,
        boxes=boxes,
        box_score_threshold=A1.ava_box_threshold,
        roi_size=ours.roi_size,
        eval_boxes=eval_boxes,
        eval_box_score_threshold=(
            A1.ava_kinetics_eval_box_threshold if boxes == "annotated" else ours.eval_box_score_threshold
        ),
    )
