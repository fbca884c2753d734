"""The reports in a real browser: they show what they should, ask nobody for anything, and have no error."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ci_support import TUBELET

pytestmark = pytest.mark.ci

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--enable-logging=stderr",
)


def browse(page: Path, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    chromium = shutil.which("chromium")
    if os.environ.get("TUBELET_WITHOUT_BROWSER"):
        pytest.skip("this system has no chromium, as .ci/run has said")
    if chromium is None:
        pytest.fail("chromium is missing; on Debian: apt-get install chromium")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [chromium, *FLAGS, profile, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture(scope="module")
def explained(finished_demo, tmp_path_factory):
    """The page of ``tubelet report`` on two runs of the demo."""
    page = tmp_path_factory.mktemp("explained") / "report.html"
    runs = [str(finished_demo / "runs" / arm) for arm in ("cofinetune/1-cofinetune", "localise_only/1-localise_only")]
    options = ["--out", str(page), "--num-pictures", "4"]
    subprocess.run([str(TUBELET), "report", *runs, *options], check=True, capture_output=True, text=True)
    return page


def test_an_explanation_is_whole_and_silent(explained, tmp_path):
    shown = browse(explained, tmp_path, "--dump-dom")
    text = re.sub(r"<[^>]+>", " ", shown.stdout)
    for expected in (
        "mAP",
        "head",
        "tail",
        "wrong action",
        "taken for",
        "people on the keyframe",
        "fewer than 5 videos",
        "SHA-256",
    ):
        assert expected in text
    assert shown.stdout.count("<svg") >= 4  # classes of three tasks, and the gains
    assert 3 <= shown.stdout.count("<img ") <= 24
    assert not [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    assert explained.stat().st_size < 10_000_000
    for width in (390, 1200):
        picture = tmp_path / f"{width}.png"
        browse(explained, tmp_path, f"--screenshot={picture}", "--hide-scrollbars", f"--window-size={width},1600")
        assert picture.stat().st_size > 20_000
    browse(explained, tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}")
    assert (tmp_path / "page.pdf").stat().st_size > 20_000


def test_the_page_is_whole_and_silent(finished_demo, tmp_path):
    page = finished_demo / "report.html"
    shown = browse(page, tmp_path, "--dump-dom")
    text = re.sub(r"<[^>]+>", " ", shown.stdout)
    for expected in ("co-finetuned", "transferred", "localisation only", "chance", "head", "tail", "stand", "one seed"):
        assert expected in text
    # Two videos, up to three stills each; bars for every class; at least one curve.
    assert shown.stdout.count("<img ") >= 3
    assert shown.stdout.count('class="line') >= 2
    # The page's policy turns any request into a console error.
    assert not [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    assert page.stat().st_size < 10_000_000


@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_a_phone_and_a_desk(finished_demo, tmp_path, width):
    picture = tmp_path / "page.png"
    size = f"--window-size={width},1600"
    browse(finished_demo / "report.html", tmp_path, f"--screenshot={picture}", "--hide-scrollbars", size)
    assert picture.stat().st_size > 20_000
