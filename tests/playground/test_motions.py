"""Clips, gestures and the ways to combine them."""

import numpy as np
import pytest

from tubelet.playground import motions, rotations, skeleton
from tubelet.playground.gestures import two_bone
from tubelet.playground.scene import PoseTrack

ON_THE_GROUND = ("walk", "crawl", "dance_a", "punch", "sit", "lie", "kneel", "pick_up", "crouch", "stand", "push")


def assert_same(a: PoseTrack, b: PoseTrack, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(a.root, b.root, atol=tolerance)
    np.testing.assert_allclose(np.abs((a.joints * b.joints).sum(axis=-1)), 1, atol=tolerance)


def palms(track: PoseTrack) -> np.ndarray:
    """The right and the left one, (n, 2, 3)."""
    return skeleton.landmark_positions(track, 0)[:, [skeleton.RIGHT_PALM, skeleton.LEFT_PALM]]


@pytest.mark.parametrize("name", motions.motion_names())
def test_every_motion_starts_at_the_origin_facing_x(name: str) -> None:
    track = motions.clip(name, fps=12.5, num_frames=30)
    assert len(track) == 30
    np.testing.assert_allclose(np.linalg.norm(track.joints, axis=-1), 1, atol=1e-5)
    assert np.abs(track.root[0, :2]).max() < 0.5
    if not name.startswith("getup"):
        assert abs(rotations.heading(track.joints[0, 0].astype(float))) < 0.8


@pytest.mark.parametrize("name", ON_THE_GROUND)
@pytest.mark.parametrize("body", [0, 2, 12])
def test_bodies_touch_the_ground(name: str, body: int) -> None:
    track = motions.clip(name, fps=12.5, num_frames=24)
    matrices = skeleton.skin_matrices(track, body)
    low = [skeleton.skin(m, skeleton.bodies().vertices[body])[:, 2].min() for m in matrices]
    assert np.abs(low).max() < 0.05


def test_walking_is_straight_and_speed_keeps_steps_and_travel_together() -> None:
    once = motions.clip("walk", fps=25, num_frames=101)
    twice = motions.clip("walk", fps=25, num_frames=51, speed=2.0)
    assert once.root[-1, 0] > 3.0
    assert np.abs(once.root[:, 1]).max() < 0.1
    assert_same(twice, PoseTrack(root=once.root[::2], joints=once.joints[::2]), 1e-3)


def test_mirroring_twice_is_the_identity_and_once_swaps_the_hands() -> None:
    track = motions.clip("wave", fps=10, num_frames=8)
    assert_same(motions.mirror(motions.mirror(track)), track)
    hands = palms(track)
    mirrored = palms(motions.mirror(track))
    np.testing.assert_allclose(mirrored[:, 1] * [1, -1, 1], hands[:, 0], atol=0.03)
    assert (mirrored[:, 1, 2] > mirrored[:, 0, 2] + 0.4).all()


def test_place_puts_a_frame_at_a_spot_and_turns() -> None:
    track = motions.clip("walk", fps=10, num_frames=30)
    placed = motions.place(track, position_xy=(1.0, 2.0), yaw=np.pi / 2, at_frame=10)
    np.testing.assert_allclose(placed.root[10, :2], [1.0, 2.0], atol=1e-5)
    assert placed.root[-1, 1] > placed.root[0, 1] + 2
    assert np.ptp(placed.root[:, 0]) < 0.2


def test_layer_takes_legs_from_one_and_arms_from_the_other() -> None:
    walk, wave = (motions.clip(n, fps=10, num_frames=12) for n in ("walk", "wave"))
    both = motions.layer(walk, wave)
    np.testing.assert_array_equal(both.joints[:, skeleton.LEFT_KNEE], walk.joints[:, skeleton.LEFT_KNEE])
    np.testing.assert_array_equal(both.joints[:, skeleton.RIGHT_SHOULDER], wave.joints[:, skeleton.RIGHT_SHOULDER])
    np.testing.assert_array_equal(both.root, walk.root)
    with pytest.raises(ValueError, match="12 and 11"):
        motions.layer(walk, motions.clip("wave", fps=10, num_frames=11))


def test_concatenate_goes_on_from_where_it_was_without_a_jump() -> None:
    walk, sit = (motions.clip(n, fps=25, num_frames=50) for n in ("walk", "sit_down"))
    joined = motions.concatenate([walk, sit], blend_seconds=0.4, fps=25)
    assert len(joined) == 100
    assert np.linalg.norm(np.diff(joined.root, axis=0), axis=1).max() < 0.1
    change = np.abs((joined.joints[1:] * joined.joints[:-1]).sum(axis=-1)).min()
    assert change > 0.95


def test_style_noise_is_small_and_decided_by_its_generator() -> None:
    track = motions.clip("stand", fps=10, num_frames=20)
    one, two = (motions.style_noise(track, np.random.default_rng(5), fps=10) for _ in range(2))
    np.testing.assert_array_equal(one.joints, two.joints)
    angle = 2 * np.arccos(np.clip(np.abs((one.joints * track.joints).sum(axis=-1)), 0, 1))
    assert 0.01 < angle.max() < 0.6


def test_two_bone_reaches_its_target() -> None:
    target = np.array([[0.5, 0.1, -0.4], [0.1, -0.3, 0.6]])
    bent = two_bone(target, np.array([[-0.35, -0.2, -1.0]] * 2), 0.46, 0.54, 1.0)
    first, second = rotations.to_matrix(bent[:, 0]), rotations.to_matrix(bent[:, 1])
    end = first @ np.array([0, 0, -0.46]) + (first @ second) @ np.array([0, 0, -0.54])
    np.testing.assert_allclose(end, target, atol=1e-6)


def test_a_straight_punch_reaches_far_in_front() -> None:
    track = motions.clip("punch_straight", fps=25, num_frames=40)
    hands = palms(track)
    reach = (hands[:, :, 0] - track.root[:, None, 0]).max()
    assert reach > 0.6


def test_an_unknown_motion_is_named() -> None:
    with pytest.raises(ValueError, match="no motion is called 'fly'"):
        motions.clip("fly", fps=10, num_frames=5)
