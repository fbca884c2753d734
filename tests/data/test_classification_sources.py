"""Quirks of the classification sets' files, each by hand."""

import csv
import json
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layout_builder import SECONDS, Builder, write_video
from PIL import Image
from published_layouts import LAYOUTS

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import PACKAGED, packaged_label_space, read_classes
from tubelet.data.sources.importers import IMPORTERS
from tubelet.data.sources.media_folder import MediaFolder
from tubelet.labels import mirror_columns
from tubelet.types import InputError


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("short") / "video.mp4")


@pytest.fixture
def build(tmp_path: Path, video: Path) -> Builder:
    return Builder(tmp_path, video)


def run(build: Builder, source: str, **options: Any) -> Manifest:
    return IMPORTERS[source](out=build.folder / "manifest", **options)


def labelled(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    names = manifest.label_space.names
    return {row["clip_id"]: tuple(names[k] for k in row["labels"]) for row in manifest.clips.to_pylist()}


def test_an_unreadable_video_is_left_out_and_counted(build: Builder) -> None:
    layout = LAYOUTS["moments"](build)
    build.text("media/training/clapping/yt-1_2.mp4", "not a video")
    manifest = run(build, "moments", **layout.options)
    assert (manifest.counts["videos_unreadable"], manifest.counts["clips_unreadable"]) == (1, 1)
    assert set(labelled(manifest)) == {"training/praying/flickr-9", "validation/clapping/yt-1_2"}


def test_kinetics_whole_videos_are_cut_and_trimmed_ones_are_not(build: Builder) -> None:
    write_video(build.folder / "media" / "whole.mp4", frames=50)  # 5 s
    build.videos("trimmed.mp4", "short_000001_000002.mp4")
    rows = (
        "abseiling,whole,1,2,train\nabseiling,trimmed,3,4,train\nabseiling,short,1,2,train\nabseiling,whole,4,9,val\n"
    )
    path = build.text("k.csv", "label,youtube_id,time_start,time_end,split\n" + rows)
    manifest = run(build, "kinetics", annotations=[path], media_root=build.folder / "media", classes="600")
    times = {row["clip_id"]: (row["start_seconds"], row["end_seconds"]) for row in manifest.clips.to_pylist()}
    assert times == {
        "whole_000001_000002": (1.0, 2.0),
        "trimmed_000003_000004": (0.0, pytest.approx(SECONDS)),
        "short_000001_000002": (0.0, pytest.approx(SECONDS)),
        "whole_000004_000009": (0.0, pytest.approx(5.0)),  # five seconds long, as its clip: not a whole video
    }
    assert manifest.counts["clips_cut_from_whole_videos"] == 1
    assert len(manifest.label_space) == 600


def test_kinetics_can_keep_creative_commons_only(build: Builder) -> None:
    options = LAYOUTS["kinetics"](build).options | {"only_cc": True}
    manifest = run(build, "kinetics", **options | {"annotations": options["annotations"][:1]})
    assert set(labelled(manifest)) == {"-bbbbbbbbb__000000_000010"}
    assert manifest.counts["rows_not_cc"] == 2


def test_moments_votes_as_an_independent_reader_counts_them(build: Builder) -> None:
    rng = np.random.default_rng(0)
    categories = ["clapping", "praying", "dropping"]
    rows = [
        [f"{c}/v{i}.mp4", c, int(rng.integers(0, 5)), int(rng.integers(0, 5))]
        for i in range(60)
        for c in [categories[int(rng.integers(3))]]
    ]
    path = build.folder / "trainingSet.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    media = build.videos(*(f"training/{row[0]}" for row in rows))
    for least in (0.0, 0.5, 0.75):
        manifest = run(build, "moments", train=path, media_root=media, min_agreement=least)
        # The label as MMAction2's preparation takes it (the folder), the votes by exact fractions.
        expected = {
            f"training/{name[:-4]}": (name.split("/")[0],)
            for name, _, yes, no in rows
            if yes + no == 0 or yes >= least * (yes + no)
        }
        assert labelled(manifest) == expected
        assert manifest.counts["rows_below_agreement"] == 60 - len(expected)
    assert 0 < len(expected) < 60


def test_moments_categories_are_in_the_order_of_their_index(build: Builder) -> None:
    options = LAYOUTS["moments"](build).options
    categories = build.text("moments_categories.txt", "praying,1\nclapping,0\n")
    manifest = run(build, "moments", **options, categories=categories)
    assert manifest.label_space.names == ("clapping", "praying")


@pytest.mark.parametrize("source", ["moments", "multi-moments"])
def test_a_missing_training_video_of_moments_is_not_the_validation_video_of_its_name(
    build: Builder, source: str
) -> None:
    label = "clapping" if source == "moments" else "0"
    train = build.text("train.csv", f"clapping/a.mp4,{label}\nclapping/b.mp4,{label}\n")
    val = build.text("val.csv", f"clapping/a.mp4,{label}\n")
    media = build.videos("validation/clapping/a.mp4", "training/clapping/b.mp4")
    manifest = run(build, source, train=train, val=val, media_root=media)
    assert set(manifest.clips.column("video").to_pylist()) == {"validation/clapping/a.mp4", "training/clapping/b.mp4"}
    assert (manifest.counts["clips_without_video"], manifest.counts["videos_missing"]) == (1, 1)
    half = run(build, source, train=train, val=val, media_root=build.videos() / "validation")
    assert half.counts["clips_train"] == half.counts["clips_val"] == 1  # what lies in neither folder has one name


def test_something_v2_templates_as_an_independent_reader_takes_them(build: Builder) -> None:
    templates = packaged_label_space("something_v2").names
    # The published spelling: placeholders in brackets in the items, none in labels.json, numbers as text.
    numbers = {template: str(173 - k) for k, template in enumerate(templates)}
    items = []
    for k, template in enumerate(templates):
        spelt = re.sub(r"\b([Ss]omething)\b", r"[\1]", template)
        items.append({"id": str(1000 + k), "label": f"sentence {k}", "template": spelt, "placeholders": []})
    train = build.text("train.json", json.dumps(items))
    labels = build.text("labels.json", json.dumps(numbers))
    media = build.videos(*(f"{item['id']}.webm" for item in items))
    manifest = run(build, "something-v2", train=train, labels=labels, media_root=media)
    columns = {row["clip_id"]: row["labels"][0] for row in manifest.clips.to_pylist()}
    # MMAction2's and PySlowFast's rule, written anew.
    known = json.loads(labels.read_text())
    expected = {item["id"]: int(known["".join(ch for ch in item["template"] if ch not in "[]")]) for item in items}
    assert columns == expected
    swapped = [(k, j) for k, j in enumerate(mirror_columns(manifest.label_space)) if k < j]
    assert len(swapped) == 3


@pytest.mark.parametrize("name", ["something_v1", "something_v2"])
def test_the_directions_of_something_something(name: str) -> None:
    space = packaged_label_space(name)
    pairs = {space.names[k]: space.names[j] for k, j in enumerate(mirror_columns(space)) if k != j}
    assert pairs == {
        a: b
        for left, right in (
            ("Pushing something from left to right", "Pushing something from right to left"),
            ("Pulling something from left to right", "Pulling something from right to left"),
            (
                "Turning the camera left while filming something",
                "Turning the camera right while filming something",
            ),
        )
        for a, b in ((left, right), (right, left))
    }


SIZES = {
    "hmdb51": 51,
    "kinetics400": 400,
    "kinetics600": 600,
    "kinetics700": 700,
    "moments_in_time": 339,
    "multi_moments": 313,
    "something_v1": 174,
    "something_v2": 174,
    "sports1m": 487,
    "ucf101": 101,
}


def test_packaged_label_spaces() -> None:
    assert set(SIZES) <= set(PACKAGED)
    assert {name: len(packaged_label_space(name)) for name in SIZES} == SIZES
    ucf = packaged_label_space("ucf101")
    assert (ucf.published_ids, ucf.names[0]) == (tuple(range(1, 102)), "ApplyEyeMakeup")
    assert packaged_label_space("something_v2").names[173] == "Wiping something off of something"
    assert packaged_label_space("kinetics400").names[399] == "zumba"
    with pytest.raises(InputError, match="no label space 'kinetics40'; did you mean 'kinetics400'"):
        read_classes("kinetics40")


def test_something_v1_frames_are_clips_at_12_per_second(build: Builder) -> None:
    for number in (7, 8):
        folder = build.folder / "frames" / str(number)
        folder.mkdir(parents=True)
        for k in range(1, 25):
            Image.new("RGB", (16, 12)).save(folder / f"{k:05d}.jpg")
    train = build.text("train.csv", "7;Holding something\n8;Unfolding something\n9;Holding something\n")
    manifest = run(build, "something-v1", train=train, media_root=build.folder / "frames")
    rows = manifest.clips.to_pylist()
    assert [(r["video"], r["fps"], r["start_seconds"], r["end_seconds"]) for r in rows] == [
        ("7", 12.0, 0.0, 2.0),
        ("8", 12.0, 0.0, 2.0),
    ]
    assert manifest.counts["videos_missing"] == 1
    with pytest.raises(InputError, match="frames/7: frames without a rate; expected frames_fps"):
        run(build, "something-v1", train=train, media_root=build.folder / "frames", frames_fps=0.0)


def test_epic_frames_have_the_rate_of_their_year(build: Builder) -> None:
    options = LAYOUTS["epic100"](build).options
    media = build.folder / "frames"
    for name in ("P01_101", "P02_1"):
        (media / name).mkdir(parents=True)
        Image.new("RGB", (16, 12)).save(media / name / "frame_0000000001.jpg")
    picture = media / "P02_1" / "frame_0000000001.jpg"
    with tarfile.open(media / "P01_11.tar", "w") as tar:
        tar.add(picture, arcname="frame_0000000001.jpg")
    manifest = run(build, "epic100", **options | {"media_root": media})
    assert {row["video"]: row["fps"] for row in manifest.clips.to_pylist()} == {
        "P01_101": 50.0,
        "P01_11.tar": 60.0,
        "P02_1": 60.0,
    }


def test_epic_nouns_verbs_and_actions_are_three_label_spaces(build: Builder) -> None:
    options = LAYOUTS["epic55"](build).options
    spaces = {}
    for target in ("verb", "noun", "action"):
        manifest = run(build, "epic55", **options | {"target": target})
        spaces[target] = manifest.label_space.names
        assert labelled(manifest)["P01_01_0"] == ({"verb": "open", "noun": "door", "action": "open door"}[target],)
    assert spaces == {"verb": ("take", "open"), "noun": ("cup", "door"), "action": ("take cup", "open door")}
    whole = run(build, "epic55", **options | {"unseen_validation": False})
    assert (whole.counts["clips_train"], whole.counts.get("clips_val")) == (3, None)


def test_ucf101_and_hmdb51_have_three_splits(build: Builder) -> None:
    options = LAYOUTS["hmdb51"](build).options
    second = run(build, "hmdb51", **options | {"fold": "2"})
    assert second.clips.column("split").to_pylist() == ["test"]
    with pytest.raises(InputError, match=r"splits: no files; expected one like brush_hair_test_split3\.txt"):
        run(build, "hmdb51", **options | {"fold": "3"})
    options = LAYOUTS["ucf101"](build).options
    with pytest.raises(InputError, match=r"trainlist03\.txt: cannot be read"):
        run(build, "ucf101", **options | {"fold": "3"})


def test_class_folders_without_splits_hold_out_a_share_that_stays(build: Builder) -> None:
    names = [f"{'sit' if k % 2 else 'stand'}/{k}.mp4" for k in range(60)]
    media = build.videos(*names)
    first = run(build, "class-folders", media_root=media, val_share=0.3)
    held_out = {r["video"] for r in first.clips.to_pylist() if r["split"] == "val"}
    assert 8 <= len(held_out) <= 28
    build.videos("stand/new.mp4")
    second = run(build, "class-folders", media_root=media, val_share=0.3)
    assert {r["video"] for r in second.clips.to_pylist() if r["split"] == "val"} - {"stand/new.mp4"} == held_out
    with pytest.raises(InputError, match="val_share must be in"):
        run(build, "class-folders", media_root=media, val_share=1.0)


def test_videos_beside_split_folders_do_not_make_the_splits_classes(build: Builder) -> None:
    media = build.videos("intro.mp4", "train/run/a.mp4", "train/walk/b.mp4", "val/run/c.mp4", "val/walk/d.mp4")
    manifest = run(build, "class-folders", media_root=media)
    assert manifest.label_space.names == ("run", "walk")
    assert (manifest.counts["clips_val"], manifest.counts["videos_outside_class_folders"]) == (2, 1)
    build.videos("extras/e.mp4")
    told = r"media: 'train', 'val' beside 'extras'; expected folders that are all splits \(train, .*\) or all classes"
    with pytest.raises(InputError, match=told):
        run(build, "class-folders", media_root=media)


def test_class_folders_can_be_the_classes_of_a_published_set(build: Builder) -> None:
    media = build.videos("train/air_drumming/a.mp4", "val/abseiling/b.mp4")
    manifest = run(build, "class-folders", media_root=media, labels="kinetics400")
    assert labelled(manifest) == {"train/air_drumming/a": ("air drumming",), "val/abseiling/b": ("abseiling",)}
    assert len(manifest.label_space) == 400
    build.videos("train/air_druming/c.mp4")
    with pytest.raises(InputError, match=r"air_druming/c\.mp4: 'air_druming' is no class .*'air drumming'"):
        run(build, "class-folders", media_root=media, labels="kinetics400")


def test_tables_without_header_as_parquet_and_with_uris(build: Builder) -> None:
    media = build.videos("one.mp4", "two.mp4")
    plain = run(build, "table", train=build.text("p.csv", "one.mp4,10\ntwo.mp4,9\n"), media_root=media)
    assert plain.label_space.names == ("9", "10")
    path = build.folder / "t.parquet"
    rows: list[dict[str, Any]] = [
        {"path": "one.mp4", "label": ["a", "b"], "start_seconds": None, "end_seconds": None},
        {"path": "s3://bucket/x.mp4", "label": ["b"], "start_seconds": 1.0, "end_seconds": 2.5},
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    manifest = run(build, "table", train=path, media_root=media, multi_label=True)
    assert labelled(manifest) == {"one": ("a", "b"), "s3://bucket/x@1-2.5": ("b",)}
    with pytest.raises(InputError, match=r"t\.parquet: row 0: 2 labels \(a, b\), expected one; say --multi-label"):
        run(build, "table", train=path, media_root=media)
    # Null, and NaN as pandas writes it, are no label and no time.
    missing = float("nan")
    rows = [{"path": "one.mp4", "label": ["a", None], "start_seconds": missing, "end_seconds": missing}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    manifest = run(build, "table", train=path, media_root=media)
    assert labelled(manifest) == {"one": ("a",)}
    pq.write_table(pa.table({"path": ["one.mp4"], "label": [{"a": 1}]}), path)
    with pytest.raises(InputError, match=r"t\.parquet: row 0: label is {'a': 1}, expected text or a number"):
        run(build, "table", train=path, media_root=media)


def test_a_tables_path_may_go_up_and_stay_inside(build: Builder) -> None:
    media = build.videos("sub/a.mp4", "b.mp4")
    rows = f"sub/../b.mp4,x\n{media}/other/../sub/a.mp4,y\n"
    manifest = run(build, "table", train=build.text("t.csv", rows), media_root=media / "sub/..")
    assert labelled(manifest) == {"b": ("x",), "sub/a": ("y",)}
    with pytest.raises(InputError, match=r"t\.csv:1: path 'sub/\.\./\.\./b\.mp4' leaves the media root"):
        run(build, "table", train=build.text("t.csv", "sub/../../b.mp4,x\n"), media_root=media)


@pytest.mark.parametrize("root", ["empty", "missing"])
def test_a_table_of_addresses_needs_no_media_root(build: Builder, root: str) -> None:
    media = build.folder / root
    if root == "empty":
        media.mkdir()
    rows = "path,label,start_seconds,end_seconds\n{},x,0,1\ns3://bucket/b.mp4,y,2,3\n"
    table = build.text("t.csv", rows.format("memory://bucket/a.mp4"))
    manifest = run(build, "table", train=table, media_root=media)
    assert manifest.clips["video"].to_pylist() == ["memory://bucket/a.mp4", "s3://bucket/b.mp4"]
    assert manifest.counts["clips"] == 2
    with pytest.raises(InputError, match=r"no videos|cannot be listed"):  # one path among them, and it is looked for
        run(build, "table", train=build.text("m.csv", rows.format("a.mp4")), media_root=media)


def test_a_video_in_two_splits_of_a_table_is_a_leak(build: Builder) -> None:
    media = build.videos("one.mp4", "two.mp4")
    twice = build.text("t.csv", "path,label,split\none.mp4,a,train\ntwo.mp4,b,val\n./one.mp4,a,test\n")
    told = (
        r"one\.mp4: is in split 'train' \(one\) and in 'test' \(\./one\); expected a video, or each part of it, in one"
    )
    with pytest.raises(InputError, match=told):
        run(build, "table", train=twice, media_root=media)
    assert not (build.folder / "manifest").exists()
    parts = "path,label,split,start_seconds,end_seconds\none.mp4,a,val,0.5,0.9\none.mp4,b,train,0,{}\n"
    apart = run(build, "table", train=build.text("p.csv", parts.format(0.5)), media_root=media)
    assert apart.counts["videos_in_two_splits"] == 1
    with pytest.raises(InputError, match=r"'train' \(one@0-0\.6\) and in 'val' \(one@0\.5-0\.9\)"):
        run(build, "table", train=build.text("p.csv", parts.format(0.6)), media_root=media)


def test_another_separator_lets_a_label_hold_a_bar(build: Builder) -> None:
    media = build.videos("one.mp4", "two.mp4")
    lines = build.text("t.csv", "one.mp4,run|walk\ntwo.mp4,sit\n")
    with pytest.raises(
        InputError, match=r"t\.csv:1: 2 labels \(run, walk\), expected one; say --multi-label .* '\|' bel"
    ):
        run(build, "table", train=lines, media_root=media)
    manifest = run(build, "table", train=lines, media_root=media, separator=";")
    assert manifest.label_space.names == ("run|walk", "sit")
    with pytest.raises(InputError, match=r"e\.csv:2: label is missing, expected one"):
        run(build, "table", train=build.text("e.csv", "one.mp4,sit\ntwo.mp4,\n"), media_root=media)


def test_path_lists_with_other_separators_and_a_published_label_space(build: Builder) -> None:
    media = build.videos("a b.mp4", "c.mp4")
    train = build.text("train.csv", "a b.mp4,399\nc.mp4,0\n")
    manifest = run(build, "path-lists", train=train, media_root=media, separator=",", labels="kinetics400")
    assert labelled(manifest) == {"a b": ("zumba",), "c": ("abseiling",)}
    own = build.text("classes.txt", "no\nyes\n")
    with pytest.raises(InputError, match=r"train\.csv:1: label 399 is not in classes; expected 0\.\.1"):
        run(build, "path-lists", train=train, media_root=media, separator=",", labels=str(own))


def test_two_media_that_fit_one_name_are_named(build: Builder) -> None:
    media = build.videos("a/v.mp4", "b/v.avi")
    folder = MediaFolder(media)
    assert folder.find(["b/v.mp4"]) == "b/v.avi"
    assert folder.find(["none", "a/v"]) == "a/v.mp4"
    assert folder.find(["c/v"]) is None
    with pytest.raises(InputError, match=r"'v' is both 'a/v\.mp4' and 'b/v\.avi'; expected one file for each"):
        folder.find(["v"])


def test_a_name_that_is_not_utf8_and_a_loop_of_links(build: Builder) -> None:
    media = build.videos("good.mp4")
    (media / "sub").mkdir()
    (media / "sub" / "again").symlink_to(media)
    (media / os.fsdecode(b"bad\xff.mp4")).write_bytes(b"")
    folder = MediaFolder(media)
    assert folder.num_badly_named > 0
    assert folder.find(["./good.mp4"]) == "good.mp4"


def test_absolute_paths_are_below_the_media_root_or_not_there(build: Builder) -> None:
    media = build.videos("one.mp4", "two.mp4")
    lines = f"{media}/one.mp4,a\n{media}2/two.mp4,a\n"
    for source, text in (("table", lines), ("path-lists", lines.replace(",a", " 0"))):
        manifest = run(build, source, train=build.text("absolute.csv", text), media_root=media)
        assert manifest.clips.column("video").to_pylist() == ["one.mp4"]
        assert manifest.counts["videos_missing"] == 1
