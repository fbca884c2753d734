"""Published names."""

import pytest
import torch

from tubelet.models.model import HeadConfig, build_backbone, measure_cost
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


def test_unknown_names_say_how_names_are_made() -> None:
    with pytest.raises(InputError, match=r"unknown model 'r2plus1d_33'; models are named r2d\|r3d\|r2plus1d_18\|34"):
        backbone_config("r2plus1d_33")
