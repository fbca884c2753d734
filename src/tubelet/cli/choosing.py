"""Commands that measure a frozen backbone, or look for a good setting, on data that is not reported."""

import dataclasses
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from tubelet.cli.evaluate_run import numbers_of, print_numbers
from tubelet.cli.places import check_file, check_new_folder
from tubelet.cli.progress import drawn
from tubelet.cli.training import SweepOptions, chosen_runs, recipes
from tubelet.defaults import PROBE_STRENGTHS
from tubelet.types import Crops, InputError

if TYPE_CHECKING:
    from tubelet.studies.sweep import RateResult, Sweep
    from tubelet.train.probe_training import ProbeSearch


def probe(
    model: Positional[str],
    *,
    manifest: Path,
    out: Path,
    split: str = "val",
    train_split: str = "train",
    num_views: int = 10,
    train_views: int = 1,
    crops: Crops = "centre",
    average: Literal["probabilities", "logits"] = "probabilities",
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16",
    strengths: tuple[float, ...] = PROBE_STRENGTHS,
    seed: int = 0,
    cache: Path | None = None,
    predictions: Path | None = None,
    json: Path | None = None,
    batch_size: int = 16,
    num_workers: int = 1,
    device: str | None = None,
) -> None:
    """Measure a backbone as it is: logistic regression on its frozen features (paper B, fc-only).

    Args:
        model: Run folder, or published weights by name; its heads are not used.
        manifest: Data set of clips.
        out: Folder for features, search and classifier; the same command goes on there.
        split: Reported; never trained or chosen on.
        train_split: Trained on; a tenth of its videos chooses the strength of the regularisation.
        num_views: Clips of a reported video whose scores are averaged.
        train_views: Clips of a training video, each a row.
        crops: Shown of a reported frame larger than the model's square.
        average: What is averaged over the views.
        dtype: Of the stored features.
        strengths: Of the regularisation, tried; on features of variance 1.
        seed: Decides which videos are held out.
        cache: Folder of features that several probes share; default: in out.
        predictions: New folder for all scores, which tubelet score scores again.
        json: Write every number here too; out has them as probe.json.
        batch_size: Clips at once.
        num_workers: Processes that prepare clips.
        device: cpu, cuda; default: a GPU if there is one.
    """
    from tubelet.evals.predictions import write_predictions
    from tubelet.records import to_json, write_json
    from tubelet.train import features, probe_training
    from tubelet.train.probe import run_probe

    check_file("--json", json)
    check_new_folder("--predictions", predictions)
    with drawn(features.logger, "features"), drawn(probe_training.logger, "classifiers"):
        found = run_probe(
            model,
            manifest,
            out,
            train_split=train_split,
            split=split,
            num_views=num_views,
            train_views=train_views,
            crops=crops,
            average=average,
            dtype=dtype,
            strengths=strengths,
            seed=seed,
            cache=cache,
            batch_size=batch_size,
            num_workers=num_workers,
            device=device,
        )
    task = found.result.task
    numbers = numbers_of({task: found.result}) | {f"{task}/origin": found.origin}
    _print_search(found.search)
    print_numbers(numbers)
    numbers[f"{task}/probe"] = to_json(found.search) | {"at_edge": found.search.at_edge}
    for path in (out / "probe.json", json):
        if path is not None:
            write_json(path, numbers)
    if predictions is not None:
        write_predictions(predictions, found.result, found.origin | {"probe": numbers[f"{task}/probe"]})


