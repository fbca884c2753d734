"""The published weights that can be loaded: where they are, what they hold, how their input is made, and their licence.

An entry ties together what gets lost when weights are passed around as a file. What is not known is said: ``sha256`` is
empty where none was published, ``label_space`` where no list of classes was. Addresses and licences are as the sources
state them; see ``docs/weights.md``.
"""

from dataclasses import dataclass, replace
from typing import Literal

from tubelet.models.convert import LayoutName
from tubelet.models.model import BackboneConfig
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.vivit import ViViTConfig, vivit_config
from tubelet.types import InputError, Preprocess, did_you_mean


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedHead:
    """A part of the last layer."""

    task: str
    """Its name in the converted model."""
    num_classes: int
    """0 = as many as the file has."""
    label_space: str = ""
    """A label space that comes with Tubelet, or empty: the classes get numbers for names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """A published file of weights."""

    url: str
    layout: LayoutName
    backbone: BackboneConfig
    heads: tuple[PublishedHead, ...]
    """In the order in which the file's last layer holds them; none for image weights, whose classes are of no use."""
    preprocess: Preprocess
    licence: str
    source: str
    """Who says all this."""
    sha256: str = ""
    """Of the file, or the first digits, which some publish in its name; hexadecimal, empty = not known."""
    colour_order: Literal["RGB"] = "RGB"
    """All published here are; ``preprocess.mean`` and ``std`` are in this order."""
    note: str = ""

    @property
    def file_name(self) -> str:
        """What the file is called where it is published."""
        return self.url.split("?")[0].rsplit("/", 1)[-1].replace("%20", "")


KINETICS_MEAN, KINETICS_STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IG65M_RELEASE = "https://github.com/moabitcoin/ig65m-pytorch/releases/download/v1.0.0/"
IG65M_SOURCE = "https://github.com/moabitcoin/ig65m-pytorch"
VMZ_SOURCE = "https://github.com/facebookresearch/VMZ/blob/main/c2/tutorials/model_zoo.md"
SCENIC_SOURCE = "https://github.com/google-research/scenic/tree/main/scenic/projects/vivit"
HUGGING_FACE = "https://huggingface.co/"
KINETICS_400 = PublishedHead(task="kinetics400", num_classes=400, label_space="kinetics400")
IG65M_8 = PublishedHead(task="ig65m", num_classes=487)
IG65M_32 = PublishedHead(task="ig65m", num_classes=359)
NO_LABELS = "No list of the hashtag classes was published."


def _vmz_input(num_frames: int) -> Preprocess:
    # Consecutive frames of the file, whatever its rate.
    return Preprocess(
        size=112,
        num_frames=num_frames,
        frame_stride=1,
        fps=0.0,
        mean=KINETICS_MEAN,
        std=KINETICS_STD,
        exact_hw=(128, 171),
    )


def _ig65m(file: str, sha256: str, num_frames: int, head: PublishedHead, note: str = "") -> Weights:
    return Weights(
        url=f"{IG65M_RELEASE}{file}-{sha256}.pth",
        layout="torchvision_video",
        backbone=ResNet3DConfig(depth=34, convolution="2plus1d", num_frames=num_frames),
        heads=(head,),
        preprocess=_vmz_input(num_frames),
        licence="MIT; of VMZ, its source: Apache-2.0",
        source=IG65M_SOURCE,
        sha256=sha256,
        note=note,
    )


def _vmz(file: str, depth: int, num_frames: int, head: PublishedHead, note: str = "") -> Weights:
    return Weights(
        url=f"https://www.dropbox.com/s/{file}?dl=1",
        layout="caffe2",
        backbone=ResNet3DConfig(depth=depth, convolution="2plus1d", num_frames=num_frames),
        heads=(head,),
        preprocess=_vmz_input(num_frames),
        licence="Apache-2.0",
        source=VMZ_SOURCE,
        note=note,
    )


def _torchvision_video(file: str, sha256: str, config: ResNet3DConfig) -> Weights:
    return Weights(
        url=f"https://download.pytorch.org/models/{file}-{sha256}.pth",
        layout="torchvision_video",
        backbone=config,
        heads=(KINETICS_400,),
        preprocess=replace(_vmz_input(16), fps=15.0),
        licence="BSD-3-Clause",
        source="https://github.com/pytorch/vision/tree/main/torchvision/models/video",
        sha256=sha256,
        note="Mid-planes are computed once for each block: not paper B's network.",
    )


