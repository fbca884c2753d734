"""Which hashtags posts carry, in one pass over their tags and captions, a row group at a time on every core.

What is ASCII, which is most, goes through compiled loops; what something outside ASCII touches goes through Python.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tubelet.corpus.hashtags import Hashtags, hashtags_of
from tubelet.corpus.post_batches import Piece, PostBatch, Texts, decoded, in_order, pieces_of, read_piece, texts_of
from tubelet.corpus.posts import Posts
from tubelet.corpus.tag_kernels import (
    NO_HASHTAG,
    NO_TAG,
    ODD,
    TOO_LONG,
    caption_spans,
    gather,
    look_up,
    make_table,
    normalised,
)
from tubelet.corpus.tags import MAX_TAG_BYTES, normalise_tag, tags_from_text
from tubelet.labels import LabelSpace

MOST_ODD = 2**18
"""Tags that are no ASCII and are kept in mind."""

BOOL = NDArray[np.bool_]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class KnownTags:
    """The hashtags that tags are looked up in."""

    texts: Texts
    table: I32
    ids: dict[str, int]
    """Place of each among the texts, for tags that are no ASCII."""
    label_offsets: I64
    """Of hashtag k the labels label_offsets[k]..label_offsets[k + 1]."""
    labels: I32
    odd: dict[str, int] = field(default_factory=dict)
    """What tags that are no ASCII were found to be, so that the exact rules are asked once for the frequent ones."""


@dataclass(frozen=True, slots=True)
class Hits:
    """What the posts of a batch carry."""

    videos: pa.Table
    """video, duration (NULL where there is none), labels (sorted, none twice) of posts with a hashtag."""
    tag_posts: I64
    """Posts that carry each of the known tags."""
    num_posts: int
    """Posts that count."""
    num_tagged: int
    """Posts with at least one tag with a letter."""
    num_tags: int
    num_long: int
    """Tags over ``MAX_TAG_BYTES``."""
    num_broken: int
    """Tags and captions that are not UTF-8."""


def known_tags(hashtags: Hashtags) -> KnownTags:
    """Return the hashtags of a label space ready to be looked up; their texts are sorted."""
    rows = sorted(set(zip(hashtags.table.column("tag").to_pylist(), hashtags.table.column("label").to_pylist())))
    tags = list(dict.fromkeys(tag for tag, _ in rows))
    ids = {tag: place for place, tag in enumerate(tags)}
    texts = texts_of(pa.array(tags, pa.string()))
    counts = np.bincount([ids[tag] for tag, _ in rows], minlength=len(tags)) if rows else np.zeros(0, np.int64)
    return KnownTags(
        texts=texts,
        table=make_table(texts.offsets, texts.data),
        ids=ids,
        label_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        labels=np.array([label for _, label in rows], np.int32),
    )


def find_hits(posts: Posts, dropped: BOOL, known: KnownTags, num_threads: int) -> Iterator[Hits]:
    """Yield which hashtags posts carry, row group after row group.

    Args:
        posts: Opened.
        dropped: Of ``check_posts``.
        known: The hashtags.
        num_threads: Row groups read at the same time.
    """

    def find(piece: Piece) -> list[Hits]:
        return [
            _hits(batch, dropped, known) for batch in read_piece(piece, "video", "duration_seconds", "tags", "text")
        ]

    for some in in_order(find, pieces_of(posts.files), num_threads):
        yield from some


def find_tags(posts: Posts, dropped: BOOL, num_threads: int) -> Iterator[pa.Array]:
    """Yield the tags of posts as they are compared, none twice in a row group; arguments as of ``find_hits``."""
    nothing = known_tags(hashtags_of(LabelSpace(name="", names=()), []))

    def find(piece: Piece) -> pa.Array:
        found: set[str] = set()
        for batch in read_piece(piece, "tags", "text"):
            looked = _look_up(batch, dropped, nothing)
            found |= looked.odd
            for starts, ends, data in looked.plain:
                offsets, tags = normalised(starts, ends, data)
                buffers = pa.py_buffer(offsets), pa.py_buffer(tags)
                found.update(pc.unique(pa.LargeStringArray.from_buffers(len(starts), *buffers)).to_pylist())
        return pa.array(sorted(found), pa.string())

    yield from in_order(find, pieces_of(posts.files), num_threads)


@dataclass(slots=True)
class _Looked:
    """The tags of a batch of posts."""

    owners: list[I32]
    """Post of each tag, from the first of the batch."""
    found: list[I32]
    """What ``look_up`` says of each; of tags that are not ASCII too."""
    plain: list[tuple[I64, I64, NDArray[np.uint8]]]
    """Start, end and bytes of ASCII tags with a letter."""
    odd: set[str]
    """The others with one, as they are compared."""
    num_tags: int = 0
    num_broken: int = 0


def _look_up(batch: PostBatch, dropped: BOOL, known: KnownTags) -> _Looked:
    looked = _Looked([], [], [], set())
    keep = ~dropped[batch.rows]
    if batch.tags is not None and batch.tag_offsets is not None:
        owners = np.repeat(np.arange(len(keep), dtype=np.int32), np.diff(batch.tag_offsets))
        starts, ends, places = batch.tags.offsets[:-1], batch.tags.offsets[1:], np.arange(len(owners))
        if not keep.all():
            places = np.flatnonzero(keep[owners])
            owners, starts, ends = owners[places], starts[places], ends[places]
        found = _add_plain(looked, owners, starts, ends, batch.tags.data, known)
        looked.num_tags += len(found)
        odd = np.flatnonzero(found == ODD)
        if len(odd):
            different = batch.tags.array.take(pa.array(places[odd])).dictionary_encode()
            ids = [_odd_id(raw, looked, known) for raw in decoded(different.dictionary)]
            found[odd] = np.array(ids, np.int32)[different.indices.to_numpy(zero_copy_only=False)]
    if batch.text is not None:
        owners, starts, ends, is_odd = caption_spans(batch.text.offsets, batch.text.data)
        if not keep.all():
            here = keep[owners]
            owners, starts, ends = owners[here], starts[here], ends[here]
        found = _add_plain(looked, owners, starts, ends, batch.text.data, known)
        looked.num_tags += int((found != NO_TAG).sum())
        odd = np.flatnonzero(is_odd & keep)
        _add_odd_captions(looked, odd, decoded(batch.text.array.take(pa.array(odd))), known)
    return looked


def _add_plain(looked: _Looked, owners: I32, starts: I64, ends: I64, data: NDArray[np.uint8], known: KnownTags) -> I32:
    found: I32 = look_up(starts, ends, data, known.table, known.texts.offsets, known.texts.data)
    looked.owners.append(owners)
    looked.found.append(found)
    if not len(known.ids):
        named = found == NO_HASHTAG
        looked.plain.append((starts[named], ends[named], data))
    return found


def _add_odd_captions(looked: _Looked, places: I64, captions: list[str | None], known: KnownTags) -> None:
    owners, found = [], []
    for place, caption in zip(places.tolist(), captions, strict=True):
        if caption is None:
            looked.num_broken += 1
            continue
        for raw in tags_from_text(caption):
            owners.append(place)
            found.append(TOO_LONG if len(raw.encode()) > MAX_TAG_BYTES else _odd_id(raw, looked, known))
    looked.owners.append(np.array(owners, np.int32))
    looked.found.append(np.array(found, np.int32))
    looked.num_tags += len(found)


def _odd_id(raw: str | None, looked: _Looked, known: KnownTags) -> int:
    """Return what ``look_up`` would say of a tag by the exact rules; ``ODD`` of bytes that are no text."""
    if raw is None:
        return ODD
    found = known.odd.get(raw)
    if found is None or not known.ids:
        tag = normalise_tag(raw)
        found = NO_TAG if tag is None else known.ids.get(tag, NO_HASHTAG)
        if tag is not None and not known.ids:
            looked.odd.add(tag)
        if len(known.odd) >= MOST_ODD:
            known.odd.clear()
        known.odd[raw] = found
    return found


def _hits(batch: PostBatch, dropped: BOOL, known: KnownTags) -> Hits:
    looked = _look_up(batch, dropped, known)
    owners, found = (np.concatenate([np.zeros(0, np.int32), *some]) for some in (looked.owners, looked.found))
    num_posts = batch.rows.stop - batch.rows.start
    tag_posts, posts, offsets, labels, counts = gather(
        owners, found, num_posts, len(known.ids), known.label_offsets, known.labels
    )
    num_tagged, num_long, num_odd = counts.tolist()
    return Hits(
        videos=_videos(batch, posts, offsets, labels),
        tag_posts=tag_posts,
        num_posts=int((~dropped[batch.rows]).sum()),
        num_tagged=num_tagged,
        num_tags=looked.num_tags,
        num_long=num_long,
        num_broken=looked.num_broken + num_odd,
    )


def _videos(batch: PostBatch, posts: I64, offsets: I64, labels: I32) -> pa.Table:
    """Return the posts with their labels, of which ``offsets`` says where those of each begin."""
    assert batch.video is not None
    seconds = batch.duration[posts] if batch.duration is not None else np.full(len(posts), np.nan)
    return pa.table(
        {
            "video": batch.video.array.take(pa.array(posts)),
            "duration": pa.array(seconds, mask=~(np.isfinite(seconds) & (seconds > 0))),
            "labels": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(labels)),
        }
    )
