"""What a manifest holds: how much, how long, how large, how its classes spread; in the terminal and as a picture."""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tubelet.data.manifest import Manifest
from tubelet.data.validate import validate_manifest
from tubelet.types import InputError
from tubelet.video.container import probe
from tubelet.video.media import resolve_media

MAX_PROBED = 200
"""Resolutions are read from so many videos, evenly spread over the table."""
BAR_WIDTH = 24
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestFacts:
    """What is in a manifest."""

    name: str
    kind: str
    counts: Mapping[str, int]
    """As the manifest holds them, what was left out included."""
    hours: float
    """Sum of the clips' lengths."""
    duration_quantiles: tuple[float, ...]
    """Clip lengths in seconds at ``QUANTILES``."""
    classes: tuple[str, ...]
    per_split: Mapping[str, np.ndarray]
    """Split to int64 (K,), how often each class comes: on clips, or on annotated boxes of a localisation set."""
    labels_at_once: Mapping[int, int]
    """Number of labels of a clip (or box) to how many have it."""
    together: tuple[tuple[str, str, int], ...]
    """The pairs of classes that come together most often."""
    resolutions: Mapping[str, int]
    """``640 x 360, 25 fps`` to how many of the videos looked at."""
    num_probed: int
    num_unreadable: int
    """Of those looked at."""

    @property
    def per_class(self) -> np.ndarray:
        """How often each class comes in all splits together, int64 (K,)."""
        return np.asarray(sum(self.per_split.values(), np.zeros(len(self.classes), dtype=np.int64)))


def manifest_facts(manifest: Manifest) -> ManifestFacts:
    """Count what is in a manifest; a sample of its videos is opened, nothing is decoded whole.

    Raises:
        InputError: Its tables have a mistake.
    """
    validate_manifest(manifest)
    clips = manifest.clips
    lengths = pc.subtract(clips.column("end_seconds"), clips.column("start_seconds")).to_numpy()
    rows, splits = _labelled_rows(manifest)
    labels = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    num_labels = pc.list_value_length(labels).to_numpy()
    row_of_value = np.repeat(np.arange(len(labels)), num_labels)
    values = labels.flatten().to_numpy()
    num_classes = len(manifest.label_space)
    per_split = {
        split: np.bincount(values[(splits == split)[row_of_value]], minlength=num_classes)
        for split in sorted(set(splits.tolist()))
    }
    resolutions, probed, unreadable = _resolutions(manifest)
    return ManifestFacts(
        name=manifest.name,
        kind=manifest.kind,
        counts=manifest.counts,
        hours=float(lengths.sum()) / 3600,
        duration_quantiles=tuple(float(q) for q in np.quantile(lengths, QUANTILES)),
        classes=manifest.label_space.names,
        per_split=per_split,
        labels_at_once=dict(sorted(Counter(num_labels.tolist()).items())),
        together=_pairs(row_of_value, values, manifest.label_space.names),
        resolutions=resolutions,
        num_probed=probed,
        num_unreadable=unreadable,
    )


def training_counts(manifest: Manifest) -> np.ndarray:
    """Return how often each class comes in the training split, on clips or on annotated boxes, int64 (K,)."""
    rows, splits = _labelled_rows(manifest)
    labels = rows.filter(pa.array(splits == "train")).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.bincount(labels.astype(np.int64), minlength=len(manifest.label_space))


def describe(facts: ManifestFacts, *, top: int = 30) -> list[RenderableType]:
    """Return tables for the terminal, the last one with a bar for each of the ``top`` commonest classes."""
    table = Table("what", "value", title=f"{facts.name}: {facts.kind}")
    for what, number in facts.counts.items():
        if number:
            table.add_row(what.replace("_", " "), f"{number:,}")
    table.add_row("hours of clips", f"{facts.hours:,.2f}")
    spread = zip(QUANTILES, facts.duration_quantiles, strict=True)
    table.add_row("length of a clip, s", ", ".join(f"{_quantile_name(q)} {v:.2f}" for q, v in spread))
    sizes = [f"{size} ({n})" for size, n in list(facts.resolutions.items())[:5]]
    rest = len(facts.resolutions) - len(sizes)
    unread = f"; {facts.num_unreadable} cannot be read" if facts.num_unreadable else ""
    more = f", {rest} more sizes" if rest > 0 else ""
    table.add_row(f"pixels and rate of {facts.num_probed} videos", ", ".join(sizes) + more + unread)
    rows = "boxes" if facts.kind == "localise" else "clips"
    at_once = ", ".join(f"{k}: {n:,}" for k, n in facts.labels_at_once.items())
    table.add_row(f"labels at once: {rows}", at_once)
    for first, second, number in facts.together:
        table.add_row("often together", f"{first} + {second}: {number:,}")
    return [table, _histogram(facts, top)]


