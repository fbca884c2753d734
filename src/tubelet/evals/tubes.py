"""Video mAP of JHMDB, UCF101-24 and MultiSports: detected boxes linked to tubes, tubes matched in space and time.

The overlap of two tubes is the share of frames both have, of those either has, times the mean IoU of their boxes on
the common ones. Two evaluations are in use, which give different numbers for the same tubes; ``RULES`` has both.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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


def trapezoid_ap(hits: np.ndarray, num_positives: int) -> float:
    """Return the area under straight lines from point to point of precision over recall, the first (0, 1).

    In float32, as the ACT detector's evaluation has it.

    Args:
        hits: bool (R,), best score first.
        num_positives: Ground truth count, at least 1.
    """
    num_hits = np.cumsum(hits)
    precision = np.concatenate([[1.0], num_hits / np.arange(1, len(hits) + 1)]).astype(np.float32)
    recall = np.concatenate([[0.0], num_hits / num_positives]).astype(np.float32)
    return float(np.sum((recall[1:] - recall[:-1]) * (precision[1:] + precision[:-1]) * 0.5))


def envelope_ap(hits: np.ndarray, num_positives: int) -> float:
    """Return PASCAL VOC's area under the precision envelope; ``hits`` as in ``trapezoid_ap``."""
    return all_point_ap(-np.arange(len(hits), dtype=np.float64), hits, num_positives)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What the public evaluations do differently."""

    counts_borders: bool
    """Boxes are pixels from the first to the last, both of which belong to them: one more in each direction."""
    counts_last_frame: bool
    """A tube lasts from its first to its last frame, both of which belong to it; else their difference."""
    falls_back: bool
    """A detection whose best ground truth is claimed may claim the next best."""
    suppress_iou: float | None
    """Detected tubes of a video and class that overlap a better one more are left out; None = none is."""
    ap: Callable[[np.ndarray, int], float]


RULES: Mapping[str, Rules] = {
    # vkalogeiton/caffe, branch act-detector, ACT.py; the same in MCG-NJU/MOC-Detector.
    "act": Rules(counts_borders=True, counts_last_frame=True, falls_back=True, suppress_iou=0.3, ap=trapezoid_ap),
    # MCG-NJU/MultiSports, evaluate_multisports.py.
    "multisports": Rules(
        counts_borders=False, counts_last_frame=False, falls_back=False, suppress_iou=None, ap=envelope_ap
    ),
}


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


def frame_tubes(table: AvaTable, frames: np.ndarray) -> list[Tube]:
    """Return every row as a tube of one frame in a video of its own, so that ``video_map`` is frame mAP.

    Args:
        table: Ground truth, or detections.
        frames: int64 (R,), of ``frame_numbers``.
    """
    scores = np.ones(len(table)) if table.scores is None else table.scores
    rows = zip(table.video.tolist(), frames.tolist(), table.label_ids.tolist(), scores.tolist(), strict=True)
    return [
        Tube(video=f"{video},{frame}", label_id=label, start=frame, boxes=table.boxes_norm[row : row + 1], score=score)
        for row, (video, frame, label, score) in enumerate(rows)
    ]


def tube_iou(a: Tube, b: Tube, rules: Rules, frame_hw: tuple[int, int] | None = None) -> float:
    """Return the overlap of two tubes of one video in space and time, in [0, 1].

    Args:
        a: A tube.
        b: Another.
        rules: What counts.
        frame_hw: Height and width of the frames in pixels, for rules that count borders.
    """
    start, end = max(a.start, b.start), min(a.end, b.end)
    if start >= end:
        return 0.0
    boxes = a.boxes[start - a.start : end - a.start], b.boxes[start - b.start : end - b.start]
    if rules.counts_borders:
        assert frame_hw is not None
        pixels = np.array([frame_hw[1], frame_hw[0]] * 2)
        boxes = boxes[0] * pixels + [0, 0, 1, 1], boxes[1] * pixels + [0, 0, 1, 1]
    last = 0 if rules.counts_last_frame else 1
    either = max(a.end, b.end) - min(a.start, b.start) - last
    return float(paired_iou(*boxes).mean()) * ((end - start - last) / either) if either else 0.0


def video_map(
    truth: Sequence[Tube],
    found: Sequence[Tube],
    label_space: LabelSpace,
    *,
    ious: Sequence[float] = (0.2, 0.5),
    rules: Rules = RULES["multisports"],
    frame_hw: tuple[int, int] | None = None,
) -> VideoMap:
    """Return the mean average precision over tubes.

    Detected tubes claim ground truth in the order of their scores, equal ones in that of the videos and of the tubes
    (the public code sorts without keeping equal ones in order, which differs between processors).

    Args:
        truth: Annotated tubes.
        found: Detected tubes.
        label_space: The classes evaluated.
        ious: Overlaps reported one by one; their mean over 0.5 to 0.95 always is.
        rules: Whose evaluation.
        frame_hw: Height and width of the frames in pixels, for rules that count borders.

    Raises:
        InputError: No class has ground truth, an overlap is not in (0, 1], or the rules need ``frame_hw``.
    """
    for iou in ious:
        if not 0 < iou <= 1:
            raise InputError(f"an overlap of tubes must be in (0, 1], got {iou:g}")
    if rules.counts_borders and frame_hw is None:
        raise InputError(
            "these rules count the pixels at a box's borders: they need the height and width of the frames"
        )
    wanted = tuple(dict.fromkeys((*ious, *STRICT)))
    rows: dict[float, list[ClassAp]] = {iou: [] for iou in wanted}
    num_tubes = 0
    for label_id, name in zip(label_space.published_ids, label_space.names, strict=True):
        own = _by_video(tube for tube in truth if tube.label_id == label_id)
        kept = _suppressed([tube for tube in found if tube.label_id == label_id], rules, frame_hw)
        num_tubes += len(kept)
        ranked = [kept[i] for i in np.argsort(-np.array([tube.score for tube in kept]), kind="stable")]
        overlaps = [[tube_iou(other, tube, rules, frame_hw) for other in own.get(tube.video, ())] for tube in ranked]
        num = sum(map(len, own.values()))
        for iou in wanted:
            hits = _hits([tube.video for tube in ranked], overlaps, iou, falls_back=rules.falls_back)
            ap = rules.ap(hits, num) if num else None
            rows[iou].append(ClassAp(id=label_id, name=name, ap=ap, num_ground_truth=num))
    if not any(c.num_ground_truth for c in rows[wanted[0]]):
        raise InputError(f"video mAP over no classes: none of the {len(label_space)} of {label_space.name} has a tube")
    means = {iou: float(np.mean([c.ap for c in classes if c.ap is not None])) for iou, classes in rows.items()}
    mean_ap = {f"{iou:.2f}": means[iou] for iou in ious} | {"0.50:0.95": float(np.mean([means[i] for i in STRICT]))}
    return VideoMap(mean_ap=mean_ap, per_class={f"{iou:.2f}": tuple(rows[iou]) for iou in ious}, num_tubes=num_tubes)


def frame_act(
    truth: AvaTable, found: AvaTable, label_space: LabelSpace, frames: Sequence[np.ndarray], frame_hw: tuple[int, int]
) -> dict[str, Any]:
    """Return frame mAP at IoU 0.5 by the ACT detector's rules as plain JSON; that by MultiSports' is ``frame_map``'s.

    Args:
        truth: Ground truth.
        found: Detections.
        label_space: The classes evaluated.
        frames: Of both, of ``frame_numbers``.
        frame_hw: Height and width of the frames in pixels.
    """
    rules = replace(RULES["act"], suppress_iou=None)  # of boxes, suppression is the detector's business
    boxes = [frame_tubes(table, own) for table, own in zip((truth, found), frames, strict=True)]
    result = video_map(boxes[0], boxes[1], label_space, ious=(0.5,), rules=rules, frame_hw=frame_hw)
    data = result.to_json()
    return {"protocol": "act", "iou": 0.5, "mAP": result.mean_ap["0.50"], "per_class": data["per_class"]["0.50"]}


def _by_video(tubes: Iterable[Tube]) -> dict[str, list[Tube]]:
    found: dict[str, list[Tube]] = {}
    for tube in tubes:
        found.setdefault(tube.video, []).append(tube)
    return found


def _suppressed(tubes: list[Tube], rules: Rules, frame_hw: tuple[int, int] | None) -> list[Tube]:
    """Return a class's tubes; by rules that suppress, video by video without those that overlap a better one."""
    if rules.suppress_iou is None:
        return tubes
    kept: list[Tube] = []
    for own in _by_video(tubes).values():
        better: list[Tube] = []
        for i in np.argsort([tube.score for tube in own], kind="stable")[::-1]:
            if all(tube_iou(own[i], other, rules, frame_hw) <= rules.suppress_iou for other in better):
                better.append(own[i])
        kept += better
    return kept


def _hits(videos: Sequence[str], overlaps: Sequence[Sequence[float]], iou: float, *, falls_back: bool) -> np.ndarray:
    """Return which tubes, bool (R,), best first, claim one of their video's annotated tubes."""
    claimed: set[tuple[str, int]] = set()
    hits = np.zeros(len(videos), dtype=bool)
    for row, (video, own) in enumerate(zip(videos, overlaps, strict=True)):
        open_to = [place for place in range(len(own)) if not falls_back or (video, place) not in claimed]
        best = max(open_to, key=list(own).__getitem__, default=None)
        if best is not None and own[best] >= iou and (video, best) not in claimed:
            claimed.add((video, best))
            hits[row] = True
    return hits


def _groups(keys: Any) -> Iterator[tuple[Any, np.ndarray]]:
    """Yield each different key, sorted, with the places it is at."""
    places: dict[Any, list[int]] = {}
    for place, key in enumerate(keys.tolist() if isinstance(keys, np.ndarray) else keys):
        places.setdefault(key, []).append(place)
    for key in sorted(places):
        yield key, np.array(places[key], dtype=np.int64)
