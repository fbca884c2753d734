"""Loops over the bytes of ten million posts: the hashtags of plain captions, and tags looked up as they are compared.

They know ASCII only and say where that is not enough; what they say of the rest is what ``tags.py`` says (tested).
Texts are UTF-8 bytes one after another with offsets, as Arrow holds them.
"""

import numpy as np
from numpy.typing import NDArray

from tubelet.corpus.tags import MAX_TAG_BYTES
from tubelet.kernels import kernel

NO_TAG, NO_HASHTAG, TOO_LONG, ODD = -1, -2, -3, -4
"""What ``look_up`` says of a tag that is no hashtag: no letter; of no label; over ``MAX_TAG_BYTES``; not ASCII."""

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
BOOL = NDArray[np.bool_]

_FIRST = np.uint64(0xCBF29CE484222325)
_TIMES = np.uint64(0x100000001B3)  # FNV-1a


@kernel()
def caption_spans(offsets: I64, data: U8) -> tuple[I32, I64, I64, BOOL]:
    """Return where the hashtags of captions stand: caption, first byte behind the #, end; and which captions are odd.

    Of an odd caption, in which something outside ASCII touches a hashtag or is a # in another width, there is no span:
    NFKC changes single characters and joins a mark to what stands before it, so only there it can change a tag.

    Args:
        offsets: Of the captions, (N + 1,).
        data: Their bytes.
    """
    room = 0
    for k in range(offsets[0], offsets[-1]):
        room += data[k] == 35
    texts, starts, ends = np.empty(room, np.int32), np.empty(room, np.int64), np.empty(room, np.int64)
    odd = np.zeros(len(offsets) - 1, np.bool_)
    number = 0
    for text in range(len(offsets) - 1):
        first, last, before = offsets[text], offsets[text + 1], number
        k, run_end = first, -1
        while k < last:
            byte = data[k]
            if byte == 0xEF and k + 2 < last and _is_wide(data[k + 1], data[k + 2]):
                odd[text] = True
                break
            if byte != 35:
                k += 1
                continue
            previous = data[k - 1] if k > first else 32
            end = k + 1
            while end < last and (_is_alphanumeric(data[end]) or data[end] == 95):
                end += 1
            if previous >= 128 or (end < last and data[end] >= 128):
                odd[text] = True
                break
            if end > k + 1 and (k == run_end or not _blocks(previous)):
                texts[number], starts[number], ends[number] = text, k + 1, end
                number += 1
                run_end = end
            k = end
        if odd[text]:
            number = before
    return texts[:number], starts[:number], ends[:number], odd


@kernel()
def _is_alphanumeric(byte: int) -> bool:
    return 97 <= byte <= 122 or 48 <= byte <= 57 or 65 <= byte <= 90


@kernel()
def _is_wide(second: int, third: int) -> bool:
    """Say whether these bytes after 0xEF are U+FF03 or U+FE5F, a # in another width."""
    return (second == 0xBC and third == 0x83) or (second == 0xB9 and third == 0x9F)


@kernel()
def _blocks(byte: int) -> bool:
    """Say whether no hashtag begins behind this: a letter, digit, _, & or /."""
    return _is_alphanumeric(byte) or byte == 95 or byte == 38 or byte == 47


@kernel()
def _normalise(data: U8, start: int, end: int, out: U8) -> int:
    """Put an ASCII tag, as it is compared, into ``out``; return its length, or what is wrong with it."""
    if end - start > MAX_TAG_BYTES:
        return TOO_LONG
    length, has_letter = 0, False
    for k in range(start, end):
        byte = data[k]
        if 65 <= byte <= 90:
            byte += np.uint8(32)
        if 97 <= byte <= 122:
            has_letter = True
        elif byte >= 128:
            return ODD
        elif not 48 <= byte <= 57:
            continue
        out[length] = byte
        length += 1
    return length if has_letter else NO_TAG


