"""Link person boxes over time into tubes with identities that last.

The scheme is ByteTrack's (Zhang et al., ECCV 2022): confident boxes are assigned first, weak boxes may only continue a
tube, never start one. Because detection may run only a few times a second, the motion model is a damped constant
velocity and boxes are compared after growing each side (the buffered IoU of C-BIoU, Yang et al., WACV 2023): a person
who moved by more than her own width still overlaps. Everything is online and holds only the last moments, so a video
may be endless.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from tubelet.boxes import box_iou
from tubelet.types import ActionDetections, InputError, PersonBoxes

NOT_FOLLOWED = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkConfig:
    """When a box belongs to a tube."""

    start_score: float = 0.4
    """A box at least this confident may start a tube."""
    keep_score: float = 0.15
    """A box at least this confident may continue one; weaker boxes are ignored."""
    min_overlap: float = 0.15
    """Smallest IoU of grown boxes for a confident box to continue a tube."""
    min_overlap_weak: float = 0.4
    """The same for a weak box: ByteTrack's second stage asks for more."""
    grow: float = 0.3
    """Share of its size by which each side of a box is moved out before boxes are compared."""
    max_gap_seconds: float = 1.0
    """A tube not seen for longer has ended; shorter gaps are bridged."""


def link_from(start_score: float) -> LinkConfig:
    """Return the settings for tubes that start at this confidence; weaker boxes continue them as by default."""
    if not 0 <= start_score <= 1:
        raise InputError(f"the person threshold is {start_score}, expected 0 to 1")
    return LinkConfig(start_score=start_score, keep_score=min(LinkConfig().keep_score, start_score))


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
    velocity: np.ndarray
    """float64 (2,), pixels per second of the box centre, damped."""
    pts_seconds: deque[float] = field(default_factory=deque)
    boxes: deque[np.ndarray] = field(default_factory=deque)
    scores: deque[float] = field(default_factory=deque)

    def add(self, pts_seconds: float, box: np.ndarray, score: float) -> None:
        """Append an observation, box (4,) xyxy in pixels, and learn the velocity from it."""
        if self.boxes:
            elapsed = max(pts_seconds - self.pts_seconds[-1], 1e-3)
            moved = (_centre(box) - _centre(self.boxes[-1])) / elapsed
            # The first measurement stands alone; later ones are averaged, because boxes tremble.
            self.velocity = moved if len(self.boxes) == 1 else 0.5 * self.velocity + 0.5 * moved
        self.pts_seconds.append(pts_seconds)
        self.boxes.append(box)
        self.scores.append(score)

    def predict(self, pts_seconds: float) -> np.ndarray:
        """Return the box (4,) expected at a later time."""
        return self.boxes[-1] + np.tile(self.velocity * (pts_seconds - self.pts_seconds[-1]), 2)

    def at(self, pts_seconds: float) -> tuple[np.ndarray, float] | None:
        """Return (box, score) at a time between two observations, evenly moved, or None outside the tube."""
        times = self.pts_seconds
        if not times or pts_seconds < times[0] or pts_seconds > times[-1]:
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
        limit = self.config.max_gap_seconds + 1e-6
        self._ended += [t for t in self._alive if pts_seconds - t.pts_seconds[-1] > limit]
        self._alive = [t for t in self._alive if pts_seconds - t.pts_seconds[-1] <= limit]
        boxes, scores = people.boxes.astype(np.float64), people.scores
        strong = np.flatnonzero(scores >= self.config.start_score)
        weak = np.flatnonzero((scores >= self.config.keep_score) & (scores < self.config.start_score))
        tubes = list(self._alive)
        for rows, least in ((strong, self.config.min_overlap), (weak, self.config.min_overlap_weak)):
            predicted = np.array([t.predict(pts_seconds) for t in tubes]).reshape(-1, 4)
            pairs = assign(predicted, boxes[rows], grow=self.config.grow, min_overlap=least)
            for tube, row in pairs:
                self._continue(tubes[tube], pts_seconds, boxes[rows[row]], float(scores[rows[row]]))
            if rows is strong:
                taken = {row for _, row in pairs}
                self._start(pts_seconds, [int(r) for i, r in enumerate(strong) if i not in taken], boxes, scores)
            tubes = [t for i, t in enumerate(tubes) if i not in {tube for tube, _ in pairs}]

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

    def _start(self, pts_seconds: float, rows: list[int], boxes: np.ndarray, scores: np.ndarray) -> None:
        for row in rows:
            tube = Tube(person_id=NOT_FOLLOWED, velocity=np.zeros(2))
            tube.add(pts_seconds, boxes[row], float(scores[row]))
            self._alive.append(tube)

    def _continue(self, tube: Tube, pts_seconds: float, box: np.ndarray, score: float) -> None:
        tube.add(pts_seconds, box, score)
        if tube.person_id == NOT_FOLLOWED:
            self._num_people += 1
            tube.person_id = self._num_people


def assign(predicted: np.ndarray, found: np.ndarray, *, grow: float, min_overlap: float) -> list[tuple[int, int]]:
    """Pair predicted boxes (M, 4) with found boxes (N, 4) so that the summed IoU of the grown boxes is largest.

    Pairs below ``min_overlap`` are removed before the sum is maximised: a hopeless pair must not decide the others.
    """
    if not len(predicted) or not len(found):
        return []
    grown = [torch.from_numpy(_grow(boxes, grow)) for boxes in (predicted, found)]
    overlap = box_iou(*grown).numpy()
    rows, columns = linear_sum_assignment(np.where(overlap >= min_overlap, overlap, 0.0), maximize=True)
    return [(int(m), int(n)) for m, n in zip(rows, columns) if overlap[m, n] >= min_overlap]


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


def _centre(box: np.ndarray) -> np.ndarray:
    centre: np.ndarray = (box[:2] + box[2:]) / 2
    return centre


def _grow(boxes: np.ndarray, share: float) -> np.ndarray:
    size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    grown: np.ndarray = boxes + share * size * np.array([-1, -1, 1, 1])
    return grown
