"""VideoModel: heads by task, errors with shapes, strict loading, training."""

import dataclasses
from pathlib import Path

import pytest
import torch

from tubelet.labels import LabelSpace
from tubelet.losses import sigmoid_cross_entropy, softmax_cross_entropy
from tubelet.models.cost import measure_cost
from tubelet.models.model import BackboneConfig, HeadConfig, VideoModel, read_backbone_config
from tubelet.models.precision import compute_dtype, default_autocast
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.saved import MODEL_FILE, HeadMeta, load_all, load_model, model_meta, read_tensors, save_tensors
from tubelet.models.vivit import ViViTConfig
from tubelet.records import to_json, write_json
from tubelet.types import InputError, Preprocess

CONFIG = ViViTConfig(size=32, num_frames=4, patch=8, dim=32, spatial_layers=1, temporal_layers=1, num_heads=2)
HEADS = {
    "kinetics": HeadConfig(kind="classify", num_classes=5),
    "ava": HeadConfig(kind="localise", num_classes=3),
}
NO_BOX = torch.zeros(0, dtype=torch.int64)


def test_each_task_has_its_head() -> None:
    model = VideoModel(CONFIG, HEADS)
    video = torch.randn(2, 3, 4, 32, 32)
    assert model(video, "kinetics").shape == (2, 5)
    boxes, box_clip = torch.tensor([[0.0, 0.0, 9.0, 9.0]] * 3), torch.tensor([0, 1, 1])
    assert model(video, "ava", boxes, box_clip).shape == (3, 3)
    assert model(video, "ava", torch.zeros(0, 4), NO_BOX).shape == (0, 3)
    assert {k.split(".", 2)[1] for k in model.state_dict() if k.startswith("heads.")} == {"kinetics", "ava"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("moments",), r"unknown task 'moments', this model has \['ava', 'kinetics'\]"),
        (("kinetics", torch.zeros(1, 4)), "expected no boxes"),
        (("ava",), r"expected boxes \(N, 4\)"),
        (("ava", torch.zeros(2, 5), NO_BOX), r"boxes has shape \(2, 5\), box_clip \(0,\)"),
    ],
)
def test_wrong_calls_say_what_was_expected(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoModel(CONFIG, HEADS)(torch.zeros(1, 3, 4, 32, 32), *arguments)


def test_wrong_heads_are_refused() -> None:
    with pytest.raises(InputError, match=r"task name 'a.b'"):
        VideoModel(CONFIG, {"a.b": HEADS["ava"]})
    with pytest.raises(InputError, match="kind is 'detect'"):
        HeadConfig(kind="detect", num_classes=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="num_classes is 0"):
        HeadConfig(kind="classify", num_classes=0)


def test_weights_are_loaded_strictly(tmp_path: Path) -> None:
    model = VideoModel(CONFIG, HEADS)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    tensors = VideoModel(CONFIG, HEADS).state_dict()
    del tensors["backbone.spatial.norm.bias"]
    tensors |= {f"backbone.extra{i}": torch.zeros(1) for i in range(5)}
    tensors["backbone.space_positions"] = torch.zeros(2, 2, 32)
    with pytest.raises(InputError) as caught:
        load_all(model, tensors, where="here")
    message = str(caught.value)
    assert "here: weights do not fit: missing: backbone.spatial.norm.bias; unexpected: backbone.extra0, " in message
    assert "backbone.extra2 and 2 more" in message
    assert "backbone.space_positions (2, 2, 32) for (4, 4, 32)" in message
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    for name, content in (("none.safetensors", None), ("text.safetensors", b"not weights")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: not a whole safetensors file"):
            read_tensors(tmp_path / name)


def test_a_frozen_backbone_neither_learns_nor_counts() -> None:
    config = ResNet3DConfig(depth=18, convolution="2d", size=16, num_frames=2, pool1=True)
    model = VideoModel(config, {"a": HeadConfig(kind="classify", num_classes=2)})
    model.freeze_backbone()
    model.train()
    assert (model.training, model.backbone.training, model.heads.training) == (True, False, True)
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    torch.autograd.backward(model(torch.randn(2, 3, 2, 16, 16), "a").square().sum())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.backbone.state_dict().items())
    assert {n for n, p in model.named_parameters() if p.grad is not None} == {
        "heads.a.linear.weight",
        "heads.a.linear.bias",
    }
    deep = VideoModel(dataclasses.replace(CONFIG, spatial_layers=2, stochastic_depth=0.5), HEADS).train()
    assert deep.residual_scales([1, 2]) is not None
    deep.freeze_backbone()
    assert deep.residual_scales([1, 2]) is None


@pytest.mark.parametrize(
    "config",
    [CONFIG, ResNet3DConfig(depth=18, convolution="2d", size=32, num_frames=4, pool1=True)],
)
def test_a_run_folder_rebuilds_either_family(config: BackboneConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = VideoModel(config, {"task": HeadConfig(kind="classify", num_classes=2)}).eval()
    torch.nn.init.normal_(model.heads["task"].linear.weight)
    head = HeadMeta(kind="classify", label_space=LabelSpace(name="pair", names=("a", "b")), score="softmax")
    preprocess = Preprocess(size=32, num_frames=4, frame_stride=1, fps=25.0)
    meta = model_meta(recipe="r", backbone=config, preprocess=preprocess, heads={"task": head}, extra={})
    write_json(tmp_path / "meta.json", meta)
    save_tensors(tmp_path / MODEL_FILE, model.state_dict())
    loaded = load_model(tmp_path)
    assert loaded.model.backbone.config == config
    video = torch.randn(1, 3, 4, 32, 32)
    assert torch.equal(loaded.model(video, "task"), model(video, "task"))


@pytest.mark.parametrize("roi_size", [7, 3])
def test_a_run_folder_keeps_the_cells_of_a_box(roi_size: int, tmp_path: Path) -> None:
    space = LabelSpace(name="pair", names=("a", "b"))
    head = HeadMeta(kind="localise", label_space=space, score="sigmoid", roi_size=roi_size)
    preprocess = Preprocess(size=32, num_frames=4, frame_stride=1, fps=25.0)
    meta = model_meta(recipe="r", backbone=CONFIG, preprocess=preprocess, heads={"task": head}, extra={})
    assert ("roi_size" in meta["tasks"]["task"]) == (roi_size != 7)  # files from before it are of 7
    write_json(tmp_path / "meta.json", meta)
    save_tensors(tmp_path / MODEL_FILE, VideoModel(CONFIG, {"task": head.config}).state_dict())
    loaded = load_model(tmp_path)
    assert loaded.model.heads["task"].output_size == loaded.heads["task"].roi_size == roi_size
    with pytest.raises(InputError, match="roi_size is 0, expected at least 1"):
        HeadConfig(kind="localise", num_classes=3, roi_size=0)


def test_a_config_from_before_there_were_families_is_a_vivit() -> None:
    data = {k: v for k, v in to_json(CONFIG).items() if k not in ("family", "pooling", "activation", "norm_eps")}
    assert read_backbone_config(data, where="meta.json") == CONFIG
    with pytest.raises(InputError, match=r"meta.json: expected a family of vivit, resnet3d, found 'mlp'"):
        read_backbone_config({"family": "mlp"}, where="meta.json")
    with pytest.raises(InputError, match=r"ResNet3DConfig has no option 'dept'; did you mean 'depth'\?"):
        read_backbone_config({"family": "resnet3d", "dept": 18}, where="meta.json")


def test_no_boxes_where_no_grid_is_left() -> None:
    with pytest.raises(InputError, match="'frame_token' pools frames"):
        VideoModel(dataclasses.replace(CONFIG, aggregation="frame_token"), HEADS)


def test_larger_frames_are_classified_window_by_window() -> None:
    """Trained on 32 px, run on 64 x 48: a grid of 4 x 3, windows of 2 x 2."""
    torch.manual_seed(0)
    config = ResNet3DConfig(depth=18, convolution="2plus1d", size=32, num_frames=8)
    model = VideoModel(config, HEADS).eval()
    torch.nn.init.normal_(model.heads["kinetics"].linear.weight)
    video = torch.randn(1, 3, 8, 64, 48)
    with torch.no_grad():
        logits = model.forward_dense(video, "kinetics")
        grid = model.backbone(video)
        assert logits.shape == (1, 1, 3, 2, 5)
        assert grid.shape[1:4] == model.backbone.grid_shape(8, 64, 48)
        torch.testing.assert_close(logits[:, 0, 2, 1], model.heads["kinetics"](grid[:, :, 2:4, 1:3]))
    with pytest.raises(ValueError, match="unknown task 'ava', expected one that classifies"):
        model.forward_dense(video, "ava")
    token = VideoModel(dataclasses.replace(CONFIG, aggregation="frame_token"), {"kinetics": HEADS["kinetics"]})
    with pytest.raises(InputError, match="classifies on a token"):
        token.forward_dense(video, "kinetics")


def test_cost_counts_heads_apart() -> None:
    cost = measure_cost(CONFIG, HEADS)
    model = VideoModel(CONFIG, HEADS)
    assert cost.num_parameters + cost.num_head_parameters == sum(p.numel() for p in model.parameters())
    assert cost.num_head_parameters == 33 * 8


def test_bfloat16_is_close_to_float32() -> None:
    torch.manual_seed(0)
    model, video = VideoModel(CONFIG, HEADS), torch.randn(2, 3, 4, 32, 32)
    exact = model.backbone(video)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model.backbone(video).float()
    assert (exact - rough).abs().max() < 0.1
    assert torch.nn.functional.cosine_similarity(exact.flatten(), rough.flatten(), dim=0) > 0.999


def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for flags, expected in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({"neon": True}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags)
        assert compute_dtype(cpu) == expected
        with default_autocast(cpu):
            assert torch.is_autocast_enabled("cpu") == (expected == torch.bfloat16)
            assert (torch.zeros(2, 2) @ torch.zeros(2, 2)).dtype == expected


def test_both_heads_learn_through_one_backbone() -> None:
    """A bright quadrant: the clip's label is which one, a box's label whether it covers it."""
    torch.manual_seed(0)
    corners = torch.tensor([[0.0, 0.0], [16.0, 0.0], [0.0, 16.0], [16.0, 16.0]])
    heads = {"where": HeadConfig(kind="classify", num_classes=4), "here": HeadConfig(kind="localise", num_classes=1)}
    model = VideoModel(CONFIG, heads)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    boxes = torch.cat([corners, corners + 16], dim=1).repeat(4, 1)
    box_clip = torch.arange(4).repeat_interleave(4)
    for step in range(60):
        video = 0.2 * torch.randn(4, 3, 4, 32, 32)
        for k, (x, y) in enumerate(corners.int().tolist()):
            video[k, :, :, y : y + 16, x : x + 16] += 2.0
        if step % 2:
            scores = model(video, "where")
            loss = softmax_cross_entropy(scores, torch.eye(4)).mean()
        else:
            loss = sigmoid_cross_entropy(model(video, "here", boxes, box_clip), torch.eye(4).reshape(16, 1)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    assert torch.equal(model(video, "where").argmax(dim=1), torch.arange(4))
    assert torch.equal(model(video, "here", boxes, box_clip).reshape(4, 4).argmax(dim=1), torch.arange(4))


def test_stochastic_depth_is_an_input_of_training_and_nothing_to_scoring() -> None:
    model = VideoModel(dataclasses.replace(CONFIG, spatial_layers=3, stochastic_depth=0.5), HEADS)
    for head in model.heads.values():
        torch.nn.init.normal_(head.linear.weight)
    video = torch.randn(3, 3, 4, 32, 32)
    with pytest.raises(ValueError, match="training mode with stochastic depth takes residual_scales"):
        model(video, "kinetics")
    scales = model.residual_scales([1, 2, 3])
    assert scales is not None
    assert scales.shape == (8, 3)
    trained = model(video, "kinetics", residual_scales=scales)
    # A clip by itself, in another process say, loses the same layers.
    alone = model(video[1:2], "kinetics", residual_scales=model.residual_scales([2]))
    torch.testing.assert_close(alone, trained[1:2])
    box, of_clip = torch.tensor([[0.0, 0.0, 32.0, 32.0]]), torch.tensor([1])
    where = model(video, "ava", box, of_clip, residual_scales=scales)
    assert not torch.allclose(where, model(video, "ava", box, of_clip, residual_scales=torch.ones(8, 3)))
    model.eval()
    assert model.residual_scales([1, 2, 3]) is None
    torch.testing.assert_close(model(video, "kinetics"), model(video, "kinetics", residual_scales=torch.ones(8, 3)))
    assert VideoModel(CONFIG, HEADS).residual_scales([1]) is None


def test_other_depths_need_no_other_graph() -> None:
    model = VideoModel(dataclasses.replace(CONFIG, spatial_layers=2, stochastic_depth=0.5), HEADS)
    video = torch.randn(2, 3, 4, 32, 32)
    graphs = []

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compiled = torch.compile(model, backend=count, fullgraph=True)
    for seeds in ((1, 2), (3, 4)):
        scales = model.residual_scales(seeds)
        found = compiled(video, "kinetics", residual_scales=scales)
        torch.testing.assert_close(found, model(video, "kinetics", residual_scales=scales))
    assert len(graphs) == 1


@pytest.mark.parametrize(
    "config",
    [
        *(dataclasses.replace(CONFIG, aggregation=a) for a in ("per_place", "joint", "spatial_only")),
        ResNet3DConfig(depth=18, convolution="2plus1d", size=32, num_frames=4),
    ],
)
def test_no_clips_are_a_batch_too(config: BackboneConfig) -> None:
    """A process whose share of a step is empty still takes part in it: its gradient is zero, not missing."""
    model = VideoModel(config, HEADS)
    before = {name: buffer.clone() for name, buffer in model.named_buffers() if not name.endswith("tracked")}
    none = torch.zeros(0, 3, 4, 32, 32)
    for logits in (model(none, "kinetics"), model(none, "ava", torch.zeros(0, 4), NO_BOX)):
        assert len(logits) == 0
        logits.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers() if name in before)
