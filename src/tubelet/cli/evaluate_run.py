"""The command that scores a trained run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from tubelet.cli.places import check_file, check_new_folder
from tubelet.types import BoxChoice, Crops, Fit, InputError

if TYPE_CHECKING:
    from tubelet.evals.run import TaskResult


def evaluate(
    run: Positional[Path],
    *,
    split: str | None = None,
    task: tuple[str, ...] = (),
    boxes: BoxChoice | None = None,
    box_threshold: float | None = None,
    num_views: int | None = None,
    crops: Crops | None = None,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = False,
    dense: bool = False,
    average: Literal["probabilities", "logits"] = "probabilities",
    salience: Path | None = None,
    square: int | None = None,
    exact_hw: tuple[int, int] | None = None,
    short_side: int | None = None,
    detections: Path | None = None,
    predictions: Path | None = None,
    json: Path | None = None,
    choose_thresholds: bool = False,
    device: str | None = None,
) -> None:
    """Score a trained run on its data sets: AVA frame mAP@0.5 (official protocol) or top-1 / top-5.

    The views stand beside every number; the papers' own setting is one view for boxes, 10 clips of whole videos.

    Args:
        run: Run folder.
        split: Which split; default: each task's own evaluation split.
        task: Which tasks; default: all.
        boxes: Person boxes of the localisation task; default: its own choice.
        box_threshold: Least confidence of a detected box; default: the task's own.
        num_views: Clips of a video whose scores are averaged, for classification; default: the task's own.
        crops: Shown of a frame larger than the model's square: its centre, three squares (averaged) or whole.
        scales: Sizes of the canvas relative to training; scores of several are averaged.
        flip: Score every clip in a mirror too, and average.
        dense: Score whole clips at every place of their frames, as a convolution (paper B, 4.4).
        average: What is averaged over the views.
        salience: Run folder of a light model: it scores all clips of a video, and the most salient are averaged.
        square: Pixels of the square shown, other than in training; with exact_hw or short_side.
        exact_hw: Height and width that frames are scaled to first, as 128 171.
        short_side: Pixels that the shorter side is scaled to first.
        detections: Write the localisation task's scored boxes here, as an AVA csv; of several tasks choose one.
        predictions: New folder for all scores, a folder in it for each task, which tubelet score scores again.
        json: Write every number here.
        choose_thresholds: Store in the run, for each class, the score with the largest F1 on this split, which localise
            then uses. A run does so at its end; choose them on a validation split.
        device: cpu, cuda; default: a GPU if there is one.
    """
    from tubelet.data.ava_csv import write_ava_csv
    from tubelet.evals.predictions import write_predictions
    from tubelet.evals.thresholds import thresholds_of
    from tubelet.evals.views import Views
    from tubelet.records import write_json
    from tubelet.train.evaluate import evaluate_run, origin_of, run_config
    from tubelet.train.folder import store_thresholds

    scored = [config for config in run_config(run).tasks if not task or config.name in task]
    _check_tasks(
        run,
        {config.name: config.kind for config in scored},
        about_boxes=boxes is not None or box_threshold is not None,
        writes_boxes=detections is not None,
    )
    check_file("--detections", detections)
    check_file("--json", json)
    check_new_folder("--predictions", predictions)
    if square is None and (exact_hw, short_side) != (None, None):
        raise InputError("--exact-hw and --short-side need --square, the pixels of the square that is shown")
    results = evaluate_run(
        run,
        split=split,
        tasks=task or None,
        boxes=boxes,
        box_score_threshold=box_threshold,
        num_views=num_views,
        crops=crops,
        more=Views(scales=scales, flip=flip, dense=dense, average=average),
        salience=salience,
        fit=None if square is None else Fit(size=square, exact_hw=exact_hw, short_side=short_side),
        device=device,
    )
    numbers = numbers_of(results)
    for name, result in results.items():
        origin = origin_of(run, name)
        numbers[f"{name}/origin"] = origin
        if predictions is not None:
            write_predictions(predictions / name, result, origin)
        if result.detections is not None and detections is not None:
            # So many digits that scoring the file gives the printed number: rounding makes ties.
            write_ava_csv(detections, result.detections, box_decimals=9, score_decimals=12)
    print_numbers(numbers)
    if choose_thresholds:
        store_thresholds(run, thresholds_of(results))
    if json is not None:
        write_json(json, numbers)


def _check_tasks(run: Path, kinds: Mapping[str, str], *, about_boxes: bool, writes_boxes: bool) -> None:
    """Raise where an option does not go with the tasks that are scored."""
    boxed = [name for name, kind in kinds.items() if kind == "localise"]
    if writes_boxes and len(boxed) != 1:
        found = ", ".join(boxed) or "none"
        raise InputError(f"{run}: --detections holds one localisation task, found {found}; choose one with --task")
    if about_boxes and not boxed:
        names = ", ".join(kinds)
        raise InputError(f"{run}: --boxes and --box-threshold are for localisation, but {names} classify whole clips")


def print_numbers(numbers: Mapping[str, Any]) -> None:
    """Print the numbers, then what they come from."""
    table = Table("metric", "value")
    for metric, value in numbers.items():
        if isinstance(value, float | str):
            table.add_row(metric, value if isinstance(value, str) else f"{value:.4f}")
    Console(markup=False).print(table)
    for metric, value in numbers.items():
        if metric.endswith("/origin"):
            print(f"{metric.removesuffix('/origin')}: {described(value)}")


def numbers_of(results: "Mapping[str, TaskResult]") -> dict[str, Any]:
    """Return every number of an evaluation by name; ``<task>/ava`` holds a table."""
    from tubelet.evals.breakdown import by_bucket, by_group
    from tubelet.evals.parts import kinetics_and_ava, part_maps

    numbers: dict[str, Any] = {}
    for name, result in results.items():
        numbers |= result.metrics
        numbers[f"{name}/views"] = str(result.views)
        if result.ava is not None:
            numbers[f"{name}/boxes"] = result.boxes
            numbers[f"{name}/protocol"] = result.ava.protocol
            numbers[f"{name}/ava"] = result.ava.to_json()
            for part in (by_bucket(result.ava, result.label_space), by_group(result.ava, result.label_space)):
                numbers |= {f"{name}/{key}": value for key, value in part.items()}
        if result.ground_truth is not None and result.detections is not None:
            parts = part_maps(kinetics_and_ava(result.ground_truth), result.detections, result.label_space)
            numbers |= {f"{name}/mAP_of_{key}": part.mean_ap for key, part in parts.items()}
    return numbers


def described(origin: Mapping[str, Any]) -> str:
    """Return the line that says which weights and data a number is of."""
    data = origin["data"]
    return (
        f"weights {origin['weights_sha256'][:12]} of {origin['run']}, data {data['sha256'][:12]} of {data['manifest']}"
    )
