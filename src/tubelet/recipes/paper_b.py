"""Paper B's tables, every row as a run: a weakly-supervised pre-training, then a fine-tuning on a target.

    tubelet train paper_b --row 13-34 --data manifests --out out/b13
    tubelet train paper_b --row 8-65m --data manifests --init-from ig65m_r2plus1d_34_8 --out out/b8
    tubelet train paper_b --row 17-34-kinetics --data out/playground/manifests --mini --out out/b17-mini

``--data`` holds the manifests, in folders of the names that the rows use (``recipes/rows_b.py`` has the rows, how the
tables are read, and where the paper contradicts itself). With ``--init-from`` a row is its fine-tuning alone.
Hardware: as published, 128 GPUs for pre-training and 64 for fine-tuning, 16 clips of 8 frames or 6 of 32 on each.
Duration: not measured by us. Estimated from multiply-adds alone, at 40 % of an H100's 989 TFLOP/s in bfloat16: a clip
of R(2+1)D-34 with 8 frames takes 38 GMAC forward (152 with 32; depth 152: 252), so 0.23 TFLOP to train on; the 490
million videos of a pre-training are 79 GPU-hours, with 32 frames 315. ``--dry-run`` estimates a row here.
Expected: each row's own number, ``RowB.paper``; where it is None the paper has a figure only.
``--mini`` is the row with a quarter of the channels, clips of 8 frames of 64 pixels and a rate for 16 clips in a step,
for 2 CPU cores on the playground: minutes. R(2+1)D-34 is R(2+1)D-18 there, but in Tables 2, 9 and 15.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from tubelet.data.manifest import read_manifest
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.recipes.clips import (
    CLIPS_PER_GPU,
    FRAME_HW,
    NUM_GPUS,
    NUM_PRETRAIN_GPUS,
    OUR_CHOICES,
    SIZE,
    NotInPaper,
    finetune_clips,
    pretrain_clips,
)
from tubelet.recipes.paper_a import MINI, check_manifests
from tubelet.recipes.rows_b import EPIC, KINETICS, SOMETHING, RowB, find_row_b
from tubelet.train.config import PREVIOUS, RunConfig
from tubelet.train.start import absolute_start

VIDEOS_SEEN = 490_000_000
""""All pre-training experiments process 490M videos in total" (3.3)."""

MINI_TARGETS = {
    KINETICS: "kinetics",
    EPIC["verb"]: "kitchen_verb",
    EPIC["noun"]: "kitchen_noun",
    SOMETHING: "direction",
}
"""A target to the playground's set that stands for it, also where it is pre-trained on; other sources keep their names
(``tubelet study run`` makes them from the posts)."""
MINI_EPOCHS = {"kinetics": 2.0, "kitchen_verb": 15.0, "kitchen_noun": 15.0, "direction": 15.0}
"""Total length of a fine-tuning on each, the same for all rows; the row's periods are scaled to it."""
MINI_VIDEOS_SEEN = 8_000
MINI_HALVINGS = 4
"""Of a pre-training's rate. After the paper's 13 most of 500 steps would have no rate to speak of."""
MINI_PLANES, MINI_SIZE, MINI_FRAMES, MINI_BATCH = 16, 64, 8, 16
MINI_VIEWS = 3
"""Clips of a video whose scores are averaged. Scoring the paper's 10 would take a quarter as long as fine-tuning."""
MINI_OPTIMIZER: Literal["adamw"] = "adamw"
"""In one pass over ``kinetics`` it reached 16 % on the validation split where SGD reached 10 % (``docs/log.md``)."""
MINI_RATE = 0.002
"""For 16 clips, of both stages: one for all rows, and the only one of AdamW's that was tried."""


