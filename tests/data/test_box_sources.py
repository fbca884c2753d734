"""Every source of boxes from a hand-made sample of its published layout."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_video import write_numbered
from still_pictures import write_pictures
from text_files import put

from tubelet.data.manifest import Manifest
from tubelet.data.sources.ava_kinetics import import_ava_kinetics
from tubelet.data.sources.coco_video import import_coco_video
from tubelet.data.sources.cvat import import_cvat
from tubelet.data.sources.importers import IMPORTERS
from tubelet.data.sources.jhmdb import import_jhmdb
from tubelet.data.sources.multisports import import_multisports
from tubelet.data.sources.ucf24 import import_ucf24
from tubelet.data.validate import validate_manifest
from tubelet.types import InputError


def rows(manifest: Manifest, *columns: str) -> list[tuple[Any, ...]]:
    validate_manifest(manifest)
    assert manifest.boxes is not None
    return [tuple(row[c] for c in columns) for row in manifest.boxes.to_pylist()]


def corners(manifest: Manifest) -> list[list[float]]:
    return [[round(x, 6) for x in row] for row in rows(manifest, "x1", "y1", "x2", "y2")]


KINETICS = """--abcdefghi,35.25,0.1,0.2,0.5,0.9,80
--abcdefghi,35.25,0.1,0.2,0.5,0.9,2
--abcdefghi,35.250001,0.5,0.2,0.9,0.9,12
zz_defghijk,12.5,0.1,0.2,0.5,0.9,11
zz_defghijk,99,0.1,0.2,0.5,0.9,11
vanished001,12.5,0.1,0.2,0.5,0.9,11
--abcdefghi,39.5
vanished001,13
"""


def test_ava_kinetics_is_the_union_of_both(tmp_path: Path) -> None:
    media = tmp_path / "media"
    write_pictures(media / "k700" / "waving" / "--abcdefghi_000030_000040", 20)
    write_pictures(media / "k700" / "--abcdefghi_000050_000060", 20)
    write_pictures(media / "zz_defghijk_000010_000020", 20)
    write_pictures(media / "ava" / "film0000001", 1900)
    ava = put(tmp_path / "ava.csv", "film0000001,0902,0.1,0.1,0.4,0.9,80,7\nfilm0000001,0903\n")
    manifest = import_ava_kinetics(
        train=put(tmp_path / "kinetics_train.csv", KINETICS),
        ava_val=ava,
        media_root=media,
        out=tmp_path / "out",
        frames_fps=1.0,
    )
    watch, stand, sit = (manifest.label_space.index(n) for n in ("watch (a person)", "stand", "sit"))
    assert rows(manifest, "clip_id", "pts_seconds", "labels", "person_id") == [
        ("--abcdefghi_000030_000040", 5.25, [watch], -1),
        ("--abcdefghi_000030_000040", 5.250001, [stand], -1),  # another instant, a microsecond later
        ("zz_defghijk_000010_000020", 2.5, [sit], -1),
        ("film0000001", 902.0, [watch], 7),
    ]
    assert [(row["clip_id"], row["pts_seconds"]) for row in manifest.keyframes.to_pylist()] == [
        ("--abcdefghi_000030_000040", 9.5),
        ("film0000001", 903.0),
    ]
    clips = {row["clip_id"]: row for row in manifest.clips.to_pylist()}
    assert clips["--abcdefghi_000030_000040"]["video"] == "k700/waving/--abcdefghi_000030_000040"
    assert (clips["zz_defghijk_000010_000020"]["end_seconds"], clips["film0000001"]["split"]) == (10.0, "val")
    counts = manifest.counts
    assert (counts["videos_missing"], counts["rows_without_video"], counts["keyframes_without_video"]) == (1, 2, 1)
    assert (counts["rows_of_other_actions"], counts["boxes_of_ava"]) == (1, 1)


def test_mistakes_in_ava_kinetics(tmp_path: Path) -> None:
    write_pictures(tmp_path / "media" / "other", 3)
    train = put(tmp_path / "train.csv", KINETICS)
    with pytest.raises(InputError, match="no box of AVA-Kinetics lies inside a video"):
        import_ava_kinetics(train=train, media_root=tmp_path / "media", out=tmp_path / "out")
    for name in ("--abcdefghi_000030_000040", "zz_defghijk_000010_000020"):
        write_pictures(tmp_path / "media" / name, 10)
    with pytest.raises(
        InputError, match=r"AVA-Kinetics: clip '\S+_0000\d0_0000\d0' is in train and in val; expected it in"
    ):
        import_ava_kinetics(train=train, val=train, frames_fps=1.0, media_root=tmp_path / "media", out=tmp_path / "out")
    wrong = put(tmp_path / "wrong.csv", KINETICS + "zz_defghijk,12.5,10,20,50,90,11\n")
    with pytest.raises(InputError, match=r"wrong\.csv:9: box .* expected 0\.\.1 of the frame, not pixels"):
        import_ava_kinetics(train=wrong, media_root=tmp_path / "media", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def tubes(**changes: Any) -> dict[str, Any]:
    """UCF101v2-GT.pkl's layout; two videos of 10 frames, 320x240."""
    box = np.array([[1, 32, 24, 160, 240], [2, 32, 24, 160, 252], [10, 64, 24, 160, 120]], dtype=np.float32)
    held = {
        "labels": ["Basketball", "Fencing"],
        "gttubes": {"Basketball/v_a": {0: [box, box[:1] * 0.5 + 0.5]}, "Fencing/v_b": {1: [box[1:2]]}},
        "nframes": {"Basketball/v_a": 10, "Fencing/v_b": 10, "Fencing/v_c": 10},
        "train_videos": [["Basketball/v_a"], ["Fencing/v_c"]],
        "test_videos": [["Fencing/v_b", "Fencing/v_c"], ["Basketball/v_a"]],
        "resolution": {"Basketball/v_a": (240, 320), "Fencing/v_b": (240, 320)},
    }
    return held | changes


