"""People found by any detector that was exported to ONNX, once its layout is declared: what it takes and what it gives.

Three families are declared: YOLOX as its own exporter writes it (cells of grids, decoded here), RT-DETR's (finished
boxes in pixels of the frame), and SSD as the ONNX model zoo and TensorFlow's object detection write it (finished boxes
in 0..1). Others are an ``OnnxLayout`` of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tubelet.boxes import clip_boxes, nms
from tubelet.inference.onnx_session import open_session
from tubelet.types import InputError, PersonBoxes

STRIDES = (8, 16, 32)
"""Of YOLOX's three grids."""
NMS_IOU = 0.45
"""YOLOX's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxLayout:
    """What a detector's graph takes and gives."""

    fit: Literal["corner", "stretch"]
    """``corner``: the aspect is kept, the frame lies in the top left corner; ``stretch``: it fills the input."""
    channels: Literal["rgb", "bgr"]
    order: Literal["chw", "hwc"] = "chw"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted, in 0..255, in the order of ``channels``."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Divided by, in 0..255."""
    fill: int = 114
    """Level beside a frame in the corner."""
    input_hw: tuple[int, int] = (640, 640)
    """Where the graph itself leaves its input's height and width open."""
    size_input: str = ""
    """Name of a second input, int64 (1, 2): width and height of the frame; none if empty."""
    gives: Literal["cells", "boxes"] = "boxes"
    """``cells``: one output (1, G, 5 + K) of raw offsets, sizes, objectness and classes over three grids;
    ``boxes``: finished boxes, labels and scores."""
    outputs: tuple[str, str, str] = ("boxes", "labels", "scores")
    """Names, where ``gives`` is boxes."""
    corners: Literal["xyxy", "yxyx"] = "xyxy"
    unit: Literal["frame", "input", "share"] = "frame"
    """Boxes are in pixels of the frame, in pixels of the input, or in 0..1 of it."""
    person: int = 0
    """Label of people."""


IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

YOLOX = OnnxLayout(fit="corner", channels="bgr", gives="cells")
RT_DETR = OnnxLayout(fit="stretch", channels="rgb", std=(255.0, 255.0, 255.0), size_input="orig_target_sizes")
SSD = OnnxLayout(
    fit="stretch",
    channels="rgb",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    input_hw=(1200, 1200),
    outputs=("bboxes", "labels", "scores"),
    unit="share",
    person=1,
)
SSD_TENSORFLOW = OnnxLayout(
    fit="stretch",
    channels="rgb",
    order="hwc",
    input_hw=(320, 320),
    outputs=("detection_boxes", "detection_classes", "detection_scores"),
    corners="yxyx",
    unit="share",
    person=1,
)


