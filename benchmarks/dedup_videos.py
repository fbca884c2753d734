"""Planted duplicates: videos changed as uploaders change them, and videos in which there is nothing to see."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.nn.functional import interpolate

from tubelet.video.container import probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import iter_frames
from tubelet.video.write import VideoWriter

SECONDS, LONG_SIDE = 6.0, 320
HOST_SECONDS = 60.0
"""Length of the video that a target is hidden in."""
Frames = np.ndarray[Any, np.dtype[Any]]
"""uint8 (T, H, W, 3)."""


@dataclass(frozen=True, slots=True)
class Original:
    """A video to plant duplicates of."""

    path: Path
    scene: str
    """Videos of one scene are from one fixed camera, or look like it."""
    start_seconds: float = 0.0

    @property
    def name(self) -> str:
        """One for each original."""
        return f"{self.scene}--{self.path.stem}-{self.start_seconds:g}".replace("/", "_")

    @property
    def is_there(self) -> bool:
        """Whether the video is long enough to have this stretch."""
        return probe(self.path).duration_seconds > self.start_seconds + 1.0


def resized(frames: Frames, height: int, width: int) -> Frames:
    """Return frames of another size."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    out: Frames = interpolate(pixels, size=(height, width), mode="bilinear", antialias=True).permute(0, 2, 3, 1).numpy()
    return out


def scaled(frames: Frames, scale: float) -> Frames:
    """Return frames of another size and the same aspect."""
    return resized(frames, *(round(side * scale) for side in frames.shape[1:3]))


def cropped(frames: Frames, share: float) -> Frames:
    """Cut a share of the height off above and below, and of the width left and right."""
    top, left = (round(side * share) for side in frames.shape[1:3])
    return frames[:, top : frames.shape[1] - top, left : frames.shape[2] - left]


def levels(frames: Frames, gain: float, offset: float) -> Frames:
    """Change contrast and brightness; what leaves 0..255 is clipped."""
    changed: Frames = np.clip(gain * frames.astype(np.float32) + offset, 0, 255).astype(np.uint8)
    return changed


def drawn(frames: Frames, draw: Callable[[ImageDraw.ImageDraw, int, int], None]) -> Frames:
    """Draw the same on every frame."""
    out = []
    for frame in frames:
        picture = Image.fromarray(frame)
        draw(ImageDraw.Draw(picture), frame.shape[1], frame.shape[0])
        out.append(np.asarray(picture))
    return np.stack(out)


