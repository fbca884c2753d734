"""Paper A's strategies on the playground, in sizes that two CPU cores can train.

    tubelet playground build --size small --out out/playground
    tubelet train cofinetune --playground out/playground --out out/cofinetune

Recipes: ``pretrain_posts`` (paper B in miniature; needs ``tubelet corpus build`` first: docs/reproduce.md has it),
then from its weights ``cofinetune``, or ``transfer_kinetics`` -> ``transfer_moments`` -> ``transfer_localise`` (all
three: ``transfer``), or ``localise_only``. ``train_sets`` trains on any of its sets.
``size: str`` names a scale of the whole experiment (``tiny``, ``small``, ``study``); ``scale.size: int`` is the side
of the model's canvas in pixels.
Hardware: 2 CPU cores. Duration of one recipe: seconds (tiny), about a minute (small), minutes (study).
Expected: docs/reproduce.md says what was measured so far, with chance beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tubelet.models.vivit import vivit_config
from tubelet.tasks import TaskConfig, build_task, task_config
from tubelet.train.config import PREVIOUS, RunConfig
from tubelet.train.data import task_dataset
from tubelet.train.optim import OptimConfig
from tubelet.types import InputError, Preprocess

CLASSIFY_SETS = ("kinetics", "moments")
SETS = ("kinetics", "moments", "localise", "direction", "kitchen", "kitchen_verb", "kitchen_noun", "single_keyframe")
"""What ``train_sets`` may train on; ``posts`` has a recipe of its own."""
LOCALISE_SET = "localise"
POSTS_SET = "posts"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaygroundScale:
    """What differs between the sizes of the playground, and with their defaults the values that do not.

    Two departures from paper A, because its models start from ImageNet-21K and these from nothing: Muon, with which a
    small ViViT gets off the plateau in the clips it may see here, and input in which what moves outweighs what stays
    (``docs/log.md`` has the runs).
    """

    size: int
    """Side of the canvas in pixels."""
    patch: int
    batch_size: int
    pretrain_epochs: float
    """Of the posts."""
    num_epochs: float
    """Of the summed data sets."""
    learning_rate: float = 0.002
    """Default; the study chooses each arm's own on the validation split."""
    weight_decay: float = 0.05
    vivit: str = "nano"
    """Name in ``VIVIT_SIZES``."""
    num_frames: int = 8
    frame_stride: int = 2
    """Frames of ``fps``."""
    fps: float = 12.5
    """Also the rate at which frames are cached."""
    stochastic_depth: float = 0.1
    still_weight: float = 0.2
    motion_weight: float = 2.0


SCALES: Mapping[str, PlaygroundScale] = {
    "tiny": PlaygroundScale(size=64, patch=8, batch_size=8, pretrain_epochs=2.0, num_epochs=2.0),
    "small": PlaygroundScale(size=96, patch=12, batch_size=16, pretrain_epochs=25.0, num_epochs=8.0),
    "study": PlaygroundScale(size=96, patch=12, batch_size=16, pretrain_epochs=60.0, num_epochs=20.0),
}


