"""How sure a number is: the same scores on videos drawn with replacement, and two models compared on the same draws.

Whole videos are drawn, because what is in one video is not independent. A draw is a weight for each video, how often
it came; detections are matched and ranked once, and each draw only weighs the ranked lists. With few videos (below
20, say) intervals are too narrow: a few videos cannot show how different others would be.

Average precision is higher on draws, in which videos repeat, than on as many different videos: so an interval is that
of the draws moved by the difference of their mean to the value (percentiles, corrected for bias).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import PROTOCOLS, Matched, lists_by_class
from tubelet.types import InputError

NUM_DRAWS = 1000
LEVEL = 0.95
MAX_CELLS = 1 << 22
"""Precisions computed at a time, so that memory does not grow with draws times rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedList:
    """One class's list as far as its precision-recall curve has steps. V videos, S steps."""

    rows: sparse.csr_matrix
    """(S, V): rows of each video since the step before, up to and with this step's."""
    hits: sparse.csr_matrix
    """(S, V): true ones among them."""
    positives: np.ndarray
    """float64 (V,), what there is to be found."""
    num_rows: np.ndarray
    """float64 (V,), rows of the list."""
    envelope: bool
    """Precision is the best from a step on (AVA), else that of the step (``step_ap``)."""
    needs_rows: bool
    """A draw without any row of the list has no average precision, instead of 0 (mmaction2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A number with its interval over the draws."""

    value: float
    """Of the data as given."""
    low: float
    """nan = not known."""
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A difference of two models on the same draws."""

    value: float
    """Second minus first, of the data as given."""
    low: float
    high: float
    p_value: float
    """Of no difference, two-sided, by the paired bootstrap: twice the share of (moved) draws on the other side of 0,
    where an equal one counts; at least 2 / (draws + 1), below 0.05 about where the 95 % interval does not hold 0."""


def draw_weights(num_videos: int, *, num_draws: int = NUM_DRAWS, seed: int = 0) -> np.ndarray:
    """Return how often each video comes in each draw of as many videos with replacement, float64 (V, B)."""
    if num_videos < 1 or num_draws < 2:
        raise InputError(f"expected at least 1 video and 2 draws, got {num_videos} and {num_draws}")
    generator = np.random.default_rng(seed)
    return generator.multinomial(num_videos, np.full(num_videos, 1 / num_videos), size=num_draws).T.astype(np.float64)


def videos_of(ground_truth: AvaTable, detections: AvaTable) -> tuple[str, ...]:
    """Return the names that are drawn from: every video of either table, sorted."""
    names = {video for video, _ in ground_truth.keyframes}
    return tuple(sorted(names | set(ground_truth.video.tolist()) | set(detections.video.tolist())))


def ranked_lists(
    matched: Matched, ground_truth: AvaTable, detections: AvaTable, videos: Sequence[str], *, protocol: str
) -> list[RankedList]:
    """Return the K classes' lists of frame mAP, ranked as ``frame_map`` ranks them.

    Args:
        matched: Of the two tables by ``match_detections``.
        ground_truth: R rows.
        detections: S rows.
        videos: Names of all videos.
        protocol: What ``matched`` follows.
    """
    rules = PROTOCOLS[protocol]
    number = {name: i for i, name in enumerate(videos)}
    truth_video, found_video = (
        np.array([number[name] for name in table.video.tolist()], dtype=np.int32)
        for table in (ground_truth, detections)
    )
    truth_video, truth_column = truth_video[matched.counted], matched.truth.column[matched.counted]
    video, hits = found_video[matched.order], matched.claimed >= 0
    scores = matched.found.scores[matched.order].astype(np.float32 if rules.single_precision else np.float64)
    lists = []
    for column, mine in enumerate(lists_by_class(matched)):
        ranked = mine[np.argsort(scores[mine])[::-1]]  # the unstable sort of all_point_ap
        steps = np.flatnonzero(hits[ranked])
        lists.append(
            _ranked_list(
                video[ranked],
                hits[ranked],
                steps,
                np.bincount(truth_video[truth_column == column], minlength=len(videos)),
                envelope=True,
                needs_rows=rules.skip_undetected,
            )
        )
    return lists


def ranked_samples(scores: np.ndarray, targets: np.ndarray, video: np.ndarray, num_videos: int) -> list[RankedList]:
    """Return the K classes' lists of multi-label classification, equal scores taken together as ``step_ap`` does.

    Args:
        scores: float (R, K).
        targets: multi-hot (R, K).
        video: int (R,), number of each sample's video.
        num_videos: V.
    """
    lists = []
    for column in range(scores.shape[1]):
        positive = targets[:, column] > 0
        ranked = np.argsort(-scores[:, column], kind="stable")
        sorted_scores = scores[ranked, column]
        last_of_tie = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
        num_hits = np.cumsum(positive[ranked])[last_of_tie]
        steps = last_of_tie[np.diff(num_hits, prepend=0) > 0]
        positives = np.bincount(video[positive], minlength=num_videos)
        lists.append(_ranked_list(video[ranked], positive[ranked], steps, positives, envelope=False, needs_rows=False))
    return lists


def _ranked_list(
    video: np.ndarray, hits: np.ndarray, steps: np.ndarray, positives: np.ndarray, *, envelope: bool, needs_rows: bool
) -> RankedList:
    """Return the list of rows in ranked order; ``steps`` are the places where recall has risen."""
    shape = (len(steps), len(positives))
    end = int(steps[-1]) + 1 if len(steps) else 0
    step = np.searchsorted(steps, np.arange(end))
    found = hits[:end]
    return RankedList(
        rows=sparse.csr_matrix((np.ones(end), (step, video[:end])), shape=shape),
        hits=sparse.csr_matrix((np.ones(found.sum()), (step[found], video[:end][found])), shape=shape),
        positives=positives.astype(np.float64),
        num_rows=np.bincount(video, minlength=len(positives)).astype(np.float64),
        envelope=envelope,
        needs_rows=needs_rows,
    )


def weighted_ap(ranked: RankedList, weights: np.ndarray) -> np.ndarray:
    """Return the average precision (B,) of each column of ``weights`` (V, B); nan where it has none.

    A video of weight 3 counts as three copies of it that follow each other in the ranked list.
    """
    values = np.zeros(weights.shape[1])
    at_once = max(1, MAX_CELLS // max(1, ranked.rows.shape[0]))
    for first in range(0, len(values), at_once):
        part = weights[:, first : first + at_once]
        gained = ranked.hits @ part
        num_rows = np.cumsum(ranked.rows @ part, axis=0)
        with np.errstate(invalid="ignore"):
            precision = np.cumsum(gained, axis=0) / num_rows
        precision[num_rows == 0] = 0.0
        if ranked.envelope:
            precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        values[first : first + at_once] = np.einsum("sb,sb->b", gained, precision)
    positives = ranked.positives @ weights
    missing = positives == 0
    if ranked.needs_rows:
        missing |= ranked.num_rows @ weights == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(missing, np.nan, values / positives)


def weighted_share(right: np.ndarray, video: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share (B,) of the samples that are right; nan in draws without a sample.

    Args:
        right: bool (R,).
        video: int (R,), number of each sample's video.
        weights: (V, B).
    """
    num_right, number = (np.bincount(each, minlength=len(weights)) @ weights for each in (video[right], video))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0, num_right / number, np.nan)


