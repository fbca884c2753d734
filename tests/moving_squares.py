"""A playground in seconds for tests: coloured squares that move left or right, as real mp4 files and manifests."""

from pathlib import Path

import numpy as np

from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace
from tubelet.video.write import VideoWriter

WIDTH, HEIGHT, FPS, NUM_FRAMES, SIDE = 64, 48, 12.5, 30, 20
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (50, 60, 230)}
DIRECTIONS = {"left": -1, "right": 1}
SPLITS = ("train", "val", "test")


def left_edge(frame: int, direction: str) -> float:
    """Return the square's left edge in pixels; it crosses the picture during the clip."""
    way = (WIDTH - SIDE) * frame / (NUM_FRAMES - 1)
    return way if direction == "right" else WIDTH - SIDE - way


def write_video(path: Path, *, colour: str, direction: str, seed: int) -> None:
    noise = np.random.default_rng(seed)
    top = int(noise.integers(0, HEIGHT - SIDE))
    background = noise.integers(60, 120, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS) as writer:
        for number in range(NUM_FRAMES):
            frame = background.copy()
            left = round(left_edge(number, direction))
            frame[top : top + SIDE, left : left + SIDE] = COLOURS[colour]
            writer.write(frame)


def build_moving_squares(out: Path, *, num_clips: int = 12) -> Path:
    """Write ``kinetics`` (colours), ``moments`` (directions), ``posts`` (colours) and ``localise`` (both, boxed)."""
    spaces = {
        "kinetics": LabelSpace(name="colours", names=tuple(COLOURS)),
        "moments": LabelSpace(name="directions", names=tuple(DIRECTIONS)),
        "posts": LabelSpace(name="tags", names=tuple(COLOURS)),
    }
    for name, space in spaces.items():
        clips = []
        for split in SPLITS:
            for i in range(num_clips if split == "train" else num_clips // 2):
                colour, direction = list(COLOURS)[i % 3], list(DIRECTIONS)[i // 3 % 2]
                video = f"{name}/{split}-{i}.mp4"
                write_video(out / "videos" / video, colour=colour, direction=direction, seed=hash_of(name, split, i))
                label = space.names.index(direction if name == "moments" else colour)
                clips.append(clip_row(video, split, [label]))
        write(out, name, "classify", space, clips, None)
    build_localise(out, num_clips=num_clips)
    return out


def build_localise(out: Path, *, num_clips: int) -> None:
    space = LabelSpace(
        name="actions",
        names=(*COLOURS, *DIRECTIONS),
        ids=(1, 2, 3, 4, 5),
        groups=("colour",) * 3 + ("direction",) * 2,
        buckets=("mid", "mid", "tail", "head", "head"),
    )
    clips, boxes = [], []
    for split in SPLITS:
        for i in range(num_clips // 2):
            colour, direction = list(COLOURS)[i % 3], list(DIRECTIONS)[i // 3 % 2]
            video = f"localise/{split}-{i}.mp4"
            seed = hash_of("localise", split, i)
            write_video(out / "videos" / video, colour=colour, direction=direction, seed=seed)
            top = int(np.random.default_rng(seed).integers(0, HEIGHT - SIDE))
            clips.append(clip_row(video, split, []))
            for frame in (10, 20):
                left = left_edge(frame, direction)
                boxes.append(
                    {
                        "clip_id": clips[-1]["clip_id"],
                        "pts_seconds": frame / FPS,
                        "x1": left / WIDTH,
                        "y1": top / HEIGHT,
                        "x2": (left + SIDE) / WIDTH,
                        "y2": (top + SIDE) / HEIGHT,
                        "labels": [space.index(colour), space.index(direction)],
                        "person_id": 0,
                    }
                )
    write(out, "localise", "localise", space, clips, boxes)


def hash_of(name: str, split: str, number: int) -> int:
    return sum(map(ord, name + split)) * 1000 + number


def clip_row(video: str, split: str, labels: list[int]) -> dict[str, object]:
    return {
        "clip_id": video.removesuffix(".mp4"),
        "video": video,
        "start_seconds": 0.0,
        "end_seconds": NUM_FRAMES / FPS,
        "split": split,
        "labels": labels,
    }


def write(
    out: Path,
    name: str,
    kind: str,
    space: LabelSpace,
    clips: list[dict[str, object]],
    boxes: list[dict[str, object]] | None,
) -> None:
    write_manifest(
        out / "manifests" / name,
        name=name,
        kind=kind,
        multi_label=kind == "localise",
        label_space=space,
        media_root="../../videos",
        licence="CC0-1.0",
        source="tests",
        clips=clips,
        boxes=boxes,
    )
