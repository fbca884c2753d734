"""What ``decode.py`` is compared with: decord2, torchcodec and OpenCV, each in the ways its users read clips.

torchcodec's approximate seeking is left out: it was slower than its exact one on every video of the benchmark.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from tubelet.video.convert import Crop

Reader = Callable[[Path, int, Crop | None], object]


def peers(scaled: tuple[int, int]) -> dict[str, Reader]:
    """Return the readers that load here; the others are named on the terminal."""
    readers: dict[str, Reader] = {}
    for make in (_decord, _torchcodec, _opencv):
        try:
            readers |= make(scaled)
        except (ImportError, OSError, RuntimeError) as error:
            print(f"left out {make.__name__[1:]}: {str(error).splitlines()[0]}")
    return readers


def _finished(frames: Tensor, scaled: tuple[int, int], crop: Crop | None) -> Tensor:
    """Scale RGB (T, 3, H, W) by torch, which is faster than swscale or cv2 on RGB, and crop."""
    if tuple(frames.shape[-2:]) != scaled:
        frames = interpolate(frames, size=scaled, mode="bilinear", antialias=True)
    if crop is None:
        return frames
    top, left = crop.place(*scaled)
    return frames[..., top : top + crop.height, left : left + crop.width].contiguous()


def _decord(scaled: tuple[int, int]) -> dict[str, Reader]:
    import decord

    def read(path: Path, start: int, crop: Crop | None, **size: int) -> object:
        video = decord.VideoReader(str(path), num_threads=1, **size)
        frames = torch.from_numpy(video.get_batch(list(range(start, start + 64, 2))).asnumpy())
        return _finished(frames.permute(0, 3, 1, 2), scaled, crop)

    return {
        "decord2": read,
        "decord2, own scaling": lambda path, start, crop: read(path, start, crop, height=scaled[0], width=scaled[1]),
    }


def _torchcodec(scaled: tuple[int, int]) -> dict[str, Reader]:
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    scaling = [Resize(size=scaled)]

    def read(path: Path, start: int, crop: Crop | None, **more: object) -> object:
        decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, dimension_order="NHWC", **more)
        frames = decoder.get_frames_in_range(start, start + 64, 2).data
        return _finished(frames.permute(0, 3, 1, 2), scaled, crop)

    return {
        "torchcodec": read,
        "torchcodec, own scaling": lambda path, start, crop: read(path, start, crop, transforms=scaling),
    }


def _opencv(scaled: tuple[int, int]) -> dict[str, Reader]:
    import cv2

    cv2.setNumThreads(1)

    def read(path: Path, start: int, crop: Crop | None) -> object:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        capture.set(cv2.CAP_PROP_POS_FRAMES, start)
        frames = []
        for i in range(64):
            capture.grab()
            if i % 2 == 0:  # frames between are decoded, never converted
                small = cv2.resize(capture.retrieve()[1], scaled[::-1], interpolation=cv2.INTER_AREA)
                frames.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        return _finished(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2), scaled, crop)

    return {"OpenCV": read}
