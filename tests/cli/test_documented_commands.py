"""Commands of the documents' blocks of text, which want more than a test has: what they say fits all the same."""

import functools
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_calls import call
from untrained_run import write_untrained_run

from tubelet.cli.dispatch import COMMANDS

DOCS = Path(__file__).parents[2] / "docs"
STEPS = ("--dry-run", "--device", "cpu")


def commands(name: str) -> list[list[str]]:
    blocks = re.findall(r"```text\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    return [shlex.split(line, comments=True)[1:] for line in "".join(blocks).splitlines() if line[:8] == "tubelet "]


@pytest.fixture
def place(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what stands before these commands: a corpus and a set of one's own."""
    (tmp_path / "my_corpus").symlink_to(squares / "manifests/posts")
    (tmp_path / "my_data").symlink_to(squares / "manifests/localise")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def noting(command: Callable[..., None], noted: list[dict[str, Any]]) -> Callable[..., None]:
    """Return a command of the same options that keeps what it is given."""

    @functools.wraps(command)
    def kept(*places: Any, **options: Any) -> None:
        noted.append({"places": places, **options})

    return kept


@pytest.mark.parametrize("words", commands("corpus.md"), ids=lambda words: " ".join(words[:2]))
def test_training_on_a_corpus(place: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    assert words[0] == "train"
    if "--init-from" in words:
        write_untrained_run(place / "out/pretrained")
    assert call(monkeypatch, *words, *STEPS) == 0


def test_published_weights(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are hundreds of MiB in the net: the words are read and nothing is done; what is trained is planned."""
    noted: list[dict[str, Any]] = []
    found = commands("weights.md")
    write_untrained_run(place / "out/grid")
    for name in ("fetch", "check", "convert"):
        monkeypatch.setitem(COMMANDS["weights"], name, noting(COMMANDS["weights"][name], noted))
    monkeypatch.setitem(COMMANDS, "classify", noting(COMMANDS["classify"], noted))  # type: ignore[index]
    for words in found:
        assert call(monkeypatch, *words, *(STEPS if words[0] == "train" else ())) == 0, words
    assert len(noted) == sum(words[0] != "train" for words in found) >= 6


def test_a_converted_model_is_not_trained_over(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_untrained_run(place / "out/vivit")
    before = {path: path.read_bytes() for path in (place / "out/vivit").iterdir()}
    assert call(monkeypatch, "train", "finetune", "--manifests", "my_data", "--out", "out/vivit") == 2
    assert capsys.readouterr().err == (
        "tubelet: out/vivit: holds a model without the run that made it; give another --out\n"
    )
    assert {path: path.read_bytes() for path in (place / "out/vivit").iterdir()} == before
