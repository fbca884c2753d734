"""EPIC-Kitchens-55 and -100: verbs, nouns and actions in egocentric videos of kitchens.

Source: <https://github.com/epic-kitchens/annotations> and ``.../epic-kitchens-100-annotations``. Licence: CC BY-NC 4.0,
which is why their lists of classes are read from the user's files and not shipped.
Columns used, with a header: ``participant_id,video_id,start_timestamp,stop_timestamp`` (``HH:MM:SS.ss``),
``verb_class,noun_class`` and the row's name, ``uid`` (55) or ``narration_id`` (100). The test files have no classes.
Class files: 55 ``verb_id,class_key,verbs`` and ``noun_id,class_key,nouns``; 100 ``id,key,instances,category``.
Media: ``{video_id}.MP4``, or a folder or tar of frames called ``{video_id}``.
Quirks: published frames are at 60 per second for every video of EPIC-55 (``start_frame`` over ``start_timestamp`` is
60.0 even where the video's rate is 59.94), at 50 for those that EPIC-100 added (three digits: ``P01_101``). An action
is a (verb, noun) pair; the pairs of the training file, sorted by their ids, make the label space.
Expected: 55: 28,472 training segments in 272 videos of 28 participants (352 nouns and 125 verbs, of which 321 and 119
occur; 2,513 actions), S1 8,047, S2 2,929. 100: 67,217 training, 9,668 validation, 13,092 test (97 verbs, 300 nouns).
Paper B's validation on unseen kitchens (after Baradel et al.): participants 01-25 train, 26-31 validation. By the
published csv these are 23,191 and 5,281 segments; the paper gives "~28K" training videos in 3.2, which is the whole
file, and "~20K" in 4.4, which is neither.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import given, table_rows, whole_number
from tubelet.data.sources.clip_rows import ClipRow, write_clips
from tubelet.data.sources.media_folder import MediaFolder
from tubelet.labels import LabelSpace
from tubelet.types import InputError

Target = Literal["verb", "noun", "action"]
SEGMENT = ("participant_id", "video_id", "start_timestamp", "stop_timestamp")
LICENCE = "CC BY-NC 4.0"
TIME = re.compile(r"(\d{1,3}):(\d{1,2}):(\d{1,2}(?:\.\d*)?)", re.ASCII)
FIRST_UNSEEN = 26  # participants 26..31 of EPIC-55 are paper B's validation


def import_epic55(
    *,
    train: Path,
    test_s1: Path | None = None,
    test_s2: Path | None = None,
    verb_classes: Path,
    noun_classes: Path,
    media_root: Path,
    out: Path,
    target: Target = "action",
    unseen_validation: bool = True,
    name: str | None = None,
) -> Manifest:
    """Turn the files of EPIC-Kitchens-55 into a manifest of its verbs, nouns or actions.

    Args:
        train: ``EPIC_train_action_labels.csv``.
        test_s1: ``EPIC_test_s1_timestamps.csv``, seen kitchens, without labels.
        test_s2: ``EPIC_test_s2_timestamps.csv``, unseen kitchens, without labels.
        verb_classes: ``EPIC_verb_classes.csv``.
        noun_classes: ``EPIC_noun_classes.csv``.
        media_root: Folder of the videos or of their frames (taken as 60 per second), in any sub-folders.
        out: Folder of the manifest.
        target: What the labels are.
        unseen_validation: Participants 26-31 become the split ``val`` (paper B); else all of it is ``train``.
        name: Of the data set; default ``epic55_action`` and so on.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    spaces = (
        _read_classes(verb_classes, ("verb_id", "class_key")),
        _read_classes(noun_classes, ("noun_id", "class_key")),
    )
    found = [("train", *row) for row in table_rows(train, ("uid", *SEGMENT, "verb_class", "noun_class"))]
    hidden = [
        (split, *row)
        for split, path in given(test_s1=test_s1, test_s2=test_s2)
        for row in table_rows(path, ("uid", *SEGMENT))
    ]
    if unseen_validation:
        found = [("val" if _participant(place, c) >= FIRST_UNSEEN else split, place, c) for split, place, c in found]
    return _write(
        [*found, *hidden],
        "uid",
        spaces,
        target=target,
        media_root=media_root,
        out=out,
        name=name or f"epic55_{target}",
        source="https://github.com/epic-kitchens/annotations",
    )


