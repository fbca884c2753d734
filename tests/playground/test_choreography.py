"""Performances: where actors get to, how smoothly, and that people reach each other."""

import numpy as np
import pytest

from tubelet.playground import actions, choreography, skeleton
from tubelet.playground.choreography import Step, Style
from tubelet.playground.script import Cast, Role, Turn, pair_distance, pair_roles, solo_role

FPS = 12.5
STYLE = Style(speed=1.0, amplitude=1.0, mirrored=False, seed=3)


def _cast(body: int) -> Cast:
    return Cast(body=body, outfit_seed=1, style=STYLE, held_out=False)


def _pair(name: str, num_frames: int = 40, bodies: tuple[int, int] = (0, 5)) -> tuple[Role, Role]:
    casts = (_cast(bodies[0]), _cast(bodies[1]))
    return pair_roles(
        [(actions.PAIRS[name], num_frames)], casts=casts, centre=(0.5, 0.2), axis=0.4, fps=FPS,
        rng=np.random.default_rng(0),
    )  # fmt: skip


def _perform(steps: list[Step], heading: float = 0.0) -> choreography.Performance:
    return choreography.perform(steps, body=3, start=(1.0, -1.0), heading=heading, fps=FPS, style=STYLE)


def test_a_performance_is_as_long_as_its_steps_and_starts_where_told() -> None:
    part = _perform([Step(lower="walk", num_frames=20), Step(lower="stand", upper="wave", num_frames=17)])
    assert len(part.track) == 37
    assert part.xy[0] == pytest.approx([1.0, -1.0], abs=0.05)
    # The track is in unit-leg metres, the body scales it back.
    scaled = part.track.root[:, :2] * skeleton.body_scale(3)
    np.testing.assert_allclose(scaled, part.xy, atol=1e-4)


def test_a_walker_goes_straight_on_without_an_aim() -> None:
    part = _perform([Step(lower="walk", num_frames=50)], heading=np.pi / 2)
    travelled = part.xy[-1] - part.xy[0]
    assert travelled[1] > 2.5
    assert abs(travelled[0]) < 0.4


def test_a_walker_turns_and_gets_to_its_aim() -> None:
    goal = np.array([-1.5, 1.0])
    part = _perform([Step(lower="walk", num_frames=70, aim=choreography.towards(goal))])
    assert np.hypot(*(part.xy - goal).T).min() < 0.3
    turns = np.abs(np.diff(np.unwrap(part.heading)))
    assert turns.max() <= 2.6 / FPS + 1e-9


def test_blends_leave_no_jumps() -> None:
    part = _perform([Step(lower=name, num_frames=25) for name in ("walk", "sit", "dance_a", "crawl", "stand")])
    dots = np.abs((part.track.joints[1:] * part.track.joints[:-1]).sum(axis=2)).clip(0, 1)
    assert np.degrees(2 * np.arccos(dots)).max() < 75  # a dancer's arm is fast, a snap is 100 and more
    assert np.hypot(*np.diff(part.xy, axis=0).T).max() < 0.35


def test_gliding_corrects_the_place() -> None:
    part = _perform([Step(lower="stand", num_frames=20, glide_to=(1.3, -1.2))])
    assert part.xy[-1] == pytest.approx([1.3, -1.2], abs=0.06)


def test_wandering_stays_near_its_area() -> None:
    aim = choreography.wander((-1.0, -1.0, 1.0, 1.0), np.random.default_rng(1))
    part = choreography.perform(
        [Step(lower="walk", num_frames=250, aim=aim)], body=0, start=(0, 0), heading=0, fps=FPS, style=STYLE
    )
    assert np.abs(part.xy).max() < 1.9
    assert np.ptp(part.xy, axis=0).min() > 0.8


def test_somebody_is_punched_on_the_walk_and_pushed_forward() -> None:
    one, two = _pair("walk and punch", num_frames=50)
    marks = choreography.contact_points(two.actor.track, 5, "palm")
    gap = np.linalg.norm(marks[..., :2] - one.performance.xy[:, None], axis=2).min(axis=1)
    assert gap.min() < 0.3
    assert np.hypot(*(two.performance.xy[-1] - two.performance.xy[0])) > 2.0
    assert {span.labels for span in two.spans} == {("walk", "punch")}
    calm, _ = _pair("follow", num_frames=50)
    hit = choreography.impacts(gap, fps=FPS)[0]
    lean = one.actor.track.joints[hit + 2, skeleton.CHEST] - calm.actor.track.joints[hit + 2, skeleton.CHEST]
    assert lean[2] > 0.05  # about the left axis: forward, away from who comes from behind


@pytest.mark.parametrize("name", ["punch", "kick", "push"])
def test_hits_reach_the_other_who_flinches(name: str) -> None:
    one, two = _pair(name)
    marks = choreography.contact_points(one.actor.track, 0, str(actions.PAIRS[name].reach))
    gap = np.linalg.norm(marks[..., :2] - two.performance.xy[:, None], axis=2).min(axis=1)
    assert gap.min() < 0.3  # the root is a hand's breadth behind the belly
    assert np.hypot(*(one.performance.xy - two.performance.xy).T).min() > 0.3
    still = solo_role(
        [Turn(activity=actions.PAIRS[name].second, num_frames=40)], cast=_cast(5), start=(0, 0), heading=0, fps=FPS,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    sway = [np.ptp(r.actor.track.joints[:, skeleton.CHEST], axis=0).max() for r in (two, still)]
    assert sway[0] > 1.8 * sway[1]


def test_partners_face_each_other() -> None:
    for name in ("shake hands", "hug", "wave", "punch"):
        one, two = (role.performance for role in _pair(name))
        way = two.xy[-1] - one.xy[-1]
        bearing = np.arctan2(way[1], way[0])
        assert np.cos(one.heading[-1] - bearing) > 0.95
        assert np.cos(two.heading[-1] - bearing) < -0.95


def test_hands_meet_in_a_handshake() -> None:
    one, two = _pair("shake hands")
    hands = [choreography.contact_points(r.actor.track, b, "palm")[20, 0] for r, b in ((one, 0), (two, 5))]
    assert np.linalg.norm(hands[0] - hands[1]) < 0.35


def test_a_follower_stays_behind_a_leader_of_other_size() -> None:
    one, two = _pair("follow", num_frames=75, bodies=(12, 8))
    distance = np.hypot(*(one.performance.xy - two.performance.xy).T)
    assert distance.min() > 0.5
    assert distance.max() < 1.9


def test_an_approach_ends_at_arm_s_length() -> None:
    casts = (_cast(0), _cast(5))
    one, two = pair_roles(
        [(actions.PAIRS["watch"], 30), (actions.PAIRS["shake hands"], 60)], casts=casts, centre=(0, 0), axis=0.0,
        fps=FPS, rng=np.random.default_rng(2),
    )  # fmt: skip
    wanted = pair_distance(actions.PAIRS["shake hands"], casts, fps=FPS, rng=np.random.default_rng(2))
    distance = np.hypot(*(one.performance.xy - two.performance.xy).T)
    assert distance[5] > wanted + 0.5
    assert distance[-10:].mean() == pytest.approx(wanted, abs=0.1)
    assert [span.labels[0] for span in one.spans] == ["stand", "walk", "stand"]
    assert two.spans[1].labels == ("stand", "watch")


def test_impacts_are_clear_minima() -> None:
    distance = np.array([1.0, 1.0, 0.2, 1.0, 1.0, 0.9, 1.0, 1.0, 1.0, 0.25, 1.0])
    assert choreography.impacts(distance, fps=5.0) == [2, 9]