def write_tubes(path: Path, **changes: Any) -> Path:
    path.write_bytes(pickle.dumps(tubes(**changes), protocol=2))
    return path


@pytest.fixture
def tube_media(tmp_path: Path) -> Path:
    media = tmp_path / "media"
    write_pictures(media / "rgb-images" / "Basketball" / "v_a", 10)
    (media / "Fencing").mkdir()
    write_numbered(media / "Fencing" / "v_b.avi", num_frames=10)
    return media


def test_ucf24(tmp_path: Path, tube_media: Path) -> None:
    manifest = import_ucf24(annotations=write_tubes(tmp_path / "gt.pkl"), media_root=tube_media, out=tmp_path / "out")
    assert rows(manifest, "clip_id", "pts_seconds", "labels", "person_id") == [
        ("Basketball/v_a", 0.0, [0], 0),
        ("Basketball/v_a", 0.04, [0], 0),
        ("Basketball/v_a", 0.36, [0], 0),
        ("Basketball/v_a", 0.0, [0], 1),
        ("Fencing/v_b", 0.04, [1], 0),
    ]
    assert corners(manifest)[1] == [0.1, 0.1, 0.5, 1.0]  # 252 of 240 lines are cut
    clips = [(row["video"], row["split"], row["fps"]) for row in manifest.clips.to_pylist()]
    assert clips == [("rgb-images/Basketball/v_a", "train", 25.0), ("Fencing/v_b.avi", "test", 0.0)]
    counts = manifest.counts
    assert (counts["videos_missing"], counts["boxes_cut_to_frame"], counts["videos_of_other_length"]) == (1, 2, 0)
    assert not manifest.multi_label
    third = import_ucf24(
        annotations=tmp_path / "gt.pkl", media_root=tube_media, out=tmp_path / "third", keyframe_every=3
    )
    assert [row[0] for row in rows(third, "pts_seconds")] == [0.0, 0.36, 0.0]
    short = write_tubes(tmp_path / "short.pkl", nframes={"Basketball/v_a": 50, "Fencing/v_b": 10, "Fencing/v_c": 1})
    other = import_ucf24(annotations=short, media_root=tube_media, out=tmp_path / "other")
    assert other.counts["videos_of_other_length"] == 1


