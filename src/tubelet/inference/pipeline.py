"""From a raw video to who does what, where and when, moment by moment and in constant memory."""

import logging
from collections.abc import Callable, Iterable, Iterator
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tubelet.boxes import normalised_boxes
from tubelet.defaults import EVERY_SECONDS
from tubelet.inference.action_model import ActionModel, TorchActionModel
from tubelet.inference.listed_people import ListedPeople
from tubelet.inference.people import NanoDetDetector, PersonDetector
from tubelet.inference.reading import Keyframe, KeyframeReader, Schedule
from tubelet.inference.tubes import LinkConfig, smooth_scores
from tubelet.models.saved import LoadedModel
from tubelet.types import ActionDetections, InputError, PersonBoxes, VideoError, VideoMeta
from tubelet.video.container import probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import iter_frames
from tubelet.video.live import LiveSource, is_live
from tubelet.video.transforms import canvas_boxes, placement, shown_boxes

logger = logging.getLogger(__name__)

DECODE_SIZE = FrameSize(long_side=640, shrink_only=True)
"""Of the frames that detector and canvases are made from; NanoDet looks at 416 pixels."""
# Of 10, 5, 2 and 1 a second people are followed best at 5 (benchmarks/people.py; docs/localise.md has the table).
LOOKS_PER_SECOND = 5