def import_epic100(
    *,
    train: Path,
    val: Path | None = None,
    test: Path | None = None,
    verb_classes: Path,
    noun_classes: Path,
    media_root: Path,
    out: Path,
    target: Target = "action",
    name: str | None = None,
) -> Manifest:
    """Turn the files of EPIC-Kitchens-100 into a manifest of its verbs, nouns or actions.

    Args:
        train: ``EPIC_100_train.csv``.
        val: ``EPIC_100_validation.csv``.
        test: ``EPIC_100_test_timestamps.csv``, without labels.
        verb_classes: ``EPIC_100_verb_classes.csv``.
        noun_classes: ``EPIC_100_noun_classes.csv`` (300; the corrected ``_v2`` has other names for some).
        media_root: Folder of the videos or of their frames, in any sub-folders.
        out: Folder of the manifest.
        target: What the labels are; actions of ``val`` that ``train`` lacks belong to the label space.
        name: Of the data set; default ``epic100_action`` and so on.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    spaces = (_read_classes(verb_classes, ("id", "key")), _read_classes(noun_classes, ("id", "key")))
    columns = ("narration_id", *SEGMENT)
    rows = [
        (split, *row)
        for split, path in given(train=train, val=val, test=test)
        for row in table_rows(path, columns if split == "test" else (*columns, "verb_class", "noun_class"))
    ]
    return _write(
        rows,
        "narration_id",
        spaces,
        target=target,
        media_root=media_root,
        out=out,
        name=name or f"epic100_{target}",
        source="https://github.com/epic-kitchens/epic-kitchens-100-annotations",
    )


def seconds_of(place: str, text: str) -> float:
    """Return the seconds of ``HH:MM:SS.ss``.

    Raises:
        InputError: It is not written so.
    """
    found = TIME.fullmatch(text.strip())
    if found is None:
        raise InputError(f"{place}: time is {text!r}, expected HH:MM:SS.ss")
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])


def _write(
    rows: list[tuple[str, str, dict[str, str]]],
    id_column: str,
    spaces: tuple[dict[int, str], dict[int, str]],
    *,
    target: Target,
    media_root: Path,
    out: Path,
    name: str,
    source: str,
) -> Manifest:
    classes = [None if split.startswith("test") else _classes(place, cells, spaces) for split, place, cells in rows]
    space = _label_space(name, target, spaces, sorted({pair for pair in classes if pair is not None}))
    columns = {name: k for k, name in enumerate(space.names)}
    clips = []
    for (split, place, cells), pair in zip(rows, classes, strict=True):
        labels = () if pair is None else (columns[_class_name(target, spaces, pair)],)
        clips.append(_clip(place, cells, split, cells[id_column].strip(), labels))
    return write_clips(
        out,
        rows=clips,
        media=MediaFolder(media_root),
        frames_fps=0.0,
        name=name,
        label_space=space,
        multi_label=False,
        licence=LICENCE,
        source=source,
    )


def _clip(place: str, cells: Mapping[str, str], split: str, row_id: str, labels: tuple[int, ...]) -> ClipRow:
    start, end = (seconds_of(place, cells[column]) for column in ("start_timestamp", "stop_timestamp"))
    if end < start:
        raise InputError(f"{place}: stop_timestamp is {cells['stop_timestamp']}, expected after the start")
    video = cells["video_id"].strip()
    added_by_100 = len(video.rpartition("_")[2]) == 3
    # A uid is a bare number in EPIC-55.
    clip_id = f"{video}_{row_id}" if row_id.isdigit() else row_id
    fps = 50.0 if added_by_100 else 60.0
    return ClipRow(names=(video,), clip_id=clip_id, split=split, labels=labels, segment=(start, end), frames_fps=fps)


def _participant(place: str, cells: Mapping[str, str]) -> int:
    return whole_number(place, "participant_id", cells["participant_id"].strip().lstrip("P"))


def _classes(place: str, cells: Mapping[str, str], spaces: tuple[dict[int, str], dict[int, str]]) -> tuple[int, int]:
    """Return the ids of verb and noun."""
    ids = []
    for what, space in zip(("verb_class", "noun_class"), spaces, strict=True):
        number = whole_number(place, what, cells[what])
        if number not in space:
            raise InputError(f"{place}: {what} {number} is not in the list of classes (0..{max(space)})")
        ids.append(number)
    return ids[0], ids[1]


def _class_name(target: Target, spaces: tuple[dict[int, str], dict[int, str]], pair: tuple[int, int]) -> str:
    verb, noun = spaces[0][pair[0]], spaces[1][pair[1]]
    return {"verb": verb, "noun": noun, "action": f"{verb} {noun}"}[target]


def _label_space(
    name: str, target: Target, spaces: tuple[dict[int, str], dict[int, str]], pairs: list[tuple[int, int]]
) -> LabelSpace:
    if target == "action":
        return LabelSpace(name=name, names=tuple(_class_name(target, spaces, pair) for pair in pairs))
    classes = spaces[0 if target == "verb" else 1]
    return LabelSpace(name=name, names=tuple(classes.values()), ids=tuple(classes))


def _read_classes(path: Path, columns: tuple[str, str]) -> dict[int, str]:
    """Return the name of each id, in the order of the ids."""
    key, name = columns
    classes = {whole_number(place, key, cells[key]): cells[name].strip() for place, cells in table_rows(path, columns)}
    if not classes:
        raise InputError(f"{path}: has no rows; expected {key},{name}")
    return dict(sorted(classes.items()))
