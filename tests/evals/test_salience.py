from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import evaluation_batches
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.data.manifest_writer import rewrite_manifest
from tubelet.evals.run import evaluate_task
from tubelet.evals.salience import LightModel, clip_counts, salient_clips
from tubelet.evals.views import Views
from tubelet.models.saved import LoadedModel
from tubelet.types import ClipBatch, InputError, Preprocess

HEAVY = Preprocess(size=32, num_frames=4, frame_stride=2, fps=12.5)
"""A clip lasts 0.64 s, a video 2.4 s: four clips cover it."""
LIGHT = Preprocess(size=16, num_frames=2, frame_stride=1, fps=12.5)


class LeftEdge(nn.Module):
    """Is the more certain of class 0 the redder the left edge of the clip is: a red square there is salient."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, video: Tensor, head: str) -> Tensor:
        assert head == "colours"
        red = video[:, 0, :, 4:12, :2].mean(dim=(1, 2, 3))
        return torch.stack([4 * red, torch.zeros_like(red), torch.zeros_like(red)], dim=1)


class Told:
    """A task whose scores say where in its video a clip lies, and which notes what it was shown."""

    name = "told"

    def __init__(self, manifest: Manifest) -> None:
        self.manifest, self.label_space = manifest, manifest.label_space
        self.shown: list[str] = []

    def scores(self, model: nn.Module, batch: ClipBatch) -> Tensor:
        self.shown += batch.sample_ids
        bright = batch.video.float().mean(dim=(1, 2, 3, 4)) / 255
        return torch.stack([bright, 1 - bright, torch.zeros_like(bright)], dim=1)


@pytest.fixture
def light() -> LightModel:
    loaded = LoadedModel(
        model=LeftEdge(), preprocess=LIGHT, heads={}, label_spaces={}, score_kinds={"colours": "softmax"}, meta={}
    )
    return LightModel(loaded=loaded, head="colours", name="edge")


def red_sets(squares: Path) -> tuple[Manifest, ClipDataset, list[str]]:
    """The set, its training split, and the direction of each clip."""
    manifest = read_manifest(squares / "manifests/kinetics")
    data = ClipDataset(manifest, "train", preprocess=HEAVY, augment=None)
    return manifest, data, [("left", "right")[i // 3 % 2] for i in range(len(data))]


def test_as_many_clips_as_cover_the_video(squares: Path) -> None:
    manifest, data, _ = red_sets(squares)
    assert clip_counts(manifest, data, least=2).tolist() == [4] * 12  # 2.4 / 0.64 = 3.75
    assert clip_counts(manifest, data, least=10).tolist() == [10] * 12
    longer = replace(HEAVY, fps=0.0, frame_stride=1)  # the file's own rate, 12.5: 30 frames in clips of 4
    data = ClipDataset(manifest, "train", preprocess=longer, augment=None)
    assert clip_counts(manifest, data, least=1).tolist() == [8] * 12


def test_the_light_models_most_certain_clips(squares: Path, light: LightModel) -> None:
    manifest, data, directions = red_sets(squares)
    chosen = salient_clips(light, manifest, data, num_views=1, batch_size=5, num_workers=0)
    # A red square that goes left ends at the left edge, one that goes right begins there. (Others stay far from it.)
    for index in range(0, len(data), 3):
        assert chosen.views[index].tolist() == [3 if directions[index] == "left" else 0], index
    two = salient_clips(light, manifest, data, num_views=2, batch_size=7, num_workers=1)
    assert (np.diff(two.views, axis=1) > 0).all()
    assert all(one in pair for one, pair in zip(chosen.views[:, 0], two.views, strict=True))


class TwoRanks:
    """One of two processes; what the other has was computed before."""

    size = 2

    def __init__(self, rank: int, parts: list[np.ndarray]) -> None:
        self.rank, self._parts = rank, parts

    def gathered(self, value: np.ndarray) -> list[np.ndarray]:
        self._parts.append(value)
        return self._parts

    def in_step(self, items: object) -> object:
        return items


def test_ranks_share_the_clips(squares: Path, light: LightModel) -> None:
    manifest, data, _ = red_sets(squares)
    how = {"num_views": 2, "batch_size": 5, "num_workers": 0}
    alone = salient_clips(light, manifest, data, **how)
    parts: list[np.ndarray] = []
    salient_clips(light, manifest, data, **how, ranks=TwoRanks(0, parts))
    together = salient_clips(light, manifest, data, **how, ranks=TwoRanks(1, parts))
    assert np.isneginf(parts[0]).sum() == 23  # of 48: batches of five, the last of three is the other's
    assert np.isneginf(parts[1]).sum() == 25
    np.testing.assert_array_equal(together.views, alone.views)


def test_the_chosen_clips_are_averaged(squares: Path, light: LightModel) -> None:
    manifest, data, _ = red_sets(squares)
    task = Told(manifest)
    dummy = nn.Linear(1, 1)
    result = evaluate_task(dummy, task, data, batch_size=4, views=Views(num_views=2), light=light)
    assert len(task.shown) == 24
    assert str(result.views) == "2 x centre, the most salient of all clips by edge"
    assert Views(**result.views.to_json() | {"scales": (1.0,)}) == result.views
    chosen = salient_clips(light, manifest, data, num_views=2, batch_size=4, num_workers=0)
    for index in (0, 5, 11):
        clips = [
            next(iter(evaluation_batches(data, "t", 1, indices=[index], view=int(view), num_views=4)))
            for view in chosen.views[index]
        ]
        expected = np.mean([float(clip.video.float().mean()) / 255 for clip in clips])
        assert result.scores[index, 0] == pytest.approx(expected, abs=1e-6)


def test_boxes_have_one_clip(squares: Path, light: LightModel, tmp_path: Path) -> None:
    manifest = read_manifest(squares / "manifests/localise")
    data = ClipDataset(manifest, "val", preprocess=HEAVY, augment=None)
    with pytest.raises(InputError, match="salient clips are for classification"):
        salient_clips(light, manifest, data, num_views=1, batch_size=4, num_workers=0)
    # Long videos have more clips than short ones.
    whole = read_manifest(squares / "manifests/kinetics")
    rows = whole.clips.to_pylist()
    rows[0]["end_seconds"] = 1.0
    cut = rewrite_manifest(whole, tmp_path / "cut", clips=rows, extra_counts={})
    counts = clip_counts(cut, ClipDataset(cut, "train", preprocess=HEAVY, augment=None), least=1)
    assert counts.tolist() == [2] + [4] * 11