class OnnxDetector:
    """A detector's graph run by onnxruntime.

    Args:
        path: The onnx file.
        layout: What it takes and gives.
        threshold: Least confidence of a box, in [0, 1].
        device: The CPU when None; a GPU needs onnxruntime's build for it.

    Raises:
        InputError: onnxruntime is not installed, the file is not a graph it runs, or the graph lacks what the layout
            names.
    """

    def __init__(
        self, path: Path | str, layout: OnnxLayout, *, threshold: float, device: torch.device | None = None
    ) -> None:
        self._session = open_session(Path(path), device)
        self._path, self._layout, self._threshold = Path(path), layout, threshold
        inputs = {entry.name: entry for entry in self._session.get_inputs()}
        images = [entry for name, entry in inputs.items() if name != layout.size_input]
        if len(images) != 1 or (layout.size_input and layout.size_input not in inputs):
            wanted = "one input" + (f" beside {layout.size_input}" if layout.size_input else "")
            raise InputError(f"{path}: the graph takes {', '.join(inputs)}; this layout expects {wanted}")
        # A frozen graph of TensorFlow keeps its tensors' numbers when it becomes ONNX: detection_boxes:0.
        given = {entry.name.removesuffix(":0"): entry.name for entry in self._session.get_outputs()}
        if layout.gives == "boxes" and not set(layout.outputs) <= set(given):
            expected = ", ".join(layout.outputs)
            raise InputError(f"{path}: the graph gives {', '.join(sorted(given))}; this layout expects {expected}")
        self._outputs = [given[name] for name in layout.outputs if name in given]
        self._input = images[0]
        sides = self._input.shape[2:4] if layout.order == "chw" else self._input.shape[1:3]
        height, width = (s if isinstance(s, int) else d for s, d in zip(sides, layout.input_hw))
        self._input_hw = (height, width)

    def __call__(self, frames: Sequence[np.ndarray]) -> list[PersonBoxes]:
        """Return the person boxes of each RGB uint8 (H, W, 3) frame, best first; graphs take one frame at a time."""
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: np.ndarray) -> PersonBoxes:
        height, width = frame.shape[:2]
        layout = self._layout
        image, scale_xy = to_input(frame, layout, self._input_hw)
        feed: dict[str, np.ndarray] = {
            self._input.name: image.numpy().astype(np.uint8 if "uint8" in self._input.type else np.float32)
        }
        if layout.size_input:
            feed[layout.size_input] = np.array([[width, height]], dtype=np.int64)
        if layout.gives == "cells":
            (cells,) = self._session.run(None, feed)
            boxes, scores = decode_cells(torch.from_numpy(cells[0]), self._input_hw, layout.person)
        else:
            found = [torch.from_numpy(value[0]) for value in self._session.run(self._outputs, feed)]
            people = found[1].flatten().long() == layout.person
            boxes, scores = found[0].float()[people], found[2].flatten().float()[people]
        boxes = boxes[:, [1, 0, 3, 2]] if layout.corners == "yxyx" else boxes
        if layout.unit == "share":
            boxes = boxes * torch.tensor([width, height, width, height])
        elif layout.unit == "input" or layout.gives == "cells":
            boxes = boxes / torch.tensor([*scale_xy, *scale_xy])
        return self._chosen(clip_boxes(boxes, height=height, width=width), scores)

    def _chosen(self, boxes: Tensor, scores: Tensor) -> PersonBoxes:
        sure = scores >= self._threshold
        boxes, scores = boxes[sure], scores[sure]
        if self._layout.gives == "cells":
            best = nms(boxes, scores, iou_threshold=NMS_IOU)
        else:
            best = torch.argsort(scores, descending=True, stable=True)
        return PersonBoxes(boxes=boxes[best].float().numpy(), scores=scores[best].float().numpy())


def to_input(frame: np.ndarray, layout: OnnxLayout, input_hw: tuple[int, int]) -> tuple[Tensor, tuple[float, float]]:
    """Return a frame, RGB uint8 (H, W, 3), as the graph wants it, and how it was scaled.

    Returns:
        float32 (1, 3, h, w) or (1, h, w, 3), and the factors in x and y from pixels of the frame to those of the input.
    """
    height, width = frame.shape[:2]
    if layout.fit == "corner":
        ratio = min(input_hw[0] / height, input_hw[1] / width)
        shown_hw = (int(height * ratio), int(width * ratio))
        scale_xy = (ratio, ratio)
    else:
        shown_hw, scale_xy = input_hw, (input_hw[1] / width, input_hw[0] / height)
    picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float()
    shown = F.interpolate(picture, size=shown_hw, mode="bilinear", align_corners=False)
    image = torch.full((1, 3, *input_hw), float(layout.fill))
    image[:, :, : shown_hw[0], : shown_hw[1]] = shown
    image = image.flip(1) if layout.channels == "bgr" else image
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (layout.mean, layout.std))
    image = (image - mean) / std
    return image if layout.order == "chw" else image.permute(0, 2, 3, 1), scale_xy


def decode_cells(cells: Tensor, input_hw: tuple[int, int], person: int) -> tuple[Tensor, Tensor]:
    """Return boxes (G, 4) in pixels of the input and scores (G,) from YOLOX's raw cells (G, 5 + K).

    A cell at column x and row y of a grid of stride s says (dx, dy, log w, log h, objectness, classes): its box has the
    centre ((x + dx) s, (y + dy) s) and the size (w s, h s).
    """
    places, strides = [], []
    for stride in STRIDES:
        rows, columns = torch.arange(input_hw[0] // stride), torch.arange(input_hw[1] // stride)
        places.append(torch.cartesian_prod(rows, columns).flip(1))
        strides.append(torch.full((len(rows) * len(columns), 1), float(stride)))
    place, stride_of = torch.cat(places), torch.cat(strides)
    if len(place) != len(cells) or cells.shape[1] < 6 + person:
        expected = f"a YOLOX of {input_hw[0]}x{input_hw[1]} gives ({len(place)}, 5 + K)"
        raise InputError(f"the detector gives {tuple(cells.shape)}, {expected}")
    centre, half = (cells[:, :2] + place) * stride_of, cells[:, 2:4].exp() * stride_of / 2
    return torch.cat([centre - half, centre + half], dim=1), cells[:, 4] * cells[:, 5 + person]