def _torchvision_image(depth: int, sha256: str) -> Weights:
    return Weights(
        url=f"https://download.pytorch.org/models/resnet{depth}-{sha256}.pth",
        layout="torchvision_image",
        backbone=ResNet3DConfig(depth=depth, convolution="2d", size=224, num_frames=1, pool1=True, norm_eps=1e-5),
        heads=(),
        preprocess=Preprocess(
            size=224, num_frames=1, frame_stride=1, fps=25.0, mean=IMAGENET_MEAN, std=IMAGENET_STD, short_side=256
        ),
        licence="BSD-3-Clause",
        source="https://github.com/pytorch/vision/tree/main/torchvision/models",
        sha256=sha256,
        note="ImageNet-1k; a start, whose 1,000 classes are left out.",
    )


def _scenic(path: str, config: ViViTConfig, heads: tuple[PublishedHead, ...], stride: int, note: str = "") -> Weights:
    return Weights(
        url=f"https://storage.googleapis.com/scenic-bucket/vivit/{path}/checkpoint",
        layout="scenic",
        backbone=config,
        heads=heads,
        preprocess=Preprocess(size=224, num_frames=32, frame_stride=stride, fps=25.0, short_side=256),
        licence="Apache-2.0",
        source=SCENIC_SOURCE,
        note=note,
    )


def _released(size: str, temporal_layers: int) -> ViViTConfig:
    """Return the Factorised Encoder as released: a class token stands for each frame."""
    config = vivit_config(size, size=224, num_frames=32, aggregation="frame_token")
    return replace(config, temporal_layers=temporal_layers)


def _joint(size: str) -> ViViTConfig:
    config = vivit_config(size, size=224, num_frames=32, aggregation="joint")
    return replace(config, temporal_layers=0, pooling="class_token")


def _videomae(name: str, config: ViViTConfig, head: PublishedHead | None, stride: int) -> Weights:
    return Weights(
        url=f"{HUGGING_FACE}MCG-NJU/{name}/resolve/main/pytorch_model.bin",
        layout="hf_videomae",
        backbone=replace(config, pooling="mean" if head is None else "normalised_mean"),
        heads=() if head is None else (head,),
        preprocess=Preprocess(
            size=224,
            num_frames=16,
            frame_stride=stride,
            fps=25.0,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            short_side=224,
        ),
        licence="CC-BY-NC-4.0",
        source=f"{HUGGING_FACE}MCG-NJU/{name}",
        note="Masked pre-training on Kinetics-400; its decoder is left out." if head is None else "",
    )


def _videomae_size(size: str) -> ViViTConfig:
    return replace(_joint(size), num_frames=16, activation="gelu", norm_eps=1e-12)


def _image_vit(url: str, layout: LayoutName, config: ViViTConfig, source: str) -> Weights:
    return Weights(
        url=url,
        layout=layout,
        backbone=config,
        heads=(),
        preprocess=Preprocess(
            size=config.size, num_frames=1, frame_stride=1, fps=25.0, exact_hw=(config.size, config.size)
        ),
        licence="Apache-2.0",
        source=source,
        note="ImageNet-21k; a start, whose 21,843 classes are left out.",
    )


def _image_size(size: str) -> ViViTConfig:
    config = vivit_config(size, size=224, num_frames=1, tubelet=1, aggregation="spatial_only")
    return replace(config, temporal_layers=0, pooling="class_token")


VIT_BUCKET = "https://storage.googleapis.com/vit_models/"
VIT_SOURCE = "https://github.com/google-research/vision_transformer"
_AUGREG = {
    "tiny": "Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0",
    "small": "S_16-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0",
    "base": "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0",
    "large": "L_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.1-sd_0.1",
}
_SCRATCH_8, _SCRATCH_32 = "r2plus1d_34_clip8_ig65m_from_scratch", "r2plus1d_34_clip32_ig65m_from_scratch"
_TUNED_8, _TUNED_32 = "r2plus1d_34_clip8_ft_kinetics_from_ig65m", "r2plus1d_34_clip32_ft_kinetics_from_ig65m"
_UNKNOWN_152 = PublishedHead(task="ig65m", num_classes=0)
_SPORTS = PublishedHead(task="sports1m", num_classes=487, label_space="sports1m")
_EPIC = (PublishedHead(task="noun", num_classes=300), PublishedHead(task="verb", num_classes=97))
_SOMETHING = PublishedHead(task="something_v2", num_classes=174, label_space="something_v2")

