"""Train a probe's classifier: the strength of its regularisation chosen on held-out videos, then all of the rows."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tubelet.data.dataset import ClipDataset
from tubelet.data.held_out import held_out_videos
from tubelet.evals.classify import mean_average_precision, top_k
from tubelet.evals.views import Averaging, Views
from tubelet.models.saved import ScoreKind, probabilities, read_tensors, save_tensors
from tubelet.records import first_difference, from_json, read_json, to_json, write_json
from tubelet.train.features import FeatureSet
from tubelet.train.logistic import Linear, Pieces, describe_features, fit_logistic, mean_loss
from tubelet.train.search import at_edge
from tubelet.types import InputError

SEARCH_FILE = "search.json"
CLASSIFIER_FILE = "classifier.safetensors"

logger = logging.getLogger(__name__)
"""Logs (classifiers trained, classifiers in all)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One strength of the regularisation, trained on nine tenths of the training videos."""

    l2: float
    score: float
    """Metric on the held-out tenth, in [0, 1]."""
    loss: float
    """Mean loss on the held-out tenth; the smaller decides between equal scores."""
    train_loss: float
    num_passes: int
    """Times that the solver read all rows."""
    converged: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Final:
    """The classifier that is reported, trained on all training videos."""

    l2: float
    scikit_learn_c: float
    """What scikit-learn calls this strength, for the features as they are."""
    train_loss: float
    num_passes: int
    converged: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSearch:
    """What a probe's folder holds so far."""

    features: str
    """Folder of the training features, named after all they are made of."""
    seed: int
    """Decides which videos are held out."""
    strengths: tuple[float, ...]
    """From strong to weak."""
    metric: str
    tried: tuple[Tried, ...] = ()
    final: Final | None = None

    @property
    def best(self) -> Tried:
        """The strength with the best score, of equal ones that of the smallest loss."""
        return max(self.tried, key=lambda tried: (tried.score, -tried.loss))

    @property
    def at_edge(self) -> bool:
        """Whether the best strength is the first or last of the grid."""
        return at_edge(self.best.l2, self.strengths)


@dataclass(frozen=True, kw_only=True)
class LabelledFeatures:
    """Features with what their examples are."""

    features: FeatureSet
    targets: Tensor
    """int64 (E,) classes, or uint8 (E, K) multi-hot."""
    num_classes: int
    multi_label: bool
    device: torch.device

    def pieces(self, chosen: np.ndarray, views: Iterable[int] | None = None) -> Pieces:
        """Return how to go through the chosen examples, bool (E,), a row for each of the views (None = all)."""
        keep = torch.from_numpy(chosen)
        wanted = tuple(range(self.features.num_views) if views is None else views)

        def go() -> Iterator[tuple[Tensor, Tensor]]:
            for view in wanted:
                for place, values in self.features.shards(view):
                    yield values[keep[place]], self.targets[place][keep[place]]

        return go

    def scores(self, linear: Linear, chosen: np.ndarray, views: Views) -> np.ndarray:
        """Return the probabilities of the chosen examples, float32 (E', K), averaged as ``views`` says."""
        averaging = Averaging(views.average, exclusive=not self.multi_label)
        kind: ScoreKind = "sigmoid" if self.multi_label else "softmax"
        for view in range(self.features.num_views):
            parts = [
                probabilities(linear.logits(values.to(self.device)), kind).cpu().numpy()
                for values, _ in self.pieces(chosen, [view])()
            ]
            averaging.add(np.concatenate(parts))
        return averaging.mean()

    def one_hot(self, chosen: np.ndarray) -> np.ndarray:
        """Return the chosen examples' targets, float32 (E', K)."""
        picked = self.targets[torch.from_numpy(chosen)]
        hot = picked if self.multi_label else torch.nn.functional.one_hot(picked, self.num_classes)
        return hot.numpy().astype(np.float32)


def labelled_features(features: FeatureSet, dataset: ClipDataset, device: torch.device) -> LabelledFeatures:
    """Return a data set's features with its targets."""
    hot = torch.zeros((len(dataset), len(dataset.label_space)), dtype=torch.uint8)
    for index in range(len(dataset)):
        hot[index] = dataset.targets(index)[0]
    return LabelledFeatures(
        features=features,
        targets=hot if dataset.multi_label else hot.argmax(dim=1),
        num_classes=len(dataset.label_space),
        multi_label=dataset.multi_label,
        device=device,
    )


