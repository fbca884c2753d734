"""The most salient clips of each video, chosen by a light model (SCSampler, the last row of paper B's Table 5).

Of both: a light model looks at all clips of a video; the scores of the k it finds most salient are averaged (B: 10).
Salience is the light model's largest class probability, as in that paper's sampler trained as a classifier of actions
(1904.04289, 3.2; its other one learns to rank clips). Ours: the light model is any run with a classification head and
looks at decoded frames (theirs at motion vectors and residuals of the compressed video, and at sound); "all clips" are
as many as it takes to lay clips of the scored model end to end, spread evenly, never fewer than k; clips of equal
salience are taken from the earliest on.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from tubelet.data.dataset import ClipDataset
from tubelet.data.loader import evaluation_batches
from tubelet.data.manifest import Manifest
from tubelet.evals.ranks import Ranks
from tubelet.models.precision import default_autocast
from tubelet.models.saved import LoadedModel, probabilities
from tubelet.types import InputError, Preprocess
from tubelet.video.container import probe
from tubelet.video.normalise import normalise


@dataclass(frozen=True, kw_only=True)
class LightModel:
    """What chooses the clips."""

    loaded: LoadedModel
    head: str
    """Name of the classification head whose probabilities are looked at."""
    name: str
    """Stands beside every number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SalientClips:
    """Which clips of each example are scored."""

    views: np.ndarray
    """int64 (E, k), of ``num_clips``, in order of time."""
    num_clips: np.ndarray
    """int64 (E,), all clips of each example."""


def salient_clips(
    light: LightModel,
    manifest: Manifest,
    dataset: ClipDataset,
    *,
    num_views: int,
    batch_size: int,
    num_workers: int,
    ranks: Ranks | None = None,
    on_batch: Callable[[], None] | None = None,
) -> SalientClips:
    """Let a light model choose clips of every example of a data set.

    Args:
        light: On the device where it computes.
        manifest: Of the data set.
        dataset: As the scored model sees it, of whole clips.
        num_views: k, clips chosen of each example.
        batch_size: Clips at once.
        num_workers: Processes that prepare clips.
        ranks: Processes that do this together; all get the whole choice.
        on_batch: Called after each batch; what it raises ends the choice.
    """
    if dataset.kind != "classify":
        raise InputError("salient clips are for classification; a keyframe has one clip")
    counts = clip_counts(manifest, dataset, least=num_views)
    seen = ClipDataset(manifest, dataset.split, preprocess=light.loaded.preprocess, augment=None)
    example = np.repeat(np.arange(len(dataset)), counts)
    view = np.concatenate([np.arange(count) for count in counts])
    rank, world_size = (0, 1) if ranks is None else (ranks.rank, ranks.size)
    batches = evaluation_batches(
        seen,
        light.head,
        batch_size,
        num_workers,
        indices=example.tolist(),
        view=view.tolist(),
        num_views=np.repeat(counts, counts).tolist(),
        rank=rank,
        world_size=world_size,
    )
    salience = np.full(len(example), -np.inf)
    for number, batch in enumerate(batches if ranks is None else ranks.in_step(batches)):
        first = (number * world_size + rank) * batch_size
        salience[first : first + len(batch.sample_ids)] = _salience(light, batch.video)
        if on_batch is not None:
            on_batch()
    if ranks is not None:
        salience = np.max(ranks.gathered(salience), axis=0)
    return SalientClips(views=_best(salience, counts, num_views), num_clips=counts)


def clip_counts(manifest: Manifest, dataset: ClipDataset, *, least: int) -> np.ndarray:
    """Return how many clips laid end to end cover each example, int64 (E,), at least ``least``."""
    table = manifest.clips.select(["clip_id", "start_seconds", "end_seconds"]).to_pylist()
    seconds = {row["clip_id"]: row["end_seconds"] - row["start_seconds"] for row in table}
    span = dataset.preprocess.num_frames
    return np.array(
        [
            max(least, math.ceil(seconds[dataset.sample_id(i)] / (span * _step(dataset, dataset.preprocess, i)) - 1e-6))
            for i in range(len(dataset))
        ],
        dtype=np.int64,
    )


def _step(dataset: ClipDataset, preprocess: Preprocess, index: int) -> float:
    """Return the seconds from a frame of a clip to the next; the file is asked for its rate only where that counts."""
    return preprocess.step_seconds(preprocess.fps or probe(dataset.media(index)).fps)


@torch.no_grad()
def _salience(light: LightModel, video: torch.Tensor) -> np.ndarray:
    """Return the largest class probability of each clip, float64 (B,)."""
    model = light.loaded.model
    device = next(model.parameters()).device
    with default_autocast(device):
        logits = model(normalise(video.to(device), light.loaded.preprocess), light.head)
    largest: np.ndarray = probabilities(logits, light.loaded.score_kinds[light.head]).amax(dim=1).double().cpu().numpy()
    return largest


def _best(salience: np.ndarray, counts: np.ndarray, num_views: int) -> np.ndarray:
    """Return each example's most salient clips, int64 (E, k), in order of time."""
    parts = np.split(salience, np.cumsum(counts)[:-1])
    return np.stack([np.sort(np.argsort(-part, kind="stable")[:num_views]) for part in parts])