def draw_classes(facts: ManifestFacts, path: Path) -> None:
    """Draw how often each class comes, commonest first: a bar for all, a dot for each split, on a logarithmic axis."""
    from matplotlib.figure import Figure

    order = np.argsort(-facts.per_class, kind="stable")
    size = len(order)
    figure = Figure(figsize=(min(24.0, max(6.0, 0.16 * size)), 5.0), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(np.arange(size), facts.per_class[order], width=0.8, color="0.85", label="all")
    for split, counts in facts.per_split.items():
        axes.plot(np.arange(size), counts[order], ".", label=split)
    axes.set_yscale("symlog")
    axes.set_xlim(-0.7, size - 0.3)
    axes.set_ylabel("boxes" if facts.kind == "localise" else "clips")
    # Names are not formulas: a dollar sign is one.
    title = f"{facts.name}: {size} classes, {int(facts.per_class.sum()):,} labels"
    axes.set_title(title, parse_math=False)
    if size <= 120:
        names = [facts.classes[k] for k in order]
        axes.set_xticks(np.arange(size), names, rotation=90, fontsize=7, parse_math=False)
    for text in axes.legend(frameon=False).get_texts():
        text.set_parse_math(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp.png")
    figure.savefig(temporary, dpi=120)
    temporary.replace(path)


def _labelled_rows(manifest: Manifest) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Return the labels of each clip, or of each annotated box, and the split of each."""
    splits = manifest.clips.column("split").to_numpy()
    if manifest.boxes is None:
        return manifest.clips.column("labels"), splits
    boxes = manifest.boxes.filter(pc.equal(manifest.boxes.column("origin"), "annotated"))
    clip = pc.index_in(boxes.column("clip_id"), value_set=manifest.clips.column("clip_id").combine_chunks()).to_numpy()
    return boxes.column("labels"), splits[clip]


def _pairs(rows: np.ndarray, values: np.ndarray, names: tuple[str, ...]) -> tuple[tuple[str, str, int], ...]:
    """Return the five commonest pairs of labels of one row."""
    found: Counter[tuple[int, int]] = Counter()
    ends = np.flatnonzero(np.diff(rows)) + 1
    for group in np.split(values, ends):
        if 1 < len(group) <= 20:  # pairs of larger rows are too many and say little
            labels = sorted(set(group.tolist()))
            found.update((a, b) for i, a in enumerate(labels) for b in labels[i + 1 :])
    return tuple((names[a], names[b], number) for (a, b), number in found.most_common(5))


def _resolutions(manifest: Manifest) -> tuple[dict[str, int], int, int]:
    cells = manifest.clips.select(["video", "fps"]).group_by(["video", "fps"], use_threads=False).aggregate([])
    chosen = np.unique(np.linspace(0, cells.num_rows - 1, MAX_PROBED).round().astype(int))
    rows = cells.take(pa.array(chosen)).to_pylist()

    def look(row: dict[str, object]) -> str | None:
        try:
            meta = probe(resolve_media(manifest.media_root, str(row["video"]), float(str(row["fps"]))))
        except InputError:
            return None
        return f"{meta.width} x {meta.height}, {meta.fps:.4g} fps"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(look, rows))
    sizes = Counter(size for size in found if size is not None)
    return dict(sizes.most_common()), len(rows), found.count(None)


def _histogram(facts: ManifestFacts, top: int) -> RenderableType:
    order = np.argsort(-facts.per_class, kind="stable")
    largest = max(1, int(facts.per_class.max(initial=0)))
    table = Table("class", *facts.per_split, "", box=None)
    for k in order[:top]:
        bar = "█" * round(BAR_WIDTH * int(facts.per_class[k]) / largest) or "▏"
        table.add_row(facts.classes[k], *(f"{counts[k]:,}" for counts in facts.per_split.values()), Text(bar, "cyan"))
    empty = int((facts.per_class == 0).sum())
    rest = f", {len(order) - top} more" if len(order) > top else ""
    table.caption = f"{len(order)} classes{rest}; {empty} without an example"
    return table


def _quantile_name(quantile: float) -> str:
    return {0.0: "shortest", 0.5: "median", 1.0: "longest"}.get(quantile, f"{quantile:.0%}")
