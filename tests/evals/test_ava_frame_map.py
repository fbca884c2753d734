import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ava_cases import IDS, SPACE, as_table, make_case
from plain_ava import plain_frame_map

from tubelet.evals.ava import PROTOCOLS, AvaResult, frame_map
from tubelet.labels import LabelSpace
from tubelet.types import InputError

GOLDEN = sorted((Path(__file__).parents[1] / "golden/ava").glob("*.json"))


def score(case: dict, protocol: str, **options: object) -> AvaResult:
    if protocol != "official":
        options["excluded"] = {(str(row[0]), int(row[1]) * 1_000_000) for row in case["excluded"]}
    truth, found = as_table(case["ground_truth"], scored=False), as_table(case["detections"], scored=True)
    return frame_map(truth, found, SPACE, protocol=protocol, **options)


def single(truth: list, found: list, protocol: str = "official", space: LabelSpace = SPACE) -> AvaResult:
    return frame_map(as_table(truth, scored=False), as_table(found, scored=True), space, protocol=protocol)


def ap(result: AvaResult, label_id: int = 1) -> float | None:
    return next(c.ap for c in result.per_class if c.id == label_id)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("seed", "decimals"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 12)])
def test_agrees_with_plain_loops(protocol: str, seed: int, decimals: int) -> None:
    case = make_case(seed, decimals=decimals)
    expected = plain_frame_map(case["ground_truth"], case["detections"], IDS, protocol, case["excluded"])
    result = score(case, protocol)
    assert {c.id: c.ap for c in result.per_class if c.ap is not None} == pytest.approx(expected, abs=1e-9)
    assert result.mean_ap == pytest.approx(sum(expected.values()) / len(expected), abs=1e-9)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_agrees_with_the_numbers_of_the_public_evaluators(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = json.loads(path.read_text())
    argsort = np.argsort  # the golden README says why
    monkeypatch.setattr(np, "argsort", lambda values, **_: argsort(values, kind="stable"))
    assert set(golden["numbers"]) == {"official", "slowfast", "mmaction"}
    for protocol, numbers in golden["numbers"].items():
        result = score(golden, protocol)
        ours = {str(c.id): c.ap for c in result.per_class if c.ap is not None}
        assert ours == pytest.approx(numbers["per_class"], abs=1e-9)
        assert result.mean_ap == pytest.approx(numbers["mAP"], abs=1e-9)


def test_golden_files_are_there() -> None:
    assert len(GOLDEN) >= 4


BOX, NEAR, FAR = [0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.48], [0.6, 0.6, 0.9, 0.9]


def test_by_hand() -> None:
    # Two people; ranked: hit, miss, hit. Precision at the two recalls 1/2 and 1: 1 and 2/3.
    truth = [["v", 902, *BOX, 1], ["v", 902, *FAR, 1]]
    found = [["v", 902, *BOX, 1, 0.9], ["v", 902, 0.0, 0.6, 0.2, 0.9, 1, 0.8], ["v", 902, *FAR, 1, 0.7]]
    assert ap(single(truth, found)) == pytest.approx((1 + 2 / 3) / 2, abs=1e-15)


def test_duplicate_is_a_false_positive_and_does_not_fall_back() -> None:
    # Both detections overlap the first box most; the second detection would reach the second box too, but may not.
    shifted = [0.1, 0.1, 0.5, 0.42]
    truth = [["v", 902, *BOX, 1], ["v", 902, *shifted, 1]]
    found = [["v", 902, *BOX, 1, 0.9], ["v", 902, *NEAR, 1, 0.8]]
    assert ap(single(truth, found)) == pytest.approx(0.5)


def test_at_most_fifty_rows_per_keyframe_over_all_classes() -> None:
    truth = [["v", 902, *BOX, 1], ["v", 902, *BOX, 3]]
    crowd = [["v", 902, *BOX, 3, 0.9] for _ in range(50)]
    capped = single(truth, [*crowd, ["v", 902, *BOX, 1, 0.8]])
    assert ap(capped) == 0.0
    assert capped.counts["detections_over_cap"] == 1
    assert ap(single(truth, [*crowd[1:], ["v", 902, *BOX, 1, 0.8]])) == 1.0
    assert ap(single(truth, [*crowd, ["v", 902, *BOX, 1, 0.8]], protocol="mmaction")) == 1.0


def test_a_tie_at_rank_fifty_keeps_the_earlier_row() -> None:
    truth = [["v", 902, *BOX, 1], ["v", 902, *BOX, 3]]
    crowd = [["v", 902, *FAR, 3, 0.9] for _ in range(50)]
    last, first = [*crowd, ["v", 902, *BOX, 1, 0.9]], [["v", 902, *BOX, 1, 0.9], *crowd]
    assert (ap(single(truth, last)), ap(single(truth, first))) == (0.0, 1.0)


def test_which_keyframes_count() -> None:
    truth = [["v", 902, *BOX, 1], ["v", 903], ["v", 904, *BOX, 2]]  # id 2 is not evaluated, its keyframe counts
    hit = ["v", 902, *BOX, 1, 0.5]

    def with_row_at(seconds: int, protocol: str) -> float | None:
        return ap(single(truth, [hit, ["v", seconds, *BOX, 1, 0.9]], protocol=protocol))

    assert [with_row_at(s, "official") for s in (903, 904, 905)] == [0.5, 0.5, 1.0]
    assert [with_row_at(s, "slowfast") for s in (903, 904, 905)] == [0.5, 0.5, 0.5]
    assert [with_row_at(s, "mmaction") for s in (903, 904, 905)] == [1.0, 1.0, 1.0]


def test_slowfast_matches_in_file_order() -> None:
    truth = [["v", 902, *BOX, 1]]
    found = [["v", 902, *NEAR, 1, 0.2], ["v", 902, *BOX, 1, 0.9]]
    assert ap(single(truth, found, protocol="slowfast")) == 0.5  # the weak row claims the box
    assert ap(single(truth, found[::-1], protocol="slowfast")) == 1.0
    assert ap(single(truth, found)) == 1.0


def test_classes_without_ground_truth_or_detections() -> None:
    truth = [["v", 902, *BOX, 1], ["v", 902, *BOX, 3]]
    found = [["v", 902, *BOX, 1, 0.5], ["v", 902, *BOX, 4, 0.5]]
    official, mmaction = single(truth, found), single(truth, found, protocol="mmaction")
    assert [ap(official, i) for i in (1, 3, 4)] == [1.0, 0.0, None]
    assert official.mean_ap == 0.5
    assert [ap(mmaction, i) for i in (1, 3, 4)] == [1.0, None, None]
    assert mmaction.mean_ap == 1.0
    assert [c.num_ground_truth for c in official.per_class] == [1, 1, 0, 0, 0, 0]


def test_fractions_of_a_second_are_keyframes_of_their_own() -> None:
    truth = [["v", 1.2, *BOX, 1], ["v", 1.7, *FAR, 1]]
    found = [["v", 1.2, *FAR, 1, 0.9], ["v", 1.7, *FAR, 1, 0.8]]
    assert ap(single(truth, found)) == 0.25
    assert ap(single(truth, found, protocol="slowfast")) == 0.5  # cut to second 1: one frame, a hit and a duplicate


def test_every_row_left_out_is_counted() -> None:
    case = make_case(7)
    counts = score(case, "official").counts
    assert counts["detection_rows"] == len(case["detections"])
    assert counts["detections_other_class"] == sum(row[6] not in IDS for row in case["detections"])
    assert counts["detections_ignored_keyframe"] >= 2  # the two rows at keyframes nobody annotated
    assert counts["detections_over_cap"] > 0
    assert counts["detections_degenerate"] > 0


def test_no_classes_is_an_error_never_a_number() -> None:
    with pytest.raises(InputError, match="mAP over no classes"):
        single([["v", 902]], [["v", 902, *BOX, 1, 0.5]])
    with pytest.raises(InputError, match="mAP over no classes"):
        single([], [])
    with pytest.raises(InputError, match=r"no classes.*and a detection"):
        single([["v", 902, *BOX, 1]], [], protocol="mmaction")
    assert single([["v", 902, *BOX, 1]], []).mean_ap == 0.0


def test_bad_input_is_named() -> None:
    truth, found = [["v", 902, *BOX, 1]], [["v", 902, *BOX, 1, 0.5]]
    with pytest.raises(
        InputError, match="unknown AVA protocol 'coco', expected one of: official, slowfast, mmaction, multisports"
    ):
        single(truth, found, protocol="coco")
    with pytest.raises(InputError, match="official takes no excluded"):
        frame_map(as_table(truth, scored=False), as_table(found, scored=True), SPACE, excluded=set())
    with pytest.raises(InputError, match="no scores"):
        frame_map(as_table(truth, scored=False), as_table(found, scored=False), SPACE)
    with pytest.raises(InputError, match="row 1: score nan"):
        single(truth, [["v", 902, *BOX, 1, float("nan")]])
    with pytest.raises(InputError, match="expected x1 <= x2"):
        single([["v", 902, 0.5, 0.1, 0.1, 0.5, 1]], found)
    with pytest.raises(InputError, match="iou must be"):
        frame_map(as_table(truth, scored=False), as_table(found, scored=True), SPACE, iou=0.0)


def test_json_holds_full_precision() -> None:
    result = score(make_case(8), "official")
    data = json.loads(json.dumps(result.to_json()))
    assert data["mAP"] == result.mean_ap
    assert [c["ap"] for c in data["per_class"]] == [c.ap for c in result.per_class]
    assert set(data["per_class"][0]) == {"id", "name", "ap", "num_ground_truth"}


def test_columns_may_be_in_any_order() -> None:
    case = make_case(9)
    backwards = LabelSpace(name="backwards", names=SPACE.names[::-1], ids=IDS[::-1])
    truth, found = as_table(case["ground_truth"], scored=False), as_table(case["detections"], scored=True)
    found = replace(found, video=np.array(found.video))
    one, other = frame_map(truth, found, SPACE), frame_map(truth, found, backwards)
    assert {c.id: c.ap for c in one.per_class} == {c.id: c.ap for c in other.per_class}
