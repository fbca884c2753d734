"""Posts in every format people have them in, and every way they can be broken: counted, one reason each."""

import gzip
import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matching import match_posts

from tubelet.corpus.columns import PostColumns
from tubelet.corpus.hashtags import expand_labels
from tubelet.corpus.join import JoinSettings
from tubelet.corpus.match import Matches, count_hashtags
from tubelet.corpus.rules import RuleCount, rule_lines
from tubelet.labels import LabelSpace
from tubelet.types import InputError

SEEDS = expand_labels(LabelSpace(name="seeds", names=("catching a fish", "riding a bike")))
CSV_COLUMNS = PostColumns(video="id", tags="tags", text=("title", "body"), tag_separator="|")


def matched(posts: str | Path, columns: PostColumns = PostColumns(), **more: Any) -> Matches:  # noqa: B008
    return match_posts(posts, SEEDS, min_videos=1, settings=JoinSettings(columns=columns, **more))


def labels_of(matches: Matches) -> dict[str, str]:
    names = matches.label_space.names
    return {row["video"]: names[row["labels"][0]] for row in matches.videos.to_pylist()}


def dropped(matches: Matches) -> dict[str, float]:
    return {rule.rule: rule.dropped for rule in matches.report.rules if rule.dropped}


POSTS = [
    {"video": "a.mp4", "tags": ["CatchFish"], "text": None, "duration_seconds": 3.0},
    {"video": "b.mp4", "tags": [], "text": "in the sun #ridingabike", "duration_seconds": 4.0},
    {"video": "c.mp4", "tags": ["sun"], "text": "nothing", "duration_seconds": 5.0},
]
LABELS = {"a.mp4": "catching a fish", "b.mp4": "riding a bike"}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write posts in the format of the file's name."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ".jsonl" in path.name:
        text = "\n".join(json.dumps(row) for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    else:
        lines = ["video,tags,text,duration_seconds"]
        lines += [f"{r['video']},{'|'.join(r['tags'])},{r['text'] or ''},{r['duration_seconds']}" for r in rows]
        path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("name", ["posts.parquet", "posts.csv", "posts.jsonl", "posts.jsonl.gz"])
def test_every_format_gives_the_same(tmp_path: Path, name: str) -> None:
    columns = PostColumns(tag_separator="|") if name.endswith("csv") else PostColumns()
    matches = matched(write(tmp_path / name, POSTS), columns)
    assert labels_of(matches) == LABELS
    assert matches.videos.column("duration_seconds").to_pylist() == [3.0, 4.0]
    assert matches.report.sources == ((name, (tmp_path / name).stat().st_size),)


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    again = [{"video": "a.mp4", "tags": ["ridebike"], "text": None, "duration_seconds": 9.0}]
    write(tmp_path / "1.jsonl", POSTS[:1])
    write(tmp_path / "2.parquet", again + POSTS[1:])
    (tmp_path / "readme.txt").write_text("not posts")
    matches = matched(tmp_path)
    assert labels_of(matches) == LABELS  # the first post of a.mp4 counts, which is in the first file
    assert dropped(matches)["the first post of each video"] == 1


@pytest.mark.parametrize("name", ["posts.parquet", "posts.jsonl"])
def test_an_address_is_read_through_fsspec(tmp_path: Path, name: str) -> None:
    system = fsspec.filesystem("memory")
    system.pipe(f"/tubelet-posts/{name}", write(tmp_path / name, POSTS).read_bytes())
    assert labels_of(matched(f"memory://tubelet-posts/{name}")) == LABELS
    assert labels_of(matched("memory://tubelet-posts")) == LABELS
    system.rm("/tubelet-posts", recursive=True)
    with pytest.raises(InputError, match="memory://tubelet-posts: not posts"):
        matched("memory://tubelet-posts")
    with pytest.raises(InputError, match="expected a path or an address of"):
        matched("ftp://somewhere/posts.parquet")


def test_columns_are_named_and_no_other_is_read(tmp_path: Path) -> None:
    rows = "id,title,body,tags,length,secret\nx,a day #bikeride,out,sun|sea,7,hidden\ny,,#none,catch fish|b,8,hidden\n"
    (tmp_path / "posts.csv").write_text(rows)
    columns = PostColumns(video="id", tags="tags", text=("title", "body"), duration_seconds="length", tag_separator="|")
    matches = matched(tmp_path / "posts.csv", columns)
    assert labels_of(matches) == {"x": "riding a bike", "y": "catching a fish"}
    with pytest.raises(InputError, match=r"no column 'titles'"):
        matched(tmp_path / "posts.csv", PostColumns(video="id", text=("titles",)))
    with pytest.raises(InputError, match="'tags' of a csv is text, expected a tag separator"):
        matched(tmp_path / "posts.csv", PostColumns(video="id"))


def test_broken_rows_of_a_csv_are_counted_by_reason(tmp_path: Path) -> None:
    good = b"video,tags,duration_seconds\na.mp4,catchfish,3\n"
    bad = b"b.mp4,too,many,cells\n" + b"few\n" + b"c\xff.mp4,catchfish,3\n" + b"d.mp4,catchfish,soon\n"
    path = tmp_path / "posts.csv"
    path.write_bytes(good + bad + b"\ne\x00.mp4,catchfish,3\n")
    matches = matched(path, PostColumns(tag_separator="|"))
    assert sorted(labels_of(matches)) == ["a.mp4", "e\x00.mp4"]
    assert dropped(matches) == {
        "the row has as many cells as the header": 2,
        "the row is UTF-8": 1,
        "the duration is a positive number of seconds, or the post is a picture": 1,
        "labels with at least 1 videos": 1,
    }
    first = {rule.rule: rule.first_dropped for rule in matches.report.rules}
    assert first["the row is UTF-8"] == f"{path}, line 5"
    with pytest.raises(InputError, match=r"posts\.csv, line 3: expected that the row has as many cells"):
        matched(path, PostColumns(tag_separator="|"), stop_at_malformed=True)


def test_broken_rows_of_jsonl_are_counted_by_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tubelet.corpus.post_rows.MAX_LINE_BYTES", 400)
    lines = [
        b'{"video": "a.mp4", "tags": ["catchfish"], "duration_seconds": 3}',
        b'{"video": "b.mp4", "tags": ["catchfish"',
        b"[1, 2]",
        b'{"video": 7, "tags": ["catchfish"], "duration_seconds": 3}',
        b'{"video": "c.mp4", "tags": "catchfish", "duration_seconds": 3}',
        b'{"video": "d.mp4", "tags": ["\xff"], "duration_seconds": 3}',
        b'{"video": "e.mp4", "tags": ["\\ud800"], "duration_seconds": 3}',
        b'{"video": "f.mp4", "tags": ["' + b"x" * 1000 + b'"], "duration_seconds": 3}',
        b'{"video": "g.mp4", "tags": null, "duration_seconds": true}',
        b'{"video": "h.mp4", "tags": ["ridebike", null], "duration_seconds": "4.5"}',
    ]
    (tmp_path / "posts.jsonl").write_bytes(b"\n".join(lines))
    matches = matched(tmp_path / "posts.jsonl")
    assert labels_of(matches) == {"a.mp4": "catching a fish", "h.mp4": "riding a bike"}
    found = dropped(matches)
    assert found["the row is a JSON object"] == 2
    assert found["the row's cells have the types of their columns"] == 2
    assert found["the row is UTF-8"] == 2
    assert sum(found.values()) == 8  # also the long line and g.mp4
    assert matches.report.rules[0].before == len(lines)


def test_absurd_durations_and_tags_are_counted(tmp_path: Path) -> None:
    rows = [
        {"video": "a.mp4", "tags": ["x" * 10_000_000, "catchfish"], "text": None, "duration_seconds": 3.0},
        {"video": "b.mp4", "tags": None, "text": "#" + "y" * 10_000_000 + " #ridebike", "duration_seconds": 3.0},
        {"video": "c.mp4", "tags": ["catchfish"], "text": None, "duration_seconds": 1e9},
        {"video": "d.mp4", "tags": ["#" * 300 + "catch_fish"], "text": None, "duration_seconds": 3.0},
    ]
    matches = matched(write(tmp_path / "posts.parquet", rows))
    assert labels_of(matches) == LABELS
    tags = next(rule for rule in matches.report.rules if rule.unit == "tags")
    assert (tags.before, tags.dropped) == (5, 3)
    assert dropped(matches)["the duration is at most 86400 seconds"] == 1


def test_pictures_need_no_duration(tmp_path: Path) -> None:
    rows = [{"video": "a.JPG", "tags": ["catchfish"]}, {"video": "b.png", "tags": ["bikeriding"]}]
    path = write(tmp_path / "posts.parquet", rows)
    assert matched(path).videos.column("duration_seconds").to_pylist() == [0.0, 0.0]
    write(tmp_path / "posts.parquet", [*rows, {"video": "c.mp4", "tags": ["catchfish"]}])
    with pytest.raises(InputError, match="no column 'duration_seconds'"):
        matched(path)


def test_scripts_other_than_ascii_go_through_the_exact_rules(tmp_path: Path) -> None:
    rows = [
        {"video": "a", "tags": ["\uff43atchfish"], "text": None, "duration_seconds": 1.0},
        {"video": "b", "tags": [], "text": "Ausflug \uff03CatchFish\U0001f41f", "duration_seconds": 1.0},
        {"video": "c", "tags": [], "text": "é#catchfish", "duration_seconds": 1.0},
        {"video": "d", "tags": ["釣り"], "text": "schön #bikeride", "duration_seconds": 1.0},
    ]
    expected = {"a": "catching a fish", "b": "catching a fish", "d": "riding a bike"}
    matches = matched(write(tmp_path / "posts.parquet", rows))
    assert labels_of(matches) == expected
    tagged = next(rule for rule in matches.report.rules if rule.rule == "at least one tag with a letter")
    assert (tagged.before, tagged.after) == (4, 3)


def test_little_memory_gives_the_same(tmp_path: Path) -> None:
    rows = [
        {"video": f"{i}.mp4", "tags": ["catchfish", f"sun{i}", "ridebike"], "text": None, "duration_seconds": 2.0}
        for i in range(3000)
    ]
    path = write(tmp_path / "posts.parquet", rows)
    assert matched(path, memory_gib=0.1, num_threads=1).videos.equals(matched(path).videos)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"memory_gib": 0}, "memory_gib is 0, expected"),
        ({"max_seconds": -1}, "max_seconds is -1, expected more than 0"),
    ],
)
def test_settings_that_cannot_work_are_named(tmp_path: Path, settings: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        matched(write(tmp_path / "posts.parquet", POSTS), **settings)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "posts.parquet",
        [{"video": f"{k}.mp4", "tags": [f"sun{k}"], "duration_seconds": 1.0} for k in range(2000)],
    )
    damaged = bytearray(path.read_bytes())
    damaged[200:600] = bytes(byte ^ 0x5A for byte in damaged[200:600])
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"posts\.parquet: (cannot be read|not a parquet)") as caught:
        matched(path)
    assert "\n" not in str(caught.value)


