"""Two research sets of real video without boxes, as keyframes with people who do something.

UT-Interaction set 1 (Ryoo and Aggarwal 2010; ``labels.csv`` beside the clips) and Weizmann (Gorelick et al. 2007; a
folder a class). NanoDet-g and the linker find the people, five times a second; these boxes stand for annotation. In
UT-Interaction whoever is the main actor kicks, punches or pushes and the other one is kicked, punched or pushed; both
shake hands or hug, and who points is alone in the picture.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tubelet.boxes import normalised_boxes
from tubelet.inference.people import NanoDetDetector
from tubelet.inference.tubes import NOT_FOLLOWED, LinkConfig, TubeBoxes, TubeLinker
from tubelet.video.decode import iter_frames

LOOK_SECONDS = 0.2
LINK = LinkConfig(start_score=0.2, sure_score=0.15, keep_score=0.1)
"""Weaker than usual: Weizmann's people are 60 pixels tall, and that there is one is known."""
LEAST_SHARE = 0.2
"""A tube of a smaller share of the largest one's summed height x confidence is nobody of the play."""
PASSIVE = {"kick": "be kicked", "punch": "be punched", "push": "be pushed"}
UT_NAMES = ("handshake", "hug", "kick", "point", "punch", "push", *PASSIVE.values())
WEIZMANN_NAMES = ("bend", "jack", "jump", "pjump", "run", "side", "skip", "walk", "wave1", "wave2")


@dataclass(frozen=True, kw_only=True, slots=True)
class RealClip:
    """One clip of a real set."""

    video: str
    """Below the set's folder."""
    activity: str
    """What the set says of it."""
    actor: str
    """``left``, ``right`` or ``both``."""
    fold: int
    """From 1; the one that holds it out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RealSet:
    """What has to be known about a set."""

    names: tuple[str, ...]
    """What a person can do."""
    clips: Callable[[Path], list[RealClip]]
    most_people: int
    least_height: float
    """Of a box, as a share of the frame's: passers-by behind are smaller."""


def ut_clips(folder: Path) -> list[RealClip]:
    """Return the clips, those of ``none`` among them; a sequence is a fold."""
    with (folder / "labels.csv").open(newline="") as file:
        return [
            RealClip(video=row["clip"], activity=row["activity"], actor=row["main_actor"], fold=int(row["sequence"]))
            for row in csv.DictReader(file)
        ]


def weizmann_clips(folder: Path) -> list[RealClip]:
    """Return the clips; a person is a fold."""
    paths = sorted(folder.glob("*/*.avi"))
    people = sorted({path.stem.split("_")[0] for path in paths})
    return [
        RealClip(
            video=path.relative_to(folder).as_posix(),
            activity=path.parent.name,
            actor="both",
            fold=1 + people.index(path.stem.split("_")[0]),
        )
        for path in paths
    ]


SETS: Mapping[str, RealSet] = {
    "ut": RealSet(names=UT_NAMES, clips=ut_clips, most_people=2, least_height=0.5),
    "weizmann": RealSet(names=WEIZMANN_NAMES, clips=weizmann_clips, most_people=1, least_height=0.2),
}


def person_action(clip: RealClip, side: str) -> str:
    """Return what the person on that side (``left`` or ``right``) does."""
    acts = clip.actor in ("both", side) or clip.activity not in PASSIVE
    return clip.activity if acts else PASSIVE[clip.activity]


def activity_scores(scores: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Return scores (R, K) of what people do as those of what happens (R, A), and its A names: kick + be kicked."""
    column = {passive: active for active, passive in PASSIVE.items()}
    activities = [name for name in names if name not in column]
    into = np.array([[column.get(name, name) == activity for activity in activities] for name in names], dtype=float)
    return scores @ into, activities


def chosen_people(instants: Sequence[TubeBoxes], frame_hw: tuple[int, int], real_set: RealSet) -> list[np.ndarray]:
    """Return which boxes of each instant are of the play: those of the clip's largest tubes, from left to right."""
    tall = [(at.boxes[:, 3] - at.boxes[:, 1]) / frame_hw[0] for at in instants]
    total: dict[int, float] = defaultdict(float)
    for at, height in zip(instants, tall, strict=True):
        for person, share in zip(at.person_ids.tolist(), (height * at.scores).tolist(), strict=True):
            total[person] += share if person != NOT_FOLLOWED else 0.0
    least = max(LEAST_SHARE * max(total.values(), default=0.0), 1e-6)
    chosen = []
    for at, height in zip(instants, tall, strict=True):
        weight = np.array([total[person] for person in at.person_ids.tolist()])
        rows = np.flatnonzero((height >= real_set.least_height) & (weight >= least)) if len(weight) else np.arange(0)
        rows = rows[np.argsort(-weight[rows], kind="stable")][: real_set.most_people]
        chosen.append(rows[np.argsort(at.boxes[rows, [0]] + at.boxes[rows, [2]], kind="stable")])
    return chosen


def sides(instants: Sequence[TubeBoxes], chosen: Sequence[np.ndarray], width: int) -> list[list[str]]:
    """Return the side of each chosen box; one without another beside it has the side that its tube mostly had."""
    seen: dict[int, Counter[str]] = defaultdict(Counter)
    for at, rows in zip(instants, chosen, strict=True):
        if len(rows) == 2:
            for row, side in zip(rows.tolist(), ("left", "right"), strict=True):
                seen[int(at.person_ids[row])][side] += 1

    def alone(at: TubeBoxes, row: int) -> str:
        known = seen[int(at.person_ids[row])].most_common(1)
        return known[0][0] if known else ("left" if at.boxes[row, [0, 2]].mean() < width / 2 else "right")

    return [
        ["left", "right"] if len(rows) == 2 else [alone(at, row) for row in rows.tolist()]
        for at, rows in zip(instants, chosen, strict=True)
    ]


def find_people(folder: Path, clips: Sequence[RealClip], real_set: RealSet) -> dict[str, Any]:
    """Return each clip's last instant and its rows of boxes, as a manifest has them."""
    detector, found = NanoDetDetector(threshold=0.05), {}
    for clip in clips:
        linker, times, frame_hw = TubeLinker(LINK), list[float](), (0, 0)
        for seconds, frame in iter_frames(folder / clip.video):
            if seconds + 1e-6 >= len(times) * LOOK_SECONDS:
                linker.update(seconds, detector([frame])[0])
                times.append(seconds)
                frame_hw = (frame.shape[0], frame.shape[1])
        instants = [linker.at(seconds) for seconds in times]
        chosen = chosen_people(instants, frame_hw, real_set)
        on = sides(instants, chosen, frame_hw[1])
        boxes = [
            {"clip_id": clip.video, "pts_seconds": at_seconds}
            | dict(zip(("x1", "y1", "x2", "y2"), box.tolist(), strict=True))
            | {"labels": [real_set.names.index(person_action(clip, side))]}
            for at_seconds, at, rows, names in zip(times, instants, chosen, on, strict=True)
            for box, side in zip(normalised_boxes(at.boxes[rows], frame_hw), names, strict=True)
        ]
        found[clip.video] = {"end_seconds": seconds, "boxes": boxes}
    return found
