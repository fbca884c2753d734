"""A tubelet that several clips have in common is computed once, and the scores are those of whole clips."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from inference_fakes import RED, PaintDetector, untrained, write_video

from tubelet.inference.action_model import TorchActionModel
from tubelet.inference.pipeline import Localiser
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.saved import LoadedModel
from tubelet.models.vivit import ViViTConfig
from tubelet.types import Aggregation


def model(aggregation: Aggregation) -> LoadedModel:
    """Return an untrained model of 8 frames in tubelets of 2."""
    torch.manual_seed(0)
    loaded = untrained(num_frames=8)
    config = ViViTConfig(
        size=32, num_frames=8, dim=16, spatial_layers=2, temporal_layers=2, num_heads=2, aggregation=aggregation
    )
    network = VideoModel(config, dict(loaded.heads)).eval()
    for head in network.heads.values():
        torch.nn.init.normal_(head.linear.weight)
    return replace(loaded, model=network)


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """In half the precision a sum depends on what it is computed beside."""
    monkeypatch.setattr("tubelet.inference.action_model.default_autocast", lambda device: nullcontext())


BOXES = torch.tensor([[2.0, 3.0, 20.0, 30.0], [0.0, 0.0, 31.0, 31.0], [5.0, 5.0, 12.0, 28.0]])


def tubelets_computed(scorer: TorchActionModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return what gets the number of tubelets of each call of the spatial encoder."""
    backbone, computed = scorer.model.backbone, list[int]()
    spatial_tokens = backbone.spatial_tokens

    def counted(tubelets: torch.Tensor, *scales: torch.Tensor | None) -> torch.Tensor:
        computed.append(len(tubelets))
        return spatial_tokens(tubelets, *scales)

    monkeypatch.setattr(backbone, "spatial_tokens", counted)
    return computed


@pytest.mark.parametrize("aggregation", ["per_place", "spatial_only", "broadcast_temporal"])
def test_shared_tubelets_change_no_score(
    aggregation: Aggregation, float32: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows of 8 frames, 2 and 4 apart: of 12 tubelets 4 + 1 + 2 are new; of the next call's 8, 3 are known."""
    loaded = model(aggregation)
    frames = torch.randint(0, 256, (3, 40, 32, 32), dtype=torch.uint8)
    scorer = TorchActionModel(loaded)
    computed = tubelets_computed(scorer, monkeypatch)
    for number, starts in enumerate(([0, 2, 6], [8, 20])):
        clips = torch.stack([frames[:, i : i + 8] for i in starts])
        box_clip = torch.arange(3) % len(starts)
        keys = [tuple(range(i, i + 8)) for i in starts]
        computed.clear()
        scores = scorer(clips, BOXES, box_clip.sort()[0], keys)
        # 6..14 has 8..14 in common with the second call's 8..16.
        assert computed == [(4 + 1 + 2, 8 - 3)[number]]
        plain = loaded.model((clips / 255.0 - 0.5) / 0.5, "boxes", BOXES, box_clip.sort()[0]).sigmoid()
        assert scores == pytest.approx(plain.detach(), abs=1e-5)


def test_clips_that_share_no_times_or_whose_input_depends_on_the_clip_are_computed_whole() -> None:
    assert TorchActionModel(model("joint"))._shared is None
    loaded = model("per_place")
    faded = replace(loaded, preprocess=replace(loaded.preprocess, still_weight=0.2))
    assert TorchActionModel(faded)._shared is None


def test_a_video_shares_where_its_keyframes_are_whole_tubelets_apart(
    tmp_path: Path, float32: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 frames a second in tubelets of 0.4 s: keyframes 0.4 s apart share 3 of 4 tubelets, 0.3 s apart none."""
    video = write_video(tmp_path / "v.mp4", lambda i: [((10 + i, 20, 34 + i, 80), RED)], num_frames=40)
    for every, least, most in ((0.4, 10, 40), (0.3, 0, 30)):
        shared = TorchActionModel(model("per_place"))
        computed = tubelets_computed(shared, monkeypatch)
        moments = list(Localiser(shared, people=PaintDetector(), every_seconds=every)(video))
        assert least <= 4 * len(moments) - sum(computed) <= most
        apart = model("per_place")
        whole = TorchActionModel(apart)
        whole._shared = None
        for one, other in zip(
            moments, Localiser(whole, people=PaintDetector(), every_seconds=every)(video), strict=True
        ):
            assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_a_head_is_named() -> None:
    loaded = model("per_place")
    two = replace(loaded, heads={**loaded.heads, "other": HeadConfig(kind="localise", num_classes=4)})
    assert TorchActionModel(two).task == "boxes"
