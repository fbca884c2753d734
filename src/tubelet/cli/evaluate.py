"""The command that scores a trained run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from tubelet.types import Crops, InputError

if TYPE_CHECKING:
    from tubelet.evals.run import TaskResult


def evaluate(
    run: Positional[Path],
    *,
    split: str | None = None,
    task: tuple[str, ...] = (),
    boxes: Literal["annotated", "detected", "both"] | None = None,
    box_threshold: float | None = None,
    num_views: int | None = None,
    crops: Crops | None = None,
    detections: Path | None = None,
    json: Path | None = None,
    device: str | None = None,
) -> None:
    """Score a trained run on its data sets: AVA frame mAP@0.5 (official protocol) or top-1 / top-5.

    Args:
        run: Run folder.
        split: Which split; default: each task's own evaluation split.
        task: Which tasks; default: all.
        boxes: Person boxes of the localisation task; default: its own choice.
        box_threshold: Least confidence of a detected box; default: the task's own.
        num_views: Clips of a video whose scores are averaged, for classification; default: the task's own.
        crops: Shown of a frame larger than the model's square: its centre, three squares (averaged) or whole.
        detections: Write the localisation task's scored boxes here, as an AVA csv; of several tasks choose one.
        json: Write every number here.
        device: cpu, cuda; default: a GPU if there is one.
    """
    from tubelet.data.ava_csv import write_ava_csv
    from tubelet.records import write_json
    from tubelet.train.evaluate import evaluate_run, run_config

    scored = [config for config in run_config(run).tasks if not task or config.name in task]
    boxed = [config.name for config in scored if config.kind == "localise"]
    if detections is not None and len(boxed) != 1:
        found = ", ".join(boxed) or "none"
        raise InputError(f"{run}: --detections holds one localisation task, found {found}; choose one with --task")
    if not boxed and (boxes is not None or box_threshold is not None):
        names = ", ".join(config.name for config in scored)
        raise InputError(f"{run}: --boxes and --box-threshold are for localisation, but {names} classify whole clips")
    for path in (detections, json):
        if path is not None:
            check_writable(path)
    results = evaluate_run(
        run,
        split=split,
        tasks=task or None,
        boxes=boxes,
        box_score_threshold=box_threshold,
        num_views=num_views,
        crops=crops,
        device=device,
    )
    numbers = numbers_of(results)
    for result in results.values():
        if result.detections is not None and detections is not None:
            # So many digits that scoring the file gives the printed number: rounding makes ties.
            write_ava_csv(detections, result.detections, box_decimals=9, score_decimals=12)
    table = Table("metric", "value")
    for metric, value in numbers.items():
        if isinstance(value, float | str):
            table.add_row(metric, value if isinstance(value, str) else f"{value:.4f}")
    Console().print(table)
    if json is not None:
        write_json(json, numbers)


def numbers_of(results: "Mapping[str, TaskResult]") -> dict[str, Any]:
    """Return every number of an evaluation by name; ``<task>/ava`` holds a table."""
    from tubelet.evals.breakdown import by_bucket, by_group

    numbers: dict[str, Any] = {}
    for name, result in results.items():
        numbers |= result.metrics
        numbers[f"{name}/views"] = f"{result.num_views} x {result.crops}"
        if result.ava is not None:
            numbers[f"{name}/ava"] = result.ava.to_json()
            for part in (by_bucket(result.ava, result.label_space), by_group(result.ava, result.label_space)):
                numbers |= {f"{name}/{key}": value for key, value in part.items()}
    return numbers


def check_writable(path: Path) -> None:
    """Raise unless a file can be written at ``path``, before the work whose result goes there.

    Raises:
        InputError: It is a folder, or its folder cannot be made or written.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.name}.tmp")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
