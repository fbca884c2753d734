"""The corpora that paper B's rows are pre-trained on, in miniature: made from the playground's tagged posts.

Each has the name of what it stands for, so that a row finds it (``recipes/rows_b.py``). The paper's 500 thousand to 65
million videos, a factor of 130, are 94 to all 5,086 posts here, each about twice the one before, the last 3.4 times.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tubelet.corpus.overlap import spread
from tubelet.corpus.pipeline import CorpusConfig, build_recipe
from tubelet.corpus.subset import SubsetRules, VideoLengths, label_counts, length_manifests, subset_manifest
from tubelet.data.manifest import Manifest, read_manifest
from tubelet.recipes.playground import CLASSIFY_SETS, LOCALISE_SET, POSTS_SET, manifest_of
from tubelet.recipes.rows_b import BIGGEST, KINETICS_LABELS, SIZES, SPORTS, VERB_NOUN_LABELS
from tubelet.records import whole_file
from tubelet.types import InputError

MINI_SIZES = dict(zip(SIZES, (94, 188, 375, 750, 1500, None), strict=True))
NUM_POSTS = 5086
"""Training posts of the playground of size ``study`` (``docs/studies/README.md``): those of the largest size."""
NUM_LABELED = 150
"""Videos of each set with fewer labels."""
MIN_VIDEOS = 8
LENGTHS = VideoLengths(short=(1.0, 1.6), long=(4.0, 60.0), centre=1.25)
"""About 1 : 5 in the mean (1.25 and 6.1 s), where the paper has 1 : 12: of 5,086 posts 94 last 6 s or more. With those
it would be 1 : 13, but 7 long videos would have the hours of 94 short ones: too few to pre-train on."""
NUM_BY_LENGTH = 600
LENGTH_SETS = {"short_5m": "short", "long_5m": "long", "long_center_5m": "long-center", "long_500k": "long-hours"}
SPORTS_VERBS = ("kicking", "swinging", "lifting", "jumping", "hitting", "climbing", "running", "punching")
"""A narrow domain, as Sports-1M is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MiniCorpus:
    """How a corpus is made."""

    base: str
    """A manifest of the playground, or a key of ``SEEDS``."""
    rules: SubsetRules


SEEDS: Mapping[str, tuple[str, str]] = {
    "verbs": ("seed_verbs.txt", ""),
    "nouns": ("seed_nouns.txt", ""),
    "verb-nouns": ("seed_verbs.txt", "seed_nouns.txt"),
    "sports": ("", ""),
}
"""Label spaces that the posts are matched with anew: files of the playground."""


def _corpora() -> dict[str, MiniCorpus]:
    posts, some = POSTS_SET, MINI_SIZES["19m"]
    made = {
        f"ig_kinetics_{size}{suffix}": MiniCorpus(
            base=posts, rules=SubsetRules(num_videos=number, sampling="tail" if suffix else "random")
        )
        for size, number in MINI_SIZES.items()
        for suffix in ("", "_tail")
    }
    for base, name in (("verbs", "ig_verb_19m"), ("nouns", "ig_noun_19m"), ("verb-nouns", "ig_verb_noun_19m")):
        made[name] = MiniCorpus(base=base, rules=SubsetRules(num_videos=some))
    made[SPORTS] = MiniCorpus(base="sports", rules=SubsetRules())
    for base, prefix, labels in (
        (posts, "ig_kinetics", dict(zip(KINETICS_LABELS, (10, 23, 46, 93, None), strict=True))),
        ("verb-nouns", "ig_verb_noun", dict(zip(VERB_NOUN_LABELS, (10, 20, 40, 80, None), strict=True))),
    ):
        for theirs, ours in labels.items():
            rules = SubsetRules(num_labels=ours, num_videos=NUM_LABELED)
            made[f"{prefix}_1m_{theirs}_labels"] = MiniCorpus(base=base, rules=rules)
    made["imagenet"] = MiniCorpus(base="moments", rules=SubsetRules(frame="centre"))
    made["ig_kinetics_19m_images"] = MiniCorpus(base=posts, rules=SubsetRules(num_videos=some, frame="centre"))
    made["ig_kinetics_250m_images"] = MiniCorpus(base=posts, rules=SubsetRules(frame="centre"))
    made["ig_kinetics_19m_frames"] = MiniCorpus(base=posts, rules=SubsetRules(num_videos=some, frame="random"))
    return made


