"""Videos to measure on, with B-frames: real ones re-encoded, or smooth motion over a textured ground."""

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from tubelet.video.decode import iter_frames
from tubelet.video.write import VideoWriter

FPS, NUM_FRAMES, SIZE_WH = 30.0, 300, (340, 256)


def pattern() -> list[np.ndarray]:
    """Return smooth motion over a textured ground: like real video, about half of its frames are non-reference ones."""
    width, height = SIZE_WH
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 3, height // 8, width // 4), dtype=np.float32))
    ground = interpolate(coarse, size=(height, 2 * width), mode="bicubic").clamp(0, 1)[0]
    texture = (ground.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    y, x = np.mgrid[:height, :width]
    frames = []
    for i in range(NUM_FRAMES):
        pan = int(60 + 50 * np.sin(i / 40))
        frame = texture[:, pan : pan + width].copy()
        for k in range(4):  # moving discs stand for people
            cx, cy = 170 + 120 * np.sin(i / 25 + k), 128 + 80 * np.cos(i / (18 + 4 * k) + k)
            frame[(x - cx) ** 2 + (y - cy) ** 2 < (20 + 4 * k) ** 2] = (60 * k, 200 - 40 * k, 120)
        frames.append(np.clip(frame + rng.integers(-2, 3, frame.shape), 0, 255).astype(np.uint8))
    return frames


def frames_of(source: Path) -> list[np.ndarray]:
    """Return 300 frames of a real video in the benchmark's size, forwards and backwards where it is shorter."""
    width, height = SIZE_WH
    read = []
    for _, frame in islice(iter_frames(source), NUM_FRAMES):
        scale = max(width / frame.shape[1], height / frame.shape[0])
        size = [int(np.ceil(side * scale)) for side in frame.shape[:2]]
        pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]
        small = interpolate(pixels, size=size, mode="bilinear", antialias=True)[0, :, :height, :width]
        read.append(np.ascontiguousarray(small.permute(1, 2, 0).numpy()))
    return (read + (read[::-1] + read) * (NUM_FRAMES // len(read)))[:NUM_FRAMES]


def make_videos(sources: list[Path], folder: Path, gop: int) -> list[Path]:
    """Encode every source, or the pattern, with a key frame every ``gop`` frames."""
    made = []
    for number, frames in enumerate([frames_of(source) for source in sources] or [pattern()]):
        made.append(folder / f"{number}_gop{gop}.mp4")
        with VideoWriter(made[-1], width=SIZE_WH[0], height=SIZE_WH[1], fps=FPS, gop=gop, preset="medium") as writer:
            for frame in frames:
                writer.write(frame)
    return made
