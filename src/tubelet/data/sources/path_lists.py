"""Lists of ``path label``: PySlowFast's ``train.csv``, ``val.csv``, ``test.csv``, and MMAction2's video lists.

Source: <https://github.com/facebookresearch/SlowFast>, ``slowfast/datasets/kinetics.py`` and ``ssv2.py``.
Columns: a path and a whole number, with no header, separated by ``DATA.PATH_LABEL_SEPARATOR`` (a blank by default).
Quirks: paths may be absolute, below ``DATA.PATH_PREFIX`` or with blanks in them (the last separator counts);
``test.csv`` is often a copy of ``val.csv``, which makes the clips of both splits the same.
"""

from pathlib import Path

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import given, plain_lines, read_classes, whole_number
from tubelet.data.sources.clip_rows import ClipRow, write_clips
from tubelet.data.sources.media_folder import MediaFolder, without_suffix
from tubelet.labels import LabelSpace
from tubelet.types import InputError

MAX_CLASSES = 100_000
"""A larger label is a mistake, and a list of so many names would fill the memory."""


def import_path_lists(
    *,
    train: Path,
    val: Path | None = None,
    test: Path | None = None,
    media_root: Path,
    out: Path,
    labels: str | None = None,
    separator: str = " ",
    frames_fps: float = 0.0,
    name: str = "mine",
    licence: str = "unknown",
) -> Manifest:
    """Turn lists of ``path label`` into a manifest.

    Args:
        train: The list of the training split.
        val: The same for validation.
        test: The same for testing.
        media_root: Folder that holds the videos; absolute paths are taken from below it.
        out: Folder of the manifest.
        labels: A label space that comes with Tubelet (``kinetics400``), or a file with a class on each line; without
            it the classes are called by their numbers.
        separator: Between path and label.
        frames_fps: Rate of the media that are folders of frames.
        name: Of the data set.
        licence: Of the annotation.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    if not separator:
        raise InputError("separator is empty, expected what stands between path and label")
    rows = [
        (place, split, *_path_and_label(place, line, separator))
        for split, path in given(train=train, val=val, test=test)
        for place, line in plain_lines(path)
    ]
    space = read_classes(labels) if labels else _numbered(name, rows)
    root = f"{media_root.absolute()}/"
    clips = []
    for place, split, path_text, label in rows:
        if not 0 <= label < len(space):
            raise InputError(f"{place}: label {label} is not in {space.name}; expected 0..{len(space) - 1}")
        video = path_text.removeprefix(root).lstrip("/")
        clips.append(ClipRow(names=(video,), clip_id=without_suffix(video), split=split, labels=(label,)))
    return write_clips(
        out,
        rows=clips,
        media=MediaFolder(media_root),
        frames_fps=frames_fps,
        name=name,
        label_space=space,
        multi_label=False,
        licence=licence,
        source=f"lists of paths ({train})",
    )


def _numbered(name: str, rows: list[tuple[str, str, str, int]]) -> LabelSpace:
    """Return as many classes as the largest label asks for, called by their numbers."""
    place, _, _, largest = max(rows, key=lambda row: row[3])
    if largest >= MAX_CLASSES:
        raise InputError(f"{place}: label {largest}; expected less than {MAX_CLASSES}")
    return LabelSpace(name=name, names=tuple(map(str, range(largest + 1))))


def _path_and_label(place: str, line: str, separator: str) -> tuple[str, int]:
    path, found, label = line.rpartition(separator)
    if not found or not path.strip():
        raise InputError(f"{place}: {line!r} is not path{separator}label; expected the separator {separator!r}")
    return path.strip(), whole_number(place, "the label", label)
