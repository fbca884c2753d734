"""COCO-style boxes on the frames of videos of one's own (as CocoVID, TAO and YouTube-VIS lay them out).

Layout, JSON: ``videos``: ``id``, ``name`` or ``file_name``; ``images``: ``id``, ``video_id``, ``width``, ``height`` and
``frame_index``, ``frame_id`` or ``pts_seconds``; ``annotations``: ``image_id``, ``bbox`` (x, y, width, height in
pixels), ``category_id`` or a list ``category_ids``, and maybe ``track_id`` or ``instance_id``; ``categories``: ``id``,
``name``. The categories are the actions.
Quirks: boxes are x, y, width, height, not corners; some tools count frames from 1 (``first_frame``); images without an
annotation are keyframes with nobody on them.
Licence and counts: yours.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import read_json
from tubelet.data.sources.frame_boxes import FrameBox, write_frame_boxes
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
    boxes: list[FrameBox] = []
    empty: list[tuple[str, float]] = []
    split_of: dict[str, str] = {}
    classes: dict[str, None] = {}
    key_used: set[str] = set()
    for split, path in (("train", train), ("val", val), ("test", test)):
        if path is None:
            continue
        found, nobody, videos, categories = _read(path, first_frame, key_used)
        for video in videos:
            if video in split_of:
                raise InputError(f"{path}: video {video!r} is in {split_of[video]} as well; expected it in one split")
            split_of[video] = split
        boxes += found
        empty += nobody
        classes |= dict.fromkeys(categories)
    if len(key_used) > 1:
        raise InputError(f"{name}: images are placed by {', '.join(sorted(key_used))}; expected one of them")
    return write_frame_boxes(
        boxes,
        empty_frames=empty,
        names={video: (video,) for video in split_of},
        split_of=split_of,
        in_seconds=key_used == {"pts_seconds"},
        media_root=media_root,
        out=out,
        name=name,
        labels=tuple(classes),
        frames_fps=frames_fps,
        keyframe_every=keyframe_every,
        licence=licence,
        source="COCO-style video boxes",
        counts={},
    )


def _read(
    path: Path, first_frame: int, key_used: set[str]
) -> tuple[list[FrameBox], list[tuple[str, float]], list[str], list[str]]:
    """Return a file's boxes, frames without one, videos and categories."""
    held = read_json(path)
    wanted = ("videos", "images", "annotations", "categories")
    if not isinstance(held, dict) or (missing := [key for key in wanted if not isinstance(held.get(key), list)]):
        what = f"has no list {missing[0]!r}" if isinstance(held, dict) else "is no object"
        raise InputError(f"{path}: {what}; expected {', '.join(wanted)}")
    try:
        return _boxes(held, first_frame, key_used)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(f"{path}: not COCO-style video boxes: {type(error).__name__} {error}") from None


def _boxes(
    held: Mapping[str, Any], first_frame: int, key_used: set[str]
) -> tuple[list[FrameBox], list[tuple[str, float]], list[str], list[str]]:
    """Return the boxes, the frames without one, the names of the videos and of the categories."""
    videos = {video["id"]: str(video.get("name") or video["file_name"]) for video in held["videos"]}
    categories = {category["id"]: str(category["name"]) for category in held["categories"]}
    images = {image["id"]: image for image in held["images"]}
    at = {}
    for number, image in images.items():
        key = next((key for key in FRAME_KEYS if key in image), None)
        if key is None:
            raise ValueError(f"image {number} has none of {', '.join(FRAME_KEYS)}")
        key_used.add(key)
        at[number] = videos[image["video_id"]], float(image[key]) - (0 if key == "pts_seconds" else first_frame)
    boxes = []
    for annotation in held["annotations"]:
        image = images[annotation["image_id"]]
        width, height = float(image["width"]), float(image["height"])
        x, y, w, h = (float(number) for number in annotation["bbox"])
        ids = annotation["category_ids"] if "category_ids" in annotation else [annotation["category_id"]]
        labels = tuple(dict.fromkeys(categories[number] for number in ids))
        person = int(annotation.get("track_id", annotation.get("instance_id", -1)))
        box = (x / width, y / height, (x + w) / width, (y + h) / height)
        boxes.append(FrameBox(*at[image["id"]], box, labels, person))
    with_somebody = {annotation["image_id"] for annotation in held["annotations"]}
    nobody = [place for number, place in at.items() if number not in with_somebody]
    return boxes, nobody, list(videos.values()), list(categories.values())