def test_jhmdb_has_three_splits_and_multisports_hides_its_test_set(tmp_path: Path, tube_media: Path) -> None:
    files: dict[str, Any] = {"annotations": write_tubes(tmp_path / "gt.pkl"), "media_root": tube_media}
    second = import_jhmdb(**files, out=tmp_path / "jhmdb", fold="2")
    assert [(row["clip_id"], row["split"], row["fps"]) for row in second.clips.to_pylist()] == [
        ("Basketball/v_a", "test", 30.0)
    ]
    with pytest.raises(InputError, match=r"gt\.pkl: split 3, expected 1\.\.2"):
        import_jhmdb(**files, out=tmp_path / "third", fold="3")
    sports = import_multisports(**files, out=tmp_path / "multisports")
    assert {row["split"] for row in sports.clips.to_pylist()} == {"train", "val"}
    assert "CC BY-NC" in sports.licence


TUBE_MISTAKES = [
    ({"labels": ["Basketball"]}, "video 'Fencing/v_b': label 1, expected 0..0"),
    ({"resolution": {}}, r"video 'Basketball/v_a': expected \(height, width\)"),
    ({"gttubes": {"Basketball/v_a": {0: [np.zeros((2, 4))]}}}, "expected .* arrays of frame, x1"),
    ({"gttubes": {"Basketball/v_a": {0: [np.zeros((2, 5))]}}}, "tube 0 has a frame before 1"),
    ({"gttubes": {}}, "no box lies inside a video"),
    ({"nframes": {}}, "expected lists of videos and a number of frames"),
    ({"train_videos": [["Fencing/v_b"]]}, "'Fencing/v_b' is a training and a test video"),
    ({"train_videos": 3}, "expected lists of videos"),
]


