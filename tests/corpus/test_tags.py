"""The SQL that reads ten million captions must say what the exact Python says of every one it takes."""

import random
from typing import Any

import duckdb
import pyarrow as pa

from tubelet.corpus.tags import (
    has_hashtag_sql,
    is_plain_sql,
    normalise_tag,
    normalised_sql,
    parts_sql,
    tag_of_part_sql,
    tags_from_text,
)

# Full-width and small #, a mark, an emoji and its variation sign, letters that NFKC changes, digits of several kinds.
ALPHABET = "#aZ1_ &/.\n\uff03\ufe5f\u0301\ufe0f\U0001f41fé™Ⅷ①ㅎक़ि"
DRAWN = random.Random(0)
CAPTIONS = ["".join(DRAWN.choices(ALPHABET, k=DRAWN.randrange(15))) for _ in range(20_000)]
CAPTIONS += ["".join(DRAWN.choices("#a1_ &", k=DRAWN.randrange(12))) for _ in range(20_000)]


def ask(columns: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.register("captions", pa.table({"text": CAPTIONS}))
        return connection.execute(f"SELECT text, {columns} FROM captions").fetchall()


def test_sql_finds_the_hashtags_of_a_plain_caption() -> None:
    tags = f"list_transform({parts_sql('text')}, lambda part: {tag_of_part_sql('part')})"
    num_plain = 0
    for text, plain, found, has_hashtag in ask(f"{is_plain_sql('text')}, {tags}, {has_hashtag_sql('text')}"):
        assert plain or not text.isascii()
        num_plain += plain
        if plain:
            expected = tags_from_text(text)
            assert [tag for tag in found if normalise_tag(tag) is not None] == expected, text
            assert has_hashtag == bool(expected), text
    assert 21_000 < num_plain < 39_000  # more than what is ASCII, but not everything


def test_sql_normalises_what_is_ascii_and_nothing_else() -> None:
    for raw, tag in ask(normalised_sql("text")):
        assert (tag is not None) == raw.isascii()
        if raw.isascii():
            # A tag without a letter stays; no hashtag of a label is spelled so.
            assert normalise_tag(raw) == (tag if any(c.isalpha() for c in tag) else None)


def test_a_tag_that_is_too_long_is_none_in_sql() -> None:
    with duckdb.connect() as connection:
        query = f"SELECT {normalised_sql('raw')} FROM (SELECT unnest([repeat('a', 200), repeat('a', 201)]) AS raw)"
        assert [tag for (tag,) in connection.execute(query).fetchall()] == ["a" * 200, None]
