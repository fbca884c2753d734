"""From posts joined with hashtags to videos with labels; every rule reports what it dropped (paper B, 3.1 and 3.3)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.corpus.hashtags import Hashtags, VerbNouns
from tubelet.corpus.join import Joined, JoinSettings, joined_posts
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
    with joined_posts(posts, seeds, settings) as joined:
        names = pa.table({"label": range(len(joined.hashtags.label_space)), "name": joined.hashtags.label_space.names})
        joined.connection.register("names", names)
        table = joined.connection.sql(
            "SELECT name AS label, tag AS hashtag, count(hits.row)::BIGINT AS posts FROM hashtags "
            "JOIN names USING (label) LEFT JOIN hits USING (id) "
            "GROUP BY hashtags.label, name, tag ORDER BY hashtags.label, posts DESC, tag"
        ).to_arrow_table()
        per_label = "SELECT name, count(*) FROM matches JOIN names USING (label) GROUP BY name"
        label_posts = dict(joined.connection.execute(per_label).fetchall())
        joined.connection.unregister("names")
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
    if min_videos < 1:
        raise InputError(f"min_videos is {min_videos}, expected at least 1")
    with joined_posts(posts, seeds, settings or JoinSettings()) as joined:
        space, connection = joined.hashtags.label_space, joined.connection
        rules = [*joined.rules]
        if is_present is not None:
            rules.append(_drop_missing(connection, is_present))
        rules += _drop_rare(connection, len(space), min_videos)
        report = _report(joined, rules)
        return _choose(connection, space, report, seed=seed, all_labels=all_labels, min_videos=min_videos)


def _drop_missing(connection: duckdb.DuckDBPyConnection, is_present: Callable[[str], bool]) -> RuleCount:
    before = _num_videos(connection)
    videos = connection.execute("SELECT row, video FROM posts SEMI JOIN matches USING (row)").fetchall()
    missing = pa.table({"row": pa.array([row for row, video in videos if not is_present(video)], pa.int64())})
    connection.register("missing", missing)
    connection.execute("DELETE FROM matches WHERE row IN (SELECT row FROM missing)")
    connection.unregister("missing")
    after = _num_videos(connection)
    return RuleCount(rule="the file of the video exists", unit="videos", before=before, after=after)


def _drop_rare(connection: duckdb.DuckDBPyConnection, num_labels: int, min_videos: int) -> list[RuleCount]:
    connection.execute("CREATE TABLE per_label AS SELECT label, count(*) AS videos FROM matches GROUP BY label")
    before = _num_videos(connection)
    connection.execute(
        "DELETE FROM matches WHERE label IN (SELECT label FROM per_label WHERE videos < ?)", [min_videos]
    )
    kept = _scalar(connection, "SELECT count(DISTINCT label) FROM matches")
    what = f"labels with at least {min_videos} videos"
    return [
        RuleCount(rule=what, unit="labels", before=num_labels, after=kept),
        RuleCount(rule=f"videos of {what}", unit="videos", before=before, after=_num_videos(connection)),
    ]


def _report(joined: Joined, rules: list[RuleCount]) -> MatchReport:
    """Return the counts so far; ``_choose`` fills in how many videos each label was given."""
    connection = joined.connection
    videos = dict(connection.execute("SELECT label, videos FROM per_label").fetchall())
    hashtags = dict(connection.execute("SELECT label, count(*) FROM hashtags GROUP BY label").fetchall())
    kept = {label for (label,) in connection.execute("SELECT DISTINCT label FROM matches").fetchall()}
    labels = tuple(
        LabelCount(
            name=name, num_hashtags=hashtags.get(k, 0), num_videos=videos.get(k, 0), num_assigned=0, kept=k in kept
        )
        for k, name in enumerate(joined.hashtags.label_space.names)
    )
    ambiguous = "SELECT count(*) FROM (SELECT tag FROM hashtags GROUP BY tag HAVING count(*) > 1)"
    several = "SELECT count(*) FROM (SELECT row FROM matches GROUP BY row HAVING count(*) > 1)"
    return MatchReport(
        rules=tuple(rules),
        labels=labels,
        num_ambiguous_hashtags=_scalar(connection, ambiguous),
        num_orders_left_out=joined.hashtags.num_orders_left_out,
        num_videos_several_labels=_scalar(connection, several),
        sources=joined.posts.sources,
    )


def _choose(
    connection: duckdb.DuckDBPyConnection,
    label_space: LabelSpace,
    report: MatchReport,
    *,
    seed: int,
    all_labels: bool,
    min_videos: int,
) -> Matches:
    """Give each video its label: the one whose hash with (seed, video) is smallest, whatever the order of posts."""
    kept = [k for k, label in enumerate(report.labels) if label.kept]
    if not kept:
        raise InputError(_why_no_label(report, min_videos))
    names = pa.table(
        {
            "label": pa.array(kept, pa.int32()),
            "name": [label_space.names[k] for k in kept],
            "place": pa.array(range(len(kept)), pa.int32()),
        }
    )
    connection.register("names", names)
    connection.execute(
        "CREATE TABLE labelled AS SELECT row, list(place ORDER BY place) AS places "
        "FROM matches JOIN names USING (label) GROUP BY row"
    )
    if not all_labels:
        connection.execute(
            """CREATE TABLE drawn AS
            SELECT row, arg_min(place, md5(concat_ws(chr(31), ?::VARCHAR, video, name))) AS place
            FROM (SELECT row, unnest(places) AS place FROM labelled WHERE len(places) > 1)
            JOIN names USING (place) JOIN posts USING (row) GROUP BY row""",
            [seed],
        )
        connection.execute("UPDATE labelled SET places = [drawn.place] FROM drawn WHERE labelled.row = drawn.row")
    connection.unregister("names")
    videos = connection.sql(
        "SELECT video, coalesce(duration, 0) AS duration_seconds, places AS labels "
        "FROM labelled JOIN posts USING (row) ORDER BY video"
    ).to_arrow_table()
    assigned = pc.value_counts(pc.list_flatten(videos.column("labels"))).to_pylist()
    counts = {kept[found["values"]]: found["counts"] for found in assigned}
    filled = tuple(replace(label, num_assigned=counts.get(k, 0)) for k, label in enumerate(report.labels))
    space = LabelSpace(name=label_space.name, names=tuple(label_space.names[k] for k in kept))
    return Matches(label_space=space, videos=videos, report=replace(report, labels=filled))


def _why_no_label(report: MatchReport, min_videos: int) -> str:
    steps = "; ".join(f"{r.rule}: {r.after:g} of {r.before:g} {r.unit}" for r in report.rules)
    if not report.labels:
        return f"no label: no post has a tag that means one ({steps})"
    best = max(report.labels, key=lambda label: label.num_videos)
    return f"no label has {min_videos} videos, the largest is {best.name!r} with {best.num_videos} ({steps})"


def _num_videos(connection: duckdb.DuckDBPyConnection) -> int:
    return _scalar(connection, "SELECT count(DISTINCT row) FROM matches")


def _scalar(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    # fetchall, not fetchone: a result that is not read to its end blocks the connection.
    return int(connection.execute(query).fetchall()[0][0])
