"""What scores the people of a clip: a model of ours, or a graph that one was exported to."""

from collections.abc import Hashable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tubelet.inference.detections_file import THRESHOLD
from tubelet.labels import LabelSpace
from tubelet.models.model import VideoModel
from tubelet.models.precision import default_autocast
from tubelet.models.saved import LoadedModel, probabilities
from tubelet.models.vivit import ViViT
from tubelet.types import Preprocess
from tubelet.video.normalise import normalise

FrameKeys = Sequence[Hashable]
"""One for each frame of a clip; the same key is the same canvas."""


class ActionModel(Protocol):
    """Scores people; read-only."""

    @property
    def task(self) -> str:
        """Name of the head."""
        ...

    @property
    def label_space(self) -> LabelSpace:
        """Its K classes."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """What a clip is made like."""
        ...

    @property
    def thresholds(self) -> np.ndarray:
        """float32 (K,): from which score on each action is said to happen."""
        ...

    def __call__(self, clips: Tensor, boxes: Tensor, box_clip: Tensor, keys: Sequence[FrameKeys]) -> Tensor:
        """Return float32 scores (N, K) in [0, 1], on the CPU.

        Args:
            clips: uint8 (B, 3, T, S, S).
            boxes: float32 (N, 4) xyxy in pixels of the canvas.
            box_clip: int64 (N,), the clip of each box.
            keys: Of the frames of each clip.
        """
        ...


class TorchActionModel:
    """A trained model's localisation head.

    A spatial encoder sees one tubelet at a time, so the tokens of a tubelet that several clips have in common are
    computed once (Factorised Encoder without class tokens, whose input does not depend on the clip's mean frame).

    Args:
        loaded: The model.
        task: Name of the head; None = its first localisation head.
        device: Where the model is moved to; None = it stays where it is.
    """

    def __init__(
        self, loaded: LoadedModel, *, task: str | None = None, device: torch.device | str | None = None
    ) -> None:
        self.task = loaded.task_of_kind("localise", task)
        self.label_space: LabelSpace = loaded.label_spaces[self.task]
        self.preprocess: Preprocess = loaded.preprocess
        chosen = loaded.thresholds.get(self.task) or (THRESHOLD,) * len(self.label_space)
        self.thresholds = np.array(chosen, dtype=np.float32)
        self.model, self.device = placed_model(loaded, device)
        self._score_kind = loaded.score_kinds[self.task]
        backbone, weights = self.model.backbone, (self.preprocess.still_weight, self.preprocess.motion_weight)
        shares = isinstance(backbone, ViViT) and backbone.is_by_time_step and weights == (1.0, 1.0)
        self._shared = _SharedTokens(backbone) if isinstance(backbone, ViViT) and shares else None

    @torch.inference_mode()
    def __call__(self, clips: Tensor, boxes: Tensor, box_clip: Tensor, keys: Sequence[FrameKeys]) -> Tensor:
        """Return float32 scores (N, K), as ``ActionModel`` says."""
        boxes, box_clip = boxes.to(self.device), box_clip.to(self.device)
        video = normalise(clips.to(self.device), self.preprocess)
        with default_autocast(self.device):
            if self._shared is None:
                logits: Tensor = self.model(video, self.task, boxes, box_clip)
            else:
                tokens = self._shared(video, keys)
                logits = self.model.heads[self.task](tokens, boxes, box_clip, self.model.backbone.stride)
        return probabilities(logits, self._score_kind).cpu()


class _SharedTokens:
    """The backbone's output, with the spatial encoder run once for each tubelet of the last clips."""

    def __init__(self, backbone: ViViT) -> None:
        self._backbone, self._length = backbone, backbone.config.tubelet
        self._kept: dict[tuple[Hashable, ...], Tensor] = {}

    def __call__(self, video: Tensor, keys: Sequence[FrameKeys]) -> Tensor:
        """Map (B, 3, T, S, S) to (B, t, h, w, D)."""
        n = self._length
        cut = [[tuple(clip[i : i + n]) for i in range(0, len(clip), n)] for clip in keys]
        places = {key: (b, i) for b, clip in enumerate(cut) for i, key in enumerate(clip)}
        new = {key: place for key, place in places.items() if key not in self._kept}
        # Nothing but these clips' own tubelets is kept: the next clips follow soon or share nothing.
        self._kept = {key: tokens for key, tokens in self._kept.items() if key in places}
        if new:
            tubelets = torch.stack([video[b, :, n * i : n * (i + 1)] for b, i in new.values()])
            self._kept |= zip(new, self._backbone.spatial_tokens(tubelets), strict=True)
        tokens = torch.stack([torch.cat([self._kept[key] for key in clip]) for clip in cut])
        return self._backbone.over_time(tokens)


def placed_model(loaded: LoadedModel, device: torch.device | str | None) -> tuple[VideoModel, torch.device]:
    """Return the model in evaluation mode and the device it is on."""
    place = next(loaded.model.parameters()).device if device is None else torch.device(device)
    return loaded.model.to(place).eval(), place
