from dataclasses import replace

import numpy as np
import pytest
from ava_cases import SPACE as CASE_SPACE
from ava_cases import as_table, make_case

from tubelet.data.ava_table import AvaTable
from tubelet.evals.ava import PROTOCOLS, frame_map, match_detections
from tubelet.evals.average_precision import step_ap
from tubelet.evals.resample import (
    class_means,
    compare,
    draw_aps,
    draw_weights,
    interval,
    ranked_lists,
    ranked_samples,
    videos_of,
    weighted_share,
)
from tubelet.labels import LabelSpace
from tubelet.types import InputError

ONE = LabelSpace(name="one", names=("stand",), ids=(12,))


def drawn_table(table: AvaTable, videos: tuple[str, ...], weights: np.ndarray) -> AvaTable:
    """Return the table with each video as often as its weight says, every copy under a name of its own."""
    names, rows, keyframes = [], [], set()
    for video, weight in zip(videos, weights.astype(int).tolist(), strict=True):
        mine = np.flatnonzero(table.video == video)
        for copy in range(weight):
            rows.append(mine)
            names += [f"{video}#{copy}"] * len(mine)
            keyframes |= {(f"{video}#{copy}", ticks) for v, ticks in table.keyframes if v == video}
    index = np.concatenate([*rows, np.empty(0, dtype=np.int64)])
    return AvaTable(
        video=np.array(names, dtype=object),
        pts_seconds=table.pts_seconds[index],
        boxes_norm=table.boxes_norm[index],
        label_ids=table.label_ids[index],
        scores=None if table.scores is None else table.scores[index],
        keyframes=frozenset(keyframes),
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_weights_do_what_scoring_the_copies_does(protocol: str) -> None:
    case = make_case(3, num_keyframes=30)
    truth, found = as_table(case["ground_truth"], scored=False), as_table(case["detections"], scored=True)
    # Distinct scores: equal ones are ranked by the order of the rows, which copies change. Twelve keyframes a video.
    found = replace(found, scores=(np.random.default_rng(0).permutation(len(found)) + 1) / (len(found) + 1))
    truth, found = (replace(t, video=np.array([f"{v}{int(s) % 3}" for v, s in zip(t.video, t.pts_seconds)],
                    dtype=object), keyframes=frozenset((f"{v}{ticks // 1_000_000 % 3}", ticks)
                    for v, ticks in t.keyframes)) for t in (truth, found))  # fmt: skip
    videos = videos_of(truth, found)
    weights = draw_weights(len(videos), num_draws=12, seed=1)
    lists = ranked_lists(
        match_detections(truth, found, CASE_SPACE, protocol=protocol), truth, found, videos, protocol=protocol
    )
    aps = draw_aps(lists, weights)
    for draw in range(12):
        copies = [drawn_table(t, videos, weights[:, draw]) for t in (truth, found)]
        expected = frame_map(*copies, CASE_SPACE, protocol=protocol)
        values = [np.nan if c.ap is None else c.ap for c in expected.per_class]
        np.testing.assert_allclose(aps[:, draw], values, atol=1e-12)
        assert class_means(aps)[draw] == pytest.approx(expected.mean_ap, abs=1e-12)
    ones = draw_aps(lists, np.ones((len(videos), 1)))[:, 0]
    whole = frame_map(truth, found, CASE_SPACE, protocol=protocol)
    np.testing.assert_allclose(ones, [np.nan if c.ap is None else c.ap for c in whole.per_class], atol=1e-12)


def test_ties_count_together_in_whole_videos() -> None:
    generator = np.random.default_rng(0)
    scores, targets = np.round(generator.random((60, 3)), 1), generator.random((60, 3)) < [0.4, 0.2, 0.02]
    video = generator.integers(0, 10, 60)
    weights = draw_weights(10, num_draws=8)
    aps = draw_aps(ranked_samples(scores, targets, video, 10), weights)
    for draw in range(8):
        rows = np.repeat(np.arange(60), weights[video, draw].astype(int))
        expected = [step_ap(scores[rows, k], targets[rows, k]) for k in range(3)]
        np.testing.assert_allclose(aps[:, draw], [np.nan if ap is None else ap for ap in expected], atol=1e-12)
    right = generator.random(60) < 0.5
    shares = weighted_share(right, video, weights)
    rows = np.repeat(np.arange(60), weights[video, 3].astype(int))
    assert shares[3] == pytest.approx(right[rows].mean())


def coin_tosses(good: np.ndarray, num: int = 20) -> tuple[AvaTable, AvaTable]:
    """Return one box in each of ``num`` videos, found in the good ones: AP is the share of good videos."""
    names, box = np.array([f"v{i:02d}" for i in range(num)], dtype=object), np.tile([0.1, 0.1, 0.5, 0.5], (num, 1))
    truth = AvaTable(
        video=names, pts_seconds=np.full(num, 902.0), boxes_norm=box, label_ids=np.full(num, 12, dtype=np.int32)
    )
    found = AvaTable(
        video=names[good],
        pts_seconds=truth.pts_seconds[good],
        boxes_norm=box[good],
        label_ids=truth.label_ids[good],
        scores=np.linspace(0.1, 0.9, len(good)),
    )
    return truth, found


def draws_of(truth: AvaTable, found: AvaTable, videos: tuple[str, ...], **options: int) -> np.ndarray:
    lists = ranked_lists(match_detections(truth, found, ONE), truth, found, videos, protocol="official")
    return class_means(draw_aps(lists, draw_weights(len(videos), **options)))


def test_the_interval_covers_the_spread_between_videos() -> None:
    truth, found = coin_tosses(np.arange(0, 20, 2))
    videos = videos_of(truth, found)
    draws = draws_of(truth, found, videos, num_draws=300)
    got = interval(0.5, draws)
    spread = 1.96 * np.sqrt(0.25 / 20)  # of a mean of 20 coin tosses
    assert got.low == pytest.approx(0.5 - spread, abs=0.06)
    assert got.high == pytest.approx(0.5 + spread, abs=0.06)
    np.testing.assert_array_equal(draws, draws_of(truth, found, videos, num_draws=300))
    assert not np.array_equal(draws, draws_of(truth, found, videos, num_draws=300, seed=1))
    with pytest.raises(InputError, match="level must be"):
        interval(0.5, draws, level=1.0)


def test_draws_without_ground_truth_have_no_value() -> None:
    truth, found = coin_tosses(np.arange(20))
    rare = AvaTable(**{f: getattr(truth, f)[:1] for f in ("video", "pts_seconds", "boxes_norm", "label_ids")})
    draws = draws_of(rare, found, videos_of(rare, found), num_draws=50)
    assert 0 < np.isnan(draws).sum() < 50
    with pytest.raises(InputError, match="no draw"):
        interval(0.5, np.full(3, np.nan))


def test_two_models_are_compared_on_the_same_draws() -> None:
    truth, worse = coin_tosses(np.arange(0, 20, 2))
    _, better = coin_tosses(np.arange(0, 20))
    videos = videos_of(truth, better)
    draws = [draws_of(truth, found, videos, num_draws=200) for found in (worse, better)]
    got = compare(0.5, draws[1] - draws[0])
    assert (got.p_value, got.low > 0) == (pytest.approx(2 / 201), True)
    # By hand: moved from their mean, 0.5, to 0.2, one draw of four is on the other side: 2 (1 + 1) / (4 + 1).
    by_hand = compare(0.2, np.array([0.6, 0.5, 0.8, 0.1]), level=0.5)
    assert by_hand.p_value == pytest.approx(0.8)
    assert (by_hand.low, by_hand.high) == (pytest.approx(0.1), pytest.approx(0.35))  # quartiles 0.4 and 0.65, less 0.3
    # One video of 40 differs: most draws differ by 0 or by very little, and nothing is shown.
    one = np.repeat([0.0, 0.025, 0.05], [370, 370, 260])
    assert compare(0.025, one).p_value > 0.5
    same = compare(0.0, draws[0] - draws[0])
    assert (same.value, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    # The pairing is what shows a small difference: unpaired intervals of the two would overlap by far.
    _, slightly = coin_tosses(np.concatenate([np.arange(0, 20, 2), [1, 3, 5, 7]]))
    other = draws_of(truth, slightly, videos, num_draws=200)
    assert compare(0.2, other - draws[0]).low > 0
    assert interval(0.7, other).low < interval(0.5, draws[0]).high
