"""One video: planned from a seed, rendered, written with its truth next to it.

A job is a pure function of (seed, set, split, index), so any number of workers makes the same videos.
"""

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tubelet.playground import annotate, render
from tubelet.playground.scenes import Shot, Staged, stage_clip, stage_localise
from tubelet.playground.sets import SIDES, Choice
from tubelet.playground.world import WORLDS, draw_place, world_of
from tubelet.records import read_json, whole_file
from tubelet.video.write import VideoWriter

_LOCALISE_SIZES = ((320, 240), (320, 240), (320, 240), (320, 180), (288, 216))
_LOCALISE_FPS = (12.0, 12.0, 12.0, 15.0, 10.0)
"""Rates in which a whole second is a frame, so that keyframes are exact."""
# Square, upright and wide, as phones and cameras film. Mostly near square: on a square canvas a wide frame leaves
# people a few patches small.
_CLIP_SIZES = ((112, 112), (112, 112), (104, 112), (96, 112), (112, 96), (128, 112), (128, 96), (96, 128))
_CLIP_FPS = (12.5, 12.5, 12.5, 10.0, 15.0)

_LONG_SHARE = 0.02
"""Posts that are longer than most of the size, up to ``_LONGEST_SECONDS``."""
_LONGEST_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A video to be made."""

    set_name: str
    split: str
    index: int
    seed: int
    """Of the playground."""
    seconds: tuple[float, float]
    label: str = ""
    """Class of a classification set; seed label of a post."""
    choice: Choice | None = None
    solo_cards: tuple[Choice, ...] = ()
    pair_cards: tuple[Choice, ...] = ()
    post: dict[str, Any] | None = None
    """What is stored with a post: tags, text, uploader ..."""

    @property
    def name(self) -> str:
        """Name of the video, unique in its set."""
        return f"{self.split}_{self.index:05d}"

    @property
    def video(self) -> str:
        """The file below the playground's folder."""
        return f"videos/{self.set_name}/{self.name}.mp4"

    def rng(self) -> np.random.Generator:
        """Return the job's own source of randomness."""
        key = zlib.crc32(f"{self.set_name}/{self.split}/".encode())
        return np.random.default_rng([self.seed, key, self.index])


def make_video(job: Job, root: Path) -> dict[str, Any]:
    """Render a job's video and write its truth; the truth comes last and marks the job as done.

    Args:
        job: What to make.
        root: The playground's folder.

    Returns:
        The truth, as ``read_truth`` reads it.
    """
    rng = job.rng()
    flipped, label = False, job.label
    if job.set_name == "localise":
        staged = _localise(job, rng)
    else:
        staged = _clip(job, rng)
    if job.set_name == "direction":
        flipped = bool(rng.random() < 0.5)
        label = mirrored_label(label) if flipped else label
    crf = int(rng.integers(*WORLDS[job.split.split("_")[0]].crfs, endpoint=True))
    truth = _render(job, staged, root / job.video, crf=crf, flipped=flipped)
    truth |= {"label": label}
    if job.choice is not None and job.choice[0] == "verb":
        truth |= {"verb": job.choice[1]}
    if job.post is not None:
        truth |= {"post": job.post}
    with whole_file(truth_path(root, job)) as file:
        file.write(json.dumps(truth, sort_keys=True) + "\n")
    return truth


def truth_path(root: Path, job: Job) -> Path:
    """Return where a job's truth is kept."""
    return (root / job.video).with_suffix(".json")


def read_truth(root: Path, job: Job) -> dict[str, Any] | None:
    """Return the truth of a finished job, or None if it has to be made."""
    path = truth_path(root, job)
    if not path.exists() or not (root / job.video).exists():
        return None
    truth: dict[str, Any] = read_json(path)
    return truth


def mirrored_label(label: str) -> str:
    """Return what a label becomes when the picture is mirrored: left and right change places."""
    left_to_right, right_to_left = SIDES
    if label.endswith(left_to_right):
        return label.removesuffix(left_to_right) + right_to_left
    if label.endswith(right_to_left):
        return label.removesuffix(right_to_left) + left_to_right
    return label


