"""Where a number comes from: frequency buckets, action groups, differences per class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tubelet.evals.ava import AvaResult
from tubelet.labels import LabelSpace
from tubelet.types import InputError

BUCKETS = ("head", "mid", "tail")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassDifference:
    """One class in two results."""

    id: int
    name: str
    before: float
    after: float

    @property
    def delta(self) -> float:
        """Gain of ``after`` over ``before``, in [-1, 1]."""
        return self.after - self.before


def buckets_by_quantile(
    counts: Sequence[int], *, head_share: float = 1 / 3, tail_share: float = 1 / 3
) -> tuple[str, ...]:
    """Return the bucket of each class by rank, for data whose sizes are not AVA's.

    Args:
        counts: Training examples per class.
        head_share: Share of the classes, the most frequent, that are ``head``.
        tail_share: Share that are ``tail``. Classes of equal count share a bucket, so shares may be missed by ties,
            which go to ``mid``.
    """
    if not 0 <= head_share <= 1 or not 0 <= tail_share <= 1 or head_share + tail_share > 1 + 1e-9:
        raise InputError(f"shares must be in [0, 1] and sum to at most 1, got {head_share} and {tail_share}")
    ranked = sorted(counts)
    num_head, num_tail = round(head_share * len(ranked)), round(tail_share * len(ranked))
    # The first count outside a bucket: a class must differ from it to be inside.
    head_above = ranked[-num_head - 1] if num_head < len(ranked) else -1
    tail_below = ranked[num_tail] if num_tail < len(ranked) else ranked[-1] + 1 if ranked else 0
    return tuple(
        "head" if num_head and n > head_above else "tail" if num_tail and n < tail_below else "mid" for n in counts
    )


def by_bucket(result: AvaResult, label_space: LabelSpace) -> dict[str, float | None]:
    """Return the mean AP of head, mid and tail classes; None where no class of a bucket has ground truth.

    Empty for a label space without buckets.
    """
    return group_means(result, label_space.buckets, BUCKETS if label_space.buckets else ())


def by_group(result: AvaResult, label_space: LabelSpace) -> dict[str, float | None]:
    """Return the mean AP of each action group (AVA: pose, person-object, person-person), in order of appearance.

    Empty for a label space without groups.
    """
    return group_means(result, label_space.groups, tuple(dict.fromkeys(label_space.groups)))


def group_means(result: AvaResult, parts: Sequence[str], names: Sequence[str]) -> dict[str, float | None]:
    """Return the mean AP of the classes of each group; None where none of them has an AP.

    Args:
        result: K classes.
        parts: K group names.
        names: The groups wanted.
    """
    if names and len(parts) != len(result.per_class):
        raise InputError(f"the result has {len(result.per_class)} classes, the label space {len(parts)}")
    means: dict[str, float | None] = {}
    for name in names:
        values = [c.ap for c, part in zip(result.per_class, parts, strict=True) if part == name and c.ap is not None]
        means[name] = float(np.mean(values)) if values else None
    return means


def differences(before: AvaResult, after: AvaResult) -> tuple[ClassDifference, ...]:
    """Return the classes with an AP in both results, largest gain first (paper A, Fig. 1).

    Raises:
        InputError: The results differ in protocol, IoU, classes or ground truth, so they must not be compared.
    """
    for field in ("protocol", "iou"):
        if getattr(before, field) != getattr(after, field):
            raise InputError(f"results differ in {field}: {getattr(before, field)} and {getattr(after, field)}")
    keys = [[(c.id, c.name, c.num_ground_truth) for c in result.per_class] for result in (before, after)]
    if keys[0] != keys[1]:
        raise InputError("results are not of the same classes and ground truth")
    rows = [
        ClassDifference(id=b.id, name=b.name, before=b.ap, after=a.ap)
        for b, a in zip(before.per_class, after.per_class, strict=True)
        if b.ap is not None and a.ap is not None
    ]
    return tuple(sorted(rows, key=lambda row: -row.delta))
