"""Small hand-made copies of each published layout: annotation files as they are spelt, and a few tiny videos."""

import json
from collections.abc import Callable
from typing import Any

from layout_builder import Builder, Layout


def kinetics(b: Builder) -> Layout:
    header = "label,youtube_id,time_start,time_end,split,is_cc\n"
    train = b.text(
        "train.csv",
        header
        + '"abseiling",aaaaaaaaaaa,5,15,train,0\n'
        + "testifying,-bbbbbbbbb_,0,10,train,1\n"
        + "abseiling,vanished___,3,13,train,1\n"
        + "abseiling,aaaaaaaaaaa,5,15,train,0\n",
    )
    val = b.text("val.csv", header + "air drumming,ccccccccccc,20.0,30.0,validate,0\n")
    test = b.text("test.csv", "youtube_id,time_start,time_end,split\nddddddddddd,1,11,test\n")
    media = b.videos(
        "train/abseiling/aaaaaaaaaaa_000005_000015.mp4",
        "train/testifying/-bbbbbbbbb_.mkv",
        "val/air_drumming/ccccccccccc_000020_000030.mp4",
        "test/ddddddddddd_000001_000011.mp4",
    )
    return Layout(
        "kinetics",
        {"annotations": [train, val, test], "media_root": media},
        {
            "aaaaaaaaaaa_000005_000015": ("train/abseiling/aaaaaaaaaaa_000005_000015.mp4", "train", ("abseiling",)),
            "-bbbbbbbbb__000000_000010": ("train/testifying/-bbbbbbbbb_.mkv", "train", ("testifying",)),
            "ccccccccccc_000020_000030": ("val/air_drumming/ccccccccccc_000020_000030.mp4", "val", ("air drumming",)),
            "ddddddddddd_000001_000011": ("test/ddddddddddd_000001_000011.mp4", "test", ()),
        },
        {"rows": 6, "rows_repeated": 1, "clips_without_video": 1, "videos_missing": 1, "clips": 4, "clips_train": 2},
    )


def path_lists(b: Builder) -> Layout:
    media = b.videos("a/one.mp4", "a/two words.mp4", "b/three.mp4")
    train = b.text("train.csv", f"a/one.mp4 0\n{media}/a/two words.mp4 2\na/gone.mp4 1\n")
    val = b.text("val.csv", "b/three.mp4 1\n")
    return Layout(
        "path-lists",
        {"train": train, "val": val, "test": val, "media_root": media},
        {
            "a/one": ("a/one.mp4", "train", ("0",)),
            "a/two words": ("a/two words.mp4", "train", ("2",)),
            "b/three": ("b/three.mp4", "val", ("1",)),
            "b/three#2": ("b/three.mp4", "test", ("1",)),
        },
        {"videos_missing": 1, "clips_named_twice": 1},
    )


def moments(b: Builder) -> Layout:
    train = b.text(
        "trainingSet.csv",
        "clapping/yt-1_2.mp4,clapping,3,0\npraying/flickr-9.mp4,praying,2,2\npraying/gone.mp4,praying,3,1\n",
    )
    val = b.text("validationSet.csv", "clapping/yt-1_2.mp4,clapping,4,1\n")
    media = b.videos("training/clapping/yt-1_2.mp4", "training/praying/flickr-9.mp4", "validation/clapping/yt-1_2.mp4")
    return Layout(
        "moments",
        {"train": train, "val": val, "media_root": media},
        {
            "training/clapping/yt-1_2": ("training/clapping/yt-1_2.mp4", "train", ("clapping",)),
            "training/praying/flickr-9": ("training/praying/flickr-9.mp4", "train", ("praying",)),
            "validation/clapping/yt-1_2": ("validation/clapping/yt-1_2.mp4", "val", ("clapping",)),
        },
        {"videos_missing": 1, "rows_below_agreement": 0},
    )


def multi_moments(b: Builder) -> Layout:
    train = b.text("trainingSet.csv", "crafting/a.mp4,0,2\npaddling/b.mp4,1\n")
    val = b.text("validationSet.csv", "crafting/c.mp4,0\n")
    return Layout(
        "multi-moments",
        {"train": train, "val": val, "media_root": b.videos("crafting/a.mp4", "paddling/b.mp4", "crafting/c.mp4")},
        {
            "training/crafting/a": ("crafting/a.mp4", "train", ("crafting", "raining")),
            "training/paddling/b": ("paddling/b.mp4", "train", ("paddling",)),
            "validation/crafting/c": ("crafting/c.mp4", "val", ("crafting",)),
        },
    )


