"""Commands that train."""

import ast
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from rich.console import Console
from rich.table import Column, Table
from tyro.conf import Positional, UseAppendAction, arg

from tubelet.cli.options import call_with_options
from tubelet.types import InputError

if TYPE_CHECKING:
    from tubelet.train.config import RunConfig
    from tubelet.train.folder import RunResult


@dataclass(kw_only=True)
class RunOptions:
    """Options of every command that trains; ``with_run_options`` adds those that ``RunConfig`` has."""

    set: UseAppendAction[tuple[str, ...]] = ()
    """Change any option by its place in what --dry-run prints: --set optim.ema_decay=0.999 --set mixture=mixed."""


@dataclass(kw_only=True)
class TrainOptions(RunOptions):
    """Options of a training."""

    out: Path
    """Run folder; a run that is there goes on."""
    dry_run: bool = False
    """Print the resolved run, its mixture, and what memory and time it takes, and stop; nothing is written."""
    replay_step: int | None = None
    """Do one step again from the checkpoint before it, counted from 1 as messages do, and show what every sample did;
    nothing is written."""


@dataclass(kw_only=True)
class SweepOptions(RunOptions):
    """Options of a search."""

    out: Path
    """Folder of the search; finished runs are kept, and rates may be added. Decoded frames lie in its cache."""
    learning_rates: tuple[float, ...] | None = None
    """Tried; default: 0.1, 0.3, 1, 3 and 10 times the recipe's own."""
    task: str | None = None
    """Whose held-out score decides, where the recipe has several tasks."""
    held_out_seed: int = 0
    """Decides which tenth of the training videos is held out."""
    num_parallel: int = 1
    """Runs at the same time."""
    json: Path | None = None
    """Write every number here too; out has them as sweep.json."""


@dataclass(frozen=True)
class Chosen:
    """What the words after a recipe's name say."""

    recipe: str
    """The recipe's name."""
    runs: tuple["RunConfig", ...]
    """With all options taken in."""
    own: dict[str, Any]
    """The options of the command itself."""
    staged: bool
    """Whether the recipe is a sequence of stages."""

    def only_run(self, what: str) -> "RunConfig":
        """Return the run, for ``what`` is for one; of a sequence of stages the user is told to name one."""
        if self.staged:
            stages = f"{self.recipe} has {len(self.runs)} stages"
            raise InputError(f"{what} is for one run, and {stages}; name a stage's recipe")
        return self.runs[0]


def chosen_runs(command: str, recipe_name: str, arguments: Sequence[str], options: type) -> Chosen:
    """Read a recipe's options and those of every run.

    Args:
        command: What the user typed first, for help.
        recipe_name: Of the recipe.
        arguments: The words after it.
        options: Dataclass of the command's options, which extends ``RunOptions``.
    """
    from tubelet.recipes import find_recipe
    from tubelet.train.config import COMMAND_OPTIONS, with_settings

    recipe = find_recipe(recipe_name)
    made = options_of(recipe, with_run_options(options))
    chosen = call_with_options(made, arguments, f"tubelet {command} {recipe_name}")
    values = {field.name: getattr(chosen, field.name) for field in dataclasses.fields(chosen)}
    own = {field.name: values.pop(field.name) for field in dataclasses.fields(options)}
    changes = {name: value for name in COMMAND_OPTIONS if (value := values.pop(name)) is not None}
    runs = recipe(**values)
    stages = runs if isinstance(runs, tuple) else (runs,)
    changed = tuple(with_settings(dataclasses.replace(run, **changes), own["set"]) for run in stages)
    return Chosen(recipe=recipe_name, runs=changed, own=own, staged=isinstance(runs, tuple))


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
    from tubelet.describe import describe_replay, describe_run
    from tubelet.train.fit import fit
    from tubelet.train.replay import replay_step
    from tubelet.train.stages import fit_stages

    found = chosen_runs("train", arguments[0], arguments[1:], TrainOptions)
    runs, own = found.runs, found.own
    if own["dry_run"]:
        for run in runs:
            describe_run(run, own["out"], Console(markup=False))
    elif own["replay_step"] is not None:
        run = found.only_run("--replay-step")
        describe_replay(replay_step(run, own["out"], own["replay_step"]), Console(markup=False))
    elif found.staged:
        _say(fit_stages(runs, own["out"]))
    else:
        _say([fit(runs[0], own["out"])])


