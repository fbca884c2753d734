"""The model that ships on real video it has never seen: ``python benchmarks/zero_shot.py --ut DIR --weizmann DIR``.

UT-Interaction set 1 (Ryoo and Aggarwal 2010; ``labels.csv`` beside the clips) and Weizmann (Gorelick et al. 2007; a
folder a class), which are for research and are not shipped. Only classes that the playground has too are asked for:
``UT`` and ``WEIZMANN`` say which stand for which, the others are left out and counted. A clip's score of a class is the
best of anybody at any moment. ``mAP`` is the mean of the classes' average precisions over clips; ``top1`` takes the
class whose score is highest against its threshold; ``chance`` is the expectation of random scores.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from machine import write_result
from real_people import SETS

import tubelet
from tubelet.evals.classify import mean_average_precision
from tubelet.inference.pipeline import Localiser

UT: Mapping[str, str] = {
    "handshake": "shake hands",
    "hug": "hug",
    "kick": "kick",
    "punch": "punch",
    "push": "push",
}
WEIZMANN: Mapping[str, str] = {
    "bend": "bend",
    "jump": "jump",
    "pjump": "jump",
    "run": "run",
    "walk": "walk",
    "wave1": "wave",
    "wave2": "wave",
}


def best_scores(localiser: Localiser, video: Path) -> np.ndarray:
    """Return the best score (K,) of each class in a clip; 0 where nobody is seen."""
    moments = [moment.scores for moment in localiser(video)]
    best: np.ndarray = np.concatenate([*moments, np.zeros((1, len(localiser.label_space)))]).max(axis=0)
    return best


def zero_shot(
    name: str, localiser: Localiser, clips: list[tuple[Path, str]], meant: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return a row for the set and one for each class."""
    asked = [(path, meant[label]) for path, label in clips if label in meant]
    names = sorted({label for _, label in asked})
    columns = [localiser.label_space.names.index(label) for label in names]
    found = np.stack([best_scores(localiser, path) for path, _ in asked])
    scores = found[:, columns]
    truth = np.array([names.index(label) for _, label in asked])
    targets = np.eye(len(names))[truth]
    result = mean_average_precision(scores, targets)
    chosen = (scores / localiser.thresholds[columns]).argmax(axis=1)
    random = [
        mean_average_precision(np.random.default_rng(i).random(scores.shape), targets).mean_ap for i in range(200)
    ]
    rows: list[dict[str, Any]] = [
        {
            "set": name,
            "class": "all",
            "clips": len(asked),
            "left_out": len(clips) - len(asked),
            "AP": result.mean_ap,
            "chance": float(np.mean(random)),
            "top1": float((chosen == truth).mean()),
            "clips_with_nobody": int((found.max(axis=1) == 0).sum()),
        }
    ]
    for k, label in enumerate(names):
        rows.append({"set": name, "class": label, "clips": int((truth == k).sum()), "AP": result.per_class[k]})
    return rows


def main() -> None:
    """Measure and write ``benchmarks/results/zero_shot.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ut", type=Path)
    parser.add_argument("--weizmann", type=Path)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    localiser = tubelet.load(options.model)
    rows = []
    for name, key, folder, meant in (
        ("UT-Interaction", "ut", options.ut, UT),
        ("Weizmann", "weizmann", options.weizmann, WEIZMANN),
    ):
        if folder is None or not folder.is_dir():
            print(f"zero_shot: {name} left out, no folder of it was given")
        else:
            clips = [(folder / clip.video, clip.activity) for clip in SETS[key].clips(folder)]
            rows += zero_shot(name, localiser, clips, meant)
    if rows:
        write_result("zero_shot", rows)


if __name__ == "__main__":
    main()
