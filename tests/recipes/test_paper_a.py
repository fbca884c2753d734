"""Paper A's rows: 4.1's and A.1's values in every stage, and what each table varies."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tubelet.describe import describe_run
from tubelet.recipes.ava import OUR_CHOICES
from tubelet.recipes.miniature import MINIATURES_A, Scale
from tubelet.recipes.paper_a import paper_a
from tubelet.recipes.rows_a import AVA, AVA_KINETICS, K400, MIT, ROWS_A, SSV2
from tubelet.train.config import PREVIOUS
from tubelet.types import InputError


@pytest.fixture
def data(row_manifests: Path) -> Path:
    return row_manifests


def start_of(name: str) -> str | None:
    return "my_start" if ROWS_A[name].start == "wts" else None


@pytest.mark.parametrize("name", ROWS_A)
def test_every_row_has_the_settings_of_a1(name: str, data: Path) -> None:
    row = ROWS_A[name]
    stages = paper_a(row=name, data=data, init_from=start_of(name), seed=3)
    assert [tuple(task.name for task in run.tasks) for run in stages] == list(row.stages)
    assert [run.init_from for run in stages[1:]] == [PREVIOUS] * (len(stages) - 1)
    for run in stages:
        # 4.1 and A.1, typed again.
        assert (run.batch_size, run.optim.learning_rate, run.optim.momentum, run.optim.warmup_epochs) == (
            128,
            0.2,
            0.9,
            2.5,
        )
        assert (run.optim.optimizer, run.optim.schedule) == ("sgd", "cosine")
        assert (run.preprocess.size, run.preprocess.num_frames, run.preprocess.frame_stride) == (row.size, 32, 2)
        assert (run.backbone.patch, run.backbone.tubelet, run.backbone.stochastic_depth) == (16, 2, 0.2)
        assert run.backbone.dim == {"base": 768, "large": 1024}[row.vivit]
        assert {(task.augment.scale_range, task.augment.box_jitter) for task in run.tasks} == {((0.65, 1.1), 0.15)}
        assert {task.label_smoothing for task in run.tasks} == {0.1}
        assert (run.mixture, run.seed) == (row.mixture, 3)
        # 20 for the fine-tuning baseline, 15 for co-finetuning; upstream sets are our choice.
        epochs = 15 if len(run.tasks) > 1 or run.tasks[0].name not in (AVA, AVA_KINETICS) else 20
        rates = run.rate_plan(128 * 1000)
        assert (rates.num_steps, rates.warmup_steps, rates.peak) == (1000 * epochs, 2500, 0.2)


@pytest.mark.parametrize("name", ["2-k400-mit-ava", "4-alternating", "7-large"])
def test_a_dry_run_at_full_scale(name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tubelet.train.estimate.matrix_speed", lambda *_: 1e6)
    shown = io.StringIO()
    for run in paper_a(row=name, data=data):
        # The start is not looked at, which takes building the network.
        describe_run(replace(run, init_from=None), tmp_path, Console(file=shown, width=200))
    assert shown.getvalue().count("of activations for") == len(ROWS_A[name].stages)
    assert not list(tmp_path.iterdir())


def test_what_the_tables_vary(data: Path) -> None:
    assert paper_a(row="4-alternating", data=data)[0].mixture == "alternating"
    assert [paper_a(row=f"8-{size}-cofinetune", data=data)[0].backbone.size for size in (224, 352, 416, 512)] == [
        224,
        352,
        416,
        512,
    ]
    assert [run.tasks[0].name for run in paper_a(row="2-mit-k400-ava", data=data)] == [MIT, K400, AVA]
    assert [task.name for task in paper_a(row="6-base", data=data)[0].tasks] == [K400, MIT, SSV2, AVA]
    (swapped,) = paper_a(row="6-large", data=data, kinetics="kinetics600")
    assert swapped.tasks[0].name == "kinetics600"
    assert paper_a(row="6-base", data=data)[0].init_from == "hf_in21k_vit_b"
    assert paper_a(row="6-large", data=data)[0].init_from == "hf_in21k_vit_l"


def test_boxes_of_ava_and_of_ava_kinetics(data: Path) -> None:
    ava = paper_a(row="6-base", data=data)[0].tasks[-1]
    assert (ava.boxes, ava.box_score_threshold) == ("detected", 0.8)
    both = paper_a(row="7-large", data=data)[0].tasks[-1]
    assert (both.boxes, both.eval_boxes, both.eval_box_score_threshold) == ("annotated", "detected", 0.2)
    assert paper_a(row="7-large", data=data, eval_boxes="annotated")[0].tasks[-1].eval_boxes == "annotated"


@pytest.mark.parametrize(("scale", "full", "ratio"), [("mini", 96, 3 / 16), ("small", 192, 3 / 8)])
@pytest.mark.parametrize("name", ROWS_A)
def test_every_miniature_builds_with_one_length(name: str, scale: Scale, full: int, ratio: float, data: Path) -> None:
    row, small = ROWS_A[name], MINIATURES_A[scale]
    stages = paper_a(row=name, data=data, scale=scale)
    starts = small.starts[row.start]
    assert len(stages) == len(starts) + len(row.stages)
    resolution = name.startswith("8-")
    length = small.resolution_epochs if resolution else small.run.num_epochs
    assert [run.num_epochs for run in stages] == [*starts, *[length] * len(row.stages)]
    first, size = (round(224 * ratio), round(row.size * ratio)) if resolution else (full, full)
    assert [run.backbone.size for run in stages] == [*[first] * len(starts), *[size] * len(row.stages)]
    assert stages[-1].mixture == row.mixture
    assert {run.mixture for run in stages if len(run.tasks) == 1} <= {"weighted"}  # rows share what they start from
    assert len(paper_a(row=name, data=data, scale=scale, init_from="mine")) == len(row.stages)
    assert {run.num_epochs for run in paper_a(row=name, data=data, scale=scale, num_epochs=3.0)[len(starts) :]} == {3.0}


def test_mistakes_are_one_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no manifest kinetics400, ava, which this row needs"):
        paper_a(row="1a-cofinetune", data=tmp_path)
    with pytest.raises(InputError, match="starts from weights that are not public; give your own with --init-from"):
        paper_a(row="6-large-wts", data=data)
    with pytest.raises(InputError, match="no row '1a-cofinetun'; did you mean '1a-cofinetune'"):
        paper_a(row="1a-cofinetun", data=data)
    with pytest.raises(InputError, match="--num-epochs is for a miniature"):
        paper_a(row="1a-cofinetune", data=data, num_epochs=3.0)
    with pytest.raises(InputError, match="--scale small has its own settings: --not-in-paper is for the paper's"):
        paper_a(row="1a-cofinetune", data=data, scale="small", not_in_paper=replace(OUR_CHOICES, upstream_epochs=9.0))
