"""A small localiser trained on real, annotated video: what the playground and weak pre-training bring it.

    python benchmarks/real_localiser.py --ut DIR --weizmann DIR --playground DIR --start RUN --out out/real

UT-Interaction set 1 (60 clips of 10 sequences; its 98 clips of nothing are left out) and Weizmann (90 clips of 9
people), with the people that ``real_people.py`` finds, five times a second. Both sets are for research: neither they
nor what is trained here is shipped.

Fold k holds out sequence k and person k; one localiser learns both sets, two tasks in one mixture, in the four ways of
``ARMS``, which see the real sets equally often. Scored on what each fold held out and pooled: frame mAP on the found
boxes (AVA), and whole videos (the mean of all boxes' scores). Bootstrap over videos. Nothing is made twice: the same
command goes on, ``--seeds`` may be raised, results are written after every fold.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import write_result
from real_people import SETS, RealClip, activity_scores, find_people

from tubelet.data.ava_table import AvaTable
from tubelet.data.manifest_writer import write_manifest
from tubelet.evals.ava import frame_map, match_detections
from tubelet.evals.predictions import Predictions, read_predictions, write_predictions
from tubelet.evals.resample import class_means, compare, draw_aps, draw_weights, interval, ranked_lists, weighted_share
from tubelet.evals.run import chance_map
from tubelet.labels import LabelSpace
from tubelet.recipes.playground import (
    CLASSIFY_SETS,
    LOCALISE_SET,
    SCALES,
    num_examples,
    playground_task,
    preprocess_of,
    run_at_scale,
)
from tubelet.records import read_json, write_json
from tubelet.tasks import build_task, task_config
from tubelet.train.config import RunConfig
from tubelet.train.data import task_dataset
from tubelet.train.evaluate import evaluate_run, origin_of
from tubelet.train.fit import fit
from tubelet.video.augmentations import Augment, BatchAugment

Rows = list[dict[str, Any]]
SCALE = SCALES["study"]
FOLDS = 10
REAL_STEPS = 400
"""Steps on the real sets, in every arm."""
PLAYGROUND_SHARE = 1 / 3
"""Of a co-finetuned run's samples, which has more steps by so much."""
RATE = 0.002
"""Of every arm. Chosen once, on folds 2 to 4 without fold 1: docs/reproduce.md."""
AUGMENT = Augment(
    scale_range=(0.65, 1.1), box_jitter=0.15, flip=True, batch=BatchAugment(colour_probability=0.8, hue=0.1)
)
FLOORS = {"ut": 0.867, "weizmann": 0.911}
"""Frozen ImageNet features (EfficientNet-Lite0, 8 frames) and ridge regression, same folds, accuracy on videos."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One way to train."""

    start: bool
    """From the weights of weak pre-training, else from random ones."""
    playground: bool
    """Together with the playground's sets."""


