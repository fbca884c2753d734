import numpy as np
import pyarrow as pa
import pytest

from tubelet.data import box_labels
from tubelet.data.box_labels import label_detected
from tubelet.data.manifest import BOXES_SCHEMA


def table(*rows: tuple[float, tuple[float, float, float, float], list[int], str]) -> pa.Table:
    columns = [
        {"clip_id": "c", "pts_seconds": t, **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)), "labels": labels}
        | {"person_id": -1, "score": 1.0, "origin": origin}
        for t, box, labels, origin in rows
    ]
    return pa.Table.from_pylist(columns, schema=BOXES_SCHEMA)


def labelled(rows: pa.Table, min_iou: float) -> list[list[int]]:
    frame = np.rint(rows.column("pts_seconds").to_numpy()).astype(np.int64)
    result: list[list[int]] = label_detected(rows, frame, min_iou=min_iou).column("labels").to_pylist()
    return result


def test_the_best_annotated_box_of_the_same_keyframe_gives_the_labels() -> None:
    rows = table(
        (1, (0.0, 0.0, 1.0, 0.9), [], "detected"),  # IoU 0.9 with the first, 0.45 / 0.9 with the second
        (1, (0.0, 0.0, 1.0, 1.0), [3, 1], "annotated"),
        (1, (0.0, 0.0, 1.0, 0.45), [2], "annotated"),
        (2, (0.0, 0.0, 1.0, 0.9), [], "detected"),  # nobody is annotated at 2
        (3, (0.0, 0.0, 1.0, 0.5), [0], "detected"),  # has labels of its own
        (3, (0.0, 0.0, 1.0, 0.5), [4], "annotated"),
        (4, (0.0, 0.0, 0.5, 0.5), [], "detected"),  # the same box twice: the earlier row counts
        (4, (0.0, 0.0, 0.5, 0.5), [5], "annotated"),
        (4, (0.0, 0.0, 0.5, 0.5), [6], "annotated"),
        (5, (0.0, 0.0, 0.5, 0.5), [], "detected"),  # nothing overlaps
        (5, (0.5, 0.5, 1.0, 1.0), [7], "annotated"),
    )
    assert labelled(rows, 0.9) == [[3, 1], [3, 1], [2], [], [0], [4], [5], [5], [6], [], [7]]
    assert labelled(rows, 0.91)[0] == []
    assert labelled(rows, 0.4)[0] == [3, 1]


@pytest.mark.parametrize("pairs_at_once", [1, 7, 10_000])
def test_it_agrees_with_two_loops(pairs_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_labels, "PAIRS_AT_ONCE", pairs_at_once)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(150):
        x, y = rng.uniform(0, 0.2, 2)
        box = (x, y, x + rng.uniform(0.5, 0.8), y + rng.uniform(0.5, 0.8))
        annotated = bool(rng.integers(2))
        rows.append(
            (float(rng.integers(12)), box, [number] if annotated else [], "annotated" if annotated else "detected")
        )
    expected = []
    for time, box, labels, origin in rows:
        best, overlap = labels, 0.0
        for other_time, other, names, kind in rows:
            if origin == "detected" and kind == "annotated" and time == other_time:
                wide = max(0, min(box[2], other[2]) - max(box[0], other[0]))
                high = max(0, min(box[3], other[3]) - max(box[1], other[1]))
                area = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
                iou = wide * high / (sum(area) - wide * high)
                if iou >= 0.6 and iou > overlap:
                    best, overlap = names, iou
        expected.append(best)
    assert labelled(table(*rows), 0.6) == expected
    assert sum(bool(labels) for labels in expected) > sum(kind == "annotated" for *_, kind in rows) + 10