def _localise(job: Job, rng: np.random.Generator) -> Staged:
    k = int(rng.integers(len(_LOCALISE_SIZES)))
    fps = _LOCALISE_FPS[int(rng.integers(len(_LOCALISE_FPS)))]
    num_frames = round(float(rng.uniform(*job.seconds)) * fps)
    return stage_localise(
        job.solo_cards, job.pair_cards, num_frames=num_frames, fps=fps, size=_LOCALISE_SIZES[k],
        world=world_of(job.split), rng=rng,
    )  # fmt: skip


def _clip(job: Job, rng: np.random.Generator) -> Staged:
    assert job.choice is not None  # every classification job has one
    world = world_of(job.split)
    fps = _CLIP_FPS[int(rng.integers(len(_CLIP_FPS)))]
    size = _CLIP_SIZES[int(rng.integers(len(_CLIP_SIZES)))]
    seconds = _post_seconds(job, rng) if job.post is not None else float(rng.uniform(*job.seconds))
    num_frames = max(8, round(seconds * fps))
    active = _active_part(num_frames, fps, rng) if job.post is not None else None
    place = None
    if job.set_name == "kitchen":
        # Kitchens of the seen test split are those of training, with people never seen.
        rooms = WORLDS["train"] if job.split == "test_seen" else world
        place = draw_place(rooms, rng, kinds=("room",))
    side = next((s for s in SIDES if job.label.endswith(s)), None) if job.set_name == "direction" else None
    shot = Shot(
        num_frames=num_frames, fps=fps, size=size, side=side, active=active, place=place,
        bystander=0.25 if job.set_name in ("kinetics", "moments", "posts") else 0.0,
    )  # fmt: skip
    return stage_clip(job.choice, shot, world=world, rng=rng)


def _post_seconds(job: Job, rng: np.random.Generator) -> float:
    """Draw a post's length: most are short, a few last up to a minute whatever the size of the playground."""
    low, high = job.seconds
    if rng.random() < _LONG_SHARE:
        low, high = high, max(high, _LONGEST_SECONDS)
    return float(low * (high / low) ** (rng.random() ** 1.5))


def _active_part(num_frames: int, fps: float, rng: np.random.Generator) -> tuple[int, int] | None:
    """Draw when the action happens in a post (temporal noise): the longer the post, the smaller the share."""
    seconds = num_frames / fps
    if seconds < 2.0 or rng.random() < 0.3:
        return None
    share = float(rng.uniform(0.35, 0.8)) if seconds < 6 else float(rng.uniform(0.2, 0.6))
    length = max(round(1.2 * fps), round(share * num_frames))
    first = int(rng.integers(0, num_frames - length + 1))
    return first, first + length


def _render(job: Job, staged: Staged, path: Path, *, crf: int, flipped: bool) -> dict[str, Any]:
    """Draw and encode all frames and keep what is true at the keyframes."""
    scene = staged.scene
    choose = {"localise": annotate.keyframe_frames, "direction": annotate.thirds}
    keys = dict(choose.get(job.set_name, annotate.middle_frame)(scene.num_frames, scene.fps))
    found = []
    with VideoWriter(path, width=scene.width, height=scene.height, fps=scene.fps, crf=crf) as writer:
        for k, frame in enumerate(render.render_frames(scene)):
            writer.write(frame.image[:, ::-1] if flipped else frame.image)
            if k in keys:
                labels = [
                    annotate.labels_at(role.spans, k, num_frames=scene.num_frames, fps=scene.fps)
                    for role in staged.roles
                ]
                found.append(asdict(annotate.truth_of(frame, labels, pts_seconds=keys[k], flipped=flipped)))
    return {
        "video": job.video,
        "split": job.split,
        "width": scene.width,
        "height": scene.height,
        "fps": scene.fps,
        "num_frames": scene.num_frames,
        "crf": crf,
        "place": f"{scene.place.kind} {scene.place.seed}",
        "keyframes": found,
    }
