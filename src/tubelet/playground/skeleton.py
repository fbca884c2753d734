"""Baked bodies, forward kinematics and skinning.

A track is retargeted by rotations: a body's limbs are first aligned with the motions' zero pose (limbs straight
down), then turned; the root travels in proportion to the height of its standing hips. What still floats or sinks
because proportions differ is corrected per frame against the reference body.
"""

from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from tubelet.kernels import kernel
from tubelet.playground import rotations
from tubelet.playground.scene import NUM_JOINTS, PoseTrack

(ROOT, CHEST, NECK, RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE, RIGHT_SHOULDER, RIGHT_ELBOW, LEFT_HIP, LEFT_KNEE, LEFT_ANKLE,
 LEFT_SHOULDER, LEFT_ELBOW) = range(NUM_JOINTS)  # fmt: skip
RIGHT_PALM, LEFT_PALM, HEAD, RIGHT_SOLE, LEFT_SOLE, CROWN = range(6)
LANDMARK_JOINTS = (RIGHT_ELBOW, LEFT_ELBOW, NECK, RIGHT_ANKLE, LEFT_ANKLE, NECK)
STANDING_HIPS = 0.89
"""Height in metres of the root joint of the unit skeleton when it stands straight (thigh + shin = 0.83 m)."""
REFERENCE_BODY = 0
_FIXED_POINT = 8192.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bodies:
    """All baked bodies; they share faces and weights."""

    names: tuple[str, ...]
    regions: tuple[str, ...]
    vertices: np.ndarray
    """float32 (bodies, vertices, 3), rest pose."""
    faces: np.ndarray
    """int32 (faces, 3), counter-clockwise seen from outside."""
    face_regions: np.ndarray
    """int32 (faces,)."""
    weight_joints: np.ndarray
    """int32 (vertices, 4)."""
    weights: np.ndarray
    """float32 (vertices, 4), they sum to 1."""
    joint_parents: tuple[int, ...]
    joint_heads: np.ndarray
    """float32 (bodies, joints, 3), rest pose."""
    alignment: np.ndarray
    """float32 (bodies, joints, 3, 3), from rest pose to limbs straight down."""
    landmarks: np.ndarray
    """float32 (bodies, 6, 3), rest pose: palms, head centre, soles, crown."""

    def __len__(self) -> int:
        return len(self.names)


@cache
def bodies() -> Bodies:
    """Loads the baked bodies, once per process and eagerly: a lazy archive does not survive a fork."""
    with resources.files("tubelet.playground").joinpath("assets/bodies.npz").open("rb") as file:
        stored = dict(np.load(file))
    weights = stored["weights"].astype(np.float32)
    return Bodies(
        names=tuple(str(n) for n in stored["names"]),
        regions=tuple(str(n) for n in stored["regions"]),
        vertices=(stored["vertices"] / _FIXED_POINT).astype(np.float32),
        faces=stored["faces"].astype(np.int32),
        face_regions=stored["face_regions"].astype(np.int32),
        weight_joints=stored["weight_joints"].astype(np.int32),
        weights=weights / weights.sum(axis=1, keepdims=True),
        joint_parents=tuple(int(p) for p in stored["joint_parents"]),
        joint_heads=stored["joint_heads"],
        alignment=stored["alignment"],
        landmarks=stored["landmarks"],
    )


@cache
def _standing_root_height(body: int) -> float:
    """Height of the root over the soles with straight, aligned legs, in metres."""
    people = bodies()
    zero = np.zeros((1, 3), dtype=np.float32)
    rest = PoseTrack(root=zero, joints=_zero_pose(1))
    matrices = _skin_from(*_kinematics(rest.joints, zero.astype(np.float64), body), body)
    return -float(skin(matrices[0], people.vertices[body])[:, 2].min())


def _zero_pose(num_frames: int) -> np.ndarray:
    joints = np.zeros((num_frames, NUM_JOINTS, 4), dtype=np.float32)
    joints[..., 0] = 1
    return joints


def body_scale(body: int) -> float:
    """How much a body enlarges the travel of a track: its standing hip height over that of the unit skeleton."""
    return _standing_root_height(body) / STANDING_HIPS


def body_height(body: int) -> float:
    """Height of a body, in metres."""
    z = bodies().vertices[body, :, 2]
    return float(z.max() - z.min())


def _kinematics(joints: np.ndarray, root: np.ndarray, body: int) -> tuple[np.ndarray, np.ndarray]:
    """World rotations (n, joints, 3, 3) and positions (n, joints, 3) of the joints of a body, root in metres."""
    people = bodies()
    local = rotations.to_matrix(joints.astype(np.float64))
    heads = people.joint_heads[body].astype(np.float64)
    align = people.alignment[body].astype(np.float64)
    turn, position = np.empty_like(local), np.empty((len(root), NUM_JOINTS, 3))
    turn[:, 0], position[:, 0] = local[:, 0], root
    for j in range(1, NUM_JOINTS):
        parent = people.joint_parents[j]
        turn[:, j] = turn[:, parent] @ local[:, j]
        position[:, j] = position[:, parent] + turn[:, parent] @ (align[parent] @ (heads[j] - heads[parent]))
    return turn, position


