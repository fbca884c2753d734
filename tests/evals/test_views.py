import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest import read_manifest
from tubelet.evals.gather import check_canvas, grid_step
from tubelet.evals.run import evaluate_task
from tubelet.evals.views import AtEveryPlace, Averaging, Views, frames_of, mirrored, unmirrored
from tubelet.labels import LabelSpace
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.vivit import ViViTConfig
from tubelet.types import ClipBatch, Fit, InputError, Preprocess

PREPROCESS = Preprocess(size=32, num_frames=4, frame_stride=2, fps=12.5)
CPU = torch.device("cpu")


def test_views_say_what_they_are() -> None:
    assert str(Views()) == "1 x centre"
    many = Views(num_views=10, crops="three", scales=(0.75, 1.0), flip=True, average="logits")
    assert str(many) == "10 x three, scales 0.75, 1, mirrored too, logits averaged"
    larger = Views(num_views=10, dense=True, frames=frames_of(Fit(size=128, short_side=128)))
    assert str(larger) == "10 x centre, 128 x 128 of frames of a shorter side of 128, at every place"
    assert frames_of(Fit(size=128, exact_hw=(128, 171))) == "128 x 128 of frames of 128 x 171"
    assert frames_of(Fit(size=224)) == "whole frames in 224 x 224"
    for wrong in (
        {"num_views": 0},
        {"scales": ()},
        {"scales": (1.0, 1.0)},
        {"scales": (0.0,)},
        {"scales": (math.nan,)},
    ):
        with pytest.raises(InputError, match=r"num_views=0|scales"):
            Views(**wrong)


@pytest.mark.parametrize("exclusive", [True, False])
def test_averages_by_hand(exclusive: bool) -> None:
    logits = np.random.default_rng(0).normal(size=(3, 5, 4)) * 3

    def probability(x: np.ndarray) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True) if exclusive else 1 / (1 + np.exp(-x))

    for average, expected in (
        ("probabilities", probability(logits).mean(axis=0)),
        ("logits", probability(logits.mean(axis=0))),
    ):
        averaging = Averaging(average, exclusive=exclusive)
        for view in logits:
            averaging.add(probability(view).astype(np.float32))
        np.testing.assert_allclose(averaging.mean(), expected, rtol=1e-5)


def test_certain_views_average_to_numbers() -> None:
    averaging = Averaging("logits", exclusive=True)
    averaging.add(np.array([[1.0, 0.0]], dtype=np.float32))
    averaging.add(np.array([[0.0, 1.0]], dtype=np.float32))
    assert averaging.mean().tolist() == [[0.5, 0.5]]


class WidestSide:
    """Scores a class by where the light is: it sees mirrors and sizes."""

    name = "light"

    def __init__(self, manifest) -> None:
        self.manifest = manifest
        self.label_space = LabelSpace(name="sides", names=("on the left", "on the right", "nowhere"))
        self.shown: list[tuple[tuple[int, ...], Tensor | None]] = []

    def scores(self, model: nn.Module, batch: ClipBatch) -> Tensor:
        self.shown.append((tuple(batch.video.shape[-2:]), batch.boxes))
        half = batch.video.shape[-1] // 2
        left, right = (
            part.float().mean(dim=(1, 2, 3, 4)) for part in (batch.video[..., :half], batch.video[..., half:])
        )
        rest = [torch.zeros_like(left)] * (len(self.label_space) - 2)
        scores = torch.stack([left, right, *rest], dim=1) / 255
        return scores if batch.box_clip is None else scores[batch.box_clip]


def test_mirrored_views_are_swapped_back(squares) -> None:
    data = ClipDataset(read_manifest(squares / "manifests/kinetics"), "val", preprocess=PREPROCESS, augment=None)
    data.label_space = LabelSpace(name="sides", names=("on the left", "on the right", "nowhere"))
    model = nn.Linear(1, 1)
    task = WidestSide(read_manifest(squares / "manifests/kinetics"))
    once = evaluate_task(model, task, data, batch_size=3, device=CPU)
    both = evaluate_task(model, task, data, batch_size=3, device=CPU, views=Views(flip=True))
    np.testing.assert_allclose(both.scores, once.scores, atol=1e-6)  # the light's side is the same in both views
    assert abs(once.scores[:, 0] - once.scores[:, 1]).max() > 0.001


