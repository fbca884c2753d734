"""The last seconds of a video as canvases, and which of its frames regular times fall on."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from tubelet.types import Preprocess
from tubelet.video.sampling import keyframe_times, nearest
from tubelet.video.transforms import to_canvas

# The ring keeps at most this many frames for each frame of a clip: from a fast camera, a clip's frames are at most an
# eighth of its step away from the wanted times, and memory does not grow.
RING_FRAMES_PER_STEP = 8


class FrameRing:
    """The canvases of the last seconds of a video, found again by time.

    Args:
        preprocess: Of the model.
        fps: Of the video.
    """

    def __init__(self, preprocess: Preprocess, fps: float) -> None:
        self._fit, self._sampling = preprocess.fit, preprocess.sampling(fps)
        self._least_apart = preprocess.step_seconds(fps) / RING_FRAMES_PER_STEP
        self._times: deque[float] = deque()
        self._canvases: deque[Tensor] = deque()
        self._shots: deque[int] = deque()
        self.frame_hw = (0, 0)
        """Height and width of the frames added, in pixels."""

    def __len__(self) -> int:
        return len(self._times)

    def add(self, pts_seconds: float, frame: np.ndarray, shot: int) -> None:
        """Add a frame, uint8 (H, W, 3), later than all before; frames closer together than needed are left out."""
        self.frame_hw = (frame.shape[0], frame.shape[1])
        if self._times and shot == self._shots[-1] and pts_seconds - self._times[-1] < self._least_apart - 1e-6:
            return
        picture = torch.from_numpy(frame).permute(2, 0, 1)[None]  # (1, 3, H, W)
        canvas, _ = to_canvas(picture, None, fit=self._fit)
        self._times.append(pts_seconds)
        self._canvases.append(canvas[0])
        self._shots.append(shot)

    def clip(self, center_seconds: float, shot: int) -> tuple[Tensor, tuple[float, ...]]:
        """Return uint8 (3, T, S, S), the frames of this shot nearest to the clip's times, and their own T times.

        Where the clip reaches over the ends of the shot, the shot's first or last frame is repeated: no clip in
        training shows two scenes.
        """
        kept = [i for i, s in enumerate(self._shots) if s == shot]
        times = np.array([self._times[i] for i in kept])
        wanted = np.array(keyframe_times(center_seconds, **self._sampling))
        chosen = [kept[i] for i in nearest(times, wanted)]
        return torch.stack([self._canvases[i] for i in chosen], dim=1), tuple(self._times[i] for i in chosen)

    def forget_before(self, pts_seconds: float) -> None:
        """Release frames from before this time."""
        while self._times and self._times[0] < pts_seconds:
            self._times.popleft(), self._canvases.popleft(), self._shots.popleft()


def mark_nearest(
    frames: Iterable[tuple[float, np.ndarray]], spacing: float
) -> Iterator[tuple[float, np.ndarray, list[int]]]:
    """Tell for each frame which multiples of ``spacing`` seconds it is the nearest frame of; runs one frame behind.

    Multiples before the first or after the last frame belong to no frame; of two equally near frames the earlier wins.

    Args:
        frames: (pts_seconds, uint8 (H, W, 3)) in order of time.
        spacing: Seconds.

    Yields:
        (pts_seconds, frame, [k, ...]) where k * spacing is nearest to this frame.
    """
    slack = 1e-6  # times are sums of fractions
    held: tuple[float, np.ndarray] | None = None
    low = 0.0
    for pts, frame in frames:
        if held is None:
            low = pts - 2 * slack  # the first frame answers its own time too
        else:
            middle = (held[0] + pts) / 2
            yield *held, _multiples(low, middle + slack, spacing)
            low = middle + slack
        held = (pts, frame)
    if held is not None:
        yield *held, _multiples(low, held[0] + slack, spacing)


def _multiples(low: float, high: float, spacing: float) -> list[int]:
    """Return all k with low < k * spacing <= high."""
    return list(range(int(np.floor(low / spacing)) + 1, int(np.floor(high / spacing)) + 1))
