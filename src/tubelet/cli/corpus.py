"""Commands about corpora of tagged posts; ``building.py`` has those that make one."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from tubelet.cli.places import check_file, check_new_manifest
from tubelet.corpus.columns import PostColumns
from tubelet.types import InputError

if TYPE_CHECKING:
    from tubelet.corpus.join import JoinSettings

DEFAULT_COLUMNS = PostColumns()


def corpus_labels(
    *,
    posts: str,
    seed_labels: str,
    nouns: str = "",
    label: str = "",
    out: Path | None = None,
    top: int = 20,
    columns: PostColumns = DEFAULT_COLUMNS,
    on_malformed: Literal["count", "stop"] = "count",
    memory_gib: float = 2.0,
) -> None:
    """Show which hashtags each label matches and how many posts use them, so that a person can prune them.

    Args:
        posts: Parquet, csv or jsonl of posts: a file, a folder of files or an address.
        seed_labels: As of `tubelet corpus build own_posts`.
        nouns: As of `tubelet corpus build own_posts`.
        label: Show all hashtags of this label only.
        out: Write every label and hashtag with its posts as csv; delete lines and give it to
            `tubelet corpus build own_posts`.
        top: How many labels to show.
        columns: What the columns of the posts are called.
        on_malformed: Count rows that cannot be read, or stop at the first.
        memory_gib: What the tables may take in memory; the rest is spilled to disk.
    """
    from tubelet.corpus.match import count_hashtags
    from tubelet.corpus.rules import rule_lines
    from tubelet.corpus.seeds import hashtag_lines, read_seeds, write_hashtags

    check_file("--out", out, [seed_labels, nouns or None])
    found = count_hashtags(posts, read_seeds(seed_labels, nouns=nouns), _settings(columns, on_malformed, memory_gib))
    print(*rule_lines(found.rules), sep="\n")
    print(*hashtag_lines(found, label=label, top=top), sep="\n")
    if out is not None:
        write_hashtags(out, found.table)
        print(f"hashtags: {out} ({found.table.num_rows} rows)")


def corpus_subset(
    manifest: Positional[Path],
    out: Positional[Path],
    *,
    num_videos: int | None = None,
    hours: float | None = None,
    sampling: Literal["random", "tail"] = "random",
    num_labels: int | None = None,
    min_seconds: float = 0.0,
    max_seconds: float = math.inf,
    centre_seconds: float | None = None,
    frame: Literal["none", "centre", "random"] = "none",
    media: Literal["any", "videos", "pictures"] = "any",
    seed: int = 0,
) -> None:
    """Write a part of a manifest's training clips (paper B, 4.1-4.3); smaller parts of one seed lie inside larger ones.

    Args:
        manifest: Manifest folder.
        out: New folder; report.json in it says what every rule did.
        num_videos: Keep exactly this many training clips.
        hours: Keep as many training clips as last this long together.
        sampling: At random, or tail labels whole and head labels capped.
        num_labels: Keep this many labels, drawn at random.
        min_seconds: Keep training clips at least this long.
        max_seconds: Keep training clips at most this long.
        centre_seconds: Of each training clip the middle only.
        frame: Of each training clip one frame only, for frame-based pre-training.
        media: Keep clips of videos or of pictures only.
        seed: Decides every draw.
    """
    from tubelet.corpus.subset import SubsetRules, subset_manifest
    from tubelet.data.manifest import read_manifest

    check_new_manifest("OUT", out)
    rules = SubsetRules(
        media=media,
        num_labels=num_labels,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        sampling=sampling,
        num_videos=num_videos,
        hours=hours,
        centre_seconds=centre_seconds,
        frame=frame,
        seed=seed,
    )
    made = subset_manifest(read_manifest(manifest), out, rules)
    _print_rules(out)
    print(f"manifest: {made.root} ({len(made.clips)} clips, {len(made.label_space)} labels)")


def corpus_lengths(manifest: Positional[Path], out: Positional[Path], *, num_videos: int, seed: int = 0) -> None:
    """Write sets of short and long videos with the same labels: short, long, long-center, long-hours (paper B, 4.3.1).

    Args:
        manifest: Manifest folder.
        out: Folder of the four manifests.
        num_videos: Training clips of each of the first three; long-hours lasts as long as short.
        seed: Decides every draw.
    """
    from tubelet.corpus.subset import length_manifests
    from tubelet.data.manifest import read_manifest

    for name in ("short", "long", "long-center", "long-hours"):
        check_new_manifest("OUT", out / name)
    for made in length_manifests(read_manifest(manifest), out, num_videos=num_videos, seed=seed).values():
        print(f"manifest: {made.root} ({len(made.clips)} clips, {len(made.label_space)} labels)")
        _print_rules(made.root)


def corpus_overlap(
    source: Positional[str],
    target: Positional[str],
    *,
    column: str = "",
    synonyms: str = "",
    show: int = 20,
) -> None:
    """Say which labels of a target data set a corpus's label space has (paper B, 4.2.1: 62 % of verbs, 42 % of nouns).

    Args:
        source: A corpus's manifest, or as --seed-labels of `tubelet corpus build own_posts`.
        target: The target's manifest or labels; a csv of classes with --column.
        column: Column of the target's csv that holds its labels (EPIC-Kitchens: key).
        synonyms: Column that lists other words for each label (EPIC-Kitchens: instances); empty = the label alone.
        show: How many labels to list.
    """
    from tubelet.corpus.hashtags import VerbNouns
    from tubelet.corpus.overlap import overlap, read_words_of_labels
    from tubelet.corpus.seeds import read_seeds

    mine = read_seeds(source)
    theirs = read_words_of_labels(Path(target), column=column, synonyms=synonyms) if column else read_seeds(target)
    if isinstance(mine, VerbNouns) or isinstance(theirs, VerbNouns):
        raise InputError("verb-nouns: which pairs are labels only posts can tell; expected the corpus's manifest")
    found = overlap(mine, theirs)
    for label, labels in found.shared[:show]:
        print(f"  {label}: {', '.join(labels[:6])}{' ...' if len(labels) > 6 else ''}")
    print(f"not in {found.source}: {', '.join(found.missing[:show])}{' ...' if len(found.missing) > show else ''}")
    total = len(found.shared) + len(found.missing)
    print(f"overlap: {100 * found.share:.1f} % ({len(found.shared)} of {total} labels of {found.target})")


def corpus_spread(manifests: Positional[tuple[Path, ...]], *, png: Path | None = None) -> None:
    """Say how the videos of manifests are spread over their labels, head and tail, and draw it (paper B, Fig. 3).

    Args:
        manifests: Manifest folders.
        png: Draw the cumulative distributions here.
    """
    from tubelet.corpus.overlap import draw_spread, spread, spread_line
    from tubelet.corpus.subset import label_counts
    from tubelet.data.manifest import read_manifest

    if not manifests:
        raise InputError("tubelet corpus spread needs at least one manifest")
    counts = {folder.name: label_counts(read_manifest(folder)) for folder in manifests}
    for name, numbers in counts.items():
        print(spread_line(spread(name, numbers)))
    if png is not None:
        draw_spread(counts, png)
        print(f"picture: {png}")


def _settings(columns: PostColumns, on_malformed: str, memory_gib: float) -> "JoinSettings":
    from tubelet.corpus.join import JoinSettings

    return JoinSettings(columns=columns, stop_at_malformed=on_malformed == "stop", memory_gib=memory_gib)


def _print_rules(folder: Path) -> None:
    """Print what every rule did, as it is stored beside a manifest."""
    from tubelet.corpus.rules import RuleCount, rule_lines
    from tubelet.records import read_json

    rules = read_json(folder / "report.json")["rules"]
    known = ("rule", "unit", "before", "after", "first_dropped")
    print(*rule_lines(RuleCount(**{key: rule[key] for key in known if key in rule}) for rule in rules), sep="\n")
