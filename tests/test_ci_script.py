"""`.ci/run` on systems that lack something: one line says what, and everything that can run does."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(tmp_path: Path, *, chromium_works: bool, can_install: bool) -> subprocess.CompletedProcess[str]:
    """Run the script with stubs for everything that would install or take long; ``make`` writes what it was asked."""
    stubs = {
        "make": 'echo "$* browser=${TUBELET_WITHOUT_BROWSER:-yes}" >> "$CALLS"',
        "git": "exit 0",
        "python3": "exit 0",
        "curl": "exit 0",
        "chromium": "exit 0" if chromium_works else "exit 1",
        "apt-get": "exit 0" if can_install else "echo no candidate; exit 100",
    }
    for name, line in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    script = str(ROOT / ".ci" / "run")
    return subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("can_install", [True, False])
def test_without_a_browser_everything_else_runs(tmp_path: Path, can_install: bool) -> None:
    """Ubuntu: either there is no such package, or it is an empty one that points to a snap."""
    done = run(tmp_path, chromium_works=False, can_install=can_install)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "missing" in line] == [
        "missing: chromium, which this system's packages do not give; the report is not looked at in a browser"
    ]
    calls = [line for line in (tmp_path / "calls").read_text().splitlines() if "--version" not in line]
    assert calls == ["check browser=1", "demo SIZE=tiny OUT=out/ci-demo browser=1", "check-ci browser=1"]


def test_with_a_browser_nothing_is_missing(tmp_path: Path) -> None:
    done = run(tmp_path, chromium_works=True, can_install=False)
    assert done.returncode == 0, done.stderr
    assert "missing" not in done.stdout
    assert "check-ci browser=yes" in (tmp_path / "calls").read_text()


def test_a_tool_that_cannot_be_installed_stops_the_run(tmp_path: Path) -> None:
    run(tmp_path, chromium_works=True, can_install=False)  # writes the stubs
    (tmp_path / "git").write_text("#!/bin/sh\nexit 1\n")
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "more")}
    script = str(ROOT / ".ci" / "run")
    done = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no candidate" in done.stdout
    assert "check" not in (tmp_path / "more").read_text()
