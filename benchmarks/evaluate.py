"""How long AVA scoring takes: ``python benchmarks/evaluate.py [--activitynet FOLDER] [--files FOLDER]``.

Synthetic AVA-like data: every person box scored for each of 60 classes. The plain loops of the tests, an independent
implementation, score a sample in the same run; both must give the same mAP. With a checkout of the official code
(github.com/activitynet/ActivityNet, nothing of which is here) a fiftieth of AVA's validation set is scored by it too.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import median_seconds, write_result

from tubelet.data.ava_csv import csv_lines, read_ava_csv
from tubelet.data.ava_table import AvaTable
from tubelet.data.sources.ava_lists import read_label_map, write_label_map
from tubelet.evals.ava import PROTOCOLS, frame_map, match_detections
from tubelet.evals.resample import NUM_DRAWS, draw_aps, draw_weights, ranked_lists, videos_of
from tubelet.labels import LabelSpace

SPACE = LabelSpace(name="synthetic", names=tuple(f"class {i}" for i in range(1, 61)), ids=tuple(range(1, 61)))
BOXES_PER_KEYFRAME = 1.9
SIZES = (2_000, 50_000)
SAMPLE = 200
ROUNDS = 3
AVA_KEYFRAMES, AVA_BOXES = 57_000, 4
"""AVA's validation set with the boxes of a detector at a low threshold: 13.7 million rows of a csv."""
KEYFRAMES_AT_ONCE = 1800
OFFICIAL_SHARE = 50
OFFICIAL = """
import sys, time, types
import numpy as np
for name, value in (("float", float), ("bool", bool), ("NAN", float("nan"))):  # names that numpy has given up
    setattr(np, name, value)
folder, truth, found, labels = sys.argv[1:]
sys.path[:0] = [folder, folder + "/ava"]
import get_ava_performance as official
means, reading = [], []
official.pprint = types.SimpleNamespace(pprint=lambda metrics, **_: means.append(metrics), pformat=lambda *_, **__: "")
read = official.read_csv

def timed(*arguments):
    start = time.process_time()
    rows = read(*arguments)
    reading.append(time.process_time() - start)
    return rows

official.read_csv = timed
start = time.process_time()
official.run_evaluation(open(labels), open(truth), open(found))
whole = time.process_time() - start
print([value for key, value in means[-1].items() if "mAP" in key][0], whole, whole - sum(reading))
"""


