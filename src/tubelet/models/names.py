"""The published names of backbones, and what each stands for."""

from dataclasses import replace

from tubelet.models.model import BackboneConfig
from tubelet.models.resnet3d import RESNET_DEPTHS, Convolution, ResNet3DConfig
from tubelet.models.vivit import vivit_config
from tubelet.types import Aggregation, InputError

# Paper B and Tran et al. (CVPR 2018) write R(2+1)D-34.
RESNET_NAMES: dict[str, Convolution] = {"r2d": "2d", "r3d": "3d", "r2plus1d": "2plus1d"}
# ViViT writes ViViT-L/16x2 FE for a Factorised Encoder, and nothing after it for the joint model.
VIVIT_NAMES: dict[str, Aggregation] = {"vivit_fe": "per_place", "vivit": "joint"}
VIVIT_LETTERS = {
    "nano": "nano",
    "micro": "micro",
    "mini": "mini",
    "ti": "tiny",
    "s": "small",
    "b": "base",
    "l": "large",
    "h": "huge",
}
# Side and frames of a tubelet.
VIVIT_TUBELETS = ((16, 2), (16, 4), (16, 8), (14, 2), (32, 2))


def _backbones() -> dict[str, BackboneConfig]:
    configs: dict[str, BackboneConfig] = {
        f"{family}_{depth}": ResNet3DConfig(depth=depth, convolution=convolution)
        for family, convolution in RESNET_NAMES.items()
        for depth in RESNET_DEPTHS
    }
    for family, aggregation in VIVIT_NAMES.items():
        for letter, size in VIVIT_LETTERS.items():
            for patch, tubelet in VIVIT_TUBELETS:
                config = vivit_config(
                    size, size=224, num_frames=32, patch=patch, tubelet=tubelet, aggregation=aggregation
                )
                if aggregation == "joint":
                    config = replace(config, temporal_layers=0)
                configs[f"{family}_{letter}{patch}x{tubelet}"] = config
    return configs


BACKBONES = _backbones()
"""Name to config, on the papers' input: 32 frames of 112 pixels for residual networks, of 224 for ViViT."""


def backbone_config(name: str) -> BackboneConfig:
    """Return what a published name stands for; ``dataclasses.replace`` gives it another input.

    Args:
        name: Such as ``r2plus1d_152``, ``r3d_18``, ``vivit_fe_l16x2`` (L, tubelets of 16 x 16 pixels and 2 frames,
            4 temporal layers) or ``vivit_b16x2`` (joint).

    Raises:
        InputError: No such name; the message says how names are made.
    """
    if name not in BACKBONES:
        raise InputError(f"unknown model {name!r}; {NAMES_ARE}")
    return BACKBONES[name]


NAMES_ARE = (
    f"models are named {'|'.join(RESNET_NAMES)}_{'|'.join(map(str, RESNET_DEPTHS))} and "
    f"{'|'.join(VIVIT_NAMES)}_{'|'.join(VIVIT_LETTERS)} with {'|'.join(f'{p}x{t}' for p, t in VIVIT_TUBELETS)}, "
    "such as r2plus1d_34 and vivit_fe_b16x2"
)
