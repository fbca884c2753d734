"""Commands that train, compare and score."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg

from tubelet.types import Crops, InputError


def train(arguments: list[str]) -> None:
    """Train a recipe: ``tubelet train RECIPE [options]``; ``tubelet recipes`` lists them.

    RECIPE may also be yours, as ``my_lab.recipes:function``; the function's parameters become the options.
    """
    if arguments[:1] in (["-h"], ["--help"]):
        print("usage: tubelet train RECIPE --out DIR [options]        (tubelet train RECIPE --help lists them)\n")
        recipes()
        return
    if not arguments or arguments[0].startswith("-"):
        raise InputError("tubelet train needs a recipe first: tubelet train RECIPE --out DIR ...; see tubelet recipes")
    from tubelet.recipes import find_recipe

    recipe = find_recipe(arguments[0])
    chosen: Any = tyro.cli(_train_options(recipe), args=arguments[1:], prog=f"tubelet train {arguments[0]}")
    values = {field.name: getattr(chosen, field.name) for field in dataclasses.fields(chosen)}
    out, dry_run, device = values.pop("out"), values.pop("dry_run"), values.pop("device")
    on_error = values.pop("on_error")
    from tubelet.describe import describe_run
    from tubelet.train.fit import fit

    run = dataclasses.replace(recipe(**values), on_error=on_error)
    if dry_run:
        describe_run(run, Console())
        return
    result = fit(run, out, device=device)
    print("\n".join(f"{metric:40} {value:.4f}" for metric, value in sorted(result.metrics.items())))
    print(f"run folder: {result.out}")


def _train_options(recipe: Callable[..., Any]) -> type:
    """Return a dataclass of the recipe's parameters plus those of every training run."""
    hints = get_type_hints(recipe)
    fields: list[Any] = [
        ("out", Annotated[Path, arg(help="run folder; a run that is there goes on")]),
        ("dry_run", Annotated[bool, arg(help="print the resolved run and stop")], dataclasses.field(default=False)),
        ("device", Annotated[str | None, arg(help="cpu, cuda; default: a GPU if there is one")], None),
        (
            "on_error",
            Annotated[Literal["raise", "skip"], arg(help="a sample that cannot be read ends the run, or is counted")],
            dataclasses.field(default="raise"),
        ),
    ]
    for name, parameter in inspect.signature(recipe).parameters.items():
        if parameter.default is inspect.Parameter.empty:
            fields.append((name, hints[name]))
        else:
            fields.append((name, hints[name], dataclasses.field(default=parameter.default)))
    made = dataclasses.make_dataclass("Train", fields, kw_only=True)
    made.__doc__ = recipe.__doc__
    return made


def summary(function: Callable[..., Any]) -> str:
    """Return the first line of a function's docstring."""
    return (function.__doc__ or "").strip().partition("\n")[0]


def recipes() -> None:
    """List the named recipes."""
    from tubelet.recipes import RECIPES

    table = Table("recipe", "what it is")
    for name, recipe in RECIPES.items():
        table.add_row(name, summary(recipe))
    Console().print(table)


def study_cofinetuning(
    *,
    playground: Path,
    out: Path,
    size: Literal["tiny", "small", "study"] = "study",
    learning_rates: tuple[float, ...] = (0.001, 0.002, 0.004, 0.008),
    seeds: tuple[int, ...] = (0, 1, 2),
    budget_minutes: float | None = None,
    num_parallel: int = 2,
) -> None:
    """Compare co-finetuning with both controls of paper A over several seeds; call it again to go on.

    Args:
        playground: Playground folder.
        out: Study folder; finished runs are kept.
        size: Scale of the recipes.
        learning_rates: Tried for every arm on the validation split.
        seeds: Reported on the test split.
        budget_minutes: Start no run after this time; default: until all are finished.
        num_parallel: Runs at the same time, one core each.
    """
    from tubelet.studies.cofinetuning import run_study
    from tubelet.studies.summary import summarise

    finished = run_study(
        playground,
        out,
        size=size,
        learning_rates=learning_rates,
        seeds=seeds,
        budget_minutes=budget_minutes,
        num_parallel=num_parallel,
    )
    if finished:
        print(summarise(out).table())
    else:
        print(f"{out}: not finished; the same command goes on")


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
    from tubelet.evals.breakdown import by_bucket, by_group
    from tubelet.records import write_json
    from tubelet.train.evaluate import evaluate_run, run_config

    scored = [config for config in run_config(run).tasks if not task or config.name in task]
    boxed = [config.name for config in scored if config.kind == "localise"]
    if detections is not None and len(boxed) != 1:
        found = ", ".join(boxed) or "none"
        raise InputError(f"{run}: --detections holds one localisation task, found {found}; choose one with --task")
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
    numbers: dict[str, Any] = {}
    for name, result in results.items():
        numbers |= result.metrics
        numbers[f"{name}/views"] = f"{result.num_views} x {result.crops}"
        if result.ava is not None:
            numbers[f"{name}/ava"] = result.ava.to_json()
            for part in (by_bucket(result.ava, result.label_space), by_group(result.ava, result.label_space)):
                numbers |= {f"{name}/{key}": value for key, value in part.items()}
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
