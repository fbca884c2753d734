"""People found by the detection models of other PyTorch libraries, where those are installed."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tubelet.boxes import clip_boxes
from tubelet.types import InputError, PersonBoxes, first_line

COCO_PERSON = 1
"""Label of people in torchvision's detection models; 0 is its background."""


class TransformersDetector:
    """A detection model of transformers (DETR, RT-DETR, YOLOS, ...) with its own preprocessing.

    Args:
        name: Its folder, or its name on the hub.
        threshold: Least confidence of a box, in [0, 1].
        device: The CPU when None.

    Raises:
        InputError: transformers is not installed, the model cannot be loaded, or none of its labels is "person".
    """

    def __init__(self, name: str, *, threshold: float, device: torch.device | None = None) -> None:
        try:
            transformers: Any = import_module("transformers")
        except ImportError:
            raise InputError(f"{name}: needs transformers; pip install transformers") from None
        try:
            self._prepare: Any = transformers.AutoImageProcessor.from_pretrained(name)
            self._model: Any = transformers.AutoModelForObjectDetection.from_pretrained(name)
        except (OSError, ValueError, ImportError) as error:
            raise InputError(f"{name}: not a detection model of transformers ({first_line(error)})") from error
        labels = self._model.config.id2label
        self._person = [int(number) for number, label in labels.items() if label.lower() == "person"]
        if not self._person:
            raise InputError(f"{name}: none of its {len(labels)} labels is 'person'")
        self._device = device or torch.device("cpu")
        self._model = self._model.to(self._device).eval()
        self._threshold = threshold

    @torch.inference_mode()
    def __call__(self, frames: Sequence[np.ndarray]) -> list[PersonBoxes]:
        """Return the person boxes of each RGB uint8 (H, W, 3) frame, best first."""
        if not frames:
            return []
        inputs = self._prepare(images=list(frames), return_tensors="pt").to(self._device)
        sizes = [frame.shape[:2] for frame in frames]
        found = self._prepare.post_process_object_detection(
            self._model(**inputs), threshold=self._threshold, target_sizes=sizes
        )
        return [_people(one, self._person, self._threshold, hw) for one, hw in zip(found, sizes, strict=True)]


class TorchvisionDetector:
    """A detection model of torchvision, or any with its interface.

    Args:
        model: Takes a list of float (3, H, W) pictures in 0..1 and gives for each a dict of ``boxes`` (N, 4) xyxy in
            pixels, ``labels`` (N,) and ``scores`` (N,).
        threshold: Least confidence of a box, in [0, 1].
        person: Label of people.
        device: The CPU when None.
    """

    def __init__(
        self,
        model: Callable[[list[Tensor]], list[dict[str, Tensor]]],
        *,
        threshold: float,
        person: int = COCO_PERSON,
        device: torch.device | None = None,
    ) -> None:
        self._device = device or torch.device("cpu")
        self._model = model.to(self._device).eval() if isinstance(model, torch.nn.Module) else model
        self._threshold, self._person = threshold, person

    @torch.inference_mode()
    def __call__(self, frames: Sequence[np.ndarray]) -> list[PersonBoxes]:
        """Return the person boxes of each RGB uint8 (H, W, 3) frame, best first."""
        if not frames:
            return []
        pictures = [torch.from_numpy(frame).permute(2, 0, 1).to(self._device).float() / 255 for frame in frames]
        found = zip(self._model(pictures), frames, strict=True)
        return [_people(one, [self._person], self._threshold, frame.shape[:2]) for one, frame in found]


def torchvision_model(name: str) -> torch.nn.Module:
    """Return a detection model of torchvision with its published weights, which it downloads.

    Raises:
        InputError: torchvision is not installed beside this torch, or has no such model.
    """
    try:
        get_model = import_module("torchvision.models").get_model
    except (ImportError, RuntimeError) as error:  # of another build than torch's it fails while it is imported
        raise InputError(f"{name}: torchvision cannot be imported ({first_line(error)})") from error
    try:
        model: torch.nn.Module = get_model(name, weights="DEFAULT")
    except (ValueError, OSError) as error:
        raise InputError(f"{name}: not a model of torchvision that can be had ({first_line(error)})") from error
    return model


def _people(found: dict[str, Tensor], person: Sequence[int], threshold: float, hw: tuple[int, ...]) -> PersonBoxes:
    """Return the people among what was found in a frame of this size, best first, cut to the frame."""
    kept = torch.isin(found["labels"].cpu(), torch.tensor(person)) & (found["scores"].cpu() >= threshold)
    boxes, scores = found["boxes"].detach().cpu().float()[kept], found["scores"].detach().cpu().float()[kept]
    best = torch.argsort(scores, descending=True, stable=True)
    return PersonBoxes(boxes=clip_boxes(boxes, height=hw[0], width=hw[1])[best].numpy(), scores=scores[best].numpy())
