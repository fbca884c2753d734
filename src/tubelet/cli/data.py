"""Commands about data sets."""

import tyro
from rich.console import Console
from rich.table import Table

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
