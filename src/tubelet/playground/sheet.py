"""Contact sheets: what is in a playground, on one picture, with boxes and labels drawn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from tubelet.data.manifest import Manifest
from tubelet.playground.build import Playground
from tubelet.video.decode import read_frames
from tubelet.video.media import Media, resolve_media

_TILE_WIDTH = 240
_COLOURS = ((255, 214, 64), (90, 220, 255), (255, 120, 190), (150, 255, 120), (255, 160, 80))


def contact_sheet(
    playground: Playground,
    out: str | Path,
    *,
    sets: Sequence[str] = ("localise", "kinetics", "moments", "direction", "kitchen", "single_keyframe", "posts"),
    rows: int = 3,
    columns: int = 5,
    split: str | None = None,
    first: int = 0,
) -> Path:
    """Draw some videos of each set, one a row.

    Args:
        playground: A finished one.
        out: The png to write.
        sets: Which sets.
        rows: Videos of each set.
        columns: Frames of each video: keyframes of localisation sets, evenly spaced ones of the others.
        split: Only videos of this split; None = any.
        first: Videos left out at the start.

    Returns:
        The png.
    """
    strips = []
    for name in sets:
        make = _post_strips if name == "posts" else _manifest_strips
        strips += make(playground, name, rows, columns, split, first)
    width = max(s.shape[1] for s in strips)
    padded = [np.pad(s, ((0, 4), (0, width - s.shape[1]), (0, 0))) for s in strips]
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    Image.fromarray(np.concatenate(padded)).save(temporary, format="png")
    temporary.replace(path)
    return path


def _manifest_strips(
    playground: Playground, name: str, rows: int, columns: int, split: str | None, first: int
) -> list[np.ndarray]:
    manifest = playground.manifest(name)
    clips = [c for c in manifest.clips.to_pylist() if split is None or c["split"] == split]
    strips = []
    for clip in clips[first : first + rows]:
        times, boxes = _times(manifest, clip["clip_id"], clip["end_seconds"], columns)
        labels = [manifest.label_space.names[k] for k in clip["labels"]]
        title = f"{name} {clip['clip_id']} {', '.join(labels)}"
        strips.append(_strip(resolve_media(manifest.media_root, clip["video"]), times, boxes, title))
    return strips


def _times(manifest: Manifest, clip_id: str, end: float, columns: int) -> tuple[list[float], list[list[str]]]:
    """Return times to show, and per time the boxes as ``x1 y1 x2 y2 text`` rows."""
    if manifest.boxes is None:
        return [end * (k + 0.5) / columns for k in range(columns)], [[] for _ in range(columns)]
    mine = [b for b in manifest.boxes.to_pylist() if b["clip_id"] == clip_id]
    times = sorted({b["pts_seconds"] for b in mine})[:columns]
    found = []
    for time in times:
        lines = []
        for box in (b for b in mine if b["pts_seconds"] == time):
            text = " + ".join(manifest.label_space.names[k] for k in box["labels"])
            lines.append(f"{box['x1']} {box['y1']} {box['x2']} {box['y2']} {box['person_id']}: {text}")
        found.append(lines)
    return times, found


def _post_strips(
    playground: Playground, name: str, rows: int, columns: int, split: str | None, first: int
) -> list[np.ndarray]:
    table = pq.read_table(playground.posts).to_pylist()
    copies = [row for row in table if row["duplicate_of"]]
    strips = []
    for row in table[first : first + rows] + copies[:1]:
        times = [row["duration_seconds"] * (k + 0.5) / columns for k in range(columns)]
        shown = f"copy of {row['duplicate_of']}" if row["duplicate_of"] else row["true_label"]
        title = f"{name} [{shown}] {row['text']}"
        strips.append(_strip(playground.root / row["video"], times, [[] for _ in times], title))
    return strips


def _strip(video: Media | Path, times: Sequence[float], boxes: Sequence[Sequence[str]], title: str) -> np.ndarray:
    """Draw one row of frames."""
    tiles = []
    for k, (time, lines) in enumerate(zip(times, boxes, strict=True)):
        frame = read_frames(video, [time]).frames[0].permute(1, 2, 0).numpy()
        height = round(frame.shape[0] * _TILE_WIDTH / frame.shape[1])
        tile = Image.fromarray(frame).resize((_TILE_WIDTH, height))
        draw = ImageDraw.Draw(tile)
        for number, line in enumerate(lines):
            x1, y1, x2, y2, text = line.split(" ", 4)
            colour = _COLOURS[number % len(_COLOURS)]
            corners = [float(v) * size for v, size in zip((x1, y1, x2, y2), (_TILE_WIDTH, height) * 2, strict=True)]
            draw.rectangle(corners, outline=colour)
            draw.text(
                (2, height - 11 * (len(lines) - number) - 2), text, fill=colour, stroke_width=1, stroke_fill=(0, 0, 0)
            )
        draw.text(
            (2, 1), title if k == 0 else f"{time:.2f} s", fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0)
        )
        tiles.append(np.asarray(tile))
    return np.concatenate(tiles, axis=1) if tiles else np.zeros((4, _TILE_WIDTH, 3), dtype=np.uint8)


def _write(draw: ImageDraw.ImageDraw, y: int, text: str, colour: tuple[int, int, int]) -> None:
    draw.text((2, y), text, fill=colour, stroke_width=1, stroke_fill=(0, 0, 0))
