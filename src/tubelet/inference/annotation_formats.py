"""Detections as annotation tools import them: CVAT's "for video 1.1" XML and FiftyOne's video labels.

Both count frames: a moment's frame is the one that its time falls on at the video's average rate.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from tubelet.boxes import pixel_boxes
from tubelet.inference.detections_file import DECIMALS, DetectionsFile
from tubelet.inference.tubes import NOT_FOLLOWED
from tubelet.records import whole_file
from tubelet.types import ActionDetections

PERSON = "person"

Sighting = tuple[int, np.ndarray, np.ndarray] | None
"""Frame, box in pixels (4,) and whether each action is done (K,), of one person; None = not there."""


def frame_number(found: DetectionsFile, moment: ActionDetections) -> int:
    """Return the frame, counted from 0, that a moment falls on."""
    return round(moment.pts_seconds * found.video.fps)


def write_cvat(found: DetectionsFile, path: Path) -> None:
    """Write CVAT's "for video 1.1" XML: a track for each person, with a checkbox for each action.

    Between its boxes CVAT moves a track evenly. ``tubelet data import cvat --attributes`` reads it back.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    _describe_task(ElementTree.SubElement(root, "meta"), found)
    for number, sightings in enumerate(_tracks(found)):
        track = ElementTree.SubElement(root, "track", {"id": str(number), "label": PERSON, "source": "auto"})
        _add_boxes(track, sightings, found.label_space.names)
    ElementTree.indent(root)
    with whole_file(path) as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n")


def _describe_task(meta: ElementTree.Element, found: DetectionsFile) -> None:
    video, task = found.video, ElementTree.SubElement(meta, "task")
    facts = {
        "name": Path(video.path).stem,
        "size": round(video.duration_seconds * video.fps),
        "mode": "interpolation",
        "start_frame": 0,
        "frame_filter": "",
    }
    for name, value in facts.items():
        ElementTree.SubElement(task, name).text = str(value)
    label = ElementTree.SubElement(ElementTree.SubElement(task, "labels"), "label")
    ElementTree.SubElement(label, "name").text = PERSON
    attributes = ElementTree.SubElement(label, "attributes")
    for action in found.label_space.names:
        attribute = ElementTree.SubElement(attributes, "attribute")
        checkbox = {"mutable": "True", "input_type": "checkbox", "default_value": "false", "values": "false"}
        for name, value in ({"name": action} | checkbox).items():
            ElementTree.SubElement(attribute, name).text = value
    size = ElementTree.SubElement(task, "original_size")
    ElementTree.SubElement(size, "width").text = str(video.width)
    ElementTree.SubElement(size, "height").text = str(video.height)
    ElementTree.SubElement(task, "source").text = Path(video.path).name


def _tracks(found: DetectionsFile) -> Iterator[list[Sighting]]:
    """Yield for each person, in order of first appearance, where she is at her first moment and those after it.

    Somebody seen once is a track of her own.
    """
    followed: dict[int, list[Sighting]] = {}
    tracks: list[list[Sighting]] = []
    for moment in found.moments:
        frame = frame_number(found, moment)
        boxes = pixel_boxes(moment.boxes_norm.astype(np.float64), (found.video.height, found.video.width))
        there = moment.person_ids.tolist()
        for row, person in enumerate(there):
            sighting = (frame, boxes[row], moment.scores[row] >= found.thresholds)
            if person == NOT_FOLLOWED:
                tracks.append([sighting])
            elif person in followed:
                followed[person].append(sighting)
            else:
                tracks.append(followed.setdefault(person, [sighting]))
        for person, sightings in followed.items():
            if person not in there:
                sightings.append(None)
    yield from tracks


def _add_boxes(track: ElementTree.Element, sightings: Sequence[Sighting], names: Sequence[str]) -> None:
    """Add a box for each sighting, and one that ends the track where she is gone."""
    last: tuple[int, np.ndarray, np.ndarray] | None = None
    for now in (*sightings, None):
        shown = now if now is not None else None if last is None else (last[0] + 1, *last[1:])
        if shown is not None:
            frame, box, does = shown
            sides = {name: f"{value:.2f}" for name, value in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)}
            state = {"frame": str(frame), "outside": "0" if now is not None else "1", "occluded": "0", "keyframe": "1"}
            element = ElementTree.SubElement(track, "box", state | sides | {"z_order": "0"})
            for name, done in zip(names, does.tolist(), strict=True):
                ElementTree.SubElement(element, "attribute", {"name": name}).text = "true" if done else "false"
        last = now


def write_fiftyone(found: DetectionsFile, path: Path) -> None:
    """Write a zip that FiftyOne imports as a ``FiftyOneVideoLabelsDataset``, once the video lies in its ``data/``.

    A detection for each box and action from its threshold on, as in COCO; ``index`` is the identity.
    """
    stem, name = Path(found.video.path).stem, Path(found.video.path).name
    frames: dict[str, Any] = {}
    for moment in found.moments:
        number = frame_number(found, moment) + 1  # FiftyOne counts from 1
        objects = [_object(found, moment, row, k, number) for row, k in np.argwhere(moment.scores >= found.thresholds)]
        frames[str(number)] = {"frame_number": number, "objects": {"objects": objects}}
    index = [{"data": f"data/{name}", "labels": f"labels/{stem}.json"}]
    manifest = {"type": "eta.core.datasets.LabeledVideoDataset", "description": "", "index": index}
    temporary = path.with_name(f".{path.name}.tmp")
    with ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        for member, content in (("manifest.json", manifest), (f"labels/{stem}.json", {"frames": frames})):
            archive.writestr(ZipInfo(member), json.dumps(content, ensure_ascii=False), ZIP_DEFLATED)
    temporary.replace(path)


def _object(found: DetectionsFile, moment: ActionDetections, row: int, k: int, number: int) -> dict[str, Any]:
    x1, y1, x2, y2 = (round(float(value), DECIMALS) for value in moment.boxes_norm[row])
    person = int(moment.person_ids[row])
    return {
        "type": "eta.core.objects.DetectedObject",
        "label": found.label_space.names[k],
        "bounding_box": {"top_left": {"x": x1, "y": y1}, "bottom_right": {"x": x2, "y": y2}},
        "confidence": round(float(moment.scores[row, k]), DECIMALS),
        **({} if person == NOT_FOLLOWED else {"index": person}),
        "frame_number": number,
    }
