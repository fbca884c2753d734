"""What people do: motion-capture clips and key-framed gestures as tracks, and ways to layer them.

Tracks come in the actor's local frame: they start at the origin, facing +x (left is +y), soles at z = 0, in metres
for a body of unit leg scale. ``place`` moves them into the world.
"""

from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

import numpy as np

from tubelet.playground import gestures, rotations, skeleton
from tubelet.playground.scene import PoseTrack
from tubelet.playground.skeleton import ROOT, smooth
from tubelet.playground.tracks import (
    amplify,
    concatenate,
    layer,
    make_track,
    mirror,
    place,
    resample,
    style_noise,
    turn,
)

__all__ = [
    "GESTURES", "clip", "concatenate", "head_positions", "layer", "mirror", "motion_names",
    "once_seconds", "place", "style_noise",
]  # fmt: skip

GESTURES: tuple[str, ...] = tuple(gestures.GESTURES)
"""Key-framed gestures, each a valid ``name`` of ``clip``."""

_RATE = 60.0
"""Frames per second at which motion-capture clips are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Take:
    """How a captured clip is used."""

    travels: bool = False
    """Straighten it so that it moves along +x, in a loop."""
    loops: bool = True
    """Repeats at once; otherwise it plays, rests in a standing pose, and plays again."""
    airborne: bool = False
    """Leaves the ground, so that only sinking is corrected, not floating."""
    start: float = 0.0
    """Seconds cut from the start."""
    stop: float = 99.0


_CAPTURED: dict[str, _Take] = {
    "walk": _Take(travels=True),
    "run": _Take(travels=True, airborne=True),
    "crawl": _Take(travels=True),
    "dance_a": _Take(),
    "dance_b": _Take(),
    "jump": _Take(loops=False, airborne=True),
    "kick": _Take(loops=False, airborne=True),
    "spinkick": _Take(loops=False, airborne=True),
    "punch": _Take(loops=False),
    "getup_faceup": _Take(loops=False),
    "getup_facedown": _Take(loops=False),
    "roll": _Take(loops=False),
    "backflip": _Take(loops=False, airborne=True),
    "cartwheel": _Take(loops=False, airborne=True),
    "spin": _Take(),
}
_REST_SECONDS = 0.7
_LOOP_BLEND_SECONDS = 0.1
_REST_BLEND_SECONDS = 0.35


def motion_names() -> tuple[str, ...]:
    """Every name ``clip`` knows: captured takes, then gestures."""
    return (*_CAPTURED, *GESTURES)


@cache
def _captured(name: str) -> PoseTrack:
    """A captured clip at ``_RATE``, grounded, from the origin along +x."""
    with resources.files("tubelet.playground").joinpath("assets/motions.npz").open("rb") as file:
        stored = np.load(file)
        root, joints, seconds = stored[f"{name}.root"], stored[f"{name}.joints"], float(stored[f"{name}.seconds"])
    take = _CAPTURED[name]
    length = (len(root) - 1) * seconds
    times = np.arange(take.start, min(length, take.stop), 1 / _RATE)
    track = resample(make_track(root, joints), times / seconds)
    if take.travels:
        track = _straighten(track)
    else:
        facing = rotations.heading(track.joints[:, ROOT].astype(np.float64))
        track = turn(track, -float(facing[-1] if name.startswith("getup") else facing[0]))
    return _ground(turn(track, 0.0, (-float(track.root[0, 0]), -float(track.root[0, 1]))), take.airborne)


def _straighten(track: PoseTrack) -> PoseTrack:
    """Makes a cycle travel along +x, and end on the line and in the direction in which it started."""
    travel = track.root[-1] - track.root[0]
    track = turn(track, -float(np.arctan2(travel[1], travel[0])))
    share = np.linspace(0, 1, len(track))
    root = track.root.astype(np.float64)
    root[:, 1] -= root[0, 1] + share * (root[-1, 1] - root[0, 1])
    facing = rotations.heading(track.joints[:, ROOT].astype(np.float64))
    drift = np.angle(np.exp(1j * (facing[-1] - facing[0])))
    joints = track.joints.astype(np.float64)
    # Mean facing along the path: a walker looks where she goes.
    mean = float(np.angle(np.exp(1j * (facing - share * drift)).mean()))
    joints[:, ROOT] = rotations.multiply(rotations.yaw(-(mean + share * drift)), joints[:, ROOT])
    return make_track(root, joints)


def _ground(track: PoseTrack, airborne: bool) -> PoseTrack:
    """Puts the reference body on z = 0: on every frame, or at its low points only for clips that leave the ground."""
    low = skeleton.lowest_point(track)
    root = track.root.copy()
    if airborne:
        low = low - np.percentile(low, 20)
        root[:, 2] -= np.percentile(skeleton.lowest_point(track), 20)
        root[:, 2] += smooth(np.maximum(-low, 0), 7)
    else:
        root[:, 2] -= smooth(low, 5)
    return replace(track, root=root)


@cache
def _phrase(name: str) -> PoseTrack:
    """A captured clip with the standing rest that follows a clip that does not loop."""
    track = _captured(name)
    if _CAPTURED[name].loops:
        return track
    rest = gestures.make("stand", np.arange(round(_REST_SECONDS * _RATE)) / _RATE, amplitude=1.0)
    return concatenate([track, rest], blend_seconds=_REST_BLEND_SECONDS, fps=_RATE)


def _looped(name: str, seconds: float) -> PoseTrack:
    """Enough repetitions of a captured clip."""
    phrase = _phrase(name)
    repeats = 1 + int(np.ceil(seconds * _RATE / len(phrase)))
    blend = _LOOP_BLEND_SECONDS if _CAPTURED[name].loops else _REST_BLEND_SECONDS
    return concatenate([phrase] * repeats, blend_seconds=blend, fps=_RATE)


def once_seconds(name: str) -> tuple[float, float] | None:
    """Seconds of the action and of the action with its rest, for what plays once and rests; None for all else."""
    if name not in _CAPTURED or _CAPTURED[name].loops:
        return None
    return len(_captured(name)) / _RATE, len(_phrase(name)) / _RATE


def clip(
    name: str,
    *,
    fps: float,
    num_frames: int,
    start_seconds: float = 0.0,
    speed: float = 1.0,
    mirrored: bool = False,
    noise_rng: np.random.Generator | None = None,
    amplitude: float = 1.0,
) -> PoseTrack:
    """A motion as a track.

    Cyclic motions loop and travel; the others play once, rest standing, and play again.

    Args:
        name: A captured take or a gesture, of ``motion_names``.
        fps: Frames per second of the result.
        num_frames: Its length.
        start_seconds: Where in the motion to start, in the motion's own time.
        speed: 2 plays twice as fast; steps and travel stay in step.
        mirrored: Swap left and right.
        noise_rng: Adds a personal style drawn from it (and varies a gesture's key poses).
        amplitude: Scales how far the upper body moves.

    Returns:
        A track in the local frame that starts at the origin, facing +x.

    Raises:
        ValueError: If there is no motion of that name.
    """
    times = start_seconds + np.arange(num_frames) * (speed / fps)
    if name in gestures.GESTURES:
        track = gestures.make(name, times, amplitude=amplitude, rng=noise_rng)
    elif name in _CAPTURED:
        track = amplify(resample(_looped(name, float(times[-1])), times * _RATE), amplitude)
        track = turn(track, 0.0, (-float(track.root[0, 0]), -float(track.root[0, 1])))
        if not _CAPTURED[name].travels and not name.startswith("getup"):
            track = turn(track, -float(rotations.heading(track.joints[0, ROOT].astype(np.float64))))
    else:
        raise ValueError(f"no motion is called {name!r}; there are {', '.join(motion_names())}")
    if noise_rng is not None:
        track = style_noise(track, noise_rng, fps=fps)
    return mirror(track) if mirrored else track


def head_positions(track: PoseTrack, body: int) -> np.ndarray:
    """Centre of the head, float32 (n, 3), in the track's frame (world, once placed)."""
    return skeleton.landmark_positions(track, body)[:, skeleton.HEAD]