WEIGHTS: dict[str, Weights] = {
    "ig65m_r2plus1d_34_8": _ig65m(_SCRATCH_8, "9bae36ae", 8, IG65M_8, NO_LABELS),
    "ig65m_r2plus1d_34_32": _ig65m(_SCRATCH_32, "449a7af9", 32, IG65M_32, NO_LABELS),
    "ig65m_k400_r2plus1d_34_8": _ig65m(_TUNED_8, "0aa0550b", 8, KINETICS_400),
    "ig65m_k400_r2plus1d_34_32": _ig65m(_TUNED_32, "ade133f1", 32, KINETICS_400),
    "vmz_ig65m_r2plus1d_34_8": _vmz(f"6xwyu1az6oy4ts7/{_SCRATCH_8}_f79708462.pkl", 34, 8, IG65M_8, NO_LABELS),
    "vmz_ig65m_r2plus1d_34_32": _vmz(f"eimo232tqw8mwi9/{_SCRATCH_32}_f102649996.pkl", 34, 32, IG65M_32, NO_LABELS),
    "vmz_ig65m_k400_r2plus1d_34_8": _vmz(f"p81twy88kwrrcop/{_TUNED_8}_%20f128022400.pkl", 34, 8, KINETICS_400),
    "vmz_ig65m_k400_r2plus1d_34_32": _vmz(f"z41ff7vs0bzf6b8/{_TUNED_32}_%20f106169681.pkl", 34, 32, KINETICS_400),
    "vmz_ig65m_r2plus1d_152_32": _vmz(
        "oqdg176p7nqc84v/r2plus1d_152_ig65m_from_scratch_f106380637.pkl", 152, 32, _UNKNOWN_152, NO_LABELS
    ),
    "vmz_ig65m_k400_r2plus1d_152_32": _vmz(
        "tmxuae8ubo5gipy/r2plus1d_152_ft_kinetics_from_ig65m_f107107466.pkl", 152, 32, KINETICS_400
    ),
    "vmz_sports1m_r2plus1d_152_32": _vmz(
        "w5cdqeyqukuaqt7/r2plus1d_152_sports1m_from_scratch_f127111290.pkl", 152, 32, _SPORTS
    ),
    "vmz_sports1m_k400_r2plus1d_152_32": _vmz(
        "twvcpe30rxuaf45/r2plus1d_152_ft_kinetics_from_sports1m_f128957437.pkl", 152, 32, KINETICS_400
    ),
    "vmz_k400_r2plus1d_152_32": _vmz(
        "9770y063u3z5bmb/r2plus1d_152_kinetics_from_scratch_f127858918.pkl", 152, 32, KINETICS_400
    ),
    "torchvision_k400_r2plus1d_18": _torchvision_video(
        "r2plus1d_18",
        "91a641e6",
        ResNet3DConfig(depth=18, convolution="2plus1d", num_frames=16, mid_planes="per_block", norm_eps=1e-5),
    ),
    "torchvision_k400_r3d_18": _torchvision_video(
        "r3d_18",
        "b3b3357e",
        ResNet3DConfig(depth=18, convolution="3d", num_frames=16, norm_eps=1e-5),
    ),
    "torchvision_in1k_resnet18": _torchvision_image(18, "f37072fd"),
    "torchvision_in1k_resnet34": _torchvision_image(34, "b627a593"),
    "torchvision_in1k_resnet50": _torchvision_image(50, "0676ba61"),
    "torchvision_in1k_resnet101": _torchvision_image(101, "63fe2227"),
    "torchvision_in1k_resnet152": _torchvision_image(152, "394f9c45"),
    "scenic_k400_vivit_b": _scenic("kinetics_400/vivit_base_16x2_unfactorized", _joint("base"), (KINETICS_400,), 2),
    "scenic_k400_vivit_b_fe": _scenic("kinetics_400/vivit_base_16x2_fe", _released("base", 4), (KINETICS_400,), 2),
    "scenic_k400_vivit_l_fe": _scenic("kinetics_400/vivit_large_16x2_fe", _released("large", 24), (KINETICS_400,), 2),
    "scenic_k600_vivit_l_fe": _scenic(
        "kinetics_600/vivit_large_16x2_fe",
        _released("large", 24),
        (PublishedHead(task="kinetics600", num_classes=600, label_space="kinetics600"),),
        2,
    ),
    "scenic_epic_vivit_l_fe": _scenic(
        "epic_kitchens/vivit_large_16x2_fe",
        _released("large", 4),
        _EPIC,
        1,
        "EPIC-KITCHENS-100; numbers of the data set's nouns and verbs.",
    ),
    "hf_k400_vivit_b": Weights(
        url=f"{HUGGING_FACE}google/vivit-b-16x2-kinetics400/resolve/main/pytorch_model.bin",
        layout="hf_vivit",
        backbone=_joint("base"),
        heads=(KINETICS_400,),
        preprocess=Preprocess(size=224, num_frames=32, frame_stride=2, fps=25.0, short_side=256),
        licence="MIT; of Scenic, its source: Apache-2.0",
        source=f"{HUGGING_FACE}google/vivit-b-16x2-kinetics400",
        sha256="160c79526e796d6101c4d9d0fe4000e26a6098a4d8e97f4cb8935fa6deb060d0",
    ),
    "videomae_b": replace(
        _videomae("videomae-base", _videomae_size("base"), None, 4),
        sha256="2e0c3f4bc73c6d287b96c30975b43d60c9fc004c548150f252278f1becd89a7d",
    ),
    "videomae_l": _videomae("videomae-large", _videomae_size("large"), None, 4),
    "videomae_k400_s": _videomae(
        "videomae-small-finetuned-kinetics", replace(_videomae_size("small"), num_heads=16), KINETICS_400, 4
    ),
    "videomae_k400_b": _videomae("videomae-base-finetuned-kinetics", _videomae_size("base"), KINETICS_400, 4),
    "videomae_k400_l": _videomae("videomae-large-finetuned-kinetics", _videomae_size("large"), KINETICS_400, 4),
    "videomae_k400_h": _videomae("videomae-huge-finetuned-kinetics", _videomae_size("huge"), KINETICS_400, 4),
    "videomae_ssv2_b": _videomae("videomae-base-finetuned-ssv2", _videomae_size("base"), _SOMETHING, 2),
    "hf_in21k_vit_b": replace(
        _image_vit(
            f"{HUGGING_FACE}google/vit-base-patch16-224-in21k/resolve/main/pytorch_model.bin",
            "hf_vit",
            replace(_image_size("base"), activation="gelu", norm_eps=1e-12),
            f"{HUGGING_FACE}google/vit-base-patch16-224-in21k",
        ),
        sha256="84066da0f5d8ff1cc494c660d4693141fae2e356535bf18a14d9fc00a055a6a1",
    ),
    "hf_in21k_vit_l": _image_vit(
        f"{HUGGING_FACE}google/vit-large-patch16-224-in21k/resolve/main/pytorch_model.bin",
        "hf_vit",
        replace(_image_size("large"), activation="gelu", norm_eps=1e-12),
        f"{HUGGING_FACE}google/vit-large-patch16-224-in21k",
    ),
    "original_in21k_vit_b": _image_vit(
        f"{VIT_BUCKET}imagenet21k/ViT-B_16.npz", "original_vit", _image_size("base"), VIT_SOURCE
    ),
    "original_in21k_vit_l": _image_vit(
        f"{VIT_BUCKET}imagenet21k/ViT-L_16.npz", "original_vit", _image_size("large"), VIT_SOURCE
    ),
    "original_in21k_vit_h": _image_vit(
        f"{VIT_BUCKET}imagenet21k/ViT-H_14.npz", "original_vit", replace(_image_size("huge"), patch=14), VIT_SOURCE
    ),
    **{
        f"augreg_in21k_vit_{size[0] if size != 'tiny' else 'ti'}": _image_vit(
            f"{VIT_BUCKET}augreg/{file}.npz", "original_vit", _image_size(size), VIT_SOURCE
        )
        for size, file in _AUGREG.items()
    },
    **{
        f"timm_in21k_vit_{size[0] if size != 'tiny' else 'ti'}": _image_vit(
            f"{HUGGING_FACE}timm/vit_{size}_patch16_224.augreg_in21k/resolve/main/model.safetensors",
            "timm",
            replace(_image_size(size), activation="gelu"),
            f"{HUGGING_FACE}timm/vit_{size}_patch16_224.augreg_in21k",
        )
        for size in _AUGREG
    },
}


def find_weights(name: str) -> Weights:
    """Return an entry of the table; an unknown name is an error that offers the nearest."""
    if name not in WEIGHTS:
        raise InputError(f"no weights {name!r}{did_you_mean(name, WEIGHTS)}; tubelet weights list names them all")
    return WEIGHTS[name]