@kernel()
def _hash(data: U8, start: int, end: int) -> np.uint64:
    found = _FIRST
    for k in range(start, end):
        found = (found ^ np.uint64(data[k])) * _TIMES
    return found ^ (found >> np.uint64(32))


@kernel()
def make_table(offsets: I64, data: U8) -> I32:
    """Return where texts, all different, stand in a table that ``look_up`` searches: place in it -> text, -1 = empty.

    Args:
        offsets: Of the texts, (N + 1,).
        data: Their bytes.
    """
    size = 16
    while size < 4 * len(offsets):
        size *= 2
    table = np.full(size, -1, np.int32)
    for text in range(len(offsets) - 1):
        place = _hash(data, offsets[text], offsets[text + 1]) & np.uint64(size - 1)
        while table[place] >= 0:
            place = (place + np.uint64(1)) & np.uint64(size - 1)
        table[place] = text
    return table


@kernel()
def look_up(starts: I64, ends: I64, data: U8, table: I32, known_offsets: I64, known_data: U8) -> I32:
    """Return for each tag which of the known texts it is, or one of ``NO_TAG``, ``NO_HASHTAG``, ``TOO_LONG``, ``ODD``.

    Args:
        starts: First byte of each tag, as it was typed, (N,).
        ends: Byte behind it.
        data: The bytes.
        table: Of ``make_table``.
        known_offsets: Of the known texts, normalised.
        known_data: Their bytes.
    """
    found = np.empty(len(starts), np.int32)
    tag = np.empty(MAX_TAG_BYTES, np.uint8)
    last = np.uint64(len(table) - 1)
    for k in range(len(starts)):
        length = _normalise(data, starts[k], ends[k], tag)
        found[k] = length
        if length < 0:
            continue
        place = _hash(tag, 0, length) & last
        found[k] = NO_HASHTAG
        while table[place] >= 0:
            first = known_offsets[table[place]]
            if known_offsets[table[place] + 1] - first == length:
                same = True
                for j in range(length):
                    if known_data[first + j] != tag[j]:
                        same = False
                        break
                if same:
                    found[k] = table[place]
                    break
            place = (place + np.uint64(1)) & last
    return found


@kernel()
def gather(
    owners: I32, found: I32, num_posts: int, num_known: int, label_offsets: I64, labels: I32
) -> tuple[I64, I64, I64, I32, I64]:
    """Return what posts carry, from what each of their tags is.

    Args:
        owners: Post of each tag, (N,), 0 .. num_posts - 1 in any order.
        found: What ``look_up`` says of each tag, (N,).
        num_posts: Posts.
        num_known: Known texts.
        label_offsets: Of known text k the labels label_offsets[k]..label_offsets[k + 1].
        labels: Those labels.

    Returns:
        Posts that carry each known text, (num_known,); posts with a label, ascending, (P,); where the labels of each
        begin, (P + 1,); the labels of each, ascending, none twice; and how many posts have a tag with a letter, how
        many tags are too long and how many odd, (3,).
    """
    begins, known, counts = _grouped(owners, found, num_posts)
    room = 0
    for text in known:
        room += label_offsets[text + 1] - label_offsets[text]
    carry, made, number = np.zeros(num_known, np.int64), np.empty(room, np.int32), 0
    posts, offsets, length = np.empty(num_posts, np.int64), np.zeros(num_posts + 1, np.int64), 0
    for post in range(num_posts):
        mine = known[begins[post] : begins[post + 1]]
        first = length
        for place in range(_sort_unique(mine)):
            carry[mine[place]] += 1
            for k in range(label_offsets[mine[place]], label_offsets[mine[place] + 1]):
                made[length] = labels[k]
                length += 1
        length = first + _sort_unique(made[first:length])
        if length > first:
            posts[number] = post
            number += 1
            offsets[number] = length
    return carry, posts[:number], offsets[: number + 1], made[:length], counts


