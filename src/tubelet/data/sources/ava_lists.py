"""AVA's lists: actions (pbtxt), excluded timestamps, videos; and the label spaces and frequencies published for AVA."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tubelet.data.ava_rows import parse_keyframe
from tubelet.data.ava_table import Keyframe
from tubelet.data.sources.annotation_files import packaged_label_space, plain_lines
from tubelet.labels import LabelSpace, buckets_by_count
from tubelet.records import read_text, whole_file
from tubelet.types import InputError, did_you_mean

AVA_SPACES = ("ava_60", "ava_80")
GROUPS = {
    "PERSON_MOVEMENT": "pose",
    "OBJECT_MANIPULATION": "person-object",
    "PERSON_INTERACTION": "person-person",
}
"""AVA's published ``label_type`` and the name of the group in a label space."""

# fmt: off
TABLE_9: Mapping[int, int] = {
    80: 168148, 12: 166357, 79: 110267, 74: 106816, 11: 100323, 17: 80451, 14: 40771, 59: 17133, 1: 8349, 8: 5356,
    49: 4808, 10: 3337, 15: 3279, 4: 3267, 29: 3025, 54: 2991, 64: 2695, 27: 2335, 3: 2321, 48: 2146,
    9: 2117, 66: 2003, 61: 1993, 77: 1643, 41: 1297, 38: 1251, 28: 1188, 67: 1187, 6: 1124, 70: 1103,
    65: 1073, 22: 786, 63: 777, 51: 719, 72: 714, 37: 668, 68: 619, 78: 608, 47: 533, 36: 519,
    57: 415, 73: 400, 46: 387, 76: 355, 69: 351, 45: 344, 26: 342, 5: 291, 20: 268, 58: 249,
    7: 245, 30: 225, 52: 222, 24: 184, 56: 181, 34: 177, 62: 176, 60: 137, 13: 111, 43: 97,
}
# fmt: on
"""Labelled examples of the 60 evaluated actions in AVA v2.2's training set, by id (paper A, Table 9).

They sum to 861,254, more than the 837,318 rows of the public ``ava_train_v2.2.csv``, of which some belong to the other
20 actions; the paper does not say what else was counted. The split into 8 head, 23 mid and 29 tail classes (more than
10,000, fewer than 1,000) is what the label space ``ava_60`` carries.
"""
PUBLIC_ROWS = 837_318


def ava_label_space(labels: str) -> LabelSpace:
    """Return ``ava_60`` (the evaluated actions, with groups and paper A's split), ``ava_80``, or a user's pbtxt.

    Args:
        labels: One of the two names, or the path of an action list.

    Raises:
        InputError: It is neither; ids of other sets mean other actions.
    """
    if Path(labels).suffix:
        return read_label_map(labels)
    if labels not in AVA_SPACES:
        hint = did_you_mean(labels, AVA_SPACES)
        raise InputError(f"no list of AVA's actions {labels!r}{hint}; expected {', '.join(AVA_SPACES)} or a pbtxt file")
    return packaged_label_space(labels)


def frequency_differences(label_ids: np.ndarray, space: LabelSpace) -> list[str]:
    """Compare the classes' frequencies in a training csv with paper A's Table 9.

    Args:
        label_ids: (R,) published ids, one per row of the csv.
        space: The classes.

    Returns:
        A line for each class whose number differs, the classes that would change their bucket first; empty where the
        label space carries no split or the csv has Table 9's numbers.
    """
    if not space.buckets:
        return []
    counts = Counter(label_ids.tolist())
    now = buckets_by_count([counts[label_id] for label_id in space.published_ids])
    lines = []
    for label_id, name, stored, found in zip(space.published_ids, space.names, space.buckets, now, strict=True):
        published = TABLE_9.get(label_id)
        if counts[label_id] != published:
            moved = f": {found}, the stored split says {stored}" if found != stored else ""
            lines.append((not moved, f"{name}: {counts[label_id]} rows, paper A has {published}{moved}"))
    return [line for _, line in sorted(lines, key=lambda item: item[0])]


