"""Posts joined with hashtags in a database: as much memory as it is given, however many posts there are.

Tags are never stored: ``scan.py`` reads, normalises and looks them up in one pass, and posts with a hashtag are stored.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tubelet.corpus.columns import PostColumns
from tubelet.corpus.hashtags import Hashtags, VerbNouns, hashtags_of
from tubelet.corpus.post_checks import check_posts
from tubelet.corpus.posts import open_posts
from tubelet.corpus.rules import RuleCount
from tubelet.corpus.scan import Hits, find_hits, find_tags, known_tags
from tubelet.corpus.shards import key_of
from tubelet.corpus.stored import ROWS, VERSION, Labelled, Matched, write_labelled
from tubelet.corpus.tags import MAX_TAG_BYTES
from tubelet.labels import LabelSpace
from tubelet.types import InputError

MAX_SECONDS = 86_400.0
"""A post that claims to last longer than a day is absurd."""
LEAST_GIB = 0.0625
FETCHED_ROWS = 100_000
INSERTED_ROWS = 2**18
"""Videos that are stored together: a quarter of the time that those of a row group take one by one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinSettings:
    """How posts are read and joined."""

    columns: PostColumns = field(default_factory=PostColumns)
    max_seconds: float = MAX_SECONDS
    """Longer posts are dropped."""
    needs_duration: bool = True
    """Drop posts without a duration that are no pictures."""
    stop_at_malformed: bool = False
    """A row that cannot be read is an error instead of a count."""
    memory_gib: float = 2.0
    """What the database may hold in memory; the rest goes to a scratch folder on disk."""
    num_threads: int | None = None
    """None = one for each core."""


def labelled_path(
    folder: Path, posts: list[tuple[str, int, int]], seeds: Hashtags | VerbNouns, settings: JoinSettings
) -> Path:
    """Return the file for these posts and hashtags; its name says what it is made from.

    Args:
        folder: Of the file.
        posts: Of ``posts_version``.
        seeds: Hashtags of labels.
        settings: How the posts are read.
    """
    if isinstance(seeds, VerbNouns):
        words = [sorted((form, sorted(some)) for form, some in words.items()) for words in (seeds.verbs, seeds.nouns)]
        made: list[Any] = [seeds.name, words]
    else:
        made = [asdict(seeds.label_space), seeds.num_orders_left_out, seeds.table.to_pydict()]
    chosen = [asdict(settings.columns), settings.max_seconds, settings.needs_duration, settings.stop_at_malformed]
    return folder / f"labelled-{key_of(VERSION, posts, made, chosen)}.parquet"


def join_posts(posts: str | Path, seeds: Hashtags | VerbNouns, settings: JoinSettings, path: Path) -> Labelled:
    """Join posts with the hashtags of a label space.

    Rows that cannot be used are dropped and counted, never an error.

    Args:
        posts: See ``open_posts``.
        seeds: Hashtags of labels; of ``VerbNouns`` those pairs become labels that posts use.
        settings: How to read them.
        path: File for the videos.

    Raises:
        InputError: The posts cannot be read, a column is missing or of another type, or the memory is too little.
    """
    if not settings.memory_gib >= LEAST_GIB:
        raise InputError(f"memory_gib is {settings.memory_gib:g}, expected at least {LEAST_GIB:g}")
    if not settings.max_seconds > 0:
        raise InputError(f"max_seconds is {settings.max_seconds:g}, expected more than 0")
    num_threads = settings.num_threads or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="tubelet-posts-") as name:
        scratch = Path(name)
        opened = open_posts(posts, settings.columns, scratch, stop_at_malformed=settings.stop_at_malformed)
        dropped, rules = check_posts(
            opened,
            scratch,
            max_seconds=settings.max_seconds,
            needs_duration=settings.needs_duration,
            num_threads=num_threads,
        )
        connection = _database(scratch, settings.memory_gib, num_threads)
        try:
            hashtags = seeds
            if isinstance(hashtags, VerbNouns):
                hashtags = _pairs_in_posts(connection, find_tags(opened, dropped, num_threads), hashtags)
            known = known_tags(hashtags)
            tag_posts, found = _load(connection, find_hits(opened, dropped, known, num_threads), len(known.ids))
            matched = Matched(
                hashtags=hashtags,
                tag_posts=dict(zip(known.ids, tag_posts.tolist(), strict=True)),
                rules=(*opened.rules, *rules, *found),
                sources=opened.sources,
            )
            videos = connection.sql("SELECT * FROM videos ORDER BY video").to_arrow_reader(ROWS)
            return write_labelled(path, videos, matched)
        except duckdb.OutOfMemoryException as error:
            raise InputError(f"{posts}: need more than {settings.memory_gib:g} GiB of memory (memory_gib)") from error
        finally:
            connection.close()


