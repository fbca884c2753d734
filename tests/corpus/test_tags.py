"""The loops that read ten million captions must say what the exact Python says of every one they take."""

import random
from itertools import pairwise

import numpy as np
import pyarrow as pa

from tubelet.corpus.post_batches import texts_of
from tubelet.corpus.tag_kernels import (
    NO_HASHTAG,
    NO_TAG,
    ODD,
    TOO_LONG,
    are_members,
    caption_spans,
    gather,
    hash_texts,
    look_up,
    make_table,
    normalised,
)
from tubelet.corpus.tags import normalise_tag, tags_from_text

# Full-width and small #, a mark, an emoji and its variation sign, letters that NFKC changes, digits of several kinds.
ALPHABET = "#aZ1_ &/.\n\uff03\ufe5f\u0301\ufe0f\U0001f41fé™Ⅷ①ㅎक़ि"
DRAWN = random.Random(0)
CAPTIONS = ["".join(DRAWN.choices(ALPHABET, k=DRAWN.randrange(15))) for _ in range(20_000)]
CAPTIONS += ["".join(DRAWN.choices("#a1_ &", k=DRAWN.randrange(12))) for _ in range(20_000)]


KNOWN = sorted({tag for text in CAPTIONS[:30_000:7] if (tag := normalise_tag(text)) is not None})


def test_spans_are_the_hashtags_of_a_plain_caption() -> None:
    texts = texts_of(pa.array(["x#a", *CAPTIONS]).slice(1))  # offsets need not begin at 0
    owners, starts, ends, odd = caption_spans(texts.offsets, texts.data)
    found: list[list[str]] = [[] for _ in CAPTIONS]
    for owner, start, end in zip(owners.tolist(), starts.tolist(), ends.tolist(), strict=True):
        found[owner].append(bytes(texts.data[start:end]).decode())
    for text, is_odd, tags in zip(CAPTIONS, odd.tolist(), found, strict=True):
        assert not (is_odd and text.isascii())
        if is_odd:
            assert tags == []
        else:
            assert [tag for tag in tags if normalise_tag(tag) is not None] == tags_from_text(text), text
    assert 1_000 < odd.sum() < 19_000  # less than what is not ASCII, but some


def test_tags_are_looked_up_as_they_are_normalised() -> None:
    known, tags = texts_of(pa.array(KNOWN)), texts_of(pa.array(CAPTIONS))
    table = make_table(known.offsets, known.data)
    spans = tags.offsets[:-1], tags.offsets[1:], tags.data
    found = look_up(*spans, table, known.offsets, known.data)
    offsets, data = normalised(*spans)
    for k, raw in enumerate(CAPTIONS):
        tag = normalise_tag(raw)
        spelled = bytes(data[offsets[k] : offsets[k + 1]]).decode()
        if not raw.isascii():
            assert (found[k], spelled) == (ODD, "")
        elif tag is None:
            assert (found[k], spelled) == (NO_TAG, "")
        else:
            assert spelled == tag
            assert (KNOWN[found[k]] == tag) if tag in KNOWN else (found[k] == NO_HASHTAG)
    assert len(set(found.tolist())) > 50


def test_a_tag_that_is_too_long_is_none() -> None:
    tags, none = texts_of(pa.array(["a" * 200, "a" * 201, "é" * 101])), texts_of(pa.array([], pa.string()))
    table = make_table(none.offsets, none.data)
    found = look_up(tags.offsets[:-1], tags.offsets[1:], tags.data, table, none.offsets, none.data)
    assert found.tolist() == [NO_HASHTAG, TOO_LONG, TOO_LONG]


def test_equal_texts_have_equal_numbers_and_members_are_found() -> None:
    texts = texts_of(pa.array([*CAPTIONS, *CAPTIONS]))
    numbers = hash_texts(texts.offsets, texts.data)
    half = len(CAPTIONS)
    assert np.array_equal(numbers[:half], numbers[half:])
    assert len(np.unique(numbers)) == len(set(CAPTIONS))
    members = np.unique(numbers[: half // 2])
    assert np.array_equal(are_members(numbers, members), np.isin(numbers, members))


def test_what_posts_carry_is_what_sets_say() -> None:
    rng = np.random.default_rng(0)
    label_offsets = np.array([0, 2, 3, 3, 6, 7])  # of five hashtags, the third without a label
    labels = np.array([1, 4, 0, 2, 3, 4, 4], np.int32)
    for num_tags in (0, 40, 4000):
        owners = rng.integers(0, 30, num_tags).astype(np.int32)
        owners[: num_tags // 2] = 7  # one post with too many to sort them one by one
        found = rng.integers(-4, 5, num_tags).astype(np.int32)
        carried = [{int(f) for o, f in zip(owners, found) if o == post and f >= 0} for post in range(30)]
        labels_of = [labels[first:last].tolist() for first, last in pairwise(label_offsets)]
        meant = [sorted({label for tag in some for label in labels_of[tag]}) for some in carried]
        carry, posts, offsets, made, counts = gather(owners, found, 30, 5, label_offsets, labels)
        assert carry.tolist() == [sum(tag in some for some in carried) for tag in range(5)]
        assert posts.tolist() == [post for post in range(30) if meant[post]]
        assert [made[a:b].tolist() for a, b in pairwise(offsets)] == [some for some in meant if some]
        tagged = len({int(o) for o, f in zip(owners, found) if f >= 0 or f == NO_HASHTAG})
        assert counts.tolist() == [tagged, (found == TOO_LONG).sum(), (found == ODD).sum()]
