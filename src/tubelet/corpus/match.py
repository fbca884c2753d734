"""From posts joined with hashtags to videos with labels; every rule reports what it dropped (paper B, 3.1 and 3.3)."""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tubelet.corpus.hashtags import Hashtags, VerbNouns
from tubelet.corpus.join import JoinSettings, join_posts
from tubelet.corpus.post_batches import in_order
from tubelet.corpus.rules import RuleCount
from tubelet.corpus.stored import Labelled, Matched, keep_videos
from tubelet.labels import LabelSpace
from tubelet.types import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelCount:
    """One seed label and what it caught."""

    name: str
    num_hashtags: int
    num_videos: int
    """Videos with at least one of its hashtags."""
    num_assigned: int
    """Videos whose label it became; 0 for a dropped label."""
    kept: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchReport:
    """Counts before and after every rule, so nothing disappears unexplained."""

    rules: tuple[RuleCount, ...]
    labels: tuple[LabelCount, ...]
    """Of every seed label, in the order of the label space."""
    num_ambiguous_hashtags: int
    """Hashtags that belong to more than one label; such a video may get either."""
    num_orders_left_out: int
    """Label variants too long to permute."""
    num_videos_several_labels: int
    """Videos for which one of several labels was chosen, or which keep several."""
    sources: tuple[tuple[str, int], ...]
    """Name and bytes of each file of posts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matches:
    """Videos with their labels."""

    label_space: LabelSpace
    """The labels that were kept, in their order."""
    videos: pa.Table
    """video, duration_seconds (0 for a picture), labels (list of columns of ``label_space``), in the order of video."""
    all_labels: bool
    """Whether a video keeps every label, or one."""
    report: MatchReport


@dataclass(frozen=True, kw_only=True, slots=True)
class HashtagCounts:
    """Which hashtags of a label space posts use."""

    table: pa.Table
    """label (name), hashtag, posts: a row for each, hashtags that no post uses with 0; most used first in a label."""
    label_posts: dict[str, int]
    """Posts with any hashtag of a label; labels without one are left out."""
    rules: tuple[RuleCount, ...]


def count_hashtags(
    posts: str | Path, seeds: Hashtags | VerbNouns, settings: JoinSettings | None = None
) -> HashtagCounts:
    """Count how many posts use each hashtag of each label, so that a person can prune the list.

    Args:
        posts: See ``open_posts``; durations are not needed.
        seeds: Hashtags of labels.
        settings: How to read the posts.
    """
    settings = replace(settings or JoinSettings(), needs_duration=False)
    with tempfile.TemporaryDirectory(prefix="tubelet-labels-") as folder:
        joined = join_posts(posts, seeds, settings, Path(folder) / "labelled.parquet")
        counts = label_counts(joined).tolist()
    matched = joined.matched
    names, tags = matched.hashtags.label_space.names, matched.hashtags.table
    pairs = zip(tags.column("label").to_pylist(), tags.column("tag").to_pylist())
    rows = sorted((label, -matched.tag_posts[tag], tag) for label, tag in set(pairs))
    table = pa.table(
        {
            "label": pa.array([names[label] for label, _, _ in rows], pa.string()),
            "hashtag": pa.array([tag for _, _, tag in rows], pa.string()),
            "posts": pa.array([-posts for _, posts, _ in rows], pa.int64()),
        }
    )
    label_posts = {name: count for name, count in zip(names, counts, strict=True) if count}
    return HashtagCounts(table=table, label_posts=label_posts, rules=matched.rules)


def keep_present(labelled: Labelled, is_present: Callable[[str], bool]) -> Labelled:
    """Drop videos that have no file."""
    here = [is_present(video) for batch in labelled.batches() for video in batch.column("video").to_pylist()]
    return keep_videos(labelled, np.array(here, np.bool_), "the file of the video exists")


def keep_frequent(labelled: Labelled, min_videos: int) -> Labelled:
    """Drop videos that have only labels with too few videos, so that they need not be decoded."""
    frequent = label_counts(labelled) >= min_videos
    keep = [np.zeros(0, np.bool_)]
    for batch in labelled.batches():
        owners, labels = _pairs(batch)
        keep.append(np.bincount(owners[frequent[labels]], minlength=len(batch)) > 0)
    return keep_videos(labelled, np.concatenate(keep), f"a label of the video has at least {min_videos} videos")


def label_counts(labelled: Labelled) -> NDArray[np.int64]:
    """Return how many videos each label has, (labels,)."""
    counts = np.zeros(len(labelled.matched.hashtags.label_space), np.int64)
    for batch in labelled.batches():
        counts += np.bincount(_pairs(batch)[1], minlength=len(counts))
    return counts


def choose_labels(labelled: Labelled, *, min_videos: int, seed: int, all_labels: bool) -> Matches:
    """Drop labels with few videos, and give each video one of those that are left.

    Args:
        labelled: Videos with all their labels.
        min_videos: Labels with fewer videos are dropped (paper B: 50).
        seed: Decides which of several labels a video gets, from (seed, video) alone (paper B, 3.3).
        all_labels: Keep every label of a video instead of one.

    Raises:
        InputError: No label is left.
    """
    names = labelled.matched.hashtags.label_space.names
    per_label = label_counts(labelled)
    kept = np.flatnonzero(per_label >= min_videos)
    if not len(kept):
        raise InputError(_why_no_label(names, per_label, labelled.matched.rules, min_videos))
    space = LabelSpace(name=labelled.matched.hashtags.label_space.name, names=tuple(names[k] for k in kept))
    place_of = np.full(len(names), -1, np.int32)
    place_of[kept] = np.arange(len(kept))
    assigned = np.zeros(len(names), np.int64)
    with duckdb.connect() as connection:

        def choose(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
            owners, labels = _pairs(batch)
            places = place_of[labels]
            owners, places = owners[places >= 0], places[places >= 0]
            labels_of = np.bincount(owners, minlength=len(batch))
            num_several = int((labels_of > 1).sum())
            if not all_labels:
                cursor = connection.cursor()
                is_drawn = _drawn(cursor, batch.column("video"), owners, places, labels_of, space.names, seed)
                places, labels_of = places[is_drawn], np.minimum(labels_of, 1)
            return _videos(batch, places, labels_of), num_several

        chosen = list(in_order(choose, labelled.batches(), len(os.sched_getaffinity(0))))
    for batch, _ in chosen:
        assigned[kept] += np.bincount(_pairs(batch)[1], minlength=len(kept))
    videos, num_several = pa.Table.from_batches([batch for batch, _ in chosen]), sum(number for _, number in chosen)
    what = f"labels with at least {min_videos} videos"
    rules = (
        *labelled.matched.rules,
        RuleCount(rule=what, unit="labels", before=len(names), after=len(kept)),
        RuleCount(rule=f"videos of {what}", unit="videos", before=labelled.num_videos, after=len(videos)),
    )
    report = _report(labelled.matched, rules, per_label, assigned, min_videos, num_several)
    return Matches(label_space=space, videos=videos, all_labels=all_labels, report=report)


def _pairs(batch: pa.RecordBatch) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (row, label) for each label of each video, in order."""
    lists = batch.column("labels")
    return pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists).to_numpy()


