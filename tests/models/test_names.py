"""Published names."""

import pytest
import torch

from tubelet.cli.dispatch import run
from tubelet.models.cost import measure_cost
from tubelet.models.model import HeadConfig, build_backbone
from tubelet.models.names import BACKBONES, backbone_config
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.vivit import ViViTConfig
from tubelet.types import InputError


def test_every_name_builds() -> None:
    for name, config in BACKBONES.items():
        if "152" in name or "101" in name or ("16x" in name and "16x2" not in name):
            continue  # the same classes, only longer to build
        with torch.device("meta"):
            assert build_backbone(config).dim >= 96, name


def test_names_mean_what_the_papers_say() -> None:
    deep = backbone_config("r2plus1d_152")
    assert isinstance(deep, ResNet3DConfig)
    assert (deep.depth, deep.convolution, deep.size, deep.num_frames, deep.pool1) == (152, "2plus1d", 112, 32, False)
    large = backbone_config("vivit_fe_l16x2")
    assert isinstance(large, ViViTConfig)
    assert (large.dim, large.spatial_layers, large.temporal_layers, large.num_heads) == (1024, 24, 4, 16)
    assert (large.patch, large.tubelet, large.aggregation, large.size) == (16, 2, "per_place", 224)
    joint = backbone_config("vivit_b16x2")
    assert isinstance(joint, ViViTConfig)
    assert (joint.aggregation, joint.temporal_layers) == ("joint", 0)


def test_published_sizes() -> None:
    """ViT-B/16 (86.6 M) with ViViT's embedding and positions, and the joint model's: 88.9 M with 400 classes."""
    cost = measure_cost(backbone_config("vivit_b16x2"), {"k400": HeadConfig(kind="classify", num_classes=400)})
    # 12 layers of 7.088 M, a final norm, tubelets 3 x 2 x 16 x 16 to 768, 3136 positions, 400 classes.
    layers, embedding = 12 * (12 * 768**2 + 13 * 768) + 2 * 768, (1536 + 1) * 768
    assert cost.num_parameters == layers + embedding + 3136 * 768
    assert cost.num_head_parameters == 769 * 400


@pytest.mark.parametrize("name", ["r2plus1d_18", "r3d_50", "vivit_fe_s16x2", "vivit_s16x2"])
def test_parts_are_all_of_the_model(name: str) -> None:
    cost = measure_cost(backbone_config(name))
    assert sum(part.num_parameters for part in cost.parts) == cost.num_parameters
    assert sum(part.forward_gmacs for part in cost.parts) == pytest.approx(cost.forward_gmacs, rel=1e-12)
    assert all(part.num_parameters > 0 for part in cost.parts)


def test_parts_by_hand() -> None:
    """The first stage of R(2+1)D-18: four times 64 to 144 to 64 planes, on 32 x 56 x 56 places."""
    part = measure_cost(backbone_config("r2plus1d_18")).parts[1]
    assert (part.name, part.num_blocks, part.output) == ("stages.0", 2, (64, 32, 56, 56))
    weights = 4 * (9 * 64 * 144 + 3 * 144 * 64)
    assert part.num_parameters == weights + 4 * 2 * (144 + 64)
    assert part.forward_gmacs == pytest.approx(weights * 32 * 56 * 56 / 1e9)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_every_name_is_described(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["info", name])
    text = capsys.readouterr().out
    for row in ("parameters", "GMACs a clip", "input", "layers"):
        assert row in text


def test_info_is_a_table_of_layers(capsys: pytest.CaptureFixture[str]) -> None:
    run(["info", "r2plus1d_18"])
    text = capsys.readouterr().out
    for cell in ("33,165,639", "83.0", "3 x 32 x 112 x 112", "stages.3", "512 x 4 x 7 x 7"):
        assert cell in text
    with pytest.raises(InputError, match="not a run folder, manifest, video file or model name"):
        run(["info", "r2plus1d_33"])


def test_unknown_names_say_how_names_are_made() -> None:
    with pytest.raises(InputError, match=r"unknown model 'r2plus1d_33'; models are named r2d\|r3d\|r2plus1d_18\|34"):
        backbone_config("r2plus1d_33")
