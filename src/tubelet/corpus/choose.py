"""Orders of clips whose beginnings are subsets (paper B, 4.1-4.3): the first N of an order lie inside its first N + 1.

So subsets of one seed are nested by construction, and exact: a number of videos or hours is where the order is cut.
"""

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
F64 = NDArray[np.float64]


def draw(names: pa.Array | pa.ChunkedArray, seed: int, what: str) -> U64:
    """Return a number in 0..2^64-1 for each name, from (seed, what, name) alone: half of an MD5.

    Args:
        names: Strings, (N,).
        seed: Another seed, other numbers.
        what: What is drawn, so that two draws of one name have nothing to do with each other.
    """
    table = pa.table({"place": np.arange(len(names)), "name": names})
    connection = duckdb.connect()
    try:
        connection.register("names", table)
        found = connection.sql(
            "SELECT md5_number_lower(concat_ws(chr(31), ?::VARCHAR, ?, name)) AS drawn FROM names ORDER BY place",
            params=[seed, what],
        ).to_arrow_table()
    finally:
        connection.close()
    numbers: U64 = found.column("drawn").to_numpy().astype(np.uint64)
    return numbers


def random_order(drawn: U64) -> I64:
    """Return clips in a random order.

    Args:
        drawn: A number for each clip, (N,).
    """
    return np.argsort(drawn, kind="stable")


def tail_preserving_order(labels: I64, drawn: U64, label_drawn: U64) -> I64:
    """Return clips so that the first N keep the tail whole and cap the heads (4.1.1).

    First one clip of each label, then a second of each that has one, and so on: where N cuts, all labels are capped at
    the same water level, some at one more, so that there are exactly N.

    Args:
        labels: Label of each clip, (N,).
        drawn: A number for each clip: which of a label's come first.
        label_drawn: A number for each label, (K,): which labels get one more.
    """
    return np.lexsort((label_drawn[labels], rank_in_label(labels, drawn)))


def proportional_order(labels: I64, drawn: U64, label_drawn: U64) -> I64:
    """Return clips so that each label's share of the first N is its share of all, to within one clip.

    Args:
        labels: Label of each clip, (N,).
        drawn: A number for each clip.
        label_drawn: A number for each label, (K,): breaks ties.
    """
    counts = np.bincount(labels, minlength=len(label_drawn))
    return np.lexsort((label_drawn[labels], (rank_in_label(labels, drawn) + 0.5) / counts[labels]))


def rank_in_label(labels: I64, drawn: U64) -> I64:
    """Return the place of each clip among those of its label, by ``drawn``, from 0."""
    order = np.lexsort((drawn, labels))
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels))])
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[order] = np.arange(len(labels)) - starts[labels[order]]
    return ranks


def water_level(counts: I64, number: int, label_drawn: U64) -> I64:
    """Return how many clips of each label there are among the first ``number`` of ``tail_preserving_order``.

    Args:
        counts: Clips of each label, (K,).
        number: At most their sum.
        label_drawn: A number for each label, (K,).
    """
    low, high = 0, int(counts.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if int(np.minimum(counts, middle).sum()) <= number else (low, middle - 1)
    caps = np.minimum(counts, low)
    above = np.flatnonzero(counts > low)
    one_more = above[np.argsort(label_drawn[above], kind="stable")][: number - int(caps.sum())]
    caps[one_more] += 1
    return caps


def within_hours(seconds: F64, hours: float) -> int:
    """Return how many of the clips, from the first on, last no longer than ``hours`` together.

    Args:
        seconds: Length of each clip in their order, (N,).
        hours: Budget.
    """
    return int(np.searchsorted(np.cumsum(seconds), hours * 3600 * (1 + 1e-12), side="right"))


def rarest_label(label_lists: pa.ListArray, num_labels: int) -> I64:
    """Return for each clip the label that the fewest clips have; of equally rare ones the first.

    Args:
        label_lists: Labels of each clip, at least one, (N,).
        num_labels: K.
    """
    offsets = label_lists.offsets.to_numpy()
    values = label_lists.values.to_numpy()[offsets[0] : offsets[-1]].astype(np.int64)
    offsets = offsets - offsets[0]
    counts = np.bincount(values, minlength=num_labels)
    clip = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((values, counts[values], clip))
    rarest: I64 = values[order][offsets[:-1]]
    return rarest
