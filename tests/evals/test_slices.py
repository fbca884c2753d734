import numpy as np
import pytest
from two_classes import SPACE, table

from tubelet.evals.ava import match_detections
from tubelet.evals.slices import by_box_size, by_confidence, by_people
from tubelet.types import InputError

SMALL, MIDDLE, LARGE = (0.0, 0.0, 0.2, 0.2), (0.2, 0.2, 0.7, 0.6), (0.1, 0.1, 0.9, 0.9)


# Keyframe 1: one person; 2: two people, one of them hugging; 3: one.
TRUTH = table([(1.0, SMALL, 12), (2.0, MIDDLE, 12), (2.0, SMALL, 64), (3.0, LARGE, 12)])
FOUND = table(
    [(1.0, SMALL, 12), (2.0, SMALL, 12), (2.0, MIDDLE, 12), (3.0, LARGE, 12), (2.0, SMALL, 64)],
    [0.5, 0.9, 0.8, 0.3, 0.2],
)


def test_box_sizes_by_hand() -> None:
    # Areas 0.04, 0.2, 0.04, 0.64: thirds at 0.04 and 0.2. The false positive is small and stands before the small one.
    small, middle, large = by_box_size(match_detections(TRUTH, FOUND, SPACE), protocol="official")
    assert (small.num_truth, middle.num_truth, large.num_truth) == (0, 2, 2)
    assert small.mean_ap is None
    assert middle.mean_ap == pytest.approx((1 / 2 + 1) / 2)  # stand behind the false positive, hug alone
    assert large.mean_ap == 1.0
    assert middle.name == "middle, 4 to 20 %"


def test_people_by_hand() -> None:
    one, two, more, many = by_people(match_detections(TRUTH, FOUND, SPACE), protocol="official")
    assert (one.name, one.num_truth, one.mean_ap) == ("1", 2, 1.0)
    assert (two.name, two.num_truth, two.mean_ap) == ("2", 2, pytest.approx((1 / 2 + 1) / 2))
    assert (more.mean_ap, many.mean_ap, many.name) == (None, None, "5 or more")


def test_confidence_leaves_boxes_out() -> None:
    confidences = np.array([1.0, 0.4, 0.9, 0.9, 0.4])
    slices = by_confidence(
        TRUTH, FOUND, confidences, SPACE, iou=0.5, protocol="official", thresholds=(0.0, 0.5, 0.95, 2.0)
    )
    # All: stand (1/2, 2/3 and 3/4, each at the best from there on). From 0.5: no false positive, nobody hugs.
    assert [s.mean_ap for s in slices] == [pytest.approx((3 / 4 + 1) / 2), 0.5, pytest.approx(1 / 6), None]
    assert slices[1].name == "confidence from 0.5 on, 60 % of the boxes"
    with pytest.raises(InputError, match="2 confidences for 5"):
        by_confidence(TRUTH, FOUND, np.ones(2), SPACE, iou=0.5, protocol="official")
