"""What docs/serve.md gives to programs: a video sent, asked for and taken home with curl, as it stands there."""

import json
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ci_support import ROOT
from serving import serving

pytestmark = pytest.mark.ci

DOCUMENT = (ROOT / "docs/serve.md").read_text()
COMMANDS = re.findall(r"^curl .*", DOCUMENT, re.MULTILINE)
SERVE = re.search(r"^tubelet serve.*", DOCUMENT, re.MULTILINE)
SECONDS = 300


def run(command: str, place: Path) -> str:
    words = shlex.split(command)
    done = subprocess.run([words[0], "-f", "-s", "-S", *words[1:]], cwd=place, capture_output=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stderr.decode()}"
    return done.stdout.decode()


def test_a_video_goes_through_by_curl(finished_demo: Path, tmp_path: Path) -> None:
    sent, asked, taken = COMMANDS
    assert SERVE is not None
    video = next((finished_demo / "playground/videos/localise").glob("test_*.mp4"))
    shutil.copyfile(video, tmp_path / "street.mp4")
    with serving(shlex.split(SERVE[0]), tmp_path) as address:
        here = [line.replace("http://127.0.0.1:8080/", address) for line in (sent, asked, taken)]
        job: dict[str, Any] = json.loads(run(here[0], tmp_path))
        known = [line.replace("/ID", f"/{job['id']}") for line in here]
        end = time.monotonic() + SECONDS
        while (job := json.loads(run(known[1], tmp_path)))["state"] in ("queued", "running"):
            assert time.monotonic() < end, job
            time.sleep(0.5)
        assert job["state"] == "done", job
        run(known[2], tmp_path)
    (table,) = tmp_path.glob("*.csv")
    assert "street" in table.name
    assert len(table.read_text().splitlines()) > 1
