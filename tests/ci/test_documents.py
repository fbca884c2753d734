"""Every command in the README and the documents runs, on tiny data."""

import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from ci_support import ROOT
from serving import serving

pytestmark = pytest.mark.ci

BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), ROOT / "docs/studies/README.md"]
)
LABELLED = "your-own-data.md"  # somebody has to label between its commands: test_your_own_data.py does


def commands(document: Path) -> list[str]:
    lines = [line for block in BLOCK.findall(document.read_text()) for line in block.splitlines()]
    return [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def smaller(command: str) -> str:
    """Return the command at the size of a test: what takes an hour in a document takes a minute here."""
    command = re.sub(r"--size (small|study|full)", "--size tiny", command)
    command = re.sub(r"--min-videos \d+", "--min-videos 1", command)
    command = command.replace("lr0.004", "lr0.001")  # the rate the study chose; here there is one only
    if command.startswith("tubelet study run"):
        return command + " --seeds 0 --num-epochs 0.1"
    return command + " --seeds 0 --learning-rates 0.001" if command.startswith("tubelet study cof") else command


@pytest.fixture(scope="module")
def place(finished_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has what the README's reader has: an environment, a demo, videos and AVA-format files."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    for name in ("benchmarks", "scripts", "src"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "out").mkdir()
    for name in ("demo", "tiny"):
        (folder / "out" / name).symlink_to(finished_demo)
    playground = finished_demo / "playground"
    (folder / "videos").mkdir()
    for video in (playground / "videos/localise").glob("*.mp4"):
        (folder / "videos" / video.name).symlink_to(video)
    (folder / "videos/one.mp4").symlink_to(next((playground / "videos/localise").glob("test_*.mp4")))
    for name in ("train", "val", "test"):
        (folder / f"{name}.csv").symlink_to(playground / f"ava/ava_{name}.csv")
    (folder / "actions.pbtxt").symlink_to(playground / "ava/ava_action_list.pbtxt")
    (folder / "posts.parquet").symlink_to(playground / "posts.parquet")
    (folder / "labels.txt").symlink_to(playground / "seed_labels.txt")
    (folder / "videos/videos").symlink_to(playground / "videos")
    return folder


def test_demos_of_different_sizes_have_folders_of_their_own() -> None:
    found: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        for command in commands(document):
            if command.startswith("make demo"):
                given = dict(word.split("=") for word in command.split()[2:])
                found.setdefault(given.get("OUT", "out/demo"), set()).add(given.get("SIZE", "small"))
    assert found == {"out/demo": {"small"}, "out/tiny": {"tiny"}}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.name != LABELLED], ids=lambda path: path.name)
def test_every_command_runs(document, place):
    for command in commands(document):
        if command.startswith("make "):
            assert command.split()[1] in targets(), command
            continue
        if command.startswith((". ", "apt-get ")):
            continue
        if command.startswith("tubelet serve"):
            with serving(shlex.split(command), place) as address, urllib.request.urlopen(address) as answer:
                assert answer.status == 200, command
            continue
        shell = f". .venv/bin/activate && {smaller(command)}"
        done = subprocess.run(["bash", "-c", shell], cwd=place, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{document.name}: {command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_picture_and_file_that_is_linked_exists(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_readme_names_commands():
    assert len(commands(ROOT / "README.md")) >= 4
