import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matching import build_corpus, match_posts

from tubelet.corpus.hashtags import expand_labels
from tubelet.corpus.match import Matches
from tubelet.data.manifest import read_manifest
from tubelet.labels import LabelSpace, one_of
from tubelet.types import InputError
from tubelet.video.media import resolve_media

SPACE = LabelSpace(name="seeds", names=("catching a fish", "riding a bike", "juggling balls"))
SEEDS = expand_labels(SPACE)
Post = tuple[str | None, list[str | None] | None, float | None]


def write_posts(path: Path, rows: list[Post], **extra: list[object]) -> Path:
    table = pa.table(
        {
            "video": pa.array([r[0] for r in rows], pa.string()),
            "tags": pa.array([r[1] for r in rows], pa.list_(pa.string())),
            "duration_seconds": pa.array([r[2] for r in rows], pa.float64()),
            **extra,
        }
    )
    pq.write_table(table, path)
    return path


def many(label: str, tag: str, count: int) -> list[Post]:
    return [(f"{label}{i}.mp4", [tag], 4.0) for i in range(count)]


def rules(matches: Matches) -> dict[str, tuple[int, int]]:
    return {rule.rule: (rule.before, rule.after) for rule in matches.report.rules}


def labels_of(matches: Matches) -> dict[str, list[str]]:
    names = matches.label_space.names
    return {row["video"]: [names[k] for k in row["labels"]] for row in matches.videos.to_pylist()}


def test_every_rule_says_what_it_dropped(tmp_path: Path) -> None:
    rows: list[Post] = [
        ("a.mp4", ["#CatchFish", "sunday"], 3.0),
        ("b.mp4", ["fish_catching"], 5.0),
        ("b.mp4", ["ridingabike"], 9.0),  # the same video again
        ("c.mp4", ["bikeride"], 2.0),
        ("d.mp4", ["sunday", None, "🐟"], 2.0),  # a tag, but of no label
        ("e.mp4", ["2019", "!"], 2.0),  # no tag
        ("f.mp4", [], 2.0),
        ("g.mp4", None, 2.0),
        ("h.mp4", ["catchfish"], None),
        ("i.mp4", ["catchfish"], -1.0),
        ("j.mp4", ["catchfish"], float("nan")),
        ("k.mp4", ["catchfish"], float("inf")),
        (None, ["catchfish"], 2.0),
        (" ", ["catchfish"], 2.0),
        ("gone.mp4", ["catchfish"], 2.0),
    ]
    posts = write_posts(tmp_path / "posts.parquet", rows)
    matches = match_posts(posts, SEEDS, min_videos=2, seed=0, is_present=lambda video: video != "gone.mp4")
    assert rules(matches) == {
        "the video has a name": (15, 13),
        "the duration is a positive number of seconds, or the post is a picture": (13, 9),
        "the duration is at most 86400 seconds": (9, 9),
        "the first post of each video": (9, 8),
        "no more than 200 bytes long": (10, 10),
        "at least one tag with a letter": (8, 5),
        "a tag is a hashtag of a seed label": (5, 4),
        "the file of the video exists": (4, 3),
        "labels with at least 2 videos": (3, 1),
        "videos of labels with at least 2 videos": (3, 2),
    }
    assert [rule.dropped for rule in matches.report.rules] == [2, 4, 0, 1, 0, 3, 1, 1, 2, 1]
    assert labels_of(matches) == {"a.mp4": ["catching a fish"], "b.mp4": ["catching a fish"]}
    assert matches.videos.column("duration_seconds").to_pylist() == [3.0, 5.0]
    found = {label.name: (label.num_videos, label.num_assigned, label.kept) for label in matches.report.labels}
    assert found == {
        "catching a fish": (2, 2, True),
        "riding a bike": (1, 0, False),
        "juggling balls": (0, 0, False),
    }


