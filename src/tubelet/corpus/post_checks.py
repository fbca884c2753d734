"""Which posts count: their rules but for the tags, in one pass over names and durations, a row group at a time.

Memory does not grow with the posts but for a byte each; a number for each name lies on disk.
"""

import re
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tubelet.corpus.post_batches import Piece, PostBatch, decoded, in_order, pieces_of, read_piece
from tubelet.corpus.posts import Posts
from tubelet.corpus.rules import RuleCount
from tubelet.corpus.tag_kernels import are_members, hash_texts
from tubelet.types import InputError
from tubelet.video.media import PICTURE_SUFFIXES

SORTED_AT_ONCE = 2**24
"""Numbers of videos' names that are sorted in memory together."""
_PICTURE = f"({'|'.join(re.escape(suffix) for suffix in PICTURE_SUFFIXES)})$"
_NOT_UTF8, _NAMELESS, _NO_LENGTH, _LONG = 1, 2, 3, 4

BOOL = NDArray[np.bool_]
I64 = NDArray[np.int64]


def check_posts(
    posts: Posts, scratch: Path, *, max_seconds: float, needs_duration: bool, num_threads: int
) -> tuple[BOOL, list[RuleCount]]:
    """Return which posts do not count, (num_posts,), and the rules that say so.

    Args:
        posts: Opened.
        scratch: Folder for what is too much for memory.
        max_seconds: Longer posts are dropped.
        needs_duration: Drop posts without a duration that are no pictures.
        num_threads: Row groups read at the same time.
    """
    reasons = np.zeros(posts.num_posts, np.uint8)
    numbers_file = scratch / "names.u64"
    if posts.num_posts:
        numbers = np.memmap(numbers_file, np.uint64, "w+", shape=(posts.num_posts,))

    def check(piece: Piece) -> None:
        for batch in read_piece(piece, "video", "duration_seconds"):
            assert batch.video is not None
            reasons[batch.rows] = _broken_rules(batch, max_seconds, needs_duration)
            numbers[batch.rows] = hash_texts(batch.video.offsets, batch.video.data)

    for _ in in_order(check, pieces_of(posts.files), num_threads):
        pass
    counts = np.bincount(reasons, minlength=5)
    if needs_duration and not posts.has("duration_seconds") and counts[_NO_LENGTH]:
        name = posts.sources[0][0]
        raise InputError(f"{name}: no column 'duration_seconds' (seconds), which {counts[_NO_LENGTH]} videos need")
    dropped = reasons > 0
    repeated = _repeated(posts, numbers, dropped, num_threads) if posts.num_posts else np.zeros(0, np.int64)
    dropped[repeated] = True
    texts = {
        _NOT_UTF8: "the name of the video is UTF-8",
        _NAMELESS: "the video has a name",
        _NO_LENGTH: "the duration is a positive number of seconds, or the post is a picture",
        _LONG: f"the duration is at most {max_seconds:g} seconds",
    }
    steps = [(text, int(counts[reason])) for reason, text in texts.items() if reason != _NOT_UTF8 or counts[reason]]
    rules, before = [], posts.num_posts
    for text, broken in [*steps, ("the first post of each video", len(repeated))]:
        rules.append(RuleCount(rule=text, unit="posts", before=before, after=before - broken))
        before -= broken
    return dropped, rules


def _broken_rules(batch: PostBatch, max_seconds: float, needs_duration: bool) -> NDArray[np.uint8]:
    """Return for each post which rule it breaks, the first of them, or 0."""
    assert batch.video is not None
    names, offsets = batch.video.array, batch.video.offsets
    seconds = batch.duration if batch.duration is not None else np.full(len(names), np.nan)
    has_length = np.isfinite(seconds) & (seconds > 0)
    if not needs_duration:
        has_length |= np.isnan(seconds)
    reasons = np.zeros(len(names), np.uint8)
    reasons[~has_length] = _NO_LENGTH
    reasons[has_length & (seconds > max_seconds)] = _LONG
    lengths = np.diff(offsets)
    reasons[lengths == 0] = _NAMELESS
    maybe_blank = np.flatnonzero(lengths)
    maybe_blank = maybe_blank[batch.video.data[offsets[maybe_blank]] <= ord(" ")]
    try:
        names.validate(full=True)
    except pa.ArrowInvalid:
        is_text = [text is not None for text in decoded(names)]
        reasons[~np.array(is_text, np.bool_)] = _NOT_UTF8
    for place in maybe_blank:
        if reasons[place] != _NOT_UTF8 and not names[place].as_py().strip():
            reasons[place] = _NAMELESS
    unsure = np.flatnonzero((reasons == _NO_LENGTH) | (reasons == _LONG))
    if len(unsure):
        pictures = pc.match_substring_regex(pc.utf8_lower(names.take(pa.array(unsure))), _PICTURE)
        reasons[unsure[pictures.to_numpy(zero_copy_only=False)]] = 0
    return reasons


def _repeated(posts: Posts, numbers: NDArray[np.uint64], dropped: BOOL, num_threads: int) -> I64:
    """Return the posts that count and whose video an earlier one of them has.

    Only posts whose names have equal numbers are compared by name: 10^8 others would not fit into memory.
    """
    num_parts = -(-len(numbers) // SORTED_AT_ONCE)
    step = 2**24
    twice: list[NDArray[np.uint64]] = []
    for part in range(num_parts):
        mine: list[NDArray[np.uint64]] = []
        for first in range(0, len(numbers), step):
            some = numbers[first : first + step][~dropped[first : first + step]]
            mine.append(some[some % np.uint64(num_parts) == part] if num_parts > 1 else some)
        ordered = np.sort(np.concatenate(mine))
        twice.append(np.unique(ordered[1:][ordered[1:] == ordered[:-1]]))
    members = np.concatenate(twice)
    if not len(members):
        return np.zeros(0, np.int64)
    unsure = np.zeros(len(numbers), np.bool_)
    for first in range(0, len(numbers), step):
        place = slice(first, first + step)
        unsure[place] = are_members(np.asarray(numbers[place]), members) & ~dropped[place]

    def names(piece: Piece) -> list[pa.Table]:
        if not unsure[piece.first_row : piece.first_row + piece.file.row_groups[piece.row_group]].any():
            return []
        found = []
        for batch in read_piece(piece, "video"):
            assert batch.video is not None
            here = np.flatnonzero(unsure[batch.rows])
            found.append(pa.table({"row": here + batch.rows.start, "video": batch.video.array.take(pa.array(here))}))
        return found

    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE named (row BIGINT, video VARCHAR)")
        for tables in in_order(names, pieces_of(posts.files), num_threads):
            for table in tables:
                connection.register("found", table)
                connection.execute("INSERT INTO named SELECT row, video FROM found")
        later = "SELECT row FROM (SELECT row, row_number() OVER (PARTITION BY video ORDER BY row) AS k FROM named) "
        found: I64 = connection.execute(f"{later} WHERE k > 1 ORDER BY row").fetchnumpy()["row"].astype(np.int64)
    return found
