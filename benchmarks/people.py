"""Finding and following people on annotated film: ``python benchmarks/people.py --video V --truth T``.

V is a video; T its boxes as MOTChallenge publishes them: ``frame, identity, left, top, width, height, ...`` without a
header, frames counted from 1, pixels of the video. Measured on PETS09-S2L1: the video is ``vtest.avi`` of Debian's
package opencv-doc, the boxes are MOT15's (CC BY-NC-SA 3.0: for measuring, not for shipping). ``--playground`` adds a
rendered set's test videos, on which nothing was chosen. What is not there is named and left out.

People are looked for at every n-th frame, and whoever is followed is carried over the frames between; every frame is
scored. IDF1, MOTA and switches are those of ``motmetrics``; AP50 is AVA's official code's. ByteTrack of the package
``trackers`` follows the same boxes where it is installed: ``pip install --no-deps trackers==2.6.1 supervision==0.31.2
pydeprecate`` (its own requirements would replace the OpenCV of the extra ``bench`` by one that needs a screen).
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from machine import write_result

from tubelet.boxes import box_iou, pixel_boxes
from tubelet.data.ava_table import AvaTable
from tubelet.data.manifest import read_manifest
from tubelet.evals.ava import frame_map
from tubelet.inference.detectors import open_people
from tubelet.inference.listed_people import ListedPeople
from tubelet.inference.tubes import NOT_FOLLOWED, LinkConfig, TubeBoxes, TubeLinker
from tubelet.labels import LabelSpace
from tubelet.types import PersonBoxes
from tubelet.video.container import probe
from tubelet.video.decode import iter_frames

DEBIAN_VIDEO = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
PERSON = LabelSpace(name="people", names=("person",), ids=(1,))
LEAST_SCORE = 0.05
MOST_PEOPLE = 1_000_000
"""In one film."""
EVERY = (1, 2, 5, 10)
"""Frames from one look to the next."""
PLAYGROUND_EVERY = 5
"""Frames of the rendered videos, which have 25 a second."""

Followed = list[TubeBoxes]
"""Of every frame."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """An annotated video."""

    hw: tuple[int, int]
    seconds: list[float]
    """Of the frames that were looked at."""
    found: list[PersonBoxes]
    truth: dict[int, tuple[np.ndarray, np.ndarray]]
    """Place in ``seconds`` to boxes (N, 4) in pixels and identities (N,), where they are known."""
    detector_ms: float
    """A frame, median."""


def read_truth(path: Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return frame (from 0) to boxes (N, 4) xyxy and identities (N,)."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    numbers = rows[:, 0].astype(int) - 1
    return {int(n): (boxes[numbers == n], rows[numbers == n, 1].astype(int)) for n in np.unique(numbers)}


def look(video: Path, people: str, every: int = 1) -> tuple[list[float], list[PersonBoxes], float]:
    """Return times, the boxes that a detector finds on every n-th frame, and its milliseconds a frame."""
    detector = open_people(people, threshold=LEAST_SCORE)
    assert not isinstance(detector, ListedPeople)
    seconds, found, times = [], [], []
    for number, (pts, frame) in enumerate(iter_frames(video)):
        if number % every == 0:
            began = time.perf_counter()
            found += detector([frame])
            times.append(time.perf_counter() - began)
            seconds.append(pts)
    return seconds, found, 1000 * float(np.median(times))


def film_of(video: Path, truth: Path, people: str) -> Film:
    """Look at every frame of an annotated film."""
    meta, annotated = probe(video), read_truth(truth)
    seconds, found, ms = look(video, people)
    nobody = np.zeros((0, 4)), np.zeros(0, dtype=int)
    known = {frame: annotated.get(frame, nobody) for frame in range(len(seconds))}
    return Film(hw=(meta.height, meta.width), seconds=seconds, found=found, truth=known, detector_ms=ms)


def rendered(folder: Path, people: str) -> list[Film]:
    """Look at the test videos of a rendered set, whose people are annotated at some instants."""
    manifest = read_manifest(folder / "manifests" / "localise")
    assert manifest.boxes is not None
    films = []
    for clip in manifest.clips.filter(pc.equal(manifest.clips.column("split"), "test")).to_pylist():
        video = Path(manifest.media_root) / clip["video"]
        seconds, found, ms = look(video, people, PLAYGROUND_EVERY)
        meta, truth = probe(video), {}
        rows = manifest.boxes.filter(pc.equal(manifest.boxes.column("clip_id"), clip["clip_id"])).to_pylist()
        for instant in sorted({row["pts_seconds"] for row in rows}):
            mine = [row for row in rows if row["pts_seconds"] == instant]
            norm = np.array([[row[side] for side in ("x1", "y1", "x2", "y2")] for row in mine])
            who = np.array([row["person_id"] for row in mine])
            near = int(np.abs(np.array(seconds) - instant).argmin())
            if abs(seconds[near] - instant) < 0.5 / meta.fps:
                truth[near] = pixel_boxes(norm, (meta.height, meta.width)), who
        films.append(Film(hw=(meta.height, meta.width), seconds=seconds, found=found, truth=truth, detector_ms=ms))
    return films


def ours(seconds: Sequence[float], found: Sequence[PersonBoxes], every: int) -> Followed:
    """Follow people as localise does."""
    apart = every * float(np.median(np.diff(seconds)))
    linker = TubeLinker(LinkConfig(max_gap_seconds=max(LinkConfig().max_gap_seconds, 2.5 * apart)))
    for pts, people in list(zip(seconds, found, strict=True))[::every]:
        linker.update(pts, people)
    return [linker.at(pts) for pts in seconds]


def byte_track(seconds: Sequence[float], found: Sequence[PersonBoxes], every: int) -> Followed:
    """Follow people with ``trackers``; its settings as published, the time that lost people are kept for as ours.

    Between two looks, and over such gaps, its boxes are carried in straight lines as ours are.
    """
    from supervision import Detections
    from trackers import ByteTrackTracker

    apart = every * float(np.median(np.diff(seconds)))
    longest = max(1.0, 2.5 * apart)
    tracker = ByteTrackTracker(frame_rate=1 / apart, lost_track_buffer=round(30 * longest))  # counted at 30 a second
    tubes: dict[int, list[tuple[float, np.ndarray, float]]] = {}
    for pts, people in list(zip(seconds, found, strict=True))[::every]:
        kept = people.scores >= LinkConfig().keep_score
        boxes, scores = people.boxes[kept], people.scores[kept]
        out = tracker.update(Detections(xyxy=boxes, confidence=scores, class_id=np.zeros(len(boxes), dtype=int)))
        identities = np.full(len(out), -1) if out.tracker_id is None else out.tracker_id
        for identity, box, score in zip(identities, out.xyxy, out.confidence, strict=True):
            if identity >= 0:
                tubes.setdefault(int(identity), []).append((pts, box, float(score)))
    return [_carried(tubes, pts, longest) for pts in seconds]


def _carried(tubes: dict[int, list[tuple[float, np.ndarray, float]]], pts: float, longest: float) -> TubeBoxes:
    """Return where everybody is at a time, in straight lines between sightings."""
    rows: list[tuple[int, np.ndarray, float]] = []
    for identity, seen in tubes.items():
        rows += [(identity, box, score) for at, box, score in seen[:1] if at == pts]
        for (t0, a, u), (t1, b, v) in pairwise(seen):
            if t0 < pts <= t1 and t1 - t0 <= longest + 1e-6:
                share = (pts - t0) / (t1 - t0)
                rows.append((identity, (1 - share) * a + share * b, (1 - share) * u + share * v))
    return TubeBoxes(
        boxes=np.array([box for _, box, _ in rows], dtype=np.float32).reshape(-1, 4),
        scores=np.array([score for _, _, score in rows], dtype=np.float32),
        person_ids=np.array([identity for identity, _, _ in rows], dtype=np.int64),
    )


def as_table(films: Sequence[Film], boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray] | None) -> AvaTable:
    """Return boxes of every annotated frame of all films as an AVA table of one class."""
    places = [(number, film, frame) for number, film in enumerate(films) for frame in film.truth]
    counts = [len(each) for each in boxes]
    scale = [np.tile(film.hw[::-1], 2) for _, film, _ in places]
    return AvaTable(
        video=np.repeat(np.array([f"film{number}" for number, _, _ in places], dtype=object), counts),
        pts_seconds=np.repeat([film.seconds[frame] for _, film, frame in places], counts),
        boxes_norm=np.concatenate([each / by for each, by in zip(boxes, scale, strict=True)]),
        label_ids=np.ones(sum(counts), dtype=np.int32),
        scores=None if scores is None else np.concatenate(scores).astype(np.float64),
    )


def ap50(films: Sequence[Film], boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray]) -> float:
    """Return the average precision of boxes on the annotated frames."""
    truth = as_table(films, [there for film in films for there, _ in film.truth.values()], None)
    return frame_map(truth, as_table(films, boxes, scores), PERSON).mean_ap


def detection(name: str, where: str, films: Sequence[Film]) -> dict[str, Any]:
    """Return how well a detector finds people."""
    found = [film.found[frame] for film in films for frame in film.truth]
    return {
        "what": f"detector {name}",
        "film": where,
        "frames": len(found),
        "AP50": ap50(films, [people.boxes for people in found], [people.scores for people in found]),
        "ms_per_frame": float(np.median([film.detector_ms for film in films])),
    }


def following(
    name: str, follow: Callable[..., Followed], where: str, films: Sequence[Film], every: int
) -> dict[str, Any]:
    """Return how well people are followed when every n-th of the frames looked at is seen; all frames are scored."""
    import motmetrics

    began = time.perf_counter()
    followed = [follow(film.seconds, film.found, every) for film in films]
    seconds = time.perf_counter() - began
    account = motmetrics.MOTAccumulator(auto_id=True)
    shown: list[TubeBoxes] = []
    people: set[int] = set()
    identities: set[int] = set()
    for number, (film, everybody) in enumerate(zip(films, followed, strict=True)):
        for frame, (boxes, who) in film.truth.items():
            shown.append(everybody[frame])
            kept = everybody[frame].person_ids != NOT_FOLLOWED
            # No identity may be the same in two films.
            rows, columns = (ids + MOST_PEOPLE * number for ids in (who, everybody[frame].person_ids[kept]))
            account.update(rows, columns, _apart(boxes, everybody[frame].boxes[kept]))
            people |= set(rows.tolist())
            identities |= set(columns.tolist())
    names = ["idf1", "mota", "num_switches"]
    scored = motmetrics.metrics.create().compute(account, metrics=names).iloc[0]
    return {
        "what": name,
        "film": where,
        "every": every,
        "AP50": ap50(films, [people.boxes for people in shown], [people.scores for people in shown]),
        "IDF1": float(scored["idf1"]),
        "MOTA": float(scored["mota"]),
        "switches": int(scored["num_switches"]),
        "identities": len(identities),
        "people": len(people),
        "ms_per_frame": 1000 * seconds / sum(len(film.seconds) for film in films),
    }


def _apart(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return 1 - IoU (N, M), NaN where the IoU is below 0.5: such boxes are no pair (MOTChallenge)."""
    overlap = box_iou(torch.from_numpy(true).double(), torch.from_numpy(found).double()).numpy()
    return np.where(overlap >= 0.5, 1 - overlap, np.nan)