def _skin_from(turn: np.ndarray, position: np.ndarray, body: int) -> np.ndarray:
    """Skin matrices float32 (n, joints, 3, 4) from joint rotations and positions."""
    people = bodies()
    matrices = np.empty((*turn.shape[:2], 3, 4), dtype=np.float32)
    rotation = turn @ people.alignment[body].astype(np.float64)
    matrices[..., :3] = rotation
    matrices[..., 3] = position - (rotation @ people.joint_heads[body].astype(np.float64)[..., None])[..., 0]
    return matrices


def _scaled_root(track: PoseTrack, body: int) -> np.ndarray:
    anchor = np.array([*track.anchor, 0.0])
    return np.asarray(anchor + (track.root.astype(np.float64) - anchor) * body_scale(body))


def _lowest(track: PoseTrack, body: int) -> np.ndarray:
    """Height of a body's lowest vertex per frame, float64 (n,)."""
    matrices = _skin_from(*_kinematics(track.joints, _scaled_root(track, body), body), body)
    people = bodies()
    lowest = np.empty(len(track), dtype=np.float64)
    _lowest_vertices(matrices, people.vertices[body], people.weight_joints, people.weights, lowest)
    return lowest


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Moving average (twice) of (n, ...) over width frames with the ends held."""
    if width < 2 or len(values) < 2:
        return values
    for _ in range(2):
        before, after = width // 2, width - 1 - width // 2
        padded = np.concatenate([np.repeat(values[:1], before + 1, 0), values, np.repeat(values[-1:], after, 0)])
        total = np.cumsum(padded, axis=0)
        values = (total[width:] - total[:-width]) / width
    return values


def lowest_point(track: PoseTrack) -> np.ndarray:
    """Height of the reference body's lowest vertex per frame, in unit-leg metres, float64 (n,)."""
    return _lowest(track, REFERENCE_BODY) / body_scale(REFERENCE_BODY)


def grounding(track: PoseTrack, body: int) -> np.ndarray:
    """What to add to a body's height per frame so that it touches what the reference body touches, float64 (n,)."""
    if body == REFERENCE_BODY:
        return np.zeros(len(track))
    wanted = _lowest(track, REFERENCE_BODY) * body_scale(body) / body_scale(REFERENCE_BODY)
    return smooth(wanted - _lowest(track, body), 5)


def joint_frames(track: PoseTrack, body: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a body's joints are.

    Args:
        track: A motion of n frames.
        body: Index into ``bodies()``.

    Returns:
        Rotations float64 (n, joints, 3, 3) and positions float64 (n, joints, 3) in metres, in the track's frame.
    """
    root = _scaled_root(track, body)
    root[:, 2] += grounding(track, body)
    return _kinematics(track.joints, root, body)


def skin_matrices(track: PoseTrack, body: int) -> np.ndarray:
    """Matrices that take rest-pose vertices to posed ones, float32 (n, joints, 3, 4)."""
    return _skin_from(*joint_frames(track, body), body)


def landmark_positions(track: PoseTrack, body: int) -> np.ndarray:
    """Palms, head centre, soles and crown (see ``RIGHT_PALM`` ...), float32 (n, 6, 3) in the track's frame."""
    matrices = skin_matrices(track, body)[:, list(LANDMARK_JOINTS)]
    points = bodies().landmarks[body]
    return np.asarray(np.einsum("nkab,kb->nka", matrices[..., :3], points) + matrices[..., 3], dtype=np.float32)


def skin(matrices: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Poses a body once.

    Args:
        matrices: float32 (joints, 3, 4), from ``skin_matrices``.
        rest: float32 (vertices, 3).

    Returns:
        float32 (vertices, 3).
    """
    people = bodies()
    out = np.empty_like(rest)
    skin_into(matrices, rest, people.weight_joints, people.weights, out)
    return out


@kernel(fastmath=True)
def skin_into(matrices: np.ndarray, rest: np.ndarray, joints: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Linear blend skinning: matrices (joints, 3, 4), rest and out (vertices, 3), joints and weights (vertices, 4)."""
    for i in range(rest.shape[0]):
        a, b, c = rest[i, 0], rest[i, 1], rest[i, 2]
        x = y = z = np.float32(0)
        for k in range(4):
            w = weights[i, k]
            if w > 0:
                m = matrices[joints[i, k]]
                x += w * (m[0, 0] * a + m[0, 1] * b + m[0, 2] * c + m[0, 3])
                y += w * (m[1, 0] * a + m[1, 1] * b + m[1, 2] * c + m[1, 3])
                z += w * (m[2, 0] * a + m[2, 1] * b + m[2, 2] * c + m[2, 3])
        out[i, 0], out[i, 1], out[i, 2] = x, y, z


@kernel(fastmath=True)
def _lowest_vertices(
    matrices: np.ndarray, rest: np.ndarray, joints: np.ndarray, weights: np.ndarray, out: np.ndarray
) -> None:
    """Lowest z of the posed vertices per frame: matrices (n, joints, 3, 4), out float64 (n,)."""
    for n in range(matrices.shape[0]):
        low = np.float32(1e9)
        for i in range(rest.shape[0]):
            z = np.float32(0)
            for k in range(4):
                w = weights[i, k]
                if w > 0:
                    m = matrices[n, joints[i, k], 2]
                    z += w * (m[0] * rest[i, 0] + m[1] * rest[i, 1] + m[2] * rest[i, 2] + m[3])
            low = min(low, z)
        out[n] = low
