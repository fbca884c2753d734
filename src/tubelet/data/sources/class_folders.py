"""A folder of videos in class folders: ``class/video.mp4``, or ``train/class/video.mp4`` with the splits above.

The folders at the top decide which of both it is; videos beside them are in no class, and are counted.
Kinetics as it is often passed on has this layout too (``train/air_drumming/...``): name its label space, so that the
columns are the published ones.
A class folder of pictures and nothing else is clips of one frame, unless ``frames_fps`` says that pictures are frames
of videos; a folder of pictures inside a class folder is a video of frames in any case.
"""

from collections.abc import Iterator
from pathlib import Path

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import ClassNames, read_classes
from tubelet.data.sources.clip_rows import ClipRow, write_clips
from tubelet.data.sources.media_folder import MediaFolder, clip_names, share_of
from tubelet.labels import LabelSpace
from tubelet.types import InputError

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def import_class_folders(
    *,
    media_root: Path,
    out: Path,
    labels: str | None = None,
    val_share: float = 0.2,
    frames_fps: float = 0.0,
    name: str = "mine",
    licence: str = "unknown",
) -> Manifest:
    """Turn a folder of class folders into a manifest.

    Args:
        media_root: Holds a folder for each class, or ``train``, ``val`` and ``test`` with these.
        out: Folder of the manifest.
        labels: A label space that comes with Tubelet (``kinetics400``), or a file with a class on each line; default:
            the folders' names, sorted.
        val_share: Without split folders, the share of the videos that becomes ``val``; decided by each one's name, so
            it stays where it is when others are added.
        frames_fps: Rate of the media that are folders of frames; without it the pictures of a class folder are clips.
        name: Of the data set.
        licence: Of the annotation.

    Raises:
        InputError: No class folder, or one that is no class of ``labels``; or some of the folders are called as splits
            and some are not.
    """
    if not 0 <= val_share < 1:
        raise InputError(f"val_share must be in [0, 1), got {val_share}")
    media = MediaFolder(media_root)
    counts = {"videos_outside_class_folders": 0, "pictures_left_out": media.num_pictures}
    found = []
    with_splits = _has_splits(media)
    depth = 1 if with_splits else 0
    for cell in _with_single_pictures(media, depth=depth) if frames_fps == 0 else media.cells:
        folders = cell.split("/")[:-1]
        if len(folders) <= depth:
            counts["videos_outside_class_folders"] += 1
            media.left_out[cell] = "is in no class folder"
            continue
        split = SPLITS[folders[0].lower()] if with_splits else "val" if share_of(cell) < val_share else "train"
        found.append((cell, folders[depth], split))
    if not found:
        raise InputError(
            f"{media_root}: no class folders; expected class/video.mp4 or train/class/video.mp4 (or pictures in "
            "place of videos, without frames_fps)"
        )
    space = read_classes(labels) if labels else LabelSpace(name=name, names=tuple(sorted({c for _, c, _ in found})))
    names = ClassNames(space)
    clip_ids = clip_names(cell for cell, _, _ in found)
    rows = [
        ClipRow(
            names=(cell,),
            clip_id=clip_ids[cell],
            split=split,
            labels=(names.column(str(media_root / cell), folder),),
        )
        for cell, folder, split in found
    ]
    return write_clips(
        out,
        rows=rows,
        media=media,
        frames_fps=frames_fps,
        name=name,
        label_space=space,
        multi_label=False,
        licence=licence,
        source=f"class folders ({media_root})",
        counts=counts,
    )


def _has_splits(media: MediaFolder) -> bool:
    """Return whether the folders at the top are splits; videos beside them do not matter.

    Raises:
        InputError: Some of them are called as splits, and some are not.
    """
    folders = sorted({cell.split("/")[0] for cell in media.cells if "/" in cell or media.is_folder(cell)})
    splits = [folder for folder in folders if folder.lower() in SPLITS]
    others = [folder for folder in folders if folder.lower() not in SPLITS]
    if splits and others:
        shown = ", ".join(map(repr, others[:3])) + (", ..." if len(others) > 3 else "")
        raise InputError(
            f"{media.root}: {', '.join(map(repr, splits))} beside {shown}; expected folders that are all splits "
            f"({', '.join(SPLITS)}) or all classes"
        )
    return bool(splits)


def _with_single_pictures(media: MediaFolder, *, depth: int) -> Iterator[str]:
    """Yield the media; in place of a class folder that holds pictures only, each of these by itself."""
    for cell in media.cells:
        if cell.count("/") == depth and media.is_folder(cell):
            yield from media.pictures_in(cell)
        else:
            yield cell
