"""Commands about data sets."""

from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from tubelet.cli.training import summary
from tubelet.types import InputError, did_you_mean


def import_source(arguments: list[str]) -> None:
    """Turn a published data set, or your own, into a manifest: ``tubelet data import SOURCE [options]``.

    The options are the parameters of the source's function in ``data.importers.IMPORTERS``.
    """
    from tubelet.data.importers import IMPORTERS

    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: tubelet data import SOURCE [options]        (tubelet data import SOURCE --help lists them)\n")
        table = Table("source", "what it does")
        for name, function in IMPORTERS.items():
            table.add_row(name, summary(function))
        Console().print(table)
        return
    name = arguments[0]
    if name not in IMPORTERS:
        raise InputError(
            f"tubelet data import has no source {name!r}{did_you_mean(name, IMPORTERS)}; "
            "tubelet data import --help lists them"
        )
    manifest = tyro.cli(IMPORTERS[name], args=arguments[1:], prog=f"tubelet data import {name}")
    print(f"manifest: {manifest.root}")
    for what, number in manifest.counts.items():
        print(f"  {number:>12,}  {what.replace('_', ' ')}")


def explain(
    ground_truth: Positional[Path],
    detections: Positional[Path],
    *,
    labels: Path | None = None,
) -> None:
    """Say why AVA-format detections score 0 against ground truth: ids, boxes, times and names that do not fit.

    Args:
        ground_truth: AVA csv.
        detections: AVA csv with scores.
        labels: The action list (pbtxt) of the evaluated classes.
    """
    from tubelet.data.ava import read_ava_csv, read_label_map
    from tubelet.evals.explain import explain as complaints_about

    complaints = complaints_about(
        read_ava_csv(ground_truth, allow_outside=True),
        read_ava_csv(detections, detections=True, allow_outside=True),
        label_space=None if labels is None else read_label_map(labels),
    )
    for number, complaint in enumerate(complaints, start=1):
        print(f"{number}. {complaint.text}")
    if not complaints:
        print("Nothing is wrong with the files: keyframes meet, boxes overlap, classes fit.")
