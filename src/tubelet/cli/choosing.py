"""Commands that measure a frozen backbone, or look for a good setting, on data that is not reported."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from tubelet.cli.evaluate import check_writable, numbers_of, print_numbers
from tubelet.cli.progress import drawn
from tubelet.types import Crops, InputError

if TYPE_CHECKING:
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
    strengths: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
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

    if json is not None:
        check_writable(json)
    if predictions is not None and predictions.exists():
        raise InputError(f"{predictions}: exists already; give a new folder")
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
    Console().print(table)
    final = search.final
    assert final is not None
    print(f"regularisation {final.l2:g} (C {final.scikit_learn_c:g}), training loss {final.train_loss:.4f}", end="")
    print("" if final.converged else f", not converged after {final.num_passes} passes")
    if search.at_edge:
        print(f"  the best lies at the edge of the grid: a better one may lie outside of {_listed(search.strengths)}")


def _listed(values: Any) -> str:
    return ", ".join(f"{value:g}" for value in values)
