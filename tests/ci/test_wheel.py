"""The wheel, installed in an empty environment, gives a working ``tubelet`` command."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"

pytestmark = pytest.mark.ci


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("tubelet-*.whl")
    assert run(sys.executable, "-m", "venv", folder / "env", cwd=folder).returncode == 0
    python = folder / "env" / "bin" / "python"
    installed = run(python, "-m", "pip", "install", "-q", "--constraint", CONSTRAINTS, "torch", wheel, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return folder


def test_the_command_answers(environment):
    tubelet = environment / "env" / "bin" / "tubelet"
    for arguments in (["--help"], ["recipes"], ["info"]):
        done = run(tubelet, *arguments, cwd=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


def test_package_data_came_along(environment):
    """Rendering needs the baked bodies, detecting people the converted weights, the report its style: none is code."""
    tubelet = environment / "env" / "bin" / "tubelet"
    built = run(tubelet, "playground", "build", "--size", "tiny", "--out", environment / "pg", cwd=environment)
    assert built.returncode == 0, built.stderr
    assert len(list((environment / "pg").rglob("*.mp4"))) > 100
    script = (
        "import numpy as np\n"
        "from importlib.resources import files\n"
        "from tubelet.inference.people import NanoDetDetector\n"
        "assert NanoDetDetector()([np.zeros((96, 128, 3), np.uint8)])[0].boxes.shape == (0, 4)\n"
        "for place in ('evals/assets/page.css', 'inference/assets/detections.schema.json',\n"
        "              *(f'{part}/assets/LICENSES.md' for part in ('playground', 'models', 'data', 'corpus'))):\n"
        "    assert files('tubelet').joinpath(place).read_text()\n"
    )
    done = run(environment / "env" / "bin" / "python", "-c", script, cwd=environment)
    assert done.returncode == 0, done.stderr


def test_a_mistake_is_one_line_and_status_2(environment):
    done = run(environment / "env" / "bin" / "tubelet", "info", "no-such-folder", cwd=environment)
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "no-such-folder" in done.stderr