def _say(results: "Sequence[RunResult]") -> None:
    for result in results:
        print("\n".join(f"{metric:40} {value:.4f}" for metric, value in sorted(result.metrics.items())))
        print(f"run folder: {result.out}")


def with_run_options(options: type) -> type:
    """Return a dataclass of ``options`` plus those that every run has, as ``RunConfig`` names and explains them.

    Without a value an option is as the recipe has it.
    """
    from tubelet.train.config import COMMAND_OPTIONS, RunConfig

    hints, said = get_type_hints(RunConfig), explanations(RunConfig)
    fields: list[Any] = []
    for name in COMMAND_OPTIONS:
        explained = arg(help=said[name], help_behavior_hint="(default: the recipe's)")
        fields.append((name, Annotated[hints[name] | None, explained], dataclasses.field(default=None)))
    return dataclasses.make_dataclass(options.__name__, fields, bases=(options,), kw_only=True)


def explanations(kind: type) -> dict[str, str]:
    """Return what stands below each field of a dataclass in its source, as plain text."""
    (node,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(node, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in pairwise(node.body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(below.value.value).replace("``", "").split())
    return found


def options_of(recipe: Callable[..., Any], options: type) -> type:
    """Return a dataclass of the recipe's parameters plus ``options``."""
    hints = get_type_hints(recipe, include_extras=True)
    fields: list[Any] = []
    for name, parameter in inspect.signature(recipe).parameters.items():
        if name in {field.name for field in dataclasses.fields(options)}:
            raise InputError(f"{recipe.__name__}: {name!r} is an option of every run, not one of a recipe")
        if parameter.default is inspect.Parameter.empty:
            fields.append((name, hints[name]))
        else:
            fields.append((name, hints[name], dataclasses.field(default=parameter.default)))
    made = dataclasses.make_dataclass("Train", fields, bases=(options,), kw_only=True)
    made.__doc__ = recipe.__doc__
    return made


def summary(function: Callable[..., Any]) -> str:
    """Return the first line of a function's docstring."""
    return (function.__doc__ or "").strip().partition("\n")[0]


def recipes(name: Positional[str] = "") -> None:
    """List the named recipes, or say of one how it is called, what it takes and what to expect.

    Args:
        name: Of a recipe; of paper_a and paper_b every row is listed too.
    """
    from tubelet.recipes import CORPUS_RECIPES, RECIPES, find_recipe
    from tubelet.recipes.row_costs import ROW_RECIPES

    if name:
        print(inspect.getdoc(inspect.getmodule(CORPUS_RECIPES.get(name) or find_recipe(name))))
        if name in ROW_RECIPES:
            _print_rows(name)
        return
    table = Table("recipe", "what it is")
    for name, recipe in RECIPES.items():
        table.add_row(name, summary(recipe))
    table.add_section()
    for name, corpus in CORPUS_RECIPES.items():
        table.add_row(f"corpus build {name}", summary(corpus))
    Console(markup=False).print(table)


def _print_rows(recipe: str) -> None:
    from tubelet.recipes.row_costs import clips_text, hours_text, row_costs

    title = f"tubelet train {recipe} --row ROW --data manifests --out DIR"
    rest = ("what is trained", "paper, %", "its hardware", "clips", "H100 hours")
    table = Table(Column("row", no_wrap=True), *rest, title=title, title_justify="left")
    for row in row_costs(recipe):
        clips, hours = clips_text(row.clips), hours_text(row.gpu_hours)
        table.add_row(row.name, row.what, row.paper, row.hardware, clips, hours)
    Console(markup=False).print(table)