def something_v1(b: Builder) -> Layout:
    train = b.text(
        "something-something-v1-train.csv",
        "100218;Pushing something from left to right\n24413;Unfolding something\n7;Holding something\n",
    )
    val = b.text("something-something-v1-validation.csv", "9;Holding something\n")
    test = b.text("something-something-v1-test.csv", "11\n")
    return Layout(
        "something-v1",
        {
            "train": train,
            "val": val,
            "test": test,
            "media_root": b.videos("100218.webm", "24413.webm", "9.webm", "11.webm"),
        },
        {
            "100218": ("100218.webm", "train", ("Pushing something from left to right",)),
            "24413": ("24413.webm", "train", ("Unfolding something",)),
            "9": ("9.webm", "val", ("Holding something",)),
            "11": ("11.webm", "test", ()),
        },
        {"videos_missing": 1},
    )


def something_v2(b: Builder) -> Layout:
    def item(number: int, label: str, template: str, *things: str) -> dict[str, Any]:
        return {"id": str(number), "label": label, "template": template, "placeholders": list(things)}

    train = [
        item(78687, "holding potato next to vicks", "Holding [something] next to [something]", "potato", "vicks"),
        item(42326, "pulling a rope from left to right", "Pulling [something] from left to right", "a rope"),
    ]
    val = [item(5, "spilling water", "Spilling [something] next to [something]", "water", "a cup")]
    return Layout(
        "something-v2",
        {
            "train": b.text("something-something-v2-train.json", json.dumps(train)),
            "val": b.text("something-something-v2-validation.json", json.dumps(val)),
            "test": b.text("something-something-v2-test.json", '[{"id":"1420"}]'),
            "media_root": b.videos("78687.webm", "42326.webm", "5.webm", "1420.webm"),
        },
        {
            "78687": ("78687.webm", "train", ("Holding something next to something",)),
            "42326": ("42326.webm", "train", ("Pulling something from left to right",)),
            "5": ("5.webm", "val", ("Spilling something next to something",)),
            "1420": ("1420.webm", "test", ()),
        },
        {"videos_missing": 0},
    )


EPIC_HEADER = "participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,"
EPIC_HEADER += "noun,noun_class,all_nouns,all_noun_classes\n"


def epic55(b: Builder) -> Layout:
    train = b.text(
        "EPIC_train_action_labels.csv",
        "uid," + EPIC_HEADER + "0,P01,P01_01,open door,00:00:00.14,00:00:00.57,8,34,open,1,door,1,['door'],[1]\n"
        "1,P25,P25_01,take cup,00:00:00.10,00:00:01.00,6,60,take,0,cup,0,\"['cup', 'door']\",\"[0, 1]\"\n"
        "2,P26,P26_02,open door,00:00:00.20,00:00:01.10,12,66,open,1,door,1,['door'],[1]\n",
    )
    hidden = "uid,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame\n"
    return Layout(
        "epic55",
        {
            "train": train,
            "test_s1": b.text("EPIC_test_s1_timestamps.csv", hidden + "3,P01,P01_11,00:00:00.00,00:00:01.00,1,60\n"),
            "test_s2": b.text("EPIC_test_s2_timestamps.csv", hidden + "4,P09,P09_01,00:00:00.00,00:00:01.00,1,60\n"),
            "verb_classes": b.text(
                "EPIC_verb_classes.csv", "verb_id,class_key,verbs\n0,take,['take']\n1,open,['open']"
            ),
            "noun_classes": b.text("EPIC_noun_classes.csv", "noun_id,class_key,nouns\n0,cup,['cup']\n1,door,['door']"),
            "media_root": b.videos(
                "P01/P01_01.MP4", "P25/P25_01.MP4", "P26/P26_02.MP4", "P01/P01_11.MP4", "P09/P09_01.MP4"
            ),
        },
        {
            "P01_01_0": ("P01/P01_01.MP4", "train", ("open door",)),
            "P25_01_1": ("P25/P25_01.MP4", "train", ("take cup",)),
            "P26_02_2": ("P26/P26_02.MP4", "val", ("open door",)),
            "P01_11_3": ("P01/P01_11.MP4", "test_s1", ()),
            "P09_01_4": ("P09/P09_01.MP4", "test_s2", ()),
        },
        {"clips_train": 2, "clips_val": 1, "clips_test_s1": 1, "clips_test_s2": 1, "rows": 5},
        {
            "P01_01_0": (0.14, 0.57),
            "P25_01_1": (0.1, 1.0),
            "P26_02_2": (0.2, 1.1),
            "P01_11_3": (0.0, 1.0),
            "P09_01_4": (0.0, 1.0),
        },
    )


