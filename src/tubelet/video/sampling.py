"""Which times of a video make a clip. Strides count frames of a given rate, so times do not depend on the file."""

from collections.abc import Sequence

import numpy as np
import torch

HOLE_SECONDS = 10.0
"""Videos of still pictures show one for seconds; longer, and the times are damaged or parts of the video are gone."""


def keyframe_times(
    center_seconds: float, *, num_frames: int, frame_stride: int, fps: float, whole_frames: bool = False
) -> list[float]:
    """Return the times of a clip around a keyframe.

    Frame ``num_frames // 2`` is the keyframe itself (as in the public AVA loaders: half the clip before, half after).
    Times may lie outside the video; the reader clamps and counts them.

    Args:
        center_seconds: Time of the keyframe.
        num_frames: Frames in the clip.
        frame_stride: Frames of ``fps`` from one sampled frame to the next.
        fps: Rate the stride counts in.
        whole_frames: As in ``types.Sampling``; the clip moves by half a frame at most.
    """
    step = _step(num_frames, frame_stride, fps)
    first = center_seconds - num_frames // 2 * step
    return _from(first, num_frames, step, fps, whole_frames)


def random_clip_times(
    start_seconds: float,
    end_seconds: float,
    *,
    num_frames: int,
    frame_stride: int,
    fps: float,
    whole_frames: bool = False,
    generator: torch.Generator,
) -> list[float]:
    """Return the times of a clip placed uniformly inside [start, end]; a shorter segment is centred in the clip.

    Args:
        start_seconds: Begin of the segment.
        end_seconds: End of the segment.
        num_frames: Frames in the clip.
        frame_stride: Frames of ``fps`` from one sampled frame to the next.
        fps: Rate the stride counts in.
        whole_frames: As in ``types.Sampling``.
        generator: The only source of randomness; one number is drawn.
    """
    step = _step(num_frames, frame_stride, fps)
    fraction = float(torch.rand((), generator=generator, dtype=torch.float64))
    first = _begin(start_seconds, end_seconds, fraction, span=(num_frames - 1) * step, frame=1 / fps)
    return _from(first, num_frames, step, fps, whole_frames)


def view_times(
    start_seconds: float,
    end_seconds: float,
    *,
    num_views: int,
    num_frames: int,
    frame_stride: int,
    fps: float,
    whole_frames: bool = False,
) -> list[list[float]]:
    """Return ``num_views`` clips spread evenly over [start, end]; one view is the centre, more touch both ends.

    Args:
        start_seconds: Begin of the segment.
        end_seconds: End of the segment.
        num_views: Clips to return, at least 1.
        num_frames: Frames in the clip.
        frame_stride: Frames of ``fps`` from one sampled frame to the next.
        fps: Rate the stride counts in.
        whole_frames: As in ``types.Sampling``.
    """
    if num_views < 1:
        raise ValueError(f"num_views must be at least 1, got {num_views}")
    step = _step(num_frames, frame_stride, fps)
    fractions = [0.5] if num_views == 1 else [i / (num_views - 1) for i in range(num_views)]
    span = (num_frames - 1) * step
    begins = [_begin(start_seconds, end_seconds, fraction, span=span, frame=1 / fps) for fraction in fractions]
    return [_from(first, num_frames, step, fps, whole_frames) for first in begins]


def nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return for each wanted time the index of the nearest of sorted ``times``; of two equally near the earlier."""
    after = np.clip(np.searchsorted(times, wanted), 0, len(times) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(wanted - times[before] <= times[after] - wanted, before, after)


def num_clamped(
    wanted: Sequence[float], shown: Sequence[float], first: float, last: float, *, frame_seconds: float
) -> int:
    """Return how many wanted times are answered by a frame that only stands in: outside the video, or in a hole of it.

    Args:
        wanted: In seconds.
        shown: The times of the frames that answer them.
        first: Time of the video's first frame.
        last: Time of its last frame.
        frame_seconds: From one frame to the next; a time no further outside is still inside.
    """
    slack = frame_seconds + 1e-6
    earliest, latest, furthest = first - slack, last + slack, max(slack, HOLE_SECONDS)
    return sum(
        not earliest <= time <= latest or abs(answer - time) > furthest
        for time, answer in zip(wanted, shown, strict=True)
    )


def _step(num_frames: int, frame_stride: int, fps: float) -> float:
    if num_frames < 1 or frame_stride < 1 or fps <= 0:
        raise ValueError(f"num_frames={num_frames}, frame_stride={frame_stride}, fps={fps} must all be positive")
    return frame_stride / fps


def _begin(start_seconds: float, end_seconds: float, fraction: float, *, span: float, frame: float) -> float:
    """Return the first time of a clip at ``fraction`` (0 = earliest, 1 = latest) of the room the segment leaves.

    The last frame of the segment begins one frame before its end, hence ``frame``.
    """
    room = (end_seconds - frame - start_seconds) - span
    return start_seconds + room * (fraction if room > 0 else 0.5)


def _from(first: float, num_frames: int, step: float, fps: float, whole_frames: bool) -> list[float]:
    first = round(first * fps) / fps if whole_frames else first
    return [first + i * step for i in range(num_frames)]