def read_video_list(path: str | Path) -> list[str]:
    """Return the videos of a list as ``ava_test_v2.2.txt``: an id on each line, with or without a suffix."""
    videos = [Path(line).stem if Path(line).suffix in (".mp4", ".mkv", ".webm", ".avi") else line
              for _, line in plain_lines(Path(path))]  # fmt: skip
    return list(dict.fromkeys(videos))


def read_excluded(path: str | Path) -> set[Keyframe]:
    """Read a file of excluded timestamps, ``video_id,seconds`` in each line."""
    path = Path(path)
    keys: set[Keyframe] = set()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            keys.add(parse_keyframe(path, number, line))
    return keys


def read_label_map(path: str | Path, *, name: str | None = None) -> LabelSpace:
    """Read an action list: ``item { name: "..." id: N }``, or ``label { ... label_id: N label_type: T }``.

    Args:
        path: The pbtxt.
        name: Name of the label space; default: the file's stem.

    Raises:
        InputError: A block without name or id, or twice the same, with file and line.
    """
    path = Path(path)
    text = read_text(path)
    names, ids, types, end = [], [], [], 0
    for block in re.finditer(r'\b\w+\s*\{((?:"(?:\\.|[^"\\])*"|[^}"])*)\}', text):
        place = f"{path}:{text.count(chr(10), 0, block.start()) + 1}"
        _nothing_between(path, text, end, block.start())
        end = block.end()
        label = re.search(r'\bname\s*:\s*"((?:\\.|[^"\\])*)"', block[1])
        number = re.search(r"(?:\b|\")(?:label_)?id\s*:\s*(-?\d+)", block[1])
        kind = re.search(r"label_type\s*:\s*(\w+)", block[1])
        if label is None or number is None:
            raise InputError(f'{place}: expected a name: "..." and an id: N (or label_id: N) in this block')
        names.append(re.sub(r"\\(.)", r"\1", label[1]))
        ids.append(int(number[1]))
        types.append(kind[1] if kind else "")
        if ids[-1] in ids[:-1] or names[-1] in names[:-1]:
            raise InputError(f"{place}: class {names[-1]!r} with id {ids[-1]} repeats an earlier name or id")
        if not 0 <= ids[-1] < 1 << 31:
            raise InputError(f"{place}: class {names[-1]!r} has id {ids[-1]}, expected 0 to 2147483647")
    if not names:
        raise InputError(f'{path}:1: no classes; expected blocks like item {{ name: "stand" id: 12 }}')
    _nothing_between(path, text, end, len(text))
    groups = tuple(GROUPS.get(t, t) for t in types) if all(types) else ()
    return LabelSpace(name=name or path.stem, names=tuple(names), ids=tuple(ids), groups=groups)


def _nothing_between(path: Path, text: str, start: int, end: int) -> None:
    """Refuse what stands between two blocks, or after the last, and is neither space nor comment."""
    found = re.search(r"[^\s,;]", re.sub(r"#.*", lambda comment: " " * len(comment[0]), text[start:end]))
    if found:
        line = text.count("\n", 0, start + found.start()) + 1
        cut = text[start + found.start() : end].split("\n")[0][:40]
        raise InputError(f'{path}:{line}: {cut!r} is no whole block; expected item {{ name: "stand" id: 12 }}')


def write_label_map(path: str | Path, space: LabelSpace) -> None:
    """Write an action list in the layout public parsers key on; AVA's groups become ``label_type`` lines."""
    published = {group: kind for kind, group in GROUPS.items()}
    blocks = []
    for i, (name, label_id) in enumerate(zip(space.names, space.published_ids, strict=True)):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        kind = f"  label_type: {published.get(space.groups[i], space.groups[i])}\n" if space.groups else ""
        blocks.append(f'item {{\n  name: "{quoted}"\n  id: {label_id}\n{kind}}}\n')
    with whole_file(Path(path)) as file:
        file.writelines(blocks)
