"""Video mAP of JHMDB, UCF101-24 and MultiSports: detected boxes linked to tubes, tubes matched in space and time.

The overlap of two tubes is the share of frames both have, of those either has, times the mean IoU of their boxes on
the common ones (the ACT detector's evaluation, which these sets' published numbers follow; it counts pixels' borders
and MultiSports' copy the frames' borders differently, which moves the third digit at most). Frame mAP of these sets is
``frame_map`` with the protocol ``act``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import ClassAp
from tubelet.evals.average_precision import all_point_ap
from tubelet.evals.matching import paired_iou
from tubelet.labels import LabelSpace
from tubelet.types import InputError

STRICT = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""Overlaps 0.5 to 0.95 whose mean is reported as 0.5:0.95."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tube:
    """Boxes of one actor doing one thing, on one frame after the other."""

    video: str
    label_id: int
    start: int
    """Number of its first frame."""
    boxes: np.ndarray
    """float64 (T, 4) xyxy."""
    score: float = 1.0

    @property
    def end(self) -> int:
        """Number of the frame after its last."""
        return self.start + len(self.boxes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Linking:
    """How boxes become tubes: class by class and frame by frame, as the ACT detector and MultiSports' baseline do."""

    iou: float = 0.5
    """A tube goes on in the best-scored box that overlaps its last one so much; else it ends."""
    nms_iou: float = 0.6
    """Boxes of a class on a frame that overlap a better one more are left out first."""
    boxes_per_frame: int = 10
    min_frames: int = 15
    """Shorter tubes are left out."""
    min_score: float = 0.005
    """Tubes of a lower mean score are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoMap:
    """Mean average precision over tubes."""

    mean_ap: Mapping[str, float]
    """``0.20``, ``0.50``, ``0.50:0.95`` to the mean over the classes with ground truth, in [0, 1]."""
    per_class: Mapping[str, tuple[ClassAp, ...]]
    """The single overlaps to the classes' AP."""
    num_tubes: int
    """Detected ones."""

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict at full precision."""
        return {
            "video_mAP": dict(self.mean_ap),
            "num_tubes": self.num_tubes,
            "per_class": {
                iou: [{"id": c.id, "name": c.name, "ap": c.ap, "num_ground_truth": c.num_ground_truth} for c in classes]
                for iou, classes in self.per_class.items()
            },
        }


def frame_numbers(tables: Sequence[AvaTable], *, step_seconds: float | None = None) -> list[np.ndarray]:
    """Return the frame, int64 (R,), of each row of each table.

    Args:
        tables: Of the same videos.
        step_seconds: Time from a frame to the next; None = in each video the least between two times of its rows.

    Raises:
        InputError: A time lies between two frames.
    """
    video = np.concatenate([np.asarray(table.video, dtype=object) for table in tables])
    seconds = np.concatenate([table.pts_seconds for table in tables])
    frames = np.zeros(len(video), dtype=np.int64)
    for name, rows in _groups(video):
        times, place = np.unique(np.round(seconds[rows], 6), return_inverse=True)
        step = step_seconds if step_seconds is not None else float(np.diff(times).min(initial=np.inf))
        exact = (times - times[0]) / step
        numbers = np.rint(exact)
        # 6 decimals of a time and the rate's own rounding add up over a long video: a quarter of a frame is no mistake.
        off = np.flatnonzero(np.abs(exact - numbers) > 0.25)
        if len(off):
            raise InputError(f"video {name!r}: {times[off[0]]} s lies between frames of {step:.6g} s")
        frames[rows] = numbers[place] + (0 if step_seconds is None else round(float(times[0]) / step))
    return np.split(frames, np.cumsum([len(table) for table in tables])[:-1])


def annotated_tubes(table: AvaTable, frames: np.ndarray) -> list[Tube]:
    """Return a ground truth's tubes: rows of one person id and action on frames that follow each other.

    Args:
        table: Ground truth with person ids.
        frames: int64 (R,), of ``frame_numbers``.

    Raises:
        InputError: A person id is missing, or has two boxes on a frame.
    """
    if table.person_ids is None or (len(table) and int(table.person_ids.min()) < 0):
        raise InputError("video mAP needs a person id in every row of the ground truth")
    keys = list(zip(table.video.tolist(), table.person_ids.tolist(), table.label_ids.tolist(), strict=True))
    tubes = []
    for (video, person, label), rows in _groups(keys):
        rows = rows[np.argsort(frames[rows], kind="stable")]
        steps = np.diff(frames[rows])
        if (steps == 0).any():
            raise InputError(f"video {video!r}: person {person} has two boxes of action {label} at one time")
        for part in np.split(rows, np.flatnonzero(steps > 1) + 1):
            tubes.append(Tube(video=video, label_id=label, start=int(frames[part[0]]), boxes=table.boxes_norm[part]))
    return tubes


def link_tubes(table: AvaTable, frames: np.ndarray, linking: Linking | None = None) -> list[Tube]:
    """Return tubes of detected boxes.

    Args:
        table: Detections.
        frames: int64 (R,), of ``frame_numbers``.
        linking: How; None = the defaults.
    """
    how = linking or Linking()
    if table.scores is None:
        raise InputError("detections have no scores, expected one per row")
    tubes = []
    for (video, label), rows in _groups(list(zip(table.video.tolist(), table.label_ids.tolist(), strict=True))):
        finished: list[list[int]] = []
        current: list[list[int]] = []
        before = -2
        for frame, of_frame in _groups(frames[rows]):
            if frame != before + 1:
                finished, current = finished + current, []
            free = _best_boxes(table, rows[of_frame], how)
            current.sort(key=lambda tube: -float(table.scores[tube].mean()))  # type: ignore[index]
            ended = [tube for tube in current if not _extended(tube, free, table, how.iou)]
            finished += ended
            current = [tube for tube in current if tube not in ended] + [[row] for row in free]
            before = frame
        for tube in finished + current:
            score = float(table.scores[tube].mean())
            if len(tube) >= how.min_frames and score >= how.min_score:
                start = int(frames[tube[0]])
                tubes.append(Tube(video=video, label_id=label, start=start, boxes=table.boxes_norm[tube], score=score))
    return tubes


def _best_boxes(table: AvaTable, rows: np.ndarray, how: Linking) -> list[int]:
    """Return a frame's rows that may join tubes, best score first."""
    assert table.scores is not None
    kept: list[int] = []
    for row in rows[np.argsort(-table.scores[rows], kind="stable")].tolist():
        if len(kept) == how.boxes_per_frame:
            break
        if not kept or paired_iou(table.boxes_norm[[row] * len(kept)], table.boxes_norm[kept]).max() <= how.nms_iou:
            kept.append(row)
    return kept


