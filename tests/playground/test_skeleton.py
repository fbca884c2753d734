"""Quaternion conventions, forward kinematics, skinning."""

import numpy as np
import pytest

from tubelet.playground import motions, rotations, skeleton
from tubelet.playground.scene import NUM_JOINTS, PoseTrack


def zero_track(num_frames: int = 1, root_height: float = 0.9) -> PoseTrack:
    joints = np.zeros((num_frames, NUM_JOINTS, 4), dtype=np.float32)
    joints[..., 0] = 1
    root = np.zeros((num_frames, 3), dtype=np.float32)
    root[:, 2] = root_height
    return PoseTrack(root=root, joints=joints)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    q = rotations.yaw(np.pi / 2)
    np.testing.assert_allclose(q, [np.sqrt(0.5), 0, 0, np.sqrt(0.5)], atol=1e-12)
    np.testing.assert_allclose(rotations.to_matrix(q) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_multiply_applies_the_right_factor_first() -> None:
    a, b = rotations.yaw(np.pi / 2), rotations.from_axis_angle((1.0, 0.0, 0.0), np.pi / 2)
    # b takes y to z; a leaves z.
    np.testing.assert_allclose(rotations.to_matrix(rotations.multiply(a, b)) @ [0, 1, 0], [0, 0, 1], atol=1e-12)


def test_conversions_are_inverse() -> None:
    q = rotations.normalise(np.random.default_rng(0).normal(size=(200, 4)))
    q *= np.where(q[:, :1] < 0, -1, 1)
    np.testing.assert_allclose(rotations.from_vector(rotations.to_vector(q)), q, atol=1e-9)
    back = rotations.from_matrix(rotations.to_matrix(q))
    np.testing.assert_allclose(np.abs((back * q).sum(axis=1)), 1, atol=1e-9)


def test_blend_takes_the_shorter_way() -> None:
    q = rotations.yaw(0.2)
    np.testing.assert_allclose(rotations.blend(q, -rotations.yaw(0.4), 0.5), rotations.yaw(0.3), atol=1e-6)


def test_heading_of_a_person_lying_on_the_back() -> None:
    lying = rotations.multiply(rotations.yaw(0.7), rotations.from_axis_angle((0.0, 1.0, 0.0), -np.pi / 2))
    assert rotations.heading(lying) == pytest.approx(0.7)


def test_bodies_have_sane_heights_and_weights() -> None:
    people = skeleton.bodies()
    assert len(people) >= 12
    heights = [skeleton.body_height(b) for b in range(len(people))]
    assert 1.1 < min(heights) < 1.4
    assert 1.75 < max(heights) < 1.95
    np.testing.assert_allclose(people.weights.sum(axis=1), 1, atol=1e-5)
    assert people.faces.max() < people.vertices.shape[1]


@pytest.mark.parametrize("body", [0, 1, 6, 12])
def test_limbs_hang_straight_down_at_rest(body: int) -> None:
    _, position = skeleton.joint_frames(zero_track(), body)
    for upper, lower in (
        (skeleton.RIGHT_SHOULDER, skeleton.RIGHT_ELBOW),
        (skeleton.LEFT_HIP, skeleton.LEFT_KNEE),
        (skeleton.LEFT_KNEE, skeleton.LEFT_ANKLE),
    ):
        limb = position[0, lower] - position[0, upper]
        np.testing.assert_allclose(limb[:2], 0, atol=1e-5)
        assert limb[2] < -0.15
    # Left is +y.
    assert position[0, skeleton.LEFT_SHOULDER, 1] > 0.05
    assert position[0, skeleton.RIGHT_SHOULDER, 1] < -0.05


def test_raising_the_right_arm_forward_puts_the_palm_in_front() -> None:
    track = zero_track()
    # Forward is a turn about -y.
    track.joints[0, skeleton.RIGHT_SHOULDER] = rotations.from_axis_angle((0.0, -1.0, 0.0), np.pi / 2)
    palms = skeleton.landmark_positions(track, 0)[0, [skeleton.RIGHT_PALM, skeleton.LEFT_PALM]]
    assert palms[0, 0] > 0.45
    assert abs(palms[1, 0]) < 0.15
    assert palms[0, 2] - palms[1, 2] > 0.4


def test_identity_matrices_leave_vertices_alone() -> None:
    matrices = np.tile(np.eye(3, 4, dtype=np.float32), (NUM_JOINTS, 1, 1))
    rest = skeleton.bodies().vertices[3]
    np.testing.assert_allclose(skeleton.skin(matrices, rest), rest, atol=1e-5)


def test_the_anchor_stays_where_it_is_for_a_small_body() -> None:
    track = motions.clip("stand", fps=10, num_frames=3)
    child = list(skeleton.bodies().names).index("child")
    placed = motions.place(track, position_xy=(3.0, -2.0), yaw=1.0)
    head = motions.head_positions(placed, child)[0]
    np.testing.assert_allclose(head[:2], [3.0, -2.0], atol=0.12)
    assert head[2] < 1.25


def test_smooth_keeps_constants_and_length() -> None:
    np.testing.assert_allclose(skeleton.smooth(np.full(7, 2.5), 4), np.full(7, 2.5))
    assert len(skeleton.smooth(np.arange(9.0), 5)) == 9
