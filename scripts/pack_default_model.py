"""Make a trained run of the playground the model that ships: half the precision, thresholds, no paths of a machine.

    python scripts/pack_default_model.py out/study/cofinetuning/runs/cofinetune-lr0.004-seed100/1-cofinetune

The run is scored on its validation split, where the thresholds are chosen, and on its test split, in the precision that
ships. ``tubelet.inference.shipped`` says what is written and where.
"""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tubelet.evals.run import TaskResult
from tubelet.evals.thresholds import thresholds_of
from tubelet.inference.shipped import SHIPPED_MODEL
from tubelet.models.download import sha256_of
from tubelet.models.model import read_backbone_config
from tubelet.models.saved import (
    META_FILE,
    MODEL_FILE,
    load_model,
    model_meta,
    read_heads,
    read_meta,
    read_tensors,
    save_tensors,
)
from tubelet.records import write_json
from tubelet.train.evaluate import evaluate_run

DECIMALS = 4


def scored(folder: Path, split: str) -> dict[str, TaskResult]:
    """Score the localisation tasks of a run folder on a split."""
    kinds = load_model(folder).heads
    tasks = tuple(name for name, head in kinds.items() if head.kind == "localise")
    return evaluate_run(folder, split=split, tasks=tasks)


def main() -> None:
    """Write the model's two files."""
    run = Path(sys.argv[1])
    meta = read_meta(run)
    with TemporaryDirectory() as name:
        halved = Path(name)
        tensors = {key: value.half() for key, value in read_tensors(run / MODEL_FILE).items()}
        save_tensors(halved / MODEL_FILE, tensors)
        write_json(halved / META_FILE, meta)
        val, test = scored(halved, "val"), scored(halved, "test")
    thresholds = {task: tuple(round(t, DECIMALS) for t in chosen) for task, chosen in thresholds_of(val).items()}
    heads = read_heads(meta, where=str(run))
    heads |= {task: replace(heads[task], thresholds=chosen) for task, chosen in thresholds.items()}
    results = (*val.values(), *test.values())
    kept: dict[str, Any] = {key: meta[key] for key in ("step", "num_steps", "finished", "data", "versions")} | {
        "metrics": {key: value for result in results for key, value in result.metrics.items()},
        "weights": {
            "trained_on": "the playground only",
            "licence": "Apache-2.0",
            "run_sha256": sha256_of(run / MODEL_FILE),
        },
    }
    loaded = load_model(run)
    backbone = read_backbone_config(meta["backbone"], where=str(run))
    SHIPPED_MODEL.mkdir(parents=True, exist_ok=True)
    save_tensors(SHIPPED_MODEL / MODEL_FILE, tensors)
    content = model_meta(
        recipe=meta["recipe"], backbone=backbone, preprocess=loaded.preprocess, heads=heads, extra=kept
    )
    write_json(SHIPPED_MODEL / META_FILE, content)
    for key, value in kept["metrics"].items():
        print(f"{key}: {value:.4f}")


if __name__ == "__main__":
    main()
