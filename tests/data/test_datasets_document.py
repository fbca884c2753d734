"""The imports that the documents name run, on small files of the published layouts under the published names."""

import re
import shlex
from pathlib import Path

import pytest
from cli_calls import call
from documented_files import lay_out
from layout_builder import Builder, write_video

from tubelet.data.manifest import read_manifest
from tubelet.data.sources.importers import IMPORTERS
from tubelet.data.validate import validate_manifest

DOCS = Path(__file__).parents[2] / "docs"


def commands(name: str) -> list[str]:
    """Return the commands of a document's blocks of text, whose lines may go on behind a backslash."""
    blocks = re.findall(r"```text\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.startswith("tubelet ")]


IMPORTS = [command for command in commands("datasets.md") if "SOURCE" not in command]


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path, write_video(tmp_path / "one.mp4"))


def run(command: str, number: int, place: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(command, place, Builder(place / f"published{number}", builder.video))
    monkeypatch.chdir(place)
    assert call(monkeypatch, *shlex.split(command)[1:]) == 0, command


@pytest.mark.parametrize("command", IMPORTS)
def test_an_import_of_the_document_runs(
    command: str, tmp_path: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "add-boxes" in command:
        (before,) = (other for other in IMPORTS if other.endswith(command.split()[3]))
        run(before, 0, tmp_path, builder, monkeypatch)
    run(command, 1, tmp_path, builder, monkeypatch)
    words = shlex.split(command)
    manifest = read_manifest(tmp_path / (words[3] if "add-boxes" in words else words[words.index("--out") + 1]))
    validate_manifest(manifest)
    assert manifest.clips.num_rows > 0
    assert set(manifest.clips.column("split").to_pylist()) >= {"train"}


def test_every_source_is_documented() -> None:
    assert set(IMPORTERS) == {command.split()[3] for command in IMPORTS if "add-boxes" not in command}


@pytest.mark.ci
def test_rows_of_both_papers_from_the_published_files(
    tmp_path: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of docs/recipes.md and docs/studies/README.md; weights are not fetched, nor is a row trained."""
    *files, fetched, trained = commands("recipes.md")
    assert fetched.startswith("tubelet weights fetch")
    for number, command in enumerate(files):
        run(command, number, tmp_path, builder, monkeypatch)
    rows = [f"{trained} --dry-run", *commands("studies/README.md")]
    for command, sets in zip(rows, (*[("kinetics400", "moments_in_time", "ava")] * 2, ("kinetics400",)), strict=True):
        capsys.readouterr()
        assert "--dry-run" in command
        run(command, len(files), tmp_path, builder, monkeypatch)
        said = capsys.readouterr().out
        assert all(name in said for name in sets), command
