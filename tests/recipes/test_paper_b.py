"""Paper B's rows: its tables' rates at every epoch, its lengths by hand, and what each run is made of."""

import csv
import io
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tubelet.describe import describe_run
from tubelet.recipes.miniature import MINIATURES_B
from tubelet.recipes.paper_b import VIDEOS_SEEN, paper_b
from tubelet.recipes.rows_b import EPIC, KINETICS, ROWS_B, SOMETHING
from tubelet.train.config import PREVIOUS
from tubelet.train.schedule import RatePlan
from tubelet.types import InputError

RATES = Path(__file__).parent / "rates"
NOT_IN_A4 = ("f2-", "3-")
TARGETS = (KINETICS, *EPIC.values(), SOMETHING)


@pytest.fixture
def data(row_manifests: Path) -> Path:
    return row_manifests


def rates_of(name: str, data: Path) -> RatePlan:
    """Return the rates of a row's fine-tuning on a set of 1000 steps an epoch."""
    run = paper_b(row=name, data=data, init_from="x")[-1]
    return run.rate_plan(1000 * run.batch_size)


def stored() -> dict[str, list[float]]:
    with (RATES / "rates.csv").open() as file:
        return {line[0]: [float(cell) for cell in line[1:]] for line in csv.reader(file)}


def test_the_stored_rates_are_what_their_script_writes(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(RATES / "make_rates.py"), run_name="__main__")
    assert capsys.readouterr().out == (RATES / "rates.csv").read_text()


def test_the_rate_at_every_epoch_of_every_row(data: Path) -> None:
    golden = stored()
    ours = [
        n for n, row in ROWS_B.items() if not row.inferred and not n.startswith(NOT_IN_A4) and not n.endswith("-tail")
    ]
    assert sorted(golden) == sorted(ours)
    for name, expected in golden.items():
        rates = rates_of(name, data)
        assert rates.num_steps == 1000 * len(expected), name
        # In the warm-up the first step of an epoch is one step of 1000 up the line already.
        found = [rates.at(1000 * epoch) for epoch in range(len(expected))]
        assert found == pytest.approx(expected, rel=5e-3), name


@pytest.mark.parametrize(
    ("name", "length", "drops", "peak"),
    [
        ("8-500k", 58, [32, 48], 0.0192),  # 0.0003 x 64; 16 of warm-up + 16 + 16 + 10
        ("8-65m", 58, [32, 48], 0.00192),
        ("12-imagenet", 167, [60, 100, 140], 0.64),  # 20 + 40 + 40 + 40 + 27
        ("12-clips", 188, [80, 120, 160], 0.64),  # 40 + 40 + 40 + 40 + 28
        ("12-frames", 96, [40, 60, 80], 0.032),
        ("14-kinetics-verb", 27, [9, 18], 0.016),  # the third period ends with the run
        ("14-kinetics-noun", 27, [9, 18], 0.0064),
        ("17-34", 16, [6, 12], 0.016),  # 6 + 6 + 4
        ("17-152", 16, [12], 0.00832),  # 12 + 4
    ],
)
def test_lengths_and_drops_by_hand(name: str, length: int, drops: list[int], peak: float, data: Path) -> None:
    rates = rates_of(name, data)
    steps = range(rates.num_steps)
    assert len(steps) == 1000 * length
    found = [step for step in steps[1:] if rates.at(step) < 0.5 * rates.at(step - 1)]
    assert found == [1000 * drop for drop in drops]
    assert max(map(rates.at, steps[::50])) == pytest.approx(peak)
    assert rates.at(steps[-1]) == pytest.approx(peak / 10 ** len(drops))


def test_only_kinetics_warms_up_and_from_the_rate_of_one_gpu(data: Path) -> None:
    for name, row in ROWS_B.items():
        assert (row.schedule.warmup > 0) == (row.target == KINETICS), name
    assert rates_of("8-500k", data).at(0) == pytest.approx(0.0003, rel=0.01)
    assert rates_of("14-500k-verb", data).at(0) == pytest.approx(0.032)


@pytest.mark.parametrize(("name", "clips_per_gpu"), [("8-65m", 16), ("9-152", 6)])
def test_a_pre_training_sees_490_million_videos(name: str, clips_per_gpu: int, data: Path) -> None:
    pretrain, finetune = paper_b(row=name, data=data)
    batch = 128 * clips_per_gpu
    assert (pretrain.batch_size, finetune.batch_size) == (batch, 64 * clips_per_gpu)
    rates = pretrain.rate_plan(12)
    assert rates.num_steps == round(VIDEOS_SEEN / batch)  # 239,258 steps of 2048, 638,021 of 768
    assert rates.peak == pytest.approx(0.192)
    assert rates.at(rates.num_steps - 1) == pytest.approx(0.192 / 2**13)
    assert len({rates.at(step) for step in range(rates.warmup_steps, rates.num_steps, 500)}) == 14
    assert (pretrain.init_from, finetune.init_from) == (None, PREVIOUS)
    assert (pretrain.tasks[0].labels, pretrain.tasks[0].class_sampling) == ("one", "square_root")
    assert finetune.tasks[0].class_sampling == "uniform"
    assert finetune.tasks[0].eval_num_views == 10
    assert finetune.optim.weight_decay == 0.0001


