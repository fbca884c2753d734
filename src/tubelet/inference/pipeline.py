"""From a raw video to who does what, where and when, moment by moment and in constant memory.

A frame goes through, in this order: cut rule, ring of canvases, person detector (a few times a second), tube linker. A
keyframe is answered once the frames after it that its clip and its bridges need have been read.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from tubelet.inference.cuts import CutFinder
from tubelet.inference.people import NanoDetDetector, PersonDetector
from tubelet.inference.ring import FrameRing, mark_nearest
from tubelet.inference.tubes import LinkConfig, TubeBoxes, TubeLinker, smooth_scores
from tubelet.labels import LabelSpace
from tubelet.models.model import VideoModel
from tubelet.models.precision import default_autocast
from tubelet.models.saved import LoadedModel, load_model, probabilities
from tubelet.types import ActionDetections, InputError, Preprocess
from tubelet.video.container import probe
from tubelet.video.decode import iter_frames
from tubelet.video.transforms import canvas_boxes, normalise, placement, shown_boxes

# Longer side, at most, of the frames that detector and canvases are made from; NanoDet looks at 416 pixels.
DECODE_SIDE = 640


@dataclass(frozen=True, kw_only=True, slots=True)
class _Keyframe:
    """A keyframe with everything the model needs."""

    pts_seconds: float
    people: TubeBoxes
    frame_hw: tuple[int, int]
    clip: Tensor | None
    """uint8 (3, T, S, S); None where nobody is seen, so nothing is computed."""
    shot_seconds: tuple[float, float]


class Localiser:
    """Person boxes, identities and action scores at regular keyframes of a video.

    Args:
        loaded: A trained model with a localisation head.
        task: Name of the head; None = the model's first localisation head.
        people: Person detector; None = the one that ships (NanoDet-g).
        every_seconds: Time between keyframes; keyframes lie at its multiples.
        detect_every: Look for people at about every n-th sampled frame of the model's clip; 1 follows best, more is
            faster. People are looked for at every keyframe in any case.
        link: When boxes belong to one person.
        smooth: Weight of a person's scores at the keyframes before and after, where the keyframe has 1; 0 = off.
        batch_size: Clips computed together.
        device: Where the model is moved to; None = it stays where it is.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        task: str | None = None,
        people: PersonDetector | None = None,
        every_seconds: float = 0.5,
        detect_every: int = 1,
        link: LinkConfig | None = None,
        smooth: float = 0.5,
        batch_size: int = 4,
        device: torch.device | str | None = None,
    ) -> None:
        if not every_seconds > 0 or detect_every < 1 or batch_size < 1:
            raise InputError("every_seconds must be above 0, detect_every and batch_size at least 1")
        self.link = link or LinkConfig()
        self.task = loaded.task_of_kind("localise", task)
        self.label_space: LabelSpace = loaded.label_spaces[self.task]
        self.preprocess: Preprocess = loaded.preprocess
        self.every_seconds = every_seconds
        self._score_kind = loaded.score_kinds[self.task]
        self._model, self._device = placed_model(loaded, device)
        self._people = people or NanoDetDetector(threshold=self.link.keep_score, device=self._device)
        self._smooth, self._batch_size = smooth, batch_size
        self._detect_every = detect_every

    @classmethod
    def load(cls, folder: Path | str, *, task: str | None = None, every_seconds: float = 0.5) -> Self:
        """Build a localiser from a run folder."""
        return cls(load_model(folder), task=task, every_seconds=every_seconds)

    def __call__(
        self, video: Path | str, *, on_time: Callable[[float], None] | None = None
    ) -> Iterator[ActionDetections]:
        """Yield one moment for every keyframe, in order of time, also where nobody is seen.

        Args:
            video: A video file.
            on_time: Called with the time of each keyframe when it has been computed, for progress.

        Raises:
            VideoError: The file cannot be read; moments before the broken place have been yielded by then.
        """
        for moment in smooth_scores(self._scored(str(video), self._keyframes(video)), weight=self._smooth):
            if on_time is not None:
                on_time(moment.pts_seconds)
            yield moment

    def _keyframes(self, video: Path | str) -> Iterator[_Keyframe]:
        """Read the video once; yield its keyframes with people and clips."""
        meta = probe(video)
        step = self.preprocess.step_seconds(meta.fps)
        span = (self.preprocess.num_frames - 1) * step
        detections_per_keyframe = max(1, round(self.every_seconds / (self._detect_every * step)))
        spacing = self.every_seconds / detections_per_keyframe
        link = self._link_for(spacing)
        look_ahead = max(span / 2 + step, link.max_gap_seconds)
        look_back = span + step
        ring, linker, starts_shot = FrameRing(self.preprocess, meta.fps), TubeLinker(link), CutFinder()
        pending: deque[tuple[float, float, int]] = deque()  # keyframe, time of the frame nearest to it, its shot
        cuts: list[float] = []  # where shots 1, 2, ... begin: halfway between the last and the first frame
        before = 0.0
        frames = iter_frames(video, long_side=DECODE_SIDE, shrink_only=True)
        for pts, frame, ticks in mark_nearest(frames, spacing):
            if starts_shot(frame):
                cuts.append((before + pts) / 2)
                linker.cut()
            before = pts
            ring.add(pts, frame, len(cuts))
            if ticks:
                (people,) = self._people([frame])
                linker.update(pts, people)
                keyframes = (k for k in ticks if k % detections_per_keyframe == 0)
                pending.extend((k * spacing, pts, len(cuts)) for k in keyframes)
            while pending and pts >= pending[0][1] + look_ahead:
                yield self._keyframe(pending.popleft(), ring, linker, cuts)
            oldest = pending[0][1] if pending else pts
            linker.forget_before(oldest)
            ring.forget_before(oldest - look_back)
        while pending:
            yield self._keyframe(pending.popleft(), ring, linker, cuts)

    def _link_for(self, spacing: float) -> LinkConfig:
        """Return the link settings with a gap that survives one missed detection at this spacing."""
        return replace(self.link, max_gap_seconds=max(self.link.max_gap_seconds, 2.5 * spacing))

    def _keyframe(
        self, place: tuple[float, float, int], ring: FrameRing, linker: TubeLinker, cuts: Sequence[float]
    ) -> _Keyframe:
        keyframe, at, shot = place
        span = (cuts[shot - 1] if shot else -inf, cuts[shot] if shot < len(cuts) else inf)
        people = linker.at(at)
        clip = ring.clip(keyframe, shot) if len(people.boxes) else None
        return _Keyframe(pts_seconds=keyframe, people=people, frame_hw=ring.frame_hw, clip=clip, shot_seconds=span)

    def _scored(self, video: str, keyframes: Iterable[_Keyframe]) -> Iterator[ActionDetections]:
        """Run the model on groups of keyframes."""
        group: list[_Keyframe] = []
        for keyframe in keyframes:
            group.append(keyframe)
            if len(group) == self._batch_size:
                yield from self._score(video, group)
                group = []
        yield from self._score(video, group)

    @torch.inference_mode()
    def _score(self, video: str, group: list[_Keyframe]) -> list[ActionDetections]:
        boxes_norm = [_normalised(k.people.boxes, k.frame_hw) for k in group]
        clips = [k.clip for k in group if k.clip is not None]
        scores = torch.zeros(0, len(self.label_space))
        if clips:
            counts = torch.tensor([len(k.people.boxes) for k in group if k.clip is not None])
            on_canvas = [self._on_canvas(b, k.frame_hw) for b, k in zip(boxes_norm, group) if len(b)]
            batch = torch.stack(clips).to(self._device)
            with default_autocast(self._device):
                logits = self._model(
                    normalise(batch, self.preprocess),
                    self.task,
                    torch.cat(on_canvas).to(self._device),
                    torch.repeat_interleave(torch.arange(len(clips)), counts).to(self._device),
                )
            scores = probabilities(logits, self._score_kind).cpu()
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


def _normalised(boxes: np.ndarray, frame_hw: tuple[int, int]) -> np.ndarray:
    height, width = frame_hw
    scale = np.array([width, height, width, height], dtype=np.float32)
    return np.clip(boxes / scale, 0, 1).astype(np.float32)


def placed_model(loaded: LoadedModel, device: torch.device | str | None) -> tuple[VideoModel, torch.device]:
    """Return the model in evaluation mode and the device it is on."""
    place = next(loaded.model.parameters()).device if device is None else torch.device(device)
    return loaded.model.to(place).eval(), place