def test_captions_are_read_where_there_are_no_tags(tmp_path: Path) -> None:
    table = {"video": ["a", "b", "c"], "text": ["Wow #CatchFish!", None, "catchfish"], "duration_seconds": [1, 2, 3]}
    pq.write_table(pa.table(table), tmp_path / "posts.parquet")
    assert labels_of(match_posts(tmp_path / "posts.parquet", SEEDS, min_videos=1, seed=0)) == {"a": ["catching a fish"]}


def test_tags_and_captions_are_joined(tmp_path: Path) -> None:
    posts = write_posts(
        tmp_path / "posts.parquet", [("a", ["fun"], 1.0), ("b", ["bikeriding"], 1.0)], text=["#catchfish", None]
    )
    expected = {"a": ["catching a fish"], "b": ["riding a bike"]}
    assert labels_of(match_posts(posts, SEEDS, min_videos=1, seed=0)) == expected


def both(count: int) -> list[Post]:
    return [(f"v{i}.mp4", ["catchfish", "ridebike"], 4.0) for i in range(count)]


def test_one_label_per_video_depends_on_seed_and_video_alone(tmp_path: Path) -> None:
    posts = write_posts(tmp_path / "posts.parquet", both(200))
    backwards = write_posts(tmp_path / "backwards.parquet", both(200)[::-1])
    first = labels_of(match_posts(posts, SEEDS, seed=1))
    assert labels_of(match_posts(backwards, SEEDS, seed=1)) == first
    assert labels_of(match_posts(write_posts(tmp_path / "few.parquet", both(60)), SEEDS, seed=1)) == {
        video: label for video, label in first.items() if int(video[1:-4]) < 60
    }
    other = labels_of(match_posts(posts, SEEDS, seed=2))
    assert all(len(label) == 1 for label in first.values())
    num_fish = sum(label == ["catching a fish"] for label in first.values())
    assert 70 < num_fish < 130  # a fair coin: 100 +- 4 standard deviations
    assert 60 < sum(first[v] != other[v] for v in first) < 140


def test_however_few_videos_are_read_together_the_result_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = both(60) + many("fish", "catchfish", 50) + many("ball", "juggleball", 5)
    posts = write_posts(tmp_path / "posts.parquet", rows)

    def matched() -> list[Matches]:
        present = [match_posts(posts, SEEDS, seed=1, all_labels=every, is_present=is_here) for every in (False, True)]
        return [*present, match_posts(posts, SEEDS, seed=1)]

    def is_here(video: str) -> bool:
        return not video.endswith("3.mp4")

    at_once = matched()
    monkeypatch.setattr("tubelet.corpus.stored.ROWS", 7)
    for whole, parts in zip(at_once, matched(), strict=True):
        assert parts.videos.combine_chunks().equals(whole.videos.combine_chunks())
        assert parts.report == whole.report


def test_training_on_one_label_draws_as_matching_does(tmp_path: Path) -> None:
    posts = write_posts(tmp_path / "posts.parquet", both(60))
    matched = labels_of(match_posts(posts, SEEDS, seed=1))
    for video, names in labels_of(match_posts(posts, SEEDS, seed=1, all_labels=True)).items():
        assert [names[one_of(names, seed=1, video=video)]] == matched[video]
        assert [names[::-1][one_of(names[::-1], seed=1, video=video)]] == matched[video]


def test_all_labels_may_be_kept(tmp_path: Path) -> None:
    posts = write_posts(tmp_path / "posts.parquet", both(60))
    matches = match_posts(posts, SEEDS, seed=1, all_labels=True)
    assert labels_of(matches)["v0.mp4"] == ["catching a fish", "riding a bike"]
    assert matches.report.num_videos_several_labels == 60


