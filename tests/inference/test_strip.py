"""The strip of 200 pixels: 20 a second, the present at the right edge."""

from pathlib import Path

import numpy as np
import pytest
from inference_fakes import GREY, RED, PaintDetector, untrained, write_video

from tubelet.inference.drawing import DrawnPerson, identity_colour
from tubelet.inference.outputs import localise_video
from tubelet.inference.pipeline import Localiser
from tubelet.inference.strip import MOST_LANES, Strip
from tubelet.video.container import probe
from tubelet.video.decode import iter_frames

FRAME = np.full((120, 200, 3), 7, dtype=np.uint8)
BOX = (0.0, 0.0, 10.0, 10.0)


def person(number: int, action: str | None) -> DrawnPerson:
    actions = () if action is None else ((action, 0.9),)
    return DrawnPerson(box=BOX, person_id=number, actions=actions)


def columns_of(picture: np.ndarray, number: int) -> tuple[int, int] | None:
    """First and last column in which somebody's colour is."""
    there = np.flatnonzero((picture == identity_colour(number)).all(axis=2).any(axis=0))
    return (int(there[0]), int(there[-1])) if len(there) else None


def test_what_was_done_moves_to_the_left_and_out() -> None:
    """Person 1 does something from 0 to 2 s. At 2 it fills 160 to 200, at 5 100 to 140, at 13 nothing."""
    strip = Strip(height=120, width=200)
    for i in range(21):
        shown = strip.below(FRAME, i / 10, [person(1, "a")])
    assert shown.shape == (120 + strip.height, 200, 3)
    assert (shown[:120] == FRAME).all(), "the picture itself is whole"
    assert columns_of(shown[120:], 1) == pytest.approx((160, 199), abs=2)
    assert columns_of(strip.below(FRAME, 5.0, [])[120:], 1) == pytest.approx((100, 139), abs=2)
    assert columns_of(strip.below(FRAME, 13.0, [])[120:], 1) is None


def test_who_does_nothing_is_a_thin_line_and_who_is_not_followed_has_no_lane() -> None:
    strip = Strip(height=120, width=200)
    for i in range(21):
        shown = strip.below(FRAME, i / 10, [person(1, "a"), person(2, None), person(-1, "a")])
    heights = [int((shown[120:] == identity_colour(number)).all(axis=2)[:, 198].sum()) for number in (1, 2)]
    assert heights[0] > 3 * heights[1] > 0
    assert columns_of(shown[120:], -1) is None


def test_lanes_are_kept_and_only_so_many() -> None:
    strip = Strip(height=120, width=200)
    everybody = [person(number, "a") for number in range(1, MOST_LANES + 3)]
    for i in range(5):
        strip.below(FRAME, i / 10, everybody)
    before = dict(strip._lanes)
    assert len(before) == MOST_LANES
    for i in range(5, 9):
        strip.below(FRAME, i / 10, everybody[::-1])
    assert strip._lanes == before


def test_an_annotated_video_is_taller_by_the_strip(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", lambda i: [((10 + i, 20, 34 + i, 80), RED)], num_frames=12)
    done = localise_video(
        Localiser(untrained(), people=PaintDetector()), video, tmp_path / "out", threshold=0.0, strip=True
    )
    assert done.files.annotated is not None
    meta = probe(done.files.annotated)
    assert (meta.width, meta.height) == (800, 480 + Strip(height=480, width=800).height)
    *_, (_, last) = iter_frames(done.files.annotated)
    assert np.abs(last[:480, -40:].astype(int) - GREY).max() < 30, "nothing over the picture"
    orange = np.abs(last[480:, 760:].astype(int) - identity_colour(1)).max(axis=2) < 60
    assert orange.any()