ARMS: Mapping[str, Arm] = {
    "scratch": Arm(start=False, playground=False),
    "scratch, co-finetuned": Arm(start=False, playground=True),
    "weak start": Arm(start=True, playground=False),
    "weak start, co-finetuned": Arm(start=True, playground=True),
}
GAINS = (
    ("scratch", "scratch, co-finetuned"),
    ("weak start", "weak start, co-finetuned"),
    ("scratch", "weak start"),
    ("scratch, co-finetuned", "weak start, co-finetuned"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Where everything is."""

    folders: Mapping[str, Path]
    """Of the videos, by set."""
    playground: Path
    start: Path
    out: Path

    def clips(self, name: str) -> list[RealClip]:
        """Return the clips of a set in which something is done."""
        return [clip for clip in SETS[name].clips(self.folders[name]) if clip.activity in SETS[name].names]

    def people(self, name: str) -> dict[str, Any]:
        """Return what ``find_people`` found; it looks once."""
        path = self.out / f"{name}.json"
        if not path.exists():
            write_json(path, find_people(self.folders[name], self.clips(name), SETS[name]))
        people: dict[str, Any] = read_json(path)
        return people

    def manifest(self, name: str, fold: int) -> Path:
        """Write the manifest of a set in which a fold is held out."""
        clips, people = self.clips(name), self.people(name)
        folder = self.out / "manifests" / f"fold-{fold}" / name
        write_manifest(
            folder,
            name=name,
            kind="localise",
            multi_label=False,
            label_space=LabelSpace(name=name, names=SETS[name].names),
            media_root=self.folders[name].resolve(),
            licence="none stated; research use",
            source=f"{name}, people found by NanoDet-g",
            clips=[
                {"clip_id": clip.video, "video": clip.video, "start_seconds": 0.0, "labels": []}
                | {"end_seconds": people[clip.video]["end_seconds"], "split": split_of(clip, fold)}
                for clip in clips
            ],
            boxes=[row for each in people.values() for row in each["boxes"]],
        )
        return folder

    def run(self, arm: Arm, seed: int, fold: int) -> RunConfig:
        """Return the run of an arm that does not see a fold."""
        share = 1 - PLAYGROUND_SHARE if arm.playground else 1.0
        tasks, num = [], 0
        for name in SETS:
            folder = self.manifest(name, fold)
            split = "test" if any(clip.fold == fold for clip in self.clips(name)) else "train"
            weight = share / len(SETS)
            tasks.append(task_config(folder, augment=AUGMENT, eval_split=split, mixture_weight=weight))
            num += len(task_dataset(build_task(tasks[-1], preprocess=preprocess_of(SCALE)), "train", training=True))
        rest = {name: num_examples(self.playground, name) for name in (*CLASSIFY_SETS, LOCALISE_SET)}
        for name, size in rest.items() if arm.playground else ():
            weight = PLAYGROUND_SHARE * size / sum(rest.values())
            tasks.append(replace(playground_task(self.playground, name), mixture_weight=weight))
            num += size
        steps = round(REAL_STEPS / share)
        return run_at_scale(
            "real_localiser",
            tuple(tasks),
            SCALE,
            num_epochs=steps * SCALE.batch_size / num,
            learning_rate=RATE,
            init_from=str(self.start.resolve()) if arm.start else None,
            seed=seed,
            cache_dir=self.out / "cache",
        )

    def scores(self, name: str, seed: int, fold: int) -> dict[str, Predictions]:
        """Train one arm and return its scores of the fold it has not seen, by set; what is there is read."""
        folder = self.out / "runs" / f"{name.replace(', ', '-').replace(' ', '-')}-fold-{fold}-seed-{seed}"
        found = {}
        for task in SETS:
            if not any(clip.fold == fold for clip in self.clips(task)):
                continue
            stored = folder / f"scores-{task}"
            if not (stored / "predictions.json").exists():
                run = self.run(ARMS[name], seed, fold)
                fit(replace(run, num_workers=0), folder, progress=False)
                result = evaluate_run(folder, split="test", tasks=(task,))[task]
                write_predictions(stored, result, origin_of(folder, task))
            found[task] = read_predictions(stored)
        return found


def split_of(clip: RealClip, fold: int) -> str:
    """Return ``test`` where the clip is held out."""
    return "test" if clip.fold == fold else "train"


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """One arm on one set, all folds and seeds together; draws of videos are (B,)."""

    mean_ap: float
    accuracy: float
    ap_draws: np.ndarray
    accuracy_draws: np.ndarray
    chance: float
    per_class: dict[str, float]
    """AP."""
    right: dict[str, float]
    """Activity to the share of its videos that are named right."""


def joined(tables: Sequence[AvaTable]) -> AvaTable:
    """Return the rows of several tables."""
    scores = [table.scores for table in tables if table.scores is not None]
    return AvaTable(
        video=np.concatenate([table.video for table in tables]),
        pts_seconds=np.concatenate([table.pts_seconds for table in tables]),
        boxes_norm=np.concatenate([table.boxes_norm for table in tables]),
        label_ids=np.concatenate([table.label_ids for table in tables]),
        scores=np.concatenate(scores) if scores else None,
    )


def videos_right(parts: Sequence[Predictions], truth: Mapping[str, str], names: Sequence[str]) -> np.ndarray:
    """Return for each video of ``truth``, name to activity, whether the mean score of its boxes says so: bool (V,).

    A video in which nobody was found is wrong.
    """
    of_video: dict[str, list[np.ndarray]] = defaultdict(list)
    for part in parts:
        scores, activities = activity_scores(part.scores, names)
        for video, row in zip(part.videos, scores, strict=True):
            of_video[video].append(row)
    return np.array(
        [
            video in of_video and activities[int(np.mean(of_video[video], axis=0).argmax())] == activity
            for video, activity in truth.items()
        ]
    )


def pooled(seeds: Sequence[Sequence[Predictions]], truth: Mapping[str, str]) -> Pooled:
    """Return the means over seeds, each with the predictions of the same folds."""
    space, videos = seeds[0][0].label_space, list(truth)
    weights, numbers = draw_weights(len(videos)), np.arange(len(videos))
    aps, ap_draws, rights, accuracy_draws = [], [], [], []
    for parts in seeds:
        real = joined([part.ground_truth for part in parts if part.ground_truth is not None])
        found = joined([part.detections for part in parts if part.detections is not None])
        aps.append(frame_map(real, found, space))
        lists = ranked_lists(match_detections(real, found, space), real, found, videos, protocol="official")
        ap_draws.append(class_means(draw_aps(lists, weights)))
        rights.append(videos_right(parts, truth, space.names))
        accuracy_draws.append(weighted_share(rights[-1], numbers, weights))
    right = np.mean(rights, axis=0)
    activities = np.array(list(truth.values()))
    return Pooled(
        mean_ap=float(np.mean([each.mean_ap for each in aps])),
        accuracy=float(right.mean()),
        ap_draws=np.mean(ap_draws, axis=0),
        accuracy_draws=np.mean(accuracy_draws, axis=0),
        chance=chance_map(real, found, space).mean_ap,
        per_class={
            each[0].name: float(np.mean([0.0 if c.ap is None else c.ap for c in each]))
            for each in zip(*(result.per_class for result in aps), strict=True)
        },
        right={name: float(right[activities == name].mean()) for name in sorted(set(truth.values()))},
    )


def summary(work: Work, name: str, scores: Mapping[str, Sequence[Sequence[Predictions]]], folds: Sequence[int]) -> Rows:
    """Return a row for each arm on a set, then what it gains on others, with the bootstrap's 95 % intervals."""
    clips = [clip for clip in work.clips(name) if clip.fold in folds]
    people = work.people(name)
    of_arm = {
        arm: pooled(seeds, {Path(clip.video).stem: clip.activity for clip in clips}) for arm, seeds in scores.items()
    }
    rows: Rows = []
    for arm, found in of_arm.items():
        ap, accuracy = interval(found.mean_ap, found.ap_draws), interval(found.accuracy, found.accuracy_draws)
        rows.append(
            {"set": name, "arm": arm, "folds": len({clip.fold for clip in clips}), "seeds": len(scores[arm])}
            | {"clips": len(clips), "clips_with_nobody": sum(not people[clip.video]["boxes"] for clip in clips)}
            | {"boxes": sum(len(people[clip.video]["boxes"]) for clip in clips)}
            | {"mAP": ap.value, "mAP_low": ap.low, "mAP_high": ap.high, "mAP_chance": found.chance}
            | {"accuracy": accuracy.value, "accuracy_low": accuracy.low, "accuracy_high": accuracy.high}
            | {"accuracy_floor": FLOORS[name], "AP": found.per_class, "right": found.right}
        )
    for less, more in GAINS:
        one, other = of_arm[less], of_arm[more]
        gain = compare(other.mean_ap - one.mean_ap, other.ap_draws - one.ap_draws)
        named = compare(other.accuracy - one.accuracy, other.accuracy_draws - one.accuracy_draws)
        rows.append(
            {"set": name, "arm": more, "gain_on": less}
            | {"mAP": gain.value, "mAP_low": gain.low, "mAP_high": gain.high, "mAP_p": gain.p_value}
            | {"accuracy": named.value, "accuracy_low": named.low, "accuracy_high": named.high}
        )
    return rows


def main() -> None:
    """Measure and write ``benchmarks/results/real_localiser.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--ut", "--weizmann", "--playground", "--start", "--out"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    for folder in (options.ut, options.weizmann):
        if not folder.is_dir():
            print(f"real_localiser: skipped, {folder} is not here; its text says what it is")
            return
    work = Work(
        folders={"ut": options.ut, "weizmann": options.weizmann},
        playground=options.playground,
        start=options.start,
        out=options.out,
    )
    done: dict[tuple[str, str], list[list[Predictions]]] = defaultdict(list)
    for seed in range(options.seeds):
        for fold in range(1, FOLDS + 1):
            for arm in ARMS:
                for name, part in work.scores(arm, seed, fold).items():
                    seeds = done[name, arm]
                    seeds += [[]] * (seed + 1 - len(seeds))
                    seeds[seed] = [*seeds[seed], part]
            if seed == 0 or fold == FOLDS:
                folds = range(1, FOLDS + 1 if seed else fold + 1)
                rows = [row for n in SETS for row in summary(work, n, {a: done[n, a] for a in ARMS}, folds)]
                write_result("real_localiser", rows)


if __name__ == "__main__":
    main()