def draw_aps(lists: Sequence[RankedList], weights: np.ndarray) -> np.ndarray:
    """Return the average precision of each class in each draw, (K, B); nan where a class has none."""
    return np.stack([weighted_ap(ranked, weights) for ranked in lists])


def class_means(aps: np.ndarray, chosen: Sequence[int] | None = None) -> np.ndarray:
    """Return the mean (B,) over classes that have a value in a draw, (K, B); nan in draws where none has."""
    part = aps if chosen is None else aps[list(chosen)]
    number = np.isfinite(part).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0, np.nansum(part, axis=0) / number, np.nan)


def interval(value: float, draws: np.ndarray, *, level: float = LEVEL) -> Interval:
    """Return a value in [0, 1] with its interval by the draws (B,); nan ones, in which it has none, are left out.

    Raises:
        InputError: No draw has a value, or ``level`` is not in (0, 1).
    """
    low, high = np.quantile(_moved(value, draws), _ends(level)).clip(0, 1).tolist()
    return Interval(value=value, low=low, high=high)


def compare(value: float, draws: np.ndarray, *, level: float = LEVEL) -> Comparison:
    """Return a difference with its interval and the paired bootstrap test.

    Args:
        value: Second minus first, of the data as given.
        draws: (B,), the same of each draw, in which both were scored on the same videos.
        level: Of the interval.
    """
    known = _moved(value, draws)
    low, high = np.quantile(known, _ends(level)).tolist()
    # A draw without a difference speaks for neither side, also where moving it made it one: accuracies of a few videos
    # often differ by exactly 0.
    same = draws[np.isfinite(draws)] == 0
    other_side = min(int(((known <= 0) | same).sum()), int(((known >= 0) | same).sum()))
    p_value = min(1.0, 2 * (other_side + 1) / (len(known) + 1))
    return Comparison(value=value, low=low, high=high, p_value=p_value)


def _moved(value: float, draws: np.ndarray) -> np.ndarray:
    """Return the draws that have a value, moved so that their mean is the value of the data as given."""
    known = draws[np.isfinite(draws)]
    if len(known) == 0:
        raise InputError("no draw of the videos has ground truth")
    return np.asarray(known + (value - known.mean()))


def _ends(level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise InputError(f"level must be in (0, 1), got {level}")
    return (1 - level) / 2, (1 + level) / 2
