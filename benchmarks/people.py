"""Finding and following people on annotated film: ``python benchmarks/people.py --video V --truth T``.

V is a video; T its boxes as MOTChallenge publishes them: ``frame, identity, left, top, width, height, ...`` without a
header, frames counted from 1, pixels of the video. Measured on PETS09-S2L1: the video is ``vtest.avi`` of Debian's
package opencv-doc, the boxes are MOT15's (CC BY-NC-SA 3.0: for measuring, not for shipping). Without them the benchmark
says so and measures nothing. ByteTrack of the package ``trackers`` follows the same boxes where it is installed.
"""

import argparse
import importlib.util
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import write_result
from scipy.optimize import linear_sum_assignment

from tubelet.boxes import box_iou
from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import frame_map
from tubelet.inference.people import NanoDetDetector
from tubelet.inference.tubes import NOT_FOLLOWED, LinkConfig, TubeLinker
from tubelet.labels import LabelSpace
from tubelet.types import PersonBoxes
from tubelet.video.container import probe
from tubelet.video.decode import iter_frames

DEBIAN_VIDEO = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
PERSON = LabelSpace(name="people", names=("person",), ids=(1,))
LEAST_SCORE = 0.05
DETECT_EVERY = 2
"""Frames."""
LINKED_EVERY = (1, 2, 4)
"""Of the frames detected on."""

Identified = list[tuple[np.ndarray, np.ndarray]]
"""For each instant boxes (N, 4) in pixels and identities (N,)."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """An annotated video, at the frames that were looked at."""

    hw: tuple[int, int]
    seconds: list[float]
    truth: Identified
    found: list[PersonBoxes]
    ms_per_frame: float
    """Of the detector, median."""


def read_truth(path: Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return frame (from 0) to boxes (N, 4) xyxy and identities (N,)."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    numbers = rows[:, 0].astype(int) - 1
    return {int(n): (boxes[numbers == n], rows[numbers == n, 1].astype(int)) for n in np.unique(numbers)}


def look(video: Path, truth: Path) -> Film:
    """Run the detector on every ``DETECT_EVERY``-th frame."""
    meta, annotated = probe(video), read_truth(truth)
    detector = NanoDetDetector(threshold=LEAST_SCORE)
    nobody = np.zeros((0, 4)), np.zeros(0, dtype=int)
    seconds, boxes, found, times = [], [], [], []
    for number, (pts, frame) in enumerate(iter_frames(video)):
        if number % DETECT_EVERY:
            continue
        began = time.perf_counter()
        found += detector([frame])
        times.append(time.perf_counter() - began)
        seconds.append(pts)
        boxes.append(annotated.get(number, nobody))
    hw = (meta.height, meta.width)
    return Film(hw=hw, seconds=seconds, truth=boxes, found=found, ms_per_frame=1000 * float(np.median(times)))


def as_table(film: Film, boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray] | None) -> AvaTable:
    """Return boxes of every instant as an AVA table of one class."""
    height, width = film.hw
    counts = [len(each) for each in boxes]
    return AvaTable(
        video=np.full(sum(counts), "film", dtype=object),
        pts_seconds=np.repeat(film.seconds, counts),
        boxes_norm=np.concatenate(boxes) / [width, height, width, height],
        label_ids=np.ones(sum(counts), dtype=np.int32),
        scores=None if scores is None else np.concatenate(scores).astype(np.float64),
    )


def pairs(a: np.ndarray, b: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of boxes with an IoU of at least 0.5, best in sum."""
    overlap = box_iou(torch.from_numpy(a).double(), torch.from_numpy(b).double()).numpy()
    rows, columns = linear_sum_assignment(np.where(overlap >= 0.5, overlap, 0.0), maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns) if overlap[i, j] >= 0.5]


def detection(film: Film) -> dict[str, Any]:
    """Return AP50 (all-point, AVA's official code) and recall of the detector."""
    truth = as_table(film, [boxes for boxes, _ in film.truth], None)
    found = as_table(film, [people.boxes for people in film.found], [people.scores for people in film.found])
    hits = sum(len(pairs(people.boxes, boxes)) for people, (boxes, _) in zip(film.found, film.truth, strict=True))
    return {
        "what": "NanoDet-g",
        "frames": len(film.seconds),
        "true_boxes": len(truth),
        "AP50": frame_map(truth, found, PERSON).mean_ap,
        f"recall_at_{LEAST_SCORE}": hits / len(truth),
        "ms_per_frame": film.ms_per_frame,
    }


