"""Backbones and heads compile without a graph break and export to ONNX, where ROI-Align is the standard's operator."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.export import Dim

from tubelet.models.model import BackboneConfig, HeadConfig, VideoModel
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.roi_align import roi_align
from tubelet.models.vivit import ViViTConfig

HEADS = {"what": HeadConfig(kind="classify", num_classes=3), "who": HeadConfig(kind="localise", num_classes=4)}
VIVIT = ViViTConfig(size=32, num_frames=4, patch=8, dim=16, spatial_layers=1, temporal_layers=1, num_heads=2)
RESNET = ResNet3DConfig(depth=18, convolution="2plus1d", size=32, num_frames=4)
BOXES = torch.tensor([[0.0, 0.0, 20.0, 31.0], [-9.0, 5.0, 40.0, 20.0], [3.0, 3.0, 9.0, 7.5]])
BOX_CLIP = torch.tensor([0, 1, 1])


def filled(config: BackboneConfig) -> VideoModel:
    torch.manual_seed(0)
    model = VideoModel(config, HEADS).eval()
    for head in model.heads.values():
        torch.nn.init.normal_(head.linear.weight)
    return model


class Align(torch.nn.Module):
    def __init__(self, aligned: bool) -> None:
        super().__init__()
        self.aligned = aligned

    def forward(self, features: torch.Tensor, boxes: torch.Tensor, box_map: torch.Tensor) -> torch.Tensor:
        return roi_align(
            features, boxes, box_map, output_size=3, spatial_scale=1 / 8, sampling_ratio=2, aligned=self.aligned
        )


class Who(torch.nn.Module):
    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, video: torch.Tensor, boxes: torch.Tensor, box_clip: torch.Tensor) -> torch.Tensor:
        return self.model(video, "who", boxes, box_clip)


def export(module: torch.nn.Module, args: tuple[torch.Tensor, ...], path: Path) -> list:
    """Write the module with any number of boxes; return the ONNX graph's nodes."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    boxes = Dim("N", min=0, max=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            module.eval(), args, dynamo=True, dynamic_shapes=(None, {0: boxes}, {0: boxes}), verbose=False
        )
        program.save(path)
    return list(onnx.load(path).graph.node)


def run(path: Path, args: tuple[torch.Tensor, ...]) -> torch.Tensor:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    feeds: dict[str, np.ndarray] = {name: value.numpy() for name, value in zip(names, args, strict=True)}
    return torch.from_numpy(session.run(None, feeds)[0])


@pytest.mark.parametrize(("aligned", "mode"), [(True, b"half_pixel"), (False, b"output_half_pixel")])
def test_roi_align_is_the_standard_operator(aligned: bool, mode: bytes, tmp_path: Path) -> None:
    torch.manual_seed(0)
    args = (torch.randn(2, 3, 4, 5), BOXES, BOX_CLIP)
    (node,) = export(Align(aligned), args, tmp_path / "roi.onnx")
    attributes = {a.name: a.s or a.i or a.f for a in node.attribute}
    assert node.op_type == "RoiAlign"
    assert attributes["coordinate_transformation_mode"] == mode
    assert (attributes["sampling_ratio"], attributes["output_height"], attributes["output_width"]) == (2, 3, 3)
    torch.testing.assert_close(run(tmp_path / "roi.onnx", args), Align(aligned)(*args), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", [VIVIT, pytest.param(RESNET, marks=pytest.mark.slow)], ids=["vivit", "resnet3d"])
def test_a_whole_model_exports(config: BackboneConfig, tmp_path: Path) -> None:
    module, video = Who(filled(config)), torch.randn(2, 3, 4, 32, 32)
    nodes = export(module, (video, BOXES, BOX_CLIP), tmp_path / "model.onnx")
    assert [node.op_type for node in nodes].count("RoiAlign") == 1
    for count in (3, 1, 0):
        args = (video, BOXES[:count], BOX_CLIP[:count])
        with torch.no_grad():
            torch.testing.assert_close(run(tmp_path / "model.onnx", args), module(*args), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("config", [VIVIT, RESNET], ids=["vivit", "resnet3d"])
@pytest.mark.parametrize("training", [False, True])
def test_no_graph_break(config: BackboneConfig, training: bool) -> None:
    """Tracing as ``torch.compile(fullgraph=True)`` does it, forwards; any Python that torch cannot follow raises."""
    torch._dynamo.reset()
    model = filled(config).train(training)
    video = torch.randn(2, 3, 4, 32, 32)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(video, "what"), model(video, "what"))
    for count in (3, 1, 0):
        boxes, box_clip = BOXES[:count], BOX_CLIP[:count]
        torch.testing.assert_close(compiled(video, "who", boxes, box_clip), model(video, "who", boxes, box_clip))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")  # of torch's compiler about torch itself
@pytest.mark.parametrize("config", [VIVIT, RESNET], ids=["vivit", "resnet3d"])
def test_compiled_training_step(config: BackboneConfig) -> None:
    torch._dynamo.reset()
    model, video = filled(config).train(), torch.randn(2, 3, 4, 32, 32)
    gradients = []
    for call in (model, torch.compile(model, fullgraph=True)):
        model.zero_grad()
        call(video, "who", BOXES, BOX_CLIP).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-2, atol=1e-2 * gradients[0].abs().max().item())
