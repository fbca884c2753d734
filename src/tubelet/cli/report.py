"""The command that explains scores on one page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from tubelet.cli.places import check_file
from tubelet.types import FrameProtocol, InputError

if TYPE_CHECKING:
    from tubelet.evals.examined import Examined
    from tubelet.evals.predictions import Predictions
    from tubelet.evals.strips import Strips

NUM_DEFAULT_PICTURES = 3
"""Classes with pictures, where none is named."""


def report(
    runs: Positional[tuple[Path, ...]],
    *,
    out: Path = Path("report.html"),
    split: str | None = None,
    task: tuple[str, ...] = (),
    protocol: FrameProtocol = "official",
    iou: float = 0.5,
    pictures: tuple[str, ...] = (),
    num_pictures: int = 20,
    num_draws: int = 1000,
    seed: int = 0,
    device: str | None = None,
) -> None:
    """Explain scores on one html page: intervals, classes, errors, confusions, pictures; what a run gained on others.

    A run is scored once; its predictions are kept in it (RUN/predictions/SPLIT) and taken from there the next time.

    Args:
        runs: Run folders, or folders of tubelet evaluate --predictions; the first is explained, the others compared.
        out: The page, one file that needs nothing else.
        split: Which split of runs that are scored; default: each task's own evaluation split.
        task: Which tasks; default: all of the first run.
        protocol: For boxes: whose rules.
        iou: For boxes: smallest overlap of a true positive.
        pictures: Classes whose worst false positives and misses are shown; default: the three that lost most.
        num_pictures: Of each, at most; 0 = none.
        num_draws: Draws of the videos for the intervals.
        seed: Of the draws.
        device: For scoring: cpu, cuda; default: a GPU if there is one.
    """
    from tubelet.evals.examined import examine
    from tubelet.evals.page import write_page
    from tubelet.evals.report import report_html, summary

    if not runs:
        raise InputError("expected at least one run folder or folder of predictions")
    check_file("--out", out)
    stored = [_predictions(path, split=split, tasks=task, device=device) for path in runs]
    names = short_names(runs)
    explained = []
    for name in stored[0]:
        of_task = {run: each[name] for run, each in zip(names, stored, strict=True) if name in each}
        if missing := [run for run in names if run not in of_task]:
            print(f"{name}: not in {', '.join(missing)}")
        explained.append(examine(of_task, protocol=protocol, iou=iou, num_draws=num_draws, seed=seed))
    strips = {each[0].stored.task: _strips(each[0], pictures, num_pictures) for each in explained if each[0].is_boxes}
    write_page(out, report_html(explained, strips))
    for each in explained:
        print(summary(each))
    print(f"written: {out}")


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return as many last parts of each path as tell all of them apart.

    Raises:
        InputError: One is given twice.
    """
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    twice = next(path for path in paths if parts.count(path.resolve().parts) > 1)
    raise InputError(f"{twice}: given twice")


def _predictions(
    path: Path, *, split: str | None, tasks: Sequence[str], device: str | None
) -> "dict[str, Predictions]":
    """Return the predictions of each task of a run or of a folder."""
    from tubelet.evals.predictions import read_predictions

    folders = [path, *(sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else ())]
    found = [folder for folder in folders if (folder / "predictions.json").is_file()]
    if found and not (path / "meta.json").is_file():
        stored = {each.task: each for each in map(read_predictions, found)}
    else:
        stored = _of_run(path, split=split, tasks=tasks, device=device)
    if unknown := [name for name in tasks if name not in stored]:
        raise InputError(f"{path}: has no task {unknown[0]!r}; it has {', '.join(stored)}")
    return {name: each for name, each in stored.items() if not tasks or name in tasks}


def _of_run(run: Path, *, split: str | None, tasks: Sequence[str], device: str | None) -> "dict[str, Predictions]":
    """Return a run's predictions, scoring the tasks that it has none of by its present weights."""
    import shutil

    from tubelet.evals.predictions import read_predictions, write_predictions
    from tubelet.train.evaluate import evaluate_run, origin_of, run_config

    stored = {}
    for config in run_config(run).tasks:
        if tasks and config.name not in tasks:
            continue
        folder = run / "predictions" / (split or config.eval_split) / config.name
        origin = origin_of(run, config.name)
        if (folder / "predictions.json").is_file():
            one = read_predictions(folder)
            if all(of(one.origin) == of(origin) for of in (_weights, _data)):
                stored[config.name] = one
                continue
            print(f"{folder}: is of other weights or data than the run has now; scored again")
            shutil.rmtree(folder)
        print(f"{run}: scoring {config.name} on {split or config.eval_split}", flush=True)
        result = evaluate_run(run, split=split, tasks=(config.name,), device=device)[config.name]
        write_predictions(folder, result, origin)
        stored[config.name] = read_predictions(folder)
    return stored


def _weights(origin: Mapping[str, Any]) -> str:
    return str(origin["weights_sha256"])


def _data(origin: Mapping[str, Any]) -> str:
    return str(origin["data"]["sha256"])


def _strips(run: "Examined", classes: Sequence[str], count: int) -> "Sequence[Strips] | str":
    """Return the pictures, or why there are none; classes that were asked for by name are an error if they fail."""
    from tubelet.evals.strips import class_strips, costliest_classes

    if count == 0:
        return ()
    if classes:
        return [class_strips(run, name, count=count) for name in classes]
    try:
        return [class_strips(run, name, count=count) for name in costliest_classes(run, NUM_DEFAULT_PICTURES)]
    except InputError as error:
        return f"No pictures: {error}"
