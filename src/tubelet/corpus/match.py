"""From posts joined with hashtags to videos with labels; every rule reports what it dropped (paper B, 3.1 and 3.3)."""

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
from tubelet.corpus.join import JoinSettings, Labelled, join_posts
from tubelet.corpus.rules import RuleCount
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
    joined = join_posts(posts, seeds, replace(settings or JoinSettings(), needs_duration=False))
    names = joined.hashtags.label_space.names
    pairs = zip(joined.hashtags.table.column("label").to_pylist(), joined.hashtags.table.column("tag").to_pylist())
    rows = sorted((label, -joined.tag_posts[tag], tag) for label, tag in set(pairs))
    table = pa.table(
        {
            "label": pa.array([names[label] for label, _, _ in rows], pa.string()),
            "hashtag": pa.array([tag for _, _, tag in rows], pa.string()),
            "posts": pa.array([-posts for _, posts, _ in rows], pa.int64()),
        }
    )
    counts = label_counts(joined.videos, len(names)).tolist()
    label_posts = {name: count for name, count in zip(names, counts, strict=True) if count}
    return HashtagCounts(table=table, label_posts=label_posts, rules=joined.rules)


def match_posts(
    posts: str | Path,
    seeds: Hashtags | VerbNouns,
    *,
    min_videos: int = 50,
    seed: int = 0,
    all_labels: bool = False,
    is_present: Callable[[str], bool] | None = None,
    settings: JoinSettings | None = None,
) -> Matches:
    """Give videos the labels whose hashtags their posts carry.

    Rows that cannot be used are dropped and counted, never an error: malformed ones, no name of a video, a duration
    that is missing or absurd, a video that came before, no tag. A picture needs no duration.

    Args:
        posts: See ``open_posts``.
        seeds: Hashtags of labels, or verbs and nouns whose pairs are the labels.
        min_videos: Labels with fewer videos are dropped (paper B: 50).
        seed: Decides which of several labels a video gets, from (seed, video) alone (paper B, 3.3).
        all_labels: Keep every label of a video instead of one.
        is_present: Whether the file of a video exists; None = not checked.
        settings: How to read the posts.

    Raises:
        InputError: The posts cannot be read, a column is missing or of another type, or no label is left.
    """
    labelled = label_posts(posts, seeds, min_videos=min_videos, is_present=is_present, settings=settings)
    return choose_labels(labelled, min_videos=min_videos, seed=seed, all_labels=all_labels)


def label_posts(
    posts: str | Path,
    seeds: Hashtags | VerbNouns,
    *,
    min_videos: int = 50,
    is_present: Callable[[str], bool] | None = None,
    settings: JoinSettings | None = None,
) -> Labelled:
    """Give videos all labels whose hashtags their posts carry; arguments and errors as of ``match_posts``."""
    if min_videos < 1:
        raise InputError(f"min_videos is {min_videos}, expected at least 1")
    labelled = join_posts(posts, seeds, settings or JoinSettings())
    if is_present is not None:
        here = np.array([is_present(video) for video in labelled.videos.column("video").to_pylist()], np.bool_)
        labelled = keep_videos(labelled, here, "the file of the video exists")
    return labelled


def keep_videos(labelled: Labelled, keep: NDArray[np.bool_], rule: str) -> Labelled:
    """Drop videos, and say by which rule.

    Args:
        labelled: Before.
        keep: Which stay, (N,).
        rule: What is true of them.
    """
    videos = labelled.videos.filter(pa.array(keep, pa.bool_()))
    count = RuleCount(rule=rule, unit="videos", before=labelled.videos.num_rows, after=videos.num_rows)
    return replace(labelled, videos=videos, rules=(*labelled.rules, count))


def label_counts(videos: pa.Table, num_labels: int) -> NDArray[np.int64]:
    """Return how many videos each label has, (num_labels,)."""
    counts: NDArray[np.int64] = np.bincount(pc.list_flatten(videos.column("labels")).to_numpy(), minlength=num_labels)
    return counts


