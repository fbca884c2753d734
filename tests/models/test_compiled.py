"""The forward pass that training compiles: one graph, any number of boxes and tasks, the same weights."""

import shutil

import pytest
import torch

from tubelet.models import compiled
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.vivit import ViViTConfig

VIVIT = ViViTConfig(
    size=32, num_frames=4, patch=8, dim=16, spatial_layers=2, temporal_layers=1, num_heads=2, stochastic_depth=0.5
)


@pytest.mark.parametrize("recompute", [False, True])
def test_one_graph_serves_more_tasks_modes_and_boxes_than_torch_compiles_by_itself(recompute: bool) -> None:
    """Five heads in training and scoring are more variants than torch's limit of 8, beyond which it raises."""
    torch._dynamo.reset()
    limit = torch._dynamo.config.recompile_limit
    heads = {f"task{k}": HeadConfig(kind="localise", num_classes=2 + k) for k in range(5)}
    torch.manual_seed(0)
    plain, model = VideoModel(VIVIT, heads), VideoModel(VIVIT, heads)
    keys = list(model.state_dict())
    try:
        compiled.compile_model(model, backend="eager")
        assert list(model.state_dict()) == keys
        plain.load_state_dict(model.state_dict())
        plain.recompute_activations(recompute=recompute)
        model.recompute_activations(recompute=recompute)
        for training in (True, False):
            plain.train(training)
            model.train(training)
            for number, task in enumerate(heads):
                video, boxes = torch.randn(2, 3, 4, 32, 32), torch.tensor([[0.0, 0.0, 9.0, 31.0]]).repeat(number, 1)
                scales, box_clip = plain.residual_scales((1, 2)), torch.arange(number) % 2
                with torch.set_grad_enabled(training):
                    results = [m(video, task, boxes, box_clip, residual_scales=scales) for m in (plain, model)]
                torch.testing.assert_close(results[1], results[0])
    finally:
        torch._dynamo.config.recompile_limit = limit
        torch._dynamo.reset()


def test_it_is_compiled_on_a_gpu_where_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not compiled.compile_pays(torch.device("cpu"))
    monkeypatch.setattr(torch.utils._triton, "has_triton", lambda: True)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/gcc" if name == "gcc" else None)
    assert compiled.compile_pays(torch.device("cuda"))
    assert not compiled.compile_pays(torch.device("cpu"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not compiled.compile_pays(torch.device("cuda"))
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/gcc")
    monkeypatch.setattr(torch.utils._triton, "has_triton", lambda: False)
    assert not compiled.compile_pays(torch.device("cuda"))


def test_what_cannot_be_one_graph_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "compile_pays", lambda device: device.type == "cuda")
    calls = []
    monkeypatch.setattr(compiled, "compile_model", calls.append)
    with torch.device("meta"):
        vivit, resnet = (VideoModel(config, {}) for config in (VIVIT, ResNet3DConfig(depth=18, convolution="2d")))
    gpu = torch.device("cuda")
    assert not compiled.compile_where_it_pays(vivit, torch.device("cpu"))
    assert not compiled.compile_where_it_pays(vivit, gpu, exchanges=True)
    assert compiled.compile_where_it_pays(vivit, gpu)
    assert compiled.compile_where_it_pays(resnet, gpu)
    vivit.recompute_activations()
    resnet.recompute_activations()
    assert compiled.compile_where_it_pays(vivit, gpu)
    assert not compiled.compile_where_it_pays(resnet, gpu)
    assert calls == [vivit, resnet, vivit]
