"""The measure of following people, by hand: two people, one of whom is given a second identity halfway."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tubelet.inference.tubes import TubeBoxes
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


BOXES = np.array([[0, 0, 10, 20], [50, 0, 60, 20]], dtype=np.float32)


@pytest.fixture
def film(people: ModuleType) -> Any:
    found = [PersonBoxes(boxes=BOXES, scores=np.ones(2, dtype=np.float32))] * 4
    truth = {frame: (BOXES, np.array([1, 2])) for frame in range(4)}
    return people.Film(hw=(100, 100), seconds=[0.0, 0.2, 0.4, 0.6], found=found, truth=truth, detector_ms=1.0)


def test_detections_and_tubes_by_hand(people: ModuleType, film: Any) -> None:
    assert people.detection("by hand", "film", [film])["AP50"] == pytest.approx(1.0)
    followed = people.ours(film.seconds, film.found, 1)
    assert [sorted(at.person_ids.tolist()) for at in followed] == [sorted(followed[0].person_ids.tolist())] * 4
    assert len(set(followed[0].person_ids.tolist())) == 2
    far = np.array([[0, 0, 10, 20], [0, 8, 10, 28]], dtype=np.float32)  # IoU 1 and 12 / 28: below a half is no pair
    assert people._apart(BOXES[:1], far)[0].tolist() == pytest.approx([0.0, float("nan")], nan_ok=True)


def test_idf1_and_switches_by_hand(people: ModuleType, film: Any) -> None:
    pytest.importorskip("motmetrics")
    ids = [np.array([7, 8])] * 2 + [np.array([7, 9])] * 2
    followed = [TubeBoxes(boxes=BOXES, scores=np.ones(2, dtype=np.float32), person_ids=each) for each in ids]
    row = people.following("by hand", lambda seconds, found, every: followed, "film", [film], 1)
    # Person 1 shares 4 boxes with 7, person 2 two with either 8 or 9: 6 of 8 and 8.
    assert row["IDF1"] == pytest.approx(2 * 6 / (8 + 8))
    assert (row["switches"], row["identities"], row["people"]) == (1, 3, 2)
    perfect = people.following("ours", people.ours, "film", [film], 1)
    assert (perfect["IDF1"], perfect["MOTA"], perfect["switches"]) == (1.0, 1.0, 0)


def test_without_the_data_it_says_so(
    people: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["people.py", "--video", str(tmp_path / "none.avi")])
    people.main()
    assert capsys.readouterr().out.splitlines() == [
        f"people: skipped, {tmp_path / 'none.avi'} is not here; --help says where it comes from"
    ]
