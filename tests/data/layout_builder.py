"""What hand-made copies of published layouts are made of: annotation files, and a tiny video that stands for all."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tubelet.video.write import VideoWriter

FPS, NUM_FRAMES = 10.0, 12
SECONDS = NUM_FRAMES / FPS


@dataclass(frozen=True)
class Layout:
    """What an importer is called with, and what must come out."""

    source: str
    options: dict[str, Any]
    clips: dict[str, tuple[str, str, tuple[str, ...]]]
    """clip_id -> (video cell, split, names of its classes)."""
    counts: dict[str, int] = field(default_factory=dict)
    times: dict[str, tuple[float, float]] = field(default_factory=dict)
    """clip_id -> start and end where they are not the whole video."""


def write_video(path: Path, *, frames: int = NUM_FRAMES, grey: int = 128) -> Path:
    picture = np.full((16, 16, 3), grey, dtype=np.uint8)
    with VideoWriter(path, width=16, height=16, fps=FPS) as writer:
        for number in range(frames):
            picture[:4, :4] = 20 * number % 255
            writer.write(picture)
    return path


class Builder:
    """Writes below one folder; every video is a copy of one file."""

    def __init__(self, folder: Path, video: Path) -> None:
        self.folder, self.video = folder, video

    def videos(self, *names: str) -> Path:
        for name in names:
            path = self.folder / "media" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.video, path)
        return self.folder / "media"

    def text(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path