def paper_b(
    *,
    row: str,
    data: Path,
    corpora: Path | None = None,
    mini: bool = False,
    fc_only: bool = False,
    short_edge: bool = False,
    init_from: str | None = None,
    seed: int = 0,
    not_in_paper: NotInPaper = OUR_CHOICES,
) -> tuple[RunConfig, ...]:
    """Train a row of paper B's tables, such as 13-34: pre-training and fine-tuning as stages.

    Args:
        row: Name in ``ROWS_B``.
        data: Folder of the targets' manifests.
        corpora: Folder of the manifests that are pre-trained on; default: ``data``.
        mini: The row in miniature; ``data`` is then the folder of a playground's manifests.
        fc_only: Train the last layer alone on the frozen network, in the rows that fine-tune all of it too. The paper
            fits a logistic regression instead, as ``tubelet probe`` does on any run.
        short_edge: Scale the shorter side to 128 pixels, the ratio kept: "SE" in Tables 5 to 7.
        init_from: Weights to fine-tune; the pre-training is left out.
        seed: Decides weights, order and augmentation.
        not_in_paper: Values the paper does not give.
    """
    found = find_row_b(row)
    stand_ins = MINI_TARGETS if mini else {}
    target = data / stand_ins.get(found.target, found.target)
    folder = data if found.source in stand_ins else corpora or data
    source = None if found.source is None or init_from else folder / stand_ins.get(found.source, found.source)
    check_manifests(path for path in (source, target) if path is not None)
    run = _finetuning(found, target, fc_only=fc_only, seed=seed, ours=not_in_paper)
    stages = [replace(run, init_from=absolute_start(init_from))]
    if source is not None:
        pretraining = _pretraining(found, source, seed=seed, ours=not_in_paper)
        stages = [pretraining, replace(run, init_from=PREVIOUS)]
    if short_edge:
        stages = [
            replace(run, preprocess=replace(run.preprocess, exact_hw=None, short_side=FRAME_HW[0])) for run in stages
        ]
    return tuple(_mini(run, found, data) for run in stages) if mini else tuple(stages)


def _pretraining(row: RowB, manifest: Path, *, seed: int, ours: NotInPaper) -> RunConfig:
    """Return 490 million videos of a corpus (3.3); an image network sees one frame of each."""
    num_frames = row.num_frames if row.source_model is None else 1
    batch = NUM_PRETRAIN_GPUS * CLIPS_PER_GPU.get(num_frames, 16)
    run = pretrain_clips(
        (manifest,),
        model=row.source_model or row.model,
        num_frames=num_frames,
        num_epochs=VIDEOS_SEEN / max(1, read_manifest(manifest).counts.get("clips_train", 1)),
        batch_size=batch,
        seed=seed,
        not_in_paper=ours,
    )
    return replace(run, name=f"{row.name}-pretrain")


def _finetuning(row: RowB, manifest: Path, *, fc_only: bool, seed: int, ours: NotInPaper) -> RunConfig:
    run = finetune_clips(
        (manifest,),
        model=row.model,
        num_frames=row.num_frames,
        fc_only=fc_only or row.fc_only,
        num_epochs=row.schedule.num_epochs,
        warmup_epochs=row.schedule.warmup,
        period_epochs=row.schedule.periods,
        learning_rate=row.rate,
        batch_size=NUM_GPUS * CLIPS_PER_GPU[row.num_frames],
        seed=seed,
        not_in_paper=ours,
    )
    return replace(run, name=f"{row.name}-finetune")


def _mini(run: RunConfig, row: RowB, data: Path) -> RunConfig:
    """Return a stage in miniature: the same but for network, input, batch, rate and length."""
    frames = min(MINI_FRAMES, run.preprocess.num_frames)
    preprocess = replace(
        run.preprocess.scaled(MINI_SIZE / SIZE),
        num_frames=frames,
        frame_stride=2,
        fps=12.5,  # the playground's, so that clips of all its videos span the same time
        still_weight=MINI.still_weight,
        motion_weight=MINI.motion_weight,
    )
    assert isinstance(run.backbone, ResNet3DConfig), "paper B's networks are residual"
    shallow = run.backbone.depth == 34 and not row.name.startswith(("9-", "15-"))
    backbone = replace(
        run.backbone,
        depth=18 if shallow else run.backbone.depth,
        planes=MINI_PLANES,
        size=MINI_SIZE,
        num_frames=frames,
    )
    optim = replace(
        run.optim,
        optimizer=MINI_OPTIMIZER,
        learning_rate=MINI_RATE,
        reference_batch_size=None,
        num_halvings=MINI_HALVINGS,
    )
    assert run.num_epochs is not None, "both stages count in passes"
    if optim.schedule == "halving":
        scale = MINI_VIDEOS_SEEN / VIDEOS_SEEN
    else:
        scale = MINI_EPOCHS[run.tasks[0].name] / run.num_epochs
    optim = replace(
        optim,
        warmup_epochs=scale * optim.warmup_epochs,
        period_epochs=tuple(scale * epochs for epochs in optim.period_epochs),
    )
    return replace(
        run,
        backbone=backbone,
        preprocess=preprocess,
        optim=optim,
        batch_size=MINI_BATCH,
        num_epochs=scale * run.num_epochs,
        tasks=tuple(replace(task, eval_num_views=MINI_VIEWS) for task in run.tasks),
        cache_dir=str(data.resolve().parent / "cache"),
    )
