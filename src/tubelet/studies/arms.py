"""The three arms of paper A's comparison, each from the same start to a result (paper A, 3.2, 3.3, Tables 1, 2)."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tubelet.evals.breakdown import by_bucket, by_group
from tubelet.models.saved import read_meta
from tubelet.recipes import PLAYGROUND_RECIPES
from tubelet.recipes.playground import LOCALISE_SET
from tubelet.records import from_json, read_json, write_json
from tubelet.studies.forgetting import evaluate_earlier_heads
from tubelet.train.config import PREVIOUS
from tubelet.train.evaluate import evaluate_run, run_config
from tubelet.train.fit import metrics_of
from tubelet.train.stages import fit_stages

# Recipes run one after the other, each from the weights of the one before.
ARMS: Mapping[str, tuple[str, ...]] = {
    "cofinetune": ("cofinetune",),
    "transfer": ("transfer_kinetics", "transfer_moments", "transfer_localise"),
    "localise_only": ("localise_only",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassResult:
    """One action class of the localisation set."""

    name: str
    ap: float | None
    """In [0, 1]; None where the split has no example."""
    num_ground_truth: int
    bucket: str | None
    group: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmResult:
    """What one arm reached with one seed and one learning rate."""

    arm: str
    seed: int
    learning_rate: float | None
    """None = the recipe's own."""
    split: str
    """Split that everything below was measured on."""
    mean_ap: float
    """Frame mAP at IoU 0.5 of the localisation set, in [0, 1]."""
    per_class: tuple[ClassResult, ...]
    buckets: dict[str, float | None]
    """Mean over the classes of ``head``, ``mid`` and ``tail``."""
    groups: dict[str, float | None]
    classify: dict[str, float] = field(default_factory=dict)
    """Metrics of the classification sets; for ``transfer`` at the end of the set's own stage."""
    classify_at_end: dict[str, float] = field(default_factory=dict)
    """``transfer`` only: the same with the stage's head back on the final backbone; the fall is what was forgotten."""
    samples_seen: int
    """Clips trained on in all stages; the same for every arm up to rounding to whole steps."""
    seconds: float
    """Wall-clock time of training and scoring; of the last attempt only, if the arm was interrupted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedArm:
    """An arm whose loss or gradient stopped being a finite number."""

    arm: str
    seed: int
    learning_rate: float
    split: str
    """Split that it would have been measured on."""
    reason: str
    """Step, task and samples."""


def run_arm(
    arm: str,
    playground: Path,
    out: Path,
    *,
    size: str,
    seed: int,
    start: Path,
    learning_rate: float | None = None,
    split: str = "test",
    on_stage: Callable[[str], None] | None = None,
    progress: bool = True,
    num_workers: int = 1,
) -> ArmResult:
    """Train and score one arm; a finished one is read from ``<split>.json``, an interrupted one goes on.

    Args:
        arm: Key of ``ARMS``.
        playground: Playground folder.
        out: Folder of the arm; each stage is a run folder inside.
        size: Scale of the recipes.
        seed: Of every stage.
        start: Run folder all arms start from.
        learning_rate: Of every stage; None = the recipe's own.
        split: What to measure on: ``test`` to report, ``val`` to choose.
        on_stage: Called with the name of each recipe before it starts.
        progress: Whether runs show a live line.
        num_workers: Processes that prepare batches.
    """
    began = time.monotonic()
    options: dict[str, Any] = {"size": size, "learning_rate": learning_rate, "seed": seed}
    runs = [replace(PLAYGROUND_RECIPES[name](playground, **options), num_workers=num_workers) for name in ARMS[arm]]
    first = replace(runs[0], init_from=str(start.resolve()))
    stages = [first, *(replace(run, init_from=PREVIOUS) for run in runs[1:])]
    results = fit_stages(stages, out, on_stage=on_stage, progress=progress)
    folders = [result.out for result in results]
    samples_seen = sum(map(_samples, folders))
    # Looked at after ``fit``, which returns at once where a run is finished and refuses one on other data.
    result_file = out / f"{split}.json"
    if result_file.exists():
        return from_json(ArmResult, read_json(result_file), where=str(result_file))
    measured = _measure(folders, split=split, num_workers=num_workers)
    result = ArmResult(
        arm=arm,
        seed=seed,
        learning_rate=learning_rate,
        split=split,
        **measured,
        samples_seen=samples_seen,
        seconds=time.monotonic() - began,
    )
    write_json(result_file, result)
    return result


def _samples(folder: Path) -> int:
    """Return the clips a finished run was trained on."""
    return int(read_meta(folder)["step"]) * run_config(folder).batch_size


def _measure(folders: Sequence[Path], *, split: str, num_workers: int) -> dict[str, Any]:
    """Return the scores of an arm: the localisation set on its last run, each other set at the end of its own."""
    results = {
        name: result
        for folder in folders
        for name, result in evaluate_run(folder, split=split, num_workers=num_workers).items()
    }
    localise = results.pop(LOCALISE_SET)
    assert localise.ava is not None, "a localisation result is scored by AVA's protocol"
    space, ava = localise.label_space, localise.ava
    buckets, groups = (values or (None,) * len(space) for values in (space.buckets, space.groups))
    later = evaluate_earlier_heads(folders[-1], folders[:-1], split=split, num_workers=num_workers)
    return {
        "mean_ap": ava.mean_ap,
        "per_class": tuple(
            ClassResult(name=c.name, ap=c.ap, num_ground_truth=c.num_ground_truth, bucket=bucket, group=group)
            for c, bucket, group in zip(ava.per_class, buckets, groups, strict=True)
        ),
        "buckets": by_bucket(ava, space) if space.buckets else {},
        "groups": by_group(ava, space) if space.groups else {},
        "classify": metrics_of(results),
        "classify_at_end": metrics_of(later),
    }