def epic100(b: Builder) -> Layout:
    header = "narration_id," + EPIC_HEADER.replace("video_id,", "video_id,narration_timestamp,")
    row = "{video}_{n},P01,{video},00:00:00.100,take cup,00:00:00.10,00:00:01.00,5,50,{verb},{v},cup,0,['cup'],[0]\n"
    hidden = "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop"
    return Layout(
        "epic100",
        {
            "train": b.text(
                "EPIC_100_train.csv",
                header
                + row.format(video="P01_101", n=0, verb="take", v=0)
                + row.format(video="P01_101", n=1, verb="open", v=1),
            ),
            "val": b.text("EPIC_100_validation.csv", header + row.format(video="P01_11", n=0, verb="take", v=0)),
            "test": b.text(
                "EPIC_100_test_timestamps.csv", hidden + "\nP02_1_0,P02,P02_1,0,00:00:00.0,00:00:01.0,1,5\n"
            ),
            "verb_classes": b.text(
                "EPIC_100_verb_classes.csv", "id,key,instances,category\n0,take,[],a\n1,open,[],b\n"
            ),
            "noun_classes": b.text("EPIC_100_noun_classes.csv", 'id,key,instances,category\n0,cup,"[]",a\n'),
            "target": "verb",
            "media_root": b.videos("P01/videos/P01_101.MP4", "P01/videos/P01_11.MP4", "P02_1.MP4"),
        },
        {
            "P01_101_0": ("P01/videos/P01_101.MP4", "train", ("take",)),
            "P01_101_1": ("P01/videos/P01_101.MP4", "train", ("open",)),
            "P01_11_0": ("P01/videos/P01_11.MP4", "val", ("take",)),
            "P02_1_0": ("P02_1.MP4", "test", ()),
        },
        {"videos": 3},
        {"P01_101_0": (0.1, 1.0), "P01_101_1": (0.1, 1.0), "P01_11_0": (0.1, 1.0), "P02_1_0": (0.0, 1.0)},
    )


def sports1m(b: Builder) -> Layout:
    train = b.text(
        "train_partition.txt",
        "https://www.youtube.com/watch?v=UDqivjS-lpI 168,169\nhttps://www.youtube.com/watch?v=_12 0\n"
        "https://www.youtube.com/watch?v=gone 1\n",
    )
    test = b.text("test_partition.txt", "https://www.youtube.com/watch?v=UDqivjS-lpI 2\n")
    return Layout(
        "sports1m",
        {"train": train, "test": test, "media_root": b.videos("UDqivjS-lpI.mp4", "x/_12.flv")},
        {
            "UDqivjS-lpI": ("UDqivjS-lpI.mp4", "train", ("decathlon", "heptathlon")),
            "_12": ("x/_12.flv", "train", ("boomerang",)),
            "UDqivjS-lpI#2": ("UDqivjS-lpI.mp4", "test", ("bowling",)),
        },
        {"videos_missing": 1, "clips_named_twice": 1},
    )


