"""Activation checkpointing changes no number: gradients, logits and batch statistics are those without it."""

import copy

import pytest
import torch

from tubelet.models.model import BackboneConfig, HeadConfig, VideoModel
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.vivit import ViViTConfig

HEADS = {"what": HeadConfig(kind="classify", num_classes=3), "who": HeadConfig(kind="localise", num_classes=4)}
VIVIT = ViViTConfig(
    size=32, num_frames=4, patch=8, dim=16, spatial_layers=3, temporal_layers=2, num_heads=2, stochastic_depth=0.5
)
RESNET = ResNet3DConfig(depth=18, convolution="2plus1d", size=32, num_frames=8)
VIDEO_SEEDS = (3, 4)


def pair(config: BackboneConfig) -> tuple[VideoModel, VideoModel]:
    torch.manual_seed(0)
    plain = VideoModel(config, HEADS).train()
    for head in plain.heads.values():
        torch.nn.init.normal_(head.linear.weight)
    saving = copy.deepcopy(plain)
    saving.recompute_activations()
    return plain, saving


def step(model: VideoModel, *, bfloat16: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """Return logits, gradients, and the bytes that autograd keeps, the weights' aside."""
    torch.manual_seed(1)
    config = model.backbone.config
    video = torch.randn(2, 3, config.num_frames, config.size, config.size)
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    boxes, box_clip = torch.tensor([[0.0, 0.0, 20.0, 31.0], [3.0, 3.0, 9.0, 7.5]]), torch.tensor([0, 1])
    scales = model.residual_scales(VIDEO_SEEDS)
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
    ):
        logits = model(video, "who", boxes, box_clip, residual_scales=scales)
    logits.square().sum().backward()
    return logits.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, sum(kept.values())


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("config", [VIVIT, RESNET], ids=["vivit", "resnet3d"])
def test_nothing_changes_but_the_memory(config: BackboneConfig, bfloat16: bool) -> None:
    plain, saving = pair(config)
    assert list(plain.state_dict()) == list(saving.state_dict())
    logits, gradients, kept = step(plain, bfloat16=bfloat16)
    same_logits, same_gradients, less_kept = step(saving, bfloat16=bfloat16)
    assert torch.equal(logits, same_logits)
    assert gradients.keys() == same_gradients.keys()
    assert [name for name, value in gradients.items() if not torch.equal(value, same_gradients[name])] == []
    assert less_kept < kept / 3
    # Batch normalisation: averages moved once, not once for each pass, and go on as before.
    for number in (1, 2):
        for (name, value), same in zip(plain.named_buffers(), dict(saving.named_buffers()).values(), strict=True):
            assert torch.equal(value, same), name
            assert not name.endswith("num_batches_tracked") or value == number
        step(plain, bfloat16=bfloat16)
        step(saving, bfloat16=bfloat16)


def test_half_of_the_residuals_are_dropped_the_same_in_both_passes() -> None:
    """The test above would hold without stochastic depth; here it acts."""
    _, saving = pair(VIVIT)
    first = step(saving, bfloat16=False)[0]
    scales = saving.residual_scales(VIDEO_SEEDS)
    assert scales is not None
    assert (scales == 0).any()
    assert torch.equal(step(saving, bfloat16=False)[0], first)
    saving.eval()
    assert not torch.equal(step(saving, bfloat16=False)[0], first)


def test_scoring_and_a_frozen_backbone_are_left_alone() -> None:
    plain, saving = pair(RESNET)
    for model in (plain, saving):
        model.freeze_backbone()
    logits, gradients, _ = step(plain, bfloat16=False)
    same_logits, same_gradients, _ = step(saving, bfloat16=False)
    assert torch.equal(logits, same_logits)
    assert gradients.keys() == same_gradients.keys() == {"heads.who.linear.weight", "heads.who.linear.bias"}
    assert all(int(value) == 0 for name, value in saving.named_buffers() if name.endswith("num_batches_tracked"))
