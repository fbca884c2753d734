"""How long the probe's logistic regression takes: ``python benchmarks/probe.py [--rows N] [--seconds S]``.

Synthetic bfloat16 features in shards as ``tubelet probe`` keeps them: classes with centres of their own, directions of
unequal spread, not negative. What does not fit into the seconds is not run: a row says how many passes were timed, how
far they came, and what the whole would take at that pace. Memory is the peak of this process.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from machine import write_result
from torch import Tensor

from tubelet.models.saved import save_tensors
from tubelet.train import logistic
from tubelet.train.features import SHARD_EXAMPLES, FeatureSet

CPU = torch.device("cpu")


def make_shards(folder: Path, num_rows: int, dim: int, num_classes: int) -> tuple[FeatureSet, Tensor]:
    """Write features of ``num_rows`` examples; return them and their classes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(num_classes, (num_rows,), generator=generator)
    spread = torch.arange(1, dim + 1) ** -0.5
    centres = 0.06 * torch.randn(num_classes, dim, generator=generator)
    axes = torch.linalg.qr(torch.randn(dim, dim, generator=generator))[0] * spread[:, None]
    for first in range(0, num_rows, SHARD_EXAMPLES):
        own = labels[first : first + SHARD_EXAMPLES]
        path = folder / f"view000-{first:09d}.safetensors"
        if not path.exists():
            noise = torch.randn(len(own), dim, generator=torch.Generator().manual_seed(first))
            features = torch.relu((centres[own] + noise) @ axes * 10 + 0.3)
            save_tensors(path, {"features": features.bfloat16()})
    found = FeatureSet(folder=folder, num_examples=num_rows, num_views=1, dim=dim, shard_examples=SHARD_EXAMPLES)
    return found, labels


def peak_mib() -> float:
    """Return the most memory that this process has held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(features: FeatureSet, labels: Tensor, num_classes: int, *, l2: float, seconds: float) -> dict[str, Any]:
    """Time the covariance and as many passes of the solver as fit into the seconds."""

    def pieces() -> Iterator[tuple[Tensor, Tensor]]:
        for place, values in features.shards(0):
            yield values, labels[place]

    start = time.perf_counter()
    scaling = logistic.describe_features(pieces, num_classes, device=CPU)
    described = time.perf_counter() - start
    start = time.perf_counter()
    logistic.fit_logistic(pieces, scaling, l2=l2, multi_label=False, max_passes=1)
    one = time.perf_counter() - start
    most = max(2, int((seconds - described - one) / one))
    start = time.perf_counter()
    found = logistic.fit_logistic(pieces, scaling, l2=l2, multi_label=False, max_passes=most)
    fitted = time.perf_counter() - start
    return {
        "rows": features.num_examples,
        "features": features.dim,
        "classes": num_classes,
        "l2": l2,
        "covariance_seconds": described,
        "seconds": fitted,
        "passes": found.num_passes,
        "seconds_per_pass": fitted / found.num_passes,
        "converged": found.converged,
        "training_loss": found.loss,
        "peak_mib": peak_mib(),
    }


def main() -> None:
    """Measure and write ``benchmarks/results/probe.json``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 250_000])
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--l2", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--seconds", type=float, default=600.0, help="at most so long for each classifier")
    parser.add_argument("--folder", type=Path, help="keep the features here, 4 KB a row")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for num_rows in given.rows:
            folder = (given.folder or Path(temporary)) / str(num_rows)
            folder.mkdir(parents=True, exist_ok=True)
            features, labels = make_shards(folder, num_rows, given.dim, given.classes)
            for l2 in given.l2:
                rows.append(measure(features, labels, given.classes, l2=l2, seconds=given.seconds))
    write_result("probe", rows)


if __name__ == "__main__":
    main()
