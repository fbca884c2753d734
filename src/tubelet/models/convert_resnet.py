"""Rules for published residual networks: torchvision's layouts (also of the IG-65M release) and Caffe2's blobs.

Sources of the names: torchvision ``models/video/resnet.py`` and ``models/resnet.py`` (BSD-3-Clause), ig65m-pytorch
``ig65m/models.py`` (MIT), VMZ ``c2/lib/models/builder/video_model.py`` and ``c2/lib/models/r3d_model.py`` (Apache-2.0).
A trap: Caffe2's ``riv`` holds the running variance, although its name says inverse. Both sources classify on the mean
over time and space, as our head does (Caffe2's average pool has the size of the whole grid).
"""

from collections.abc import Iterable

from torch import Tensor

from tubelet.models.convert_rules import NORM_PARTS, Rule, no_batches, single
from tubelet.models.resnet3d import RESNET_DEPTHS, ResNet3DConfig
from tubelet.types import InputError

BATCH_COUNTERS = r".*\.num_batches_tracked"
_CAFFE2_NORM = dict(zip(NORM_PARTS, ("s", "b", "rm", "riv"), strict=True))


def _norm(target: str, source: str) -> list[Rule]:
    """Return the rules of a batch norm in torch's names."""
    rules = [Rule(f"{target}.{part}", (f"{source}.{part}",)) for part in NORM_PARTS]
    return [*rules, Rule(f"{target}.num_batches_tracked", (), no_batches)]


def _conv(config: ResNet3DConfig, target: str, source: str) -> list[Rule]:
    """Return the rules of a 3x3x3 convolution, which (2+1)D makes a sequence: spatial, norm, ReLU, temporal."""
    if config.convolution != "2plus1d":
        return [Rule(f"{target}.weight", (f"{source}.weight",))]
    return [
        Rule(f"{target}.spatial.weight", (f"{source}.0.weight",)),
        *_norm(f"{target}.norm", f"{source}.1"),
        Rule(f"{target}.temporal.weight", (f"{source}.3.weight",)),
    ]


def _blocks(config: ResNet3DConfig) -> Iterable[tuple[str, int, int]]:
    """Yield our name, the stage and the index in it of every residual block."""
    for stage, num_blocks in enumerate(RESNET_DEPTHS[config.depth].blocks):
        for index in range(num_blocks):
            yield f"backbone.stages.{stage}.{index}", stage, index


def _has_shortcut(config: ResNet3DConfig, stage: int, index: int) -> bool:
    return index == 0 and (stage > 0 or RESNET_DEPTHS[config.depth].bottleneck)


def torchvision_video_rules(config: ResNet3DConfig) -> list[Rule]:
    """Return the rules of torchvision's ``VideoResNet``: R3D and R(2+1)D of any depth."""
    if config.convolution == "2d":
        raise InputError("torchvision's video networks have no 2D one; expected convolution 3d or 2plus1d")
    if config.convolution == "2plus1d":
        rules = [*_conv(config, "backbone.stem.conv", "stem"), *_norm("backbone.stem.norm", "stem.4")]
    else:
        rules = [*_conv(config, "backbone.stem.conv", "stem.0"), *_norm("backbone.stem.norm", "stem.1")]
    bottleneck = RESNET_DEPTHS[config.depth].bottleneck
    for target, stage, index in _blocks(config):
        source = f"layer{stage + 1}.{index}"
        for number in (1, 2, 3) if bottleneck else (1, 2):
            conv, name = f"{target}.conv{number}", f"{source}.conv{number}.0"
            plain = bottleneck and number != 2
            rules += [Rule(f"{conv}.weight", (f"{name}.weight",))] if plain else _conv(config, conv, name)
            rules += _norm(f"{target}.norm{number}", f"{source}.conv{number}.1")
        if _has_shortcut(config, stage, index):
            rules.append(Rule(f"{target}.shortcut.conv.weight", (f"{source}.downsample.0.weight",)))
            rules += _norm(f"{target}.shortcut.norm", f"{source}.downsample.1")
    return rules


