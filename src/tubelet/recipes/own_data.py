"""Fine-tune a trained model on manifests of your own, one or several at once.

    tubelet train finetune --manifests my_data --out out/mine

Hardware: 2 CPU cores for the small models. Duration: minutes for a few hundred keyframes.
Expected: no published number; ``tubelet evaluate`` scores the run, and chance is the share of boxes a class has.
"""

from dataclasses import replace
from pathlib import Path

from tubelet.inference.shipped import SHIPPED_MODEL
from tubelet.models.model import read_backbone_config
from tubelet.models.saved import read_meta
from tubelet.models.weights import WEIGHTS
from tubelet.records import from_json
from tubelet.tasks import task_config
from tubelet.train.config import RunConfig
from tubelet.train.optim import OptimConfig
from tubelet.types import InputError, Preprocess
from tubelet.video.augmentations import Augment, BatchAugment

UNCHANGED = BatchAugment()


def finetune(
    manifests: tuple[Path, ...],
    *,
    init_from: Path = SHIPPED_MODEL,
    num_epochs: float = 10.0,
    batch_size: int = 16,
    learning_rate: float = 0.001,
    flip: bool = False,
    batch_augment: BatchAugment = UNCHANGED,
    eval_split: str = "val",
    seed: int = 0,
) -> RunConfig:
    """Fine-tune a run's backbone on your own manifests; more than one are co-finetuned (paper A, 3.2).

    Muon as in the playground's recipes, because the small models come from there. Decoded frames are kept in the first
    manifest's folder ``cache``.

    Args:
        manifests: Folders; each becomes a task named after its manifest.
        init_from: Run folder whose backbone and model input are taken over; heads start fresh. Default: the model that
            ships with Tubelet.
        num_epochs: Passes over the summed sets.
        batch_size: Clips per step.
        learning_rate: Peak of the cosine schedule.
        flip: Mirror half of the clips and swap the labels that depend on direction.
        batch_augment: Colour jitter, RandAugment, mixup and CutMix; the last two are for classification sets.
        eval_split: Split that the finished run is scored on.
        seed: Decides order and augmentation.
    """
    if not manifests:
        raise InputError("finetune needs at least one manifest folder, found none")
    if str(init_from) in WEIGHTS and not init_from.exists():
        raise InputError(
            f"{init_from}: published weights; tubelet weights convert {init_from} --out DIR makes a run folder of them"
        )
    meta = read_meta(init_from)
    where = str(init_from / "meta.json")
    preprocess = from_json(Preprocess, meta["preprocess"], where=where)
    augment = Augment(flip=flip, batch=batch_augment)
    if not preprocess.fit.is_letterbox:
        augment = replace(augment, scale_range=(1.0, 1.0))  # paper B, 3.3: the square is cut out at one scale
    return RunConfig(
        name="finetune",
        backbone=read_backbone_config(meta["backbone"], where=where),
        tasks=tuple(task_config(folder, augment=augment, eval_split=eval_split) for folder in manifests),
        preprocess=preprocess,
        optim=OptimConfig(
            learning_rate=learning_rate, optimizer="muon", weight_decay=0.05, warmup_epochs=num_epochs / 6
        ),
        batch_size=batch_size,
        num_epochs=num_epochs,
        seed=seed,
        init_from=str(init_from.resolve()),
        cache_dir=str(manifests[0].resolve() / "cache"),
    )