def choose_labels(labelled: Labelled, *, min_videos: int, seed: int, all_labels: bool) -> Matches:
    """Drop labels with few videos and give each video one of those that are left; arguments as of ``match_posts``."""
    names = labelled.hashtags.label_space.names
    per_label = label_counts(labelled.videos, len(names))
    kept = np.flatnonzero(per_label >= min_videos)
    owners, places = _kept_labels(labelled.videos, kept, len(names))
    labels_of = np.bincount(owners, minlength=labelled.videos.num_rows)
    has_label = labels_of > 0
    what = f"labels with at least {min_videos} videos"
    rules = (
        *labelled.rules,
        RuleCount(rule=what, unit="labels", before=len(names), after=len(kept)),
        RuleCount(rule=f"videos of {what}", unit="videos", before=len(has_label), after=int(has_label.sum())),
    )
    if not len(kept):
        raise InputError(_why_no_label(names, per_label, rules, min_videos))
    space = LabelSpace(name=labelled.hashtags.label_space.name, names=tuple(names[k] for k in kept))
    if not all_labels:
        places = _drawn(labelled.videos.column("video"), labels_of, owners, places, space.names, seed)
    videos = labelled.videos.select(["video", "duration_seconds"])
    if not has_label.all():
        videos = videos.filter(pa.array(has_label))
    lengths = labels_of[has_label] if all_labels else np.ones(videos.num_rows, np.int64)
    offsets = pa.array(np.append(0, np.cumsum(lengths)), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(places, pa.int32()))
    assigned = np.zeros(len(names), np.int64)
    assigned[kept] = np.bincount(places, minlength=len(kept))
    report = _report(labelled, rules, per_label, assigned, min_videos, int((labels_of > 1).sum()))
    videos = videos.append_column("labels", lists)
    return Matches(label_space=space, videos=videos, all_labels=all_labels, report=report)


def _kept_labels(videos: pa.Table, kept: NDArray[np.int64], num_labels: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (row, place of a kept label among these) for each such label of each video, in order."""
    lists = videos.column("labels")
    owners = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).to_numpy())
    place_of = np.full(num_labels, -1, np.int32)
    place_of[kept] = np.arange(len(kept))
    places = place_of[pc.list_flatten(lists).to_numpy()]
    return owners[places >= 0], places[places >= 0]


def _drawn(
    videos: pa.ChunkedArray,
    labels_of: NDArray[np.int64],
    owners: NDArray[Any],
    places: NDArray[Any],
    names: Sequence[str],
    seed: int,
) -> NDArray[Any]:
    """Keep one label of each video: whose hash with (seed, video) is smallest, whatever the order of posts."""
    several = labels_of > 1
    is_pair = several[owners]
    pairs = np.flatnonzero(is_pair)
    # Of what is filtered, not taken: taking strings out of chunks copies all of them.
    names_of_several = videos.filter(pa.array(several)).combine_chunks()
    table = pa.table(
        {
            "pair": pairs,
            "owner": owners[pairs],
            "video": names_of_several.take(pa.array((np.cumsum(several) - 1)[owners[pairs]])),
            "name": pa.array(names, pa.string()).take(pa.array(places[pairs])),
        }
    )
    with duckdb.connect() as connection:
        connection.register("pairs", table)
        chosen = connection.execute(
            "SELECT arg_min(pair, md5(concat_ws(chr(31), ?::VARCHAR, video, name))) AS pair FROM pairs GROUP BY owner",
            [seed],
        ).fetchnumpy()["pair"]
    is_pair[chosen.astype(np.int64)] = False
    left: NDArray[Any] = places[~is_pair]
    return left


def _report(
    labelled: Labelled,
    rules: tuple[RuleCount, ...],
    per_label: NDArray[np.int64],
    assigned: NDArray[np.int64],
    min_videos: int,
    num_several: int,
) -> MatchReport:
    hashtags = labelled.hashtags
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
        sources=labelled.sources,
    )


def _why_no_label(
    names: Sequence[str], per_label: NDArray[np.int64], rules: Sequence[RuleCount], min_videos: int
) -> str:
    steps = "; ".join(f"{r.rule}: {r.after:g} of {r.before:g} {r.unit}" for r in rules)
    if not len(names):
        return f"no label: no post has a tag that means one ({steps})"
    best = int(per_label.argmax())
    return f"no label has {min_videos} videos, the largest is {names[best]!r} with {per_label[best]} ({steps})"
