"""The longest run of frames that two videos share, in the same order and at nearly the same speed.

A frame that looks like one of another video may be chance; half a second of them in step is not. Found by local
alignment (Smith and Waterman, 1981) of the two sequences of codes: a pair of frames scores 1 where their codes are
equal, 0 at ``near_bits`` and down to -1 beyond, and a run ends where its score sinks to nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tubelet.corpus.code_index import bits_set
from tubelet.kernels import kernel

F64 = NDArray[np.float64]
U64 = NDArray[np.uint64]
SKIP = 0.1
"""Taken off the score where one video goes on by two frames: still pictures run side by side, a copy that is played
faster by a twentieth loses next to nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Frames of two videos that go together."""

    score: float
    """Sum over its pairs of frames, each up to 1; 0 = there is no run."""
    source: tuple[int, int]
    """First frame in the source and the one behind the last."""
    target: tuple[int, int]
    """Likewise in the target."""
    bits: float
    """Mean number of bits in which the codes of its pairs differ."""


def longest_run(source: U64, target: U64, *, near_bits: float) -> Run:
    """Return the run with the highest score.

    Args:
        source: Codes (S,) of a video; 0 = a frame that matches nothing.
        target: Codes (T,) of another at the same rate.
        near_bits: Bits in which codes of frames may differ that are more alike than not.
    """
    best = np.zeros(7)
    if len(source) and len(target):
        _align(
            np.ascontiguousarray(source), np.ascontiguousarray(target), near_bits, np.zeros((3, len(target), 5)), best
        )
    score, last_source, last_target, first_source, first_target, bits, pairs = best.tolist()
    return Run(
        score=score,
        source=(int(first_source), int(last_source) + 1 if score else 0),
        target=(int(first_target), int(last_target) + 1 if score else 0),
        bits=bits / pairs if pairs else 0.0,
    )


@kernel()
def _reached(before: F64, before2: F64, i: int, j: int) -> tuple[float, int]:
    """Return the highest score of a run that (i, j) continues, and which: 0 none, else 1 to 3 as in ``_align``."""
    score, step = 0.0, 0
    if i > 0 and j > 0:
        score, step = before[j - 1, 0], 1
        if j > 1 and before[j - 2, 0] - SKIP > score:
            score, step = before[j - 2, 0] - SKIP, 2
        if i > 1 and before2[j - 1, 0] - SKIP > score:
            score, step = before2[j - 1, 0] - SKIP, 3
    return (score, step) if score > 0.0 else (0.0, 0)


@kernel()
def _align(source: U64, target: U64, near_bits: float, rows: F64, best: F64) -> None:
    """Fill ``best``: score, last frames, first frames, bits and pairs of the best run.

    Args:
        source: (S,).
        target: (T,).
        near_bits: See ``longest_run``.
        rows: (3, T, 5) zeros: score of the best run that ends here, its first frames, bits and pairs, for the source's
            frame at hand and the two before.
        best: (7,) zeros.
    """
    for i in range(source.shape[0]):
        row, before, before2 = rows[i % 3], rows[(i + 2) % 3], rows[(i + 1) % 3]
        for j in range(target.shape[0]):
            bits = float(bits_set(source[i] ^ target[j]))
            gain = max(1.0 - bits / near_bits, -1.0)
            if source[i] == 0 or target[j] == 0:
                gain = -1.0
            score, step = _reached(before, before2, i, j)
            row[j, 0] = max(score + gain, 0.0)
            if row[j, 0] == 0.0:
                continue
            if step == 0:
                row[j, 1], row[j, 2], row[j, 3], row[j, 4] = i, j, bits, 1.0
            else:
                came = before[j - 1] if step == 1 else before[j - 2] if step == 2 else before2[j - 1]
                row[j, 1], row[j, 2], row[j, 3], row[j, 4] = came[1], came[2], came[3] + bits, came[4] + 1.0
            if row[j, 0] > best[0]:
                best[0], best[1], best[2] = row[j, 0], i, j
                best[3], best[4], best[5], best[6] = row[j, 1], row[j, 2], row[j, 3], row[j, 4]
