"""Threads that wait sleep, unless the user says otherwise."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"), ({"GOMP_SPINCOUNT": "100"}, None)],
)
def test_the_command_line_sets_what_the_user_has_not(given: dict[str, str], expected: str | None) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    # OpenMP's own table, printed when torch loads it.
    code = "import os, tubelet.cli; print('tubelet:', os.environ.get('OMP_WAIT_POLICY'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=clean | given | {"OMP_DISPLAY_ENV": "true"},
    )
    assert f"tubelet: {expected}" in done.stdout
    if expected is not None and "OMP_WAIT_POLICY" in done.stderr:
        assert f"OMP_WAIT_POLICY = '{expected}'" in done.stderr
