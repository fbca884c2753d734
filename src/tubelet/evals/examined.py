"""Stored predictions, looked at for a report: every number of one run, and of several on the same draws of videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tubelet.evals.ava import AvaResult, Matched, frame_map, match_detections
from tubelet.evals.breakdown import BUCKETS, buckets_by_quantile, differences
from tubelet.evals.classify import accuracy_per_class, mean_average_precision, top_k
from tubelet.evals.errors import Losses, attribute
from tubelet.evals.predictions import Predictions
from tubelet.evals.resample import (
    Comparison,
    Interval,
    class_means,
    compare,
    draw_aps,
    draw_weights,
    interval,
    ranked_lists,
    ranked_samples,
    videos_of,
    weighted_share,
)
from tubelet.types import InputError

MIN_VIDEOS = 5
"""A class that comes in fewer videos has no interval: they cannot show how it would be in others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """A number of a run, and the same of each draw."""

    name: str
    num_classes: int | None
    """Classes it is a mean over; None = it is no mean over classes."""
    value: float | None
    """In [0, 1]; None = no class of it has ground truth."""
    draws: np.ndarray
    """(B,), nan where a draw has none."""
    num_videos: int
    """Videos with something to be found."""

    def interval(self) -> Interval | None:
        """Return the value with its 95 % interval, whose ends are nan where the videos are too few."""
        if self.value is None:
            return None
        if self.num_videos < MIN_VIDEOS:
            return Interval(value=self.value, low=np.nan, high=np.nan)
        return interval(self.value, self.draws)


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """One run's predictions of one task."""

    name: str
    """Of the run, in the report."""
    stored: Predictions
    quantities: tuple[Quantity, ...]
    """The main number first."""
    per_class: tuple[Quantity, ...]
    """K: average precision, or for clips of one class each the share of its samples that are right."""
    num_examples: tuple[int, ...]
    """K, of the ground truth."""
    training_counts: tuple[int, ...]
    """K, how often each class comes in training; empty = not stored."""
    buckets: tuple[str, ...]
    """K of ``head``, ``mid``, ``tail``: the label space's, or thirds of the classes by training frequency; or none."""
    num_videos: int
    result: AvaResult | None = None
    matched: Matched | None = None
    losses: Losses | None = None

    @property
    def is_boxes(self) -> bool:
        """Whether boxes were scored, not whole clips."""
        return self.stored.kind == "localise"


def examine(
    runs: Mapping[str, Predictions],
    *,
    protocol: str = "official",
    iou: float = 0.5,
    num_draws: int = 1000,
    seed: int = 0,
) -> tuple[Examined, ...]:
    """Compute every number of predictions of the same task and split, all on the same draws of videos.

    Args:
        runs: Name to predictions; the ground truth must be the same.
        protocol: For boxes: whose rules.
        iou: For boxes: smallest overlap of a true positive.
        num_draws: Of the bootstrap.
        seed: Of the draws.

    Raises:
        InputError: The runs are not of the same samples, classes or ground truth.
    """
    names = _videos(list(runs.values()))
    weights = draw_weights(len(names), num_draws=num_draws, seed=seed)
    examined: list[Examined] = []
    for name, stored in runs.items():
        if stored.kind == "localise":
            one = _boxes(name, stored, names, weights, protocol=protocol, iou=iou)
        else:
            one = _clips(name, stored, names, weights)
        if examined:
            _check_comparable(examined[0], one)
        examined.append(one)
    return tuple(examined)


def compared(first: Quantity, other: Quantity) -> Comparison | None:
    """Return by how much the first run is better than the other in one quantity; None where one has no value.

    Interval and p are nan where the videos are too few.
    """
    if first.value is None or other.value is None:
        return None
    if first.num_videos < MIN_VIDEOS:
        return Comparison(value=first.value - other.value, low=np.nan, high=np.nan, p_value=np.nan)
    return compare(first.value - other.value, first.draws - other.draws)


def _videos(stored: Sequence[Predictions]) -> tuple[str, ...]:
    names: set[str] = set()
    for one in stored:
        if one.ground_truth is not None and one.detections is not None:
            names |= set(videos_of(one.ground_truth, one.detections))
        else:
            names |= set(one.videos)
    return tuple(sorted(names))


def _check_comparable(first: Examined, other: Examined) -> None:
    who = f"{first.name} and {other.name} (task {first.stored.task})"
    if first.stored.kind != other.stored.kind or first.stored.label_space.names != other.stored.label_space.names:
        raise InputError(f"{who}: not of the same kind and classes; report them apart")
    if first.result is not None and other.result is not None:
        try:
            differences(first.result, other.result)
        except InputError as error:
            raise InputError(f"{who}: {error}; report them apart") from None
    elif first.stored.sample_ids != other.stored.sample_ids:
        raise InputError(f"{who}: not of the same samples (splits {first.stored.split}, {other.stored.split})")


