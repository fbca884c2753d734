"""Where a label space starts (paper B, 3.1): lists that come with Tubelet, published label spaces, anybody's own."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from tubelet.corpus.hashtags import (
    Hashtags,
    VerbNouns,
    canonical_noun,
    canonical_verb,
    expand_labels,
    hashtags_of,
    noun_forms,
    verb_forms,
)
from tubelet.corpus.inflection import base_form, third_person
from tubelet.corpus.match import HashtagCounts
from tubelet.corpus.tags import folded, normalise_tag
from tubelet.corpus.words import read_words, spellings
from tubelet.data.manifest import read_manifest
from tubelet.data.sources.annotation_files import PACKAGED, packaged_label_space, read_classes
from tubelet.labels import LabelSpace
from tubelet.records import whole_file
from tubelet.types import InputError, did_you_mean

CSV_COLUMNS = ("label", "hashtag")


def read_seeds(seeds: str, *, nouns: str = "") -> Hashtags | VerbNouns:
    """Return the hashtags of the label space that a user names.

    Args:
        seeds: One of ``LISTS``; a published label space (``kinetics400``); or a file: text with a phrase a line, a csv
            with the columns label and hashtag (as ``tubelet corpus labels --out`` writes it, for pruning), a label
            space's JSON, or a manifest's folder.
        nouns: A list of nouns, named in the same way: the labels are the pairs of ``seeds``, as verbs, with them.

    Raises:
        InputError: No such list or file, or a label without a word.
    """
    if nouns:
        return verb_noun_pairs(_label_names(seeds), _label_names(nouns), name="verb-nouns")
    if seeds in LISTS:
        return LISTS[seeds]()
    path = Path(seeds)
    if seeds not in PACKAGED and not path.exists():
        known = (*LISTS, *PACKAGED)
        raise InputError(f"{seeds}: no such file, nor a list{did_you_mean(seeds, known)}; lists: {', '.join(known)}")
    if path.suffix == ".csv":
        return read_hashtags(path, name=path.stem)
    space = read_manifest(path).label_space if path.is_dir() else read_classes(seeds)
    return expand_labels(space)


def _label_names(seeds: str) -> tuple[str, ...]:
    found = read_seeds(seeds)
    if isinstance(found, VerbNouns):
        raise InputError(f"{seeds}: pairs already, expected verbs or nouns")
    return found.label_space.names


def read_hashtags(path: Path, *, name: str) -> Hashtags:
    """Read the hashtags of each label from a csv; labels come in the order of their first line.

    Raises:
        InputError: A column is missing, a row has no label, or a hashtag has no letter.
    """
    tags: dict[str, list[str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for column in CSV_COLUMNS:
                if column not in (reader.fieldnames or ()):
                    raise InputError(f"{path}: no column {column!r}, expected {', '.join(CSV_COLUMNS)}")
            for row in reader:
                label, tag = (row["label"] or "").strip(), normalise_tag(row["hashtag"] or "")
                if not label or tag is None:
                    raise InputError(f"{path}, line {reader.line_num}: expected a label and a hashtag with a letter")
                tags.setdefault(label, []).append(tag)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as csv ({error})") from error
    if not tags:
        raise InputError(f"{path}: no rows, expected a label and a hashtag in each")
    return hashtags_of(LabelSpace(name=name, names=tuple(tags)), list(tags.values()))


def write_hashtags(path: Path, table: pa.Table) -> None:
    """Write ``HashtagCounts.table`` so that a person can delete rows and ``read_hashtags`` reads the rest."""
    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*CSV_COLUMNS, "posts"])
        writer.writerows(zip(*(table.column(name).to_pylist() for name in (*CSV_COLUMNS, "posts"))))


def hashtag_lines(counts: HashtagCounts, *, label: str = "", top: int = 20) -> list[str]:
    """Return the labels that most posts use, or all hashtags of one label, as lines.

    Args:
        counts: Of ``count_hashtags``.
        label: Show this one.
        top: How many labels otherwise.

    Raises:
        InputError: No label is called so.
    """
    table = counts.table
    found: dict[str, list[tuple[str, int]]] = {}
    for name, tag, posts in zip(*(table.column(name).to_pylist() for name in (*CSV_COLUMNS, "posts"))):
        found.setdefault(name, []).append((tag, posts))
    if label:
        if label not in found:
            raise InputError(f"no label {label!r}{did_you_mean(label, list(found))}")
        return [f"{posts:>12,}  #{tag}" for tag, posts in found[label]]
    order = sorted(found, key=lambda name: -counts.label_posts.get(name, 0))
    lines = [f"{'posts':>12}  label: posts of each hashtag"]
    for name in order[:top]:
        used = [(tag, posts) for tag, posts in found[name] if posts]
        some = " ".join(f"#{tag} {posts:,}" for tag, posts in used[:8])
        more = f" and {len(used) - 8} more" if len(used) > 8 else ""
        unused = len(found[name]) - len(used)
        lines.append(f"{counts.label_posts.get(name, 0):>12,}  {name}: {some}{more} ({unused} not used)")
    return lines + ([f"... and {len(order) - top} more labels"] if len(order) > top else [])


def kinetics_verbs() -> list[str]:
    """Return the verbs of Kinetics-400's labels in canonical form: of each label the words that are -ing forms."""
    words = [word for name in packaged_label_space("kinetics400").names for word in folded(name).split()]
    known = read_words().verbs
    return sorted({base for word in words if (base := base_form(word)) != word and base in known})


