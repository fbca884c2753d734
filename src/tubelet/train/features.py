"""Features of a frozen backbone, computed once and kept in safetensors shards (paper B, 4: fc-only).

A feature is what a classification head's linear layer reads: the mean of the backbone's grid. A folder of them is named
after what they are made of (weights, data, model input, views, number format), so other inputs never meet old features,
and a computation that was stopped goes on at the first shard that is missing.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import evaluation_batches
from tubelet.evals.views import View, Views, list_views
from tubelet.models.model import VideoModel
from tubelet.models.precision import compute_dtype, default_autocast
from tubelet.models.saved import META_FILE, load_all, read_meta, read_tensors, save_tensors
from tubelet.models.weights import WEIGHTS
from tubelet.records import from_json, to_json, write_json
from tubelet.train.folder import data_hash, sole_writer
from tubelet.train.start import read_start
from tubelet.types import InputError, Preprocess
from tubelet.video.normalise import normalise

BACKBONE = "backbone."
FEATURES_FILE = "features.json"
SHARD_EXAMPLES = 4096

FeatureType = Literal["bfloat16", "float16", "float32"]
DTYPES: Mapping[FeatureType, torch.dtype] = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FrozenBackbone:
    """A backbone whose features are asked for."""

    model: VideoModel
    """Without heads, in evaluation mode."""
    preprocess: Preprocess
    sha256: str
    """Of the backbone's weights, whatever file they lie in."""


def open_backbone(name: str, device: torch.device) -> FrozenBackbone:
    """Read a backbone: that of a finished run folder, or published weights by their name.

    Raises:
        InputError: There is nothing of that name, it cannot be read, or a file does not say which network it is.
    """
    start = read_start(name)
    published = name.partition("=")[0]
    if Path(name).is_dir():
        where = str(Path(name) / META_FILE)
        preprocess = from_json(Preprocess, read_meta(Path(name))["preprocess"], where=where)
    elif start.backbone is not None:
        preprocess = WEIGHTS[published].preprocess
    else:
        raise InputError(f"{name}: does not say which network and input it is of; expected a run folder or a name")
    assert start.backbone is not None
    model = VideoModel(start.backbone, {})
    tensors = {key: tensor for key, tensor in start.tensors.items() if key.startswith(BACKBONE)}
    load_all(model, tensors, where=name)
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode() + tensors[key].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return FrozenBackbone(model=model.to(device).eval(), preprocess=preprocess, sha256=digest.hexdigest())


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """Features on disk."""

    folder: Path
    num_examples: int
    num_views: int
    """All of an example: clips times squares."""
    dim: int
    shard_examples: int

    def shards(self, view: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield the examples of one view, in order: which they are, and their features (n, D) as they are stored.

        Raises:
            InputError: A shard is missing or damaged.
        """
        for first in range(0, self.num_examples, self.shard_examples):
            last = min(first + self.shard_examples, self.num_examples)
            path = self.folder / _shard_name(view, first)
            features = read_tensors(path).get("features")
            if features is None or tuple(features.shape) != (last - first, self.dim):
                raise InputError(f"{path}: not the shard it should be; remove it, the same command makes it again")
            yield slice(first, last), features


def extract_features(
    backbone: FrozenBackbone,
    dataset: ClipDataset,
    views: Views,
    cache: Path,
    *,
    manifest: Path,
    dtype: FeatureType = "bfloat16",
    batch_size: int = 16,
    num_workers: int = 1,
    shard_examples: int = SHARD_EXAMPLES,
) -> FeatureSet:
    """Return the features of every example in every view; those that are there are not computed again.

    Args:
        backbone: Where it is decides where they are computed.
        dataset: The examples, prepared as the backbone's input.
        views: Clips and squares.
        cache: Folder of all such features; these get a folder of their own in it.
        manifest: Folder of the data set, whose content is part of the name.
        dtype: Number format of the stored features.
        batch_size: Clips at once.
        num_workers: Processes that prepare batches.
        shard_examples: Rows of a file.

    Raises:
        InputError: Another process is writing them, or what the data set raises.
    """
    single = list_views(dataset, views, step=backbone.model.backbone.stride)
    content: dict[str, Any] = {
        "backbone_sha256": backbone.sha256,
        "data_sha256": data_hash(manifest),
        "split": dataset.split,
        "preprocess": to_json(backbone.preprocess),
        "views": {name: getattr(views, name) for name in ("num_views", "crops", "scales", "flip")},
        "stored_as": dtype,
        "computed_in": str(compute_dtype(_device_of(backbone.model))),
        "num_examples": len(dataset),
        "dim": backbone.model.backbone.dim,
        "shard_examples": shard_examples,
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    found = FeatureSet(
        folder=cache / f"{dataset.name}-{dataset.split}-{key[:16]}",
        num_examples=len(dataset),
        num_views=len(single),
        dim=backbone.model.backbone.dim,
        shard_examples=shard_examples,
    )
    with sole_writer(found.folder):
        write_json(found.folder / FEATURES_FILE, content)
        for number, view in enumerate(single):
            _fill(backbone, found, number, view, DTYPES[dtype], batch_size=batch_size, num_workers=num_workers)
    return found


def _fill(
    backbone: FrozenBackbone,
    found: FeatureSet,
    number: int,
    view: View,
    dtype: torch.dtype,
    *,
    batch_size: int,
    num_workers: int,
) -> None:
    """Write the shards of one view from the first missing one on."""
    every, size = found.num_examples, found.shard_examples
    missing = (first for first in range(0, every, size) if not (found.folder / _shard_name(number, first)).exists())
    start = next(missing, every)
    done, total = number * every, found.num_views * every
    logger.info("%d of %d", done + start, total)
    if start == every:
        return
    waiting: list[Tensor] = []
    batches = evaluation_batches(
        view.dataset, "features", batch_size, num_workers, **view.arguments, indices=range(start, every)
    )
    for batch in batches:
        waiting.append(_features(backbone, batch.video, flip=view.flip).to("cpu", dtype))
        held = sum(map(len, waiting))
        logger.info("%d of %d", done + start + held, total)
        while held >= size or start + held == every > start:
            rows = torch.cat(waiting)
            save_tensors(found.folder / _shard_name(number, start), {"features": rows[:size]})
            waiting = [rows[size:]]
            start, held = start + len(rows[:size]), len(rows[size:])


@torch.no_grad()
def _features(backbone: FrozenBackbone, video: Tensor, *, flip: bool) -> Tensor:
    """Return float32 (B, D), the mean of the grid of each clip."""
    device = _device_of(backbone.model)
    shown = normalise(video.to(device), backbone.preprocess)
    with default_autocast(device):
        grid = backbone.model.backbone.clip_tokens(shown.flip(-1) if flip else shown)
    return grid.float().mean(dim=(1, 2, 3))


def _device_of(model: VideoModel) -> torch.device:
    return next(model.parameters()).device


def _shard_name(view: int, first: int) -> str:
    return f"view{view:03d}-{first:09d}.safetensors"
