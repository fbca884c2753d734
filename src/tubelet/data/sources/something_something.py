"""Something-Something v1 and v2: 174 templates, some of which are directions.

Source: <https://www.qualcomm.com/developer/software/something-something-v-2-dataset>. Licence: Qualcomm's (formerly
20BN's), research only.
v1: ``something-something-v1-{train,validation}.csv`` with rows ``id;template``, ``-test.csv`` with ids only,
``-labels.csv`` with a template on each line. Media: a folder of JPEG frames for each id, taken at 12 frames per second
(``20bn-something-something-v1/{id}/00001.jpg``), or webm.
v2: ``something-something-v2-{train,validation}.json`` (in the newer packages ``train.json`` ...): a list of ``{"id",
"label", "template", "placeholders"}``; ``-test.json`` has ids only; ``labels.json`` maps a template to its number,
written as text. Media: ``{id}.webm``.
Quirks: a v2 template has its placeholders in brackets, ``labels.json`` has not, so ``[`` and ``]`` are dropped before
it is looked up; ``label`` is the sentence with the objects filled in, no class.
Left and right: *Pushing something from left to right* and five like it change in a mirror; the label spaces hold the
swap, with which alone flips are allowed.
Expected: v1 86,017 train, 11,522 validation, 10,960 test; v2 168,913, 24,777, 27,157.
"""

from collections.abc import Iterator
from pathlib import Path

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import (
    ClassNames,
    given,
    packaged_label_space,
    plain_rows,
    read_classes,
    some_of,
    whole_number,
)
from tubelet.data.sources.clip_rows import ClipRow, write_clips
from tubelet.data.sources.media_folder import MediaFolder
from tubelet.labels import LabelSpace, swap_sides
from tubelet.records import read_json
from tubelet.types import InputError

NOT_DIRECTIONS = ("Plugging something into something but pulling it right out as you remove your hand",)
"""Templates in which *right* is no direction."""
LICENCE = "Something-Something's own: research only"
SOURCE = "https://www.qualcomm.com/developer/software/something-something-v-2-dataset"


def import_something_v1(
    *,
    train: Path,
    val: Path | None = None,
    test: Path | None = None,
    media_root: Path,
    out: Path,
    labels: Path | None = None,
    frames_fps: float = 12.0,
    name: str = "something_v1",
) -> Manifest:
    """Turn the csv files of Something-Something v1 into a manifest.

    Args:
        train: ``something-something-v1-train.csv``.
        val: ``something-something-v1-validation.csv``.
        test: ``something-something-v1-test.csv``, without labels.
        media_root: ``20bn-something-something-v1``, a folder of frames or a webm for each id.
        out: Folder of the manifest.
        labels: ``something-something-v1-labels.csv``; default: the published list.
        frames_fps: Rate of the frames.
        name: Of the data set.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    if labels is None:
        space = packaged_label_space("something_v1")
    else:
        space = _with_mirror(read_classes(str(labels), name=name), labels)
    names = ClassNames(space)
    rows = []
    for split, path in given(train=train, val=val, test=test):
        for place, cells in plain_rows(path, delimiter=";"):
            hidden = split == "test" and len(cells) == 1
            if len(cells) != 2 and not hidden:
                raise InputError(f"{place}: {len(cells)} columns, expected id;template")
            columns = () if hidden else (names.column(place, cells[1].strip()),)
            rows.append(_clip(place, cells[0], split, columns))
    return _write(out, rows, media_root, frames_fps, name, space)


def import_something_v2(
    *,
    train: Path,
    val: Path | None = None,
    test: Path | None = None,
    media_root: Path,
    out: Path,
    labels: Path | None = None,
    frames_fps: float = 0.0,
    name: str = "something_v2",
) -> Manifest:
    """Turn the json files of Something-Something v2 into a manifest.

    Args:
        train: ``something-something-v2-train.json``.
        val: ``something-something-v2-validation.json``.
        test: ``something-something-v2-test.json``, without labels.
        media_root: ``20bn-something-something-v2``, a webm for each id.
        out: Folder of the manifest.
        labels: ``something-something-v2-labels.json``; default: the published list.
        frames_fps: Rate of the media that are folders of frames.
        name: Of the data set.

    Raises:
        InputError: A mistake in the files, with file and place; or no video found.
    """
    space = packaged_label_space("something_v2") if labels is None else _read_labels(labels, name)
    names = ClassNames(space)
    rows = []
    for split, path in given(train=train, val=val, test=test):
        for place, item in _items(path):
            template = str(item.get("template", "")).replace("[", "").replace("]", "")
            if not template and split != "test":
                raise InputError(f"{place}: no template; expected id, label, template, placeholders")
            columns = (names.column(place, template),) if template else ()
            rows.append(_clip(place, item["id"], split, columns))
    return _write(out, rows, media_root, frames_fps, name, space)


def _clip(place: str, video: object, split: str, labels: tuple[int, ...]) -> ClipRow:
    if not isinstance(video, (str, int)) or not (video := str(video).strip()):
        raise InputError(f"{place}: id is {video!r}, expected the name of a video")
    return ClipRow(names=(video,), clip_id=video, split=split, labels=labels)


def _write(
    out: Path, rows: list[ClipRow], media_root: Path, frames_fps: float, name: str, space: LabelSpace
) -> Manifest:
    return write_clips(
        out,
        rows=rows,
        media=MediaFolder(media_root),
        frames_fps=frames_fps,
        name=name,
        label_space=space,
        multi_label=False,
        licence=LICENCE,
        source=SOURCE,
    )


def _items(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    items = read_json(path)
    if not isinstance(items, list):
        raise InputError(f"{path}: expected a list of objects with id, label, template, placeholders")
    for number, item in some_of(path, enumerate(items)):
        if not isinstance(item, dict) or "id" not in item:
            raise InputError(f"{path}: item {number}: expected an object with id, label, template, placeholders")
        yield f"{path}: item {number}", item


def _read_labels(path: Path, name: str) -> LabelSpace:
    """Read ``{"template": "number"}``; columns in the order of the numbers."""
    data = read_json(path)
    if not isinstance(data, dict) or not data:
        raise InputError(f'{path}: expected an object like {{"Holding something": "0"}}')
    numbers = sorted((whole_number(str(path), template, str(number)), template) for template, number in data.items())
    names = tuple(template for _, template in numbers)
    space = LabelSpace(name=name, names=names, ids=tuple(number for number, _ in numbers))
    return _with_mirror(space, path)


def _with_mirror(space: LabelSpace, path: Path) -> LabelSpace:
    mirrored = swap_sides(space.names, where=str(path), unchanged=NOT_DIRECTIONS)
    return LabelSpace(name=space.name, names=space.names, ids=space.ids, mirrored=mirrored)
