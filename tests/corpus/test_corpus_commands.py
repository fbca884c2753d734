"""The commands of the corpus as a user types them."""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tubelet.cli import main


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["tubelet", "corpus", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    """Forty posts of two labels, their (empty) videos beside them, and a list of the labels."""
    videos = [f"{k}.mp4" for k in range(40)]
    for video in videos:
        (tmp_path / video).touch()
    tags = [["catchfish"] if k < 30 else ["bikeride", "sun"] for k in range(40)]
    table = pa.table({"name": videos, "tags": tags, "seconds": [float(2 + k % 3) for k in range(40)]})
    pq.write_table(table, tmp_path / "posts.parquet")
    (tmp_path / "labels.txt").write_text("catching a fish\nriding a bike\n")
    return tmp_path


def test_from_posts_to_subsets(
    posts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = ["--columns.video", "name", "--columns.duration-seconds", "seconds"]
    given = ["--posts", posts / "posts.parquet", *columns]
    assert call(monkeypatch, "labels", *given, "--seed-labels", posts / "labels.txt", "--out", posts / "tags.csv") == 0
    shown = capsys.readouterr().out
    assert "30  catching a fish: #catchfish 30" in shown
    assert "posts: the video has a name" in shown
    built = ["--media-root", posts, "--out", posts / "set", "--min-videos", "5"]
    assert call(monkeypatch, "build", "own_posts", *given, "--seed-labels", posts / "tags.csv", *built) == 0
    shown = capsys.readouterr().out
    assert "(40 videos, 2 labels)" in shown
    assert shown.count("videos: labels with at least 5") == 0
    assert "labels: labels with at least 5 videos" in shown
    part = ["--num-videos", "10", "--sampling", "tail"]
    assert call(monkeypatch, "subset", posts / "set", posts / "part", *part) == 0
    assert "training clips 10, tail labels whole, head labels capped" in capsys.readouterr().out
    assert json.loads((posts / "part/report.json").read_text())["num_videos"]["train"] == 10
    assert call(monkeypatch, "overlap", posts / "part", posts / "labels.txt") == 0
    assert "overlap: 100.0 % (2 of 2 labels of labels)" in capsys.readouterr().out
    assert call(monkeypatch, "spread", posts / "set", posts / "part", "--png", posts / "spread.png") == 0
    assert "set: " in capsys.readouterr().out
    assert (posts / "spread.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["labels", "--posts", "nowhere.csv", "--seed-labels", "verbs"],
            "nowhere.csv: no such file or folder of posts",
        ),
        (["labels", "--posts", ".", "--seed-labels", "verbs"], "posts.parquet: no column 'video'"),
        (["labels", "--posts", "labels.txt", "--seed-labels", "verbs"], "labels.txt: not posts; expected a file"),
        (["overlap", "verb-nouns", "verbs"], "which pairs are labels only posts can tell"),
        (["overlap", "verbs", "nowhere"], "nowhere: no such file, nor a list"),
        (["subset", "nowhere", "out"], "nowhere/manifest.json: not found"),
        (["lengths", "nowhere", "out", "--num-videos", "3"], "nowhere/manifest.json: not found"),
    ],
)
def test_a_mistake_is_one_line(
    posts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    monkeypatch.chdir(posts)
    assert call(monkeypatch, *words) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
