"""Link person boxes over time into tubes with identities that last.

The scheme is ByteTrack's (Zhang et al., ECCV 2022): confident boxes are assigned first, weak boxes may only continue a
tube, never start one, and only bridge from one confident box to the next: a lamp post that looks a little like a person
would keep the tube of who passed it for ever. Detection may run only a few times a second, so boxes are compared after
growing each side (the buffered IoU of C-BIoU, Yang et al., WACV 2023), the more the longer ago the person was seen: who
moved by more than her own width still overlaps, and who stood still is not confused with her neighbour. Everything is
online and holds only the last moments, so a video may be endless. ``benchmarks/people.py`` measures it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from tubelet.boxes import box_iou
from tubelet.defaults import PERSON_THRESHOLD
from tubelet.types import ActionDetections, InputError, PersonBoxes

NOT_FOLLOWED = -1
VELOCITY_SECONDS = 0.5
"""How long ago the observations lie, at most, that a velocity is learnt from: boxes tremble, and people turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkConfig:
    """When a box belongs to a tube."""

    start_score: float = PERSON_THRESHOLD
    """A box at least this confident may start a tube."""
    sure_score: float = 0.4
    """A box at least this confident is assigned first, and keeps its tube alive; ByteTrack too asks 0.1 less of it."""
    keep_score: float = 0.15
    """A box at least this confident may bridge a tube; weaker boxes are ignored."""
    min_overlap: float = 0.1
    """Smallest IoU of grown boxes for a sure box to continue a tube."""
    min_overlap_weak: float = 0.6
    """The same for a weak box: ByteTrack's second stage asks for more."""
    grow_per_second: float = 1.0
    """Share of its size by which each side of a box is moved out before boxes are compared, for each second since the
    tube's last box: a walking person moves by about her own width in half a second."""
    most_grow: float = 0.5
    """Largest such share."""
    most_start_overlap: float = 0.4
    """A box that overlaps one already assigned by more (IoU) starts no tube: it is a second box of the same person."""
    max_gap_seconds: float = 1.0
    """A tube without a sure box for longer has ended; shorter gaps are bridged."""


def link_from(start_score: float) -> LinkConfig:
    """Return the settings for tubes that start at this confidence; weaker boxes continue them as by default."""
    if not 0 <= start_score <= 1:
        raise InputError(f"the person threshold is {start_score}, expected 0 to 1")
    usual = LinkConfig()
    sure = max(0.0, start_score - (usual.start_score - usual.sure_score))
    return LinkConfig(start_score=start_score, sure_score=sure, keep_score=min(usual.keep_score, sure))


@dataclass(frozen=True, kw_only=True, slots=True)
class TubeBoxes:
    """All people of one instant."""

    boxes: np.ndarray
    """float32 (N, 4) xyxy, pixels."""
    scores: np.ndarray
    """float32 (N,); interpolated where the box is: where the detector missed somebody."""
    person_ids: np.ndarray
    """int64 (N,), -1 = seen only once so far."""


