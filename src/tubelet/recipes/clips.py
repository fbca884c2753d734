"""Paper B on manifests of clips: weakly-supervised pre-training, and fine-tuning whole or of the last layer alone.

    tubelet train finetune_clips --manifests my_clips --init-from ig65m_r2plus1d_34_8 --out out/clips
    tubelet train finetune_clips --manifests my_clips --init-from ig65m_r2plus1d_34_8 --fc-only --out out/fc

The input is the paper's (3.3): frames scaled to 128 x 171, squares of 112 pixels cut out at random, 8 or 32 consecutive
frames, scored on 10 clips and the centre. The defaults are its settings for Kinetics (A.4, Table 8 and 13), the rate
scaled to the batch at hand.
Hardware: as published, 64 GPUs (16 nodes of 4) for fine-tuning, 128 for pre-training. Duration: not measured by us;
``--dry-run`` estimates it for the machine at hand, ``tubelet recipes paper_b`` for an H100.
Expected: paper B, Table 5: Kinetics-400 top-1 of 81.3 with R(2+1)D-152 and 32 frames, 79.6 with R(2+1)D-34. ``paper_b``
has every row of the paper's tables.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from tubelet.models.model import BackboneConfig
from tubelet.models.names import backbone_config
from tubelet.models.weights import KINETICS_MEAN, KINETICS_STD
from tubelet.tasks import LabelChoice, TaskConfig, task_config
from tubelet.train.config import RunConfig
from tubelet.train.optim import OptimConfig
from tubelet.train.start import absolute_start
from tubelet.types import InputError, Preprocess
from tubelet.video.augmentations import Augment

SIZE, FRAME_HW = 112, (128, 171)
CLIPS_PER_GPU = {8: 16, 32: 6}
"""Frames of a clip to the clips that one of the paper's GPUs had in a step (3.3)."""
NUM_GPUS = 64
"""Of fine-tuning (A.4); the rates of its tables are of one of them."""
NUM_PRETRAIN_GPUS = 128
PRETRAIN_RATE = 0.192
"""Of all 128 (3.3)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotInPaper:
    """What paper B does not give; every value here is our choice or taken from where the line says."""

    momentum: float = 0.9
    """Of the authors' public trainer (VMZ, ``c2/tools/train_net.py``), where it is Nesterov's; ours is plain."""
    clip_norm: float | None = None
    """No limit: neither the paper nor that trainer speaks of one."""
    flip: bool = False
    """What 3.3 says is random is the square and the time; some of Something-Something's labels are directions."""
    pretrain_warmup_share: float = 0.1
    """Share of pre-training that is its warm-up: "with a warmup" (3.3) gives no length. Our choice."""


OUR_CHOICES = NotInPaper()


def finetune_clips(
    manifests: tuple[Path, ...],
    *,
    model: str = "r2plus1d_34",
    num_frames: int = 8,
    init_from: str | None = None,
    fc_only: bool = False,
    num_epochs: float = 58.0,
    warmup_epochs: float = 16.0,
    period_epochs: tuple[float, ...] = (16.0, 16.0),
    learning_rate: float = 0.0003,
    batch_size: int = 16,
    labels: LabelChoice = "all",
    seed: int = 0,
    not_in_paper: NotInPaper = OUR_CHOICES,
) -> RunConfig:
    """Train a backbone of any published name on clips, as paper B fine-tunes (A.4).

    Args:
        manifests: Folders; each becomes a task named after its manifest.
        model: Such as r2plus1d_34, r3d_18, vivit_fe_b16x2; ``tubelet info`` knows the names.
        num_frames: Of a clip; 8 or 32 in the paper.
        init_from: A run folder, a .safetensors, or published weights by name; default: from scratch.
        fc_only: Train the heads alone on a frozen backbone.
        num_epochs: Passes over the summed sets.
        warmup_epochs: Of these; the paper has none for EPIC-Kitchens and Something-Something.
        period_epochs: "LR steps": stretches after the warm-up, each of which ends with a tenth of the rate.
        learning_rate: Of one of the paper's GPUs, that is for 16 clips (6 of 32 frames) in a step.
        batch_size: Clips in a step; the rate grows with it.
        labels: Of clips that have several: all, one, or one_each_pass.
        seed: Decides weights, order and augmentation.
        not_in_paper: Values the paper does not give.
    """
    run = _run("finetune_clips", manifests, model, num_frames, labels, batch_size, seed, not_in_paper)
    optim = OptimConfig(
        learning_rate=learning_rate,
        reference_batch_size=CLIPS_PER_GPU.get(num_frames, 16),
        momentum=not_in_paper.momentum,
        weight_decay=0.0001,
        schedule="periods",
        warmup_epochs=warmup_epochs,
        warmup_start=1 / NUM_GPUS,
        period_epochs=period_epochs,
        frozen_backbone=fc_only,
        clip_norm=not_in_paper.clip_norm,
    )
    return replace(run, optim=optim, num_epochs=num_epochs, init_from=absolute_start(init_from))


