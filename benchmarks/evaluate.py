"""How long AVA scoring takes: ``python benchmarks/evaluate.py``.

Synthetic AVA-like data: every person box scored for each of 60 classes. The plain loops of the tests, an independent
implementation, score a sample in the same run; both must give the same mAP.
"""

import importlib.util
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import write_result

from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import PROTOCOLS, frame_map
from tubelet.labels import LabelSpace

SPACE = LabelSpace(name="synthetic", names=tuple(f"class {i}" for i in range(1, 61)), ids=tuple(range(1, 61)))
BOXES_PER_KEYFRAME = 1.9
SIZES = (2_000, 20_000)
SAMPLE = 200
ROUNDS = 3


def ava_like(num_keyframes: int, seed: int = 0) -> tuple[AvaTable, AvaTable]:
    """Return ground truth and detections: about 1.9 boxes per keyframe, long-tailed classes, scores that help."""
    generator = np.random.default_rng(seed)
    num_boxes = 1 + generator.poisson(BOXES_PER_KEYFRAME - 1, num_keyframes)
    keyframe = np.repeat(np.arange(num_keyframes), num_boxes)
    corner = generator.uniform(0, 0.5, (len(keyframe), 2))
    boxes = np.concatenate([corner, corner + generator.uniform(0.2, 0.5, (len(keyframe), 2))], axis=1)
    video = np.array([f"video{k // 900:05d}" for k in range(num_keyframes)], dtype=object)[keyframe]
    pts = (902.0 + np.arange(num_keyframes) % 900)[keyframe]
    shares = 1 / np.arange(1, len(SPACE) + 1)
    labels = generator.random((len(keyframe), len(SPACE))) < shares
    box, label = np.nonzero(labels)
    truth = AvaTable(
        video=video[box], pts_seconds=pts[box], boxes_norm=boxes[box], label_ids=(label + 1).astype(np.int32)
    )
    scores = np.clip(generator.beta(0.5, 4, labels.shape) + 0.2 * labels, 0, 1)
    found = AvaTable(
        video=np.repeat(video, len(SPACE)),
        pts_seconds=np.repeat(pts, len(SPACE)),
        boxes_norm=np.repeat(boxes + generator.normal(0, 0.02, boxes.shape), len(SPACE), axis=0),
        label_ids=np.tile(np.arange(1, len(SPACE) + 1, dtype=np.int32), len(keyframe)),
        scores=scores.reshape(-1),
    )
    return truth, found


def as_rows(table: AvaTable) -> list[list[Any]]:
    """Return csv-like rows for the plain implementation."""
    columns = [table.video.tolist(), table.pts_seconds.tolist(), *table.boxes_norm.T.tolist(), table.label_ids.tolist()]
    if table.scores is not None:
        columns.append(table.scores.tolist())
    return [list(row) for row in zip(*columns, strict=True)]


def plain_frame_map() -> Callable[..., dict[int, float]]:
    """Return the tests' independent implementation."""
    path = Path(__file__).parents[1] / "tests/evals/plain_ava.py"
    spec = importlib.util.spec_from_file_location("plain_ava", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., dict[int, float]] = module.plain_frame_map
    return function


def best_seconds(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the shortest of a few runs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def compare_with_plain(protocol: str) -> dict[str, Any]:
    """Score a sample both ways."""
    truth, found = ava_like(SAMPLE)
    truth_rows, found_rows = as_rows(truth), as_rows(found)
    plain = plain_frame_map()
    start = time.perf_counter()
    expected = plain(truth_rows, found_rows, SPACE.published_ids, protocol, [])
    plain_seconds = time.perf_counter() - start
    mean = frame_map(truth, found, SPACE, protocol=protocol).mean_ap
    difference = abs(mean - float(np.mean(list(expected.values()))))
    assert difference < 1e-9, f"{protocol}: {difference}"
    seconds = best_seconds(lambda: frame_map(truth, found, SPACE, protocol=protocol))
    return {
        "protocol": protocol,
        "data": f"{SAMPLE} keyframes",
        "rows": len(found),
        "seconds": seconds,
        "plain_seconds": plain_seconds,
        "times_plain": plain_seconds / seconds,
        "mAP_difference": difference,
    }


def scale(protocol: str, num_keyframes: int, *, decimals: int | None = None) -> dict[str, Any]:
    """Time a full-size set, with scores rounded as in a csv where ``decimals`` is given."""
    truth, found = ava_like(num_keyframes)
    assert found.scores is not None
    if decimals is not None:
        found = replace(found, scores=np.round(found.scores, decimals))
    seconds = best_seconds(lambda: frame_map(truth, found, SPACE, protocol=protocol))
    rounded = "" if decimals is None else f", scores of {decimals} decimals"
    return {
        "protocol": protocol,
        "data": f"{num_keyframes} keyframes{rounded}",
        "rows": len(found),
        "seconds": seconds,
        "million_rows_per_second": len(found) / seconds / 1e6,
    }


def main() -> None:
    """Measure and write ``benchmarks/results/evaluate.json``."""
    rows = [compare_with_plain(protocol) for protocol in PROTOCOLS]
    rows += [scale(protocol, size) for size in SIZES for protocol in PROTOCOLS]
    rows.append(scale("official", SIZES[-1], decimals=4))
    write_result("evaluate", rows)


if __name__ == "__main__":
    main()
