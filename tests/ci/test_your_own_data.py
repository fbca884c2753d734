"""The five commands of docs/your-own-data.md, in its order, on small data that is labelled through the page."""

import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from ci_support import ROOT, TUBELET
from devtools import Browser
from serving import ask, serving
from test_documents import commands, smaller

from tubelet.inference.export import read_detections

pytestmark = pytest.mark.ci

COMMANDS = commands(ROOT / "docs/your-own-data.md")
NUM_VIDEOS = 4


@pytest.fixture(scope="module")
def place(finished_demo, tmp_path_factory) -> Path:
    """A folder with some videos, as somebody has who begins."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "videos").mkdir()
    videos = sorted((finished_demo / "playground/videos/localise").glob("*.mp4"))[:NUM_VIDEOS]
    for name, video in zip(["one", "three", "two", "zwei"], videos, strict=True):
        shutil.copyfile(video, folder / "videos" / f"{name}.mp4")
    return folder


def run(command: str, place: Path) -> str:
    words = shlex.split(smaller(command))
    if words[:3] == ["tubelet", "train", "finetune"]:
        words += ["--num-epochs", "0.2", "--device", "cpu"]
    done = subprocess.run([str(TUBELET), *words[1:]], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_there_are_five():
    assert [command.split()[1] for command in COMMANDS] == ["label", "data", "playground", "train", "localise"]


def test_one_labels_in_the_browser(place, tmp_path):
    """By keys: the first keyframe by hand, the rest with the ticks taken along; other videos by the interface."""
    command = shlex.split(COMMANDS[0])
    at = command.index("videos/*.mp4")
    command[at : at + 1] = sorted(str(path.relative_to(place)) for path in (place / "videos").iterdir())
    with serving(command, place) as address, Browser(tmp_path) as browser:
        browser.open(address)
        browser.wait("document.querySelectorAll('.person').length > 0")
        name = browser.js("document.getElementById('video').value")
        browser.wait("document.getElementById('picture').naturalWidth > 0")
        browser.press("1")
        browser.press("3")
        browser.press("Enter")
        browser.wait("document.getElementById('when').value !== '0:00.0'")
        browser.wait("/Labelled keyframes: [1-9]/.test(document.getElementById('state').textContent)", 120)
        kept = ask(f"{address}api/labels/{name}")["keyframes"]
        (first,) = [k for k in kept if k["done"]]
        assert first["people"][0]["actions"] == ["stand", "wave"]
        assert browser.complaints() == []
        end = time.monotonic() + 300
        while any(v["num_keyframes"] is None for v in ask(f"{address}api/labels")["videos"]):
            assert time.monotonic() < end
            time.sleep(0.5)
        for video in ask(f"{address}api/labels")["videos"]:
            for number, keyframe in enumerate(ask(f"{address}api/labels/{video['name']}")["keyframes"]):
                actions = [["stand"] if i % 2 else ["walk", "wave"] for i in range(len(keyframe["people"]))]
                ask(f"{address}api/labels/{video['name']}/{number}", "PUT", {"actions": actions, "done": True})
    assert (place / "labels/actions.pbtxt").read_text().count("name:") == 3
    rows = {split: (place / f"labels/{split}.csv").read_text().splitlines() for split in ("train", "val")}
    assert {row.split(",")[0] for row in rows["val"]} == {"zwei"}
    assert {row.split(",")[0] for row in rows["train"]} <= {"one", "two", "three"}
    assert len(rows["train"]) > 10


def test_the_other_four_commands_follow(place):
    said = run(COMMANDS[1], place)
    assert "my_data" in said
    for command in COMMANDS[2:]:
        run(command, place)
    assert {path.suffix for path in (place / "out/seen").iterdir()} == {".mp4", ".csv", ".json"}
    found = read_detections(place / "out/seen/one.json")
    assert found.label_space.names == ("stand", "walk", "wave")  # those that were ticked
    assert any(len(moment.boxes_norm) for moment in found.moments)