def ours(seconds: Sequence[float], found: Sequence[PersonBoxes]) -> Identified:
    """Follow people with the linker that localise uses."""
    apart = float(np.median(np.diff(seconds)))
    linker = TubeLinker(LinkConfig(max_gap_seconds=max(LinkConfig().max_gap_seconds, 2.5 * apart)))
    for pts, people in zip(seconds, found, strict=True):
        linker.update(pts, people)
    everybody = [linker.at(pts) for pts in seconds]
    kept = [people.person_ids != NOT_FOLLOWED for people in everybody]
    return [(p.boxes[k], p.person_ids[k]) for p, k in zip(everybody, kept, strict=True)]


def byte_track(seconds: Sequence[float], found: Sequence[PersonBoxes]) -> Identified:
    """Follow people with ``trackers``; its settings as published, the time that lost people are kept for as ours."""
    from supervision import Detections
    from trackers import ByteTrackTracker

    rate = 1 / float(np.median(np.diff(seconds)))
    # It counts the buffer in frames at 30 a second.
    tracker = ByteTrackTracker(frame_rate=rate, lost_track_buffer=round(30 * max(1.0, 2.5 / rate)))
    followed = []
    for people in found:
        kept = people.scores >= LinkConfig().keep_score
        boxes, scores = people.boxes[kept], people.scores[kept]
        out = tracker.update(Detections(xyxy=boxes, confidence=scores, class_id=np.zeros(len(boxes), dtype=int)))
        identities = np.full(len(out), -1) if out.tracker_id is None else out.tracker_id
        followed.append((out.xyxy[identities >= 0], identities[identities >= 0]))
    return followed


def following(name: str, follow: Callable[..., Identified], film: Film, step: int) -> dict[str, Any]:
    """Return how well identities last when every ``step``-th of the film's instants is seen.

    IDF1: people and identities paired once for the whole film, the F-measure of the boxes they then share. Switches: a
    person's box has another identity than when it was followed before.
    """
    began = time.perf_counter()
    followed = follow(film.seconds[::step], film.found[::step])
    seconds = time.perf_counter() - began
    truth = film.truth[::step]
    shared: Counter[tuple[int, int]] = Counter()
    last: dict[int, int] = {}
    switches = 0
    for (boxes, identities), (true_boxes, people) in zip(followed, truth, strict=True):
        for i, j in pairs(boxes, true_boxes):
            person, identity = int(people[j]), int(identities[i])
            shared[person, identity] += 1
            switches += last.get(person, identity) != identity
            last[person] = identity
    num_true, num_found = (sum(len(who) for _, who in side) for side in (truth, followed))
    return {
        "what": name,
        "detections_per_second": 1 / float(np.median(np.diff(film.seconds[::step]))),
        "IDF1": 2 * best_total(shared) / (num_true + num_found),
        "switches": switches,
        "identities": len({int(i) for _, who in followed for i in who}),
        "people": len({int(i) for _, who in truth for i in who}),
        "ms_per_frame": 1000 * seconds / len(followed),
    }


def best_total(shared: Counter[tuple[int, int]]) -> int:
    """Return the largest sum of shared boxes when every person gets at most one identity."""
    people, identities = (sorted({key[side] for key in shared}) for side in (0, 1))
    table = np.array([[shared[person, identity] for identity in identities] for person in people])
    rows, columns = linear_sum_assignment(table, maximize=True) if shared else ([], [])
    return int(sum(table[i, j] for i, j in zip(rows, columns, strict=True)))


def main() -> None:
    """Measure and write ``benchmarks/results/people.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=DEBIAN_VIDEO)
    parser.add_argument("--truth", type=Path, default=Path("PETS09-S2L1_gt.txt"))
    options = parser.parse_args()
    for path in (options.video, options.truth):
        if not path.exists():
            print(f"people: skipped, {path} is not here; --help says where it comes from")
            return
    film = look(options.video, options.truth)
    trackers = {"tubelet's linker": ours}
    if importlib.util.find_spec("trackers") is None:
        print("ByteTrack: skipped, the package trackers is not installed")
    else:
        trackers["ByteTrack (trackers)"] = byte_track
    rows = [detection(film)]
    rows += [following(name, follow, film, step) for step in LINKED_EVERY for name, follow in trackers.items()]
    write_result("people", rows)


if __name__ == "__main__":
    main()
