"""A mistake among a command's words is one line that names the option; help uses the same names."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from cli_calls import call

from tubelet.cli import COMMANDS
from tubelet.cli.options import call_with_options, options_and_places
from tubelet.data.sources.importers import IMPORTERS


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert call(monkeypatch, *words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(" --help lists the options\n")
    assert err.count("\n") == 1
    assert err.startswith("tubelet: ")
    return err.removeprefix("tubelet: ").rpartition("; tubelet ")[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # An option that is not there: with a neighbour, without one, and before what is missing too.
        ("localise a.mp4 --modle x", "tubelet localise has no option --modle; did you mean '--model'?"),
        ("demo --sise=tiny", "tubelet demo has no option --sise; did you mean '--size'?"),
        ("train finetune --num_epoch 3",
         "tubelet train finetune has no option --num_epoch; did you mean '--num-epochs'?"),
        ("data import ava --trian x", "tubelet data import ava has no option --trian; did you mean '--train'?"),
        ("corpus labels --posts p --seed-labels s --columns.vdeo v",
         "tubelet corpus labels has no option --columns.vdeo; did you mean '--columns.video'?"),
        ("search d a -x", "tubelet search has no option -x"),
        # What is given by its place has the name of an option.
        ("search d --action dance",
         "tubelet search has no option --action: ACTION is given by its place, without a name"),
        ("data explain --ground_truth a.csv",
         "tubelet data explain has no option --ground_truth: GROUND-TRUTH is given by its place, without a name"),
        # What is missing.
        ("search", "tubelet search needs FOLDER, ACTION"),
        ("train finetune --seed 1", "tubelet train finetune needs --out PATH, --manifests [PATH [PATH ...]]"),
        ("corpus build own_posts --posts p --media-root m --out o --min-videos 1",
         "tubelet corpus build own_posts needs --seed-labels STR"),
        ("evaluate", "tubelet evaluate needs RUN"),
        ("corpus dedup a", "tubelet corpus dedup needs OUT"),
        ("playground build", "tubelet playground build needs --out PATH"),
        # A value of another kind, none, or one where none is taken.
        ("localise a.mp4 --threshold high", "--threshold: expected FLOAT, got 'high'"),
        ("serve --port=http", "--port: expected INT, got 'http'"),
        ("sweep finetune --out o --manifests m --learning_rates a b --seed 1",
         "--learning-rates: expected [FLOAT [FLOAT ...]], got 'a b'"),
        ("search d a --top", "--top: expected a value, got none"),
        ("localise a.mp4 --strip=3", "--strip: expected no value, got '3'"),
        # A choice that there is not.
        ("demo --size smull", "--size: expected tiny or small, got 'smull'; did you mean 'small'?"),
        ("corpus build playground_posts --out o --engine spark", "--engine: expected local or ray, got 'spark'"),
        # Too many words.
        ("recipes finetune all", "tubelet recipes has no place for all"),
        ("search d a b c", "tubelet search has no place for b, c"),
    ],
)  # fmt: skip
def test_each_mistake_is_named(monkeypatch, capsys, tmp_path, words, expected):
    monkeypatch.chdir(tmp_path)
    assert said(monkeypatch, capsys, *words.split()) == expected
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "did you mean 'train'"),
        (["train"], "needs a recipe"),
        (["train", "cofinetun", "--out", "x"], "did you mean 'cofinetune'"),
        (["train", "no_such_module:run", "--out", "x"], "no_such_module"),
        (["train", "cofinetune", "--playground", "nowhere", "--out", "x"], "nowhere"),
        (["evaluate", "nowhere"], "nowhere"),
        (["localise", "a.mp4", "--model", "nowhere"], "nowhere"),
        (["info", "nowhere"], "nowhere"),
        (["data", "import", "kinetic", "--out", "x"], "did you mean 'kinetics'"),
        (["data", "import", "avaa"], "tubelet data import --help lists them"),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, capsys, tmp_path, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def commands(group: Mapping[str, Any], *before: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.items():
        if isinstance(command, Mapping):
            yield from commands(command, *before, name)
        else:
            yield (*before, name)


def test_every_command_says_so(monkeypatch, capsys):
    with_recipe = {("train",): "cofinetune", ("sweep",): "finetune", ("corpus", "build"): "own_posts"}
    paths = [path for path in commands(COMMANDS) if path != ("data", "import")]
    paths = [(*path, with_recipe[path]) if path in with_recipe else path for path in paths]
    for path in [*paths, *(("data", "import", source) for source in IMPORTERS)]:
        assert said(monkeypatch, capsys, *path, "--no-such-option", "x").startswith(
            f"tubelet {' '.join(path)} has no option --no-such-option"
        )


WORDS = ["playground build", "demo --size smull", "serve --port http", "recipes finetune all"]


@pytest.mark.parametrize("words", WORDS)
def test_the_line_is_the_same_at_a_terminal_that_knows_colours_and_frames(tmp_path, words):
    command = [sys.executable, "-m", "tubelet", *words.split()]
    inside, terminal = os.openpty()  # the parser looks at where results would go
    lines = [
        subprocess.run(
            command,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm", "PYTHONIOENCODING": encoding},
        ).stderr
        for stdout, encoding in ((subprocess.DEVNULL, "ascii"), (terminal, "utf-8"))
    ]
    os.close(inside)
    os.close(terminal)
    assert lines[0] == lines[1]
    assert lines[0].count("\n") == 1
    assert "-----" not in lines[0]


def printed(capsys: pytest.CaptureFixture[str], asked: Callable[[], object]) -> str:
    with pytest.raises(SystemExit) as stop:
        asked()
    assert not stop.value.code
    return capsys.readouterr().out


def test_help_calls_everything_as_mistakes_do_and_shows_no_empty_defaults(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    for path in commands(COMMANDS):
        command: Any = COMMANDS
        for word in path:
            command = command[word]
        parameters = inspect.signature(command).parameters
        if list(parameters) == ["arguments"]:
            continue
        shown = printed(capsys, lambda c=command: call_with_options(c, ["--help"], "tubelet x"))
        assert shown.startswith("usage: tubelet x")
        assert not re.search(r"\{None\}|default: (None)?\)", shown.partition(" columns options ")[0]), path
        by_place = [name.upper().replace("_", "-") for name in parameters if name in options_and_places(command)[1]]
        usage = shown.partition("\n\n")[0]
        assert re.search(" ".join(rf"\[?{name}\b\]?" for name in by_place), " ".join(usage.split())), path


def test_what_a_command_says_itself_is_not_taken_for_a_mistake(capsys):
    def command(number: int) -> int:
        print("working", file=sys.stderr)
        raise SystemExit(number)

    with pytest.raises(SystemExit, match="2"):
        call_with_options(command, ["--number", "2"], "tubelet x")
    assert capsys.readouterr().err == "working\n"
