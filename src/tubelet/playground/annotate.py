"""What is true about a rendered video: boxes, identities and labels at its keyframes.

Boxes come from the id buffer, labels from what each actor really did around the keyframe.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tubelet.playground import render
from tubelet.playground.actions import POSE
from tubelet.playground.render import RenderedFrame
from tubelet.playground.script import Span

WINDOW_SECONDS = 1.2
"""A label holds at a keyframe if it holds for half of this long around it."""
MIN_VISIBLE_PIXELS = 40
"""At 320 x 240; in proportion to the area at other sizes."""
MIN_VISIBLE_SHARE = 0.3
"""Of the pixels the actor would have in view with nothing in front."""
MIN_INSIDE_SHARE = 0.3
"""Of the area of the actor's whole box."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """One actor at one keyframe."""

    person_id: int
    """1, 2, ... inside a video."""
    box_norm: tuple[float, float, float, float]
    """xyxy in 0..1 of the frame."""
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyframeTruth:
    """Everybody at one instant."""

    pts_seconds: float
    people: tuple[Person, ...]
    ambiguous: bool
    """Somebody is in view but too hidden, or too far outside, to be annotated fairly: AVA excludes such keyframes."""


def keyframe_frames(num_frames: int, fps: float) -> list[tuple[int, float]]:
    """Return (frame, seconds) of each whole second from 1 that leaves half a second at the end."""
    last = int((num_frames - 1) / fps - 0.5 + 1e-9)
    return [(round(second * fps), float(second)) for second in range(1, last + 1)]


def middle_frame(num_frames: int, fps: float) -> list[tuple[int, float]]:
    """Return (frame, seconds) of a video's middle."""
    return [(num_frames // 2, round(num_frames // 2 / fps, 6))]


def thirds(num_frames: int, fps: float) -> list[tuple[int, float]]:
    """Return (frame, seconds) near the start, in the middle and near the end of a clip, to see where it goes."""
    return [(k, round(k / fps, 6)) for k in (num_frames // 6, num_frames // 2, num_frames - 1 - num_frames // 6)]


def labels_at(spans: Sequence[Span], frame: int, *, num_frames: int, fps: float) -> tuple[str, ...]:
    """Return an actor's labels at a frame: exactly one pose, then whatever else holds half of the window.

    Args:
        spans: What the actor does; together they cover the video.
        frame: The keyframe.
        num_frames: Length of the video, at which the window is cut.
        fps: Frames per second.
    """
    half = WINDOW_SECONDS / 2 * fps
    low, high = max(0, round(frame - half)), min(num_frames, round(frame + half) + 1)
    counts: Counter[str] = Counter()
    for span in spans:
        overlap = min(high, span.last) - max(low, span.first)
        if overlap > 0:
            counts.update(dict.fromkeys(span.labels, overlap))
    now = next(s.labels[0] for s in spans if s.first <= frame < s.last)
    poses = [(n, label == now, label) for label, n in counts.items() if label in POSE]
    pose = max(poses)[2]
    others = sorted(label for label, n in counts.items() if label not in POSE and n >= 0.5 * (high - low))
    return (pose, *others)


def truth_of(
    frame: RenderedFrame, labels: Sequence[tuple[str, ...]], *, pts_seconds: float, flipped: bool = False
) -> KeyframeTruth:
    """Return who can be seen in a rendered frame.

    Args:
        frame: As rendered.
        labels: Of every actor.
        pts_seconds: Time of the keyframe.
        flipped: The frame was rendered to be mirrored; boxes are mirrored too.
    """
    height, width = frame.ids.shape
    least = MIN_VISIBLE_PIXELS * height * width / (320 * 240)
    visible = render.visible_pixels(frame.ids, len(labels))
    people, ambiguous = [], False
    for k, box in enumerate(render.visible_boxes(frame.ids, len(labels))):
        if box is None:
            continue
        fair = bool(
            visible[k] >= least
            and visible[k] >= MIN_VISIBLE_SHARE * frame.full_pixels[k]
            and _inside(frame.full_boxes[k], width, height) >= MIN_INSIDE_SHARE
        )
        ambiguous |= not fair
        if fair:
            x1, y1, x2, y2 = box
            if flipped:
                x1, x2 = width - x2, width - x1
            norm = (round(x1 / width, 6), round(y1 / height, 6), round(x2 / width, 6), round(y2 / height, 6))
            people.append(Person(person_id=k + 1, box_norm=norm, labels=labels[k]))
    return KeyframeTruth(pts_seconds=pts_seconds, people=tuple(people), ambiguous=ambiguous)


def _inside(box: np.ndarray, width: int, height: int) -> float:
    """Return which share of a box lies in the frame; 0 for somebody behind the camera."""
    if np.isnan(box).any():
        return 0.0
    x1, y1, x2, y2 = (float(v) for v in box)
    area = max(x2 - x1, 1e-6) * max(y2 - y1, 1e-6)
    return max(0.0, min(x2, width) - max(x1, 0)) * max(0.0, min(y2, height) - max(y1, 0)) / area
