"""Labels and boxes at keyframes, worked out by hand."""

import numpy as np
import pytest

from tubelet.playground import actions, annotate
from tubelet.playground.choreography import Style
from tubelet.playground.render import RenderedFrame
from tubelet.playground.script import Cast, Span, Turn, solo_role, split_spans


def _frame(boxes: list[tuple[int, int, int, int]], full: list[tuple[float, ...]] | None = None) -> RenderedFrame:
    """A frame of 240 x 320 with solid rectangles as actors, later ones in front."""
    ids = np.zeros((240, 320), dtype=np.uint8)
    for k, (x1, y1, x2, y2) in enumerate(boxes):
        ids[y1:y2, x1:x2] = k + 1
    whole = np.array(full or boxes, dtype=np.float32)
    pixels = np.array([(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes], dtype=np.float32)
    image = np.zeros((240, 320, 3), dtype=np.uint8)
    return RenderedFrame(image=image, ids=ids, full_boxes=whole, full_pixels=pixels)


SPANS = (
    Span(first=0, last=20, labels=("stand", "watch")),
    Span(first=20, last=30, labels=("walk",)),
    Span(first=30, last=60, labels=("walk", "follow")),
)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (10, ("stand", "watch")),
        (19, ("stand", "watch")),  # 13..25: 7 of 13 frames stand and watch
        (20, ("walk",)),  # 14..26: 6 stand, 7 walk; watching 6 of 13 is too little
        (25, ("walk",)),
        (29, ("walk",)),  # 23..35: follows in 6 of 13
        (30, ("walk", "follow")),  # 24..36: follows in 7 of 13
        (59, ("walk", "follow")),  # the window is cut at the end
    ],
)
def test_labels_follow_what_holds_in_most_of_the_window(frame: int, expected: tuple[str, ...]) -> None:
    assert annotate.labels_at(SPANS, frame, num_frames=60, fps=10.0) == expected


def test_a_pose_interrupted_by_another_is_summed() -> None:
    spans = [Span(first=a, last=a + 5, labels=("stand",) if a % 10 else ("bend",)) for a in range(0, 60, 5)]
    # 24..36 holds bend in 30..34 and stand in 25..29 and 35..36, plus bend at 24: 6 bend, 7 stand.
    assert annotate.labels_at(spans, 30, num_frames=60, fps=10.0) == ("stand",)


def test_keyframes_are_whole_seconds_on_whole_frames() -> None:
    # 5 s at 12 fps: frames 0..59; the fourth second is the last with half a second behind it.
    assert annotate.keyframe_frames(60, 12.0) == [(12, 1.0), (24, 2.0), (36, 3.0), (48, 4.0)]
    assert annotate.keyframe_frames(18, 12.0) == []


def test_boxes_are_normalised_and_mirrored() -> None:
    frame = _frame([(32, 24, 96, 144)])
    (person,) = annotate.truth_of(frame, [("walk",)], pts_seconds=1.0).people
    assert person.box_norm == (0.1, 0.1, 0.3, 0.6)
    (person,) = annotate.truth_of(frame, [("walk",)], pts_seconds=1.0, flipped=True).people
    assert person.box_norm == (0.7, 0.1, 0.9, 0.6)


def test_identities_survive_a_hidden_actor() -> None:
    frame = _frame([(100, 100, 120, 140), (90, 90, 130, 150), (200, 100, 230, 180)])
    truth = annotate.truth_of(frame, [("stand",), ("walk",), ("sit",)], pts_seconds=2.0)
    assert [(p.person_id, p.labels) for p in truth.people] == [(2, ("walk",)), (3, ("sit",))]
    assert not truth.ambiguous


def test_mostly_hidden_actors_make_a_keyframe_ambiguous() -> None:
    frame = _frame([(100, 100, 140, 200), (110, 100, 150, 200)])  # a quarter of the first can be seen
    truth = annotate.truth_of(frame, [("stand",), ("walk",)], pts_seconds=2.0)
    assert truth.ambiguous
    assert [p.person_id for p in truth.people] == [2]


def test_actors_mostly_outside_make_a_keyframe_ambiguous() -> None:
    frame = _frame([(0, 100, 20, 200)], full=[(-60.0, 100.0, 20.0, 200.0)])  # a quarter is inside
    assert annotate.truth_of(frame, [("stand",)], pts_seconds=2.0).ambiguous
    frame = _frame([(0, 100, 20, 200)], full=[(-20.0, 100.0, 20.0, 200.0)])  # a half
    assert not annotate.truth_of(frame, [("stand",)], pts_seconds=2.0).ambiguous


def test_spans_are_split_where_the_action_pauses() -> None:
    active = np.array([False, False, True, True, True, False])
    assert split_spans(active, ("bend", "touch"), ("stand", "touch"), 10) == [
        Span(first=10, last=12, labels=("stand", "touch")),
        Span(first=12, last=15, labels=("bend", "touch")),
        Span(first=15, last=16, labels=("stand", "touch")),
    ]


def test_nobody_cartwheels_while_resting_between_two_cartwheels() -> None:
    style = Style(speed=1.0, amplitude=1.0, mirrored=False, seed=0)
    role = solo_role(
        [Turn(activity=actions.SOLO["cartwheel"], num_frames=60)],
        cast=Cast(body=0, outfit_seed=0, style=style, held_out=False), start=(0, 0), heading=0, fps=10.0,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    # The captured cartwheel lasts 2.7 s, then comes a rest of 0.7 s.
    assert [(s.first, s.last, s.labels) for s in role.spans] == [
        (0, 28, ("cartwheel",)), (28, 35, ("stand",)), (35, 60, ("cartwheel",)),
    ]  # fmt: skip


def test_nobody_bends_while_upright() -> None:
    style = Style(speed=1.0, amplitude=1.0, mirrored=False, seed=0)
    role = solo_role(
        [Turn(activity=actions.SOLO["bend"], num_frames=60)],
        cast=Cast(body=0, outfit_seed=0, style=style, held_out=False), start=(0, 0), heading=0, fps=10.0,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert [s.labels for s in role.spans][:4] == [("stand",), ("bend",), ("stand",), ("bend",)]
    bent = sum(s.last - s.first for s in role.spans if s.labels == ("bend",))
    assert 25 < bent < 45
