"""Writes what the rendered videos' truths say: manifests, AVA files, and the table of posts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tubelet.data.ava_csv import format_seconds, write_ava_csv
from tubelet.data.ava_table import AvaTable, keyframe_of
from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.data.sources.ava_lists import write_label_map
from tubelet.labels import LabelSpace
from tubelet.playground import posts
from tubelet.playground.actions import LOCALISE_GROUPS, LOCALISE_NAMES, VERBS
from tubelet.playground.sets import CLIP_SETS, KITCHEN_VERBS
from tubelet.records import whole_file

Truth = dict[str, Any]

_LICENCE = "Apache-2.0; made from motion capture (zlib licence) and CC0 bodies"
_SOURCE = "tubelet playground"
_HEAD_SHARE, _TAIL_SHARE = 8 / 60, 29 / 60
"""Paper A, 4.2: 8 head and 29 tail classes of 60; the thresholds (10,000 and 1,000 boxes) suit AVA's size only."""


def publish(root: Path, truths: Mapping[str, Sequence[Truth]]) -> dict[str, Manifest]:
    """Write every manifest, the AVA files and the posts.

    Args:
        root: The playground's folder.
        truths: Set name -> truths in the order of the jobs.

    Returns:
        The manifests by name.
    """
    space = localise_space(truths["localise"])
    manifests = {"localise": _write_localise(root, "localise", space, truths["localise"])}
    write_ava_files(root / "ava", space, truths["localise"])
    for name in CLIP_SETS:
        manifests[name] = _write_clips(root, name, LabelSpace(name=name, names=tuple(CLIP_SETS[name])), truths[name])
    manifests |= _write_kitchen_parts(root, truths["kitchen"])
    manifests["single_keyframe"] = _write_localise(root, "single_keyframe", space, truths["kinetics"])
    write_posts(root, truths["posts"])
    return manifests


def localise_space(truths: Sequence[Truth]) -> LabelSpace:
    """Return the localisation set's label space, with buckets by training frequency."""
    counts = count_labels(truths, "train")
    return LabelSpace(
        name="playground",
        names=LOCALISE_NAMES,
        ids=tuple(range(1, len(LOCALISE_NAMES) + 1)),
        groups=LOCALISE_GROUPS,
        buckets=buckets([counts[name] for name in LOCALISE_NAMES]),
    )


def count_labels(truths: Sequence[Truth], split: str) -> Counter[str]:
    """Return how many boxes of a split carry each label."""
    return Counter(
        label
        for truth in truths
        if truth["split"] == split
        for key in annotated(truth)
        for person in key["people"]
        for label in person["labels"]
    )


def buckets(counts: Sequence[int]) -> tuple[str, ...]:
    """Return ``head``, ``mid`` or ``tail`` for each class, in the shares of paper A's table 9."""
    order = np.argsort(-np.asarray(counts), kind="stable")
    number = len(counts)
    found = ["mid"] * number
    for k in order[: round(_HEAD_SHARE * number)]:
        found[int(k)] = "head"
    for k in order[number - round(_TAIL_SHARE * number) :]:
        found[int(k)] = "tail"
    return tuple(found)


def annotated(truth: Truth) -> list[dict[str, Any]]:
    """Return the keyframes that are not excluded."""
    return [key for key in truth["keyframes"] if not key["ambiguous"]]


def _clip_id(truth: Truth) -> str:
    return Path(truth["video"]).stem


def _end(truth: Truth) -> float:
    return round(float(truth["num_frames"] / truth["fps"]), 6)


def _clip_row(truth: Truth, labels: list[int]) -> dict[str, object]:
    return {
        "clip_id": _clip_id(truth), "video": truth["video"], "start_seconds": 0.0, "end_seconds": _end(truth),
        "split": truth["split"], "labels": labels,
    }  # fmt: skip


def _write_localise(root: Path, name: str, space: LabelSpace, truths: Sequence[Truth]) -> Manifest:
    boxes = []
    for truth in truths:
        for key in annotated(truth):
            for person in key["people"]:
                x1, y1, x2, y2 = person["box_norm"]
                boxes.append({
                    "clip_id": _clip_id(truth), "pts_seconds": key["pts_seconds"], "person_id": person["person_id"],
                    "x1": x1, "y1": y1, "x2": x2, "y2": y2,
                    "labels": sorted(space.index(label) for label in person["labels"]),
                })  # fmt: skip
    return write_manifest(
        root / "manifests" / name, name=name, kind="localise", multi_label=True, label_space=space, media_root="../..",
        licence=_LICENCE, source=_SOURCE, clips=[_clip_row(t, []) for t in truths], boxes=boxes,
    )  # fmt: skip


