"""The table of rows: its numbers by hand, its document, and every row's own command as a dry run."""

import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_calls import call

from tubelet import describe
from tubelet.recipes.miniature import MINIATURES_A, SETS_A, TARGETS_B, Scale
from tubelet.recipes.paper_a import paper_a
from tubelet.recipes.paper_b import paper_b
from tubelet.recipes.row_costs import ROW_RECIPES, row_costs
from tubelet.recipes.rows_a import ROWS_A
from tubelet.recipes.rows_b import ROWS_B
from tubelet.train import estimate
from tubelet.types import InputError

ROOT = Path(__file__).parents[2]
ROWS = {row.name: row for recipe in ROW_RECIPES for row in row_costs(recipe)}


def test_every_row_has_a_line() -> None:
    assert list(ROWS) == [*ROWS_A, *ROWS_B]
    for row in ROWS.values():
        assert all((row.what, row.paper, row.hardware, row.command)), row.name
        assert row.clips > 0
        assert row.gpu_hours > 0


@pytest.mark.parametrize(
    ("name", "clips", "gmacs", "times"),
    [
        # 15 passes over Kinetics, Moments in Time and the seconds 902 to 1798 of 235 films.
        ("2-cofinetune", 15 * (240_436 + 802_264 + 235 * 897), 370, 3),
        # 15 passes upstream, 20 over the target.
        ("1a-transfer", 15 * 240_436 + 20 * 235 * 897, 370, 3),
        # R(2+1)D-34 with 8 frames has a quarter of Table 2's 152 GMACs.
        ("8-scratch", 45 * 240_436, 38, 3),
        ("8-65m", 490e6 + 58 * 240_436, 38, 3),
        ("17-152", 490e6 + 16 * 86_017, 252, 3),
    ],
)
def test_clips_and_hours_by_hand(name: str, clips: float, gmacs: float, times: int) -> None:
    row = ROWS[name]
    assert row.clips == clips
    assert row.gpu_hours == pytest.approx(clips * times * gmacs * 2e9 / (0.4 * 989e12) / 3600, rel=0.02)


def test_what_is_frozen_takes_a_third() -> None:
    finetuned, frozen = (ROWS[name].gpu_hours for name in ("8-65m", "8-65m-fc"))
    pretrained = 490e6 / ROWS["8-65m"].clips * finetuned
    assert frozen - pretrained == pytest.approx((finetuned - pretrained) / 3, rel=1e-6)


def test_an_image_network_sees_one_frame_of_each() -> None:
    images, clips = (ROWS[name] for name in ("12-frames", "12-clips"))
    assert images.gpu_hours < clips.gpu_hours / 8


def test_what_a_reader_sees(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert call(monkeypatch, "recipes", "paper_a") == 0
    shown = capsys.readouterr().out
    for part in ("Hardware: as published, TPUs", "Duration: not measured", "2-cofinetune", "ava 26.3", "18.8 M", "29"):
        assert part in shown
    assert call(monkeypatch, "recipes", "own_posts") == 0
    assert "Hardware: any" in capsys.readouterr().out
    assert call(monkeypatch, "recipes", "paper_c") == 2


def test_the_document_is_what_its_script_writes(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "scripts/write_recipes_page.py"), run_name="__main__")
    assert capsys.readouterr().out == (ROOT / "docs/recipes.md").read_text()


@pytest.mark.parametrize("scale", ["paper", "small", "mini"])
@pytest.mark.parametrize("name", ROWS)
def test_an_empty_folder_is_told_all_it_lacks(name: str, scale: Scale, tmp_path: Path) -> None:
    recipe = paper_a if name in ROWS_A else paper_b
    with pytest.raises(InputError) as error:
        recipe(row=name, data=tmp_path, scale=scale)
    (told,) = re.findall(r"has no manifest (.*), which this row needs", str(error.value))
    if name in ROWS_A:
        row = ROWS_A[name]
        wanted = {set_ for stage in row.stages for set_ in stage}
        posts = scale != "paper" and MINIATURES_A[scale].starts[row.start]
        stand_ins = {ours for set_ in wanted for ours in SETS_A[set_]} | ({"posts"} if posts else set())
    else:
        wanted = {set_ for set_ in (ROWS_B[name].source, ROWS_B[name].target) if set_}
        stand_ins = {TARGETS_B.get(set_, set_) for set_ in wanted}
    assert set(told.split(", ")) == (wanted if scale == "paper" else stand_ins)


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that computes once what it is asked for again."""
    found: dict[str, Any] = {}

    def call_once(*args: Any, **kwargs: Any) -> Any:
        key = repr((args, kwargs))
        if key not in found:
            found[key] = function(*args, **kwargs)
        return found[key]

    return call_once


@pytest.mark.ci
@pytest.mark.parametrize("scale", ["paper", "small", "mini"])
@pytest.mark.parametrize("recipe", ROW_RECIPES)
def test_every_rows_own_command_as_a_dry_run(
    recipe: str,
    scale: Scale,
    row_manifests: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It builds, and its stages are as long as the papers say: the commands of docs/recipes.md, word for word."""
    (tmp_path / "manifests").symlink_to(row_manifests)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("tubelet.train.estimate.matrix_speed", lambda *_: 1e6)  # nothing is timed
    for module, name in ((describe, "measure_cost"), (estimate, "estimate")):  # rows share networks; both take long
        monkeypatch.setattr(module, name, remembered(getattr(module, name)))
    monkeypatch.setattr("tubelet.describe.initialise", lambda *_, **__: "not looked at")
    for row in row_costs(recipe):
        assert call(monkeypatch, *shlex.split(row.command)[1:], "--scale", scale, "--dry-run") == 0, row.name
        shown = capsys.readouterr().out
        steps = [int(number) for number in re.findall(r": (\d+) steps of", shown)]
        assert all(steps), row.name
        assert shown.count("of activations for") == len(steps), row.name
        if scale == "paper":
            assert len(steps) == row.what.count(", then ") + 1, row.name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifests"]
