"""Orders and draws that are pure functions of a key: nothing is stored, every process agrees without talking."""

import hashlib

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8

U64 = NDArray[np.uint64]


def key_of(seed: int, *parts: str | int) -> int:
    """Return 63 bits that depend on everything given."""
    digest = hashlib.blake2b(repr((seed, *parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def uniform(counters: U64, key: int) -> NDArray[np.float64]:
    """Return a draw from [0, 1) for each counter."""
    draws: NDArray[np.float64] = (_mix(counters, key) >> np.uint64(11)).astype(np.float64) / 2.0**53
    return draws


def permuted(positions: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Return where a keyed bijection of 0..size-1 sends ``positions``.

    A balanced Feistel network permutes the next power of four; values that fall outside are sent through again
    (cycle walking), which keeps it a bijection of 0..size-1. Less than four rounds of that are expected.
    """
    half = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = _mix(np.arange(ROUNDS, dtype=np.uint64), key)
    values = positions.astype(np.uint64)
    pending = np.ones(len(values), dtype=bool)
    while pending.any():
        left, right = values[pending] >> half, values[pending] & mask
        for round_key in keys:
            left, right = right, left ^ (_mix(right, int(round_key)) & mask)
        values[pending] = (left << half) | right
        pending = values >= np.uint64(size)
    return values.astype(np.int64)


def _mix(values: U64, key: int) -> U64:
    """Hash 64-bit counters under a key: two rounds of the finaliser of splitmix64 (Steele et al., 2014)."""
    x = values * np.uint64(0x9E3779B97F4A7C15) + np.array([key], dtype=np.uint64)
    for _ in range(2):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return x