def _database(scratch: Path, memory_gib: float, num_threads: int) -> duckdb.DuckDBPyConnection:
    # In memory, but what does not fit is spilled: a third less time than a database file.
    connection = duckdb.connect(
        config={
            "memory_limit": f"{memory_gib * 1024:.0f}MiB",
            "temp_directory": str(scratch / "spilled"),
            "preserve_insertion_order": False,
            # Nothing leaves the machine, and nothing comes from elsewhere.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "threads": num_threads,
        },
    )
    connection.execute("SET enable_progress_bar = false")  # it would draw over what the caller shows
    return connection


def _pairs_in_posts(connection: duckdb.DuckDBPyConnection, found: Iterator[pa.Array], seeds: VerbNouns) -> Hashtags:
    """Return the verb and noun pairs that posts use as a label space, with the tags that they use for them."""
    connection.execute("CREATE TABLE seen (tag VARCHAR)")
    for some in found:
        connection.register("found", pa.table({"tag": some}))
        connection.execute("INSERT INTO seen SELECT tag FROM found")
        connection.unregister("found")
    reader = connection.cursor()
    reader.execute("SELECT DISTINCT tag FROM seen")
    tags: dict[str, list[str]] = {}
    while rows := reader.fetchmany(FETCHED_ROWS):
        for (tag,) in rows:
            for verb, noun in seeds.pairs(tag):
                tags.setdefault(f"{verb} {noun}", []).append(tag)
    connection.execute("DROP TABLE seen")
    names = tuple(sorted(tags))
    return hashtags_of(LabelSpace(name=seeds.name, names=names), [tags[name] for name in names])


def _load(
    connection: duckdb.DuckDBPyConnection, found: Iterator[Hits], num_hashtags: int
) -> tuple[NDArray[np.int64], list[RuleCount]]:
    """Make the table ``videos``; return the posts of each hashtag, and what the tags' rules did."""
    connection.execute("CREATE TABLE videos (video VARCHAR, duration_seconds DOUBLE, labels INTEGER[])")
    tag_posts = np.zeros(num_hashtags, np.int64)
    num_posts = num_tagged = num_tags = num_long = num_broken = matched = 0
    waiting: list[pa.Table] = []
    for some in found:
        waiting.append(some.videos)
        if sum(map(len, waiting)) >= INSERTED_ROWS:
            _insert(connection, waiting)
            waiting = []
        tag_posts += some.tag_posts
        num_posts, num_tagged = num_posts + some.num_posts, num_tagged + some.num_tagged
        num_tags, num_long = num_tags + some.num_tags, num_long + some.num_long
        num_broken, matched = num_broken + some.num_broken, matched + some.videos.num_rows
    if waiting:
        _insert(connection, waiting)
    short = num_tags - num_long
    rules = [RuleCount(rule=f"no more than {MAX_TAG_BYTES} bytes long", unit="tags", before=num_tags, after=short)]
    if num_broken:
        rules.append(RuleCount(rule="tag or caption is UTF-8", unit="tags", before=short, after=short - num_broken))
    return tag_posts, [
        *rules,
        RuleCount(rule="at least one tag with a letter", unit="videos", before=num_posts, after=num_tagged),
        RuleCount(rule="a tag is a hashtag of a seed label", unit="videos", before=num_tagged, after=matched),
    ]


def _insert(connection: duckdb.DuckDBPyConnection, videos: list[pa.Table]) -> None:
    connection.register("found", pa.concat_tables(videos))
    connection.execute("INSERT INTO videos SELECT video, coalesce(duration, 0), labels FROM found")
    connection.unregister("found")
