import numpy as np
import pytest

from tubelet.inference.tubes import LinkConfig, TubeLinker, assign, link_from, smooth_scores
from tubelet.types import ActionDetections, PersonBoxes


def people(*boxes: tuple[float, float, float, float], scores: list[float] | None = None) -> PersonBoxes:
    array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return PersonBoxes(boxes=array, scores=np.array(scores or [0.9] * len(boxes), dtype=np.float32))


def at_x(x: float) -> tuple[float, float, float, float]:
    return (x, 0, x + 20, 50)


def ids_at(linker: TubeLinker, pts_seconds: float) -> dict[float, int]:
    """Left side of each box to identity."""
    found = linker.at(pts_seconds)
    return {float(b[0]): int(p) for b, p in zip(found.boxes, found.person_ids)}


def test_a_walking_person_keeps_one_identity() -> None:
    linker = TubeLinker()
    for i in range(6):
        linker.update(i / 5, people(at_x(10 + 8 * i), at_x(300)))
    first, last = ids_at(linker, 0.0), ids_at(linker, 1.0)
    assert first == {10: first[10], 300: first[300]}
    assert last == {50: first[10], 300: first[300]}
    assert set(last.values()) == {1, 2}


def test_people_who_cross_keep_their_identities_because_of_their_motion() -> None:
    """Between the two instants at which they meet, position alone would swap them."""
    linker = TubeLinker()
    for i in range(9):  # 40 px apart at i = 0; they stand at the same place at i = 4
        linker.update(i / 5, people((10 * i, 0, 10 * i + 20, 50), (80 - 10 * i, 0, 100 - 10 * i, 50)))
    start, end = ids_at(linker, 0.0), ids_at(linker, 8 / 5)
    assert end[80] == start[0]
    assert end[0] == start[80]


@pytest.mark.parametrize(("per_second", "identities"), [(0.6, {1}), (0.0, {-1})])
def test_a_fast_person_overlaps_only_after_growing(per_second: float, identities: set[int]) -> None:
    linker = TubeLinker(LinkConfig(grow_per_second=per_second))
    lefts = [0, 22, 44]  # 20 px wide boxes, 2 px apart; grown by 0.3 * 20 px a side they overlap by 10 of 54 px
    for i, x in enumerate(lefts):
        linker.update(i / 2, people(at_x(x)))
    assert {ids_at(linker, i / 2)[x] for i, x in enumerate(lefts)} == identities


def test_a_gap_is_bridged_in_a_straight_line() -> None:
    linker = TubeLinker()
    linker.update(0.0, people(at_x(0), scores=[0.8]))
    linker.update(0.2, people(at_x(10), scores=[0.8]))
    linker.update(0.4, people())
    linker.update(0.8, people(at_x(40), scores=[0.5]))
    found = linker.at(0.4)
    assert found.boxes.tolist() == [[20, 0, 40, 50]]  # a third of the way from 10 to 40
    assert found.scores[0] == pytest.approx(0.7)
    assert found.person_ids.tolist() == [1]


def test_after_too_long_a_gap_a_new_identity_begins_and_nothing_is_bridged() -> None:
    linker = TubeLinker(LinkConfig(max_gap_seconds=1.0))
    for t in (0.0, 0.2, 1.4, 1.6):
        linker.update(t, people(at_x(0)))
    assert ids_at(linker, 0.2) == {0: 1}
    assert linker.at(0.8).boxes.shape == (0, 4)
    assert ids_at(linker, 1.6) == {0: 2}


def test_no_identity_crosses_a_cut_even_at_the_same_place() -> None:
    linker = TubeLinker()
    for i in range(3):
        linker.update(i / 5, people(at_x(0)))
    linker.cut()
    for i in range(3, 6):
        linker.update(i / 5, people(at_x(0)))
    assert ids_at(linker, 0.4) == {0: 1}
    assert ids_at(linker, 1.0) == {0: 2}
    assert linker.at(0.5).boxes.shape == (0, 4)  # not bridged over the cut