class Localiser:
    """Person boxes, identities and action scores at regular keyframes of a video.

    Args:
        model: A trained model with a localisation head, or anything that scores people.
        task: Name of a trained model's head; None = the model's first localisation head.
        people: Person detector, or boxes that a file lists; None = the detector that ships (NanoDet-g).
        every_seconds: Time between keyframes; keyframes lie at its multiples.
        detect_every: Look for people at least at every n-th frame of the video, and at every keyframe; between, their
            boxes move evenly. None = as often as ``LOOKS_PER_SECOND`` says.
        link: When boxes belong to one person.
        smooth: Weight of a person's scores at the keyframes before and after, where the keyframe has 1; 0 = off.
        batch_size: Clips computed together.
        device: Where the model is moved to; None = it stays where it is.
    """

    def __init__(
        self,
        model: LoadedModel | ActionModel,
        *,
        task: str | None = None,
        people: PersonDetector | ListedPeople | None = None,
        every_seconds: float = EVERY_SECONDS,
        detect_every: int | None = None,
        link: LinkConfig | None = None,
        smooth: float = 0.5,
        batch_size: int = 4,
        device: torch.device | str | None = None,
    ) -> None:
        if not every_seconds > 0:
            raise InputError(f"every_seconds is {every_seconds}, expected more than 0")
        for name, number in (("detect_every", detect_every), ("batch_size", batch_size)):
            if number is not None and number < 1:
                raise InputError(f"{name} is {number}, expected at least 1")
        self._actions: ActionModel = (
            TorchActionModel(model, task=task, device=device) if isinstance(model, LoadedModel) else model
        )
        if task not in (None, self._actions.task):
            raise InputError(f"this model has the head {self._actions.task!r}, not {task!r}")
        self.link = link or LinkConfig()
        self.task, self.label_space = self._actions.task, self._actions.label_space
        self.preprocess, self.thresholds = self._actions.preprocess, self._actions.thresholds
        self.every_seconds = every_seconds
        self._people = people or NanoDetDetector(
            threshold=self.link.keep_score, device=None if device is None else torch.device(device)
        )
        self._smooth, self._batch_size = smooth, batch_size
        self._detect_every = detect_every

    def __call__(
        self, video: Path | str | LiveSource, *, on_time: Callable[[float], None] | None = None
    ) -> Iterator[ActionDetections]:
        """Yield one moment for every keyframe, in order of time, also where nobody is seen.

        Args:
            video: A video file, or a camera or stream: then a moment comes as soon as the frames have come that its
                clip and the gaps in its tubes need. Of one that is opened here the frames dropped are logged at its
                end; a ``LiveSource`` counts them.
            on_time: Called with the time of each keyframe when it has been computed, for progress.

        Raises:
            VideoError: The video cannot be read to its end; the moments of what was read have been yielded by then.
        """
        if isinstance(video, str) and is_live(video):
            with LiveSource(video, size=DECODE_SIZE) as source:
                yield from self(source, on_time=on_time)
                counts = source.counts
            if counts.dropped or counts.damaged:
                logger.warning("%s: %s", source.place, counts)
            return
        meta, frames = _opened(video)
        broken: list[VideoError] = []
        keyframes = self.keyframes(meta, _until_broken(frames, broken))
        at_once = 1 if isinstance(video, LiveSource) else self._batch_size
        for moment in smooth_scores(self._scored(meta.path, keyframes, at_once), weight=self._smooth):
            if on_time is not None:
                on_time(moment.pts_seconds)
            yield moment
        if broken:
            raise broken[0]

    def keyframes(self, meta: VideoMeta, frames: Iterable[tuple[float, np.ndarray]]) -> Iterator[Keyframe]:
        """Read a video's frames (seconds, RGB uint8 (H, W, 3)) once; yield its keyframes with people and clips."""
        schedule = self._schedule(meta.fps)
        look = self._look(Path(meta.path), schedule)
        read = KeyframeReader(self.preprocess, meta.fps, look=look, schedule=schedule, link=self.link)
        yield from read(frames)

    def _look(self, video: Path, schedule: Schedule) -> Callable[[float, np.ndarray], PersonBoxes]:
        """Return what finds the people of a frame of this video."""
        if isinstance(self._people, ListedPeople):
            return self._people.of_video(video, schedule.spacing / 2)
        detector = self._people
        return lambda pts_seconds, frame: detector([frame])[0]

    def _schedule(self, fps: float) -> Schedule:
        """Return when people are looked for in a video of this rate."""
        frames = self._detect_every or max(1, round(fps / LOOKS_PER_SECOND))
        looks = max(1, ceil(self.every_seconds * fps / frames - 1e-6))
        return Schedule(every_seconds=self.every_seconds, looks_per_keyframe=looks)

    def _scored(self, video: str, keyframes: Iterable[Keyframe], at_once: int) -> Iterator[ActionDetections]:
        """Run the model on groups of so many keyframes."""
        group: list[Keyframe] = []
        for keyframe in keyframes:
            group.append(keyframe)
            if len(group) == at_once:
                yield from self._score(video, group)
                group = []
        yield from self._score(video, group)

    def _score(self, video: str, group: list[Keyframe]) -> list[ActionDetections]:
        boxes_norm = [normalised_boxes(k.people.boxes, k.frame_hw) for k in group]
        seen = [k for k in group if k.clip is not None]
        scores = torch.zeros(0, len(self.label_space))
        if seen:
            counts = torch.tensor([len(k.people.boxes) for k in seen])
            scores = self._actions(
                torch.stack([k.clip for k in seen if k.clip is not None]),
                torch.cat([self._on_canvas(b, k.frame_hw) for b, k in zip(boxes_norm, group) if len(b)]),
                torch.repeat_interleave(torch.arange(len(seen)), counts),
                [k.clip_keys for k in seen],
            )
        rows = iter(torch.split(scores, [len(b) for b in boxes_norm]))
        return [
            ActionDetections(
                video=video,
                pts_seconds=k.pts_seconds,
                boxes_norm=boxes,
                scores=next(rows).numpy(),
                box_scores=k.people.scores,
                person_ids=k.people.person_ids,
                shot_seconds=k.shot_seconds,
            )
            for k, boxes in zip(group, boxes_norm)
        ]

    def _on_canvas(self, boxes_norm: np.ndarray, frame_hw: tuple[int, int]) -> Tensor:
        """Return boxes (N, 4) as the data set's views show them."""
        fit = self.preprocess.fit
        place = placement(*frame_hw, fit=fit)
        boxes = canvas_boxes(torch.from_numpy(boxes_norm), place)
        return boxes if fit.is_letterbox else shown_boxes(boxes, place.canvas_hw)[0]


def _opened(video: Path | str | LiveSource) -> tuple[VideoMeta, Iterator[tuple[float, np.ndarray]]]:
    if isinstance(video, LiveSource):
        return video.meta, video.frames()
    return probe(video), iter_frames(video, size=DECODE_SIZE)


def _until_broken(
    frames: Iterator[tuple[float, np.ndarray]], broken: list[VideoError]
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield frames and note the error that ends them: what they show is to be told first."""
    try:
        yield from frames
    except VideoError as error:
        broken.append(error)
