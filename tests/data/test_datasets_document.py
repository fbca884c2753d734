"""``docs/datasets.md`` names sources and options that exist, and no source is left out of it unnoticed."""

import inspect
import re
from pathlib import Path

import pytest

from tubelet.data.sources.importers import IMPORTERS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
COMMANDS = [line.split() for line in DOCUMENT.splitlines() if re.match(r"tubelet data import [a-z]", line)]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[3])
def test_a_command_has_the_options_of_its_source(words: list[str]) -> None:
    parameters = inspect.signature(IMPORTERS[words[3]]).parameters
    options = {word.removeprefix("--").removeprefix("no-").replace("-", "_") for word in words if word[:2] == "--"}
    required = {name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty}
    assert options <= set(parameters)
    assert required <= options


def test_every_source_is_documented() -> None:
    assert set(IMPORTERS) == {words[3] for words in COMMANDS}