def _boxes(
    name: str, stored: Predictions, videos: Sequence[str], weights: np.ndarray, *, protocol: str, iou: float
) -> Examined:
    truth, found, space = stored.ground_truth, stored.detections, stored.label_space
    assert truth is not None
    assert found is not None
    result = frame_map(truth, found, space, iou=iou, protocol=protocol)
    matched = match_detections(truth, found, space, iou=iou, protocol=protocol)
    lists = ranked_lists(matched, truth, found, videos, protocol=protocol)
    aps, present = draw_aps(lists, weights), np.stack([each.positives > 0 for each in lists])
    values = [c.ap for c in result.per_class]
    counts, buckets = _frequencies(stored)
    parts: dict[str, Sequence[int]] = {"mAP": range(len(space))}
    parts |= _columns_of(buckets, [b for b in BUCKETS if b in buckets])
    parts |= _columns_of(space.groups, list(dict.fromkeys(space.groups)))
    return Examined(
        name=name,
        stored=stored,
        quantities=tuple(_mean(part, columns, values, aps, present) for part, columns in parts.items()),
        per_class=_each(space.names, values, aps, present),
        num_examples=tuple(c.num_ground_truth for c in result.per_class),
        training_counts=counts,
        buckets=buckets,
        num_videos=len(videos),
        result=result,
        matched=matched,
        losses=attribute(matched, iou=iou, protocol=protocol),
    )


def _clips(name: str, stored: Predictions, videos: Sequence[str], weights: np.ndarray) -> Examined:
    number = {video: i for i, video in enumerate(videos)}
    video = np.array([number[v] for v in stored.videos], dtype=np.int64)
    scores, targets, space = stored.scores, stored.targets, stored.label_space
    counts, buckets = _frequencies(stored)
    present = np.stack([np.bincount(video[row > 0], minlength=len(videos)) > 0 for row in targets.T])
    if stored.multi_label:
        values: Sequence[float | None] = mean_average_precision(scores, targets).per_class
        draws = draw_aps(ranked_samples(scores, targets, video, len(videos)), weights)
        main = [_mean("mAP", range(len(space)), values, draws, present)]
    else:
        values = accuracy_per_class(scores, targets)
        true = targets.argmax(axis=1)
        right: np.ndarray = scores.argmax(axis=1) == true
        of_class = [np.asarray(true == k) for k in range(len(space))]
        draws = np.stack([weighted_share(right[mine], video[mine], weights) for mine in of_class])
        main = [_top(k, scores, targets, video, weights) for k in (1, 5) if k == 1 or k < scores.shape[1]]
    parts = _columns_of(buckets, [b for b in BUCKETS if b in buckets])
    return Examined(
        name=name,
        stored=stored,
        quantities=(*main, *(_mean(part, columns, values, draws, present) for part, columns in parts.items())),
        per_class=_each(space.names, values, draws, present),
        num_examples=tuple((targets > 0).sum(axis=0).tolist()),
        training_counts=counts,
        buckets=buckets,
        num_videos=len(videos),
    )


def _top(k: int, scores: np.ndarray, targets: np.ndarray, video: np.ndarray, weights: np.ndarray) -> Quantity:
    ranked = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :k]
    right = np.asarray(np.take_along_axis(targets > 0, ranked, axis=1).any(axis=1))
    value, draws = top_k(scores, targets, k), weighted_share(right, video, weights)
    num_videos = len(np.unique(video))
    return Quantity(name=f"top-{k}", num_classes=None, value=value, draws=draws, num_videos=num_videos)


def _frequencies(stored: Predictions) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return training counts and buckets, as far as they are known and differ."""
    counts = tuple(int(n) for n in stored.origin["data"].get("training_counts", ()))
    if len(counts) != len(stored.label_space):
        counts = ()
    buckets = stored.label_space.buckets or buckets_by_quantile(counts)
    return counts, buckets if len(set(buckets)) > 1 else ()


def _columns_of(parts: Sequence[str], names: Sequence[str]) -> dict[str, Sequence[int]]:
    return {name: [k for k, part in enumerate(parts) if part == name] for name in names}


def _mean(
    name: str, columns: Sequence[int], values: Sequence[float | None], aps: np.ndarray, present: np.ndarray
) -> Quantity:
    """Return a mean over classes; ``present`` (K, V) says which come in which video."""
    known = [value for k in columns if (value := values[k]) is not None]
    return Quantity(
        name=name,
        num_classes=len(known),
        value=float(np.mean(known)) if known else None,
        draws=class_means(aps, columns),
        num_videos=int(present[list(columns)].any(axis=0).sum()),
    )


def _each(
    names: Sequence[str], values: Sequence[float | None], aps: np.ndarray, present: np.ndarray
) -> tuple[Quantity, ...]:
    return tuple(
        Quantity(name=name, num_classes=None, value=value, draws=draws, num_videos=int(videos.sum()))
        for name, value, draws, videos in zip(names, values, aps, present, strict=True)
    )