def pretrain_posts(
    playground: Path,
    *,
    size: str = "small",
    init_from: Path | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> RunConfig:
    """Weakly supervised pre-training on the corpus built from the playground's tagged posts (paper B, 3).

    Args:
        playground: Folder of `tubelet playground build`, with its manifest `posts` from `tubelet corpus build`.
        size: How large and how long: tiny, small or study (`SCALES`).
        init_from: Run folder or file whose weights it starts from; None = random.
        learning_rate: Peak of the schedule; None = the size's.
        seed: Decides weights, order and augmentation.
    """
    epochs = scale_of(size).pretrain_epochs
    return _run("pretrain_posts", playground, (POSTS_SET,), size, init_from, learning_rate, seed, num_epochs=epochs)


def cofinetune(
    playground: Path,
    *,
    size: str = "small",
    init_from: Path | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> RunConfig:
    """Train on both classification sets and the localisation set at once, weighted by size (paper A, 3.2).

    Args:
        playground: Folder of `tubelet playground build`.
        size: How large and how long: tiny, small or study (`SCALES`).
        init_from: Run folder or file whose weights it starts from; None = random.
        learning_rate: Peak of the schedule; None = the size's.
        seed: Decides weights, order and augmentation.
    """
    return _run("cofinetune", playground, (*CLASSIFY_SETS, LOCALISE_SET), size, init_from, learning_rate, seed)


def transfer_kinetics(
    playground: Path,
    *,
    size: str = "small",
    init_from: Path | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> RunConfig:
    """First stage of traditional transfer: one set alone, with a new head and a fresh optimizer (paper A, 3.2).

    Every stage sees its set as often as co-finetuning does, so the three together see the same number of samples.

    Args:
        playground: Folder of `tubelet playground build`.
        size: How large and how long: tiny, small or study (`SCALES`).
        init_from: Run folder or file whose weights it starts from; None = random.
        learning_rate: Peak of the schedule; None = the size's.
        seed: Decides weights, order and augmentation.
    """
    return _run("transfer_kinetics", playground, ("kinetics",), size, init_from, learning_rate, seed)


def transfer_moments(
    playground: Path,
    *,
    size: str = "small",
    init_from: Path | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> RunConfig:
    """Second stage of traditional transfer; start it from the first.

    Args:
        playground: Folder of `tubelet playground build`.
        size: How large and how long: tiny, small or study (`SCALES`).
        init_from: Run folder or file whose weights it starts from; None = random.
        learning_rate: Peak of the schedule; None = the size's.
        seed: Decides weights, order and augmentation.
    """
    return _run("transfer_moments", playground, ("moments",), size, init_from, learning_rate, seed)


def transfer_localise(
    playground: Path,
    *,
    size: str = "small",
    init_from: Path | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> RunConfig:
    """Last stage of traditional transfer; start it from the second.

    Args:
        playground: Folder of `tubelet playground build`.
        size: How large and how long: tiny, small or study (`SCALES`).
        init_from: Run folder or file whose weights it starts from; None = random.
        learning_rate: Peak of the schedule; None = the size's.
        seed: Decides weights, order and augmentation.
    """
    return _run("transfer_localise", playground, (LOCALISE_SET,), size, init_from, learning_rate, seed)


def localise_only(
    playground: Path,
    *,
    size: str = "small",
    init_from: Path | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> RunConfig:
    """Train on the localisation set alone for as many samples as co-finetuning sees in all (a control).

    Args:
        playground: Folder of `tubelet playground build`.
        size: How large and how long: tiny, small or study (`SCALES`).
        init_from: Run folder or file whose weights it starts from; None = random.
        learning_rate: Peak of the schedule; None = the size's.
        seed: Decides weights, order and augmentation.
    """
    sizes = {task: num_examples(playground, task) for task in (*CLASSIFY_SETS, LOCALISE_SET)}
    epochs = scale_of(size).num_epochs * sum(sizes.values()) / sizes[LOCALISE_SET]
    return _run("localise_only", playground, (LOCALISE_SET,), size, init_from, learning_rate, seed, num_epochs=epochs)


def transfer(
    playground: Path, *, size: str = "small", init_from: Path | None = None, seed: int = 0
) -> tuple[RunConfig, ...]:
    """Traditional transfer whole: kinetics, then moments, then the localisation set (paper A, 3.2, Table 2).

    Args:
        playground: Folder of `tubelet playground build`.
        size: How large and how long: tiny, small or study (`SCALES`).
        init_from: Run folder or file whose weights it starts from; None = random.
        seed: Decides weights, order and augmentation.
    """
    first = transfer_kinetics(playground, size=size, init_from=init_from, seed=seed)
    later = (make(playground, size=size, seed=seed) for make in (transfer_moments, transfer_localise))
    return (first, *(replace(run, init_from=PREVIOUS) for run in later))


def train_sets(
    playground: Path,
    *,
    sets: tuple[str, ...] = ("direction",),
    size: str = "small",
    init_from: Path | None = None,
    num_epochs: float | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> RunConfig:
    """Train on any of the playground's sets, together: direction, kitchen, kitchen_verb, single_keyframe, ...

    Args:
        playground: Playground folder.
        sets: Names of its manifests.
        size: Scale of the recipes.
        init_from: Run folder of the start.
        num_epochs: Passes over the summed sets; default: the scale's.
        learning_rate: Peak; default: the scale's.
        seed: Decides weights, order and augmentation.
    """
    for name in sets:
        if name not in SETS:
            raise InputError(f"the playground has no set {name!r} to train on; it has {', '.join(SETS)}")
    return _run("train_sets", playground, sets, size, init_from, learning_rate, seed, num_epochs=num_epochs)


def num_examples(playground: Path, task: str) -> int:
    """Return the training examples of a set: clips, or keyframes with boxes."""
    config = playground_task(playground, task)
    dataset = task_dataset(
        build_task(config, preprocess=preprocess_of(SCALES["tiny"])), config.train_split, training=True
    )
    return len(dataset)


def scale_of(size: str) -> PlaygroundScale:
    """Return the scale of a named size."""
    if size not in SCALES:
        raise InputError(f"unknown size {size!r}, expected one of {', '.join(SCALES)}")
    return SCALES[size]


def manifest_of(playground: Path, task: str) -> Path:
    """Return the folder of a set's manifest."""
    return playground.resolve() / "manifests" / task


def playground_task(playground: Path, task: str) -> TaskConfig:
    """Return the task of a set."""
    # Paper A, A.1, as are the defaults of ``Augment``: no flips, which would turn the labels that are directions.
    return task_config(manifest_of(playground, task), label_smoothing=0.1)


def preprocess_of(scale: PlaygroundScale) -> Preprocess:
    """Return the model input of a scale."""
    return Preprocess(
        size=scale.size,
        num_frames=scale.num_frames,
        frame_stride=scale.frame_stride,
        fps=scale.fps,
        still_weight=scale.still_weight,
        motion_weight=scale.motion_weight,
    )


def _run(
    name: str,
    playground: Path,
    tasks: tuple[str, ...],
    size: str,
    init_from: Path | None,
    learning_rate: float | None,
    seed: int,
    *,
    num_epochs: float | None = None,
) -> RunConfig:
    scale = scale_of(size)
    return run_at_scale(
        name,
        tuple(playground_task(playground, task) for task in tasks),
        scale,
        learning_rate=learning_rate,
        num_epochs=scale.num_epochs if num_epochs is None else num_epochs,
        init_from=None if init_from is None else str(init_from.resolve()),
        seed=seed,
        cache_dir=playground.resolve() / "cache",
    )


def run_at_scale(
    name: str,
    tasks: tuple[TaskConfig, ...],
    scale: PlaygroundScale,
    *,
    num_epochs: float,
    learning_rate: float | None = None,
    init_from: str | None,
    seed: int,
    cache_dir: Path,
) -> RunConfig:
    """Return a run of a small ViViT.

    Args:
        name: Of the run.
        tasks: What it is trained on.
        scale: How large.
        num_epochs: Passes over the summed sets; a sixth of them is warm-up (paper A: 2.5 of 15).
        learning_rate: Peak; None = the scale's.
        init_from: As in ``RunConfig``.
        seed: As in ``RunConfig``.
        cache_dir: Where decoded frames are kept.
    """
    return RunConfig(
        name=name,
        backbone=vivit_config(
            scale.vivit,
            size=scale.size,
            num_frames=scale.num_frames,
            patch=scale.patch,
            stochastic_depth=scale.stochastic_depth,
        ),
        tasks=tasks,
        preprocess=preprocess_of(scale),
        optim=OptimConfig(
            learning_rate=scale.learning_rate if learning_rate is None else learning_rate,
            optimizer="muon",
            weight_decay=scale.weight_decay,
            warmup_epochs=num_epochs / 6,
        ),
        batch_size=scale.batch_size,
        num_epochs=num_epochs,
        seed=seed,
        init_from=init_from,
        cache_dir=str(cache_dir),
    )
