"""The index of codes against comparing every code with every other."""

import numpy as np
import pytest

from tubelet.corpus.code_index import PARTS, bits_set, build_index


def codes_of(rng: np.random.Generator, number: int, ones: float) -> np.ndarray:
    """Few ones make bands that thousands of codes share."""
    return np.packbits(rng.random((number, 64)) < ones, axis=1).view("<u8").ravel().astype(np.uint64)


def flipped(codes: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Flip so many bits of each code."""
    out = codes.copy()
    for place in range(len(out)):
        for bit in rng.permutation(64)[:number]:
            out[place] ^= np.uint64(1) << np.uint64(bit)
    return out


@pytest.mark.parametrize("radius", [0, 1, 3, 4, 7])
@pytest.mark.parametrize("ones", [0.5, 0.03])
def test_whoever_is_near_is_found_and_nobody_else(radius: int, ones: float) -> None:
    rng = np.random.default_rng(radius)
    codes = codes_of(rng, 4000, ones)
    owners = rng.integers(0, 900, len(codes)).astype(np.int32)
    index = build_index(codes, owners, num_owners=900, radius=radius)
    queries = np.concatenate([flipped(codes[k * 20 : k * 20 + 20], k, rng) for k in range(9)])
    for query in queries:
        near = np.unique(owners[np.bitwise_count(codes ^ query) <= radius])
        found, counts = index.count(query[None], np.array([3]))
        assert found.tolist() == near.tolist()
        assert set(counts.tolist()) <= {3}


def test_parts_of_codes_and_loose_ones_are_found_where_a_band_agrees() -> None:
    rng = np.random.default_rng(0)
    codes = codes_of(rng, 3000, 0.1)
    owners = np.arange(3000, dtype=np.int32)
    index = build_index(codes, owners, num_owners=3000, radius=4, part_radius=3)
    bands = [
        np.uint64(((1 << width) - 1) << first) for width, first in ((13, 0), (13, 13), (13, 26), (13, 39), (12, 52))
    ]
    several = 0
    for query in codes[:40] ^ np.uint64(0xFFFF << 48):  # as under a caption at the foot
        differing = codes ^ query
        agrees = np.any([differing & band == 0 for band in bands], axis=0)
        part = np.min([np.bitwise_count(differing & np.uint64(part)) for part in PARTS], axis=0) + 1
        distance = np.minimum(np.bitwise_count(differing), part)
        near = owners[agrees & (distance <= 4)].tolist()
        found, counts = index.count(query[None], np.ones(1, dtype=np.int64), loose_radius=7)
        assert found[counts == 1].tolist() == near
        assert found.tolist() == owners[agrees & (distance <= 7)].tolist()
        several += len(found) > len(near) > 0
    assert several > 30


def test_each_query_counts_once_for_whoever_has_several_codes_near_it() -> None:
    codes = np.array([0b0, 0b1, 0b11, 0xFF00, 0xFFFF0000], dtype=np.uint64)
    index = build_index(codes, np.array([0, 0, 1, 1, 2], dtype=np.int32), num_owners=4, radius=1)
    owners, counts = index.count(np.array([0b0, 0b1, 0xFF01], dtype=np.uint64), np.array([10, 200, 3000]))
    assert dict(zip(owners.tolist(), counts.tolist())) == {0: 210, 1: 3200}


def test_bits_are_counted() -> None:
    codes = np.random.default_rng(0).integers(0, 2**64, 50, dtype=np.uint64)
    assert [int(bits_set(code)) for code in codes] == np.bitwise_count(codes).tolist()


def test_nothing_is_near_an_empty_index() -> None:
    none = np.zeros(0, dtype=np.uint64)
    index = build_index(none, np.zeros(0, dtype=np.int32), num_owners=0)
    assert len(index.count(np.array([1], dtype=np.uint64), np.array([1]))[0]) == 0
    with pytest.raises(ValueError, match="radius"):
        build_index(none, np.zeros(0, dtype=np.int32), num_owners=0, radius=8)
