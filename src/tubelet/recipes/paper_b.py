"""Paper B's tables, every row as a run: a weakly-supervised pre-training, then a fine-tuning on a target.

    tubelet train paper_b --row 13-34 --data manifests --out out/b13
    tubelet train paper_b --row 8-65m --data manifests --init-from ig65m_r2plus1d_34_8 --out out/b8
    tubelet train paper_b --row 17-34-kinetics --data out/playground/manifests --scale mini --out out/b17-mini

``--data`` holds the manifests, in folders of the names that the rows use (``recipes/rows_b.py`` has the rows, how the
tables are read, and where the paper contradicts itself). With ``--init-from`` a row is its fine-tuning alone.
Hardware: as published, 128 GPUs for pre-training and 64 for fine-tuning, 16 clips of 8 frames or 6 of 32 on each.
Duration: not measured by us. Estimated from multiply-adds alone, at 40 % of an H100's 989 TFLOP/s in bfloat16: a clip
of R(2+1)D-34 with 8 frames takes 38 GMAC forward (152 with 32; depth 152: 252), so 0.23 TFLOP to train on; the 490
million videos of a pre-training are 79 GPU-hours, with 32 frames 315. ``--dry-run`` estimates a row here.
Expected: each row's own number (``RowB.paper``), or one of its verbs and nouns together, or a figure
(``recipes/row_costs.py``).
``--scale mini`` is the row with a quarter of the channels, clips of 8 frames of 64 pixels whose motion is louder, and
AdamW, for 2 CPU cores on the playground: minutes; R(2+1)D-34 is R(2+1)D-18 there, but in Tables 2, 9 and 15. ``--scale
small`` is for one GPU (``recipes/miniature.py``).
"""

from dataclasses import replace
from pathlib import Path

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
from tubelet.recipes.miniature import MINIATURES_A, MINIATURES_B, TARGETS_B, MiniatureB, Scale
from tubelet.recipes.paper_a import check_manifests
from tubelet.recipes.playground import PlaygroundScale
from tubelet.recipes.rows_b import RowB, find_row_b
from tubelet.train.config import PREVIOUS, RunConfig
from tubelet.train.start import absolute_start
from tubelet.types import InputError

VIDEOS_SEEN = 490_000_000
""""All pre-training experiments process 490M videos in total" (3.3)."""


def paper_b(
    *,
    row: str,
    data: Path,
    corpora: Path | None = None,
    scale: Scale = "paper",
    fc_only: bool = False,
    short_edge: bool = False,
    videos_seen: int | None = None,
    init_from: str | None = None,
    seed: int = 0,
    not_in_paper: NotInPaper = OUR_CHOICES,
) -> tuple[RunConfig, ...]:
    """Train a row of paper B's tables, such as 13-34: pre-training and fine-tuning as stages.

    Args:
        row: Name in ``ROWS_B``.
        data: Folder of the targets' manifests.
        corpora: Folder of the manifests that are pre-trained on; default: ``data``.
        scale: The paper's, or a miniature; ``data`` is then the folder of a playground's manifests.
        fc_only: Train the last layer alone on the frozen network, in the rows that fine-tune all of it too. The paper
            fits a logistic regression instead, as ``tubelet probe`` does on any run.
        short_edge: Scale the shorter side to 128 pixels, the ratio kept: "SE" in Tables 5 to 7.
        videos_seen: By the pre-training of a miniature; default: the scale's.
        init_from: Weights to fine-tune; the pre-training is left out.
        seed: Decides weights, order and augmentation.
        not_in_paper: Values the paper does not give.
    """
    found = find_row_b(row)
    stand_ins = {} if scale == "paper" else TARGETS_B
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
    if scale == "paper":
        if videos_seen is not None:
            raise InputError("--videos-seen is for a miniature: the paper's pre-trainings see 490 million; see --set")
        return tuple(stages)
    small = MINIATURES_B[scale]
    small = replace(small, videos_seen=small.videos_seen if videos_seen is None else videos_seen)
    playground = MINIATURES_A[scale].run
    return tuple(_miniature(run, found, small, playground, data) for run in stages)


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


def _miniature(run: RunConfig, row: RowB, small: MiniatureB, playground: PlaygroundScale, data: Path) -> RunConfig:
    """Return a stage in miniature: the same but for network, input, batch, rate and length."""
    frames = min(small.num_frames, run.preprocess.num_frames)
    preprocess = replace(
        run.preprocess.scaled(small.size / SIZE),
        num_frames=frames,
        frame_stride=playground.frame_stride,
        fps=playground.fps,  # so that clips of all videos span the same time
        still_weight=playground.still_weight,
        motion_weight=playground.motion_weight,
    )
    assert isinstance(run.backbone, ResNet3DConfig), "paper B's networks are residual"
    stands_in = run.backbone.depth == 34 and not row.name.startswith(("9-", "15-"))
    backbone = replace(
        run.backbone,
        depth=small.depth_34 if stands_in else run.backbone.depth,
        planes=small.planes,
        size=small.size,
        num_frames=frames,
    )
    optim = replace(
        run.optim,
        optimizer=small.optimizer,
        learning_rate=small.rate,
        reference_batch_size=None,
        num_halvings=small.num_halvings,
    )
    assert run.num_epochs is not None, "both stages count in passes"
    if optim.schedule == "halving":
        scale = small.videos_seen / VIDEOS_SEEN
    else:
        scale = small.epochs[run.tasks[0].name] / run.num_epochs
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
        batch_size=small.batch_size,
        num_epochs=scale * run.num_epochs,
        tasks=tuple(replace(task, eval_num_views=small.num_views) for task in run.tasks),
        cache_dir=str(data.resolve().parent / "cache"),
    )
