import numpy as np
import pytest
from ava_cases import SPACE as CASE_SPACE
from ava_cases import as_table, make_case
from two_classes import SPACE, table

from tubelet.evals.ava import PROTOCOLS, frame_map, match_detections
from tubelet.evals.errors import NAMES, attribute, by_error, confusions
from tubelet.labels import LabelSpace

LEFT, RIGHT, FAR = (0.1, 0.1, 0.3, 0.5), (0.5, 0.1, 0.7, 0.5), (0.8, 0.8, 0.9, 0.9)
LEFT_SHIFTED, RIGHT_OFF = (0.1, 0.1, 0.32, 0.5), (0.6, 0.1, 0.8, 0.5)  # IoU 0.91 and 1/3


TRUTH = table([(1.0, LEFT, 12), (1.0, RIGHT, 64), (2.0, RIGHT, 12), (3.0, LEFT, 12)])
FOUND = table(
    [
        (1.0, RIGHT, 12),  # this person hugs
        (1.0, LEFT, 12),  # true: 1 of 2
        (1.0, LEFT_SHIFTED, 12),  # the same person again
        (2.0, RIGHT_OFF, 12),  # overlaps by a third
        (2.0, RIGHT, 12),  # true: 2 of 5
        (2.0, FAR, 12),  # nobody, but nothing true follows: it takes nothing
    ],
    [0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
)


def test_shares_by_hand() -> None:
    # stand: 3 boxes, found at precisions 1/2 and 2/5, one never: AP (1/2 + 2/5 + 0) / 3 = 0.3. The first false
    # positive takes half of the first box's third and, with two others, three fifths of the second's.
    # hug: its person has a box, but no detection says hug: all is lost.
    matched = match_detections(TRUTH, FOUND, SPACE)
    losses = attribute(matched, iou=0.5, protocol="official")
    shares = by_error(matched, losses)
    assert [NAMES[k] if k >= 0 else "" for k in losses.kind_of_detection] == [
        "wrong action", "", "duplicate", "wrong box", "", "nobody there",
    ]  # fmt: skip
    expected = {
        "missed person": [1 / 3, 0],
        "wrong box": [1 / 15, 0],
        "wrong action": [1 / 6 + 1 / 15, 0],
        "wrong box and action": [0, 0],
        "duplicate": [1 / 15, 0],
        "nobody there": [0, 0],
        "not proposed": [0, 1],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(shares[name], values, atol=1e-15, err_msg=name)
    np.testing.assert_allclose(losses.precision_of_truth, [1 / 2, 0, 2 / 5, 0])
    (pair,) = confusions(matched, losses, SPACE)
    assert (pair.true, pair.predicted) == ("hug", "stand")
    assert pair.loss == pytest.approx((1 / 6 + 1 / 15) / 2)  # of the mean over two classes


def test_boxes_that_meet_people_of_another_class() -> None:
    # A third of the person who hugs, said to stand, before the only true one; then a person whom a box nearly met.
    truth = table([(1.0, RIGHT, 64), (1.0, LEFT, 12), (2.0, RIGHT, 64)])
    found = table([(1.0, RIGHT_OFF, 12), (1.0, LEFT, 12), (1.0, RIGHT, 64), (2.0, RIGHT_OFF, 12)], [0.9, 0.8, 0.7, 0.1])
    matched = match_detections(truth, found, SPACE)
    shares = by_error(matched, attribute(matched, iou=0.5, protocol="official"))
    np.testing.assert_allclose(shares["wrong box and action"], [0.5, 0])
    np.testing.assert_allclose(shares["wrong box"], [0, 0.5])


def test_confusion_is_with_the_actions_of_the_same_group() -> None:
    space = LabelSpace(name="four", names=("stand", "sit", "hug", "none"), groups=("pose", "pose", "person", "pose"))
    truth = table([(1.0, LEFT, 1), (1.0, LEFT, 2), (1.0, RIGHT, 0)])
    found = table([(1.0, LEFT, 0), (1.0, RIGHT, 0), (1.0, LEFT, 1), (1.0, LEFT, 2)], [0.9, 0.8, 0.7, 0.6])
    matched = match_detections(truth, found, space)
    (pair,) = confusions(matched, attribute(matched, iou=0.5, protocol="official"), space)
    assert (pair.true, pair.predicted) == ("sit", "stand")
    assert pair.loss == pytest.approx(0.5 / 3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(4))
def test_what_is_lost_is_all_accounted_for(protocol: str, seed: int) -> None:
    case = make_case(seed)
    truth, found = as_table(case["ground_truth"], scored=False), as_table(case["detections"], scored=True)
    excluded = None
    if PROTOCOLS[protocol].takes_excluded:
        excluded = {(str(video), int(seconds) * 1_000_000) for video, seconds in case["excluded"]}  # type: ignore[call-overload]
    result = frame_map(truth, found, CASE_SPACE, protocol=protocol, excluded=excluded)
    matched = match_detections(truth, found, CASE_SPACE, protocol=protocol, excluded=excluded)
    losses = attribute(matched, iou=0.5, protocol=protocol)
    shares = by_error(matched, losses)
    lost = sum(shares.values())
    counted = [k for k, c in enumerate(result.per_class) if c.ap is not None]
    assert list(losses.counted_classes) == counted
    for k in counted:
        assert lost[k] == pytest.approx(1 - result.per_class[k].ap, abs=1e-12)  # type: ignore[operator]
    assert np.mean(lost[counted]) == pytest.approx(1 - result.mean_ap, abs=1e-12)
    assert (np.concatenate(list(shares.values())) >= 0).all()
    # Each false positive and each miss has one kind, and true ones none.
    assert ((losses.kind_of_detection >= 0) == (matched.claimed < 0)).all()
    assert (losses.kind_of_truth >= 0).sum() == len(matched.counted) - (matched.claimed >= 0).sum()
    # What was taken for what sums to the kind it belongs to.
    pairs = sum(pair.loss for pair in confusions(matched, losses, CASE_SPACE))
    assert pairs == pytest.approx(shares["wrong action"][counted].mean(), abs=1e-12)
