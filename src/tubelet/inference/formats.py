"""Detections in other programs' formats, made from a finished detections JSON: parquet, WebVTT, SRT, COCO and others.

They are made after the video was read, from all of its moments at once: an hour of four people takes some hundred
megabytes then, while the JSON itself is written in constant memory.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tubelet.boxes import pixel_boxes
from tubelet.inference.annotation_formats import write_cvat, write_fiftyone
from tubelet.inference.detections_file import DECIMALS, DetectionsFile
from tubelet.inference.tubes import NOT_FOLLOWED
from tubelet.records import whole_file
from tubelet.types import ActionDetections

MOST_ACTIONS = 3
"""Of one person in a caption."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A stretch of video during which the same is said."""

    begin_seconds: float
    end_seconds: float
    lines: tuple[str, ...]


def write_parquet(found: DetectionsFile, path: Path) -> None:
    """Write a row for each box, with all scores.

    Columns: ``video, pts_seconds, person_id`` (null = seen once), ``x1, y1, x2, y2`` (0..1), ``box_score, scores`` (a
    list, one for each class). The classes' names are in the file's metadata (``label_names``, a JSON list), and so are
    their ``thresholds``.

    Args:
        found: What was found.
        path: The file.
    """
    moments = [moment for moment in found.moments if len(moment.boxes_norm)]
    boxes = _joined([moment.boxes_norm for moment in moments], (0, 4))
    people = _joined([moment.person_ids for moment in moments], (0,)).astype(np.int64)
    scores = _joined([moment.scores for moment in moments], (0, len(found.label_space))).astype(np.float32)
    columns = {
        "video": pa.array([found.video.path] * len(boxes), pa.string()),
        "pts_seconds": pa.array(
            np.repeat([moment.pts_seconds for moment in moments], [len(moment.boxes_norm) for moment in moments]),
            pa.float64(),
        ),
        "person_id": pa.array(people, pa.int64(), mask=people == NOT_FOLLOWED),
        **{name: pa.array(boxes[:, i], pa.float32()) for i, name in enumerate(("x1", "y1", "x2", "y2"))},
        "box_score": pa.array(_joined([moment.box_scores for moment in moments], (0,)), pa.float32()),
        "scores": pa.FixedSizeListArray.from_arrays(pa.array(scores.ravel()), len(found.label_space)),
    }
    named = {
        "label_names": json.dumps(list(found.label_space.names), ensure_ascii=False),
        "thresholds": json.dumps(found.thresholds.tolist()),
        "task": found.task,
    }
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(pa.table(columns).replace_schema_metadata(named), temporary)
    temporary.replace(path)


def write_vtt(found: DetectionsFile, path: Path) -> None:
    """Write WebVTT captions: who does what, for as long as it stays the same."""
    with whole_file(path) as file:
        file.write("WEBVTT\n")
        for stretch in captions(found):
            # Its text is markup: these three characters would open a tag or an entity.
            text = "\n".join(stretch.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            file.write(f"\n{_clock(stretch.begin_seconds, '.')} --> {_clock(stretch.end_seconds, '.')}\n{text}\n")


def write_srt(found: DetectionsFile, path: Path) -> None:
    """Write SRT captions: who does what, for as long as it stays the same."""
    with whole_file(path) as file:
        for number, stretch in enumerate(captions(found), start=1):
            times = f"{_clock(stretch.begin_seconds, ',')} --> {_clock(stretch.end_seconds, ',')}"
            file.write(f"{number}\n{times}\n" + "\n".join(stretch.lines) + "\n\n")


def write_coco(found: DetectionsFile, path: Path) -> None:
    """Write COCO's JSON: an image for each moment, an annotation for each box and action from its threshold on.

    An image's ``file_name`` is the video's stem and the time in milliseconds; ``pts_seconds`` says which frame it is.
    ``track_id`` is the identity (left out where somebody was seen once), ``score`` the action's.
    """
    video, space = found.video, found.label_space
    stem = Path(video.path).stem
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, moment in enumerate(found.moments, start=1):
        name = f"{stem}_{round(1000 * moment.pts_seconds):09d}.jpg"
        size = {"width": video.width, "height": video.height}
        images.append({"id": number, "file_name": name, **size, "pts_seconds": moment.pts_seconds})
        boxes = pixel_boxes(moment.boxes_norm.astype(np.float64), (video.height, video.width))
        for row, column in np.argwhere(moment.scores >= found.thresholds):
            x, y, right, bottom = (round(float(v), 2) for v in boxes[row])
            bbox = [x, y, round(right - x, 2), round(bottom - y, 2)]
            person = int(moment.person_ids[row])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": space.published_ids[column],
                    "bbox": bbox,
                    "area": round(bbox[2] * bbox[3], 2),
                    "iscrowd": 0,
                    "score": round(float(moment.scores[row, column]), DECIMALS),
                    **({} if person == NOT_FOLLOWED else {"track_id": person}),
                }
            )
    categories = [{"id": i, "name": name} for i, name in zip(space.published_ids, space.names, strict=True)]
    with whole_file(path) as file:
        json.dump({"images": images, "annotations": annotations, "categories": categories}, file, ensure_ascii=False)


