"""The measure of following people, by hand: two people, one of whom is given a second identity halfway."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tubelet.types import PersonBoxes

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("people_benchmark", FOLDER / "people.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "people_benchmark", module)
    spec.loader.exec_module(module)
    return module


def test_idf1_and_switches_by_hand(people: ModuleType) -> None:
    boxes = np.array([[0, 0, 10, 20], [50, 0, 60, 20]], dtype=np.float32)
    truth = [(boxes, np.array([1, 2]))] * 4
    followed = [(boxes, np.array([7, 8]))] * 2 + [(boxes, np.array([7, 9]))] * 2
    found = [PersonBoxes(boxes=boxes, scores=np.ones(2, dtype=np.float32))] * 4
    film = people.Film(hw=(100, 100), seconds=[0.0, 0.2, 0.4, 0.6], truth=truth, found=found, ms_per_frame=1.0)
    row = people.following("by hand", lambda seconds, boxes: followed, film, 1)
    # Person 1 shares 4 boxes with 7, person 2 two with either 8 or 9: 6 of 8 and 8.
    assert row["IDF1"] == pytest.approx(2 * 6 / (8 + 8))
    assert (row["switches"], row["identities"], row["people"]) == (1, 3, 2)
    assert row["detections_per_second"] == pytest.approx(5)
    perfect = people.following("ours", people.ours, film, 1)
    assert (perfect["IDF1"], perfect["switches"]) == (1.0, 0)
    assert people.detection(film)["AP50"] == pytest.approx(1.0)


def test_without_the_data_it_says_so(
    people: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["people.py", "--video", str(tmp_path / "none.avi")])
    people.main()
    assert capsys.readouterr().out.splitlines() == [
        f"people: skipped, {tmp_path / 'none.avi'} is not here; --help says where it comes from"
    ]
