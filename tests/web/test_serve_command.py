"""Mistakes of ``tubelet serve`` and ``tubelet label`` are one line and status 2, before anything is listened to."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_calls import call

from tubelet.cli.serve import serve
from tubelet.web.limits import Limits


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "no-such-run"], "no-such-run: not a run folder"),
        (["--examples", "no-such-folder"], "expected a folder of example videos"),
        (["--token", "short"], "the token has 5 characters, expected at least 16"),
        (["--threshold", "4"], "--threshold is 4.0, expected 0 to 1"),
        (["--every-seconds", "0"], "every_seconds is 0.0, expected more than 0"),
        (["--person-threshold", "7"], "the person threshold is 7.0, expected 0 to 1"),
        (["--max-mib", "0"], "limit max_bytes is 0, expected more than 0"),
        (["--host", "no.such.host.example"], "cannot listen on no.such.host.example"),
    ],
)
def test_mistakes_of_serve(monkeypatch, capsys, tmp_path, arguments, reason):
    assert call(monkeypatch, "serve", "--out", tmp_path / "out", "--port", 0, *arguments) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_port_that_is_taken(monkeypatch, capsys, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert call(monkeypatch, "serve", "--out", tmp_path / "out", "--port", port) == 2
    assert f"cannot listen on 127.0.0.1, port {port}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert call(monkeypatch, "serve", "--out", tmp_path / "out", "--port", 99999) == 2
    assert "--port is 99999, expected 0 (any) to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "label"])
def test_without_the_extra_its_name_is_told(monkeypatch, capsys, tmp_path, command):
    for name in [name for name in sys.modules if name.startswith("tubelet.web.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("fastapi", "starlette", "uvicorn"):
        monkeypatch.setitem(sys.modules, name, None)
    videos = ["film.mp4"] if command == "label" else []
    assert call(monkeypatch, command, *videos, "--out", tmp_path / "out") == 2
    assert 'pip install "tubelet[web]"' in capsys.readouterr().err


def test_mistakes_of_label(monkeypatch, capsys, tmp_path):
    assert call(monkeypatch, "label", "none.mp4", "--actions", "walk", "--out", tmp_path / "out", "--port", 0) == 2
    assert "none.mp4: no such video" in capsys.readouterr().err
    (tmp_path / "v.mp4").write_text("")
    options = ["--actions", "walk", "--out", tmp_path / "out", "--port", 0, "--people", "csv:boxes.csv"]
    assert call(monkeypatch, "label", tmp_path / "v.mp4", *options) == 2
    assert "boxes.csv" in capsys.readouterr().err


def test_without_options_the_limits_are_the_usual_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("tubelet.web.serve.serve_page", lambda **options: asked.update(options))
    monkeypatch.setattr("tubelet.web.work.open_localiser", lambda choices: None)
    serve(out=tmp_path, device="cpu")
    assert asked["limits"] == Limits()
