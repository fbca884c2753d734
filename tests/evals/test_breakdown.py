from dataclasses import replace

import pytest

from tubelet.evals.ava import AvaResult, ClassAp
from tubelet.evals.breakdown import (
    buckets_by_quantile,
    by_bucket,
    by_group,
    differences,
)
from tubelet.labels import LabelSpace, buckets_by_count
from tubelet.types import InputError

SPACE = LabelSpace(
    name="four",
    names=("stand", "hug", "sail", "cut"),
    ids=(12, 64, 51, 23),
    groups=("pose", "person-person", "person-object", "person-object"),
    buckets=("head", "mid", "tail", "tail"),
)


def result(*aps: float | None, protocol: str = "official") -> AvaResult:
    classes = tuple(
        ClassAp(id=i, name=n, ap=ap, num_ground_truth=0 if ap is None else 5)
        for i, n, ap in zip(SPACE.ids, SPACE.names, aps, strict=True)
    )
    return AvaResult(protocol=protocol, iou=0.5, mean_ap=0.5, per_class=classes)


def test_means_leave_out_classes_without_ground_truth() -> None:
    assert by_bucket(result(0.8, 0.4, 0.2, None), SPACE) == {"head": 0.8, "mid": 0.4, "tail": 0.2}
    assert by_bucket(result(0.8, 0.4, None, None), SPACE) == {"head": 0.8, "mid": 0.4, "tail": None}
    assert by_group(result(0.8, 0.4, 0.2, 0.4), SPACE) == {
        "pose": 0.8,
        "person-person": 0.4,
        "person-object": pytest.approx(0.3),
    }


def test_a_label_space_without_parts_has_no_means() -> None:
    plain = replace(SPACE, groups=(), buckets=())
    assert by_bucket(result(0.8, 0.4, 0.2, None), plain) == {}
    assert by_group(result(0.8, 0.4, 0.2, None), plain) == {}


def test_a_result_of_another_label_space_is_refused() -> None:
    with pytest.raises(InputError, match="4 classes, the label space 2"):
        by_bucket(result(0.8, 0.4, 0.2, None), LabelSpace(name="two", names=("a", "b"), buckets=("head", "tail")))


def test_paper_a_buckets() -> None:
    # Table 9: walk 40771, touch 17133, bend 8349, give 1073, close 786; the borders themselves are mid.
    counts = [40771, 17133, 10_001, 10_000, 8349, 1073, 1000, 999, 786, 0]
    assert buckets_by_count(counts) == ("head",) * 3 + ("mid",) * 4 + ("tail",) * 3
    with pytest.raises(InputError, match="both"):
        buckets_by_count(counts, head_above=10, tail_below=20)


def test_quantile_buckets() -> None:
    assert buckets_by_quantile([900, 5, 80, 70, 300, 1]) == ("head", "tail", "mid", "mid", "head", "tail")
    # Equal counts share a bucket: the two 70 straddle the tail's border, so both are mid.
    assert buckets_by_quantile([900, 1, 70, 70, 300, 80]) == ("head", "tail", "mid", "mid", "head", "mid")
    assert buckets_by_quantile([3, 3, 3]) == ("mid", "mid", "mid")
    assert buckets_by_quantile([3, 2, 1], head_share=1.0, tail_share=0.0) == ("head", "head", "head")
    assert buckets_by_quantile([3, 2, 1], head_share=0.0, tail_share=1.0) == ("tail", "tail", "tail")
    assert buckets_by_quantile([]) == ()
    with pytest.raises(InputError, match="sum to at most 1"):
        buckets_by_quantile([1, 2], head_share=0.7, tail_share=0.7)


def test_differences_are_sorted_by_gain() -> None:
    rows = differences(result(0.8, 0.4, 0.2, None), result(0.7, 0.5, 0.6, None))
    assert [row.name for row in rows] == ["sail", "hug", "stand"]
    assert [row.delta for row in rows] == pytest.approx([0.4, 0.1, -0.1])


def test_results_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InputError, match="differ in protocol: official and mmaction"):
        differences(result(0.8, 0.4, 0.2, None), result(0.8, 0.4, 0.2, None, protocol="mmaction"))
    with pytest.raises(InputError, match="not of the same classes and ground truth"):
        differences(result(0.8, 0.4, 0.2, None), result(0.8, 0.4, 0.2, 0.1))
