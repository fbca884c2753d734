"""How label spaces relate, and how videos spread over labels (paper B, 4.2.1: overlap of 62 % and 42 %; Fig. 3)."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tubelet.corpus.hashtags import Hashtags, expand_label, hashtags_of
from tubelet.labels import LabelSpace
from tubelet.types import InputError

SHARES = (0.01, 0.1, 0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Which labels of a target a source's label space has."""

    source: str
    target: str
    shared: tuple[tuple[str, tuple[str, ...]], ...]
    """Labels of the target, each with the labels of the source that share a hashtag with it."""
    missing: tuple[str, ...]
    """Labels of the target that no label of the source shares a hashtag with."""

    @property
    def share(self) -> float:
        """Part of the target's labels that the source has, in 0..1."""
        return len(self.shared) / (len(self.shared) + len(self.missing))


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """How videos are spread over the labels of a set."""

    name: str
    counts: tuple[int, ...]
    """Videos of each label, most first."""
    share_of_head: tuple[float, ...]
    """Part of the videos that the most frequent 1, 10 and 50 % of the labels have."""
    gini: float
    """0 where all labels are equally frequent, towards 1 where one has all."""
    num_labels_half: int
    """How many of the most frequent labels have half of the videos."""


def overlap(source: Hashtags, target: Hashtags) -> Overlap:
    """Return which labels of a target have a hashtag in common with a label of the source.

    So "washing" meets "wash", and "candles" "candle"; with synonyms a target lists itself, a label of it may have more
    ways to be met.

    Args:
        source: Label space of a corpus, with its hashtags.
        target: Label space of the data set to be trained for.

    Raises:
        InputError: One of them has no label.
    """
    for space in (source.label_space, target.label_space):
        if not len(space):
            raise InputError(f"label space {space.name}: no labels to compare")
    by_tag: dict[str, set[int]] = {}
    for tag, label in zip(source.table.column("tag").to_pylist(), source.table.column("label").to_pylist()):
        by_tag.setdefault(tag, set()).add(label)
    found: dict[int, set[int]] = {}
    for tag, label in zip(target.table.column("tag").to_pylist(), target.table.column("label").to_pylist()):
        found.setdefault(label, set()).update(by_tag.get(tag, ()))
    names = source.label_space.names
    shared = [
        (name, tuple(names[s] for s in sorted(found[k])))
        for k, name in enumerate(target.label_space.names)
        if found.get(k)
    ]
    missing = tuple(name for k, name in enumerate(target.label_space.names) if not found.get(k))
    return Overlap(
        source=source.label_space.name, target=target.label_space.name, shared=tuple(shared), missing=missing
    )


def read_words_of_labels(path: Path, *, column: str, synonyms: str = "") -> Hashtags:
    """Read the hashtags of a csv of labels, of which each may list words that mean it (EPIC-Kitchens' classes).

    Args:
        path: The csv.
        column: Holds the label.
        synonyms: Holds a list of words in brackets, or words separated by commas; empty = the label alone.

    Raises:
        InputError: A column is missing, or there is no row.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for name in filter(None, (column, synonyms)):
                if name not in (reader.fieldnames or ()):
                    raise InputError(f"{path}: no column {name!r}; it has {reader.fieldnames}")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as csv ({error})") from error
    if not rows:
        raise InputError(f"{path}: no rows, expected a label in each")
    words = [[row[column], *(word.strip(" []'\"") for word in (row.get(synonyms) or "").split(","))] for row in rows]
    tags = [[tag for word in some if word for tag in expand_label(word).hashtags] for some in words]
    return hashtags_of(LabelSpace(name=path.stem, names=tuple(row[column] for row in rows)), tags)


def spread(name: str, counts: Sequence[int]) -> Spread:
    """Return how videos are spread over labels.

    Args:
        name: Of the set.
        counts: Videos of each label.
    """
    ordered: NDArray[np.int64] = np.sort(np.asarray(counts, dtype=np.int64))[::-1]
    total = int(ordered.sum())
    if not total:
        raise InputError(f"{name}: no videos of any label")
    rising = np.cumsum(ordered)
    share = [float(rising[max(0, round(part * len(ordered)) - 1)] / total) for part in SHARES]
    # Half of the mean difference between two labels, over the mean.
    places = np.arange(len(ordered), 0, -1)
    gini = float((2 * (places * ordered).sum() / total - len(ordered) - 1) / len(ordered))
    return Spread(
        name=name,
        counts=tuple(int(n) for n in ordered),
        share_of_head=tuple(share),
        gini=gini,
        num_labels_half=int(np.searchsorted(rising, total / 2)) + 1,
    )


def spread_line(found: Spread) -> str:
    """Return head and tail of a set as a line."""
    counts = found.counts
    heads = ", ".join(f"{100 * part:g} % have {100 * share:.1f} %" for part, share in zip(SHARES, found.share_of_head))
    return (
        f"{found.name}: {sum(counts):,} videos of {len(counts):,} labels; most {counts[0]:,}, median "
        f"{int(np.median(counts)):,}, least {counts[-1]:,}; of the labels the most frequent {heads} of the videos; "
        f"{found.num_labels_half:,} labels have half; Gini {found.gini:.3f}"
    )


def draw_spread(sets: Mapping[str, Sequence[int]], path: Path) -> None:
    """Draw paper B's Fig. 3: cumulative share of videos over labels, rarest first, labels in 0..1 of each set.

    Args:
        sets: Videos of each label, by the name of the set.
        path: A png, svg or pdf.
    """
    import matplotlib.figure  # only who draws needs it

    figure = matplotlib.figure.Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, counts in sets.items():
        ordered = np.sort(np.asarray(counts))
        rising = np.concatenate([[0], np.cumsum(ordered)]) / ordered.sum()
        axes.plot(np.linspace(0, 1, len(rising)), rising, label=f"{name} ({len(ordered)} labels)")
    axes.set_xlabel("share of the labels, rarest first")
    axes.set_ylabel("share of the videos")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