def test_hashtags_of_several_labels_are_counted(tmp_path: Path) -> None:
    space = LabelSpace(name="seeds", names=("passing ball (in game)", "passing ball (not in game)"))
    posts = write_posts(tmp_path / "posts.parquet", many("v", "passball", 3))
    report = match_posts(posts, expand_labels(space), min_videos=1, seed=0).report
    assert report.num_ambiguous_hashtags == 12  # pass, passing, passes x ball, balls, in both orders
    assert [label.num_videos for label in report.labels] == [3, 3]
    assert sum(label.num_assigned for label in report.labels) == 3


def test_a_file_name_is_not_a_pattern(tmp_path: Path) -> None:
    posts = write_posts(tmp_path / "po[st]s'.parquet", many("v", "catchfish", 2))
    assert len(labels_of(match_posts(posts, SEEDS, min_videos=1, seed=0))) == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tags": [["a"]], "duration_seconds": [1.0]}, r"posts.parquet: no column 'video'; it has"),
        ({"video": ["a"], "tags": [["a"]]}, "no column 'duration_seconds'"),
        ({"video": ["a"], "duration_seconds": [1.0]}, "no column 'tags'"),
        ({"video": ["a"], "tags": ["a b"], "duration_seconds": [1.0]}, "'tags' holds string, expected list<string>"),
        ({"video": [1], "tags": [["a"]], "duration_seconds": [1.0]}, "'video' holds int64, expected string"),
        ({"video": ["a"], "tags": [["a"]], "duration_seconds": ["1"]}, "'duration_seconds' holds string"),
    ],
)
def test_a_wrong_column_is_named(tmp_path: Path, columns: dict[str, list[object]], message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "posts.parquet")
    with pytest.raises(InputError, match=message):
        match_posts(tmp_path / "posts.parquet", SEEDS, seed=0)


def test_a_file_that_is_no_parquet_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "posts.parquet").write_text("video,tags\n")
    for name, problem in (("posts.parquet", "not a parquet file"), ("absent.parquet", "no such file")):
        with pytest.raises(InputError, match=f"{name}: {problem}") as caught:
            match_posts(tmp_path / name, SEEDS, seed=0)
        assert "\n" not in str(caught.value)