@dataclass(slots=True)
class Tube:
    """One person's recent boxes."""

    person_id: int
    sure_seconds: float
    """When she was last surely seen; weak boxes after that are not shown, for nothing may follow them."""
    pts_seconds: deque[float] = field(default_factory=deque)
    boxes: deque[np.ndarray] = field(default_factory=deque)
    scores: deque[float] = field(default_factory=deque)
    recent: deque[tuple[float, np.ndarray]] = field(default_factory=deque)
    """Times and centres that the velocity is learnt from."""

    def add(self, pts_seconds: float, box: np.ndarray, score: float) -> None:
        """Append an observation, box (4,) xyxy in pixels."""
        self.pts_seconds.append(pts_seconds)
        self.boxes.append(box)
        self.scores.append(score)
        self.recent.append((pts_seconds, (box[:2] + box[2:]) / 2))
        # One observation from before the window stays: of a slow detector the last two are all there is.
        while len(self.recent) > 2 and pts_seconds - self.recent[1][0] >= VELOCITY_SECONDS - 1e-6:
            self.recent.popleft()

    @property
    def velocity(self) -> np.ndarray:
        """Pixels per second (2,) of the box centre: the slope of the line nearest to the last observations."""
        times = np.array([seconds for seconds, _ in self.recent])
        centres = np.array([centre for _, centre in self.recent])
        apart = times - times.mean()
        spread = float((apart**2).sum())
        slope: np.ndarray = apart @ (centres - centres.mean(axis=0)) / spread if spread > 0 else np.zeros(2)
        return slope

    def predict(self, pts_seconds: float) -> np.ndarray:
        """Return the box (4,) expected at a later time."""
        expected: np.ndarray = self.boxes[-1] + np.tile(self.velocity * (pts_seconds - self.pts_seconds[-1]), 2)
        return expected

    def at(self, pts_seconds: float) -> tuple[np.ndarray, float] | None:
        """Return (box, score) at a time between two observations, evenly moved, or None outside the tube."""
        times = self.pts_seconds
        if not times or pts_seconds < times[0] or pts_seconds > self.sure_seconds:
            return None
        after = next(i for i, t in enumerate(times) if t >= pts_seconds)
        if times[after] == pts_seconds:
            return self.boxes[after], self.scores[after]
        share = (pts_seconds - times[after - 1]) / (times[after] - times[after - 1])
        box = (1 - share) * self.boxes[after - 1] + share * self.boxes[after]
        return box, (1 - share) * self.scores[after - 1] + share * self.scores[after]

    def forget_before(self, pts_seconds: float) -> None:
        """Drop observations not needed for times from ``pts_seconds`` on."""
        while len(self.pts_seconds) > 2 and self.pts_seconds[1] <= pts_seconds:
            self.pts_seconds.popleft(), self.boxes.popleft(), self.scores.popleft()


class TubeLinker:
    """Give each detected box the identity of the tube it continues; feed it instants in order.

    Identities count from 1 in the order in which people are seen for the second time and are never used again.
    """

    def __init__(self, config: LinkConfig | None = None) -> None:
        self.config = config or LinkConfig()
        self._alive: list[Tube] = []
        self._ended: list[Tube] = []
        self._num_people = 0

    def update(self, pts_seconds: float, people: PersonBoxes) -> None:
        """Add the boxes found at an instant later than all before."""
        config = self.config
        oldest = pts_seconds - config.max_gap_seconds - 1e-6
        self._ended += [tube for tube in self._alive if tube.sure_seconds < oldest]
        self._alive = [tube for tube in self._alive if tube.sure_seconds >= oldest]
        boxes, scores = people.boxes.astype(np.float64), people.scores
        sure = np.flatnonzero(scores >= config.sure_score)
        weak = np.flatnonzero((scores >= config.keep_score) & (scores < config.sure_score))
        tubes, assigned = list(self._alive), np.zeros(len(boxes), dtype=bool)
        for rows, least in ((sure, config.min_overlap), (weak, config.min_overlap_weak)):
            pairs = self._assign(tubes, boxes[rows], pts_seconds, least)
            for tube, row in pairs:
                self._continue(tubes[tube], pts_seconds, boxes[rows[row]], float(scores[rows[row]]))
                assigned[rows[row]] = True
            tubes = [tube for i, tube in enumerate(tubes) if i not in {i for i, _ in pairs}]
        for row in sure.tolist():
            if scores[row] >= config.start_score and not assigned[row] and not self._is_double(boxes, row, assigned):
                self._start(pts_seconds, boxes[row], float(scores[row]))
                assigned[row] = True

    def cut(self) -> None:
        """End every tube: the next boxes belong to another shot."""
        self._ended += self._alive
        self._alive = []

    def at(self, pts_seconds: float) -> TubeBoxes:
        """Return the people at an instant; ask only for instants not yet forgotten.

        A gap is bridged once the person has been seen again, so ask ``max_gap_seconds`` late to see every bridge.
        """
        found = [(t.person_id, at) for t in (*self._ended, *self._alive) if (at := t.at(pts_seconds)) is not None]
        return TubeBoxes(
            boxes=np.array([at[0] for _, at in found], dtype=np.float32).reshape(-1, 4),
            scores=np.array([at[1] for _, at in found], dtype=np.float32),
            person_ids=np.array([person for person, _ in found], dtype=np.int64),
        )

    def forget_before(self, pts_seconds: float) -> None:
        """Release what is only needed for instants before ``pts_seconds``."""
        self._ended = [t for t in self._ended if t.pts_seconds[-1] >= pts_seconds]
        for tube in (*self._ended, *self._alive):
            tube.forget_before(pts_seconds)

    def _assign(self, tubes: list[Tube], found: np.ndarray, pts_seconds: float, least: float) -> list[tuple[int, int]]:
        """Pair tubes with boxes (N, 4) of this instant."""
        predicted = np.array([tube.predict(pts_seconds) for tube in tubes]).reshape(-1, 4)
        elapsed = np.array([pts_seconds - tube.pts_seconds[-1] for tube in tubes])
        grow = np.minimum(self.config.most_grow, self.config.grow_per_second * elapsed)
        return assign(predicted, found, grow=grow, min_overlap=least)

    def _is_double(self, boxes: np.ndarray, row: int, assigned: np.ndarray) -> bool:
        """Tell whether a box overlaps an assigned one too much to be somebody else."""
        overlap = box_iou(torch.from_numpy(boxes[row][None]), torch.from_numpy(boxes[assigned]))
        return bool((overlap > self.config.most_start_overlap).any())

    def _start(self, pts_seconds: float, box: np.ndarray, score: float) -> None:
        tube = Tube(person_id=NOT_FOLLOWED, sure_seconds=pts_seconds)
        tube.add(pts_seconds, box, score)
        self._alive.append(tube)

    def _continue(self, tube: Tube, pts_seconds: float, box: np.ndarray, score: float) -> None:
        tube.add(pts_seconds, box, score)
        if score >= self.config.sure_score:
            tube.sure_seconds = pts_seconds
        if tube.person_id == NOT_FOLLOWED:
            self._num_people += 1
            tube.person_id = self._num_people