def _write_clips(root: Path, name: str, space: LabelSpace, truths: Sequence[Truth], label: str = "label") -> Manifest:
    return write_manifest(
        root / "manifests" / name, name=name, kind="classify", multi_label=False, label_space=space, media_root="../..",
        licence=_LICENCE, source=_SOURCE, clips=[_clip_row(t, [space.index(t[label])]) for t in truths],
    )  # fmt: skip


def _write_kitchen_parts(root: Path, truths: Sequence[Truth]) -> dict[str, Manifest]:
    """Write the kitchen's verbs and nouns as sets of their own, on the same videos."""
    parts = []
    for truth in truths:
        verb = KITCHEN_VERBS[truth["verb"]]
        parts.append(truth | {"kitchen verb": verb, "kitchen noun": truth["label"].removeprefix(verb + " ")})
    manifests = {}
    for what in ("verb", "noun"):
        names = tuple(dict.fromkeys(
            name if what == "verb" else label.removeprefix(name + " ")
            for name in KITCHEN_VERBS.values() for label in CLIP_SETS["kitchen"] if label.startswith(name + " ")
        ))  # fmt: skip
        space = LabelSpace(name=f"kitchen_{what}", names=names)
        manifests[space.name] = _write_clips(root, space.name, space, parts, label=f"kitchen {what}")
    return manifests


def write_ava_files(folder: Path, space: LabelSpace, truths: Sequence[Truth]) -> None:
    """Write ground truth, action list and excluded timestamps as AVA publishes them.

    Args:
        folder: Created if missing.
        space: The localisation set's label space.
        truths: Of its videos.
    """
    write_label_map(folder / "ava_action_list.pbtxt", space)
    for split in ("train", "val", "test"):
        rows, empty, excluded = [], set(), []
        for truth in (t for t in truths if t["split"] == split):
            video = _clip_id(truth)
            excluded += [f"{video},{format_seconds(k['pts_seconds'])}\n" for k in truth["keyframes"] if k["ambiguous"]]
            for key in annotated(truth):
                if not key["people"]:
                    empty.add(keyframe_of(video, key["pts_seconds"]))
                rows += [
                    (video, key["pts_seconds"], who["box_norm"], 1 + space.index(label), who["person_id"])
                    for who in key["people"]
                    for label in who["labels"]
                ]
        table = AvaTable(
            video=np.array([r[0] for r in rows], dtype=object),
            pts_seconds=np.array([r[1] for r in rows], dtype=np.float64),
            boxes_norm=np.array([r[2] for r in rows], dtype=np.float64).reshape(-1, 4),
            label_ids=np.array([r[3] for r in rows], dtype=np.int32),
            person_ids=np.array([r[4] for r in rows], dtype=np.int64),
            keyframes=frozenset(empty),
        )
        write_ava_csv(folder / f"ava_{split}.csv", table)
        with whole_file(folder / f"ava_{split}_excluded_timestamps.csv") as file:
            file.writelines(excluded)


def write_posts(root: Path, truths: Sequence[Truth]) -> None:
    """Write posts.parquet, and the seed labels that a corpus may start from: phrases, verbs and nouns."""
    rows = [
        {
            "video": t["video"], "tags": t["post"]["tags"], "text": t["post"]["text"], "duration_seconds": _end(t),
            "uploader": t["post"]["uploader"], "duplicate_of": t["post"]["duplicate_of"],
            "true_label": t["post"]["true_label"],
        }
        for t in truths
    ]  # fmt: skip
    schema = pa.schema([
        ("video", pa.string()), ("tags", pa.list_(pa.string())), ("text", pa.string()),
        ("duration_seconds", pa.float64()),
        ("uploader", pa.string()), ("duplicate_of", pa.string()), ("true_label", pa.string()),
    ])  # fmt: skip
    temporary = root / ".posts.parquet.tmp"
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary, compression="zstd")
    temporary.replace(root / "posts.parquet")
    nouns = dict.fromkeys(posts.spell_noun(n) for v in VERBS.values() for n in v.activity.nouns)
    lists = {
        "labels": [t.label for t in posts.themes()],
        "verbs": [v.gerund for v in VERBS.values()],
        "nouns": list(nouns),
    }
    for name, lines in lists.items():
        with whole_file(root / f"seed_{name}.txt") as file:
            file.writelines(f"{line}\n" for line in lines)
