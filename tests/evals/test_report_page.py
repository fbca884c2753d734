"""The report on a small localisation set and a small classification set, from stored predictions alone."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tubelet.cli.dispatch import run
from tubelet.cli.report import short_names
from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import frame_map
from tubelet.evals.examined import compared, examine
from tubelet.evals.page import MAX_BYTES, figure_html
from tubelet.evals.predictions import read_predictions, write_predictions
from tubelet.evals.report import summary
from tubelet.evals.run import TaskResult
from tubelet.labels import LabelSpace
from tubelet.types import InputError

NASTY = '<script>alert("1")</script>'
SPACE = LabelSpace(
    name="three", names=("stand", NASTY, "hug"), ids=(12, 3, 64), groups=("pose", "pose", "person-person"),
    buckets=("head", "mid", "tail"),
)  # fmt: skip
NUM_VIDEOS = 12


def origin(run_name: str, weights: str, counts: list[int]) -> dict[str, object]:
    data = {"name": "set", "manifest": "/nowhere/set", "sha256": "cd" * 32, "training_counts": counts}
    return {"run": run_name, "weights_sha256": weights * 64, "data": data, "versions": {"tubelet": "0.1.0"}}


def boxes_result(skill: float) -> TaskResult:
    """Return two people in each video, one always in the same pose; scores know the truth as far as ``skill`` says."""
    generator = np.random.default_rng(0)
    cells = np.array([f"v{i:02d}" for i in range(NUM_VIDEOS)], dtype=object)
    video, pts = np.repeat(cells, 2), np.full(2 * NUM_VIDEOS, 902.0)
    boxes = np.tile([[0.1, 0.1, 0.4, 0.9], [0.5, 0.1, 0.9, 0.9]], (NUM_VIDEOS, 1))
    does = (generator.random((2 * NUM_VIDEOS, 3)) < [0.6, 0.4, 0.3]).astype(np.float32)
    person, column = np.nonzero(does)
    truth = AvaTable(
        video=video[person], pts_seconds=pts[person], boxes_norm=boxes[person],
        label_ids=np.array(SPACE.ids, dtype=np.int32)[column], person_ids=np.full(len(person), -1),
    )  # fmt: skip
    scores = (skill * does + generator.random(does.shape)).astype(np.float32) / 3
    found = AvaTable(
        video=np.repeat(video, 3), pts_seconds=np.repeat(pts, 3), boxes_norm=np.repeat(boxes, 3, axis=0),
        label_ids=np.tile(SPACE.ids, len(video)).astype(np.int32), scores=scores.astype(np.float64).reshape(-1),
    )  # fmt: skip
    return TaskResult(
        task="localise", split="val", kind="localise", label_space=SPACE, metrics={}, boxes="detected",
        sample_ids=tuple(f"{v}.mp4,902.000000" for v in video), scores=scores, targets=does,
        box_scores=generator.random(len(video)).astype(np.float32), detections=found, ground_truth=truth,
        ava=frame_map(truth, found, SPACE),
    )  # fmt: skip


def clips_result(*, multi_label: bool) -> TaskResult:
    generator = np.random.default_rng(1)
    targets = np.eye(7, dtype=np.float32)[generator.integers(0, 7, 60)]
    return TaskResult(
        task="tagged" if multi_label else "clips", split="val", kind="classify", multi_label=multi_label,
        label_space=LabelSpace(name="seven", names=tuple("abcdefg")), metrics={},
        sample_ids=tuple(f"c{i}" for i in range(60)), videos=tuple(f"{i // 2}.mp4" for i in range(60)),
        scores=(0.5 * targets + generator.random((60, 7))).astype(np.float32) / 2, targets=targets,
    )  # fmt: skip


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predictions")
    for name, weights, skill in (("ours", "a", 0.6), ("theirs", "b", 0.2)):
        write_predictions(folder / name / "localise", boxes_result(skill), origin(name, weights, [900, 80, 3]))
    for multi_label in (False, True):
        result = clips_result(multi_label=multi_label)
        write_predictions(folder / "ours" / result.task, result, origin("ours", "a", [90, 80, 70, 5, 4, 3, 2]))
    return folder


class Page(HTMLParser):
    VOID = frozenset({"meta", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href") and tag != "use"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_from_predictions_alone(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new/report.html"
    run(["report", str(stored / "ours"), str(stored / "theirs"), "--out", str(out), "--num-draws", "100"])
    html = out.read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert page.links == []  # nothing is loaded
    assert len(html) < MAX_BYTES
    assert NASTY not in html
    text = re.sub(r"<[^>]+>", " ", html)
    for expected in (
        "Report on ours, against theirs", "head", "tail", "person-person", "wrong action", "not proposed",
        "taken for", "middle, ", "people on the keyframe", "confidence from 0.5 on", "top-1", "top-5", "a" * 64,
        "cd" * 32, "protocol official", "1 x centre", "detected, 24 scored", "No pictures: ", "12 videos", "30 videos",
    ):  # fmt: skip
        assert expected in text, expected
    printed = capsys.readouterr().out
    assert "localise: frame mAP" in printed
    assert "more than theirs" in printed
    assert "clips: not in theirs" in printed


def test_numbers_are_those_of_the_score(stored: Path, tmp_path: Path) -> None:
    run(["score", str(stored / "ours/localise"), "--json", str(tmp_path / "s.json")])
    scored = json.loads((tmp_path / "s.json").read_text())
    runs = {name: read_predictions(stored / name / "localise") for name in ("ours", "theirs")}
    first, other = examine(runs, num_draws=50)
    main = first.quantities[0]
    assert (main.name, main.value) == ("mAP", scored["mAP"])
    assert [q.value for q in first.per_class] == [c["ap"] for c in scored["per_class"]]
    assert [q.name for q in first.quantities] == ["mAP", "head", "mid", "tail", "pose", "person-person"]
    gain = compared(main, other.quantities[0])
    assert gain is not None
    assert gain.value == main.value - other.quantities[0].value  # type: ignore[operator]
    assert gain.low < gain.value < gain.high
    assert "points lost" in summary((first,))
    # Not the truth of the other: a class less is refused, not averaged away.
    clips = read_predictions(stored / "ours/clips")
    with pytest.raises(InputError, match=r"ours and clips.*not of the same kind and classes"):
        examine({"ours": runs["ours"], "clips": clips}, num_draws=10)


def test_thirds_by_frequency_where_the_labels_have_no_buckets(stored: Path) -> None:
    (clips,) = examine({"ours": read_predictions(stored / "ours/clips")}, num_draws=20)
    assert clips.buckets == ("head", "head", "mid", "mid", "mid", "tail", "tail")
    assert [q.name for q in clips.quantities] == ["top-1", "top-5", "head", "mid", "tail"]
    right = clips.stored.scores.argmax(1) == clips.stored.targets.argmax(1)
    assert clips.quantities[0].value == right.mean()


def test_what_a_user_gets_wrong_is_one_line(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no task 'walk'; it has clips, localise, tagged"):
        run(["report", str(stored / "ours"), "--task", "walk", "--out", str(tmp_path / "r.html")])
    with pytest.raises(InputError, match="given twice"):
        run(["report", str(stored / "ours"), str(stored / "ours"), "--out", str(tmp_path / "r.html")])
    with pytest.raises(InputError, match="no class 'stamd'"):
        run(["report", str(stored / "ours"), "--pictures", "stamd", "--out", str(tmp_path / "r.html")])
    assert not (tmp_path / "r.html").exists()


def test_names_are_as_short_as_they_can_be() -> None:
    assert short_names([Path("/x/a/1"), Path("/x/b/2")]) == ["1", "2"]
    assert short_names([Path("/x/a/1"), Path("/x/b/1")]) == ["a/1", "b/1"]


def test_a_figure_leaves_behind_what_is_no_part_of_a_page() -> None:
    drawn = '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "x" "http://www.w3.org/x.dtd"><svg><g/></svg>'
    found = figure_html(NASTY, drawn)
    assert found.endswith("</figcaption><svg><g/></svg></figure>")
    assert "<script>" not in found