def assign(predicted: np.ndarray, found: np.ndarray, *, grow: np.ndarray, min_overlap: float) -> list[tuple[int, int]]:
    """Pair predicted boxes (M, 4) with found boxes (N, 4) so that the summed IoU of the grown boxes is largest.

    Pairs below ``min_overlap`` are removed before the sum is maximised: a hopeless pair must not decide the others.

    Args:
        predicted: Where tubes are expected.
        found: What was found.
        grow: (M,), the share of its size by which each side of both boxes of a pair is moved out.
        min_overlap: In [0, 1].
    """
    if not len(predicted) or not len(found):
        return []
    overlap = np.zeros((len(predicted), len(found)))
    for share in np.unique(grow):
        rows = np.flatnonzero(grow == share)
        grown = [torch.from_numpy(_grow(boxes, float(share))) for boxes in (predicted[rows], found)]
        overlap[rows] = box_iou(*grown).numpy()
    pairs = linear_sum_assignment(np.where(overlap >= min_overlap, overlap, 0.0), maximize=True)
    return [(int(m), int(n)) for m, n in zip(*pairs) if overlap[m, n] >= min_overlap]


def smooth_scores(moments: Iterable[ActionDetections], *, weight: float = 0.5) -> Iterator[ActionDetections]:
    """Average each followed person's scores with those of the moments just before and after.

    Args:
        moments: In order of time; people are matched by identity, so nothing crosses a cut.
        weight: Weight of each neighbour where the moment itself has 1; 0 changes nothing.
    """
    before: ActionDetections | None = None
    now: ActionDetections | None = None
    for after in moments:
        if now is not None:
            yield _average(now, before, after, weight)
        before, now = now, after
    if now is not None:
        yield _average(now, before, None, weight)


def _average(
    now: ActionDetections, before: ActionDetections | None, after: ActionDetections | None, weight: float
) -> ActionDetections:
    total = now.scores.astype(np.float64)
    weights = np.ones(len(total))
    for other in (before, after):
        rows = {} if other is None else {int(p): i for i, p in enumerate(other.person_ids) if p != NOT_FOLLOWED}
        for i, person in enumerate(now.person_ids):
            if other is not None and int(person) in rows:
                total[i] += weight * other.scores[rows[int(person)]]
                weights[i] += weight
    return replace(now, scores=(total / weights[:, None]).astype(np.float32))


def _grow(boxes: np.ndarray, share: float) -> np.ndarray:
    size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    grown: np.ndarray = boxes + share * size * np.array([-1, -1, 1, 1])
    return grown