def test_no_label_left_says_where_the_videos_went(tmp_path: Path) -> None:
    posts = write_posts(tmp_path / "posts.parquet", many("v", "catchfish", 3))
    with pytest.raises(
        InputError, match=r"no label has 50 videos, the largest is 'catching a fish' with 3 \("
    ) as caught:
        match_posts(posts, SEEDS, seed=0)
    assert "a tag is a hashtag of a seed label: 3 of 3 videos" in str(caught.value)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder with the (empty) files of 40 + 20 videos; posts name two more that are not there."""
    folder = tmp_path / "media"
    folder.mkdir()
    rows = many("fish", "catchfish", 40) + many("bike", "#BikeRide", 20)
    for video, _, _ in rows:
        (folder / str(video)).touch()
    rows += [("lost1.mp4", ["catchfish"], 1.0), ("lost2.mp4", ["catchfish"], 1.0)]
    write_posts(tmp_path / "posts.parquet", rows, true_label=[f"secret {i}" for i in range(len(rows))])
    return folder


def test_build_writes_a_manifest_and_where_it_comes_from(tmp_path: Path, media: Path) -> None:
    manifest = build_corpus(
        tmp_path / "posts.parquet", SPACE, tmp_path / "set", media_root=media, min_videos=20, val_share=0.2
    )
    again = read_manifest(tmp_path / "set")
    assert (again.name, again.kind, again.multi_label) == ("posts", "classify", False)
    assert again.label_space.names == ("catching a fish", "riding a bike")
    rows = again.clips.to_pylist()
    assert len(rows) == 60
    assert resolve_media(manifest.media_root, rows[0]["video"]).location == str(media / rows[0]["video"])
    assert {r["video"][:4]: r["labels"] for r in rows} == {"fish": [0], "bike": [1]}
    assert {(r["start_seconds"], r["end_seconds"]) for r in rows} == {(0.0, 4.0)}
    assert 4 <= sum(r["split"] == "val" for r in rows) <= 22

    report = json.loads((tmp_path / "set/report.json").read_text())
    assert report["settings"] == {
        "min_videos": 20,
        "seed": 0,
        "all_labels": False,
        "val_share": 0.2,
        "max_seconds": 86400.0,
        "targets": [],
        "dedup": "none",
        "mirrored": False,
        "within": False,
        "video_seconds": 600.0,
    }
    assert report["num_videos"]["train"] + report["num_videos"]["val"] == 60
    dropped = {rule["rule"]: rule["dropped"] for rule in report["rules"]}
    assert dropped["the file of the video exists"] == 2
    assert "secret" not in (tmp_path / "set/report.json").read_text()


def test_a_folder_that_holds_both_can_be_moved(tmp_path: Path, media: Path) -> None:
    build_corpus(tmp_path / "posts.parquet", SPACE, tmp_path / "set", media_root=media, min_videos=20)
    tmp_path.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    moved = read_manifest(tmp_path.with_name(tmp_path.name + "-moved") / "set")
    assert (moved.media_root / "fish0.mp4").is_file()


def test_a_split_is_a_function_of_the_video(tmp_path: Path, media: Path) -> None:
    def splits(name: str, min_videos: int) -> dict[str, str]:
        manifest = build_corpus(
            tmp_path / "posts.parquet", SPACE, tmp_path / name, media_root=media, min_videos=min_videos
        )
        return {row["video"]: row["split"] for row in manifest.clips.to_pylist()}

    everything, only_fish = splits("a", 20), splits("b", 30)
    assert len(only_fish) == 40
    assert sum(everything[video] != split for video, split in only_fish.items()) <= 1  # "at least one is val"
    assert "val" in only_fish.values()


def test_all_labels_make_a_multi_label_set(tmp_path: Path, media: Path) -> None:
    rows = [(f"fish{i}.mp4", ["catchfish", "ridebike"], 4.0) for i in range(30)]
    posts = write_posts(tmp_path / "both.parquet", rows)
    out = tmp_path / "set"
    manifest = build_corpus(posts, SPACE, out, media_root=media, min_videos=5, all_labels=True)
    assert manifest.multi_label
    assert manifest.clips.column("labels").to_pylist() == [[0, 1]] * 30


def test_bad_arguments_are_named_and_leave_nothing(tmp_path: Path, media: Path) -> None:
    posts, out = tmp_path / "posts.parquet", tmp_path / "set"
    with pytest.raises(InputError, match="nowhere: no such folder"):
        build_corpus(posts, SPACE, out, media_root=tmp_path / "nowhere")
    with pytest.raises(InputError, match="no label has 50 videos"):
        build_corpus(posts, SPACE, out, media_root=media)
    with pytest.raises(InputError, match="val_share"):
        build_corpus(posts, SPACE, out, media_root=media, val_share=1.0)
    assert not out.exists()


def test_a_video_outside_the_media_root_is_counted_and_stops_nothing(tmp_path: Path, media: Path) -> None:
    (tmp_path / "secret.mp4").touch()
    bad = ["../secret.mp4", str(tmp_path / "secret.mp4"), "http://a/b.mp4", "nul\0.mp4", "x" * 5000, "."]
    good = ["https://a/b.mp4", "s3://a/b.mp4"]
    rows: list[Post] = [(name, ["catchfish"], 2.0) for name in bad + good] + many("fish", "catchfish", 40)
    manifest = build_corpus(
        write_posts(tmp_path / "wild.parquet", rows), SPACE, tmp_path / "set", media_root=media, min_videos=5
    )
    assert sorted(set(manifest.clips.column("video").to_pylist()) - {f"fish{i}.mp4" for i in range(40)}) == good
    report = json.loads((tmp_path / "set/report.json").read_text())
    dropped = {rule["rule"]: rule["dropped"] for rule in report["rules"]}
    assert dropped["the file of the video exists"] == len(bad)
