from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tubelet.cli.using import search as search_command
from tubelet.inference.detections_file import json_writer, read_detections
from tubelet.inference.formats import write_parquet
from tubelet.inference.search import Hit, search
from tubelet.labels import LabelSpace
from tubelet.types import ActionDetections, InputError, VideoMeta

AVA = LabelSpace(name="ava", names=("walk", "kick (an object)", "kick (a person)"), ids=(14, 35, 71))
OWN = LabelSpace(name="own", names=("Kick", "kicker"))


def write(path: Path, space: LabelSpace, moments: Sequence[dict[int, list[float]]], *, least: float = 0.5) -> None:
    """A moment a second: identity to scores."""
    video = VideoMeta(path=f"{path.stem}.mp4", width=64, height=48, fps=25.0, duration_seconds=float(len(moments)))
    levels = np.full(len(space), least)
    with json_writer(path, video=video, task="t", label_space=space, thresholds=levels) as add:
        for second, people in enumerate(moments):
            add(
                ActionDetections(
                    video=video.path,
                    pts_seconds=float(second),
                    boxes_norm=np.tile(np.array([0.25, 0.25, 0.5, 0.5], dtype=np.float32), (len(people), 1)),
                    scores=np.array(list(people.values()), dtype=np.float32).reshape(-1, len(space)),
                    box_scores=np.ones(len(people), dtype=np.float32),
                    person_ids=np.array(list(people), dtype=np.int64),
                )
            )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(
        tmp_path / "a" / "street.json",
        AVA,
        [
            {1: [0.9, 0.6, 0.0]},
            {1: [0.9, 0.8, 0.0], 2: [0.0, 0.0, 0.7]},
            {1: [0.9, 0.1, 0.0]},
            {1: [0.9, 0.6, 0.0], -1: [0.0, 0.9, 0.0]},
        ],
    )
    write(tmp_path / "b" / "yard.json", OWN, [{4: [0.3, 0.9]}, {4: [0.25, 0.9]}], least=0.2)
    (tmp_path / "other.json").write_text('{"a": 1}')
    return tmp_path


def test_stretches_of_an_action_in_all_videos(folder: Path) -> None:
    """A moment speaks for half a second on each side; street's person 1 kicks at 0 and 1, and again at 3."""
    found = search(folder, "kick")
    assert found.num_files == 2
    assert [(h.video, h.person_id, h.begin_seconds, h.end_seconds, round(h.score, 2)) for h in found.hits] == [
        ("street.mp4", 1, 0.0, 1.5, 0.8),
        ("street.mp4", 2, 0.5, 1.5, 0.7),
        ("street.mp4", -1, 2.5, 4.0, 0.9),
        ("street.mp4", 1, 2.5, 4.0, 0.6),
        ("yard.mp4", 4, 0.0, 2.0, 0.3),
    ]
    assert [h.action for h in found.hits][:2] == ["kick (an object)", "kick (a person)"]


def test_a_least_score_replaces_the_files_own(folder: Path) -> None:
    assert [h.person_id for h in search(folder, "KICK", min_score=0.75).hits] == [1, -1]
    assert len(search(folder, "kick (a person)", min_score=0.01).hits) == 1
    with pytest.raises(InputError, match="least score is 30"):
        search(folder, "kick", min_score=30)


def test_a_parquet_says_the_same_as_its_json(folder: Path) -> None:
    expected = search(folder, "kick").hits
    for path in (folder / "a" / "street.json", folder / "b" / "yard.json"):
        write_parquet(read_detections(path), path.with_suffix(".parquet"))
    assert search(folder, "kick").hits == expected, "beside its JSON a parquet counts once"
    for path in (folder / "a" / "street.json", folder / "b" / "yard.json"):
        path.unlink()
    alone = search(folder, "kick")
    assert alone.num_files == 2
    # Without the length of the video the last moment speaks up to itself.
    assert [(h.video, h.person_id, h.begin_seconds) for h in alone.hits] == [
        (h.video, h.person_id, h.begin_seconds) for h in expected
    ]


def test_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no action 'kik' in 2 files; did you mean 'Kick'"):
        search(folder, "kik")
    with pytest.raises(InputError, match="no action '' in 2 files; expected walk, kick"):
        search(folder, "")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no results"):
        search(tmp_path / "empty", "kick")
    with pytest.raises(InputError, match="not a folder"):
        search(tmp_path / "nowhere", "kick")


def test_the_command_lists_the_best(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search_command(folder, "kick", top=2)
    out = capsys.readouterr().out
    assert "2 of 5 moments, 2 files" in out
    assert out.count("street") == 2
    assert "yard" not in out


class Counted:
    """A table that counts how often each column is taken from it."""

    def __init__(self, table: Any, taken: Counter[str]) -> None:
        self._table, self._taken = table, taken

    def column(self, name: str) -> Any:
        self._taken[name] += 1
        return self._table.column(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def __len__(self) -> int:
        return len(self._table)


def test_a_long_parquet_in_any_order_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 moments of two people: the boxes' scores are not taken from the table for each moment."""
    draws = np.random.default_rng(0).random((300, 2, 3)).round(3)
    write(tmp_path / "long.json", AVA, [{5: row[0].tolist(), 8: row[1].tolist()} for row in draws])
    write_parquet(read_detections(tmp_path / "long.json"), tmp_path / "long.parquet")
    expected = search(tmp_path, "kick", min_score=0.6).hits
    (tmp_path / "long.json").unlink()
    table = pq.read_table(tmp_path / "long.parquet")
    mixed = table.take(np.random.default_rng(1).permutation(len(table)))
    taken: Counter[str] = Counter()
    monkeypatch.setattr(pq, "read_table", lambda path: Counted(mixed, taken))
    found = search(tmp_path, "kick", min_score=0.6).hits
    assert len(found) == len(expected) > 200
    for hit, other in zip(found[:-4], expected[:-4], strict=True):  # a parquet has no length of the video
        assert hit == other
    assert taken["box_score"] == 1


def test_hits_are_not_compared_with_each_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with each, some thousands of moments take minutes."""

    def compared(hit: Hit, other: object) -> bool:
        raise AssertionError("hits were compared")

    monkeypatch.setattr(Hit, "__eq__", compared)
    for top, shown in ((None, 5), (3, 3), (9, 5)):
        search_command(folder, "kick", top=top)
        assert f"{shown} of 5 moments" in capsys.readouterr().out


def test_hits_that_are_alike_are_shown_as_often_as_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two strangers with one score are two moments; the best one is one of them."""
    write(tmp_path / "a.json", OWN, [{1: [0.0, 0.9], 2: [0.0, 0.9]}])
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(
        text.replace('"person_id":1', '"person_id":-1').replace('"person_id":2', '"person_id":-1')
    )
    search_command(tmp_path, "kicker", top=1)
    out = capsys.readouterr().out
    assert "1 of 2 moments" in out
    assert out.count("a.mp4") == 1