def test_boxes_grow_with_the_time_since_the_last_up_to_a_limit() -> None:
    """Each tube has its own growth: the one seen half a second ago reaches the box, the one just seen does not."""
    tubes = np.array([at_x(0), at_x(0)])
    found = np.array([at_x(22)])
    assert assign(tubes, found, grow=np.array([0.0, 0.3]), min_overlap=0.15) == [(1, 0)]
    for limit, identity in ((0.3, 1), (0.0, -1)):
        linker = TubeLinker(LinkConfig(grow_per_second=100.0, most_grow=limit, min_overlap=0.15))
        linker.update(0.0, people(at_x(0)))
        linker.update(0.5, people(at_x(22)))
        assert ids_at(linker, 0.0) == {0: identity}


def test_a_weak_box_bridges_a_tube_but_starts_none() -> None:
    linker = TubeLinker(LinkConfig(start_score=0.5, sure_score=0.4, keep_score=0.15))
    linker.update(0.0, people(at_x(0), at_x(200), scores=[0.9, 0.45]))
    linker.update(0.2, people(at_x(2), at_x(200), at_x(100), scores=[0.3, 0.45, 0.1]))
    assert ids_at(linker, 0.0) == {0: 1}
    assert ids_at(linker, 0.2) == {}, "nobody knows yet whether she is there"
    linker.update(0.4, people(at_x(4), scores=[0.42]))
    assert ids_at(linker, 0.2) == {2: 1}
    assert ids_at(linker, 0.4) == {4: 1}


def test_weak_boxes_alone_do_not_keep_a_tube_alive() -> None:
    linker = TubeLinker(LinkConfig(max_gap_seconds=1.0))
    for i in range(8):
        linker.update(i / 5, people(at_x(0), scores=[0.9 if i < 2 else 0.3]))
    linker.update(1.6, people(at_x(0)))
    linker.update(1.8, people(at_x(0)))
    assert ids_at(linker, 0.2) == {0: 1}
    assert [ids_at(linker, t) for t in (0.4, 1.2)] == [{}, {}]
    assert ids_at(linker, 1.8) == {0: 2}


def test_a_second_box_of_the_same_person_starts_no_tube() -> None:
    """Shifted by d of 20 px: IoU (20 - d) / (20 + d), 0.43 at 8 and 0.33 at 10."""
    linker = TubeLinker()
    for i in range(3):
        linker.update(i / 5, people(at_x(0), at_x(8), at_x(200), at_x(210), scores=[0.9, 0.6, 0.9, 0.6]))
    assert ids_at(linker, 0.2) == {0: 1, 200: 2, 210: 3}


def test_the_velocity_is_the_slope_of_the_last_half_second() -> None:
    """The last four and one tenth more: around their means, times -0.3 to 0.3, lefts -2.25, -0.25, -1.25, 3.75.

    Products 0.675 + 0.025 - 0.125 + 1.125 = 1.7, squares of the times 0.2: slope 8.5.
    """
    linker = TubeLinker()
    for t, x in ((0.0, 5), (0.2, 0), (0.4, 2), (0.6, 1), (0.8, 6)):
        linker.update(t, people(at_x(x)))
    (tube,) = linker._alive
    assert tube.velocity == pytest.approx([8.5, 0])
    assert tube.predict(1.0) == pytest.approx(at_x(7.7))


@pytest.mark.parametrize(("start", "sure", "keep"), [(0.5, 0.4, 0.15), (0.2, 0.1, 0.1), (0.05, 0.0, 0.0)])
def test_a_person_threshold_moves_the_others_along(start: float, sure: float, keep: float) -> None:
    link = link_from(start)
    assert (link.start_score, link.sure_score, link.keep_score) == pytest.approx((start, sure, keep))


def test_a_person_seen_once_is_kept_without_identity() -> None:
    linker = TubeLinker()
    linker.update(0.0, people(at_x(0)))
    linker.update(0.2, people(at_x(300)))
    assert ids_at(linker, 0.0) == {0: -1}