FORMATS: Mapping[str, tuple[str, Callable[[DetectionsFile, Path], None]]] = {
    "parquet": (".parquet", write_parquet),
    "vtt": (".vtt", write_vtt),
    "srt": (".srt", write_srt),
    "coco": (".coco.json", write_coco),
    "cvat": (".cvat.xml", write_cvat),
    "fiftyone": (".fiftyone.zip", write_fiftyone),
}
"""Name to file ending and to what writes it: what was found, the file."""


def captions(found: DetectionsFile) -> Iterator[Stretch]:
    """Yield what is said, in order and without overlap; a line for each person who does something.

    A moment speaks for the time up to halfway to its neighbours; neighbours that say the same are one.

    Args:
        found: What was found; its thresholds say what counts.
    """
    held: Stretch | None = None
    for begin, end, moment in speaking_times(found):
        now = Stretch(begin_seconds=begin, end_seconds=end, lines=_lines(found, moment))
        if held is not None and held.lines == now.lines:
            now = Stretch(begin_seconds=held.begin_seconds, end_seconds=end, lines=now.lines)
        elif held is not None and held.lines:
            yield held
        held = now
    if held is not None and held.lines:
        yield held


def speaking_times(found: DetectionsFile) -> Iterator[tuple[float, float, ActionDetections]]:
    """Yield each moment with the time it speaks for."""
    times = [moment.pts_seconds for moment in found.moments]
    edges = [0.0, *((a + b) / 2 for a, b in pairwise(times)), max([found.video.duration_seconds, *times[-1:]])]
    yield from zip(edges[:-1], edges[1:], found.moments)


def _lines(found: DetectionsFile, moment: ActionDetections) -> tuple[str, ...]:
    """Return ``person: action, action`` for each, best action first, those who are followed first."""
    lines = []
    order = sorted(
        range(len(moment.person_ids)), key=lambda i: (moment.person_ids[i] == NOT_FOLLOWED, moment.person_ids[i])
    )
    for row in order:
        best = np.argsort(-moment.scores[row], kind="stable")[:MOST_ACTIONS]
        names = [found.label_space.names[k] for k in best if moment.scores[row, k] >= found.thresholds[k]]
        who = "?" if moment.person_ids[row] == NOT_FOLLOWED else str(moment.person_ids[row])
        lines += [f"{who}: {', '.join(names)}"] if names else []
    return tuple(lines)


def _clock(seconds: float, point: str) -> str:
    """Return hours, minutes, seconds and milliseconds as captions write them."""
    whole, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{milliseconds:03d}"


def _joined(parts: list[np.ndarray], empty: tuple[int, ...]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(empty)