def _extended(tube: list[int], free: list[int], table: AvaTable, iou: float) -> bool:
    """Append to a tube the best free row that overlaps its last one, which is then no longer free; say whether."""
    if not free:
        return False
    overlap = paired_iou(table.boxes_norm[[tube[-1]] * len(free)], table.boxes_norm[free])
    reaching = np.flatnonzero(overlap >= iou)
    if len(reaching):
        tube.append(free.pop(int(reaching[0])))  # free is sorted by score
    return bool(len(reaching))


def tube_iou(a: Tube, b: Tube) -> float:
    """Return the overlap of two tubes of one video in space and time, in [0, 1]."""
    start, end = max(a.start, b.start), min(a.end, b.end)
    if start >= end:
        return 0.0
    spatial = paired_iou(a.boxes[start - a.start : end - a.start], b.boxes[start - b.start : end - b.start])
    return float(spatial.mean()) * (end - start) / (max(a.end, b.end) - min(a.start, b.start))


def video_map(
    truth: Sequence[Tube], found: Sequence[Tube], label_space: LabelSpace, *, ious: Sequence[float] = (0.2, 0.5)
) -> VideoMap:
    """Return the mean average precision over tubes.

    Detected tubes claim ground truth in the order of their scores; each looks only at the one it overlaps most.

    Args:
        truth: Annotated tubes.
        found: Detected tubes.
        label_space: The classes evaluated.
        ious: Overlaps reported one by one; their mean over 0.5 to 0.95 always is.

    Raises:
        InputError: No class has ground truth.
    """
    wanted = tuple(dict.fromkeys((*ious, *STRICT)))
    rows: dict[float, list[ClassAp]] = {iou: [] for iou in wanted}
    for label_id, name in zip(label_space.published_ids, label_space.names, strict=True):
        own = [tube for tube in truth if tube.label_id == label_id]
        ranked = sorted((tube for tube in found if tube.label_id == label_id), key=lambda tube: -tube.score)
        best = [_best_truth(tube, own) for tube in ranked]
        scores = -np.arange(len(ranked), dtype=np.float64)  # already ranked: equal scores keep their order
        for iou in wanted:
            ap = all_point_ap(scores, _hits(best, iou), len(own)) if own else None
            rows[iou].append(ClassAp(id=label_id, name=name, ap=ap, num_ground_truth=len(own)))
    if not any(c.num_ground_truth for c in rows[wanted[0]]):
        raise InputError(f"video mAP over no classes: none of the {len(label_space)} of {label_space.name} has a tube")
    means = {iou: float(np.mean([c.ap for c in classes if c.ap is not None])) for iou, classes in rows.items()}
    mean_ap = {f"{iou:.2f}": means[iou] for iou in ious} | {"0.50:0.95": float(np.mean([means[i] for i in STRICT]))}
    return VideoMap(mean_ap=mean_ap, per_class={f"{iou:.2f}": tuple(rows[iou]) for iou in ious}, num_tubes=len(found))


def _best_truth(tube: Tube, truth: Sequence[Tube]) -> tuple[int, float]:
    """Return the place of the tube overlapped most (-1 = none) and the overlap."""
    overlaps = [tube_iou(tube, other) if other.video == tube.video else 0.0 for other in truth]
    return (int(np.argmax(overlaps)), max(overlaps)) if overlaps else (-1, 0.0)


def _hits(best: Sequence[tuple[int, float]], iou: float) -> np.ndarray:
    claimed: set[int] = set()
    hits = np.zeros(len(best), dtype=bool)
    for row, (place, overlap) in enumerate(best):
        if overlap >= iou and place not in claimed:
            claimed.add(place)
            hits[row] = True
    return hits


def _groups(keys: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield each different key, sorted, with the places it is at."""
    places: dict[Any, list[int]] = {}
    for place, key in enumerate(keys.tolist() if isinstance(keys, np.ndarray) else keys):
        places.setdefault(key, []).append(place)
    for key in sorted(places):
        yield key, np.array(places[key], dtype=np.int64)
