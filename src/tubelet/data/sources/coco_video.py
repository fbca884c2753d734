"""COCO-style boxes on the frames of videos of one's own (as CocoVID, TAO and YouTube-VIS lay them out).

Layout, JSON: ``videos``: ``id``, ``name`` or ``file_name``; ``images``: ``id``, ``video_id``, ``width``, ``height`` and
``frame_index``, ``frame_id`` or ``pts_seconds``; ``annotations``: ``image_id``, ``bbox`` (x, y, width, height in
pixels), ``category_id`` or a list ``category_ids``, and maybe ``track_id`` or ``instance_id``; ``categories``: ``id``,
``name``. The categories are the actions.
Quirks: boxes are x, y, width, height, not corners; some tools count frames from 1 (``first_frame``); images without an
annotation are keyframes with nobody on them.
Licence and counts: yours.
"""

import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import given
from tubelet.data.sources.frame_boxes import LARGEST, FrameBox, write_frame_boxes
from tubelet.records import read_json
from tubelet.types import InputError

FRAME_KEYS = ("pts_seconds", "frame_index", "frame_id")


def import_coco_video(
    *,
    train: Path | None = None,
    val: Path | None = None,
    test: Path | None = None,
    media_root: Path,
    out: Path,
    first_frame: int = 0,
    frames_fps: float = 25.0,
    keyframe_every: int = 1,
    name: str = "coco_video",
    licence: str = "unknown",
) -> Manifest:
    """Turn COCO-style JSON files with boxes of actions into a manifest.

    Args:
        train: JSON of the training videos.
        val: The same for validation.
        test: The same for testing.
        media_root: Folder of the videos, or of folders of frames.
        out: Folder of the manifest.
        first_frame: The number that the files give the first frame of a video.
        frames_fps: Rate of folders of frames.
        keyframe_every: Use boxes of each n-th frame.
        name: Of the data set, its task and head.
        licence: Of the annotations.

    Raises:
        InputError: A mistake in a file; or no video found.
    """
    splits = given(train=train, val=val, test=test)
    if not splits:
        raise InputError("no annotation: expected a file of train, val or test")
    held = {split: _read(path, first_frame) for split, path in splits}
    split_of: dict[str, str] = {}
    for split, path in splits:
        for video in held[split].videos:
            if split_of.setdefault(video, split) != split:
                raise InputError(f"{path}: video {video!r} is in {split_of[video]} and in {split}; expected one split")
    placed_by = {key: path for split, path in splits for key in held[split].placed_by}
    if len(placed_by) > 1:
        found = " and ".join(f"{key} ({path})" for key, path in placed_by.items())
        raise InputError(f"images are placed by {found}; expected one of them")
    return write_frame_boxes(
        [box for one in held.values() for box in one.boxes],
        empty_frames=[place for one in held.values() for place in one.nobody],
        names={video: (video,) for video in split_of},
        split_of=split_of,
        sizes={video: size for one in held.values() for video, size in one.sizes.items()},
        in_seconds="pts_seconds" in placed_by,
        media_root=media_root,
        out=out,
        name=name,
        labels=tuple(dict.fromkeys(category for one in held.values() for category in one.categories)),
        frames_fps=frames_fps,
        keyframe_every=keyframe_every,
        licence=licence,
        source="COCO-style video boxes",
        counts={},
    )


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What a file holds."""

    videos: list[str]
    categories: list[str]
    boxes: list[FrameBox]
    nobody: list[tuple[str, float]]
    """Video and frame (or seconds) of the images without an annotation."""
    sizes: dict[str, tuple[float, float]]
    """Width and height of the frames of each video that has any."""
    placed_by: set[str]
    """Which of ``FRAME_KEYS`` its images have."""


def _read(path: Path, first_frame: int) -> _Held:
    held = read_json(path)
    wanted = ("videos", "images", "annotations", "categories")
    if not isinstance(held, dict) or (missing := [key for key in wanted if not isinstance(held.get(key), list)]):
        what = f"has no list {missing[0]!r}" if isinstance(held, dict) else "is no object"
        raise InputError(f"{path}: {what}; expected {', '.join(wanted)}")
    videos = _names(path, held, "videos", "name", "file_name")
    categories = _names(path, held, "categories", "name")
    images = {i: _image(place, image, videos, first_frame) for i, place, image in _objects(path, held, "images")}
    sizes: dict[str, tuple[float, float]] = {}
    for i, image in images.items():
        if sizes.setdefault(image.video, image.size) != image.size:
            raise InputError(
                f"{path}: images[{i!r}]: {image.size} pixels, an earlier one of {image.video!r} has another"
            )
    boxes, somebody = [], set()
    for _, place, annotation in _objects(path, held, "annotations"):
        i = _known(place, annotation, "image_id", images)
        somebody.add(i)
        boxes.append(_box(place, annotation, images[i], categories))
    if boxes and all(max(side * n for side, n in zip(b.box_norm[2:], sizes[b.video])) <= 1 for b in boxes):
        raise InputError(
            f"{path}: every bbox lies within one pixel; expected x, y, width, height in pixels, not in 0..1"
        )
    return _Held(
        videos=list(videos.values()),
        categories=list(categories.values()),
        boxes=boxes,
        nobody=[(image.video, image.at) for i, image in images.items() if i not in somebody],
        sizes=sizes,
        placed_by={image.placed_by for image in images.values()},
    )


@dataclass(frozen=True, slots=True)
class _Image:
    video: str
    at: float
    """Frame from 0, or seconds."""
    placed_by: str
    size: tuple[float, float]


def _image(place: str, image: Mapping[str, Any], videos: Mapping[object, str], first_frame: int) -> _Image:
    key = next((key for key in FRAME_KEYS if key in image), None)
    if key is None:
        raise InputError(f"{place}: has none of {', '.join(FRAME_KEYS)}")
    first = 0 if key == "pts_seconds" else first_frame
    size = _number(place, image, "width", least=1), _number(place, image, "height", least=1)
    at = _number(place, image, key, least=first) - first
    if key != "pts_seconds" and at != int(at):
        raise InputError(f"{place}: {key} is {_shown(image[key])}, expected a whole number")
    return _Image(videos[_known(place, image, "video_id", videos)], at, key, size)


def _box(place: str, annotation: Mapping[str, Any], image: _Image, categories: Mapping[object, str]) -> FrameBox:
    width, height = image.size
    sides = annotation.get("bbox")
    if not isinstance(sides, list) or len(sides) != 4:
        raise InputError(f"{place}: bbox is {_shown(sides)}, expected x, y, width, height in pixels")
    named = dict(zip(("x", "y", "width", "height"), sides, strict=True))
    x, y = (_number(f"{place}: bbox", named, key) for key in ("x", "y"))
    w, h = (_number(f"{place}: bbox", named, key, least=0) for key in ("width", "height"))
    ids = annotation["category_ids"] if "category_ids" in annotation else [annotation.get("category_id")]
    if not isinstance(ids, list):
        raise InputError(f"{place}: category_ids is {_shown(ids)}, expected a list")
    labels = [categories[_known(place, {"category_id": i}, "category_id", categories)] for i in ids]
    key = "track_id" if "track_id" in annotation else "instance_id"
    person = -1 if annotation.get(key) is None else int(_number(place, annotation, key))
    box = (x / width, y / height, (x + w) / width, (y + h) / height)
    return FrameBox(image.video, image.at, box, tuple(dict.fromkeys(labels)), person)


def _objects(path: Path, held: Mapping[str, Any], name: str) -> Iterator[tuple[object, str, Mapping[str, Any]]]:
    """Yield the id of each object of a list (annotations may lack it), where it stands, and the object."""
    seen = set()
    for number, item in enumerate(held[name]):
        place = f"{path}: {name}[{number}]"
        if not isinstance(item, dict):
            raise InputError(f"{place}: is {_shown(item)}, expected an object")
        i = item.get("id", None if name != "annotations" else number)
        if not isinstance(i, (int, str)) or i in seen:
            raise InputError(f"{place}: id is {_shown(i)}, expected a number or text that no other of them has")
        seen.add(i)
        yield i, f"{place} (id {_shown(i)})" if "id" in item else place, item


def _names(path: Path, held: Mapping[str, Any], what: str, *keys: str) -> dict[object, str]:
    """Return id to name; of two with one name nobody could tell which is meant."""
    names: dict[object, str] = {}
    taken: set[str] = set()
    for i, place, item in _objects(path, held, what):
        name = _name(place, item, *keys)
        if name in taken:
            raise InputError(f"{place}: an earlier one of {what} is called {name!r} as well")
        taken.add(name)
        names[i] = name
    return names


def _name(place: str, item: Mapping[str, Any], *keys: str) -> str:
    found = next((item[key] for key in keys if item.get(key)), None)
    if not isinstance(found, str):
        raise InputError(f"{place}: {' or '.join(keys)} is {_shown(found)}, expected a name")
    return found


def _known(place: str, item: Mapping[str, Any], key: str, table: Mapping[object, object]) -> object:
    value = item.get(key)
    if not isinstance(value, (int, str)) or value not in table:
        raise InputError(f"{place}: {key} is {_shown(value)}, which none of the {len(table)} listed has as its id")
    return value


def _number(place: str, item: Mapping[str, Any], key: str, *, least: float = -LARGEST) -> float:
    value = item.get(key)
    try:
        number = float(value)  # type: ignore[arg-type]  # None and lists are refused below
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not least <= number < LARGEST:
        raise InputError(
            f"{place}: {key} is {_shown(value)}, expected a number" + (f" from {least:g}" * (least > -LARGEST))
        )
    return number


def _shown(value: object) -> str:
    return textwrap.shorten(repr(value), 60)
