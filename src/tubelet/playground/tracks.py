"""Operations on pose tracks: resample, mirror, layer, concatenate, place, add style."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tubelet.playground import rotations, skeleton
from tubelet.playground.scene import NUM_JOINTS, PoseTrack
from tubelet.playground.skeleton import CHEST, NECK, ROOT

UPPER_JOINTS = (CHEST, NECK, skeleton.RIGHT_SHOULDER, skeleton.RIGHT_ELBOW, skeleton.LEFT_SHOULDER, skeleton.LEFT_ELBOW)
_MIRRORED_JOINTS = (0, 1, 2, 8, 9, 10, 11, 12, 3, 4, 5, 6, 7)


def make_track(root: np.ndarray, joints: np.ndarray, anchor: tuple[float, float] = (0.0, 0.0)) -> PoseTrack:
    """A track from arrays of any float type; quaternions are normalised."""
    unit = rotations.normalise(np.asarray(joints, dtype=np.float64))
    return PoseTrack(root=np.asarray(root, dtype=np.float32), joints=unit.astype(np.float32), anchor=anchor)


def resample(track: PoseTrack, frames: np.ndarray) -> PoseTrack:
    """A track at fractional frame numbers (n,), held at its ends."""
    frames = np.clip(frames, 0, len(track) - 1)
    first = np.minimum(frames.astype(int), max(len(track) - 2, 0))
    second = np.minimum(first + 1, len(track) - 1)
    share = frames - first
    root = track.root[first] * (1 - share[:, None]) + track.root[second] * share[:, None]
    joints = rotations.blend(
        track.joints[first].astype(np.float64), track.joints[second].astype(np.float64), share[:, None]
    )
    return make_track(root, joints, track.anchor)


def mirror(track: PoseTrack) -> PoseTrack:
    """Swaps left and right: reflects the world in the plane y = 0. Twice is the identity."""
    joints = track.joints[:, list(_MIRRORED_JOINTS)] * np.array([1, -1, 1, -1], dtype=np.float32)
    root = track.root * np.array([1, -1, 1], dtype=np.float32)
    return PoseTrack(root=root, joints=joints, anchor=(track.anchor[0], -track.anchor[1]))


def turn(track: PoseTrack, yaw: float, shift: tuple[float, float] = (0.0, 0.0)) -> PoseTrack:
    """Turns a track by yaw radians about the origin, then shifts it by metres."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    root = track.root.astype(np.float64)
    x = cosine * root[:, 0] - sine * root[:, 1] + shift[0]
    y = sine * root[:, 0] + cosine * root[:, 1] + shift[1]
    joints = track.joints.astype(np.float64)
    joints[:, ROOT] = rotations.multiply(rotations.yaw(np.full(len(track), yaw)), joints[:, ROOT])
    ax, ay = track.anchor
    anchor = (float(cosine * ax - sine * ay + shift[0]), float(sine * ax + cosine * ay + shift[1]))
    return make_track(np.stack([x, y, root[:, 2]], axis=1), joints, anchor)


def place(track: PoseTrack, *, position_xy: tuple[float, float], yaw: float, at_frame: int = 0) -> PoseTrack:
    """Moves a local track into the world.

    Args:
        track: In the local frame.
        position_xy: Where the root is at frame ``at_frame``, for a body of any size, in metres.
        yaw: Where local +x points, radians from world +x.
        at_frame: The frame that is at position_xy.
    """
    turned = turn(track, yaw)
    x, y = (float(v) for v in turned.root[at_frame, :2])
    moved = turn(turned, 0.0, (position_xy[0] - x, position_xy[1] - y))
    return replace(moved, anchor=position_xy)


