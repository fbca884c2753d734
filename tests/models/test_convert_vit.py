"""Published transformers: outputs of Scenic, timm and transformers themselves on the same random weights."""

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_weights import FE, FOLDER, JOINT, PICTURE, outputs, script

from tubelet.models.convert import LAYOUTS, LayoutName, convert_file
from tubelet.models.convert_rules import apply_rules
from tubelet.models.convert_vit import hugging_face_name
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.vivit import ViViTConfig
from tubelet.models.weights import WEIGHTS
from tubelet.types import InputError

SCENIC = script("scenic_vivit")
IMAGE = script("image_vit")


def load(path: Path, layout: LayoutName, backbone: ViViTConfig, num_classes: int) -> VideoModel:
    heads = {"x": HeadConfig(kind="classify", num_classes=num_classes)} if num_classes else {}
    made = convert_file(path, layout, backbone, {name: head.num_classes for name, head in heads.items()})
    model = VideoModel(backbone, heads).eval()
    model.load_state_dict(made.tensors)
    return model


@pytest.mark.parametrize(("name", "backbone"), [("fe", FE), ("joint", JOINT)])  # optimizer/target, and params
def test_agrees_with_scenic(name: str, backbone: ViViTConfig) -> None:
    model = load(FOLDER / f"scenic_{name}.msgpack", "scenic", backbone, SCENIC.CLASSES)
    video = torch.from_numpy(SCENIC.pattern()).permute(0, 4, 1, 2, 3)
    with torch.no_grad():
        found = model(video, "x").numpy()
    expected = outputs("scenic")[name]
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "file", "layout", "activation"),
    [
        ("timm", "timm_vit.safetensors", "timm", "gelu"),
        ("original", "original_vit.npz", "original_vit", "gelu_tanh"),
    ],
)
def test_agrees_with_timm(name: str, file: str, layout: LayoutName, activation: str) -> None:
    model = load(FOLDER / file, layout, replace(PICTURE, activation=activation), 0)  # type: ignore[arg-type]
    images = torch.from_numpy(IMAGE.image())[:, :, None]
    with torch.no_grad():
        token, grid = model.backbone.clip_tokens(images), model.backbone(images)
    found = torch.cat([token.flatten(1, 3), grid.flatten(1, 3)], dim=1).numpy()
    np.testing.assert_allclose(found, outputs("image_vit")[name], atol=1e-4, rtol=0)


def test_another_number_of_heads_is_refused() -> None:
    """Matrices have the same shape whatever the number of heads; Flax's files tell, so a wrong one is found."""
    with pytest.raises(InputError, match="3 attention heads for 4"):
        load(FOLDER / "original_vit.npz", "original_vit", replace(PICTURE, num_heads=4), 0)


@pytest.mark.parametrize(
    "name",
    [name for name in WEIGHTS if name.startswith("scenic_")],
)
def test_the_tables_entries_are_scenics_published_configurations(name: str) -> None:
    """Names and shapes that Scenic's own configuration files give, at full size."""
    shapes = json.loads(gzip.decompress((FOLDER / "scenic_layouts.json.gz").read_bytes()))[name]
    entry, layout = WEIGHTS[name], LAYOUTS["scenic"]
    with torch.device("meta"):
        given = {key: torch.empty(shape) for key, shape in shapes.items()}
        made, left_out = apply_rules(layout.rules(entry.backbone), given, ignored=(layout.head_names,), where=name)
        wanted = VideoModel(entry.backbone, {}).state_dict()
    assert {key: tensor.shape for key, tensor in made.items()} == {key: t.shape for key, t in wanted.items()}
    assert shapes["output_projection/bias"] == [sum(head.num_classes for head in entry.heads)]
    assert sorted(left_out) == ["output_projection/bias", "output_projection/kernel"]


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Fill every parameter, also those that begin at zero or one, so that nothing that is mixed up stays unseen."""
    random = np.random.RandomState(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(0.2 * random.standard_normal(tuple(parameter.shape))))


HF_SIZE: dict[str, Any] = {
    "image_size": 24,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 96,
}


def hugging_face(class_name: str, config_name: str, seed: int, **changes: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    made = getattr(transformers, config_name)(**(HF_SIZE | changes))
    model = getattr(transformers, class_name)(made).eval()
    randomise(model, seed)
    return model


def published_name(name: str) -> str:
    """Return a tensor's name as in the files on the hub, which transformers 4 wrote."""
    for pattern, old in (
        (r"layers\.(\d+)\.attention\.q_proj", r"encoder.layer.\1.attention.attention.query"),
        (r"layers\.(\d+)\.attention\.k_proj", r"encoder.layer.\1.attention.attention.key"),
        (r"layers\.(\d+)\.attention\.v_proj", r"encoder.layer.\1.attention.attention.value"),
        (r"layers\.(\d+)\.attention\.o_proj", r"encoder.layer.\1.attention.output.dense"),
        (r"layers\.(\d+)\.mlp\.fc1", r"encoder.layer.\1.intermediate.dense"),
        (r"layers\.(\d+)\.mlp\.fc2", r"encoder.layer.\1.output.dense"),
        (r"layers\.(\d+)\.layernorm", r"encoder.layer.\1.layernorm"),
    ):
        name = re.sub(pattern, old, name)
    return name


