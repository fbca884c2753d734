"""What guessing reaches, so that a reader can tell how far above it a model is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from tubelet.data.manifest import read_manifest
from tubelet.evals.run import chance_map
from tubelet.labels import LabelSpace
from tubelet.playground.sets import held_out_classes
from tubelet.recipes.playground import CLASSIFY_SETS, LOCALISE_SET, manifest_of
from tubelet.train.evaluate import evaluate_run

CHANCE_SEEDS = range(5)
HELD_OUT = "held-out motions"
"""Mean AP of the classes whose motion the test split shows in a take that training never shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chance:
    """Chance levels of one split."""

    mean_ap: float
    """Frame mAP of uniform random scores on the boxes that the models score; mean over ``CHANCE_SEEDS``."""
    low: float
    high: float
    accuracy: dict[str, float]
    """Metric name to the accuracy of a uniform guess, 1 / K."""
    per_class: dict[str, float | None] = field(default_factory=dict)
    """Class of the localisation set to AP, mean over ``CHANCE_SEEDS``."""
    parts: dict[str, float] = field(default_factory=dict)
    """``head``, ``mid``, ``tail`` and the action groups to mean AP."""

    def of(self, quantity: str) -> float | None:
        """Return the chance level of a quantity of the study's table, if it has one."""
        if quantity == "mAP":
            return self.mean_ap
        if quantity == HELD_OUT:
            return held_out_ap(self.per_class)
        return self.parts.get(quantity, self.accuracy.get(quantity.removesuffix(" at the end")))


def held_out_ap(per_class: Mapping[str, float | None]) -> float | None:
    """Return the mean AP of the classes with a held-out take; None where none of them was measured."""
    found = [ap for name in held_out_classes() if (ap := per_class.get(name)) is not None]
    return fmean(found) if found else None


def measure_chance(playground: Path, localise_run: Path, *, split: str) -> Chance:
    """Score random numbers on the boxes that a run with the localisation task is scored on."""
    result = evaluate_run(localise_run, split=split, tasks=(LOCALISE_SET,), num_workers=0)[LOCALISE_SET]
    assert result.ground_truth is not None
    assert result.detections is not None
    chance = chance_map(result.ground_truth, result.detections, result.label_space, seeds=CHANCE_SEEDS)
    manifests = {task: read_manifest(manifest_of(playground, task)) for task in CLASSIFY_SETS}
    return Chance(
        mean_ap=chance.mean_ap,
        low=chance.low,
        high=chance.high,
        accuracy={
            f"{task}/{split}/top1": 1 / len(manifest.label_space)
            for task, manifest in manifests.items()
            if not manifest.multi_label
        },
        per_class=chance.per_class,
        parts=mean_by_part(chance.per_class, result.label_space),
    )


def mean_by_part(per_class: Mapping[str, float | None], label_space: LabelSpace) -> dict[str, float]:
    """Return the mean AP of each bucket and each group that has a class with ground truth."""
    values: dict[str, list[float]] = {}
    for parts in (label_space.buckets, label_space.groups):
        for name, part in zip(label_space.names, parts, strict=False):
            if (ap := per_class.get(name)) is not None:
                values.setdefault(part, []).append(ap)
    return {part: fmean(aps) for part, aps in values.items()}