def _videos(batch: pa.RecordBatch, places: NDArray[Any], labels_of: NDArray[np.int64]) -> pa.RecordBatch:
    """Return the videos that have a label with their labels; ``labels_of`` says how many each has."""
    has_label = labels_of > 0
    offsets = pa.array(np.append(0, np.cumsum(labels_of[has_label])), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(places, pa.int32()))
    return batch.select(["video", "duration_seconds"]).filter(pa.array(has_label)).append_column("labels", lists)


def _drawn(
    connection: duckdb.DuckDBPyConnection,
    videos: pa.Array,
    owners: NDArray[Any],
    places: NDArray[Any],
    labels_of: NDArray[np.int64],
    names: Sequence[str],
    seed: int,
) -> NDArray[np.bool_]:
    """Keep one label of each video: whose hash with (seed, video) is smallest, whatever the order of posts."""
    keep: NDArray[np.bool_] = labels_of[owners] < 2
    pairs = np.flatnonzero(~keep)
    table = pa.table(
        {
            "pair": pairs,
            "owner": owners[pairs],
            "video": videos.take(pa.array(owners[pairs])),
            "name": pa.array(names, pa.string()).take(pa.array(places[pairs])),
        }
    )
    connection.register("pairs", table)
    chosen = connection.execute(
        "SELECT arg_min(pair, md5(concat_ws(chr(31), ?::VARCHAR, video, name))) AS pair FROM pairs GROUP BY owner",
        [seed],
    ).fetchnumpy()["pair"]
    connection.unregister("pairs")
    keep[chosen.astype(np.int64)] = True
    return keep


def _report(
    matched: Matched,
    rules: tuple[RuleCount, ...],
    per_label: NDArray[np.int64],
    assigned: NDArray[np.int64],
    min_videos: int,
    num_several: int,
) -> MatchReport:
    hashtags = matched.hashtags
    num_hashtags = np.bincount(hashtags.table.column("label").to_numpy(), minlength=len(per_label))
    labels = tuple(
        LabelCount(
            name=name,
            num_hashtags=int(num_hashtags[k]),
            num_videos=int(per_label[k]),
            num_assigned=int(assigned[k]),
            kept=bool(per_label[k] >= min_videos),
        )
        for k, name in enumerate(hashtags.label_space.names)
    )
    tags = pc.value_counts(hashtags.table.column("tag"))
    return MatchReport(
        rules=rules,
        labels=labels,
        num_ambiguous_hashtags=int((tags.field("counts").to_numpy() > 1).sum()),
        num_orders_left_out=hashtags.num_orders_left_out,
        num_videos_several_labels=num_several,
        sources=matched.sources,
    )


def _why_no_label(
    names: Sequence[str], per_label: NDArray[np.int64], rules: Sequence[RuleCount], min_videos: int
) -> str:
    steps = "; ".join(f"{r.rule}: {r.after:g} of {r.before:g} {r.unit}" for r in rules)
    if not len(names):
        return f"no label: no post has a tag that means one ({steps})"
    best = int(per_label.argmax())
    return f"no label has {min_videos} videos, the largest is {names[best]!r} with {per_label[best]} ({steps})"
