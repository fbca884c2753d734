"""How long annotation takes: AVA's training csv at full size, and manifests of millions of rows.

    python benchmarks/import_ava.py

The csv is made here: 837,318 rows as in ``ava_train_v2.2.csv``, three actions a box, 235 films. Data sets are opened in
processes of their own; memory is what is unique to the process beyond what the imports took.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from machine import write_result

from tubelet.data.ava_csv import read_ava_csv
from tubelet.data.manifest import read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.sources.ava import import_ava
from tubelet.labels import LabelSpace
from tubelet.video.write import VideoWriter

NUM_ROWS = 837_318
NUM_FILMS = 235
ACTIONS = (1, 3, 4, 11, 12, 14, 17, 59, 74, 79, 80, 2, 16)
SPACE = LabelSpace(name="many", names=tuple(f"class {k}" for k in range(400)))
ROUNDS = 5

START = """
import json, sys, time
from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest import read_manifest
from tubelet.types import Preprocess
def unique():
    lines = open("/proc/self/smaps_rollup")
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
before, begin = unique(), time.perf_counter()
preprocess = Preprocess(size=32, num_frames=4, frame_stride=1, fps=25)
data = ClipDataset(read_manifest(sys.argv[1]), "train", preprocess=preprocess, augment=None, boxes=sys.argv[2])
print(json.dumps({"seconds": time.perf_counter() - begin, "unique_MB": unique() - before, "examples": len(data)}))
"""


def ava_files(folder: Path) -> tuple[Path, Path]:
    """Write a training csv and its films: 901 seconds of a picture a second."""
    films = [f"film{k:07d}" for k in range(NUM_FILMS)]
    boxes = np.sort(np.random.default_rng(0).random((NUM_ROWS // 3 + 1, 2, 2)), axis=1).reshape(-1, 4)
    with (folder / "train.csv").open("w") as file:
        for row in range(NUM_ROWS):
            box = row // 3
            place = f"{films[box % NUM_FILMS]},{902 + box // NUM_FILMS % 897:04d}"
            corners = ",".join(f"{x:.3f}" for x in boxes[box])
            file.write(f"{place},{corners},{ACTIONS[(box + row % 3 * 5) % len(ACTIONS)]},{box % 50}\n")
    media = folder / "media"
    media.mkdir()
    with VideoWriter(media / f"{films[0]}.mp4", width=16, height=16, fps=1) as writer:
        for _ in range(901):
            writer.write(np.zeros((16, 16, 3), dtype=np.uint8))
    for film in films[1:]:
        (media / f"{film}.mp4").hardlink_to(media / f"{films[0]}.mp4")
    return folder / "train.csv", media


def seconds_of(call: Any, *, rounds: int = ROUNDS) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def table_of(query: str) -> pa.Table:
    """Return what a query gives."""
    relation = duckdb.sql(query)
    assert relation is not None, "a select has a result"
    return relation.to_arrow_table()


def clips_manifest(folder: Path, number: int) -> Path:
    """Write a classification manifest of ``number`` clips."""
    query = f"""select 'clip' || i as clip_id, 'train/class' || i % 400 || '/' || i || '.mp4' as video,
        0.0::double as start_seconds, 10.0::double as end_seconds,
        case when i % 10 = 0 then 'val' else 'train' end as split, [(i % 400)::int] as labels
        from range({number}) t(i)"""
    clips = table_of(query)
    write_manifest(
        folder,
        name="many",
        kind="classify",
        multi_label=False,
        label_space=SPACE,
        media_root=folder,
        licence="",
        source="",
        clips=clips,
    )
    return folder


def boxes_manifest(folder: Path, number: int) -> Path:
    """Write a localisation manifest of ``number`` boxes, half of them detected, on a thousandth as many clips."""
    clips = table_of(
        f"""select 'clip' || i as clip_id, i || '.mp4' as video, 0.0::double as start_seconds,
        1000.0::double as end_seconds, 'train' as split, []::int[] as labels from range({number // 1000}) t(i)"""
    )
    boxes = table_of(
        f"""select 'clip' || i // 1000 as clip_id, (i % 1000 // 4)::double as pts_seconds, 0.1 as x1, 0.1 as y1,
        0.5 + (i % 2) / 100 as x2, 0.9 as y2,
        case when i % 2 = 0 then [(i % 200)::int, (i % 200 + 200)::int] else [] end as labels,
        case when i % 2 = 0 then 'annotated' else 'detected' end as origin from range({number}) t(i)"""
    )
    write_manifest(
        folder,
        name="many",
        kind="localise",
        multi_label=True,
        label_space=SPACE,
        media_root=folder,
        licence="",
        source="",
        clips=clips,
        boxes=boxes,
    )
    return folder


def start(manifest: Path, boxes: str) -> dict[str, Any]:
    """Return the medians of opening a data set in a fresh process."""
    command = [sys.executable, "-c", START, str(manifest), boxes]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(ROUNDS)]
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    """Measure and write ``benchmarks/results/import_ava.json``."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        csv, media = ava_files(folder)
        rows.append({"what": "read AVA's csv", "rows": NUM_ROWS, "seconds": seconds_of(lambda: read_ava_csv(csv))})
        call = lambda: import_ava(train=csv, media_root=media, out=folder / "ava")  # noqa: E731
        rows.append({"what": "import AVA", "rows": NUM_ROWS, "seconds": seconds_of(call), "limit": 5.0})
        large = clips_manifest(folder / "large", 10_000_000)
        rows.append(
            {
                "what": "open a manifest",
                "rows": 10_000_000,
                "seconds": seconds_of(lambda: read_manifest(large)),
                "limit": 1,
            }
        )
        clips = clips_manifest(folder / "clips", 1_000_000)
        boxed = boxes_manifest(folder / "boxes", 1_000_000)
        for what, path, boxes in (
            ("start a data set of clips", clips, "annotated"),
            ("start a data set of boxes", boxed, "annotated"),
            ("start one of detected boxes", boxed, "detected"),
        ):
            rows.append({"what": what, "rows": 1_000_000, **start(path, boxes), "limit": 2.0, "limit_MB": 300})
    write_result("import_ava", rows)


if __name__ == "__main__":
    main()
