"""Videos with a right and a wrong tag: one of them for good, or another draw whenever the video is seen?

    python benchmarks/one_tag.py --out runs/one_tag [--playground PLAYGROUND --size study] [--seeds 0 1 2] [--epochs 15]

The ``kinetics`` set of a playground, or of 90 clips of coloured squares (a tiny one), whose training clips get a second
label at random beside their own, as a video with two hashtags has; test clips keep theirs. ``one`` draws a label from
(seed, video), which is what paper B, 3.3, does; ``one_each_pass`` anew each time. Everything else is the recipe
``train_sets``, the same for both. Top-1 on ``test``; runs that are there already are not done again.
"""

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from machine import write_result

from tubelet.data.manifest import read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.recipes.playground import manifest_of, train_sets
from tubelet.tasks import LabelChoice
from tubelet.train.config import RunConfig
from tubelet.train.evaluate import evaluate_run
from tubelet.train.fit import fit

ARMS: tuple[LabelChoice, ...] = ("one", "one_each_pass")
NAME = "two_tags"


def two_tags(playground: Path, folder: Path) -> Path:
    """Write the set with a second label for each training clip; return its folder."""
    source = read_manifest(manifest_of(playground, "kinetics"))
    rng = np.random.default_rng(0)
    number = len(source.label_space)
    rows = source.clips.to_pylist()
    for row in rows:
        (own,) = row["labels"]
        other = (own + int(rng.integers(1, number))) % number
        row["labels"] = sorted((own, other)) if row["split"] == "train" else [own]
    write_manifest(
        folder,
        name=NAME,
        kind="classify",
        multi_label=True,
        label_space=source.label_space,
        media_root=source.media_root,
        licence=source.licence,
        source=source.source,
        clips=rows,
    )
    return folder


def coloured_squares(out: Path) -> Path:
    """Return a playground of 90 training clips, made where it is not there."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from moving_squares import build_moving_squares  # type: ignore[import-not-found]  # of the tests

    return out if (out / "manifests").exists() else build_moving_squares(out, num_clips=90)


def top1(run: RunConfig, manifest: Path, out: Path, arm: LabelChoice) -> float:
    """Train an arm and return the share of test clips whose class has the highest score."""
    task = replace(run.tasks[0], name=NAME, manifest=str(manifest.resolve()), labels=arm)
    fit(replace(run, tasks=(task,), num_workers=0), out, device="cpu", progress=False)
    result = evaluate_run(out, split="test", device="cpu")[NAME]
    hits = result.targets[np.arange(len(result.scores)), result.scores.argmax(axis=1)]
    return float(hits.mean())


def main() -> None:
    """Train, score and write ``benchmarks/results/one_tag.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--playground", type=Path)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, default=15.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    manifest = options.out / NAME
    playground = options.playground or coloured_squares(options.out / "squares")
    if not manifest.exists():
        two_tags(playground, manifest)
    rows = []
    for arm in ARMS:
        found = []
        for seed in options.seeds:
            run = train_sets(playground, sets=("kinetics",), size=options.size, num_epochs=options.epochs, seed=seed)
            found.append(top1(run, manifest, options.out / f"{arm}-{seed}", arm))
        rows.append(
            {
                "labels": arm,
                "epochs": options.epochs,
                "test_top1": [round(value, 3) for value in found],
                "mean": round(statistics.mean(found), 3),
                "chance": round(1 / len(read_manifest(manifest).label_space), 3),
            }
        )
    write_result("one_tag", rows)


if __name__ == "__main__":
    main()
