"""Calls of the command line inside the test's own process."""

import sys

import pytest

from tubelet.cli import main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run ``tubelet`` with these arguments; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["tubelet", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
