"""An annotated copy of a video, and stills: boxes move between keyframes in step with each frame's own time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import inf
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from tubelet.boxes import pixel_boxes
from tubelet.inference.drawing import DrawnPerson, draw_people
from tubelet.inference.strip import Strip
from tubelet.inference.tubes import NOT_FOLLOWED
from tubelet.labels import LabelSpace
from tubelet.types import ActionDetections, InputError, VideoMeta
from tubelet.video.container import probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import iter_frames, read_frames
from tubelet.video.sound import open_sound
from tubelet.video.write import VideoWriter

# A smaller video is enlarged until its shorter side has this many pixels, so that text is readable and leaves room.
LEAST_SHORT_SIDE = 480
MOST_LONG_SIDE = 1280
# Somebody seen at one keyframe only is drawn for at most so long before and after it.
HOLD_SECONDS = 0.5

Person = tuple[np.ndarray, np.ndarray, int]
"""Box in 0..1 of the frame (4,), scores (K,), identity."""
TimedFrame = tuple[float, np.ndarray]
"""Time in seconds, pixels uint8 (H, W, 3)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """What was written."""

    path: Path
    num_frames: int
    num_repeated: int
    """Frames written twice because the input's rate varies and the output's does not."""
    num_dropped: int
    """Input frames that no output frame shows, for the same reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelStyle:
    """Which actions are written beside a person."""

    label_space: LabelSpace
    threshold: float | np.ndarray
    """Smallest score shown, of every class or (K,) of each."""
    top: int = 3
    """At most so many actions."""

    def actions(self, scores: np.ndarray) -> tuple[tuple[str, float], ...]:
        """Return names and scores of (K,) scores, best first."""
        shown = scores >= self.threshold
        order = [k for k in np.argsort(-scores, kind="stable") if shown[k]][: self.top]
        return tuple((self.label_space.names[k], float(scores[k])) for k in order)


def render(
    video: Path | str,
    moments: Iterable[ActionDetections],
    out: Path | str,
    *,
    style: LabelStyle,
    strip: bool = False,
    on_time: Callable[[float], None] | None = None,
) -> Rendered:
    """Write an annotated mp4 of a video.

    The output has the input's average frame rate; each of its frames shows the input frame of that time. Its sound is
    the input's.

    Args:
        video: The video the moments were found in.
        moments: In order of time; read as needed and to the end, so this may be a running localiser.
        out: The mp4, written whole or not at all.
        style: Which actions to write.
        strip: Also draw who did what in the last seconds, below the picture.
        on_time: Called with the time of each frame drawn, for progress.

    Raises:
        VideoError: The video cannot be read.
    """
    if Path(video).resolve() == Path(out).resolve():
        raise InputError(f"{out}: the annotated video would replace its own input; name another file")
    meta = probe(video)
    width, height = drawn_size(meta)
    timeline = Timeline(moments)
    written = repeated = dropped = 0
    frames = iter_frames(video, size=FrameSize(long_side=max(width, height)))
    lanes = Strip(height=height, width=width) if strip else None
    tall = height + (0 if lanes is None else lanes.height)
    with open_sound(video) as sound, VideoWriter(out, width=width, height=tall, fps=meta.fps, sound=sound) as writer:
        for (pts, frame), times_shown in _times_shown(frames, meta.fps):
            if times_shown == 0:
                dropped += 1
                continue
            people = _drawn_people((height, width), timeline.people(pts), style)
            drawn = draw_people(_fit(frame, width, height), people)
            if lanes is not None:
                drawn = lanes.below(drawn, pts, people)
            for _ in range(times_shown):
                writer.write(drawn)
            written, repeated = written + times_shown, repeated + times_shown - 1
            if on_time is not None:
                on_time(pts)
        timeline.read_all()
    return Rendered(path=Path(out), num_frames=written, num_repeated=repeated, num_dropped=dropped)


def _times_shown(frames: Iterable[TimedFrame], fps: float) -> Iterator[tuple[TimedFrame, int]]:
    """Yield each frame with the number of output frames that show it; 1 throughout at a constant rate.

    Output frame j shows the last frame that begins before (j + 1/2) / fps.
    """
    held: TimedFrame | None = None
    first, num_before = 0.0, 0
    for frame in frames:
        if held is None:
            first = frame[0]
        else:
            begins = int(np.floor((frame[0] - first) * fps + 0.5))
            yield held, begins - num_before
            num_before = begins
        held = frame
    if held is not None:
        yield held, 1


def stills(
    video: Path | str,
    moments: Sequence[ActionDetections],
    *,
    style: LabelStyle,
    max_side: int = 960,
    image_format: Literal["png", "jpeg"] = "jpeg",
) -> list[bytes]:
    """Return a picture of each of the chosen moments, as file contents.

    Args:
        video: The video the moments were found in.
        moments: The moments to show.
        style: Which actions to write.
        max_side: Longest side of a picture in pixels.
        image_format: Of the contents.
    """
    if not moments:
        return []
    width, height = drawn_size(probe(video), most_long_side=max_side)
    times = [m.pts_seconds for m in moments]
    frames = read_frames(video, times, size=FrameSize(long_side=max(width, height))).frames
    pictures = []
    for frame, moment in zip(frames, moments):
        people = [(moment.boxes_norm[i], moment.scores[i], int(p)) for i, p in enumerate(moment.person_ids)]
        shown = _fit(frame.permute(1, 2, 0).numpy(), width, height)
        drawn = draw_people(shown, _drawn_people((height, width), people, style))
        buffer = BytesIO()
        Image.fromarray(drawn).save(buffer, format=image_format, **({"quality": 88} if image_format == "jpeg" else {}))
        pictures.append(buffer.getvalue())
    return pictures


def drawn_size(meta: VideoMeta, *, most_long_side: int = MOST_LONG_SIDE) -> tuple[int, int]:
    """Return the (width, height) to draw at: readable, not huge, even, the aspect kept to a pixel."""
    short, long = sorted((meta.width, meta.height))
    scale = min(max(1.0, LEAST_SHORT_SIDE / short), most_long_side / long)
    return max(2, 2 * round(meta.width * scale / 2)), max(2, 2 * round(meta.height * scale / 2))


class Timeline:
    """Who is where at any time, from moments read one at a time; ask for later and later times."""

    def __init__(self, moments: Iterable[ActionDetections]) -> None:
        self._moments: Iterator[ActionDetections] = iter(moments)
        self._before: ActionDetections | None = None
        self._after: ActionDetections | None = next(self._moments, None)

    def people(self, pts_seconds: float) -> list[Person]:
        """Return the people at a time.

        Somebody in the keyframes before and after moves evenly between them. Somebody in only one of them is drawn in
        the half interval next to it, from or to the cut if there is one, and never in another shot.
        """
        while self._after is not None and self._after.pts_seconds <= pts_seconds:
            self._before, self._after = self._after, next(self._moments, None)
        before, after = self._before, self._after
        start, end = _span(before, after)
        both = _in_both(before, after)
        found = [_between(before, after, *rows, (pts_seconds - start) / (end - start)) for rows in both]
        leaves = inf if before is None else before.shot_seconds[1]
        enters = -inf if after is None else after.shot_seconds[0]
        hold = HOLD_SECONDS if leaves <= end or enters > start else min(HOLD_SECONDS, (end - start) / 2)
        if before is not None and pts_seconds < leaves and pts_seconds - start < hold:
            found += _alone(before, {i for i, _ in both})
        if after is not None and pts_seconds >= enters and end - pts_seconds <= hold:
            found += _alone(after, {j for _, j in both})
        return found

    def read_all(self) -> None:
        """Read the moments that no frame needed: whoever also writes them down must see them all."""
        for _ in self._moments:
            pass


def _span(before: ActionDetections | None, after: ActionDetections | None) -> tuple[float, float]:
    """Return the times of two keyframes; a missing one lies two holding times away."""
    if before is None:
        end = after.pts_seconds if after is not None else 0.0
        return end - 2 * HOLD_SECONDS, end
    return before.pts_seconds, before.pts_seconds + 2 * HOLD_SECONDS if after is None else after.pts_seconds


def _in_both(before: ActionDetections | None, after: ActionDetections | None) -> list[tuple[int, int]]:
    """Return the rows of those who are followed from one keyframe to the other."""
    if before is None or after is None:
        return []
    rows = {int(p): j for j, p in enumerate(after.person_ids) if p != NOT_FOLLOWED}
    return [(i, rows[int(p)]) for i, p in enumerate(before.person_ids) if int(p) in rows]


def _between(before: ActionDetections | None, after: ActionDetections | None, i: int, j: int, share: float) -> Person:
    assert before is not None
    assert after is not None
    box = (1 - share) * before.boxes_norm[i] + share * after.boxes_norm[j]
    scores = (1 - share) * before.scores[i] + share * after.scores[j]
    return box, scores, int(before.person_ids[i])


def _alone(moment: ActionDetections, others: set[int]) -> list[Person]:
    """Return everybody of a keyframe but the rows given."""
    rows = [i for i in range(len(moment.person_ids)) if i not in others]
    return [(moment.boxes_norm[i], moment.scores[i], int(moment.person_ids[i])) for i in rows]


def _drawn_people(frame_hw: tuple[int, int], people: list[Person], style: LabelStyle) -> list[DrawnPerson]:
    drawn = []
    for box_norm, scores, person in people:
        x1, y1, x2, y2 = (float(v) for v in pixel_boxes(box_norm, frame_hw))
        drawn.append(DrawnPerson(box=(x1, y1, x2, y2), person_id=person, actions=style.actions(scores)))
    return drawn


def _fit(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))
