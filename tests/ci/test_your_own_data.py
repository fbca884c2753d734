"""The five commands of docs/your-own-data.md, in its order, on small data that is labelled through the page."""

import json
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from ci_support import ROOT, TUBELET
from devtools import Browser
from serving import ask, serving
from test_browser_page import CONTRAST
from test_documents import commands, smaller

from tubelet.data.manifest import read_manifest
from tubelet.inference.detections_file import read_detections
from tubelet.types import VideoMeta
from tubelet.video.container import probe

pytestmark = pytest.mark.ci

DOCUMENT = ROOT / "docs/your-own-data.md"
COMMANDS = commands(DOCUMENT)
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
        end = time.monotonic() + 120
        # A keyframe with a tick counts before it is done: what Enter sent may still be on its way.
        while not (kept := [k for k in ask(f"{address}api/labels/{name}")["keyframes"] if k["done"]]):
            assert time.monotonic() < end
            time.sleep(0.1)
        (first,) = kept
        assert first["people"][0]["actions"] == ["stand", "wave"]
        for scheme in ("light", "dark"):
            browser.colours(scheme)
            assert browser.js(CONTRAST) == []
        browser.resize(390, 844, phone=True)
        assert browser.js("document.documentElement.scrollWidth <= innerWidth")
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


BOX = '<box frame="{frame}" outside="0" xtl="20" ytl="10" xbr="90" ybr="200"/>'
CVAT = """<annotations><meta><task><name>{name}</name><original_size><width>{width}</width><height>{height}</height>
</original_size></task></meta><track id="0" label="{label}">{boxes}</track></annotations>"""


def write_cvat(path: Path, name: str, label: str, meta: VideoMeta) -> None:
    boxes = "".join(BOX.format(frame=frame) for frame in range(30))
    path.write_text(CVAT.format(name=name, label=label, width=meta.width, height=meta.height, boxes=boxes))


def write_coco(path: Path, name: str, label: str, meta: VideoMeta) -> None:
    size = {"width": meta.width, "height": meta.height}
    images = [{"id": k, "video_id": 1, "frame_id": 10 * k, "file_name": f"{k}.jpg", **size} for k in range(1, 4)]
    boxes = [{"id": k, "image_id": k, "video_id": 1, "category_id": 1, "bbox": [20, 10, 70, 150]} for k in range(1, 4)]
    videos = [{"id": 1, "name": name, "file_name": f"{name}.mp4", **size}]
    categories = [{"id": 1, "name": label}]
    path.write_text(json.dumps({"videos": videos, "images": images, "annotations": boxes, "categories": categories}))


def test_annotations_of_other_tools_are_read_by_the_commands_that_are_named(place):
    """The blocks of *Other annotations*: CVAT's files and COCO's."""
    texts = DOCUMENT.read_text().split("## Other annotations")[1]
    cvat, coco = [line for line in texts.splitlines() if line.startswith("tubelet data import")]
    meta = probe(place / "videos/one.mp4")
    for number, name in enumerate(("one", "two"), start=1):
        write_cvat(place / f"task{number}.xml", name, "walk", meta)
        write_coco(place / f"{('train', 'val')[number - 1]}.json", name, "walk", meta)
    for command, out in ((cvat, "of_cvat"), (coco, "of_coco")):
        run(command.replace("my_data", out), place)
        opened = read_manifest(place / out)
        assert opened.label_space.names == ("walk",)
        assert sorted(opened.clips.column("split").to_pylist()) == ["train", "val"]
        assert opened.boxes is not None
        assert opened.boxes.num_rows >= 6
