"""Which videos have a code within a few bits of another: exact, for millions of codes, on one core.

A code is cut into one band more than bits may differ, so codes that are near agree in one band entirely (the
pigeonhole). For each band the codes lie sorted by it: a query walks through those that agree, one after another in
memory. A band is one or two rows of the frame, so a caption leaves most bands alone; codes that agree there may
be compared without the rows that a caption covers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tubelet.kernels import kernel

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
BITS = 64
PARTS = (0x0000FFFFFFFFFFFF, 0xFFFFFFFFFFFF0000)
"""The upper six rows of cells and the lower six: what a caption at the foot or the head of a frame leaves."""
MAX_BAND_BITS = 20
"""Of longer bands the first bits tell codes apart well enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeIndex:
    """Codes and whose each is, once for every band."""

    radius: int
    """Bits in which codes may differ."""
    part_radius: int
    """Bits in which one of ``PARTS`` of them may differ instead; -1 = codes are compared whole."""
    num_owners: int
    codes: U64
    """(bands, N), sorted by the band."""
    owners: I32
    """(bands, N), whose code it is, 0 .. num_owners - 1."""
    starts: I64
    """(bands, 2^widest + 1), where each value of the band begins."""
    shifts: U64
    """(bands,), the bit each band begins at."""
    masks: U64
    """(bands,), ones as many as the band has bits."""

    def count(self, codes: U64, weights: I64, *, loose_radius: int = 0) -> tuple[I32, I64]:
        """Return who has a code near any of ``codes``, ascending, and the sum of the weights of those codes.

        Args:
            codes: (Q,).
            weights: (Q,), frames that have each.
            loose_radius: Name also who has none that near, but one that agrees in a band and differs in so many bits;
                of these not all are found.
        """
        counts = np.zeros(self.num_owners, dtype=np.int64)
        last = np.zeros(self.num_owners, dtype=np.int64)
        _count(
            np.ascontiguousarray(codes),
            weights,
            self.codes,
            self.owners,
            self.starts,
            self.shifts,
            self.masks,
            np.uint64(self.radius),
            np.uint64(self.radius - self.part_radius),
            np.array(PARTS if self.part_radius >= 0 else (), dtype=np.uint64),
            np.uint64(max(self.radius, loose_radius)),
            counts,
            last,
        )
        found = np.flatnonzero(last).astype(np.int32)
        return found, counts[found]


def build_index(codes: U64, owners: I32, *, num_owners: int, radius: int = 4, part_radius: int = -1) -> CodeIndex:
    """Sort codes by every band.

    Args:
        codes: (N,); 12 bytes of each are held for every band.
        owners: (N,), whose each is.
        num_owners: Owners in all.
        radius: Bits in which codes may differ, 0 to 7: more bits make the bands too short to tell codes apart.
        part_radius: See ``CodeIndex``. Codes whose parts are near are found only where they agree in a band as well.
    """
    if not 0 <= radius <= 7:
        raise ValueError(f"radius is {radius}, expected 0 to 7")
    bands = radius + 1
    widths = np.full(bands, BITS // bands)
    widths[: BITS % bands] += 1
    shifts = (np.cumsum(widths) - widths).astype(np.uint64)
    cells = 1 << np.minimum(widths, MAX_BAND_BITS)
    masks = (cells - 1).astype(np.uint64)
    by_band = np.empty((bands, len(codes)), dtype=np.uint64)
    by_band_owners = np.empty((bands, len(codes)), dtype=np.int32)
    starts = np.zeros((bands, int(cells.max()) + 1), dtype=np.int64)
    for band in range(bands):
        place = shifts[band], masks[band]
        _sort_by_band(codes, owners, *place, by_band[band], by_band_owners[band], starts[band])
    return CodeIndex(
        radius=radius,
        part_radius=part_radius,
        num_owners=num_owners,
        codes=by_band,
        owners=by_band_owners,
        starts=starts,
        shifts=shifts,
        masks=masks,
    )


@kernel()
def _sort_by_band(
    codes: U64, owners: I32, shift: np.uint64, mask: np.uint64, out: U64, out_owners: I32, starts: I64
) -> None:
    """Counting sort; equal bands keep their order."""
    for k in range(codes.shape[0]):
        starts[np.int64((codes[k] >> shift) & mask) + 1] += 1
    for value in range(1, starts.shape[0]):
        starts[value] += starts[value - 1]
    at = starts.copy()
    for k in range(codes.shape[0]):
        cell = np.int64((codes[k] >> shift) & mask)
        out[at[cell]] = codes[k]
        out_owners[at[cell]] = owners[k]
        at[cell] += 1


@kernel(inline="always")
def bits_set(word: np.uint64) -> np.uint64:
    """Return how many bits are ones; the compiler knows the processor's instruction for it."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@kernel(inline="always")
def _distance(differing: np.uint64, part_malus: np.uint64, parts: U64) -> np.uint64:
    """Return how many bits differ, or in one of the parts, plus ``part_malus``, where that is less."""
    fewest: np.uint64 = bits_set(differing)
    for part in range(parts.shape[0]):
        fewest = min(fewest, np.uint64(bits_set(differing & parts[part]) + part_malus))
    return fewest


@kernel()
def _count(
    queries: U64,
    weights: I64,
    codes: U64,
    owners: I32,
    starts: I64,
    shifts: U64,
    masks: U64,
    radius: np.uint64,  # not a signed number: the loop would compare floats
    part_malus: np.uint64,
    parts: U64,
    loose_radius: np.uint64,
    counts: I64,
    last: I64,
) -> None:
    """Add each query's weight to the count of everybody who has a code near it, once.

    Args:
        queries: (Q,).
        weights: (Q,).
        codes: As ``CodeIndex`` has them.
        owners: Likewise.
        starts: Likewise.
        shifts: Likewise.
        masks: Likewise.
        radius: Bits that a code near another may differ in.
        part_malus: Bits that a distance in a part of the codes counts for more.
        parts: Masks of parts.
        loose_radius: At least ``radius``.
        counts: (owners,), added to.
        last: (owners,) zeros; becomes the number of the last query that is near, from 1, or -1 for near but loosely.
    """
    for query in range(queries.shape[0]):
        word = queries[query]
        for band in range(codes.shape[0]):
            value = np.int64((word >> shifts[band]) & masks[band])
            first, behind = starts[band, value], starts[band, value + 1]
            line = codes[band, first:behind]
            fewest = np.uint64(BITS)
            for k in range(line.shape[0]):  # no branch: the compiler takes eight codes at a time
                fewest = min(fewest, _distance(line[k] ^ word, part_malus, parts))
            if fewest > loose_radius:
                continue
            for k in range(line.shape[0]):
                distance = _distance(line[k] ^ word, part_malus, parts)
                if distance > loose_radius:
                    continue
                owner = owners[band, first + k]
                if distance <= radius and last[owner] != query + 1:
                    last[owner] = query + 1
                    counts[owner] += weights[query]
                elif last[owner] == 0:
                    last[owner] = -1
