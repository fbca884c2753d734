"""The recipes: the same number of samples for every arm, and the paper's values where it gives them."""

from pathlib import Path

import pytest

from tubelet.recipes import PLAYGROUND_RECIPES
from tubelet.recipes.ava import NotInPaper, cofinetune_ava
from tubelet.recipes.playground import SCALES, scale_of
from tubelet.types import InputError

SIZES = {"kinetics": 12, "moments": 12, "localise": 12}


@pytest.mark.parametrize("name", list(PLAYGROUND_RECIPES))
@pytest.mark.parametrize("size", list(SCALES))
def test_every_recipe_builds_in_every_size(squares: Path, name: str, size: str) -> None:
    run = PLAYGROUND_RECIPES[name](squares, size=size, learning_rate=0.3, seed=4, init_from=squares)
    assert (run.name, run.seed, run.optim.learning_rate) == (name, 4, 0.3)
    assert run.init_from == str(squares)
    assert run.from_json(run.to_json()) == run


def test_every_arm_sees_the_same_number_of_samples(squares: Path) -> None:
    cofinetune = PLAYGROUND_RECIPES["cofinetune"](squares, size="study")
    together = cofinetune.num_epochs * sum(SIZES.values())
    stages = [PLAYGROUND_RECIPES[f"transfer_{task}"](squares, size="study") for task in SIZES]
    assert sum(s.num_epochs * SIZES[s.tasks[0].name] for s in stages) == together
    alone = PLAYGROUND_RECIPES["localise_only"](squares, size="study")
    assert alone.num_epochs * SIZES["localise"] == together
    assert [task.name for task in cofinetune.tasks] == list(SIZES)
    # Nothing else differs between the arms.
    for run in (*stages, alone):
        assert (run.backbone, run.preprocess, run.batch_size) == (
            cofinetune.backbone,
            cofinetune.preprocess,
            cofinetune.batch_size,
        )
        assert run.optim.learning_rate == cofinetune.optim.learning_rate


def test_the_loss_follows_the_manifest(squares: Path) -> None:
    tasks = {task.name: task for task in PLAYGROUND_RECIPES["cofinetune"](squares, size="tiny").tasks}
    assert (tasks["kinetics"].loss, tasks["localise"].loss) == ("softmax", "sigmoid")
    assert tasks["localise"].kind == "localise"


def test_an_unknown_size_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown size 'huge', expected one of tiny, small, study"):
        scale_of("huge")


def test_ava_has_the_values_of_paper_a(squares: Path) -> None:
    run = cofinetune_ava([squares / "manifests" / "localise", squares / "manifests" / "kinetics"])
    # Paper A, 4.1 and A.1.
    assert (run.batch_size, run.num_epochs, run.mixture) == (128, 15, "weighted")
    assert (run.optim.learning_rate, run.optim.momentum, run.optim.warmup_epochs) == (0.2, 0.9, 2.5)
    assert (run.preprocess.size, run.preprocess.num_frames, run.preprocess.frame_stride) == (224, 32, 2)
    assert (run.backbone.patch, run.backbone.tubelet, run.backbone.stochastic_depth) == (16, 2, 0.2)
    ava, kinetics = run.tasks
    assert (ava.boxes, ava.box_score_threshold, ava.label_smoothing) == ("detected", 0.8, 0.1)
    assert (ava.augment.scale_range, ava.augment.box_jitter) == ((0.65, 1.1), 0.15)
    assert (kinetics.boxes, kinetics.box_score_threshold) == ("annotated", 0.0)
    assert (ava.eval_boxes, ava.eval_box_score_threshold) == ("detected", 0.8)
    # A.1: AVA-Kinetics is trained on annotated boxes and scored on detections from 0.2.
    (kinetics_boxes,) = cofinetune_ava([squares / "manifests" / "localise"], boxes="annotated").tasks
    assert (kinetics_boxes.boxes, kinetics_boxes.eval_boxes) == ("annotated", "detected")
    assert kinetics_boxes.eval_box_score_threshold == 0.2
    ours = cofinetune_ava([squares / "manifests" / "localise"], not_in_paper=NotInPaper(weight_decay=0.1, roi_size=14))
    assert (ours.optim.weight_decay, ours.tasks[0].roi_size, ava.roi_size) == (0.1, 14, 7)
    with pytest.raises(InputError, match="at least one manifest"):
        cofinetune_ava([])