def verb_hashtags(verbs: Sequence[str] = ()) -> Hashtags:
    """Return one label for each verb, with its forms and spellings as hashtags (IG-Verb).

    Args:
        verbs: Any verbs; none = Kinetics' and VerbNet's. Paper B found 438 of these with enough videos.
    """
    chosen = verbs or (*kinetics_verbs(), *read_words().verbnet_verbs)
    labels = sorted({canonical_verb(verb) for verb in chosen})
    tags = []
    for label in labels:
        first, *rest = label.split()
        forms = {*verb_forms(label), third_person(first) + "".join(rest)}
        tags.append({spelling for form in forms for spelling in spellings(form)})
    return hashtags_of(LabelSpace(name="verbs", names=tuple(labels)), tags)


def noun_hashtags() -> Hashtags:
    """Return one label for each *hashtag* that names an ImageNet-1K synset, all lemmas of it (IG-Noun, 3.1.1).

    Several labels may mean one synset (great white shark, man-eater), and one may mean several (crane). Singular and
    plural are one label, spelled as the lemma; paper B found 1,428 with enough videos.
    """
    lemmas = {lemma for some in read_words().imagenet_nouns.values() for lemma in some}
    forms: dict[str, set[str]] = {}
    for lemma in sorted(lemmas):
        label = normalise_tag(lemma) or lemma
        forms.setdefault(label, set()).update(s for form in noun_forms(lemma) for s in spellings(form))
    return hashtags_of(LabelSpace(name="nouns", names=tuple(forms)), list(forms.values()))


def verb_noun_pairs(verbs: Sequence[str] = (), nouns: Sequence[str] = (), *, name: str = "verb-nouns") -> VerbNouns:
    """Return every verb with every noun; which pairs are labels the posts decide (IG-Verb+Noun, A.1).

    Args:
        verbs: Any verbs; none = Kinetics' and VerbNet's.
        nouns: Any nouns; none = the lemmas of ImageNet-1K's synsets.
        name: Of the label space.
    """
    chosen_verbs = verbs or (*kinetics_verbs(), *read_words().verbnet_verbs)
    chosen_nouns = nouns or sorted({lemma for some in read_words().imagenet_nouns.values() for lemma in some})
    by_verb: dict[str, set[str]] = {}
    for verb in chosen_verbs:
        for form in verb_forms(verb):
            by_verb.setdefault(form, set()).add(canonical_verb(verb))
    by_noun: dict[str, set[str]] = {}
    for noun in chosen_nouns:
        for form in noun_forms(noun):
            by_noun.setdefault(form, set()).add(canonical_noun(noun))
    return VerbNouns(
        name=name,
        verbs={form: frozenset(some) for form, some in by_verb.items()},
        nouns={form: frozenset(some) for form, some in by_noun.items()},
    )


LISTS: Mapping[str, Callable[[], Hashtags | VerbNouns]] = {
    "verbs": verb_hashtags,
    "nouns": noun_hashtags,
    "verb-nouns": verb_noun_pairs,
}
"""Verbs of Kinetics and VerbNet, nouns of ImageNet-1K, and every verb with every noun."""