def _as_3d(weight: Tensor) -> Tensor:
    """Give a 2D kernel (O, I, h, w) a length of one frame."""
    return weight.unsqueeze(2)


def torchvision_image_rules(config: ResNet3DConfig) -> list[Rule]:
    """Return the rules of torchvision's image ``ResNet`` as R2D, whose kernels are one frame long."""
    if config.convolution != "2d":
        raise InputError("image networks are converted to R2D; inflate that to R3D afterwards")
    rules = [Rule("backbone.stem.conv.weight", ("conv1.weight",), _as_3d), *_norm("backbone.stem.norm", "bn1")]
    for target, stage, index in _blocks(config):
        source = f"layer{stage + 1}.{index}"
        for number in (1, 2, 3) if RESNET_DEPTHS[config.depth].bottleneck else (1, 2):
            rules.append(Rule(f"{target}.conv{number}.weight", (f"{source}.conv{number}.weight",), _as_3d))
            rules += _norm(f"{target}.norm{number}", f"{source}.bn{number}")
        if _has_shortcut(config, stage, index):
            rules.append(Rule(f"{target}.shortcut.conv.weight", (f"{source}.downsample.0.weight",), _as_3d))
            rules += _norm(f"{target}.shortcut.norm", f"{source}.downsample.1")
    return rules


def _caffe2_norm(target: str, source: str) -> list[Rule]:
    rules = [Rule(f"{target}.{part}", (f"{source}_{_CAFFE2_NORM[part]}",)) for part in NORM_PARTS]
    return [*rules, Rule(f"{target}.num_batches_tracked", (), no_batches)]


def _caffe2_factorised(target: str, conv: str, norm: str) -> list[Rule]:
    return [
        Rule(f"{target}.spatial.weight", (f"{conv}_middle_w",)),
        *_caffe2_norm(f"{target}.norm", norm),
        Rule(f"{target}.temporal.weight", (f"{conv}_w",)),
    ]


def caffe2_rules(config: ResNet3DConfig) -> list[Rule]:
    """Return the rules of VMZ's R(2+1)D blobs; blocks are counted through all stages, convolutions from 1."""
    if config.convolution != "2plus1d":
        raise InputError("VMZ's IG-65M blobs are R(2+1)D; expected convolution 2plus1d")
    rules = _caffe2_factorised("backbone.stem.conv", "conv1", "conv1_middle_spatbn_relu")
    rules += _caffe2_norm("backbone.stem.norm", "conv1_spatbn_relu")
    bottleneck = RESNET_DEPTHS[config.depth].bottleneck
    for count, (target, stage, index) in enumerate(_blocks(config)):
        for number in (1, 2, 3) if bottleneck else (1, 2):
            conv, norm = f"comp_{count}_conv_{number}", f"comp_{count}_spatbn_{number}"
            if bottleneck and number != 2:
                rules.append(Rule(f"{target}.conv{number}.weight", (f"{conv}_w",)))
            else:
                rules += _caffe2_factorised(f"{target}.conv{number}", conv, f"{norm}_middle")
            rules += _caffe2_norm(f"{target}.norm{number}", norm)
        if _has_shortcut(config, stage, index):
            shortcut = f"shortcut_projection_{count}"
            rules.append(Rule(f"{target}.shortcut.conv.weight", (f"{shortcut}_w",)))
            rules += _caffe2_norm(f"{target}.shortcut.norm", f"{shortcut}_spatbn")
    return rules


def caffe2_head(names: Iterable[str]) -> tuple[str, str]:
    """Return the names of the last layer's weight and bias, which carry its number of classes."""
    weight = single(names, r"last_out_L\d+_w")
    return weight, weight.removesuffix("w") + "b"