CORPORA: Mapping[str, MiniCorpus] = _corpora()


SPREAD = ("Gini", "tenth of the labels", "half of the labels")
"""How skewed a corpus is: 0 where all labels have as many videos; share of the videos that the most frequent have."""


def measure_spread(name: str, playground: Path, out: Path, seed: int) -> dict[str, float]:
    """Return ``SPREAD`` of a corpus, in [0, 1], its videos drawn by ``seed``.

    Raises:
        InputError: As ``make_corpus``.
    """
    corpus = CORPORA[name]
    with tempfile.TemporaryDirectory() as folder:
        rules = replace(corpus.rules, seed=seed)
        drawn = subset_manifest(_base(corpus.base, playground, out), Path(folder) / name, rules)
        found = spread(name, label_counts(drawn))
    return dict(zip(SPREAD, (found.gini, *found.share_of_head[1:]), strict=True))


def make_corpus(name: str, playground: Path, out: Path) -> Path:
    """Make the corpus of a name in ``OUT/NAME``, unless it is there; return its folder.

    Raises:
        InputError: There is no such corpus, or the playground's posts are too few for it.
    """
    folder = out / name
    if (folder / "manifest.json").exists():
        return folder
    if name in LENGTH_SETS:
        _make_lengths(playground, out)
        return folder
    if name not in CORPORA:
        raise InputError(f"{name}: no corpus of a study; known: {', '.join((*CORPORA, *LENGTH_SETS))}")
    corpus = CORPORA[name]
    if name != BIGGEST and corpus.rules == SubsetRules() and corpus.base in SEEDS:
        return _matched(corpus.base, playground, folder).root
    subset_manifest(_base(corpus.base, playground, out), folder, corpus.rules)
    return folder


def _base(name: str, playground: Path, out: Path) -> Manifest:
    if name in SEEDS:
        return _matched(name, playground, out / f"posts-{name}")
    return read_manifest(manifest_of(playground, name))


def _matched(seeds: str, playground: Path, folder: Path) -> Manifest:
    """Match the posts with another label space, without copies of what the targets show, and keep the manifest."""
    if (folder / "manifest.json").exists():
        return read_manifest(folder)
    verbs, nouns = SEEDS[seeds]
    labels = playground / verbs
    if not verbs:
        folder.mkdir(parents=True, exist_ok=True)
        labels = folder / "seeds.txt"
        with whole_file(labels) as file:
            file.write("\n".join(SPORTS_VERBS) + "\n")
    config = CorpusConfig(
        name=folder.name,
        posts=str(playground / "posts.parquet"),
        seed_labels=str(labels),
        nouns=str(playground / nouns) if nouns else "",
        media_root=playground,
        min_videos=MIN_VIDEOS,
        targets=tuple(manifest_of(playground, name) for name in (*CLASSIFY_SETS, LOCALISE_SET)),
        dedup="balanced",
    )
    return build_recipe(config, folder, work=folder.parent / "work", engine="local", num_workers=1).manifest


def _make_lengths(playground: Path, out: Path) -> None:
    made = length_manifests(
        read_manifest(manifest_of(playground, POSTS_SET)),
        out / "lengths",
        num_videos=NUM_BY_LENGTH,
        lengths=LENGTHS,
    )
    for name, of in LENGTH_SETS.items():
        subset_manifest(made[of], out / name, SubsetRules())