def train_probe(
    search: ProbeSearch, rows: LabelledFeatures, dataset: ClipDataset, out: Path, views: Views
) -> tuple[ProbeSearch, Linear]:
    """Try every strength on held-out videos, train the best on all; what ``out`` has of this is not done again.

    Args:
        search: What is to be tried.
        rows: Of the training split.
        dataset: The training split.
        out: Folder.
        views: Say what is averaged where a video has several rows.

    Raises:
        InputError: ``out`` holds another probe.
    """
    search = _continued(search, out)
    every = np.ones(len(dataset), dtype=bool)
    if search.final is None:
        search, start = _searched(search, rows, dataset, out, views)
        pieces = rows.pieces(every)
        scaling = describe_features(pieces, rows.num_classes, device=rows.device)
        l2 = search.best.l2
        solution = fit_logistic(pieces, scaling, l2=l2, multi_label=rows.multi_label, start=start)
        final = Final(
            l2=l2,
            scikit_learn_c=1 / (scaling.num_rows * l2 * scaling.scale**2),
            train_loss=solution.loss,
            num_passes=solution.num_passes,
            converged=solution.converged,
        )
        save_tensors(out / CLASSIFIER_FILE, {"weight": solution.linear.weight, "bias": solution.linear.bias})
        search = replace(search, final=final)
        write_json(out / SEARCH_FILE, search)
    tensors = {name: tensor.to(rows.device) for name, tensor in read_tensors(out / CLASSIFIER_FILE).items()}
    logger.info("%d of %d", len(search.strengths) + 1, len(search.strengths) + 1)
    return search, Linear(weight=tensors["weight"], bias=tensors["bias"])


def _continued(search: ProbeSearch, out: Path) -> ProbeSearch:
    """Return the search with what is known already, or raise where the folder holds another."""
    path = out / SEARCH_FILE
    if not path.exists():
        return search
    there = from_json(ProbeSearch, read_json(path), where=str(path))
    if difference := first_difference(to_json(replace(there, tried=(), final=None)), to_json(search)):
        raise InputError(f"{out}: holds another probe, which differs in {difference}; give another --out")
    return there


def _searched(
    search: ProbeSearch, rows: LabelledFeatures, dataset: ClipDataset, out: Path, views: Views
) -> tuple[ProbeSearch, Tensor | None]:
    """Try the strengths that are left; return the search and where the best one's solver ended, if it was tried now."""
    videos = [dataset.video(index) for index in range(len(dataset))]
    chosen = held_out_videos(videos, seed=search.seed)
    held_out = np.array([video in chosen for video in videos])
    pieces, judged = rows.pieces(~held_out), rows.pieces(held_out)
    left = [l2 for l2 in search.strengths if l2 not in {tried.l2 for tried in search.tried}]
    scaling = describe_features(pieces, rows.num_classes, device=rows.device) if left else None
    states: dict[float, Tensor] = {}
    for l2 in left:
        logger.info("%d of %d", len(search.tried), len(search.strengths) + 1)
        assert scaling is not None
        start = list(states.values())[-1] if states else None
        solution = fit_logistic(pieces, scaling, l2=l2, multi_label=rows.multi_label, start=start)
        states[l2] = solution.state
        tried = Tried(
            l2=l2,
            score=_score(rows.scores(solution.linear, held_out, views), rows.one_hot(held_out), search.metric),
            loss=mean_loss(judged, solution.linear, multi_label=rows.multi_label),
            train_loss=solution.loss,
            num_passes=solution.num_passes,
            converged=solution.converged,
        )
        search = replace(search, tried=(*search.tried, tried))
        write_json(out / SEARCH_FILE, search)
    logger.info("%d of %d", len(search.tried), len(search.strengths) + 1)
    return search, states.get(search.best.l2)


def _score(scores: np.ndarray, targets: np.ndarray, metric: str) -> float:
    return top_k(scores, targets, 1) if metric == "top1" else mean_average_precision(scores, targets).mean_ap