def test_every_row_names_its_manifests_and_its_own_models(data: Path) -> None:
    for name, row in ROWS_B.items():
        stages = paper_b(row=name, data=data)
        assert [run.tasks[0].name for run in stages] == [set_ for set_ in (row.source, row.target) if set_], name
        assert len({run.preprocess.fit for run in stages}) == 1, name
    verb, noun = (paper_b(row=f"15-152-{part}", data=data)[1] for part in ("verb", "noun"))
    assert (verb.optim.learning_rate, noun.optim.learning_rate) == (0.00005, 0.0001)
    image, video = paper_b(row="12-frames", data=data)
    assert (image.backbone.num_frames, image.backbone.convolution) == (1, "2d")
    assert (video.backbone.num_frames, video.backbone.convolution) == (8, "3d")
    assert paper_b(row="3-short-5m", data=data)[1].optim.frozen_backbone
    assert paper_b(row="13-34", data=data, short_edge=True)[1].preprocess.short_side == 128


@pytest.mark.parametrize("name", ["8-65m", "12-frames", "14-kinetics-verb", "17-34"])
def test_a_dry_run_at_full_scale(name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tubelet.train.estimate.matrix_speed", lambda *_: 1e6)
    shown = io.StringIO()
    for run in paper_b(row=name, data=data):
        # The start is not looked at, which takes building the network.
        describe_run(replace(run, init_from=None), tmp_path, Console(file=shown, width=200))
    assert shown.getvalue().count("of activations for") == 2
    assert not list(tmp_path.iterdir())


def test_missing_manifests_and_rows_are_named(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "kinetics400", tmp_path / "targets" / "kinetics400")
    with pytest.raises(InputError, match="has no manifest ig_kinetics_65m, which this row needs"):
        paper_b(row="13-34", data=tmp_path / "targets")
    with pytest.raises(InputError, match="has no manifest kinetics400"):
        paper_b(row="13-34", data=tmp_path, corpora=data)
    with pytest.raises(InputError, match="no row '13-35'; did you mean '13-34'"):
        paper_b(row="13-35", data=data)


def test_the_small_scale_is_between_mini_and_paper(data: Path) -> None:
    for name in ("8-65m", "9-152", "12-frames", "17-34"):
        small, mini, paper = (paper_b(row=name, data=data, scale=scale) for scale in ("small", "mini", "paper"))
        for middle, least, most in zip(small, mini, paper, strict=True):
            assert least.backbone.planes < middle.backbone.planes < most.backbone.planes
            assert least.backbone.num_frames <= middle.backbone.num_frames <= most.backbone.num_frames
            assert (middle.backbone.depth, middle.backbone.size) == (most.backbone.depth, most.backbone.size)
            assert least.num_epochs < middle.num_epochs
    videos = paper_b(row="8-65m", data=data, scale="small")[0].rate_plan(12)
    assert videos.num_steps == 200_000 // 64


def test_minis_are_small_and_of_one_length(data: Path) -> None:
    for name, row in ROWS_B.items():
        stages = paper_b(row=name, data=data, scale="mini")
        run = stages[-1]
        assert run.rate_plan(1600).num_steps == round(100 * MINIATURES_B["mini"].epochs[run.tasks[0].name]), name
        assert (run.backbone.size, run.backbone.num_frames, run.backbone.planes) == (64, 8, 16), name
        assert run.batch_size == 16
        # What was found to learn in so few steps, of both stages (docs/log.md).
        for stage in stages:
            weights = (stage.preprocess.still_weight, stage.preprocess.motion_weight)
            assert (weights, stage.optim.optimizer, stage.optim.learning_rate) == ((0.2, 2.0), "adamw", 0.002), name
            assert stage.tasks[0].eval_num_views == 3, name
        if row.source is not None:
            rates = stages[0].rate_plan(12)
            assert rates.num_steps == 500, name  # 8,000 videos
            assert rates.at(499) == pytest.approx(0.002 / 2**4), name
    longer, after = paper_b(row="8-1m", data=data, scale="mini", videos_seen=32_000)
    assert (longer.rate_plan(12).num_steps, longer.rate_plan(12).at(1999)) == (2000, pytest.approx(0.002 / 2**4))
    assert after == paper_b(row="8-1m", data=data, scale="mini")[1]
    with pytest.raises(InputError, match="--videos-seen is for a miniature"):
        paper_b(row="8-1m", data=data, videos_seen=32_000)
    depths = [paper_b(row=f"9-{depth}", data=data, scale="mini")[1].backbone.depth for depth in (18, 34, 101, 152)]
    assert depths == [18, 34, 101, 152]
    # The periods keep their place: 58 = 16 + 16 + 16 + 10.
    rates = paper_b(row="8-1m", data=data, scale="mini")[1].rate_plan(1600 * 58)
    assert [rates.at(200 * epoch + 1) / rates.peak for epoch in (16, 31, 32, 47, 48)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )
