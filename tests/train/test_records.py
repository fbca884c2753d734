"""Configs to JSON and back, strictly."""

import ast
import codecs
import gzip
import inspect
import json
import re
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import pytest

from tubelet.cli.training import TrainOptions, with_run_options
from tubelet.recipes.playground import cofinetune
from tubelet.records import first_difference, read_json, to_json, write_json
from tubelet.tasks import TaskConfig
from tubelet.train.config import RUNTIME_OPTIONS, RunConfig, deciding_options, with_settings
from tubelet.train.optim import OptimConfig
from tubelet.types import InputError, Preprocess
from tubelet.video.augmentations import Augment, BatchAugment


@pytest.fixture(scope="module")
def run(squares: Path) -> RunConfig:
    return cofinetune(squares, size="tiny")


def test_a_run_survives_its_json(run: RunConfig) -> None:
    assert RunConfig.from_json(json.loads(json.dumps(run.to_json()))) == run


def test_a_misspelt_option_is_rejected_with_the_nearest_name(run: RunConfig) -> None:
    data = run.to_json()
    data["optim"]["learnin_rate"] = data["optim"].pop("learning_rate")
    with pytest.raises(
        InputError, match=r"optim: OptimConfig has no option 'learnin_rate'; did you mean 'learning_rate'"
    ):
        RunConfig.from_json(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("batch_size",), "16", "batch_size: expected int, found '16'"),
        (("batch_size",), True, "batch_size: expected int, found True"),  # a bool is an int to Python
        (("mixture",), "weihted", "mixture: expected one of weighted, alternating, sequential, mixed"),
        (("preprocess", "mean"), [0.5, 0.5], "mean: expected 3 values, found 2"),
        (("tasks",), 3, "tasks: expected a list"),
        (("optim",), 3, "expected a table of options for OptimConfig"),
    ],
)
def test_a_value_of_another_type_names_its_place(
    run: RunConfig, path: tuple[str, ...], value: object, message: str
) -> None:
    data = run.to_json()
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(InputError, match=message):
        RunConfig.from_json(data)


def test_a_missing_option_is_named(run: RunConfig) -> None:
    data = run.to_json()
    del data["batch_size"]
    with pytest.raises(InputError, match="RunConfig needs the option 'batch_size'"):
        RunConfig.from_json(data)


def test_first_difference_names_the_place() -> None:
    before = {"a": 1, "optim": {"rates": [1, 2]}}
    assert first_difference(before, {"a": 1, "optim": {"rates": [1, 2]}}) is None
    assert first_difference(before, {"a": 1, "optim": {"rates": [1, 3]}}) == "optim.rates[1]: 2 there, 3 here"
    assert first_difference(before, {"a": 1, "optim": {"rates": [1]}}) == "optim.rates: [1, 2] there, [1] here"
    assert first_difference({"a": 1}, {"a": 1, "b": None}) == "b: 'absent' there, None here"


def test_options_that_cannot_change_the_weights_do_not_decide(run: RunConfig) -> None:
    data = run.to_json()
    changed = data | {"num_workers": 7, "checkpoint_every_steps": 3}
    assert deciding_options(changed) == deciding_options(data)
    assert deciding_options(data | {"seed": 5}) != deciding_options(data)


def test_write_json_leaves_nothing_half_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": (1, 2)})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert read_json(tmp_path / "a.json") == {"x": [1, 2]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_json_is_read_from_any_editor_and_mistakes_have_a_place(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for data in (b'{"x": 1}', codecs.BOM_UTF8 + b'{"x": 1}', gzip.compress(b'{"x": 1}')):
        path.write_bytes(data)
        assert read_json(path) == {"x": 1}
    mistakes = {
        b'{\n"x" 1}': r"a\.json: not JSON \(.* line 2 column 5",
        b"[" * 100_000: r"a\.json: not JSON",
        b'"\xff"': r"a\.json: byte 1 is not UTF-8",
        gzip.compress(b"{}" * 99)[:-9]: r"a\.json: cannot be read",
    }
    for data, message in mistakes.items():
        path.write_bytes(data)
        with pytest.raises(InputError, match=message):
            read_json(path)
    with pytest.raises(InputError, match=r"none\.json: cannot be read \(No such file"):
        read_json(tmp_path / "none.json")


def test_to_json_of_paths_and_tuples() -> None:
    assert to_json({"a": (Path("/x"), None)}) == {"a": ["/x", None]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_epochs": None}, "give one of num_epochs and num_steps"),
        ({"num_steps": 5}, "give one of num_epochs and num_steps"),
        ({"tasks": ()}, "task names must be unique and at least one"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"num_epochs": 0.0}, "num_epochs must be above 0, found 0.0"),
        ({"mixture": "mixd"}, "found 'mixd'; did you mean 'mixed'"),
        ({"num_workers": -1}, "num_workers must be at least 0"),
        ({"accumulation_steps": 3}, r"batch_size is 8, expected a multiple of 3 \(processes x accumulation_steps\)"),
    ],
)
def test_a_run_that_cannot_be_is_refused(run: RunConfig, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(run, **change)


def test_batches_divide_by_processes_pieces_and_pairs(run: RunConfig) -> None:
    run.check_batch(8)  # of a batch of 8
    halves = replace(run, accumulation_steps=2)
    mixed = replace(run, tasks=(mixing(run.tasks[0]), *run.tasks[1:]))
    for of, number, message in (
        (run, 3, "batch_size is 8, expected a multiple of 3 (processes)"),
        (halves, 8, "expected a multiple of 16 (processes x accumulation_steps)"),
        (mixed, 8, "expected a multiple of 16 (processes x 2 clips that are mixed with each other)"),
    ):
        of.check_batch(4)
        with pytest.raises(InputError, match=re.escape(message)):
            of.check_batch(number)
    with pytest.raises(InputError, match="batch_size is 7, expected a multiple of 2"):
        replace(mixed, batch_size=7)


def mixing(task: TaskConfig) -> TaskConfig:
    return replace(task, augment=replace(task.augment, batch=BatchAugment(mixup=0.3)))


def test_an_epoch_is_the_sum_of_the_sets(run: RunConfig) -> None:
    # Paper A, 4.1. 2 epochs of 12 + 12 + 12 examples in batches of 8 are 9 steps.
    assert run.num_epochs == 2.0
    assert run.steps_for(36) == 9


@pytest.mark.parametrize("kind", [RunConfig, TaskConfig, OptimConfig, Preprocess, Augment])
def test_every_option_says_what_it_is(kind: type) -> None:
    (node,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(node, ast.ClassDef)
    for option, after in pairwise([*node.body, None]):
        if isinstance(option, ast.AnnAssign):
            said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            assert said or ast.unparse(option.target) in ("name", "std"), ast.unparse(option)


def test_the_command_line_has_options_that_every_run_has() -> None:
    own = {field.name for field in fields(TrainOptions)}
    names = {field.name for field in fields(with_run_options(TrainOptions))} - own
    # Precision alone changes the weights; whatever else does is the recipe's, or --set's.
    assert names == {*RUNTIME_OPTIONS, "precision"} <= {field.name for field in fields(RunConfig)}


def test_settings_change_what_they_name_and_nothing_else(run: RunConfig) -> None:
    changed = with_settings(run, ("tasks.moments.loss_weight=3", "optim.period_epochs=[]", "cache_dir=null"))
    tasks = tuple(replace(task, loss_weight=3.0) if task.name == "moments" else task for task in run.tasks)
    assert changed == replace(run, tasks=tasks, cache_dir=None)
    assert with_settings(run, ()) == run
