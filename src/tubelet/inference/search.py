"""Moments with an action, found again in the results of many videos."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tubelet.inference.detections_file import SCHEMA, THRESHOLD, DetectionsFile, read_detections
from tubelet.inference.formats import speaking_times
from tubelet.inference.tubes import NOT_FOLLOWED
from tubelet.labels import LabelSpace
from tubelet.types import ActionDetections, InputError, VideoMeta, did_you_mean

HEAD_BYTES = 300
"""A detections JSON says so within its first bytes; others are not read whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A stretch of a video in which somebody does something."""

    video: str
    action: str
    person_id: int
    """-1 = seen only once."""
    begin_seconds: float
    end_seconds: float
    score: float
    """The best of its moments."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """What was found, and in how many files was looked."""

    hits: tuple[Hit, ...]
    """In order of video, time, person."""
    num_files: int


def search(folder: Path, action: str, *, min_score: float | None = None) -> SearchResult:
    """Find an action in every detections JSON below a folder, and in every parquet that has no JSON beside it.

    Args:
        folder: What ``tubelet localise`` wrote, of any number of videos.
        action: A class's name, in any case, or whole words of it: "kick" is "kick (an object)" and "kick (a person)".
        min_score: Smallest score that counts; None = from the thresholds that each file has.

    Raises:
        InputError: Nothing is there, or no file has such a class.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; expected one that tubelet localise wrote results to")
    if min_score is not None and not 0 <= min_score <= 1:
        raise InputError(f"the least score is {min_score}, expected 0 to 1")
    hits: list[Hit] = []
    known: dict[str, None] = {}
    num_files = num_fitting = 0
    for found in _results(folder):
        num_files += 1
        known |= dict.fromkeys(found.label_space.names)
        columns = _meant(action, found.label_space)
        num_fitting += bool(columns)
        for k in columns:
            hits += _stretches(found, k, float(found.thresholds[k]) if min_score is None else min_score)
    if not num_files:
        raise InputError(f"{folder}: no results of tubelet localise (JSON or parquet) below it")
    if not num_fitting:
        near = did_you_mean(action, known) or f"; expected {', '.join(known)}"
        raise InputError(f"no action {action!r} in {num_files} files{near}")
    hits.sort(key=lambda hit: (hit.video, hit.begin_seconds, hit.person_id, hit.action))
    return SearchResult(hits=tuple(hits), num_files=num_files)


def _meant(action: str, space: LabelSpace) -> list[int]:
    """Return the classes of this name, or those that have its words in a row."""
    wanted, names = _words(action), [_words(name) for name in space.names]
    same = [k for k, name in enumerate(names) if name == wanted]
    return same or [k for k, name in enumerate(names) if wanted and f" {wanted} " in f" {name} "]


def _words(name: str) -> str:
    """Return the words of a name in small letters, with one space between."""
    return " ".join("".join(c if c.isalnum() else " " for c in name.casefold()).split())


def _results(folder: Path) -> Iterator[DetectionsFile]:
    """Read the results below a folder, each video's once."""
    for path in sorted(folder.rglob("*.json")):
        if _is_detections(path):
            yield read_detections(path)
    for path in sorted(folder.rglob("*.parquet")):
        beside = path.with_suffix(".json")
        if not (beside.is_file() and _is_detections(beside)):
            found = _read_parquet(path)
            if found is not None:
                yield found


def _is_detections(path: Path) -> bool:
    with path.open("rb") as file:
        return SCHEMA.encode() in file.read(HEAD_BYTES)


def _read_parquet(path: Path) -> DetectionsFile | None:
    """Return what ``formats.write_parquet`` wrote; None for another table. Moments with nobody are not in it."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: cannot be read as parquet ({error})") from error
    named = table.schema.metadata or {}
    if b"label_names" not in named or not {"video", "pts_seconds", "person_id", "scores"} <= set(table.column_names):
        return None
    space = LabelSpace(name="", names=tuple(json.loads(named[b"label_names"])))
    thresholds = json.loads(named.get(b"thresholds", b"null")) or [THRESHOLD] * len(space)
    seconds = table.column("pts_seconds").to_numpy()
    scores = np.array(table.column("scores").to_pylist(), dtype=np.float32).reshape(-1, len(space))
    people = table.column("person_id").fill_null(NOT_FOLLOWED).to_numpy()
    boxes = np.column_stack([table.column(side).to_numpy() for side in ("x1", "y1", "x2", "y2")])
    box_scores = table.column("box_score").to_numpy()
    order = np.argsort(seconds, kind="stable")
    instants, firsts = np.unique(seconds[order], return_index=True)
    video = str(table.column("video")[0].as_py()) if len(table) else path.stem
    moments = [
        ActionDetections(
            video=video,
            pts_seconds=float(instant),
            boxes_norm=boxes[rows],
            scores=scores[rows],
            box_scores=box_scores[rows],
            person_ids=people[rows],
        )
        for instant, rows in zip(instants, np.split(order, firsts[1:]))  # of no rows there is still one part
    ]
    meta = VideoMeta(path=video, width=1, height=1, fps=1.0, duration_seconds=0.0)
    least = np.array(thresholds, dtype=np.float32)
    return DetectionsFile(
        video=meta, task=named.get(b"task", b"").decode(), label_space=space, thresholds=least, moments=tuple(moments)
    )


def _stretches(found: DetectionsFile, k: int, least: float) -> Iterator[Hit]:
    """Yield the stretches of neighbouring moments in which one person does the action."""
    open_hits: dict[int, Hit] = {}
    for begin, end, moment in speaking_times(found):
        going: dict[int, Hit] = {}
        for person, score in zip(moment.person_ids.tolist(), moment.scores[:, k].tolist(), strict=True):
            if score < least:
                continue
            before = open_hits.pop(person, None) if person != NOT_FOLLOWED else None
            hit = Hit(
                video=found.video.path,
                action=found.label_space.names[k],
                person_id=person,
                begin_seconds=begin if before is None else before.begin_seconds,
                end_seconds=end,
                score=score if before is None else max(score, before.score),
            )
            if person == NOT_FOLLOWED:
                yield hit
            else:
                going[person] = hit
        yield from open_hits.values()
        open_hits = going
    yield from open_hits.values()