def logo(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """Draw a sign of 3 % of the frame in its upper right corner."""
    left, top, right, bottom = 0.78 * width, 0.05 * height, 0.95 * width, 0.22 * height
    draw.ellipse((left, top, right, bottom), fill=(230, 30, 40))
    back, tip = 0.6 * left + 0.4 * right, 0.3 * left + 0.7 * right
    corners = [(back, 0.7 * top + 0.3 * bottom), (back, 0.3 * top + 0.7 * bottom), (tip, (top + bottom) / 2)]
    draw.polygon(corners, fill=(255, 255, 255))


def caption(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """Draw a bar with text over an eighth of the frame, at its foot."""
    draw.rectangle((0, 0.86 * height, width, 0.985 * height), fill=(0, 0, 0))
    draw.text(
        (0.06 * width, 0.87 * height), "wait for it ... follow for more", fill=(255, 255, 255), font_size=0.09 * height
    )


def faster(frames: Frames, speed: float) -> Frames:
    """Return frames as they are shown at the same rate when the video is played at another speed."""
    wanted = np.arange(round(len(frames) / speed)) * speed
    shown: Frames = frames[np.minimum(np.floor(wanted + 1e-6).astype(int), len(frames) - 1)]
    return shown


def trimmed(frames: Frames, first: float, last: float) -> Frames:
    """Return the stretch between two shares of the length."""
    return frames[round(first * len(frames)) : round(last * len(frames))]


CHANGES: Mapping[str, tuple[Callable[[Frames], Frames], int]] = {
    "re-encoded": (lambda frames: frames, 36),
    "half the size": (lambda frames: scaled(frames, 0.5), 28),
    "squeezed to 4:5": (lambda frames: resized(frames, 250, 200), 28),
    "borders of 2 % cut off": (lambda frames: cropped(frames, 0.02), 28),
    "borders of 5 % cut off": (lambda frames: cropped(frames, 0.05), 28),
    "borders of 10 % cut off": (lambda frames: cropped(frames, 0.10), 28),
    "darker, less contrast": (lambda frames: levels(frames, 0.6, 5), 28),
    "brighter, clipped": (lambda frames: levels(frames, 1.3, 25), 28),
    "logo": (lambda frames: drawn(frames, logo), 28),
    "caption": (lambda frames: drawn(frames, caption), 28),
    "trimmed to the middle half": (lambda frames: trimmed(frames, 0.25, 0.75), 28),
    "5 % faster": (lambda frames: faster(frames, 1.05), 28),
    "5 % slower": (lambda frames: faster(frames, 0.95), 28),
    "cut, scaled, captioned, faster": (
        lambda frames: faster(drawn(scaled(cropped(frames, 0.05), 0.7), caption), 1.05), 32),
    "mirrored": (lambda frames: frames[:, :, ::-1], 28),
}  # fmt: skip
"""What is done to the frames, and the quality (crf) they are encoded with."""
HIDDEN = "hidden in a minute of others"


def read(original: Original) -> tuple[Frames, float]:
    """Return the first seconds of a video, not larger than the benchmark's size, sides even; and its rate."""
    meta = probe(original.path)
    start = original.start_seconds
    shown = iter_frames(original.path, size=FrameSize(long_side=LONG_SIDE, shrink_only=True), start_seconds=start)
    frames = np.stack([frame for _, frame in islice(shown, max(round(SECONDS * meta.fps), 2))])
    height, width = (side // 2 * 2 for side in frames.shape[1:3])
    return frames[:, :height, :width], meta.fps


def write(path: Path, frames: Frames, fps: float, crf: int) -> None:
    """Encode frames, unless that was done before."""
    if path.exists():
        return
    height, width = (side // 2 * 2 for side in frames.shape[1:3])
    with VideoWriter(path, width=width, height=height, fps=fps, crf=crf) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[:height, :width]))


def plant(original: Original, hosts: Sequence[Original], folder: Path) -> None:
    """Write the target and everything made of it; ``hosts`` fill the video it is hidden in, before it and behind."""
    torch.set_num_threads(1)
    frames, fps = read(original)
    write(folder / "target" / f"{original.name}.mp4", frames, fps, 21)
    for name, (change, crf) in CHANGES.items():
        path = folder / name / f"{original.name}.mp4"
        if not path.exists():
            write(path, change(frames), fps, crf)
    path = folder / HIDDEN / f"{original.name}.mp4"
    if path.exists() or not hosts:
        return
    around = []
    for host in hosts:
        others, rate = read(host)
        others = others[
            np.minimum((np.arange(int(len(others) / rate * fps)) * rate / fps).astype(int), len(others) - 1)
        ]
        around.append(resized(others, *frames.shape[1:3]))
    half = len(around) // 2
    write(path, np.concatenate([*around[:half], frames, *around[half:]]), fps, 28)


def write_nothing_to_see(folder: Path) -> list[Path]:
    """Write videos that are black, grey with noise, a wall, still, or a few words on black; each of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    made = {"black": np.zeros((100, 180, 240, 3), dtype=np.uint8)}
    made["black-noise"] = rng.integers(0, 6, (100, 180, 240, 3)).astype(np.uint8)
    made["grey-noise"] = rng.integers(124, 132, (100, 180, 240, 3)).astype(np.uint8)
    made["white"] = np.full((100, 180, 240, 3), 235, dtype=np.uint8)
    across = np.hypot(*np.meshgrid(np.linspace(-1, 1, 180), np.linspace(-1, 1, 240), indexing="ij"))
    for number, (light, falls) in enumerate(((220, 60), (120, 30), (60, 20))):
        wall = (light - falls * across[..., None]).repeat(3, axis=2)
        made[f"wall-{number}"] = np.repeat(wall.astype(np.uint8)[None], 100, axis=0)
    for number in range(6):
        coarse = torch.from_numpy(rng.random((1, 3, 9, 12), dtype=np.float32))
        picture = (interpolate(coarse, size=(180, 240), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0) * 255).numpy()
        made[f"still-{number}"] = np.repeat(picture.astype(np.uint8)[None], 100, axis=0)
        words = drawn(np.zeros((100, 180, 240, 3), dtype=np.uint8), _words(number))
        made[f"words-{number}"] = words
        fade = made[f"still-{number}"] * np.linspace(1, 0, 100)[:, None, None, None]
        made[f"fade-{number}"] = fade.astype(np.uint8)
    for name, frames in made.items():
        write(folder / f"{name}.mp4", frames, 25.0, 28)
    return [folder / f"{name}.mp4" for name in made]


def _words(number: int) -> Callable[[ImageDraw.ImageDraw, int, int], None]:
    text = ("THE END", "Part two", "subscribe", "2019", "My holiday", "Episode 12")[number]
    return lambda draw, width, height: draw.text((70, 40 + 15 * number), text, fill=(255, 255, 255), font_size=22)


def hosts_of(original: Original, originals: Sequence[Original]) -> list[Original]:
    """Return the videos of other scenes that an original is hidden among."""
    number = originals.index(original)
    others = [one for one in (*originals[number + 1 :], *originals[:number]) if one.scene != original.scene]
    count = round(HOST_SECONDS / SECONDS)
    return others[:: max(len(others) // count, 1)][:count]


def plant_all(originals: Sequence[Original], folder: Path, workers: int) -> None:
    """Write everything; each target is hidden among ten others of other scenes."""
    for name in ("target", HIDDEN, *CHANGES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        waiting = [pool.submit(plant, original, hosts_of(original, originals), folder) for original in originals]
        for one in waiting:
            one.result()
