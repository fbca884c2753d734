"""When the frames of annotated videos are shown, for annotations that count frames."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tubelet.data.sources.boxed_videos import BoxedVideo
from tubelet.data.sources.media_folder import MediaFolder
from tubelet.types import VideoError
from tubelet.video.frame_times import frame_times

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FrameClock:
    """When the frames of one video are shown."""

    fps: float
    """1 where the annotation says times instead of frames."""
    times: Sequence[float] | None = None
    """Of each frame, where the video says so; a rate is only their average."""

    @property
    def last(self) -> float:
        """Time of the last frame, for some containers claim to end before it; 0 where nothing says it."""
        return self.seconds(len(self.times) - 1) if self.times else 0.0

    def seconds(self, frame: float) -> float:
        """Return the time of a frame, from 0, to the microsecond; of one that the video does not have, infinity."""
        if self.times is None:
            return round(frame / self.fps, 6)
        return round(self.times[int(frame)], 6) if frame < len(self.times) else math.inf


def frame_clocks(
    media: MediaFolder, videos: Mapping[str, BoxedVideo], rate: Mapping[str, float], counts: dict[str, int]
) -> dict[str, FrameClock]:
    """Return when the frames of each video are shown; videos whose packets cannot be read are left out.

    Args:
        media: The listing.
        videos: Those annotated.
        rate: Frames per second of each, for folders of frames and files whose packets have no times.
        counts: ``videos_unreadable`` is added to it; the videos to ``media.left_out``.
    """
    clocks = {}
    for name, video in videos.items():
        try:
            times = None if media.is_frames(video.cell) else frame_times(media.root / video.cell)
        except VideoError as error:
            logger.warning("left out: %s", error)
            counts["videos_unreadable"] += 1
            media.left_out[video.cell] = error.reason
            continue
        clocks[name] = FrameClock(rate[name], times)
    return clocks


def lasting(videos: Mapping[str, BoxedVideo], clocks: Mapping[str, FrameClock]) -> dict[str, BoxedVideo]:
    """Return the videos that have a clock, none ending before its last frame is shown."""
    return {v: replace(videos[v], seconds=max(videos[v].seconds, clock.last)) for v, clock in clocks.items()}