def main() -> None:
    """Measure and write ``benchmarks/results/people.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=DEBIAN_VIDEO)
    parser.add_argument("--truth", type=Path, default=Path("PETS09-S2L1_gt.txt"))
    parser.add_argument("--playground", type=Path)
    parser.add_argument("--people", nargs="*", default=["nanodet"], help="detectors; the first is followed")
    options = parser.parse_args()
    for path in (options.video, options.truth):
        if not path.exists():
            print(f"people: skipped, {path} is not here; --help says where it comes from")
            return
    trackers = {"tubelet's linker": ours}
    if importlib.util.find_spec("trackers") is None:
        print("ByteTrack: skipped, the package trackers is not installed")
    else:
        trackers["ByteTrack (trackers)"] = byte_track
    first, *others = options.people
    film = film_of(options.video, options.truth, first)
    rows = [detection(first, "PETS09-S2L1", [film])]
    rows += [detection(n, "PETS09-S2L1", [film_of(options.video, options.truth, n)]) for n in others]
    sets: list[tuple[str, list[Film], tuple[int, ...]]] = [("PETS09-S2L1", [film], EVERY)]
    if options.playground is not None:
        films = rendered(options.playground, first)
        rows.append(detection(first, "playground, test", films))
        sets.append(("playground, test", films, (1,)))
    if importlib.util.find_spec("motmetrics") is None:
        print("following: skipped, the package motmetrics is not installed")
        sets = []
    for where, films, steps in sets:
        rows += [following(name, follow, where, films, n) for n in steps for name, follow in trackers.items()]
    write_result("people", rows)


if __name__ == "__main__":
    main()
