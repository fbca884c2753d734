"""Detections as files: AVA csv, and JSON with a versioned schema (``assets/detections.schema.json``)."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from tubelet.data.ava_csv import csv_lines
from tubelet.data.ava_table import AvaTable
from tubelet.labels import LabelSpace
from tubelet.records import read_json, to_json, whole_file
from tubelet.types import ActionDetections, InputError, VideoMeta

SCHEMA = "tubelet.detections/1"
# Boxes and scores are written with this many decimals: a tenth of a pixel at 1000 pixels.
DECIMALS = 4
THRESHOLD = 0.3
"""Score from which on an action is said to happen, where none was chosen for a class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionsFile:
    """What a detections JSON holds."""

    video: VideoMeta
    task: str
    label_space: LabelSpace
    thresholds: np.ndarray
    """float32 (K,): from which score on an action was said to happen."""
    moments: tuple[ActionDetections, ...]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the detections file."""
    text = files("tubelet.inference").joinpath("assets/detections.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@contextmanager
def json_writer(
    path: Path, *, video: VideoMeta, task: str, label_space: LabelSpace, thresholds: np.ndarray
) -> Iterator[Callable[[ActionDetections], None]]:
    """Write a detections JSON moment by moment, so that hours of video need no memory; whole or not at all.

    Args:
        path: The file; its folder is created.
        video: Facts of the video.
        task: Name of the head that scored.
        label_space: Classes of the scores' columns.
        thresholds: (K,), as ``DetectionsFile`` has them.

    Yields:
        Call it with each moment, in order of time.
    """
    head = {
        "schema": SCHEMA,
        "video": to_json(video),
        "task": task,
        "label_space": label_space.to_json(),
        "thresholds": _rounded(thresholds),
    }
    with whole_file(path) as file:
        opening = json.dumps(head, ensure_ascii=False, allow_nan=False, indent=1)
        file.write(opening.removesuffix("\n}") + ',\n "moments": [')
        comma = ""

        def write(moment: ActionDetections) -> None:
            nonlocal comma
            if moment.scores.shape[1] != len(label_space):
                raise ValueError(f"scores has shape {moment.scores.shape}, expected (*, {len(label_space)})")
            # One line a moment: small, and still readable and greppable.
            line = json.dumps(_moment_json(moment), allow_nan=False, separators=(",", ":"))
            file.write(f"{comma}\n  {line}")
            comma = ","

        yield write
        file.write("\n ]\n}\n")


@contextmanager
def ava_writer(
    path: Path, *, video_id: str, label_space: LabelSpace, threshold: float
) -> Iterator[Callable[[ActionDetections], int]]:
    """Write an AVA detections csv moment by moment; whole or not at all.

    Args:
        path: The csv; its folder is created.
        video_id: First column; AVA's ids are file names without ending.
        label_space: Its published ids are the file's action ids.
        threshold: Smallest score written; scores count down to low values in average precision, so keep it low.

    Yields:
        Call it with each moment: it writes a row for each box and class with a score of at least ``threshold``, and
        returns how many scores are below.
    """
    if "," in video_id or "\n" in video_id:
        raise InputError(f"{video_id!r} cannot be a video id in an AVA csv: no comma or line break is allowed there")
    ids = np.array(label_space.published_ids)
    with whole_file(path) as file:

        def write(moment: ActionDetections) -> int:
            rows, columns = np.nonzero(moment.scores >= threshold)
            table = AvaTable(
                video=np.full(len(rows), video_id, dtype=object),
                pts_seconds=np.full(len(rows), moment.pts_seconds),
                boxes_norm=moment.boxes_norm[rows],
                label_ids=ids[columns],
                scores=moment.scores[rows, columns],
            )
            file.writelines(f"{line}\n" for line in csv_lines(table))
            return int(moment.scores.size) - len(rows)

        yield write


def read_detections(path: Path | str) -> DetectionsFile:
    """Read a detections JSON back.

    Raises:
        InputError: The file is not a detections JSON of this version.
    """
    data = read_json(path)
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise InputError(f"{path}: expected the schema {SCHEMA!r}, found {found!r}")
    try:
        video = VideoMeta(**data["video"])
        space = LabelSpace.from_json(data["label_space"])
        moments = tuple(_moment(video.path, entry, len(space)) for entry in data["moments"])
        least = np.array(data.get("thresholds", [THRESHOLD] * len(space)), dtype=np.float32)
        if least.shape != (len(space),):
            raise ValueError(f"{len(least)} thresholds for {len(space)} classes")
        return DetectionsFile(video=video, task=data["task"], label_space=space, thresholds=least, moments=moments)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a whole {SCHEMA} file ({type(error).__name__}: {error})") from error


def _moment_json(moment: ActionDetections) -> dict[str, Any]:
    rows = zip(moment.person_ids, moment.boxes_norm, moment.box_scores, moment.scores)
    shot = [round(seconds, 6) if isfinite(seconds) else None for seconds in moment.shot_seconds]
    return {
        "pts_seconds": round(moment.pts_seconds, 6),
        **({} if shot == [None, None] else {"shot_seconds": shot}),
        "people": [
            {
                "person_id": int(person) if person >= 0 else None,
                "box_norm": _rounded(box),
                "box_score": round(float(box_score), DECIMALS),
                "scores": _rounded(scores),
            }
            for person, box, box_score, scores in rows
        ],
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(v), DECIMALS) for v in values]


def _moment(video: str, entry: dict[str, Any], num_classes: int) -> ActionDetections:
    people = entry["people"]
    ids = [-1 if p["person_id"] is None else p["person_id"] for p in people]
    begins, ends = entry.get("shot_seconds", (None, None))
    return ActionDetections(
        video=video,
        pts_seconds=float(entry["pts_seconds"]),
        boxes_norm=np.array([p["box_norm"] for p in people], dtype=np.float32).reshape(-1, 4),
        scores=np.array([p["scores"] for p in people], dtype=np.float32).reshape(-1, num_classes),
        box_scores=np.array([p["box_score"] for p in people], dtype=np.float32),
        person_ids=np.array(ids, dtype=np.int64),
        shot_seconds=(-inf if begins is None else float(begins), inf if ends is None else float(ends)),
    )
