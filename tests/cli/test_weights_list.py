"""The table of published weights at the width of a terminal, and what is said of names that are not in it."""

import pytest
from cli_calls import call

from tubelet.models.weights import WEIGHTS


def test_each_entry_is_a_line_of_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert call(monkeypatch, "weights", "list") in (0, None)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = {line.split()[0]: line.rstrip() for line in lines if line and line.split()[0] in WEIGHTS}
    assert list(shown) == list(WEIGHTS)
    notes = {line.split()[0]: line for line in lines if line.startswith("  ")}
    for name, entry in WEIGHTS.items():
        licence, *marks = shown[name].partition(entry.licence.split(";")[0])[1:]
        assert licence, name
        numbers = " ".join(marks).split()
        assert ("*" in numbers) == (not entry.sha256)
        if "NC" in licence:
            assert any("no commercial use" in notes[number] for number in numbers)
        if "its source" in entry.licence:
            assert any(entry.licence.split("; ")[1] in notes[number] for number in numbers)


@pytest.mark.parametrize("words", [("list", "nosuch"), ("list", "videomae_b", "nosuch"), ("fetch",)])
def test_a_mistake_is_all_that_is_said(monkeypatch, capsys, words):
    assert call(monkeypatch, "weights", *words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert ("nosuch" in words) == ("no weights 'nosuch'" in err)
