"""How good a person detector's boxes are, whatever the people do: the bound on what scoring them can reach."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import match_detections
from tubelet.evals.average_precision import all_point_ap
from tubelet.evals.keyframe_numbers import number_keyframes
from tubelet.labels import LabelSpace
from tubelet.types import InputError

PERSON = LabelSpace(name="person", names=("person",), ids=(1,))
THRESHOLDS = (0.2, 0.8, 0.85, 0.9)
"""Confidences that published work scores people from: paper A on AVA-Kinetics and in training on AVA, then the
long-term feature banks' evaluation and their training."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AtThreshold:
    """The boxes from a confidence on."""

    threshold: float
    num_boxes: int
    recall: float
    """Share of the annotated people that such a box is matched with, in [0, 1]."""
    precision: float | None
    """Share of such boxes that are matched; None where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonAp:
    """A detector's boxes against annotated people."""

    ap: float
    """All-point average precision, in [0, 1]."""
    iou: float
    num_people: int
    num_boxes: int
    """That count by the protocol."""
    at: tuple[AtThreshold, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict at full precision."""
        return {
            "protocol": "official",
            "iou": self.iou,
            "person_AP": self.ap,
            "num_people": self.num_people,
            "num_boxes": self.num_boxes,
            "at_threshold": [
                {"threshold": t.threshold, "num_boxes": t.num_boxes, "recall": t.recall, "precision": t.precision}
                for t in self.at
            ],
        }


def person_ap(ground_truth: AvaTable, boxes: AvaTable, *, iou: float = 0.5) -> PersonAp:
    """Return the average precision of person boxes (official protocol, one class), and recall from ``THRESHOLDS`` on.

    Args:
        ground_truth: Annotated boxes; one with several actions is one person.
        boxes: Detected boxes with the detector's confidence; actions are not looked at.
        iou: Smallest overlap of a true positive.

    Raises:
        InputError: No annotated box, or a box with several scores: then they are of actions, not of the detector.
    """
    truth_keyframe, box_keyframe, _, _ = number_keyframes(
        ground_truth,
        boxes,
        np.ones(len(ground_truth), dtype=bool),
        np.ones(len(boxes), dtype=bool),
        (),
        whole_seconds=False,
        truth_leads=False,
    )
    people = _as_persons(ground_truth, _first_of_each(ground_truth, truth_keyframe))
    if len(people) == 0:
        raise InputError("person AP over no people: the ground truth has no box")
    chosen = _first_of_each(boxes, box_keyframe)
    if boxes.scores is not None and len(chosen) != len(_first_of_each(boxes, box_keyframe, boxes.scores)):
        raise InputError("a detected box has several scores: expected the detector's confidence, not those of actions")
    matched = match_detections(people, _as_persons(boxes, chosen), PERSON, iou=iou)
    scores, hits = matched.found.scores[matched.order], matched.claimed >= 0
    num_people = int(matched.num_truth[0])
    return PersonAp(
        ap=all_point_ap(scores, hits, num_people),
        iou=iou,
        num_people=num_people,
        num_boxes=len(scores),
        at=tuple(_at(threshold, scores, hits, num_people) for threshold in THRESHOLDS),
    )


def _at(threshold: float, scores: np.ndarray, hits: np.ndarray, num_people: int) -> AtThreshold:
    # Better boxes claim people first, so those below a threshold change nothing above it.
    used = scores >= threshold
    num_boxes, num_hits = int(used.sum()), int(hits[used].sum())
    precision = num_hits / num_boxes if num_boxes else None
    return AtThreshold(threshold=threshold, num_boxes=num_boxes, recall=num_hits / num_people, precision=precision)


def _first_of_each(table: AvaTable, keyframe: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
    """Return the first row of each box (and score), int64, in file order."""
    keys = np.column_stack([keyframe, table.boxes_norm, *([] if scores is None else [scores])])
    _, first = np.unique(keys, axis=0, return_index=True)
    return np.sort(first)


def _as_persons(table: AvaTable, rows: np.ndarray) -> AvaTable:
    return AvaTable(
        video=table.video[rows],
        pts_seconds=table.pts_seconds[rows],
        boxes_norm=table.boxes_norm[rows],
        label_ids=np.ones(len(rows), dtype=np.int32),
        scores=None if table.scores is None else table.scores[rows],
        keyframes=table.keyframes,
    )
