"""Runs of frames that two videos share, planted in sequences of random codes."""

import numpy as np
import pytest

from tubelet.corpus.alignment import longest_run

RNG = np.random.default_rng(0)


def random_codes(number: int) -> np.ndarray:
    return RNG.integers(1, 2**64, number, dtype=np.uint64)


def noisy(codes: np.ndarray, bits: int) -> np.ndarray:
    """Flip so many bits of each code."""
    out = codes.copy()
    for place in range(len(out)):
        for bit in RNG.permutation(64)[:bits]:
            out[place] ^= np.uint64(1) << np.uint64(bit)
    return out


def test_a_stretch_is_found_where_it_is() -> None:
    target = random_codes(40)
    source = np.concatenate([random_codes(100), noisy(target[5:30], 3), random_codes(50)])
    run = longest_run(source, target, near_bits=12)
    assert (run.source, run.target, run.bits) == ((100, 125), (5, 30), 3.0)
    assert run.score == pytest.approx(25 * (1 - 3 / 12))


@pytest.mark.parametrize("speed", [0.9, 0.95, 1.05, 1.1])
def test_another_speed_is_followed(speed: float) -> None:
    target = random_codes(200)
    played = target[np.floor(np.arange(int(190 / speed)) * speed + 1e-9).astype(int)]
    run = longest_run(np.concatenate([random_codes(30), played]), target, near_bits=12)
    assert run.source[0] in (30, 31)  # played slower, the first frame is there twice
    assert run.source[1] == 30 + len(played)
    assert run.target[0] == 0
    assert run.bits < 1


def test_a_few_bad_frames_do_not_end_a_run_but_many_do() -> None:
    target = random_codes(60)
    spoilt = target.copy()
    spoilt[20:23] = random_codes(3)
    assert longest_run(spoilt, target, near_bits=12).source == (0, 60)
    spoilt[20:55] = random_codes(35)
    assert longest_run(spoilt, target, near_bits=12).source == (0, 20)


def test_a_still_picture_runs_side_by_side_and_flat_frames_not_at_all() -> None:
    still = np.full(50, 12345, dtype=np.uint64)
    run = longest_run(still, still[:20], near_bits=12)
    assert run.target == (0, 20)
    assert run.source[1] - run.source[0] == 20
    nothing = np.zeros(50, dtype=np.uint64)
    for source, target in ((nothing, nothing), (still[:0], still), (still, still[:0]), (still, ~still)):
        run = longest_run(source, target, near_bits=12)
        assert (run.score, run.source, run.target, run.bits) == (0.0, (0, 0), (0, 0), 0.0)