@pytest.mark.parametrize(("change", "message"), TUBE_MISTAKES, ids=[m[1][:30] for m in TUBE_MISTAKES])
def test_mistakes_in_tubes(tmp_path: Path, tube_media: Path, change: dict[str, Any], message: str) -> None:
    path = write_tubes(tmp_path / "gt.pkl", **change)
    with pytest.raises(InputError, match=message):
        import_ucf24(annotations=path, media_root=tube_media, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pickle_of_something_else(tmp_path: Path, tube_media: Path) -> None:
    path = tmp_path / "x.pkl"
    for held, message in (({"labels": []}, "lacks 'gttubes'"), ([1], "holds a list")):
        path.write_bytes(pickle.dumps(held))
        with pytest.raises(InputError, match=message):
            import_ucf24(annotations=path, media_root=tube_media, out=tmp_path / "out")


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><name>yard</name><size>40</size>
<original_size><width>160</width><height>96</height></original_size><source>film.mp4</source></task></meta>
<track id="0" label="person" source="manual">
<box frame="0" outside="0" occluded="0" keyframe="1" xtl="16.0" ytl="9.6" xbr="80" ybr="96" z_order="0">
<attribute name="action">walk</attribute><attribute name="wave">true</attribute></box>
<box frame="5" outside="0" keyframe="0" xtl="16.0" ytl="9.6" xbr="80" ybr="96">
<attribute name="action">__undefined__</attribute><attribute name="wave">false</attribute></box>
<box frame="6" outside="1" keyframe="1" xtl="16.0" ytl="9.6" xbr="80" ybr="96"></box></track>
<track id="3" label="dog"><box frame="10" outside="0" xtl="-8" ytl="0" xbr="16" ybr="48">
<attribute name="action">run</attribute></box></track></annotations>
"""


@pytest.fixture
def film(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    write_numbered(tmp_path / "media" / "film.mp4", num_frames=40)
    return tmp_path / "media"


def test_cvat(tmp_path: Path, film: Path) -> None:
    xml = put(tmp_path / "one.xml", CVAT)
    manifest = import_cvat(train=(xml,), media_root=film, out=tmp_path / "out", attributes=("action", "wave"))
    assert manifest.label_space.names == ("run", "walk", "wave")
    assert rows(manifest, "clip_id", "pts_seconds", "labels", "person_id") == [
        ("one", 0.0, [1, 2], 0),
        ("one", 0.4, [0], 1),
        ("one", 0.2, [], 0),
    ]
    assert corners(manifest)[:2] == [[0.1, 0.1, 0.5, 1.0], [0.0, 0.0, 0.1, 0.5]]
    assert (manifest.counts["boxes_outside"], manifest.counts["boxes_cut_to_frame"]) == (1, 1)
    plain = import_cvat(val=(xml,), media_root=film, out=tmp_path / "plain", keyframe_every=10)
    assert plain.label_space.names == ("dog", "person")
    assert [row["pts_seconds"] for row in plain.boxes.to_pylist()] == [0.0, 0.4]  # type: ignore[union-attr]
    order = put(tmp_path / "order.txt", "walk\nrun\nwave\n")
    ordered = import_cvat(
        train=(xml,), media_root=film, out=tmp_path / "o", attributes=("action", "wave"), labels=str(order)
    )
    assert ordered.label_space.names == ("walk", "run", "wave")


CVAT_MISTAKES = [
    ("", "not XML"),
    ("<xml/>", "begins with <xml>, expected <annotations>"),
    (CVAT.replace("<track id=", "<image/><track id=", 1), "has images"),
    (CVAT.replace("<size>", "<frame_filter>step=5</frame_filter><size>"), "filter 'step=5'"),
    (CVAT.replace("<width>160</width>", ""), "original_size is nothing x 96, expected width and height"),
    (CVAT.replace("<width>160</width>", "<width>0</width>"), "original_size is 0 x 96"),
    (CVAT.replace("<width>160</width>", "<width>320</width>"), r"frames are 160 x 96 pixels.*annotated on 320 x 96"),
    (CVAT.replace('xbr="16"', 'xbr="-16"'), r"track 3, frame 10: box -8, 0, -16, 48; expected .* xtl below xbr"),
    (CVAT.replace('frame="10"', 'frame="-10"'), "track 3, frame -10: box .* expected frames from 0"),
    (CVAT.replace('xbr="80"', 'xbr="inf"', 1), "track 0, frame 0: box 16, 9.6, inf, 96; expected"),
    (CVAT.replace('label="dog"', ""), r"one\.xml: track 3 has no label"),
    (CVAT.replace('xtl="-8"', 'xtl="left"'), "track 3, frame 10: expected frame, xtl"),
    (CVAT.replace("film.mp4", "gone.mp4"), "none of the 1 annotated videos is there"),
    (CVAT.replace('outside="0"', 'outside="1"'), "no box has a label"),
]


@pytest.mark.parametrize(("text", "message"), CVAT_MISTAKES, ids=[m[1][:30] for m in CVAT_MISTAKES])
def test_mistakes_in_cvat(tmp_path: Path, film: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_cvat(train=(put(tmp_path / "one.xml", text),), media_root=film, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_video_in_two_files_of_cvat_is_a_leak(tmp_path: Path, film: Path) -> None:
    one, two = put(tmp_path / "one.xml", CVAT), put(tmp_path / "two.xml", CVAT)
    both = r"film\.mp4: is the video of both 'one' \(train\) and 'two' \({}\); expected each video once"
    with pytest.raises(InputError, match=both.format("val")):
        import_cvat(train=(one,), val=(two,), media_root=film, out=tmp_path / "out")
    with pytest.raises(InputError, match=both.format("train")):
        import_cvat(train=(one, two), media_root=film, out=tmp_path / "out")
    again = put(tmp_path / "more" / "one.xml", CVAT)
    with pytest.raises(InputError, match=r"called one\.xml \(in train, this one in val\)"):
        import_cvat(train=(one,), val=(again,), media_root=film, out=tmp_path / "out")


def test_cvat_says_what_attributes_there_are(tmp_path: Path, film: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = put(tmp_path / "one.xml", CVAT.replace('label="dog"', 'label="person"'))
    with pytest.raises(
        InputError, match=r"no box has an attribute 'acton'; did you mean 'action'\?; there: action, wave"
    ):
        import_cvat(train=(one,), media_root=film, out=tmp_path / "out", attributes=("acton",))
    larger = one.read_text().replace(">160<", ">320<").replace(">96<", ">192<")
    manifest = import_cvat(train=(put(one, larger),), media_root=film, out=tmp_path / "out")
    assert "every track is a 'person'" in caplog.text
    assert "(action, wave) are not read" in caplog.text
    assert manifest.counts["videos_of_another_size"] == 1
    assert corners(manifest)[0] == [0.05, 0.05, 0.25, 0.5]


def test_cvat_entities_do_not_grow_without_bound(tmp_path: Path, film: Path) -> None:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "x" * 50}">' for i in range(10))
    text = f"<?xml version='1.0'?><!DOCTYPE a [{entities}]><annotations>&e9;</annotations>"
    with pytest.raises(InputError, match="not XML"):
        import_cvat(train=(put(tmp_path / "one.xml", text),), media_root=film, out=tmp_path / "out")


def coco(**changes: Any) -> dict[str, Any]:
    image = {"video_id": 1, "width": 160, "height": 96}
    held: dict[str, Any] = {
        "videos": [{"id": 1, "name": "film"}],
        "images": [{"id": i, "frame_index": i, **image} for i in (1, 6, 11)],
        "annotations": [
            {"id": 1, "image_id": 1, "bbox": [16, 9.6, 64, 86.4], "category_ids": [5, 7], "track_id": 4},
            {"id": 2, "image_id": 6, "bbox": [16, 9.6, 64, 86.4], "category_id": 7},
        ],
        "categories": [{"id": 7, "name": "walk"}, {"id": 5, "name": "wave"}],
    }
    return held | changes


def test_coco_video(tmp_path: Path, film: Path) -> None:
    path = put(tmp_path / "coco.json", json.dumps(coco()))
    manifest = import_coco_video(train=path, media_root=film, out=tmp_path / "out", first_frame=1)
    assert manifest.label_space.names == ("walk", "wave")
    assert rows(manifest, "pts_seconds", "labels", "person_id") == [(0.0, [1, 0], 4), (0.2, [0], -1)]
    assert corners(manifest)[0] == [0.1, 0.1, 0.5, 1.0]
    assert manifest.keyframes.to_pylist() == [{"clip_id": "film", "pts_seconds": 0.4}]
    timed = coco(images=[{"id": i, "pts_seconds": i / 10, "video_id": 1, "width": 160, "height": 96} for i in (1, 6)])
    path = put(tmp_path / "timed.json", json.dumps(timed))
    at = import_coco_video(val=path, media_root=film, out=tmp_path / "timed", first_frame=1)
    assert [row[0] for row in rows(at, "pts_seconds")] == [0.1, 0.6]


def test_images_placed_in_two_ways_and_no_files(tmp_path: Path, film: Path) -> None:
    one = put(tmp_path / "one.json", json.dumps(coco()))
    image = {"id": 1, "pts_seconds": 0.1, "video_id": 1, "width": 160, "height": 96}
    held = coco(images=[image], annotations=[], videos=[{"id": 1, "name": "other"}])
    two = put(tmp_path / "two.json", json.dumps(held))
    with pytest.raises(
        InputError, match=r"by frame_index \(.*one\.json\) and pts_seconds \(.*two\.json\); expected one"
    ):
        import_coco_video(train=one, val=two, media_root=film, out=tmp_path / "out")
    for importer in (import_coco_video, import_cvat):
        with pytest.raises(InputError, match=r"no annotation: expected .* of train, val or test"):
            importer(media_root=film, out=tmp_path / "out")  # type: ignore[operator]


def test_a_video_in_two_files_of_coco_is_a_leak(tmp_path: Path, film: Path) -> None:
    one = put(tmp_path / "one.json", json.dumps(coco()))
    with pytest.raises(InputError, match=r"one\.json: video 'film' is in train and in val; expected one split"):
        import_coco_video(train=one, val=one, media_root=film, out=tmp_path / "out")
    two = put(tmp_path / "two.json", json.dumps(coco(videos=[{"id": 1, "name": "film.mp4"}])))
    with pytest.raises(InputError, match=r"the video of both 'film' \(train\) and 'film\.mp4' \(test\)"):
        import_coco_video(train=one, test=two, media_root=film, out=tmp_path / "out")


COCO_MISTAKES: list[tuple[Any, str]] = [
    ([], "is no object"),
    (coco(images=None), "has no list 'images'"),
    (coco(images=[]), r"coco\.json: annotations\[0\] \(id 1\): image_id is 1, which none of the 0 listed"),
    (coco(images=[{"id": 1, "video_id": 1, "width": 160, "height": 96}]), r"images\[0\] \(id 1\): has none of pts_"),
    (coco(images=[{"id": 1, "frame_id": 0, "video_id": 1, "height": 96}]), r"images\[0\] \(id 1\): width is None, exp"),
    (
        coco(images=[{"id": 1, "frame_id": -1, "video_id": 1, "width": 160, "height": 96}]),
        "frame_id is -1, expected a ",
    ),
    (
        coco(images=[{"id": 1, "frame_id": 1.5, "video_id": 1, "width": 160, "height": 96}]),
        r"images\[0\] \(id 1\): frame_id is 1\.5, expected a whole number",
    ),
    (
        coco(annotations=[{"image_id": 1, "bbox": [0.1, 0.2, 0.3, 0.4], "category_id": 7}]),
        r"coco\.json: every bbox lies within one pixel",
    ),
    (
        coco(videos=[{"id": 1, "name": "film"}, {"id": 2, "name": "film"}]),
        r"videos\[1\] \(id 2\): an earlier one of videos is called 'film' as well",
    ),
    (
        coco(categories=[{"id": 7, "name": "walk"}, {"id": 5, "name": "walk"}]),
        r"categories\[1\] \(id 5\): an earlier one of categories is called 'walk'",
    ),
    (coco(categories=[{"id": 7, "name": "walk"}]), r"annotations\[0\] \(id 1\): category_id is 5, which none of the 1"),
    (
        coco(annotations=[{"image_id": 1, "bbox": [1, 2, -9, 4], "category_id": 7}]),
        r"annotations\[0\]: bbox: width is -9",
    ),
    (
        coco(annotations=[{"image_id": 1, "bbox": [1, 2, 9], "category_id": 7}]),
        r"annotations\[0\]: bbox is \[1, 2, 9\]",
    ),
    (coco(annotations=[{"image_id": 1, "bbox": [1, 2, 9, 1e999]}]), r"annotations\[0\]: bbox: height is inf"),
    (coco(annotations=[7]), r"annotations\[0\]: is 7, expected an object"),
    (coco(videos=[{"id": 1}]), r"videos\[0\] \(id 1\): name or file_name is None, expected a name"),
    (coco(videos=[{"id": 1, "name": "film"}] * 2), r"videos\[1\]: id is 1, expected a number or text that no other"),
    (coco(videos=[{"id": 1, "name": "gone"}]), "none of the 1 annotated videos is there"),
]


@pytest.mark.parametrize(("held", "message"), COCO_MISTAKES, ids=[m[1][:30] for m in COCO_MISTAKES])
def test_mistakes_in_coco(tmp_path: Path, film: Path, held: Any, message: str) -> None:
    path = put(tmp_path / "coco.json", json.dumps(held))
    with pytest.raises(InputError, match=message):
        import_coco_video(train=path, media_root=film, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_importer_says_what_it_reads() -> None:
    for name in ("ava", "ava-kinetics", "ucf24", "jhmdb", "multisports", "cvat", "coco-video"):
        module = __import__(IMPORTERS[name].__module__, fromlist=["__doc__"]).__doc__
        assert "Licence" in module, name
        assert "Quirks" in module, name
