"""Which person detector a name stands for: ``--people`` on the command line, ``people=`` in Python."""

from collections.abc import Callable, Mapping
from functools import partial

import torch

from tubelet.inference.listed_people import ListedPeople
from tubelet.inference.onnx_people import RT_DETR, SSD, SSD_TENSORFLOW, YOLOX, OnnxDetector, OnnxLayout
from tubelet.inference.people import NanoDetDetector, PersonDetector
from tubelet.inference.torch_people import TorchvisionDetector, TransformersDetector, torchvision_model
from tubelet.types import InputError, did_you_mean

SHIPPED = "nanodet"
Opened = Callable[[str, float, torch.device | None], PersonDetector | ListedPeople]
"""Makes a detector of a file or name, with a least confidence, on a device."""


def open_people(name: str, *, threshold: float, device: torch.device | None = None) -> PersonDetector | ListedPeople:
    """Return what finds people.

    Args:
        name: ``nanodet`` (ships with Tubelet), or a kind and a file or name: ``yolox:FILE.onnx``,
            ``rt-detr:FILE.onnx``, ``ssd:FILE.onnx``, ``ssd-tensorflow:FILE.onnx``, ``transformers:FOLDER`` (or a name
            on its hub), ``torchvision:NAME``, ``csv:FILE`` (boxes that are there already).
        threshold: Least confidence of a detector's box, in [0, 1].
        device: Where it runs; the CPU when None.

    Raises:
        InputError: The name stands for nothing, or what it stands for cannot be opened.
    """
    kind, _, what = name.partition(":")
    if kind not in PEOPLE:
        raise InputError(f"no person detector {name!r}{did_you_mean(kind, PEOPLE)}; expected {', '.join(PEOPLE)}")
    if bool(what) == (kind == SHIPPED):
        raise InputError(f"person detector {name!r}: expected {kind if kind == SHIPPED else f'{kind}:FILE'}")
    return PEOPLE[kind](what, threshold, device)


def _shipped(_: str, threshold: float, device: torch.device | None) -> PersonDetector:
    return NanoDetDetector(threshold, device=device)


def _onnx(layout: OnnxLayout, path: str, threshold: float, device: torch.device | None) -> PersonDetector:
    return OnnxDetector(path, layout, threshold=threshold, device=device)


def _transformers(name: str, threshold: float, device: torch.device | None) -> PersonDetector:
    return TransformersDetector(name, threshold=threshold, device=device)


def _torchvision(name: str, threshold: float, device: torch.device | None) -> PersonDetector:
    return TorchvisionDetector(torchvision_model(name), threshold=threshold, device=device)


def _listed(path: str, threshold: float, device: torch.device | None) -> ListedPeople:
    return ListedPeople(path)


PEOPLE: Mapping[str, Opened] = {
    SHIPPED: _shipped,
    "yolox": partial(_onnx, YOLOX),
    "rt-detr": partial(_onnx, RT_DETR),
    "ssd": partial(_onnx, SSD),
    "ssd-tensorflow": partial(_onnx, SSD_TENSORFLOW),
    "transformers": _transformers,
    "torchvision": _torchvision,
    "csv": _listed,
}