def hub_file(model: Any, path: Path, *, names: str, videomae: bool = False) -> Path:
    """Write a model's weights as the hub has them (``old``) or as transformers 5 has them in memory (``new``)."""
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if names == "old":
        tensors = {published_name(name): tensor for name, tensor in tensors.items()}
    if names == "old" and videomae:
        ends = {"query.bias": "q_bias", "value.bias": "v_bias"}
        for end, old in ends.items():
            tensors = {re.sub(rf"attention\.{end}$", f"attention.{old}", n): tensor for n, tensor in tensors.items()}
    torch.save(tensors, path)
    return path


@pytest.mark.parametrize("names", ["old", "new"])
def test_agrees_with_transformers_vivit(tmp_path: Path, names: str) -> None:
    model = hugging_face(
        "VivitForVideoClassification", "VivitConfig", 0, num_frames=8, tubelet_size=(2, 8, 8), num_labels=7
    )
    ours = load(hub_file(model, tmp_path / "x.bin", names=names), "hf_vivit", JOINT, 7)
    video = torch.from_numpy(np.random.RandomState(4).standard_normal((2, 3, 8, 24, 24)).astype(np.float32))
    with torch.no_grad():
        expected = model(video.transpose(1, 2)).logits
        found = ours(video, "x")
    assert expected.std() > 0.1
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("names", ["old", "new"])
def test_agrees_with_transformers_videomae(tmp_path: Path, names: str) -> None:
    model = hugging_face(
        "VideoMAEForVideoClassification", "VideoMAEConfig", 1, num_frames=8, tubelet_size=2, patch_size=8, num_labels=7
    )
    path = hub_file(model, tmp_path / "x.bin", names=names, videomae=True)
    backbone = replace(JOINT, pooling="normalised_mean", activation="gelu", norm_eps=1e-12)
    video = torch.from_numpy(np.random.RandomState(5).standard_normal((2, 3, 8, 24, 24)).astype(np.float32))
    with torch.no_grad():
        expected = model(video.transpose(1, 2)).logits
        found = load(path, "hf_videomae", backbone, 7)(video, "x")
    assert expected.std() > 0.1
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4, rtol=0)


def test_agrees_with_transformers_videomae_before_fine_tuning(tmp_path: Path) -> None:
    model = hugging_face(
        "VideoMAEForPreTraining",
        "VideoMAEConfig",
        2,
        num_frames=8,
        tubelet_size=2,
        patch_size=8,
        use_mean_pooling=False,
        decoder_hidden_size=12,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=24,
    )
    path = hub_file(model, tmp_path / "x.bin", names="old", videomae=True)
    backbone = replace(JOINT, pooling="mean", activation="gelu", norm_eps=1e-12)
    video = torch.from_numpy(np.random.RandomState(6).standard_normal((2, 3, 8, 24, 24)).astype(np.float32))
    with torch.no_grad():
        expected = model.videomae(video.transpose(1, 2)).last_hidden_state
        found = load(path, "hf_videomae", backbone, 0).backbone(video).flatten(1, 3)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4, rtol=0)
    made = convert_file(path, "hf_videomae", backbone, {})
    assert "mask_token" in made.left_out
    assert not [name for name in made.left_out if not name.startswith(("decoder", "encoder_to_decoder", "mask_token"))]


@pytest.mark.parametrize("names", ["old", "new"])
def test_agrees_with_transformers_vit(tmp_path: Path, names: str) -> None:
    model = hugging_face("ViTModel", "ViTConfig", 3, patch_size=8)
    path = hub_file(model, tmp_path / "x.bin", names=names)
    backbone = replace(PICTURE, activation="gelu", norm_eps=1e-12)
    ours = load(path, "hf_vit", backbone, 0)
    images = torch.from_numpy(np.random.RandomState(7).standard_normal((2, 3, 24, 24)).astype(np.float32))
    with torch.no_grad():
        expected = model(images).last_hidden_state
        token, grid = ours.backbone.clip_tokens(images[:, :, None]), ours.backbone(images[:, :, None])
    found = torch.cat([token.flatten(1, 3), grid.flatten(1, 3)], dim=1)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "model", "config_name", "options"),
    [
        ("hf_k400_vivit_b", "VivitForVideoClassification", "VivitConfig", {}),
        ("videomae_k400_b", "VideoMAEForVideoClassification", "VideoMAEConfig", {}),
        ("videomae_b", "VideoMAEForPreTraining", "VideoMAEConfig", {"use_mean_pooling": False}),
        ("hf_in21k_vit_b", "ViTModel", "ViTConfig", {}),
    ],
)
def test_the_tables_entries_are_transformers_defaults(
    name: str, model: str, config_name: str, options: dict[str, Any]
) -> None:
    """The published base models have the defaults of transformers' configs: every size, name and shape."""
    transformers = pytest.importorskip("transformers")
    entry = WEIGHTS[name]
    backbone = entry.backbone
    assert isinstance(backbone, ViViTConfig)
    theirs = getattr(transformers, config_name)(**options)
    assert backbone.activation == {"gelu_fast": "gelu_tanh", "gelu": "gelu"}[theirs.hidden_act]
    assert (backbone.norm_eps, backbone.num_heads) == (theirs.layer_norm_eps, theirs.num_attention_heads)
    assert backbone.num_frames == getattr(theirs, "num_frames", 1)
    layout = LAYOUTS[entry.layout]
    with torch.device("meta"):
        given = {
            hugging_face_name(published_name(key)): tensor
            for key, tensor in getattr(transformers, model)(theirs).state_dict().items()
        }
        made, _ = apply_rules(layout.rules(backbone), given, ignored=(*layout.ignored, layout.head_names), where=name)
        wanted = VideoModel(backbone, {}).state_dict()
    assert {key: tensor.shape for key, tensor in made.items()} == {key: t.shape for key, t in wanted.items()}
