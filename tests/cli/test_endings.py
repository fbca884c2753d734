"""How a command that breaks off ends: one line that says why, and whether the same command goes on."""

from pathlib import Path

import pytest
from cli_calls import call

from tubelet.cli import COMMANDS
from tubelet.cli.dispatch import GOES_ON


def test_a_disk_that_is_full_in_the_middle_of_a_file_is_one_line(monkeypatch, capsys):
    def full():
        with Path("/dev/full").open("w") as file:
            file.write("row")

    monkeypatch.setitem(COMMANDS, "demo", full)
    assert call(monkeypatch, "demo") == 2
    assert capsys.readouterr().err == "tubelet: No space left on device\n"


def test_what_is_said_to_go_on_is_a_command() -> None:
    for words in GOES_ON:
        found = COMMANDS
        for word in words.split():
            found = found[word]
        assert callable(found)


@pytest.mark.parametrize(
    ("words", "goes_on"), [(("corpus", "dedup"), True), (("corpus", "spread"), False), (("probe",), True)]
)
def test_a_stopped_command_says_whether_it_goes_on(
    words: tuple[str, ...], goes_on: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    group = COMMANDS[words[0]] if len(words) > 1 else COMMANDS
    monkeypatch.setitem(group, words[-1], stopped)
    assert call(monkeypatch, *words) == 130
    assert ("the same command goes on" in capsys.readouterr().err) == goes_on
