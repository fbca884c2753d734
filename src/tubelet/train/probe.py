"""Paper B's fc-only measure of a backbone (4): logistic regression on its frozen features.

Test clips are averaged as everywhere else. The paper does not say which clips of a training video it takes (here:
``train_views`` of them, evenly spread), how strong the regularisation is, nor how it was chosen (here: on a tenth of
the training videos, as it chooses the settings of whole networks).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.defaults import PROBE_STRENGTHS
from tubelet.evals.run import TaskResult, classification_metrics
from tubelet.evals.views import Average, Views
from tubelet.models.precision import pick_device
from tubelet.train.evaluate import origin
from tubelet.train.features import FeatureType, FrozenBackbone, extract_features, open_backbone
from tubelet.train.folder import sole_writer
from tubelet.train.probe_training import ProbeSearch, labelled_features, train_probe
from tubelet.types import Crops, InputError


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """Scores of the reported split, and how they came about."""

    result: TaskResult
    search: ProbeSearch
    origin: dict[str, Any]
    """As ``train.evaluate.origin_of`` has it; the weights' hash is that of the backbone's tensors."""


def run_probe(
    model: str,
    manifest_folder: Path,
    out: Path,
    *,
    train_split: str = "train",
    split: str = "val",
    num_views: int = 10,
    train_views: int = 1,
    crops: Crops = "centre",
    average: Average = "probabilities",
    dtype: FeatureType = "bfloat16",
    strengths: Sequence[float] = PROBE_STRENGTHS,
    seed: int = 0,
    cache: Path | None = None,
    batch_size: int = 16,
    num_workers: int = 1,
    device: str | None = None,
) -> ProbeResult:
    """Measure a backbone on a set of clips; a call that was stopped goes on when it is made again.

    Args:
        model: A finished run folder, or published weights by their name.
        manifest_folder: The data set, of kind ``classify``.
        out: Gets the search, the classifier and, without ``cache``, the features.
        train_split: Trained on.
        split: Reported.
        num_views: Clips of a reported video whose scores are averaged (paper B: 10).
        train_views: Clips of a training video, a row each.
        crops: What is shown of a frame of a reported video.
        average: What is averaged over the views.
        dtype: Number format of the stored features.
        strengths: Of the regularisation, tried on held-out videos.
        seed: Decides which videos are held out.
        cache: Folder of features that several probes share.
        batch_size: Clips at once.
        num_workers: Processes that prepare clips.
        device: Where; None = a GPU if there is one.

    Raises:
        InputError: Something cannot be read, the set has boxes, or ``out`` holds another probe.
    """
    manifest = _checked(manifest_folder, strengths, train_split, split)
    views, place = Views(num_views=num_views, crops=crops, average=average), pick_device(device)
    backbone = open_backbone(model, place)
    train, test = (_dataset(manifest, name, backbone) for name in (train_split, split))
    extract = partial(
        extract_features,
        backbone,
        cache=cache or out / "features",
        manifest=manifest_folder,
        dtype=dtype,
        batch_size=batch_size,
        num_workers=num_workers,
    )
    with sole_writer(out):
        trained_on = labelled_features(extract(train, Views(num_views=train_views, average=average)), train, place)
        reported = labelled_features(extract(test, views), test, place)
        search = ProbeSearch(
            features=trained_on.features.folder.name,
            seed=seed,
            strengths=tuple(sorted(map(float, strengths), reverse=True)),
            metric="mAP" if manifest.multi_label else "top1",
        )
        search, linear = train_probe(search, trained_on, train, out, views)
    every = np.ones(len(test), dtype=bool)
    result = _result(test, manifest.name, views, reported.one_hot(every), reported.scores(linear, every, views))
    return ProbeResult(result=result, search=search, origin=origin(model, backbone.sha256, manifest_folder))


def _checked(folder: Path, strengths: Sequence[float], train_split: str, split: str) -> Manifest:
    manifest = read_manifest(folder)
    if manifest.kind != "classify":
        raise InputError(f"{folder}: a set of kind {manifest.kind!r}; a probe classifies whole clips")
    if not strengths or not min(strengths) > 0:
        raise InputError(f"strengths of regularisation {tuple(strengths)}: expected at least one, all above 0")
    if split == train_split:
        raise InputError(f"split {split!r} cannot be both trained on and reported")
    return manifest


def _dataset(manifest: Manifest, split: str, backbone: FrozenBackbone) -> ClipDataset:
    return ClipDataset(manifest, split, preprocess=backbone.preprocess, augment=None)


def _result(dataset: ClipDataset, task: str, views: Views, targets: np.ndarray, scores: np.ndarray) -> TaskResult:
    prefix = f"{task}/{dataset.split}"
    return TaskResult(
        task=task,
        split=dataset.split,
        kind="classify",
        label_space=dataset.label_space,
        metrics=classification_metrics(scores, targets, multi_label=dataset.multi_label, prefix=prefix),
        sample_ids=tuple(dataset.sample_id(index) for index in range(len(dataset))),
        scores=scores,
        targets=targets,
        videos=tuple(map(dataset.video, range(len(dataset)))),
        multi_label=dataset.multi_label,
        views=views,
    )