def test_assignment_maximises_the_sum_not_the_best_pair() -> None:
    """Greedy would take (0, 0) with IoU 0.9 and leave the rest with 0; the best sum pairs crosswise."""
    a = np.array([[0.0, 0, 10, 10], [2.0, 0, 12, 10]])
    b = np.array([[1.0, 0, 11, 10], [-3.0, 0, 7, 10]])
    assert sorted(assign(a, b, grow=np.zeros(2), min_overlap=0.1)) == [(0, 1), (1, 0)]
    assert assign(a, b[:0], grow=np.zeros(2), min_overlap=0.1) == []


def test_a_hopeless_pair_does_not_decide_the_others() -> None:
    """20 px wide boxes shifted by d overlap by (20 - d) / (20 + d).

    Tube A at 0 and box 6: 14/26 = 0.54; A and box -15: 5/35 = 0.14, below 0.15; tube B at 14 and box 6: 12/28 = 0.43;
    B and box -15: 0. Counting the hopeless pair, A with -15 and B with 6 have the largest sum (0.57), and A is lost.
    """
    tubes, found = np.array([at_x(0), at_x(14)]), np.array([at_x(6), at_x(-15)])
    assert assign(tubes, found, grow=np.zeros(2), min_overlap=0.15) == [(0, 0)]
    assert sorted(assign(tubes, found, grow=np.zeros(2), min_overlap=0.14)) == [(0, 1), (1, 0)]


def test_a_weak_box_must_overlap_more_than_a_confident_one() -> None:
    """Shifted by 12 of 20 px: 8/32 = 0.25, enough with confidence only; by 5: 15/25 = 0.6, enough without."""
    linker = TubeLinker(LinkConfig(grow_per_second=0.0, min_overlap=0.15, min_overlap_weak=0.4))
    linker.update(0.0, people(at_x(0), at_x(100), at_x(200)))
    linker.update(0.2, people(at_x(12), at_x(112), at_x(205), scores=[0.9, 0.3, 0.3]))
    linker.update(0.4, people(at_x(24), at_x(210)))
    assert set(ids_at(linker, 0.2)) == {12, 205}
    assert ids_at(linker, 0.0)[100] == -1


def test_memory_stays_constant_over_a_long_video() -> None:
    linker = TubeLinker()
    for i in range(3000):
        t = i / 5
        linker.update(t, people(at_x(i % 40), at_x(300)) if i % 50 else people())
        linker.forget_before(t - 2.0)
    held = sum(len(tube.boxes) for tube in (*linker._alive, *linker._ended))
    assert held < 60


def moment(pts_seconds: float, scores: list[list[float]], ids: list[int]) -> ActionDetections:
    n = len(ids)
    return ActionDetections(
        video="v",
        pts_seconds=pts_seconds,
        boxes_norm=np.zeros((n, 4), dtype=np.float32),
        scores=np.array(scores, dtype=np.float32).reshape(n, -1),
        box_scores=np.ones(n, dtype=np.float32),
        person_ids=np.array(ids, dtype=np.int64),
    )


def test_scores_are_averaged_along_an_identity_only() -> None:
    moments = [
        moment(0, [[0.0], [1.0]], [1, 2]),
        moment(1, [[0.8], [0.3]], [1, -1]),
        moment(2, [[0.4], [0.9]], [1, -1]),
    ]
    smooth = list(smooth_scores(moments, weight=0.5))
    assert [m.pts_seconds for m in smooth] == [0, 1, 2]
    # Person 1: (0 + 0.5 * 0.8) / 1.5, (0.8 + 0.5 * 0 + 0.5 * 0.4) / 2, (0.4 + 0.5 * 0.8) / 1.5.
    assert [m.scores[0, 0] for m in smooth] == pytest.approx([0.4 / 1.5, 0.5, 0.8 / 1.5])
    # Person 2 is seen once; those without identity are never mixed.
    assert [m.scores[1, 0] for m in smooth] == pytest.approx([1.0, 0.3, 0.9])
    assert [m.scores.tolist() for m in smooth_scores(moments, weight=0.0)] == [m.scores.tolist() for m in moments]
