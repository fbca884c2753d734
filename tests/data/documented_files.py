"""The published files that the documents' commands name, in small, under the names that stand there."""

import json
import pickle
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from layout_builder import Builder
from numbered_video import write_numbered
from published_layouts import LAYOUTS
from still_pictures import write_pictures
from test_box_sources import CVAT, coco, tubes

Files = Mapping[str, Any]
"""The parameter of an importer to the file, or files, that stand for it."""
CUT_FILM_SECONDS = 901
ROW = "{film},{second:04d},0.1,0.1,0.4,0.9,{action},7\n"


def films(b: Builder) -> Path:
    """Write two films that are cut to 900 to 1,800 s, a frame a second."""
    for name in ("film0000001", "film0000002"):
        path = b.folder / "media" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_numbered(path, num_frames=CUT_FILM_SECONDS, fps=1.0)
    return b.folder / "media"


def ava(b: Builder) -> Files:
    def rows(film: str) -> str:
        return "".join(ROW.format(film=film, second=second, action=12) for second in (902, 1500))

    return {
        "train": b.text("train.csv", rows("film0000001")),
        "val": b.text("val.csv", rows("film0000002")),
        "train_excluded": b.text("train_excluded.csv", "film0000001,1500\n"),
        "val_excluded": b.text("val_excluded.csv", ""),
        "media_root": films(b),
    }


def ava_kinetics(b: Builder) -> Files:
    files = ava(b)
    for name in ("--abcdefghi_000030_000040", "zz_defghijk_000010_000020"):
        write_numbered(b.folder / "media" / f"{name}.mp4", num_frames=10, fps=1.0)
    return {
        "train": b.text("kinetics_train.csv", "--abcdefghi,35.25,0.1,0.2,0.5,0.9,80\n"),
        "val": b.text("kinetics_val.csv", "zz_defghijk,12.5,0.1,0.2,0.5,0.9,11\n"),
        "ava_train": files["train"],
        "ava_val": files["val"],
        "media_root": files["media_root"],
    }


def predicted_boxes(b: Builder) -> Files:
    row = "{film},0902,0.1,0.1,0.4,0.9,,0.95\n"
    return {
        "arguments": [
            b.text("train_boxes.csv", row.format(film="film0000001")),
            b.text("val_boxes.csv", row.format(film="film0000002")),
        ]
    }


def act_tubes(b: Builder) -> Files:
    for name in ("Basketball/v_a", "Fencing/v_b", "Fencing/v_c"):
        write_pictures(b.folder / "media" / name, 10)
    path = b.folder / "tubes.pkl"
    path.write_bytes(pickle.dumps(tubes(), protocol=2))
    return {"annotations": path, "media_root": b.folder / "media"}


def two_films(b: Builder) -> Path:
    (b.folder / "media").mkdir(parents=True, exist_ok=True)
    for name in ("film", "other"):
        write_numbered(b.folder / "media" / f"{name}.mp4", num_frames=40)
    return b.folder / "media"


def cvat(b: Builder) -> Files:
    one, other = b.text("one.xml", CVAT), b.text("other.xml", CVAT.replace("film.mp4", "other.mp4"))
    return {"train": [one, other], "val": other, "media_root": two_films(b)}


def coco_video(b: Builder) -> Files:
    other = coco(videos=[{"id": 1, "name": "other"}])
    return {
        "train": b.text("one.json", json.dumps(coco())),
        "val": b.text("other.json", json.dumps(other)),
        "media_root": two_films(b),
    }


def own_folders(b: Builder) -> Files:
    return {"media_root": b.videos(*(f"{name}/{k}.mp4" for name in ("sit", "stand") for k in range(12)))}


def own_table(b: Builder) -> Files:
    rows = "".join(f"sit/{k}.mp4,sit\nstand/{k}.mp4,stand\n" for k in range(12))
    return {"train": b.text("clips.csv", f"path,label\n{rows}"), **own_folders(b)}


def named_folders(b: Builder) -> Files:
    return {"media_root": b.videos("train/abseiling/a.mp4", "train/air drumming/b.mp4", "val/abseiling/c.mp4")}


BOXES: dict[str, Callable[[Builder], Files]] = {
    "ava": ava,
    "ava-kinetics": ava_kinetics,
    "ucf24": act_tubes,
    "jhmdb": act_tubes,
    "multisports": act_tubes,
    "cvat": cvat,
    "coco-video": coco_video,
}


def files_for(command: str, b: Builder) -> Files:
    """Return small files for a command, by the options, or (``arguments``) the places, that name them."""
    words = shlex.split(command)
    if words[:3] == ["tubelet", "data", "add-boxes"]:
        return predicted_boxes(b)
    if words[:3] != ["tubelet", "data", "import"]:
        return {}
    source = words[3]
    if source == "class-folders":
        return named_folders(b) if "--labels" in words else own_folders(b)
    if source == "table":
        return own_table(b)
    return BOXES[source](b) if source in BOXES else LAYOUTS[source](b).options


def lay_out(command: str, place: Path, b: Builder) -> None:
    """Put files of the builder's where a command, run in ``place``, looks for them."""
    files, option, words = files_for(command, b), "arguments", shlex.split(command)[4:]
    left: dict[str, list[Path]] = {}
    for name, found in files.items():
        left[name] = [Path(path) for path in (found if isinstance(found, list) else [found])]
    for word in words:
        if word.startswith("--"):
            option = word[2:].replace("-", "_")
        elif option not in ("out", "labels") and left.get(option):
            (place / word).unlink(missing_ok=True)
            (place / word).symlink_to(left[option].pop(0))
