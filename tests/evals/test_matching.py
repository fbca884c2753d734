import heapq

import numpy as np
import pytest

from tubelet.evals.ava import Matched, lists_by_class
from tubelet.evals.matching import (
    LOOKED_UP_AT_ONCE,
    ClassBoxes,
    best_per_keyframe,
    by_keyframe,
    by_score,
    find_places,
    paired_iou,
)


def rows_of(keyframe: np.ndarray, scores: np.ndarray, seed: int = 0) -> ClassBoxes:
    generator = np.random.default_rng(seed)
    column = generator.integers(0, 3, len(keyframe))
    boxes = np.round(generator.random((len(keyframe), 4)), 1)
    return ClassBoxes(keyframe=keyframe, column=column, label_id=column + 1, boxes=boxes, scores=scores)


ODD = [0.0, -0.0, 1.0, -1.0, 1e300, -1e300, 1e-300, 0.1, np.nextafter(0.1, 1), np.nextafter(0.1, 0), 5e-324]


@pytest.mark.parametrize("decimals", [1, 3, 17])
def test_fast_sort_is_the_stable_sort_by_frame_and_falling_score(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    scores = np.concatenate([np.round(generator.normal(size=500), decimals), generator.choice(ODD, 300)])
    keyframe = generator.integers(0, 9, len(scores))
    np.testing.assert_array_equal(by_score(rows_of(keyframe, scores)), np.lexsort((-scores, keyframe)))


@pytest.mark.parametrize("decimals", [1, 2, 17])
@pytest.mark.parametrize("capacity", [1, 5, 50])
@pytest.mark.parametrize("seed", range(4))
def test_rows_kept_are_those_of_a_real_heap(decimals: int, capacity: int, seed: int) -> None:
    generator = np.random.default_rng([decimals, seed])
    rows = rows_of(generator.integers(0, 6, 500), np.round(generator.random(500), decimals), seed)
    rows.boxes[:] = rows.boxes[generator.integers(0, 3, 500)]  # whole rows come twice
    ours = best_per_keyframe(rows, capacity)
    for keyframe in range(6):
        heap: list[tuple[float, ...]] = []
        for i in np.flatnonzero(rows.keyframe == keyframe):
            x1, y1, x2, y2 = rows.boxes[i].tolist()
            entry = (float(rows.scores[i]), int(rows.label_id[i]), y1, x1, y2, x2)
            if len(heap) < capacity:
                heapq.heappush(heap, entry)
            elif entry[0] > heap[0][0]:
                heapq.heapreplace(heap, entry)
        expected = sorted(heap, key=lambda entry: -entry[0])
        mine = ours[rows.keyframe[ours] == keyframe]
        for label in (1, 2, 3):  # within a class the order matters; between classes only which rows are kept
            wanted = [entry for entry in expected if entry[1] == label]
            got = [i for i in mine if rows.label_id[i] == label]
            assert [(rows.scores[i], *rows.boxes[i, [1, 0, 3, 2]]) for i in got] == [(e[0], *e[2:]) for e in wanted]


def test_rows_chosen_at_the_cut_are_those_of_a_real_heap() -> None:
    for seed in range(300):  # so many equal scores that nearly every cut divides a tie
        generator = np.random.default_rng(seed)
        number, capacity = int(generator.integers(5, 60)), int(generator.integers(1, 12))
        rows = rows_of(np.zeros(number, dtype=np.int64), np.round(generator.random(number), 1), seed)
        entries = [
            (float(rows.scores[i]), int(rows.label_id[i]), *rows.boxes[i, [1, 0, 3, 2]].tolist()) for i in range(number)
        ]
        heap: list[tuple[float, ...]] = []
        for entry in entries:
            if len(heap) < capacity:
                heapq.heappush(heap, entry)
            elif entry[0] > heap[0][0]:
                heapq.heapreplace(heap, entry)
        assert sorted(entries[i] for i in best_per_keyframe(rows, capacity)) == sorted(heap)


def test_only_chosen_rows_are_ordered() -> None:
    generator = np.random.default_rng(0)
    rows = rows_of(generator.integers(0, 6, 200), np.round(generator.random(200), 1))
    chosen = np.flatnonzero(generator.random(200) < 0.6)
    for order in (by_score, by_keyframe, lambda rows, chosen=None: best_per_keyframe(rows, 7, chosen)):
        np.testing.assert_array_equal(order(rows, chosen), chosen[order(rows.take(chosen))])


@pytest.mark.parametrize("known", [[3, 5, 9], [-4], [0, 2**40]])
def test_places_of_numbers(known: list[int]) -> None:
    wanted = [-(2**40), -5, -4, -3, 0, 2, 3, 4, 5, 9, 10, 2**40, 2**41]
    expected = [known.index(number) if number in known else -1 for number in wanted]
    assert find_places(np.array(known), np.array(wanted)).tolist() == expected


def test_places_of_more_numbers_than_are_looked_up_at_once() -> None:
    known = np.array([-3, 4, 90_000])
    wanted = np.random.default_rng(0).choice([-3, 4, 90_000, 5, -4, 90_001], LOOKED_UP_AT_ONCE * 2 + 7)
    expected = [{-3: 0, 4: 1, 90_000: 2}.get(number, -1) for number in wanted.tolist()]
    np.testing.assert_array_equal(find_places(known, wanted), expected)


@pytest.mark.parametrize("num_classes", [5, 1 << 20])  # the sorted numbers have 32 bits, or 64
def test_lists_by_class_keep_the_order(num_classes: int) -> None:
    generator = np.random.default_rng(num_classes)
    rows = rows_of(np.zeros(9_000, dtype=np.int64), generator.random(9_000))
    rows.column[:] = generator.choice([0, 2, num_classes - 1], len(rows))
    order = generator.permutation(len(rows))[:8_500]
    no_rows = rows.take(np.empty(0, dtype=np.int64))
    matched = Matched(
        found=rows,
        order=order,
        claimed=np.full(len(order), -1, dtype=np.int32),
        truth=no_rows,
        counted=np.empty(0, dtype=np.int64),
        num_truth=np.zeros(num_classes, dtype=np.int64),
        counts={},
    )
    lists = lists_by_class(matched)
    assert len(lists) == num_classes
    for column in (0, 1, 2, num_classes - 1):
        np.testing.assert_array_equal(lists[column], np.flatnonzero(rows.column[order] == column))


def test_paired_iou_by_hand() -> None:
    box, half, apart, empty = [0, 0, 2, 2], [0, 0, 2, 1], [3, 3, 4, 4], [1, 1, 1, 1]
    a = np.array([box, box, box, box, empty], dtype=float)
    b = np.array([box, half, apart, empty, empty], dtype=float)
    assert paired_iou(a, b).tolist() == [1.0, 0.5, 0.0, 0.0, 0.0]
