"""Videos to measure on: smooth motion over a textured ground, with B-frames, as real ones have."""

from pathlib import Path

import numpy as np
import torch

from tubelet.video.write import VideoWriter

FPS, NUM_FRAMES, SIZE_WH = 30.0, 300, (340, 256)


def make_video(path: Path, *, gop: int) -> None:
    """Write 10 s of video; about half of its frames are non-reference ones."""
    width, height = SIZE_WH
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 3, height // 8, width // 4), dtype=np.float32))
    ground = torch.nn.functional.interpolate(coarse, size=(height, 2 * width), mode="bicubic").clamp(0, 1)[0]
    texture = (ground.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    y, x = np.mgrid[:height, :width]
    with VideoWriter(path, width=width, height=height, fps=FPS, gop=gop, preset="medium") as writer:
        for i in range(NUM_FRAMES):
            pan = int(60 + 50 * np.sin(i / 40))
            frame = texture[:, pan : pan + width].copy()
            for k in range(4):  # moving discs stand for people
                cx, cy = 170 + 120 * np.sin(i / 25 + k), 128 + 80 * np.cos(i / (18 + 4 * k) + k)
                frame[(x - cx) ** 2 + (y - cy) ** 2 < (20 + 4 * k) ** 2] = (60 * k, 200 - 40 * k, 120)
            writer.write(np.clip(frame + rng.integers(-2, 3, frame.shape), 0, 255).astype(np.uint8))
