"""A model's scores on disk, to be scored again without the model: by another protocol, overlap, or whatever comes.

A folder: ``predictions.json`` (task, split, classes, and what the numbers come from: checkpoint, data, views),
``scores.safetensors`` (a row for each clip or box), ``rows.parquet`` (which one) and, for boxes, ``truth.parquet``.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tubelet.data.ava_table import AvaTable, keyframe_of
from tubelet.evals.run import TaskResult
from tubelet.labels import LabelSpace
from tubelet.records import read_json, write_json
from tubelet.types import InputError

VERSION = 2
CORNERS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """What was stored."""

    task: str
    split: str
    kind: str
    """``classify`` or ``localise``."""
    multi_label: bool
    label_space: LabelSpace
    origin: Mapping[str, Any]
    """What the scores come from: run, checkpoint, data, views, boxes, versions."""
    sample_ids: tuple[str, ...]
    """One per row."""
    scores: np.ndarray
    """float32 (R, K) probabilities."""
    targets: np.ndarray
    """float32 (R, K)."""
    videos: tuple[str, ...]
    """The video of each row."""
    box_scores: np.ndarray | None
    """Localisation: float32 (R,), the person detector's confidence of each box, 1 where it is annotated."""
    detections: AvaTable | None
    """Localisation: a row for each box and class."""
    ground_truth: AvaTable | None


def write_predictions(folder: Path, result: TaskResult, origin: Mapping[str, Any]) -> None:
    """Write one task's scores; ``predictions.json`` last, so that a folder that has it is whole.

    Raises:
        InputError: The folder holds predictions already.
    """
    if (folder / "predictions.json").exists():
        raise InputError(f"{folder}: holds predictions already; give a new folder, or remove it first")
    folder.mkdir(parents=True, exist_ok=True)
    scores = {"scores": np.ascontiguousarray(result.scores), "targets": np.ascontiguousarray(result.targets)}
    rows: dict[str, Any] = {"sample_id": list(result.sample_ids)}
    if result.kind == "classify":
        rows["video"] = list(result.videos)
    if result.detections is not None and result.ground_truth is not None:
        found = _once_a_box(result.detections, len(result.label_space))
        rows |= {"video": found.video.tolist(), "pts_seconds": found.pts_seconds}
        scores["boxes_norm"] = found.boxes_norm
        if result.box_scores is not None:
            scores["box_scores"] = np.ascontiguousarray(result.box_scores)
        _write_table(folder / "truth.parquet", _truth_columns(result.ground_truth))
    _write_table(folder / "rows.parquet", rows)
    temporary = folder / f".scores.{os.getpid()}.tmp"
    save_file(scores, temporary)
    temporary.replace(folder / "scores.safetensors")
    with (folder / "scores.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    data = {
        "version": VERSION,
        "task": result.task,
        "split": result.split,
        "kind": result.kind,
        "multi_label": result.multi_label,
        "label_space": result.label_space.to_json(),
        "scores_sha256": digest,
        "record": result.record(),
        "origin": dict(origin),
    }
    write_json(folder / "predictions.json", data)


def read_predictions(folder: Path) -> Predictions:
    """Read what ``write_predictions`` wrote.

    Raises:
        InputError: No such folder, a file is missing or damaged, or another version wrote it.
    """
    if not (folder / "predictions.json").is_file():
        raise InputError(f"{folder}: has no predictions.json; tubelet evaluate RUN --predictions writes such folders")
    data = read_json(folder / "predictions.json")
    if data.get("version") != VERSION:
        raise InputError(f"{folder}: predictions of version {data.get('version')}, expected {VERSION}")
    path = folder / "scores.safetensors"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != data["scores_sha256"]:
            raise InputError(f"{path}: is not the file that predictions.json names; it was changed or cut")
        arrays = load_file(path)
        rows = pq.read_table(folder / "rows.parquet")
        truth = _read_truth(folder / "truth.parquet") if data["kind"] == "localise" else None
    except (OSError, SafetensorError, pa.ArrowInvalid) as error:
        raise InputError(f"{folder}: cannot be read ({str(error).splitlines()[0]})") from None
    space = LabelSpace.from_json(data["label_space"])
    return Predictions(
        task=data["task"],
        split=data["split"],
        kind=data["kind"],
        multi_label=data["multi_label"],
        label_space=space,
        origin=data["origin"] | {"record": data["record"]},
        sample_ids=tuple(rows.column("sample_id").to_pylist()),
        scores=arrays["scores"],
        targets=arrays["targets"],
        videos=tuple(rows.column("video").to_pylist()),
        box_scores=arrays.get("box_scores"),
        detections=None if truth is None else _every_class(rows, arrays, space),
        ground_truth=truth,
    )


def _once_a_box(table: AvaTable, num_classes: int) -> AvaTable:
    """Return the first of each box's rows; they lie together, one for each class."""
    first = slice(None, None, num_classes)
    return AvaTable(
        video=table.video[first],
        pts_seconds=table.pts_seconds[first],
        boxes_norm=np.ascontiguousarray(table.boxes_norm[first]),
        label_ids=table.label_ids[first],
    )


def _every_class(rows: pa.Table, arrays: Mapping[str, np.ndarray], space: LabelSpace) -> AvaTable:
    """Return a row for each box and class."""
    num = len(space)
    return AvaTable(
        video=np.repeat(rows.column("video").to_numpy(), num),
        pts_seconds=np.repeat(rows.column("pts_seconds").to_numpy(), num),
        boxes_norm=np.repeat(arrays["boxes_norm"], num, axis=0),
        label_ids=np.tile(np.array(space.published_ids, dtype=np.int32), len(rows)),
        scores=arrays["scores"].astype(np.float64).reshape(-1),
    )


def _truth_columns(table: AvaTable) -> dict[str, Any]:
    """Return the rows of a ground truth, those without a box last, with an empty id."""
    listed = sorted(table.keyframes)
    blank = [None] * len(listed)
    persons = np.full(len(table), -1) if table.person_ids is None else table.person_ids
    columns: dict[str, Any] = {
        "video": [*table.video.tolist(), *(video for video, _ in listed)],
        "pts_seconds": [*table.pts_seconds.tolist(), *(ticks / 1_000_000 for _, ticks in listed)],
    }
    columns |= {corner: [*table.boxes_norm[:, i].tolist(), *blank] for i, corner in enumerate(CORNERS)}
    return columns | {
        "label_id": [*table.label_ids.tolist(), *blank],
        "person_id": [*persons.tolist(), *blank],
    }


def _read_truth(path: Path) -> AvaTable:
    table = pq.read_table(path)
    boxed = table.filter(pa.compute.is_valid(table.column("label_id")))
    listed = table.filter(pa.compute.is_null(table.column("label_id")))
    times = zip(listed.column("video").to_pylist(), listed.column("pts_seconds").to_pylist(), strict=True)
    return AvaTable(
        video=boxed.column("video").to_numpy(),
        pts_seconds=boxed.column("pts_seconds").to_numpy(),
        boxes_norm=np.stack([boxed.column(corner).to_numpy() for corner in CORNERS], axis=1),
        label_ids=boxed.column("label_id").to_numpy().astype(np.int32),
        person_ids=boxed.column("person_id").to_numpy().astype(np.int64),
        keyframes=frozenset(keyframe_of(video, seconds) for video, seconds in times),
    )


def _write_table(path: Path, columns: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    pq.write_table(pa.table(dict(columns)), temporary)
    temporary.replace(path)
