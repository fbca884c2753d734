"""Posts joined with hashtags in a database on disk: as much memory as it is given, however many posts there are.

Tags are never stored: they are read from the posts, normalised and looked up in one pass. What SQL cannot normalise (a
tag or a caption in which something outside ASCII matters, or that is very long) goes through Python and is stored.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from tubelet.corpus.columns import PostColumns
from tubelet.corpus.hashtags import Hashtags, VerbNouns, hashtags_of
from tubelet.corpus.posts import Posts, open_posts
from tubelet.corpus.rules import RuleCount
from tubelet.corpus.tags import (
    MAX_TAG_BYTES,
    has_hashtag_sql,
    is_ascii_sql,
    is_plain_sql,
    normalise_tag,
    normalised_sql,
    parts_sql,
    tag_of_part_sql,
    tags_from_text,
)
from tubelet.labels import LabelSpace
from tubelet.types import InputError
from tubelet.video.media import PICTURE_SUFFIXES

MAX_SECONDS = 86_400.0
"""A post that claims to last longer than a day is absurd."""
LEAST_GIB = 0.0625
BATCH_ROWS = 100_000


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
    memory_gib: float = 3.0
    """What the database may hold in memory; the rest goes to a scratch folder on disk."""
    num_threads: int | None = None
    """None = one for each core."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """An open database.

    Tables, rows without repeats: ``posts`` (row, video, duration), ``hashtags`` (id, tag, label), ``hits`` (row, id: a
    post has that tag), ``matches`` (row, label).
    """

    connection: duckdb.DuckDBPyConnection
    posts: Posts
    hashtags: Hashtags
    rules: tuple[RuleCount, ...]
    """Of posts and tags, up to "a tag is a hashtag of a seed label"."""


@contextmanager
def joined_posts(posts: str | Path, seeds: Hashtags | VerbNouns, settings: JoinSettings) -> Iterator[Joined]:
    """Join posts with the hashtags of a label space; the database is gone when the block ends.

    Rows that cannot be used are dropped and counted, never an error.

    Args:
        posts: See ``open_posts``.
        seeds: Hashtags of labels; of ``VerbNouns`` those pairs become labels that posts use.
        settings: How to read them.

    Raises:
        InputError: The posts cannot be read, a column is missing or of another type, or the memory is too little.
    """
    if not settings.memory_gib >= LEAST_GIB:
        raise InputError(f"memory_gib is {settings.memory_gib:g}, expected at least {LEAST_GIB:g}")
    if not settings.max_seconds > 0:
        raise InputError(f"max_seconds is {settings.max_seconds:g}, expected more than 0")
    with tempfile.TemporaryDirectory(prefix="tubelet-posts-") as name:
        scratch = Path(name)
        opened = open_posts(posts, settings.columns, scratch, stop_at_malformed=settings.stop_at_malformed)
        # In memory, but what does not fit is spilled: a third less time than a database file.
        connection = duckdb.connect(
            config={
                "memory_limit": f"{settings.memory_gib * 1024:.0f}MiB",
                "temp_directory": str(scratch / "spilled"),
                "preserve_insertion_order": False,
                # Nothing leaves the machine, and nothing comes from elsewhere.
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                **({"threads": settings.num_threads} if settings.num_threads else {}),
            },
        )
        try:
            rules = [*opened.rules, *_load_posts(connection, opened, settings)]
            rules += _read_odd_tags(connection, opened)
            hashtags = seeds if isinstance(seeds, Hashtags) else _pairs_in_posts(connection, opened, seeds)
            _load_hashtags(connection, hashtags)
            rules.append(_match(connection, opened, num_tagged=int(rules[-1].after)))
            yield Joined(connection=connection, posts=opened, hashtags=hashtags, rules=tuple(rules))
        except duckdb.OutOfMemoryException as error:
            raise InputError(f"{posts}: need more than {settings.memory_gib:g} GiB of memory (memory_gib)") from error
        except duckdb.Error as error:
            raise InputError(f"{posts}: cannot be read to its end ({str(error).splitlines()[0]})") from error
        finally:
            connection.close()


def _load_posts(connection: duckdb.DuckDBPyConnection, posts: Posts, settings: JoinSettings) -> list[RuleCount]:
    """Make the table ``posts``: one row for each video, without its tags unless they are odd."""
    plain_text = f"text IS NULL OR ({is_plain_sql('text')} AND NOT regexp_matches(text, '[^ ]{{{MAX_TAG_BYTES + 1}}}'))"
    longest = "list_max(list_transform(tags, lambda tag: strlen(tag)))"
    connection.execute(
        f"""CREATE TABLE posts AS SELECT row, video, duration, num_tags,
            coalesce(NOT long AND regexp_matches(joined, '[a-zA-Z]'), false)
                OR coalesce(plain AND {has_hashtag_sql("text")}, false) AS tagged,
            CASE WHEN long OR NOT {is_ascii_sql("joined")} THEN tags END AS odd_tags,
            CASE WHEN NOT plain THEN text END AS odd_text
        FROM (SELECT *, strlen(joined) > {MAX_TAG_BYTES} AND {longest} > {MAX_TAG_BYTES} AS long
              FROM (SELECT *, array_to_string(tags, ' ') AS joined, len(tags) AS num_tags, {plain_text} AS plain
                    FROM ({posts.sql})))"""
    )
    pictures = "|".join(re.escape(suffix) for suffix in PICTURE_SUFFIXES)
    is_picture = f"regexp_matches(lower(video), '({pictures})$')"
    needs = f"OR {is_picture}" if settings.needs_duration else "OR duration IS NULL"
    steps = (
        ("the video has a name", "video IS NOT NULL AND trim(video) <> ''"),
        ("the duration is a positive number of seconds, or the post is a picture",
         f"(isfinite(duration) AND duration > 0) {needs}"),
        (f"the duration is at most {settings.max_seconds:g} seconds",
         f"coalesce(duration, 0) <= {settings.max_seconds} OR {is_picture}"),
    )  # fmt: skip
    if settings.needs_duration and not posts.has_durations:
        videos = _scalar(connection, f"SELECT count(*) FROM posts WHERE NOT coalesce({is_picture}, false)")
        if videos:
            name = posts.sources[0][0]
            raise InputError(f"{name}: no column 'duration_seconds' (seconds), which {videos} posts of videos need")
    connection.execute("CREATE TABLE dropped (row BIGINT)")
    rules = []
    before = posts.num_posts
    for rule, keep in steps:
        broken = _scalar(connection, f"SELECT count(*) FROM posts WHERE NOT coalesce({keep}, false)")
        if broken:
            connection.execute(f"INSERT INTO dropped SELECT row FROM posts WHERE NOT coalesce({keep}, false)")
            connection.execute(f"DELETE FROM posts WHERE NOT coalesce({keep}, false)")
        rules.append(RuleCount(rule=rule, unit="posts", before=before, after=before - broken))
        before -= broken
    connection.execute(
        """INSERT INTO dropped SELECT posts.row FROM posts JOIN
            (SELECT video, min(row) AS row FROM posts GROUP BY video HAVING count(*) > 1) AS first
            ON posts.video = first.video AND posts.row > first.row"""
    )
    connection.execute("DELETE FROM posts WHERE row IN (SELECT row FROM dropped)")
    after = _scalar(connection, "SELECT count(*) FROM posts")
    rules.append(RuleCount(rule="the first post of each video", unit="posts", before=before, after=after))
    return rules


def _read_odd_tags(connection: duckdb.DuckDBPyConnection, posts: Posts) -> list[RuleCount]:
    """Make the table ``odd`` (row, tag): what SQL cannot normalise; count tags that are too long and tagged posts."""
    connection.execute("CREATE TABLE odd (row BIGINT, tag VARCHAR)")
    reader = connection.cursor()
    reader.execute("SELECT row, odd_tags, odd_text FROM posts WHERE odd_tags IS NOT NULL OR odd_text IS NOT NULL")
    num_tags = _scalar(connection, "SELECT coalesce(sum(num_tags), 0) FROM posts")
    too_long = 0
    while rows := reader.fetchmany(BATCH_ROWS):
        found: list[tuple[int, str]] = []
        for row, tags, text in rows:
            parsed = tags_from_text(text) if text is not None else []
            num_tags += len(parsed)
            raw = [tag for tag in tags or () if tag is not None] + parsed
            short = [tag for tag in raw if len(tag.encode()) <= MAX_TAG_BYTES]
            too_long += len(raw) - len(short)
            # What SQL normalises too is needed only where it did not see whether the post has a letter.
            wanted = short if text is not None or len(short) < len(raw) else [tag for tag in short if not tag.isascii()]
            found += [(row, tag) for raw_tag in wanted if (tag := normalise_tag(raw_tag)) is not None]
        table = pa.table({"row": pa.array([r for r, _ in found], pa.int64()), "tag": [t for _, t in found]})
        connection.register("found", table.cast(pa.schema([("row", pa.int64()), ("tag", pa.string())])))
        connection.execute("INSERT INTO odd SELECT DISTINCT row, tag FROM found")
        connection.unregister("found")
    before = _scalar(connection, "SELECT count(*) FROM posts")
    tagged = _scalar(connection, "SELECT count(*) FROM posts WHERE tagged OR row IN (SELECT row FROM odd)")
    # The hashtags of plain captions are not counted one by one, only looked up; a long one makes a caption not plain.
    where = " (of captions only those that are not plain ASCII are counted)" if posts.has_text else ""
    return [
        RuleCount(
            rule=f"no more than {MAX_TAG_BYTES} bytes long{where}",
            unit="tags",
            before=num_tags,
            after=num_tags - too_long,
        ),
        RuleCount(rule="at least one tag with a letter", unit="videos", before=before, after=tagged),
    ]


def _plain_tags(posts: Posts) -> str:
    """Return a query of (row, tag) of all posts in the files; NULL for a tag that SQL cannot normalise."""
    parts = []
    if posts.has_tags:
        parts.append(f"SELECT row, unnest(tags) AS raw FROM ({posts.sql})")
    if posts.has_text:
        captions = f"SELECT row, unnest({parts_sql('text')}) AS part FROM ({posts.sql}) WHERE {is_plain_sql('text')}"
        parts.append(f"SELECT row, {tag_of_part_sql('part')} AS raw FROM ({captions})")
    return f"SELECT row, {normalised_sql('raw')} AS tag FROM ({' UNION ALL '.join(parts)})"


def _pairs_in_posts(connection: duckdb.DuckDBPyConnection, posts: Posts, seeds: VerbNouns) -> Hashtags:
    """Return the verb and noun pairs that posts use as a label space, with the tags that they use for them."""
    reader = connection.cursor()
    reader.execute(f"SELECT DISTINCT tag FROM ({_plain_tags(posts)} UNION ALL SELECT row, tag FROM odd)")
    tags: dict[str, list[str]] = {}
    while rows := reader.fetchmany(BATCH_ROWS):
        for (tag,) in rows:
            for verb, noun in seeds.pairs(tag) if tag else ():
                tags.setdefault(f"{verb} {noun}", []).append(tag)
    names = tuple(sorted(tags))
    return hashtags_of(LabelSpace(name=seeds.name, names=names), [tags[name] for name in names])


def _load_hashtags(connection: duckdb.DuckDBPyConnection, hashtags: Hashtags) -> None:
    connection.register("expanded", hashtags.table)
    connection.execute(
        "CREATE TABLE hashtags AS SELECT dense_rank() OVER (ORDER BY tag) AS id, tag, label FROM expanded"
    )
    connection.unregister("expanded")


def _match(connection: duckdb.DuckDBPyConnection, posts: Posts, *, num_tagged: int) -> RuleCount:
    """Make the tables ``hits`` and ``matches``."""
    connection.execute(
        f"""CREATE TABLE hits AS SELECT DISTINCT row, id
        FROM ({_plain_tags(posts)} UNION ALL SELECT row, tag FROM odd)
        JOIN (SELECT DISTINCT id, tag FROM hashtags) USING (tag) ANTI JOIN dropped USING (row)"""
    )
    connection.execute("CREATE TABLE matches AS SELECT DISTINCT row, label FROM hits JOIN hashtags USING (id)")
    matched = _scalar(connection, "SELECT count(DISTINCT row) FROM matches")
    return RuleCount(rule="a tag is a hashtag of a seed label", unit="videos", before=num_tagged, after=matched)


def _scalar(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    # fetchall, not fetchone: a result that is not read to its end blocks the connection.
    return int(connection.execute(query).fetchall()[0][0])