@kernel()
def _grouped(owners: I32, found: I32, num_posts: int) -> tuple[I64, I32, I64]:
    """Return where the known texts of each post begin, (num_posts + 1,), these, and the counts of ``gather``."""
    begins, tagged, counts = np.zeros(num_posts + 1, np.int64), np.zeros(num_posts, np.bool_), np.zeros(3, np.int64)
    for k in range(len(found)):
        if found[k] >= 0:
            begins[owners[k] + 1] += 1
        if found[k] >= 0 or found[k] == NO_HASHTAG:
            tagged[owners[k]] = True
        counts[1] += found[k] == TOO_LONG
        counts[2] += found[k] == ODD
    for post in range(num_posts):
        begins[post + 1] += begins[post]
        counts[0] += tagged[post]
    known, at = np.empty(begins[-1], np.int32), begins.copy()
    for k in range(len(found)):
        if found[k] >= 0:
            known[at[owners[k]]] = found[k]
            at[owners[k]] += 1
    return begins, known, counts


@kernel()
def _sort_unique(values: I32) -> int:
    """Sort numbers in place, put those that differ first, and return how many these are."""
    if len(values) < 2:
        return len(values)
    if len(values) > 32:
        values.sort()
    else:
        for k in range(1, len(values)):
            value, place = values[k], k
            while place > 0 and values[place - 1] > value:
                values[place] = values[place - 1]
                place -= 1
            values[place] = value
    number = 1
    for k in range(1, len(values)):
        if values[k] != values[number - 1]:
            values[number] = values[k]
            number += 1
    return number


@kernel()
def normalised(starts: I64, ends: I64, data: U8) -> tuple[I64, U8]:
    """Return the tags as they are compared, one text after another; an empty one for what is no ASCII tag.

    Args:
        starts: First byte of each tag, (N,).
        ends: Byte behind it.
        data: The bytes.
    """
    room = 0
    for k in range(len(starts)):
        room += min(ends[k] - starts[k], MAX_TAG_BYTES)
    offsets, made = np.zeros(len(starts) + 1, np.int64), np.empty(room, np.uint8)
    tag = np.empty(MAX_TAG_BYTES, np.uint8)
    for k in range(len(starts)):
        length = max(_normalise(data, starts[k], ends[k], tag), 0)
        made[offsets[k] : offsets[k] + length] = tag[:length]
        offsets[k + 1] = offsets[k] + length
    return offsets, made[: offsets[-1]]


@kernel()
def hash_texts(offsets: I64, data: U8) -> U64:
    """Return a number for each text, equal for equal texts; that unequal ones differ the caller must not rely on."""
    found = np.empty(len(offsets) - 1, np.uint64)
    for text in range(len(offsets) - 1):
        a, k, end = _FIRST, offsets[text], offsets[text + 1]
        while k < end:
            word = np.uint64(0)
            for j in range(min(8, end - k)):
                word |= np.uint64(data[k + j]) << np.uint64(8 * j)
            a = (a ^ word) * np.uint64(0x9E3779B97F4A7C15)
            a ^= a >> np.uint64(32)
            k += 8
        found[text] = (a ^ np.uint64(end - offsets[text])) * np.uint64(0xD6E8FEB86659FD93)
    return found


@kernel()
def are_members(values: U64, members: U64) -> BOOL:
    """Return which of the values are among the members (at least one, all different)."""
    size = 16
    while size < 4 * len(members):
        size *= 2
    table, used, last = np.zeros(size, np.uint64), np.zeros(size, np.bool_), np.uint64(size - 1)
    for member in members:
        place = (member >> np.uint64(20)) & last
        while used[place]:
            place = (place + np.uint64(1)) & last
        table[place], used[place] = member, True
    found = np.zeros(len(values), np.bool_)
    for k in range(len(values)):
        place = (values[k] >> np.uint64(20)) & last
        while used[place]:
            if table[place] == values[k]:
                found[k] = True
                break
            place = (place + np.uint64(1)) & last
    return found