def pretrain_clips(
    manifests: tuple[Path, ...],
    *,
    model: str = "r2plus1d_34",
    num_frames: int = 8,
    num_epochs: float = 1.0,
    batch_size: int = 16,
    labels: LabelChoice = "one",
    seed: int = 0,
    not_in_paper: NotInPaper = OUR_CHOICES,
) -> RunConfig:
    """Pre-train on a weakly labelled corpus, its labels drawn by square root, the rate halved 13 times (paper B, 3).

    The paper's rate of 0.192 is for 128 GPUs; in all its pre-trainings 490 million videos are seen, which is
    ``num_epochs`` times the corpus.

    Args:
        manifests: Folders, such as ``tubelet corpus build`` makes.
        model: As in ``finetune_clips``.
        num_frames: Of a clip; 8 or 32 in the paper.
        num_epochs: Passes over the corpus.
        batch_size: Clips in a step; the rate grows with it.
        labels: Of clips that have several.
        seed: Decides weights, order and augmentation.
        not_in_paper: Values the paper does not give.
    """
    run = _run("pretrain_clips", manifests, model, num_frames, labels, batch_size, seed, not_in_paper)
    optim = OptimConfig(
        learning_rate=PRETRAIN_RATE,
        reference_batch_size=NUM_PRETRAIN_GPUS * CLIPS_PER_GPU.get(num_frames, 16),
        momentum=not_in_paper.momentum,
        weight_decay=0.0001,
        schedule="halving",
        warmup_epochs=not_in_paper.pretrain_warmup_share * num_epochs,
        warmup_start=1 / NUM_PRETRAIN_GPUS,
        clip_norm=not_in_paper.clip_norm,
    )
    # "We adopt the square root sampling approach when constructing pre-training data" (3.1.1).
    tasks = tuple(replace(task, class_sampling="square_root") for task in run.tasks)
    return replace(run, tasks=tasks, optim=optim, num_epochs=num_epochs)


def _run(
    name: str,
    manifests: tuple[Path, ...],
    model: str,
    num_frames: int,
    labels: LabelChoice,
    batch_size: int,
    seed: int,
    ours: NotInPaper,
) -> RunConfig:
    """Return what both have in common; the optimizer's values are filled in by them."""
    if not manifests:
        raise InputError(f"{name} needs at least one manifest folder, found none")
    return RunConfig(
        name=name,
        backbone=clip_backbone(model, num_frames),
        tasks=tuple(_task(folder, labels=labels, flip=ours.flip) for folder in manifests),
        preprocess=Preprocess(
            size=SIZE,
            num_frames=num_frames,
            frame_stride=1,
            fps=0.0,  # consecutive frames of the file, whatever its rate
            mean=KINETICS_MEAN,
            std=KINETICS_STD,
            exact_hw=FRAME_HW,
        ),
        optim=OptimConfig(learning_rate=1.0),
        batch_size=batch_size,
        num_epochs=1.0,
        seed=seed,
    )


def clip_backbone(model: str, num_frames: int) -> BackboneConfig:
    """Return a backbone of a published name for squares of 112 pixels (3.3)."""
    return replace(backbone_config(model), size=SIZE, num_frames=num_frames)


def _task(folder: Path, *, labels: LabelChoice, flip: bool) -> TaskConfig:
    augment = Augment(scale_range=(1.0, 1.0), flip=flip)
    config = task_config(folder, labels=labels, augment=augment, label_smoothing=0.0)
    return replace(config, eval_num_views=10) if config.kind == "classify" else config
