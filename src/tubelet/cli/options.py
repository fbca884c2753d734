"""The words after a command's name become its options; a mistake among them is one line.

The option parser draws a box of several lines for a mistake. What is in the box is read back here: the parser offers no
other public way, and where its words should change one day, the line has all of them.
"""

import dataclasses
import functools
import inspect
import io
import re
import sys
import typing
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from typing import Annotated, Any

import tyro
from tyro.conf import DisallowNone, Positional, PositionalMetavarFromFieldName

from tubelet.types import InputError, did_you_mean

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
RULE = re.compile("[─-]{8,}")
POSITIONAL = typing.get_args(Positional[str])[-1]
"""What marks a parameter that is given by its place."""
PLAINLY = (PositionalMetavarFromFieldName, DisallowNone)
"""What is given by its place has one name, in help and in mistakes; nobody types None, an option is left out."""
DEFAULTS = tyro.conf.arg(help_behavior_hint=lambda shown: "" if shown in ("", "''", "None") else f"(default: {shown})")
"""A default is shown where it says something."""


def call_with_options(command: Callable[..., Any], arguments: Sequence[str], prog: str) -> Any:
    """Call a function, or make a dataclass, with what the words of a command line say.

    Args:
        command: Its parameters, or fields, are the options.
        arguments: The words after the command's name.
        prog: What was typed before them.

    Returns:
        What ``command`` returns.

    Raises:
        InputError: The words do not fit; the line names the option and what was expected.
        SystemExit: Help was asked for and has been printed.
    """
    is_class, said = isinstance(command, type), io.StringIO()
    try:
        with redirect_stderr(said):
            found = tyro.cli(command if is_class else _put_off(command), args=arguments, prog=prog, config=PLAINLY)
    except SystemExit as stop:
        if not stop.code:
            raise
        mistake = _mistake(command, arguments, COLOUR.sub("", said.getvalue()), prog)
        raise InputError(f"{mistake}; {prog} --help lists the options") from None
    sys.stderr.write(said.getvalue())
    return found if is_class else found()


def _put_off(command: Callable[..., Any]) -> Callable[..., Callable[[], Any]]:
    """Return a function of the same parameters that only notes them: the command is to run after the parser."""

    @functools.wraps(command)
    def noted(*args: Any, **options: Any) -> Callable[[], Any]:
        return functools.partial(command, *args, **options)

    signature, hints = inspect.signature(command), typing.get_type_hints(command, include_extras=True)
    del noted.__wrapped__  # the parser would look through it, at the hints as they were
    noted.__annotations__ = {name: Annotated[hint, DEFAULTS] for name, hint in hints.items()}
    noted.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p.replace(annotation=noted.__annotations__[name]) for name, p in signature.parameters.items()]
    )
    return noted


def _mistake(command: Callable[..., Any], arguments: Sequence[str], box: str, prog: str) -> str:
    """Return in a line what the parser's box says."""
    by_name, places = options_and_places(command)
    for word in arguments:
        typed, mark, value = word.partition("=")
        name = typed.replace("_", "-")
        if re.match("--?[A-Za-z]", name) and name not in by_name:
            if name[2:].replace("-", "_") in places:
                return f"{prog} has no option {typed}: {name[2:].upper()} is given by its place, without a name"
            return f"{prog} has no option {typed}{did_you_mean(name, by_name)}"
        if mark and by_name.get(name) is bool:
            return f"{typed}: expected no value, got {value!r}"
    lines = box.splitlines()
    # Where the terminal knows no frames, the title and a rule stand above instead.
    rows = [line[2:-1].rstrip() for line in lines[1:-1]] if box.startswith("╭") else [line[2:] for line in lines[2:]]
    end = next((i for i, row in enumerate(rows) if RULE.fullmatch(row.strip())), len(rows))
    if missing := [row.strip() for row in rows[:end] if re.match(" {4}[^ ]", row)]:
        return f"{prog} needs {', '.join(missing)}"
    text = " ".join(" ".join(rows[:end] or lines).split())
    return _said_shorter(text, rows[end:], arguments, prog)


def _said_shorter(text: str, below: Sequence[str], arguments: Sequence[str], prog: str) -> str:
    """Return the upper part of the box in the words of every other mistake, or as it is where it is unknown."""
    if found := re.match("Unrecognized options: (.*)", text):
        return f"{prog} has no place for {found[1]}"
    if found := re.match("invalid choice '(.*)' for argument '(.*)'. Expected one of (.*).", text):
        choices = re.findall("'(.*?)'", found[3])
        return f"{found[2]}: expected {' or '.join(choices)}, got {found[1]!r}{did_you_mean(found[1], choices)}"
    if found := re.match("Missing value for argument '(.*?)'", text):
        return f"{found[1]}: expected a value, got none"
    if found := re.match("Error parsing (.*?): (.*)", text):
        option = found[1]
        kinds = [row.strip().partition(" ")[2] for row in below if row.strip().startswith(f"{option} ")]
        if kinds and (given := _given(option, arguments)):
            kind = kinds[0]
            return f"{option}: expected {kind.strip('{}') if kind.startswith('{[') else kind}, got {given!r}"
        return f"{option}: {found[2]}"
    return text


def _given(option: str, arguments: Sequence[str]) -> str:
    """Return the words behind an option."""
    found: list[str] = []
    behind = False
    for word in arguments:
        typed, mark, value = word.partition("=")
        if word.startswith("--"):
            behind = typed.replace("_", "-") == option
            found += [value] if behind and mark else []
        elif behind:
            found.append(word)
    return " ".join(found)


def options_and_places(command: Callable[..., Any]) -> tuple[dict[str, Any], set[str]]:
    """Return the options of a command as they are typed, with their types, and the names of what is given by place."""
    hints = typing.get_type_hints(command, include_extras=True)
    signature = inspect.signature(command).parameters
    options: dict[str, Any] = {"--help": bool, "-h": bool}
    places: set[str] = set()
    for name in signature:
        kind, option = hints[name], f"--{name.replace('_', '-')}"
        if dataclasses.is_dataclass(kind):
            options |= {f"{option}.{field.name.replace('_', '-')}": field.type for field in dataclasses.fields(kind)}
        elif typing.get_origin(kind) is not typing.Annotated or POSITIONAL not in typing.get_args(kind):
            options |= {option: kind} | ({f"--no-{option[2:]}": bool} if kind is bool else {})
        else:
            places.add(name)
    return options, places
