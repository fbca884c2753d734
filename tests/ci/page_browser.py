"""``tubelet serve`` with boxes that are known, and a browser that looks at it."""

import json
from pathlib import Path

import pytest
from devtools import Browser
from page_videos import boxes_csv, write_square
from serving import serving
from untrained_run import write_untrained_run

VIDEOS = {
    "square.mp4": "libx264",
    "square_avi.avi": "mpeg4",
    "square_hevc.mkv": "libx265",
    "square_mkv.mkv": "libx264",
}
CUT = 17
"""Frame at which the second shot of two_shots.mp4 begins, at 1.7 s; the cut is said to lie half a frame before it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of ``tubelet serve`` with boxes that are known."""
    folder = tmp_path_factory.mktemp("page")
    for name, codec in VIDEOS.items():
        write_square(folder / name, codec)
    write_square(folder / "two_shots.mp4", "libx264", cut=CUT)
    listed = boxes_csv(folder / "boxes.csv", [Path(name).stem for name in (*VIDEOS, "two_shots.mp4")])
    model = write_untrained_run(folder / "model")
    options = ["--people", f"csv:{listed}", "--threshold", "0.05", "--device", "cpu"]
    command = ["tubelet", "serve", "--model", str(model), "--out", str(folder / "private"), *options]
    with serving(command, folder) as address:
        yield folder, address


@pytest.fixture(scope="module")
def browser(server, tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def send(browser: Browser, server: tuple[Path, str], name: str) -> None:
    folder, address = server
    browser.open(address)
    browser.wait("document.querySelector('#start:not([hidden]) #takes').textContent")
    browser.choose_file("#file", folder / name)


def opened(browser: Browser, server: tuple[Path, str], name: str) -> None:
    """Have a video open in the viewer, sent only once."""
    _, address = server
    browser.open(address)
    browser.wait("document.querySelector('#start:not([hidden]) #takes').textContent")
    found = browser.js(
        f"fetch('/api/jobs').then((r) => r.json()).then((jobs) => jobs.find((j) => j.name === {json.dumps(name)})?.id)"
    )
    if found:
        browser.open(f"{address}videos/{found}")
    else:
        browser.choose_file("#file", server[0] / name)
    browser.wait("!document.getElementById('viewer').hidden && document.getElementById('video').readyState >= 2")
