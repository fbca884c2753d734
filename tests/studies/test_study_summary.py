"""The study's statistics and verdict by hand."""

import pytest

from tubelet.studies.arms import ArmResult, ClassResult
from tubelet.studies.chance import Chance
from tubelet.studies.summary import spread, summarise_results

CHANCE = Chance(
    mean_ap=0.08,
    low=0.07,
    high=0.09,
    accuracy={"kinetics/test/top1": 0.125},
    per_class={"walk": 0.3, "dance": 0.02, "crouch": 0.04, "get up": None},
)


def result(arm: str, seed: int, mean_ap: float, tail: float | None, at_end: float | None = None) -> ArmResult:
    return ArmResult(
        arm=arm,
        seed=seed,
        learning_rate=0.05,
        split="test",
        mean_ap=mean_ap,
        per_class=(
            ClassResult(name="walk", ap=mean_ap, num_ground_truth=5, bucket="head", group="pose"),
            ClassResult(name="dance", ap=0.2, num_ground_truth=5, bucket="mid", group="pose"),
            ClassResult(name="crouch", ap=0.1, num_ground_truth=5, bucket="mid", group="pose"),
        ),
        buckets={"head": 0.5, "tail": tail},
        groups={"pose": 0.4},
        classify={"kinetics/test/top1": 0.75},
        classify_at_end={} if at_end is None else {"kinetics/test/top1": at_end},
        samples_seen=100,
        seconds=1.0,
    )


def results(ours: list[float], theirs: list[float]) -> dict[str, list[ArmResult]]:
    return {
        "cofinetune": [result("cofinetune", i, value, 0.3) for i, value in enumerate(ours)],
        "transfer": [result("transfer", i, value, 0.1, at_end=0.25) for i, value in enumerate(theirs)],
    }


def test_spread_by_hand() -> None:
    value = spread([0.4, 0.5, 0.6])
    assert (value.mean, value.std, value.low, value.high) == pytest.approx((0.5, 0.1, 0.4, 0.6))
    assert spread([0.3]).std == 0.0


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [
        ([0.50, 0.52, 0.54], [0.40, 0.42, 0.43], "holds"),  # 0.10, 0.10, 0.11
        ([0.50, 0.52, 0.54], [0.40, 0.45, 0.51], "not resolved"),  # 0.10, 0.07, 0.03: 0.067 +- 0.087
        ([0.50, 0.52], [0.40, 0.42], "not resolved"),  # two seeds prove nothing
        ([0.40, 0.42, 0.43], [0.50, 0.52, 0.54], "does not hold"),  # behind
    ],
)
def test_the_lead_is_judged_seed_by_seed(ours: list[float], theirs: list[float], outcome: str) -> None:
    (margin,) = summarise_results(results(ours, theirs), CHANCE, {}).margins
    assert margin.verdict.outcome == outcome
    assert margin.verdict.mean == pytest.approx(sum(ours) / len(ours) - sum(theirs) / len(theirs))


def test_seeds_that_one_arm_lacks_are_no_difference() -> None:
    found = results([0.50, 0.52, 0.54], [0.40, 0.42, 0.43])
    del found["transfer"][1]
    (margin,) = summarise_results(found, CHANCE, {}).margins
    assert (margin.verdict.num_seeds, margin.verdict.outcome) == (2, "not resolved")
    assert margin.verdict.mean == pytest.approx((0.10 + 0.11) / 2)


def test_the_table_shows_means_gains_forgetting_and_chance() -> None:
    found = results([0.50, 0.52, 0.54], [0.39, 0.42, 0.45])
    summary = summarise_results(found, CHANCE, {"cofinetune": {"0.05": 0.41, "0.2": 0.39}})
    assert summary.bucket_gains["transfer"] == pytest.approx({"head": 0.0, "tail": 0.2})
    table = summary.table()
    assert "| mAP | 52.0 ± 2.0 (50.0 to 54.0) | 42.0 ± 3.0 (39.0 to 45.0) | 8.0 |" in table
    # Forgetting is the fall from the stage's end to the end of the last stage; co-finetuning has no such line.
    assert "| kinetics/test/top1 | 75.0 ± 0.0 (75.0 to 75.0) | 75.0 ± 0.0 (75.0 to 75.0) | 12.5 |" in table
    assert "| kinetics/test/top1 at the end |  | 25.0 ± 0.0 (25.0 to 25.0) | 12.5 |" in table
    # Of the three classes, dance and crouch have a take that training never shows.
    assert "| held-out motions | 15.0 ± 0.0 (15.0 to 15.0) | 15.0 ± 0.0 (15.0 to 15.0) | 3.0 |" in table
    assert "| transfer | +10.0 | +7.5 to +12.5 | holds | +0.0 |  | +20.0 |" in table
    assert "| cofinetune | 41.0 | 39.0 | 0.05 (edge of the grid) |" in table
    assert "may lie outside the grid for cofinetune." in table
    assert "Seeds: cofinetune 3, transfer 3." in table


def test_failed_runs_are_counted_and_a_rate_beside_them_is_no_edge() -> None:
    """The highest rate was tried and diverged, so the one chosen below it lies inside the grid; the lowest does not."""
    found = results([0.50, 0.52, 0.54], [0.40, 0.42])
    tried: dict[str, dict[str, float | None]] = {
        "cofinetune": {"0.01": 0.3, "0.05": 0.41, "0.2": None},
        "transfer": {"0.05": 0.2, "0.2": 0.1, "0.8": None},
    }
    summary = summarise_results(found, CHANCE, tried, {"transfer": 1})
    assert summary.at_edge == ("transfer",)
    assert summary.margins[0].verdict.outcome == "not resolved"  # two seeds are left
    table = summary.table()
    assert "| cofinetune | 30.0 | 41.0 | failed |  | 0.05 |" in table
    assert "| transfer |  | 20.0 | 10.0 | failed | 0.05 (edge of the grid) |" in table
    assert "Seeds: cofinetune 3, transfer 2 (1 more failed)." in table


def test_a_bucket_without_ground_truth_is_left_out() -> None:
    found = {"cofinetune": [result("cofinetune", 0, 0.5, None)], "transfer": [result("transfer", 0, 0.4, None)]}
    summary = summarise_results(found, CHANCE, {})
    assert "tail" not in summary.arms["cofinetune"]
    assert "tail" not in summary.bucket_gains["transfer"]
