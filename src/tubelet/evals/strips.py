"""The worst false positives and misses of a class as pictures: a few frames around each, with its box."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tubelet.data.manifest import Manifest, read_manifest
from tubelet.evals.errors import NAMES
from tubelet.evals.examined import Examined
from tubelet.evals.page import Still
from tubelet.types import InputError, VideoError
from tubelet.video.decode import read_frames
from tubelet.video.media import Media, resolve_media

OFFSETS = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Seconds from the keyframe, the middle one, to the frames shown."""
TILE_WIDTH = 144
FALSE_COLOUR, TRUE_COLOUR = (230, 120, 0), (40, 160, 255)
JPEG_QUALITY = 72


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One thing to be shown."""

    video: str
    """Its name in the predictions."""
    pts_seconds: float
    box_norm: tuple[float, float, float, float]
    """xyxy in 0..1."""
    caption: str
    is_true: bool
    """An annotated box, not a false positive."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strips:
    """The pictures of one class."""

    class_name: str
    false_positives: tuple[Still, ...]
    misses: tuple[Still, ...]
    num_unreadable: int
    """Examples whose video could not be read."""


def worst_false_positives(run: Examined, column: int, count: int) -> tuple[Example, ...]:
    """Return the false positives of a class that took most: those of highest score."""
    matched, losses, stored = run.matched, run.losses, run.stored
    assert matched is not None
    assert losses is not None
    assert stored.detections is not None
    of_class = matched.found.column[matched.order] == column
    places = np.flatnonzero(of_class & (matched.claimed < 0))
    scores = matched.found.scores[matched.order[places]]
    names, found = stored.label_space.names, stored.detections
    examples = []
    for place in places[np.lexsort((-scores, -losses.of_detection[places]))][:count].tolist():
        row = int(matched.order[place])
        text = f"{found.scores[row]:.2f}, {NAMES[losses.kind_of_detection[place]]}"  # type: ignore[index]
        person = int(losses.person_of_detection[place])
        if person >= 0:
            truth = matched.truth
            same = (truth.keyframe == truth.keyframe[person]) & (truth.boxes == truth.boxes[person]).all(axis=1)
            text += ": does " + (", ".join(names[k] for k in truth.column[same] if k >= 0) or "nothing of the list")
        examples.append(_example(found.video[row], found.pts_seconds[row], found.boxes_norm[row], text, is_true=False))
    return tuple(examples)


def worst_misses(run: Examined, column: int, count: int) -> tuple[Example, ...]:
    """Return the annotated boxes of a class that lost most: not found, or found last."""
    matched, losses, truth = run.matched, run.losses, run.stored.ground_truth
    assert matched is not None
    assert losses is not None
    assert truth is not None
    places = np.flatnonzero(matched.truth.column[matched.counted] == column)
    score = np.full(len(matched.truth), -np.inf)
    hits = matched.claimed >= 0
    score[matched.claimed[hits]] = matched.found.scores[matched.order[hits]]
    scores, precisions = score[matched.counted[places]], losses.precision_of_truth[places]
    examples = []
    for place in places[np.lexsort((scores, precisions))][:count].tolist():
        row, kind = int(matched.counted[place]), int(losses.kind_of_truth[place])
        if kind >= 0:
            text = f"not found: {NAMES[kind]}"
        else:
            text = f"scored {score[row]:.2f}, found at precision {100 * losses.precision_of_truth[place]:.0f} %"
        examples.append(_example(truth.video[row], truth.pts_seconds[row], truth.boxes_norm[row], text, is_true=True))
    return tuple(examples)


def _example(video: str, seconds: float, box: np.ndarray, text: str, *, is_true: bool) -> Example:
    x1, y1, x2, y2 = box.tolist()
    caption = f"{text} ({video}, {seconds:g} s)"
    return Example(video=video, pts_seconds=float(seconds), box_norm=(x1, y1, x2, y2), caption=caption, is_true=is_true)


def class_strips(run: Examined, class_name: str, *, count: int = 20) -> Strips:
    """Return the pictures of a class; the data the predictions are of must be where it was.

    Raises:
        InputError: No such class, the manifest is gone, or no video could be read.
    """
    column = run.stored.label_space.index(class_name)
    manifest = read_manifest(Path(run.stored.origin["data"]["manifest"]))
    media = _media_by_name(run, manifest)
    wanted = [worst_false_positives(run, column, count), worst_misses(run, column, count)]
    made = [[_still(example, media) for example in examples] for examples in wanted]
    false_positives, misses = (tuple(still for still in stills if still is not None) for stills in made)
    num_unreadable = sum(len(examples) for examples in wanted) - len(false_positives) - len(misses)
    if num_unreadable and not false_positives and not misses:
        raise InputError(f"{manifest.media_root}: none of {num_unreadable} examples' videos could be read")
    return Strips(class_name=class_name, false_positives=false_positives, misses=misses, num_unreadable=num_unreadable)


def _media_by_name(run: Examined, manifest: Manifest) -> dict[str, Media]:
    """Return the media of each video that has a detection, by its name in the predictions."""
    rates = dict(zip(manifest.clips.column("video").to_pylist(), manifest.clips.column("fps").to_pylist(), strict=True))
    media = {}
    for name, sample in zip(run.stored.videos, run.stored.sample_ids, strict=True):
        cell = sample.rsplit(",", 1)[0]
        if name not in media:
            media[name] = resolve_media(manifest.media_root, cell, rates.get(cell) or 0.0)
    return media


def _still(example: Example, media: dict[str, Media]) -> Still | None:
    """Return the frames around an example beside each other; None where they cannot be read."""
    if example.video not in media:
        return None
    times = [max(0.0, example.pts_seconds + offset) for offset in OFFSETS]
    try:
        frames = read_frames(media[example.video], times).frames
    except VideoError:
        return None
    height, width = frames.shape[-2:]
    tile = (TILE_WIDTH, max(1, round(height * TILE_WIDTH / width)))
    strip = Image.new("RGB", (len(OFFSETS) * (tile[0] + 2) - 2, tile[1]))
    for i, frame in enumerate(frames):
        picture = Image.fromarray(frame.permute(1, 2, 0).numpy()).resize(tile, Image.Resampling.BOX)
        if OFFSETS[i] == 0:
            _draw(picture, example)
        strip.paste(picture, (i * (tile[0] + 2), 0))
    data = io.BytesIO()
    strip.save(data, format="jpeg", quality=JPEG_QUALITY)
    what = "annotated" if example.is_true else "false positive"
    return Still(image=data.getvalue(), caption=example.caption, alt=f"{what}: {example.caption}")


def _draw(picture: Image.Image, example: Example) -> None:
    corners = [v * size for v, size in zip(example.box_norm, picture.size * 2, strict=True)]
    canvas = ImageDraw.Draw(picture)
    x1, y1, x2, y2 = corners
    if x2 > x1 and y2 > y1:
        canvas.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=(0, 0, 0), width=4)
        canvas.rectangle((x1, y1, x2, y2), outline=TRUE_COLOUR if example.is_true else FALSE_COLOUR, width=2)


def costliest_classes(run: Examined, count: int) -> Sequence[str]:
    """Return the classes that lost most: of lowest average precision, the more frequent of equal ones."""
    rows = [(q.value, -n, q.name) for q, n in zip(run.per_class, run.num_examples, strict=True) if q.value is not None]
    return [name for _, _, name in sorted(rows)[:count]]
