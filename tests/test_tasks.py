"""A task computes its loss and scores from a batch, with its own head, weight and activation."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tubelet.data.loader import collate
from tubelet.data.manifest import read_manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace, one_of
from tubelet.models.model import VideoModel
from tubelet.recipes.playground import SCALES, cofinetune, playground_task, preprocess_of
from tubelet.tasks import build_task, one_label, task_config
from tubelet.train.data import task_dataset
from tubelet.types import ClipBatch, InputError
from tubelet.video.augmentations import BatchAugment

PREPROCESS = replace(preprocess_of(SCALES["tiny"]), still_weight=1.0, motion_weight=1.0)


@pytest.fixture(scope="module")
def model(squares: Path) -> VideoModel:
    torch.manual_seed(0)
    run = cofinetune(squares, size="tiny")
    heads = {c.name: build_task(c, preprocess=PREPROCESS).head for c in run.tasks}
    model = VideoModel(run.backbone, heads).eval()
    for head in model.heads.values():
        torch.nn.init.normal_(head.linear.weight)
    return model


def batch_of(squares: Path, name: str, indices: list[int]) -> ClipBatch:
    task = build_task(playground_task(squares, name), preprocess=PREPROCESS)
    dataset = task_dataset(task, "val", training=False)
    return collate(name, [dataset.view(i) for i in indices])


def logits(model: VideoModel, batch: ClipBatch) -> torch.Tensor:
    # ViViT's public range: RGB from 0..255 to -1..1.
    video = batch.video.float() / 127.5 - 1
    with torch.no_grad():
        return model(video, batch.task, boxes=batch.boxes, box_clip=batch.box_clip)


def test_softmax_loss_and_scores_by_hand(squares: Path, model: VideoModel) -> None:
    task = build_task(replace(playground_task(squares, "kinetics"), label_smoothing=0.1), preprocess=PREPROCESS)
    batch = batch_of(squares, "kinetics", [0, 1, 2])
    raw = logits(model, batch)
    assert torch.allclose(task.scores(model, batch), raw.exp() / raw.exp().sum(1, keepdim=True), atol=1e-6)
    targets = batch.targets * 0.9 + 0.1 / 3
    expected = -(targets * (raw - raw.logsumexp(1, keepdim=True))).sum(1).mean()
    assert task.losses(model, batch).mean().item() == pytest.approx(expected.item(), rel=1e-5)


def test_sigmoid_loss_and_scores_by_hand(squares: Path, model: VideoModel) -> None:
    task = build_task(replace(playground_task(squares, "localise"), label_smoothing=0.2), preprocess=PREPROCESS)
    batch = batch_of(squares, "localise", [0, 3])
    scores = task.scores(model, batch)
    assert scores.shape == (2, 5)
    assert torch.allclose(scores, 1 / (1 + (-logits(model, batch)).exp()), atol=1e-6)
    targets = batch.targets * 0.8 + 0.1
    expected = -(targets * scores.log() + (1 - targets) * (1 - scores).log()).sum(1).mean()
    assert task.losses(model, batch).mean().item() == pytest.approx(expected.item(), rel=1e-4)


def test_each_task_has_its_own_head(squares: Path, model: VideoModel) -> None:
    task = build_task(playground_task(squares, "moments"), preprocess=PREPROCESS)
    model.zero_grad()
    torch.autograd.backward(task.losses(model, batch_of(squares, "moments", [0, 1])).sum())
    touched = {name for name, p in model.named_parameters() if name.startswith("heads.") and p.grad is not None}
    assert touched == {"heads.moments.linear.weight", "heads.moments.linear.bias"}


def test_training_data_is_augmented_and_scored_data_is_not(squares: Path) -> None:
    task = build_task(playground_task(squares, "localise"), preprocess=PREPROCESS)
    training, scoring = task_dataset(task, "train", training=True), task_dataset(task, "train", training=False)
    views = [scoring.sample(0, seed).frames for seed in (1, 2)]
    assert torch.equal(*views)
    assert not torch.equal(training.sample(0, 1).frames, training.sample(0, 2).frames)


def test_a_task_that_does_not_fit_its_manifest_is_refused(squares: Path) -> None:
    config = playground_task(squares, "localise")
    with pytest.raises(InputError, match=r"task localise: kind is 'classify', but .* holds a 'localise' set"):
        build_task(replace(config, kind="classify"), preprocess=PREPROCESS)
    with pytest.raises(InputError, match="multi-label, which needs loss 'sigmoid'"):
        build_task(replace(config, loss="softmax"), preprocess=PREPROCESS)
    with pytest.raises(InputError, match="nowhere"):
        build_task(replace(config, manifest=str(squares / "nowhere")), preprocess=PREPROCESS)


def test_mixed_clips_have_soft_targets_that_reach_the_loss(squares: Path, model: VideoModel) -> None:
    config = playground_task(squares, "kinetics")
    mixing = replace(config, augment=replace(config.augment, batch=BatchAugment(mixup=1.0)), label_smoothing=0.0)
    task = build_task(mixing, preprocess=PREPROCESS)
    dataset = task_dataset(task, "train", training=True)
    batch = replace(collate("kinetics", [dataset.sample(i, seed=50 + i) for i in range(4)]), slots=(0, 1, 2, 3))
    assert batch.seeds == (50, 51, 52, 53)
    mixed = task.augmented(batch)
    share = mixed.targets.max(dim=1).values
    assert (mixed.targets.sum(dim=1) - 1).abs().max() < 1e-6
    assert (share < 1).all()
    raw = logits(model, mixed)
    expected = -(mixed.targets * (raw - raw.logsumexp(1, keepdim=True))).sum(1).mean()
    assert task.losses(model, mixed).mean().item() == pytest.approx(expected.item(), rel=1e-5)
    plain = build_task(config, preprocess=PREPROCESS).augmented(batch)
    assert torch.equal(plain.video, batch.video)


def test_clips_with_boxes_are_not_mixed(squares: Path) -> None:
    config = playground_task(squares, "localise")
    for changes in ({"mixup": 0.3}, {"cutmix": 1.0}):
        with pytest.raises(
            InputError, match="task localise: mixup and CutMix mix whole clips: they do not go with boxes"
        ):
            build_task(
                replace(config, augment=replace(config.augment, batch=BatchAugment(**changes))), preprocess=PREPROCESS
            )


def test_one_label_of_several_by_hand() -> None:
    targets = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert one_label(targets, [4, 7, 3]).tolist() == [[0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0] * 4]
    assert one_label(targets, [0, 0, 0])[0].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_a_clip_keeps_its_label_or_gets_another_each_pass(squares: Path, tmp_path: Path) -> None:
    rows = [clip | {"labels": [0, 1, 2]} for clip in read_manifest(squares / "manifests/kinetics").clips.to_pylist()]
    write_manifest(
        tmp_path / "several",
        name="several",
        kind="classify",
        multi_label=True,
        label_space=LabelSpace(name="colours", names=("red", "green", "blue")),
        media_root=str(squares / "videos"),
        licence="CC0-1.0",
        source="tests",
        clips=rows,
        boxes=None,
    )
    plain = task_config(tmp_path / "several")
    assert plain.loss == "sigmoid"
    with pytest.raises(InputError, match="multi-label, which needs loss 'sigmoid', or labels 'one'"):
        build_task(replace(plain, loss="softmax"), preprocess=PREPROCESS)
    with pytest.raises(InputError, match="labels 'one' is for whole clips"):
        replace(plain, kind="localise", labels="one")
    found: dict[str, list[list[int]]] = {}
    for choice in ("one", "one_each_pass"):
        config = task_config(tmp_path / "several", labels=choice)
        assert config.loss == "softmax"
        task = build_task(config, preprocess=PREPROCESS)
        dataset = task_dataset(task, "train", training=True, seed=3)
        passes = [collate("several", [dataset.sample(i, seed=100 * n + i) for i in range(12)]) for n in range(3)]
        passes = [replace(batch, slots=tuple(range(12))) for batch in passes]
        chosen = [task.augmented(batch).targets for batch in passes]
        assert all((targets.sum(dim=1) == 1).all() for targets in chosen)
        assert task.augmented(passes[0]).targets.equal(chosen[0])
        found[choice] = [targets.argmax(dim=1).tolist() for targets in chosen]
    assert found["one"][0] == found["one"][1] == found["one"][2]
    assert len(set(map(tuple, found["one_each_pass"]))) == 3
    assert set(found["one"][0]) == set(found["one_each_pass"][0]) == {0, 1, 2}
    task = build_task(task_config(tmp_path / "several", labels="one"), preprocess=PREPROCESS)
    for seed in (3, 4):
        dataset = task_dataset(task, "train", training=True, seed=seed)
        chosen = [int(dataset.targets(index).argmax()) for index in range(12)]
        by_rule = [one_of(("red", "green", "blue"), seed=seed, video=dataset.video(i)) for i in range(12)]
        assert chosen == by_rule
        assert (chosen == found["one"][0]) == (seed == 3)
    assert task_dataset(task, "train", training=False, seed=3).targets(0).sum() == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_smoothing": 1.5}, "task kinetics: label_smoothing must be between 0 and 1, found 1.5"),
        ({"label_smoothing": 1.0}, "task kinetics: label_smoothing must be below 1 and label_iou above 0"),
        ({"label_iou": 0.0}, "task kinetics: label_smoothing must be below 1 and label_iou above 0"),
        ({"loss_weight": -1.0}, "loss_weight must be between 0 and inf"),
        (
            {"boxes": "detekted"},
            "TaskConfig.boxes: expected one of annotated, detected, both, found 'detekted'; did you",
        ),
        ({"eval_num_views": 0}, "eval_num_views must be between 1"),
        ({"box_score_threshold": 80.0}, "box_score_threshold must be between 0 and 1"),
    ],
)
def test_values_that_cannot_be_are_refused(squares: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(playground_task(squares, "kinetics"), **change)
