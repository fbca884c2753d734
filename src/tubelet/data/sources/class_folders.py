"""A folder of videos in class folders: ``class/video.mp4``, or ``train/class/video.mp4`` with the splits above.

Kinetics as it is often passed on has this layout too (``train/air_drumming/...``): name its label space, so that the
columns are the published ones.
"""

from pathlib import Path

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import ClassNames, read_classes
from tubelet.data.sources.clip_rows import ClipRow, write_clips
from tubelet.data.sources.media_folder import MediaFolder, share_of, without_suffix
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
        frames_fps: Rate of the media that are folders of frames.
        name: Of the data set.
        licence: Of the annotation.

    Raises:
        InputError: No class folder, or one that is no class of ``labels``.
    """
    if not 0 <= val_share < 1:
        raise InputError(f"val_share must be in [0, 1), got {val_share}")
    media = MediaFolder(media_root)
    counts = {"videos_outside_class_folders": 0}
    found = []
    with_splits = all(cell.split("/")[0].lower() in SPLITS for cell in media.cells)
    for cell in media.cells:
        folders = cell.split("/")[:-1]
        if len(folders) < (2 if with_splits else 1):
            counts["videos_outside_class_folders"] += 1
            continue
        split = SPLITS[folders[0].lower()] if with_splits else "val" if share_of(cell) < val_share else "train"
        found.append((cell, folders[1 if with_splits else 0], split))
    if not found:
        raise InputError(f"{media_root}: no class folders; expected class/video.mp4 or train/class/video.mp4")
    space = read_classes(labels) if labels else LabelSpace(name=name, names=tuple(sorted({c for _, c, _ in found})))
    names = ClassNames(space)
    rows = [
        ClipRow(
            names=(cell,),
            clip_id=without_suffix(cell),
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
