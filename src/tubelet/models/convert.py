"""Turn a published file of weights into a run folder of ours: ``model.safetensors`` and ``meta.json``.

The folder is what a finished training run leaves, so it starts other runs (``init_from``), classifies videos, and says
what it is (``tubelet info``). ``meta.json`` holds, beside what rebuilds the model, the table's entry and the SHA-256 of
the published file.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tubelet.labels import LabelSpace
from tubelet.models import convert_resnet as resnet
from tubelet.models import convert_vit as vit
from tubelet.models.convert_files import FileKind, read_file
from tubelet.models.convert_rules import Rule, apply_rules
from tubelet.models.model import BackboneConfig, VideoModel
from tubelet.models.saved import HEADS, META_FILE, MODEL_FILE, HeadMeta, load_all, model_meta, save_tensors
from tubelet.records import to_json, write_json
from tubelet.types import InputError, Preprocess

LayoutName = Literal[
    "torchvision_video",
    "torchvision_image",
    "caffe2",
    "scenic",
    "original_vit",
    "timm",
    "hf_vivit",
    "hf_vit",
    "hf_videomae",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a family of published files is laid out."""

    kind: FileKind
    rules: Callable[[Any], list[Rule]]
    """Of the backbone, for its config; the config's class is the one the family is made for."""
    head: Callable[[Iterable[str]], tuple[str, str]]
    """Names of the last layer's weight and bias, of the names in the file."""
    transposed_head: bool = False
    """The last layer's weight is (D, K), not (K, D)."""
    rename: Callable[[str], str] | None = None
    """Applied to every name of the file first."""
    ignored: tuple[str, ...] = ()
    """Regular expressions for names that are known and never of use here."""
    head_names: str = ""
    """Regular expression for the last layer's names; they are left out when the entry has no head."""


def _named(weight: str, bias: str) -> Callable[[Iterable[str]], tuple[str, str]]:
    return lambda _names: (weight, bias)


_VIDEOMAE_DECODER = (r"decoder\..*", r"encoder_to_decoder\..*", "mask_token")