def ucf101(b: Builder) -> Layout:
    folder = b.text(
        "ucfTrainTestlist/trainlist02.txt",
        "Archery/v_Archery_g08_c01.avi 3\nHandstandPushups/v_HandStandPushups_g01_c01.avi 37\nArchery/v_x.avi 3\n",
    ).parent
    b.text("ucfTrainTestlist/testlist02.txt", "Archery/v_Archery_g01_c01.avi\n")
    b.text("ucfTrainTestlist/trainlist01.txt", "Archery/v_Archery_g01_c01.avi 3\n")
    b.text("ucfTrainTestlist/testlist01.txt", "Archery/v_Archery_g08_c01.avi\n")
    media = b.videos(
        "Archery/v_Archery_g08_c01.avi",
        "HandstandPushups/v_HandstandPushups_g01_c01.avi",
        "Archery/v_Archery_g01_c01.avi",
    )
    return Layout(
        "ucf101",
        {"annotations": folder, "media_root": media, "fold": "2"},
        {
            "v_Archery_g08_c01": ("Archery/v_Archery_g08_c01.avi", "train", ("Archery",)),
            "v_HandStandPushups_g01_c01": (
                "HandstandPushups/v_HandstandPushups_g01_c01.avi",
                "train",
                ("HandstandPushups",),
            ),
            "v_Archery_g01_c01": ("Archery/v_Archery_g01_c01.avi", "test", ("Archery",)),
        },
        {"videos_missing": 1},
    )


def hmdb51(b: Builder) -> Layout:
    one = "#122_A_&_b_(brush)_f_nm_np1_ba_med_1.avi"
    folder = b.text("splits/brush_hair_test_split1.txt", f"{one} 1 \ntwo.avi 2 \nthree.avi 0 \n").parent
    b.text("splits/cartwheel_test_split1.txt", "four x.avi 1 \ngone.avi 1 \n")
    b.text("splits/cartwheel_test_split2.txt", "four x.avi 2 \n")
    media = b.videos(f"brush_hair/{one}", "brush_hair/two.avi", "brush_hair/three.avi", "cartwheel/four x.avi")
    return Layout(
        "hmdb51",
        {"annotations": folder, "media_root": media},
        {
            f"brush_hair/{one.removesuffix('.avi')}": (f"brush_hair/{one}", "train", ("brush_hair",)),
            "brush_hair/two": ("brush_hair/two.avi", "test", ("brush_hair",)),
            "cartwheel/four x": ("cartwheel/four x.avi", "train", ("cartwheel",)),
        },
        {"rows_in_neither_split": 1, "videos_missing": 1},
    )


def class_folders(b: Builder) -> Layout:
    media = b.videos("train/sit down/a.mp4", "train/stand/b.webm", "validation/stand/sub/c.mp4", "test/d.mp4")
    return Layout(
        "class-folders",
        {"media_root": media},
        {
            "train/sit down/a": ("train/sit down/a.mp4", "train", ("sit down",)),
            "train/stand/b": ("train/stand/b.webm", "train", ("stand",)),
            "validation/stand/sub/c": ("validation/stand/sub/c.mp4", "val", ("stand",)),
        },
        {"videos_outside_class_folders": 1},
    )


def table(b: Builder) -> Layout:
    media = b.videos("one.mp4", "b/two.mp4", "three.mp4")
    train = b.text(
        "clips.csv",
        "path,label,split,start_seconds,end_seconds\none.mp4,run,,0.25,0.75\none.mp4,jump|run,train,,\n"
        "b/two.mp4,run,val,,\nb/two.mp4,,val,,\nthree.mp4,,test_new,,\ngone.mp4,run,,,\n",
    )
    return Layout(
        "table",
        {"train": train, "media_root": media, "multi_label": True},
        {
            "one@0.25-0.75": ("one.mp4", "train", ("run",)),
            "one": ("one.mp4", "train", ("jump", "run")),
            "b/two": ("b/two.mp4", "val", ("run",)),
            "b/two#2": ("b/two.mp4", "val", ()),
            "three": ("three.mp4", "test_new", ()),
        },
        {"videos_missing": 1, "clips_named_twice": 1},
        {"one@0.25-0.75": (0.25, 0.75)},
    )


LAYOUTS: dict[str, Callable[[Builder], Layout]] = {
    "kinetics": kinetics,
    "path-lists": path_lists,
    "moments": moments,
    "multi-moments": multi_moments,
    "something-v1": something_v1,
    "something-v2": something_v2,
    "epic55": epic55,
    "epic100": epic100,
    "sports1m": sports1m,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "class-folders": class_folders,
    "table": table,
}