def layer(lower: PoseTrack, upper: PoseTrack) -> PoseTrack:
    """Legs and root of one track with chest, neck and arms of another.

    The root's sway belongs to the legs; the upper body keeps its own lean (the tilt of its own root), so that a bend
    stays a bend.

    Raises:
        ValueError: If the tracks differ in length.
    """
    if len(lower) != len(upper):
        raise ValueError(f"tracks of {len(lower)} and {len(upper)} frames cannot be layered")
    joints = lower.joints.copy()
    joints[:, list(UPPER_JOINTS)] = upper.joints[:, list(UPPER_JOINTS)]
    return replace(lower, joints=joints)


def concatenate(tracks: Sequence[PoseTrack], *, blend_seconds: float, fps: float) -> PoseTrack:
    """Plays tracks one after the other, each from where the last one ended and the way it faced.

    The first frames of each next track are blended with the held last pose of the one before.

    Args:
        tracks: Local tracks; the next one's first frame is moved to the last one's last frame.
        blend_seconds: Length of a blend.
        fps: Frames per second of all tracks.

    Returns:
        A track as long as all of them together.
    """
    result = tracks[0]
    for track in tracks[1:]:
        end, angle = result.root[-1].astype(np.float64), float(rotations.heading(result.joints[-1, ROOT]))
        start, other = track.root[0].astype(np.float64), float(rotations.heading(track.joints[0, ROOT]))
        moved = turn(
            turn(track, 0.0, (-float(start[0]), -float(start[1]))), angle - other, (float(end[0]), float(end[1]))
        )
        count = min(round(blend_seconds * fps), len(moved) - 1)
        root, joints = moved.root.astype(np.float64), moved.joints.astype(np.float64)
        if count > 0:
            share = (np.arange(1, count + 1) / (count + 1)) ** 2
            share = share * (3 - 2 * np.sqrt(share))  # smoothstep of the linear time, so the blend has no kink
            root[:count, 2] = end[2] + share * (root[:count, 2] - end[2])
            held = np.broadcast_to(result.joints[-1].astype(np.float64), (count, NUM_JOINTS, 4))
            joints[:count] = rotations.blend(held, joints[:count], share[:, None])
        result = make_track(np.concatenate([result.root, root]), np.concatenate([result.joints, joints]), result.anchor)
    return result


def amplify(track: PoseTrack, amplitude: float) -> PoseTrack:
    """Scales the upper body's movement about its mean pose: 1 leaves a track as it is."""
    if amplitude == 1.0:
        return track
    joints = track.joints.astype(np.float64)
    for j in UPPER_JOINTS:
        q = joints[:, j]
        mean = rotations.normalise((q * np.where(q @ q[0] < 0, -1.0, 1.0)[:, None]).mean(axis=0))
        delta = rotations.multiply(rotations.conjugate(mean)[None], q)
        joints[:, j] = rotations.multiply(np.broadcast_to(mean, q.shape), rotations.scale_angle(delta, amplitude))
    return make_track(track.root, joints, track.anchor)


def style_noise(track: PoseTrack, rng: np.random.Generator, *, fps: float) -> PoseTrack:
    """A person's own way of moving: small joint rotations, constant and slowly varying.

    They are about 5 degrees on the arms and 1.5 on the legs.

    Args:
        track: Any track.
        rng: Decides the style.
        fps: Of the track.
    """
    seconds = np.arange(len(track)) / fps
    scale = np.full(NUM_JOINTS, np.radians(1.5))
    scale[list(UPPER_JOINTS)] = np.radians(5.0)
    scale[ROOT] = np.radians(1.0)
    constant = rng.normal(size=(NUM_JOINTS, 3)) * scale[:, None]
    amount = rng.normal(size=(2, NUM_JOINTS, 3)) * scale[:, None] * 0.35
    rate = rng.uniform(0.15, 0.6, size=(2, NUM_JOINTS, 3))
    phase = rng.uniform(0, 2 * np.pi, size=(2, NUM_JOINTS, 3))
    drift = (amount * np.sin(2 * np.pi * rate * seconds[:, None, None, None] + phase)).sum(axis=1)
    delta = rotations.from_vector(constant + drift)
    return make_track(track.root, rotations.multiply(track.joints.astype(np.float64), delta), track.anchor)
