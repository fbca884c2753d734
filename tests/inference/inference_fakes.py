"""A detector that finds painted rectangles, videos that hold them, and an untrained model."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from tubelet.labels import LabelSpace
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.saved import LoadedModel
from tubelet.models.vivit import ViViTConfig
from tubelet.types import PersonBoxes, Preprocess
from tubelet.video.write import VideoWriter

RED, BLUE, GREY = (230, 20, 20), (20, 20, 230), (110, 110, 110)
Paint = Callable[[int], list[tuple[tuple[int, int, int, int], tuple[int, int, int]]]]


class PaintDetector:
    """Finds one box around all red pixels and one around all blue ones; counts its calls."""

    def __init__(self) -> None:
        self.num_frames = 0

    def __call__(self, frames: Sequence[np.ndarray]) -> list[PersonBoxes]:
        self.num_frames += len(frames)
        return [self._find(frame.astype(int)) for frame in frames]

    def _find(self, frame: np.ndarray) -> PersonBoxes:
        boxes = []
        for channel in (0, 2):
            ys, xs = np.nonzero(frame[..., channel] - frame[..., 2 - channel] > 80)
            if len(ys) > 20:
                boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
        return PersonBoxes(boxes=array, scores=np.full(len(array), 0.9, dtype=np.float32))


def write_video(
    path: Path,
    paint: Paint,
    *,
    num_frames: int,
    fps: float = 10.0,
    size_wh: tuple[int, int] = (160, 96),
    background: Callable[[int], np.ndarray | tuple[int, int, int]] = lambda i: GREY,
) -> Path:
    """Write a video whose frame i shows the rectangles ``paint(i)`` on ``background(i)``."""
    width, height = size_wh
    with VideoWriter(path, width=width, height=height, fps=fps, crf=12) as writer:
        for i in range(num_frames):
            frame = np.empty((height, width, 3), dtype=np.uint8)
            frame[:] = background(i)
            for (x1, y1, x2, y2), colour in paint(i):
                frame[y1:y2, x1:x2] = colour
            writer.write(frame)
    return path


def write_uneven(path: Path, tenths: Sequence[int]) -> Path:
    """Write a video of variable rate: grey frames at these tenths of a second, of the level 20 + 10 x tenths."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for t in tenths:
            picture = av.VideoFrame.from_ndarray(np.full((96, 160, 3), 10 * t + 20, dtype=np.uint8), format="rgb24")
            picture.pts, picture.time_base = t, Fraction(1, 10)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def untrained_config(num_frames: int = 4) -> ViViTConfig:
    return ViViTConfig(size=32, num_frames=num_frames, dim=16, spatial_layers=1, temporal_layers=1, num_heads=2)


def untrained(*, num_frames: int = 4, frame_stride: int = 1, fps: float = 5.0) -> LoadedModel:
    """Return a small random model with a classification and a localisation head."""
    torch.manual_seed(0)
    heads = {"clips": HeadConfig(kind="classify", num_classes=3), "boxes": HeadConfig(kind="localise", num_classes=4)}
    model = VideoModel(untrained_config(num_frames), heads)
    for head in model.heads.values():
        torch.nn.init.normal_(head.linear.weight)
    return LoadedModel(
        model=model.eval(),
        preprocess=Preprocess(size=32, num_frames=num_frames, frame_stride=frame_stride, fps=fps),
        heads=heads,
        label_spaces={
            "clips": LabelSpace(name="clips", names=("a", "b", "c")),
            "boxes": LabelSpace(name="boxes", names=("stand", "walk", "carry", "fight"), ids=(12, 14, 17, 64)),
        },
        score_kinds={"clips": "softmax", "boxes": "sigmoid"},
        meta={},
    )