def _print_search(search: "ProbeSearch") -> None:
    """Print what was tried, and where a better strength may lie."""
    table = Table("regularisation", f"held-out {search.metric}", "held-out loss", "training loss", "passes")
    for tried in search.tried:
        passes = f"{tried.num_passes}" + ("" if tried.converged else ", not converged")
        cells = (f"{tried.l2:g}", f"{100 * tried.score:.2f}", f"{tried.loss:.4f}", f"{tried.train_loss:.4f}", passes)
        table.add_row(*cells, style="bold" if tried == search.best else None)
    Console(markup=False).print(table)
    final = search.final
    assert final is not None
    print(f"regularisation {final.l2:g} (C {final.scikit_learn_c:g}), training loss {final.train_loss:.4f}", end="")
    print("" if final.converged else f", not converged after {final.num_passes} passes")
    if search.at_edge:
        print(f"  the best lies at the edge of the grid: a better one may lie outside of {_listed(search.strengths)}")


def _listed(values: Any) -> str:
    return ", ".join(f"{value:g}" for value in values)


def sweep(arguments: list[str]) -> None:
    """Try learning rates of a recipe on a held-out tenth of its training videos (paper B, 4).

    ``tubelet sweep RECIPE [options]``: the recipe's options are those of ``tubelet train RECIPE``.
    """
    if arguments[:1] in (["-h"], ["--help"]):
        print("usage: tubelet sweep RECIPE --out DIR [options]        (tubelet sweep RECIPE --help lists them)\n")
        recipes()
        return
    if not arguments or arguments[0].startswith("-"):
        raise InputError("tubelet sweep needs a recipe first: tubelet sweep RECIPE --out DIR ...; see tubelet recipes")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("tubelet sweep runs in one process; --num-parallel trains several rates at the same time")
    from tubelet.records import to_json, write_json
    from tubelet.studies.sweep import run_sweep

    found = chosen_runs("sweep", arguments[0], arguments[1:], SweepOptions)
    run, own = found.only_run("tubelet sweep"), found.own
    check_file("--json", own["json"])
    result = run_sweep(
        run,
        own["out"],
        learning_rates=own["learning_rates"],
        task=own["task"],
        held_out_seed=own["held_out_seed"],
        num_parallel=own["num_parallel"],
        note=_note,
    )
    final = final_command(arguments, result.best, own["out"])
    _print_sweep(result, final)
    numbers = to_json(result) | {"chosen": result.best, "at_edge": result.at_edge, "final_command": final}
    for path in (own["out"] / "sweep.json", own["json"]):
        if path is not None:
            write_json(path, numbers)
    if result.best is None:
        raise InputError(f"{own['out']}: the loss stopped being a finite number at every rate; lower --learning-rates")


def final_command(arguments: Sequence[str], rate: float | None, out: Path) -> str | None:
    """Return the command that trains at a rate on all training videos, from the words after ``tubelet sweep``."""
    if rate is None:
        return None
    names = {field.name for field in dataclasses.fields(SweepOptions)} - {"set"}
    kept, dropping = [], False
    for word in arguments:
        if word.startswith("--"):
            dropping = word[2:].partition("=")[0].replace("-", "_") in names
        if not dropping:
            kept.append(word)
    words = ["tubelet", "train", *kept, "--set", f"optim.learning_rate={rate:g}", "--out", str(out / "final")]
    return shlex.join(words)


def _note(rate: float, result: "RateResult") -> None:
    how = f"failed, {result.reason}" if result.score is None else f"{100 * result.score:.2f} in {result.seconds:.0f} s"
    print(f"rate {rate:g}: {how}", flush=True)


def _print_sweep(found: "Sweep", final: str | None) -> None:
    table = Table("learning rate", f"{found.metric} in %", "seconds")
    for result in found.results:
        score = "failed" if result.score is None else f"{100 * result.score:.2f}"
        style = "bold" if result.learning_rate == found.best else None
        table.add_row(f"{result.learning_rate:g}", score, f"{result.seconds:.0f}", style=style)
    Console(markup=False).print(table)
    held_out = ", ".join(f"{number} of {task}" for task, number in found.num_held_out.items())
    print(f"clips held out of training: {held_out}; the reported splits were not read")
    if final is not None:
        print(f"chosen: {found.best:g}\n  {final}")
    if found.at_edge:
        print("  the best lies at the edge of the rates tried: a better one may lie outside")