def raw_strings(*texts: bytes) -> pa.Array:
    """Return a column of strings as another program may have written it: nothing checks that they are UTF-8."""
    return pa.array(texts, pa.binary()).view(pa.string())


def test_bytes_in_a_parquet_file_that_are_no_text_are_counted(tmp_path: Path) -> None:
    lists = pa.ListArray.from_arrays(
        pa.array([0, 1, 2, 4]), raw_strings(b"catchfish", b"catchfish", b"\xff", b"ridebike")
    )
    table = {
        "video": raw_strings(b"a", b"b\xff", b"c"),
        "tags": lists,
        "text": raw_strings(b"plain \xff #catchfish", b"", b"#\xffx #catchfish"),
        "duration_seconds": [1.0, 2.0, 3.0],
    }
    pq.write_table(pa.table(table), tmp_path / "posts.parquet")
    matches = matched(tmp_path / "posts.parquet")
    assert labels_of(matches) == {"a": "catching a fish", "c": "riding a bike"}
    found = dropped(matches)
    assert found["the name of the video is UTF-8"] == 1
    assert found["tag or caption is UTF-8"] == 2  # of c


def test_a_video_that_comes_again_far_behind_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tubelet.corpus.post_checks.SORTED_AT_ONCE", 300)
    videos = [f"{k}.mp4" for k in range(1000)] + ["7.mp4", "999.mp4", "0.mp4", "7.mp4"]
    tags = [["ridebike"]] * 1000 + [["catchfish"]] * 4
    table = pa.table({"video": videos, "tags": tags, "duration_seconds": [1.0] * 1004})
    pq.write_table(table, tmp_path / "posts.parquet", row_group_size=100)
    matches = matched(tmp_path / "posts.parquet")
    assert dropped(matches)["the first post of each video"] == 4
    assert set(labels_of(matches).values()) == {"riding a bike"}
    tags_rule = next(rule for rule in matches.report.rules if rule.unit == "tags")
    assert tags_rule.before == 1000  # those of posts that count


def test_hashtags_are_counted_with_those_that_nobody_uses(tmp_path: Path) -> None:
    found = count_hashtags(write(tmp_path / "posts.parquet", [*POSTS, POSTS[0] | {"video": "z"}]), SEEDS)
    rows = {(row["label"], row["hashtag"]): row["posts"] for row in found.table.to_pylist()}
    assert rows["catching a fish", "catchfish"] == 2
    assert rows["riding a bike", "ridebike"] == 0
    assert len(rows) == SEEDS.table.num_rows
    assert found.label_posts == {"catching a fish": 2, "riding a bike": 1}


def test_rule_lines_show_before_after_and_dropped() -> None:
    rules = [RuleCount(rule="r", unit="posts", before=12345, after=12000, first_dropped="p.csv, line 3")]
    assert "12,345        12,000           345  posts: r (first dropped: p.csv, line 3)" in rule_lines(rules)[1]
    assert "0.25" in rule_lines([RuleCount(rule="r", unit="hours", before=0.75, after=0.5)])[1]
