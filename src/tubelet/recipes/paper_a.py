"""Paper A's tables 1 to 8, every row as a run.

    tubelet train paper_a --row 2-cofinetune --data manifests --out out/a2
    tubelet train paper_a --row 2-cofinetune --data out/playground/manifests --scale mini --out out/a2-mini

``--data`` holds the manifests, in folders of the names that the rows use (``recipes/rows_a.py`` has the rows, and where
the paper contradicts itself): kinetics400, kinetics600, kinetics700, moments_in_time, something_v2, ava, ava_kinetics.
Hardware: as published, TPUs of unknown number for batches of 128 clips of 32 frames.
Duration: not measured by us. Estimated from multiply-adds alone, at 40 % of an H100's 989 TFLOP/s in bfloat16: a clip
of ViViT-Base at 224 takes 0.37 TMAC forward, so 2.2 TFLOP to train on (Large: 1.14 and 6.8); the 19 million clips of
Table 2's co-finetuning are 29 GPU-hours, and six times as many at 512. ``--dry-run`` estimates a row here.
Expected: each row's own number, ``RowA.paper``, mAP@0.5 on AVA v2.2 and single-view top-1 from ImageNet-21K weights.
``--scale mini`` is the row on the playground with a ViViT of an eighth of the width, for 2 CPU cores: minutes;
``--scale small`` with a quarter, for one GPU (``recipes/miniature.py``).
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tubelet.recipes.ava import A1, OUR_CHOICES, NotInPaper, cofinetune_ava
from tubelet.recipes.miniature import MINIATURES_A, MiniatureA, Scale, playground_sets
from tubelet.recipes.playground import PlaygroundScale, run_at_scale
from tubelet.recipes.rows_a import AVA_KINETICS, K400, K700, TARGETS, RowA, find_row_a
from tubelet.tasks import task_config
from tubelet.train.config import PREVIOUS, RunConfig
from tubelet.train.start import absolute_start
from tubelet.types import BoxChoice, InputError

KineticsSet = Literal["kinetics400", "kinetics600", "kinetics700"]

IMAGENET21K = {"base": "hf_in21k_vit_b", "large": "hf_in21k_vit_l"}
"""Published weights of the image models that the paper starts from."""


def paper_a(
    *,
    row: str,
    data: Path,
    scale: Scale = "paper",
    num_epochs: float | None = None,
    kinetics: KineticsSet | None = None,
    eval_boxes: BoxChoice = "detected",
    init_from: str | None = None,
    seed: int = 0,
    not_in_paper: NotInPaper = OUR_CHOICES,
) -> tuple[RunConfig, ...]:
    """Train a row of paper A's tables 1 to 8, such as 2-cofinetune; a transfer is several stages.

    Args:
        row: Name in ``ROWS_A``.
        data: Folder of the manifests.
        scale: The paper's, or a miniature; ``data`` is then the folder of a playground's manifests.
        num_epochs: Passes over the summed sets of each stage of a miniature, so that all arms see as many clips;
            default: the scale's.
        kinetics: In the place of the row's own Kinetics set.
        eval_boxes: Person boxes that are scored; a miniature has the annotated ones.
        init_from: Start of the first stage; default: published ImageNet-21K weights, in miniature a pre-training on the
            playground's posts, as a stage before the others.
        seed: Decides weights, order and augmentation.
        not_in_paper: Values the paper does not give; of the full scale only.
    """
    found = find_row_a(row)
    swap = dict.fromkeys((K400, K700), kinetics) if kinetics else {}
    stages = tuple(tuple(swap.get(name, name) for name in stage) for stage in found.stages)
    start = absolute_start(init_from)
    if scale != "paper":
        if not_in_paper != OUR_CHOICES:
            raise InputError(f"--scale {scale} has its own settings: --not-in-paper is for the paper's; see --set")
        small = MINIATURES_A[scale]
        starts = small.starts[found.start] if start is None else ()
        everything = [*(("posts",) if starts else ()), *(name for stage in stages for name in stage)]
        check_manifests(data / name for name in playground_sets(everything))
        first, scaled = _miniature_scales(found, small)
        length = scaled.num_epochs if num_epochs is None else num_epochs
        runs = tuple(_miniature(found, first, ("posts",), data, epochs, 0) for epochs in starts)
        runs += tuple(_miniature(found, scaled, sets, data, length, seed) for sets in stages)
    else:
        if num_epochs is not None:
            raise InputError("--num-epochs is for a miniature: a row of the paper has its own; see --set")
        check_manifests(data / name for stage in stages for name in stage)
        if start is None and found.start == "wts":
            raise InputError(f"row {row} starts from weights that are not public; give your own with --init-from")
        if found.start == "imagenet21k":
            start = start or IMAGENET21K[found.vivit]
        runs = tuple(_full(found, sets, data, eval_boxes, seed, not_in_paper) for sets in stages)
    named = (replace(run, name=f"{row}-{number}") for number, run in enumerate(runs, start=1))
    return tuple(replace(run, init_from=PREVIOUS if n else start) for n, run in enumerate(named))


def _full(
    row: RowA, sets: tuple[str, ...], data: Path, eval_boxes: BoxChoice, seed: int, ours: NotInPaper
) -> RunConfig:
    run = cofinetune_ava(
        [data / name for name in sets],
        vivit=row.vivit,
        size=row.size,
        boxes="annotated" if AVA_KINETICS in sets else "detected",
        eval_boxes=eval_boxes,
        num_epochs=stage_epochs(sets, ours),
        seed=seed,
        not_in_paper=ours,
    )
    return replace(run, mixture=row.mixture)


def stage_epochs(sets: tuple[str, ...], ours: NotInPaper = OUR_CHOICES) -> float:
    """Return the passes over a stage's sets at full scale: co-finetuned, fine-tuned on a target, or upstream."""
    if len(sets) > 1:
        return A1.cofinetune_epochs
    return A1.baseline_epochs if sets[0] in TARGETS else ours.upstream_epochs


def _miniature_scales(row: RowA, small: MiniatureA) -> tuple[PlaygroundScale, PlaygroundScale]:
    """Return that of the start and that of the row's own stages."""
    scale = replace(small.run, vivit=small.vivit[row.vivit])
    if not row.name.startswith("8-"):
        return scale, scale
    scale = replace(scale, size=small.sizes[row.size], patch=small.patch, num_epochs=small.resolution_epochs)
    return replace(scale, size=min(small.sizes.values())), scale


def _miniature(
    row: RowA, scale: PlaygroundScale, sets: tuple[str, ...], manifests: Path, num_epochs: float, seed: int
) -> RunConfig:
    run = run_at_scale(
        row.name,
        tuple(task_config(manifests / name, label_smoothing=A1.label_smoothing) for name in playground_sets(sets)),
        scale,
        num_epochs=num_epochs,
        init_from=None,
        seed=seed,
        cache_dir=manifests.resolve().parent / "cache",
    )
    return replace(run, mixture=row.mixture) if len(run.tasks) > 1 else run  # one set: rows share what they start from


def check_manifests(folders: Iterable[Path]) -> None:
    """Raise with all of a row's manifests that are not there, by the folders they would lie in."""
    missing: dict[Path, list[str]] = {}
    for folder in dict.fromkeys(folders):
        if not (folder / "manifest.json").exists():
            missing.setdefault(folder.parent, []).append(folder.name)
    if missing:
        lacks = "; ".join(f"{data}: has no manifest {', '.join(names)}" for data, names in missing.items())
        raise InputError(f"{lacks}, which this row needs; tubelet data import, or tubelet corpus build, makes one")
