"""A video read once, frame by frame: its keyframes with the people on them and the clips the model needs.

A frame goes through, in this order: cut rule, ring of canvases, person detector (a few times a second), tube linker. A
keyframe is answered once the frames after it that its clip and its bridges need have been read.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from torch import Tensor

from tubelet.inference.cuts import CutFinder
from tubelet.inference.ring import FrameRing, mark_nearest
from tubelet.inference.tubes import LinkConfig, TubeBoxes, TubeLinker
from tubelet.types import PersonBoxes, Preprocess


@dataclass(frozen=True, kw_only=True, slots=True)
class Keyframe:
    """A keyframe with everything the model needs."""

    pts_seconds: float
    people: TubeBoxes
    frame_hw: tuple[int, int]
    clip: Tensor | None
    """uint8 (3, T, S, S); None where nobody is seen, so nothing is computed."""
    clip_keys: tuple[float, ...]
    """Time of the frame that each of the clip's T is: the same time is the same canvas."""
    shot_seconds: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When people are looked for: at every keyframe, and evenly between."""

    every_seconds: float
    """Time between keyframes, which lie at its multiples."""
    looks_per_keyframe: int
    """How often people are looked for from one keyframe to the next, the first of them included."""

    @property
    def spacing(self) -> float:
        """Seconds from one look to the next."""
        return self.every_seconds / self.looks_per_keyframe


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    """A keyframe that was looked at and waits for the frames after it."""

    keyframe_seconds: float
    frame_seconds: float
    """Of the frame nearest to it, on which people were looked for."""
    shot: int


class KeyframeReader:
    """What is remembered of a video while it is read: the last seconds, whatever its length.

    Args:
        preprocess: Of the model.
        fps: Of the video.
        look: Finds the people of a frame, given its time and its pixels, RGB uint8 (H, W, 3).
        schedule: When people are looked for.
        link: When boxes belong to one person. A gap of one look is bridged whatever it says.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        fps: float,
        *,
        look: Callable[[float, np.ndarray], PersonBoxes],
        schedule: Schedule,
        link: LinkConfig,
    ) -> None:
        step = preprocess.step_seconds(fps)
        span = (preprocess.num_frames - 1) * step
        gap = max(link.max_gap_seconds, 2.5 * schedule.spacing)
        self._find, self._schedule = look, schedule
        self._look_ahead, self._look_back = max(span / 2 + step, gap), span + step
        self._ring = FrameRing(preprocess, fps)
        self._linker = TubeLinker(replace(link, max_gap_seconds=gap))
        self._starts_shot = CutFinder()
        self._waiting: deque[_Waiting] = deque()
        self._cuts: list[float] = []
        self._before = 0.0

    def __call__(self, frames: Iterable[tuple[float, np.ndarray]]) -> Iterator[Keyframe]:
        """Yield the keyframes in order of time.

        Args:
            frames: (pts_seconds, RGB uint8 (H, W, 3)) of one video, in order of time.
        """
        for pts, frame, ticks in mark_nearest(frames, self._schedule.spacing):
            self._notice_cut(pts, frame)
            self._ring.add(pts, frame, self._shot)
            if ticks:
                self._look(pts, frame, ticks)
            yield from self._answered(pts)
            self._forget(pts)
        yield from self._answered(inf)

    @property
    def _shot(self) -> int:
        """The present shot: the number of cuts so far."""
        return len(self._cuts)

    def _notice_cut(self, pts_seconds: float, frame: np.ndarray) -> None:
        if self._starts_shot(frame):
            self._cuts.append((self._before + pts_seconds) / 2)  # between the last frame and the first
            self._linker.cut()
        self._before = pts_seconds

    def _look(self, pts_seconds: float, frame: np.ndarray, ticks: list[int]) -> None:
        """Look for people on the frame nearest to these multiples of the spacing, and note the keyframes of them."""
        self._linker.update(pts_seconds, self._find(pts_seconds, frame))
        for tick in ticks:
            number, between = divmod(tick, self._schedule.looks_per_keyframe)
            if not between:
                keyframe = number * self._schedule.every_seconds
                self._waiting.append(_Waiting(keyframe_seconds=keyframe, frame_seconds=pts_seconds, shot=self._shot))

    def _answered(self, pts_seconds: float) -> Iterator[Keyframe]:
        """Yield the keyframes that no frame after this time adds to."""
        while self._waiting and pts_seconds >= self._waiting[0].frame_seconds + self._look_ahead:
            yield self._keyframe(self._waiting.popleft())

    def _keyframe(self, waiting: _Waiting) -> Keyframe:
        begins = self._cuts[waiting.shot - 1] if waiting.shot else -inf
        ends = self._cuts[waiting.shot] if waiting.shot < len(self._cuts) else inf
        people = self._linker.at(waiting.frame_seconds)
        seen = self._ring.clip(waiting.keyframe_seconds, waiting.shot) if len(people.boxes) else None
        return Keyframe(
            pts_seconds=waiting.keyframe_seconds,
            people=people,
            frame_hw=self._ring.frame_hw,
            clip=None if seen is None else seen[0],
            clip_keys=() if seen is None else seen[1],
            shot_seconds=(begins, ends),
        )

    def _forget(self, pts_seconds: float) -> None:
        """Release what no keyframe from here on needs."""
        oldest = self._waiting[0].frame_seconds if self._waiting else pts_seconds
        self._linker.forget_before(oldest)
        self._ring.forget_before(oldest - self._look_back)