LAYOUTS: dict[LayoutName, Layout] = {
    "torchvision_video": Layout(
        kind="torch",
        rules=resnet.torchvision_video_rules,
        head=_named("fc.weight", "fc.bias"),
        ignored=(resnet.BATCH_COUNTERS,),
        head_names=r"fc\..*",
    ),
    "torchvision_image": Layout(
        kind="torch",
        rules=resnet.torchvision_image_rules,
        head=_named("fc.weight", "fc.bias"),
        ignored=(resnet.BATCH_COUNTERS,),
        head_names=r"fc\..*",
    ),
    "caffe2": Layout(
        kind="caffe2",
        rules=resnet.caffe2_rules,
        head=resnet.caffe2_head,
        head_names=r"last_out_L\d+_[wb]",
    ),
    "scenic": Layout(
        kind="flax",
        rules=vit.scenic_rules,
        head=_named("output_projection/kernel", "output_projection/bias"),
        transposed_head=True,
        head_names="output_projection/.*",
    ),
    "original_vit": Layout(
        kind="npz",
        rules=vit.original_vit_rules,
        head=_named("head/kernel", "head/bias"),
        transposed_head=True,
        ignored=("pre_logits/.*",),
        head_names="head/.*",
    ),
    "timm": Layout(
        kind="torch",
        rules=vit.timm_rules,
        head=_named("head.weight", "head.bias"),
        ignored=(r"pre_logits\..*",),
        head_names=r"head\..*",
    ),
    "hf_vivit": Layout(
        kind="torch",
        rules=vit.hugging_face_rules,
        head=_named("classifier.weight", "classifier.bias"),
        rename=vit.hugging_face_name,
        ignored=(r"pooler\..*",),
        head_names=r"classifier\..*",
    ),
    "hf_vit": Layout(
        kind="torch",
        rules=vit.hugging_face_rules,
        head=_named("classifier.weight", "classifier.bias"),
        rename=vit.hugging_face_name,
        ignored=(r"pooler\..*",),
        head_names=r"classifier\..*",
    ),
    "hf_videomae": Layout(
        kind="torch",
        rules=vit.videomae_rules,
        head=_named("classifier.weight", "classifier.bias"),
        rename=vit.hugging_face_name,
        ignored=_VIDEOMAE_DECODER,
        head_names=r"classifier\..*",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """A published file as our tensors."""

    tensors: dict[str, Tensor]
    """By :class:`tubelet.models.model.VideoModel`'s names."""
    num_classes: tuple[int, ...]
    """Of the heads, in order."""
    left_out: list[str]
    """Names in the file that are known and have no use here: decoders, poolers, the classes of images."""
    initialised: list[str] = field(default_factory=list)
    """Names of ours that the file has nothing for, and that begin as in training from scratch."""


def convert_file(path: Path, layout_name: LayoutName, backbone: BackboneConfig, heads: Mapping[str, int]) -> Converted:
    """Read a published file and make our tensors of it.

    Args:
        path: The file.
        layout_name: Key of ``LAYOUTS``.
        backbone: The architecture that the file holds.
        heads: Task name to classes, in the order in which the file's last layer holds them; 0, for one head only, takes
            as many as there are. Without heads the last layer is left out.

    Raises:
        InputError: The file cannot be read, or does not hold exactly this: the message lists what is missing and what
            is left over.
    """
    layout = LAYOUTS[layout_name]
    given = _renamed(read_file(path, layout.kind), layout.rename, path)
    rules = layout.rules(backbone)
    weight, bias = layout.head(given) if heads else ("", "")
    if heads:
        rules += [Rule("head.weight", (weight,), vit.transposed if layout.transposed_head else same_matrix)]
        rules += [Rule("head.bias", (bias,))]
    ignored = layout.ignored if heads else (*layout.ignored, layout.head_names)
    tensors, left_out = apply_rules(rules, given, ignored=ignored, where=str(path))
    num_classes = _split_heads(tensors, heads, where=str(path)) if heads else ()
    return Converted(tensors=tensors, num_classes=num_classes, left_out=left_out)


def same_matrix(weight: Tensor) -> Tensor:
    """Return the last layer's weight as (K, D): Caffe2's and torchvision's may be kernels of 1 x 1 x 1."""
    return weight.flatten(1)


def _renamed(given: dict[str, Tensor], rename: Callable[[str], str] | None, path: Path) -> dict[str, Tensor]:
    if rename is None:
        return given
    renamed = {rename(name): tensor for name, tensor in given.items()}
    if len(renamed) != len(given):
        raise InputError(f"{path}: two tensors of one name, after the names of old and new releases are made the same")
    return renamed


def _split_heads(tensors: dict[str, Tensor], heads: Mapping[str, int], *, where: str) -> tuple[int, ...]:
    """Replace the last layer by one for each head, and return their classes."""
    weight, bias = tensors.pop("head.weight"), tensors.pop("head.bias")
    sizes = tuple(heads.values()) if 0 not in heads.values() else (weight.shape[0],)
    if sum(sizes) != weight.shape[0] or len(sizes) != len(heads):
        raise InputError(
            f"{where}: the last layer has {weight.shape[0]} classes, expected {' + '.join(map(str, sizes))}"
        )
    for name, part, part_bias in zip(
        heads, torch.split(weight, list(sizes)), torch.split(bias, list(sizes)), strict=True
    ):
        tensors[f"{HEADS}{name}.linear.weight"], tensors[f"{HEADS}{name}.linear.bias"] = part, part_bias
    return sizes


def save_converted(
    out: Path,
    converted: Converted,
    *,
    name: str,
    backbone: BackboneConfig,
    preprocess: Preprocess,
    label_spaces: Mapping[str, LabelSpace],
    entry: Any,
    sha256: str,
    where: str,
) -> None:
    """Write a run folder of converted weights; the weights are loaded into the model first, strictly.

    Args:
        out: Folder.
        converted: The tensors.
        name: Stands where a run has its recipe.
        backbone: The architecture.
        preprocess: What the weights were trained on.
        label_spaces: Task name to classes, of every head.
        entry: What else is known of the weights; kept as JSON.
        sha256: Of the published file.
        where: The published file, for messages.

    Raises:
        InputError: The tensors do not fit the architecture; nothing is written.
    """
    heads = {
        task: HeadMeta(kind="classify", label_space=space, score="softmax") for task, space in label_spaces.items()
    }
    model = VideoModel(backbone, {task: head.config for task, head in heads.items()})
    load_all(model, converted.tensors, where=where)
    meta = model_meta(
        recipe=name,
        backbone=backbone,
        preprocess=preprocess,
        heads=heads,
        extra={
            "finished": True,
            "step": 0,
            "num_steps": 0,
            "metrics": {},
            "weights": to_json(entry),
            "weights_sha256": sha256,
            "left_out": converted.left_out,
            "initialised": converted.initialised,
        },
    )
    out.mkdir(parents=True, exist_ok=True)
    save_tensors(out / MODEL_FILE, model.state_dict())
    write_json(out / META_FILE, meta)