def test_boxes_go_with_the_mirror_and_the_scale(squares) -> None:
    data = ClipDataset(read_manifest(squares / "manifests/localise"), "val", preprocess=PREPROCESS, augment=None)
    task = WidestSide(read_manifest(squares / "manifests/localise"))
    views = Views(scales=(1.0, 1.5), flip=True)
    task.label_space = data.label_space
    result = evaluate_task(nn.Linear(1, 1), task, data, batch_size=100, device=CPU, views=views)
    (size, boxes), (_, flipped), (large, doubled), _ = task.shown
    assert (size, large) == ((32, 32), (48, 48))
    assert boxes is not None
    assert flipped is not None
    torch.testing.assert_close(flipped[:, [0, 2]], 32 - boxes[:, [2, 0]])
    torch.testing.assert_close(doubled, boxes * 1.5, atol=0.6, rtol=0)  # the letterbox rounds to whole pixels
    assert result.detections is not None
    assert result.record()["views"]["scales"] == [1.0, 1.5]
    with pytest.raises(InputError, match="num_views=2: expected exactly 1"):
        evaluate_task(nn.Linear(1, 1), task, data, batch_size=9, device=CPU, views=Views(num_views=2))
    with pytest.raises(InputError, match="every place of a frame is for classification"):
        evaluate_task(nn.Linear(1, 1), task, data, batch_size=9, device=CPU, views=Views(dense=True))


def test_a_canvas_that_patches_do_not_fill_is_named() -> None:
    config = ViViTConfig(size=24, num_frames=2, dim=12, spatial_layers=1, temporal_layers=1, num_heads=1, patch=12)
    model = VideoModel(config, {"t": HeadConfig(kind="classify", num_classes=3)})
    check_canvas(model, 48)
    with pytest.raises(InputError, match=r"canvas of 64 x 64 pixels.*patches have 12 pixels"):
        check_canvas(model, 64)
    # Scaled canvases are multiples of the patch.
    preprocess = Preprocess(size=48, num_frames=2, frame_stride=1, fps=25)
    assert [preprocess.scaled(scale, grid_step(model)).size for scale in (0.75, 1.25, 1.5)] == [36, 60, 72]
    assert [preprocess.scaled(scale).size for scale in (0.75, 1.25)] == [32, 64]


def test_a_mirror_twice_is_nothing() -> None:
    space = LabelSpace(name="sides", names=("turn left", "turn right", "stay"))
    scores = np.arange(6.0).reshape(2, 3)
    assert unmirrored(scores, space).tolist() == [[1.0, 0.0, 2.0], [4.0, 3.0, 5.0]]
    video = torch.arange(2 * 3 * 1 * 2 * 4, dtype=torch.uint8).reshape(2, 3, 1, 2, 4)
    batch = ClipBatch(
        task="t", video=video, targets=torch.zeros(2, 3), boxes=None, box_clip=None, boxes_norm=None, box_scores=None,
        sample_ids=("a", "b"),
    )  # fmt: skip
    assert torch.equal(mirrored(mirrored(batch)).video, video)


def test_every_place_is_the_mean_of_all_windows() -> None:
    torch.manual_seed(0)
    config = ResNet3DConfig(depth=18, convolution="2d", num_frames=2, size=32)
    model = VideoModel(config, {"t": HeadConfig(kind="classify", num_classes=3)}).eval()
    nn.init.normal_(model.heads["t"].linear.weight)
    preprocess = Preprocess(size=48, num_frames=2, frame_stride=1, fps=25)
    task = AtEveryPlace(WidestSide(None), preprocess, "softmax")
    task.task.name = "t"
    video = torch.randint(0, 256, (2, 3, 2, 64, 48), dtype=torch.uint8)
    batch = ClipBatch(
        task="t", video=video, targets=torch.zeros(2, 3), boxes=None, box_clip=None, boxes_norm=None, box_scores=None,
        sample_ids=("a", "b"),
    )  # fmt: skip
    grid = model.backbone((video.float() / 255 - 0.5) / 0.5)
    steps = model.backbone.grid_shape(2, 32, 32)
    windows = [
        grid[:, :, y : y + steps[1], x : x + steps[2]].mean(dim=(1, 2, 3))
        for y in range(grid.shape[2] - steps[1] + 1)
        for x in range(grid.shape[3] - steps[2] + 1)
    ]
    expected = torch.stack([model.heads["t"].linear(w).softmax(dim=1) for w in windows]).mean(dim=0)
    assert len(windows) > 1
    torch.testing.assert_close(task.scores(model, batch), expected, atol=1e-5, rtol=1e-5)
