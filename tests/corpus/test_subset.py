"""Subsets: exact, nested, the same whatever the order of rows, and every step counted."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numbered_video import number_of, write_numbered
from PIL import Image

from tubelet.corpus.choose import (
    draw,
    proportional_order,
    random_order,
    rarest_label,
    tail_preserving_order,
    water_level,
    within_hours,
)
from tubelet.corpus.subset import SubsetRules, label_counts, length_manifests, subset_manifest
from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace
from tubelet.types import InputError, Preprocess

SPACE = LabelSpace(name="tags", names=("head", "middle", "tail", "rare"), ids=(5, 6, 7, 8))
COUNTS = (200, 40, 10, 3)


def make(folder: Path, rows: list[dict[str, Any]], *, multi_label: bool = False) -> Manifest:
    return write_manifest(
        folder,
        name="posts",
        kind="classify",
        multi_label=multi_label,
        label_space=SPACE,
        media_root=folder,
        licence="none",
        source="test",
        clips=rows,
    )


def row(name: str, *labels: int, seconds: float = 10.0, split: str = "train", start: float = 0.0) -> dict[str, Any]:
    return {
        "clip_id": name,
        "video": name,
        "start_seconds": start,
        "end_seconds": start + seconds,
        "split": split,
        "labels": list(labels),
    }


@pytest.fixture
def source(tmp_path: Path) -> Manifest:
    rows = [row(f"{k}-{i}.mp4", k) for k, count in enumerate(COUNTS) for i in range(count)]
    rows += [row(f"val-{k}.mp4", k, split="val") for k in range(4)]
    return make(tmp_path / "all", rows)


def clip_ids(manifest: Manifest, split: str = "train") -> set[str]:
    clips = manifest.clips
    return set(clips.filter(pc.equal(clips.column("split"), split)).column("clip_id").to_pylist())


def test_a_draw_is_half_of_an_md5_of_seed_what_and_name() -> None:

    expected = hashlib.md5(b"7\x1fclip\x1fa.mp4").digest()
    (number,) = draw(pa.array(["a.mp4"]), 7, "clip").tolist()
    assert number in (int.from_bytes(expected[:8], order) for order in ("little", "big")) or number in (
        int.from_bytes(expected[8:], order) for order in ("little", "big")
    )
    assert draw(pa.array(["a.mp4"]), 8, "clip").tolist() != [number]
    assert draw(pa.array(["b", "a.mp4"]), 7, "clip").tolist()[1] == number


def test_the_water_level_gives_exactly_n() -> None:
    counts, label_drawn = np.array([200, 40, 10, 3]), np.array([9, 1, 5, 7], dtype=np.uint64)
    # 100: the tail is whole (10 + 3), and 87 = 40 + 47 are left: middle whole, head capped at 47.
    assert water_level(counts, 100, label_drawn).tolist() == [47, 40, 10, 3]
    # 34: at a level of 10 there are 33; one more goes to middle, whose draw is the smallest.
    assert water_level(counts, 34, label_drawn).tolist() == [10, 11, 10, 3]
    assert water_level(counts, 0, label_drawn).tolist() == [0, 0, 0, 0]
    assert water_level(counts, 253, label_drawn).tolist() == [200, 40, 10, 3]


def test_the_tail_preserving_order_is_the_water_level_everywhere() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 120, p=[0.7, 0.2, 0.08, 0.02])
    drawn, label_drawn = (rng.integers(0, 2**63, n).astype(np.uint64) for n in (120, 4))
    order = tail_preserving_order(labels, drawn, label_drawn)
    counts = np.bincount(labels, minlength=4)
    for number in range(121):
        found = np.bincount(labels[order[:number]], minlength=4)
        assert found.tolist() == water_level(counts, number, label_drawn).tolist()
    # Of each label those with the smallest draw come first.
    for k in range(4):
        mine = order[labels[order] == k]
        assert (np.diff(drawn[mine].astype(float)) >= 0).all()


def test_the_proportional_order_keeps_shares_to_within_one_clip() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [70, 25, 5])
    order = proportional_order(labels, rng.integers(0, 99, 100).astype(np.uint64), np.arange(3, dtype=np.uint64))
    for number in range(1, 101):
        found = np.bincount(labels[order[:number]], minlength=3)
        assert (np.abs(found - number * np.array([0.7, 0.25, 0.05])) <= 1).all()


def test_the_rarest_label_stands_for_a_clip_with_several() -> None:
    lists = pa.array([[0, 1], [0], [1, 2], [0, 1], [2, 1]], pa.list_(pa.int32()))
    # Labels 0, 1 and 2 come 3, 4 and 2 times.
    assert rarest_label(lists, 3).tolist() == [0, 0, 2, 0, 2]
    assert rarest_label(lists.slice(2), 3).tolist() == [2, 0, 2]


def test_hours_are_not_exceeded() -> None:
    seconds = np.array([1800.0, 1800.0, 60.0])
    assert [within_hours(seconds, hours) for hours in (0.4, 0.5, 1.0, 1.01, 2.0)] == [0, 1, 2, 2, 3]


def test_random_order_is_the_order_of_the_draw() -> None:
    assert random_order(np.array([5, 1, 3], dtype=np.uint64)).tolist() == [1, 2, 0]


@pytest.mark.parametrize("sampling", ["random", "tail"])
def test_subsets_are_exact_nested_and_keep_the_other_splits(source: Manifest, tmp_path: Path, sampling: Any) -> None:
    before: set[str] = set()
    for number in (17, 60, 61, 253):
        made = subset_manifest(
            source, tmp_path / f"{number}", SubsetRules(num_videos=number, sampling=sampling, seed=3)
        )
        assert len(clip_ids(made)) == number
        assert before < clip_ids(made)
        assert clip_ids(made, "val") == clip_ids(source, "val")
        before = clip_ids(made)
    other = subset_manifest(source, tmp_path / "other", SubsetRules(num_videos=60, sampling=sampling, seed=4))
    assert clip_ids(other) != clip_ids(read_manifest(tmp_path / "60"))


def test_the_tail_stays_whole(source: Manifest, tmp_path: Path) -> None:
    made = subset_manifest(source, tmp_path / "tail", SubsetRules(num_videos=100, sampling="tail"))
    assert label_counts(made) == [47, 40, 10, 3]


def test_a_subset_says_how_it_was_made(source: Manifest, tmp_path: Path) -> None:
    subset_manifest(source, tmp_path / "a", SubsetRules(num_videos=100, seed=3))
    subset_manifest(read_manifest(tmp_path / "a"), tmp_path / "b", SubsetRules(num_labels=2, seed=3))
    report = json.loads((tmp_path / "b/report.json").read_text())
    assert report["settings"]["num_labels"] == 2
    assert report["settings"]["max_seconds"] is None
    assert report["input"]["report"]["settings"]["num_videos"] == 100
    assert len(report["input"]["clips_sha256"]) == 64
    rules = {(rule["rule"], rule["unit"]): (rule["before"], rule["after"]) for rule in report["rules"]}
    assert rules["drawn at random", "labels"] == (4, 2)
    assert rules["clips of these labels", "clips"][0] == 104
    clips = report["input"]["report"]["rules"][0]
    assert (clips["before"], clips["after"], clips["dropped"]) == (257, 104, 153)


def test_labels_are_nested_and_keep_their_names_and_ids(source: Manifest, tmp_path: Path) -> None:
    spaces = []
    for number in (1, 2, 3, 4):
        made = subset_manifest(source, tmp_path / f"{number}", SubsetRules(num_labels=number, seed=1))
        spaces.append(set(made.label_space.names))
        for clip in made.clips.to_pylist():
            old = SPACE.names[int(clip["clip_id"].removeprefix("val-")[0])]
            assert [made.label_space.names[k] for k in clip["labels"]] == [old]
        assert [SPACE.ids[SPACE.index(name)] for name in made.label_space.names] == list(made.label_space.ids)
    assert all(a < b for a, b in itertools.pairwise(spaces))


def test_mirror_images_are_kept_with_both_labels(tmp_path: Path) -> None:
    space = LabelSpace(name="sides", names=("a", "b", "c"), mirrored=(1, 0, 2))
    rows = [row(f"{k}-{i}", k) for k in range(3) for i in range(2)]
    source = write_manifest(
        tmp_path / "all",
        name="sides",
        kind="classify",
        multi_label=False,
        label_space=space,
        media_root=tmp_path,
        licence="none",
        source="test",
        clips=rows,
    )
    found = set()
    for seed in range(12):
        kept = subset_manifest(source, tmp_path / f"{seed}", SubsetRules(num_labels=2, seed=seed)).label_space
        found.add((kept.names, kept.mirrored))
    assert found == {(("a", "b"), (1, 0)), (("a", "c"), ()), (("b", "c"), ())}


def test_a_clip_with_several_labels_keeps_those_that_stay(tmp_path: Path) -> None:
    rows = [row("a", 0, 1, 2, 3), row("b", 0), row("c", 1), row("d", 2), row("e", 3)]
    source = make(tmp_path / "all", rows, multi_label=True)
    made = subset_manifest(source, tmp_path / "two", SubsetRules(num_labels=2))
    assert {clip["clip_id"]: len(clip["labels"]) for clip in made.clips.to_pylist()}["a"] == 2
    assert made.clips.num_rows == 3


def test_hours_and_length(tmp_path: Path) -> None:
    rows = [row(f"{i}.mp4", i % 4, seconds=36.0 + i % 3) for i in range(120)] + [row("v.mp4", 0, split="val")]
    source = make(tmp_path / "all", rows)
    made = subset_manifest(source, tmp_path / "hour", SubsetRules(hours=0.5))
    hours = json.loads((tmp_path / "hour/report.json").read_text())["hours"]
    assert 0.5 - 38 / 3600 < hours <= 0.5
    longer = subset_manifest(source, tmp_path / "more", SubsetRules(hours=0.75))
    assert clip_ids(made) < clip_ids(longer)
    exact = subset_manifest(source, tmp_path / "length", SubsetRules(min_seconds=37, max_seconds=37))
    assert len(clip_ids(exact)) == 40


def test_short_and_long_sets_differ_in_length_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [row(f"s{i}.mp4", int(rng.integers(3)), seconds=float(rng.uniform(1, 5)), start=7.0) for i in range(300)]
    rows += [row(f"l{i}.mp4", int(rng.integers(3)), seconds=float(rng.uniform(55, 60))) for i in range(150)]
    rows += [row(f"m{i}.mp4", 0, seconds=20.0) for i in range(50)] + [row("v.mp4", 3, split="val")]
    made = length_manifests(make(tmp_path / "all", rows), tmp_path / "out", num_videos=100, seed=2)
    assert list(made) == ["short", "long", "long-center", "long-hours"]
    for manifest in made.values():
        assert manifest.label_space == SPACE
        assert clip_ids(manifest, "val") == {"v.mp4"}
    assert label_counts(made["short"]) == label_counts(made["long"]) == label_counts(made["long-center"])
    assert sum(label_counts(made["short"])) == 100
    assert clip_ids(made["long-center"]) == clip_ids(made["long"])
    long = {clip["clip_id"]: clip for clip in made["long"].clips.to_pylist()}
    for clip in made["long-center"].clips.to_pylist():
        if clip["split"] == "train":
            assert clip["end_seconds"] - clip["start_seconds"] == pytest.approx(4.0)
            assert clip["start_seconds"] + clip["end_seconds"] == pytest.approx(long[clip["clip_id"]]["end_seconds"])
    hours = {name: json.loads((tmp_path / f"out/{name}/report.json").read_text())["hours"] for name in made}
    assert hours["short"] - 60 / 3600 < hours["long-hours"] <= hours["short"]
    assert clip_ids(made["long-hours"]) < clip_ids(made["long"])
    with pytest.raises(InputError, match=r"at most 1\d\d can be had \(short 300, long 150"):
        length_manifests(read_manifest(tmp_path / "all"), tmp_path / "no", num_videos=200)


def test_frames_and_pictures_are_clips_that_training_reads(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    write_numbered(folder / "v.mp4", num_frames=50, fps=25)
    Image.new("RGB", (64, 48), (250, 0, 0)).save(folder / "p.png")
    source = make(folder, [row("v.mp4", 0, seconds=2.0), row("p.png", 1, seconds=0.0)])
    only = subset_manifest(source, tmp_path / "p", SubsetRules(media="pictures"))
    assert clip_ids(only) == {"p.png"}
    videos = subset_manifest(source, tmp_path / "v", SubsetRules(media="videos", frame="centre"))
    (clip,) = videos.clips.to_pylist()
    assert (clip["start_seconds"], clip["end_seconds"]) == (1.0, 1.0)
    drawn = subset_manifest(source, tmp_path / "r", SubsetRules(media="videos", frame="random", seed=5))
    assert 0 <= drawn.clips.to_pylist()[0]["start_seconds"] < 2
    preprocess = Preprocess(size=160, num_frames=1, frame_stride=1, fps=25.0)
    frame = ClipDataset(videos, "train", preprocess=preprocess, augment=None).sample(0, 0).frames[0]
    # Letterboxed: the frame's 96 rows begin at row 32. A second lies between the frames 24 and 25.
    assert number_of(frame[:, 32:128]) in (24, 25)
    red = ClipDataset(only, "train", preprocess=preprocess, augment=None).sample(0, 0).frames[0]
    assert red[:, 80, 80].tolist() == [250, 0, 0]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"num_videos": 1000}, "1000 training clips were asked for, the rules before leave 253"),
        ({"num_labels": 9}, "9 labels were asked for, the label space has 4"),
        ({"hours": 99}, "99 hours were asked for, the training clips last 0.7028 hours"),
        ({"num_videos": 3, "hours": 1}, "give one of num_videos and hours"),
        ({"num_videos": 0}, "num_videos is 0, expected more than 0"),
        ({"min_seconds": 5, "max_seconds": 1}, "clips of 5 to 1 seconds"),
        ({"min_seconds": 500}, "no training clip is left .training clips from 500 to inf seconds long: 4 of 257 clips"),
    ],
)
def test_what_cannot_be_had_is_one_line(source: Manifest, tmp_path: Path, rules: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        subset_manifest(source, tmp_path / "out", SubsetRules(**rules))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