def ava_like(
    num_keyframes: int, seed: int = 0, *, boxes_per_keyframe: int | None = None, prefix: str = "video"
) -> tuple[AvaTable, AvaTable]:
    """Return ground truth and detections: about 1.9 boxes per keyframe, long-tailed classes, scores that help."""
    generator = np.random.default_rng(seed)
    num_boxes = 1 + generator.poisson(BOXES_PER_KEYFRAME - 1, num_keyframes)
    if boxes_per_keyframe is not None:
        num_boxes = np.full(num_keyframes, boxes_per_keyframe)
    keyframe = np.repeat(np.arange(num_keyframes), num_boxes)
    corner = generator.uniform(0, 0.5, (len(keyframe), 2))
    boxes = np.concatenate([corner, corner + generator.uniform(0.2, 0.5, (len(keyframe), 2))], axis=1)
    videos = [f"{prefix}{k:05d}" for k in range(num_keyframes // 900 + 1)]
    video = np.array(videos, dtype=object)[np.arange(num_keyframes) // 900][keyframe]
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
        boxes_norm=np.repeat(np.clip(boxes + generator.normal(0, 0.02, boxes.shape), 0, 1), len(SPACE), axis=0),
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


def draws(num_keyframes: int) -> dict[str, Any]:
    """Time a thousand draws of the videos, against scoring the set anew for each as one such scoring says."""
    truth, found = ava_like(num_keyframes)
    videos = videos_of(truth, found)

    def weighed() -> None:
        matched = match_detections(truth, found, SPACE)
        lists = ranked_lists(matched, truth, found, videos, protocol="official")
        draw_aps(lists, draw_weights(len(videos), num_draws=NUM_DRAWS))

    seconds = median_seconds({"draws": weighed, "once": lambda: frame_map(truth, found, SPACE)}, rounds=ROUNDS)
    return {
        "protocol": "official",
        "data": f"{num_keyframes} keyframes of {len(videos)} videos, {NUM_DRAWS} draws of the videos, all classes",
        "rows": len(found),
        "seconds": seconds["draws"],
        "times_scoring_each": NUM_DRAWS * seconds["once"] / seconds["draws"],
    }


def write_files(folder: Path, num_keyframes: int, boxes_per_keyframe: int | None) -> tuple[Path, Path, Path]:
    """Write ground truth, detections and the action list as AVA publishes them, some thousand keyframes at a time."""
    truth, found, labels = folder / "truth.csv", folder / "found.csv", folder / "labels.pbtxt"
    with truth.open("w") as truth_file, found.open("w") as found_file:
        for start in range(0, num_keyframes, KEYFRAMES_AT_ONCE):
            number = min(KEYFRAMES_AT_ONCE, num_keyframes - start)
            given, scored = ava_like(number, start, boxes_per_keyframe=boxes_per_keyframe, prefix=f"part{start}-")
            truth_file.writelines(f"{line}\n" for line in csv_lines(given))
            found_file.writelines(f"{line}\n" for line in csv_lines(scored))
    write_label_map(labels, SPACE)
    return truth, found, labels


def score_files(truth: Path, found: Path, labels: Path, protocol: str) -> float:
    """Return the mAP of files, read and scored."""
    scored = read_ava_csv(found, detections=True, boxes="near")
    return frame_map(read_ava_csv(truth), scored, read_label_map(labels), protocol=protocol).mean_ap


def full_scale(protocol: str, files: tuple[Path, Path, Path]) -> dict[str, Any]:
    """Time files of AVA's full size in a process of its own, whose memory is counted."""
    code = "import evaluate, sys; evaluate.report_files(*sys.argv[1:])"
    command = [sys.executable, "-c", code, protocol, *map(str, files)]
    done = subprocess.run(command, cwd=Path(__file__).parent, check=True, capture_output=True, text=True)
    seconds, cpu_seconds, mebibytes, rows = (float(value) for value in done.stdout.split())
    return {
        "protocol": protocol,
        "data": f"csv files, {AVA_KEYFRAMES} keyframes",
        "rows": int(rows),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mib": mebibytes,
    }


def report_files(protocol: str, truth: str, found: str, labels: str) -> None:
    """Print seconds, processor's seconds, peak memory in MiB and rows of one scoring."""
    start, cpu = time.perf_counter(), time.process_time()
    score_files(Path(truth), Path(found), Path(labels), protocol)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    status = Path("/proc/self/status").read_text()  # getrusage would tell the parent's peak where that is higher
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(seconds, cpu, peak, AVA_KEYFRAMES * AVA_BOXES * len(SPACE))


def against_official(checkout: Path) -> dict[str, Any]:
    """Score a fiftieth of the largest set in memory with the official code and with ours, from the same files."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), SIZES[-1] // OFFICIAL_SHARE, None)
        command = [sys.executable, "-c", OFFICIAL, str(checkout / "Evaluation"), *map(str, files)]
        theirs = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        truth, found = read_ava_csv(files[0]), read_ava_csv(files[1], detections=True, boxes="near")
        mean = frame_map(truth, found, SPACE).mean_ap
        ours = median_seconds(
            {
                "files": lambda: score_files(*files, "official"),
                "memory": lambda: frame_map(truth, found, SPACE),
            },
            clock=time.process_time,
        )
    return {
        "protocol": "official",
        "data": f"{SIZES[-1] // OFFICIAL_SHARE} keyframes, against the official code, processor's seconds",
        "rows": len(found),
        "cpu_seconds": ours["files"],
        "cpu_seconds_without_reading": ours["memory"],
        "times_official": float(theirs[1]) / ours["files"],
        "times_official_without_reading": float(theirs[2]) / ours["memory"],
        "mAP_difference": abs(mean - float(theirs[0])),
    }


def main() -> None:
    """Measure and write ``benchmarks/results/evaluate.json``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--activitynet", type=Path, help="checkout of the official code, to compare with")
    parser.add_argument("--files", type=Path, help="folder to keep the files of AVA's full size in (1.2 GB)")
    parser.add_argument("--write-only", action="store_true", help="write these files and measure nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        files = kept_files(options.files or Path(temporary))
        if not options.write_only:
            write_result("evaluate", measure(files, options.activitynet))


def kept_files(folder: Path) -> tuple[Path, Path, Path]:
    """Return the files of AVA's full size, written where they are not there yet."""
    names = ("truth.csv", "found.csv", "labels.pbtxt")  # the last to be written last
    if not (folder / names[-1]).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_files(folder, AVA_KEYFRAMES, AVA_BOXES)
    return folder / names[0], folder / names[1], folder / names[2]


def measure(files: tuple[Path, Path, Path], checkout: Path | None) -> list[dict[str, Any]]:
    """Return every row of the result."""
    rows = [compare_with_plain(protocol) for protocol in PROTOCOLS]
    rows += [scale(protocol, size) for size in SIZES for protocol in PROTOCOLS]
    rows.append(scale("official", SIZES[-1], decimals=4))
    rows.append(draws(SIZES[-1]))
    rows += [full_scale(protocol, files) for protocol in PROTOCOLS]
    if checkout is not None:
        rows.append(against_official(checkout))
    return rows


if __name__ == "__main__":
    main()
