"""CVAT's "for video 1.1" files: people followed through a video of one's own.

Layout: ``annotations > meta > task > original_size, source`` and ``track[label] > box[frame, outside, xtl, ytl, xbr,
ybr] > attribute[name]``; frames from 0, pixels. A box with ``outside="1"`` ends a track and is no box.
An action is the track's label, or an attribute of the box: its value, or its name where the value is true (a checkbox).
Quirks: a task that uses every n-th frame or begins later numbers its frames anew; such files are refused. CVAT writes
interpolated boxes for every frame, so ``keyframe_every`` matters: 25 boxes a second teach little more than one.
Licence and counts: yours.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import read_classes
from tubelet.data.sources.frame_boxes import LARGEST, FrameBox, write_frame_boxes
from tubelet.records import read_text
from tubelet.types import InputError, did_you_mean

logger = logging.getLogger(__name__)

NO_VALUE = ("", "false", "none", "__undefined__")


def import_cvat(
    *,
    train: tuple[Path, ...] = (),
    val: tuple[Path, ...] = (),
    test: tuple[Path, ...] = (),
    media_root: Path,
    out: Path,
    attributes: tuple[str, ...] = (),
    labels: str | None = None,
    frames_fps: float = 25.0,
    keyframe_every: int = 1,
    name: str = "cvat",
    licence: str = "unknown",
) -> Manifest:
    """Turn CVAT's files, one for each video, into a manifest.

    Args:
        train: Files of the training videos (CVAT for video 1.1, xml).
        val: The same for validation.
        test: The same for testing.
        media_root: Folder of the videos, called as the task's source, its name or the xml file.
        out: Folder of the manifest.
        attributes: Attributes of the boxes whose values are actions (a checkbox: whose name is); default: the label of
            the track is the action.
        labels: Text file with an action on each line, for their order; default: those found, sorted.
        frames_fps: Rate of folders of frames.
        keyframe_every: Use boxes of each n-th frame.
        name: Of the data set, its task and head.
        licence: Of the annotations.

    Raises:
        InputError: A mistake in a file; or no video found.
    """
    if not (*train, *val, *test):
        raise InputError("no annotation: expected files of train, val or test")
    boxes: list[FrameBox] = []
    roots: list[ElementTree.Element] = []
    sizes: dict[str, tuple[float, float]] = {}
    names: dict[str, tuple[str, ...]] = {}
    split_of: dict[str, str] = {}
    counts = {"boxes_outside": 0}
    for split, paths in (("train", train), ("val", val), ("test", test)):
        for path in paths:
            roots.append(root := _parsed(path))
            video = path.stem
            if video in split_of:
                raise InputError(
                    f"{path}: another file is called {path.name} (in {split_of[video]}, this one in {split}); expected "
                    "one file for each video"
                )
            split_of[video] = split
            sizes[video] = _size(path, root)
            named = [_text(root, "meta/task/source"), _text(root, "meta/task/name"), path.stem]
            names[video] = tuple(dict.fromkeys(text for text in named if text))
            boxes += _boxes(path, root, video, sizes[video], attributes, counts)
    _check_attributes(attributes, roots)
    return write_frame_boxes(
        boxes,
        names=names,
        split_of=split_of,
        sizes=sizes,
        in_seconds=False,
        media_root=media_root,
        out=out,
        name=name,
        labels=None if labels is None else read_classes(labels).names,
        frames_fps=frames_fps,
        keyframe_every=keyframe_every,
        licence=licence,
        source="CVAT for video 1.1",
        counts=counts,
    )


def _parsed(path: Path) -> ElementTree.Element:
    try:
        # Expat bounds the growth of entities (2.4.1, part of every Python that Tubelet runs on).
        root = ElementTree.fromstring(read_text(path))
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: not XML ({error})") from None
    if root.tag != "annotations":
        raise InputError(f"{path}: begins with <{root.tag}>, expected <annotations> (CVAT for video 1.1)")
    if root.find("image") is not None:
        raise InputError(f"{path}: has images; expected tracks: export as 'CVAT for video 1.1'")
    step, start = _text(root, "meta/task/frame_filter"), _text(root, "meta/task/start_frame")
    if step or start not in ("", "0"):
        raise InputError(f"{path}: frames begin at {start or 0}, filter {step!r}; expected a task of all frames")
    return root


def _text(root: ElementTree.Element, place: str) -> str:
    return (root.findtext(place) or "").strip()


def _size(path: Path, root: ElementTree.Element) -> tuple[float, float]:
    texts = [_text(root, f"meta/task/original_size/{side}") for side in ("width", "height")]
    try:
        width, height = map(float, texts)
        if not (0 < width < LARGEST and 0 < height < LARGEST):
            raise ValueError
    except ValueError:
        found = " x ".join(text or "nothing" for text in texts)
        raise InputError(f"{path}: meta/task/original_size is {found}, expected width and height in pixels") from None
    return width, height


def _boxes(
    path: Path,
    root: ElementTree.Element,
    video: str,
    size: tuple[float, float],
    attributes: Sequence[str],
    counts: dict[str, int],
) -> Iterator[FrameBox]:
    width, height = size
    for number, track in enumerate(root.iter("track")):
        label = track.get("label", "")
        if not label:
            raise InputError(f"{path}: track {track.get('id', number)} has no label")
        for box in track.iter("box"):
            if box.get("outside") == "1":
                counts["boxes_outside"] += 1
                continue
            place = f"{path}: track {track.get('id', number)}, frame {box.get('frame')}"
            try:
                x1, y1, x2, y2 = (float(box.attrib[corner]) for corner in ("xtl", "ytl", "xbr", "ybr"))
                frame = int(box.attrib["frame"])
            except (KeyError, ValueError) as error:
                raise InputError(f"{place}: expected frame, xtl, ytl, xbr, ybr as numbers ({error})") from None
            if not (0 <= frame < LARGEST and -LARGEST < x1 <= x2 < LARGEST and -LARGEST < y1 <= y2 < LARGEST):
                box_is = f"box {x1:g}, {y1:g}, {x2:g}, {y2:g}"
                raise InputError(f"{place}: {box_is}; expected frames from 0, xtl below xbr and ytl below ybr")
            corners = (x1 / width, y1 / height, x2 / width, y2 / height)
            actions = _actions(box, attributes) if attributes else (label,)
            yield FrameBox(video, frame, corners, actions, number)


def _check_attributes(wanted: Sequence[str], roots: Iterable[ElementTree.Element]) -> None:
    """Refuse an attribute that no box has; tell of those not asked for where all tracks are called alike."""
    found: dict[str, None] = {}
    labels: dict[str, None] = {}
    for root in roots:
        found |= dict.fromkeys(attribute.get("name", "") for attribute in root.iter("attribute"))
        labels |= dict.fromkeys(track.get("label", "") for track in root.iter("track"))
    for name in wanted:
        if name not in found:
            there = ", ".join(sorted(found)) or "none"
            raise InputError(
                f"--attributes: no box has an attribute {name!r}{did_you_mean(name, found)}; there: {there}"
            )
    if not wanted and found and len(labels) == 1:
        logger.warning(
            "every track is a %r, which is then the only action; the boxes' attributes (%s) are not read: say which of "
            "them hold actions with --attributes",
            next(iter(labels)),
            ", ".join(sorted(found)),
        )


def _actions(box: ElementTree.Element, attributes: Sequence[str]) -> tuple[str, ...]:
    found = []
    for attribute in box.iter("attribute"):
        name, value = attribute.get("name", ""), (attribute.text or "").strip()
        if name in attributes and value.lower() not in NO_VALUE:
            found.append(name if value.lower() == "true" else value)
    return tuple(dict.fromkeys(found))
