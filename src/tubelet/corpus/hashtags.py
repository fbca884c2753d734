"""From labels to the hashtags that mean them (paper B, 3.1 and A.1)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from typing import Any

import pyarrow as pa
import snowballstemmer

from tubelet.corpus.inflection import base_form, ing_form, numbers, singular, third_person
from tubelet.corpus.tags import folded, letters, normalise_tag
from tubelet.corpus.words import read_words, spellings
from tubelet.labels import LabelSpace
from tubelet.types import InputError

# Words that people leave out of a hashtag: "catching a fish" is tagged catchfish. Not at the end of a label, where
# they belong to the verb: "getting up" is not "getting".
FUNCTION_WORDS = frozenset([
    "a", "an", "the", "his", "her", "its", "their", "your", "my", "of", "in", "on", "at", "to", "into", "onto",
    "with", "without", "for", "from", "by", "and", "as", "up", "down", "over", "under", "through", "off", "out",
    "around", "across", "along",
])  # fmt: skip
HASHTAGS_SCHEMA = pa.schema([("tag", pa.string()), ("label", pa.int32())])


@dataclass(frozen=True, kw_only=True, slots=True)
class Expansion:
    """The hashtags of one seed label."""

    hashtags: tuple[str, ...]
    """Sorted, unique, as ``normalise_tag`` spells them."""
    num_orders_left_out: int
    """Variants too long to permute: they are kept in the given order of words only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hashtags:
    """A label space and the hashtags that mean each of its labels."""

    label_space: LabelSpace
    table: pa.Table
    """Columns as in ``HASHTAGS_SCHEMA``; a tag may stand for several labels."""
    num_orders_left_out: int = 0
    """Label variants too long to permute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerbNouns:
    """Every verb with every noun: labels are the pairs that posts use, which only the posts can tell (paper B, A.1)."""

    name: str
    verbs: Mapping[str, frozenset[str]]
    """Forms of a verb in a hashtag (burning) and the canonical verbs they may belong to (burn)."""
    nouns: Mapping[str, frozenset[str]]
    """The same of nouns."""

    def pairs(self, tag: str) -> list[tuple[str, str]]:
        """Return the canonical (verb, noun) pairs that a tag may mean, in both orders: "burningcandles", "candleburn".

        Args:
            tag: As ``normalise_tag`` spells it.
        """
        found = set()
        for k in range(1, len(tag)):
            first, last = tag[:k], tag[k:]
            for verb, noun in ((first, last), (last, first)):
                if verb in self.verbs and noun in self.nouns:
                    found |= set(product(self.verbs[verb], self.nouns[noun]))
        return sorted(found)


def expand_label(seed_label: str, *, max_words: int = 5) -> Expansion:
    """Return the hashtags of a seed label: "catching a fish" gives catchingafish, catchfish, fishcatching, ...

    Every word in its original and stemmed form, joined in every order, with function words kept and dropped (paper B,
    3.1). Beyond the paper, because people write words and not stems: the infinitive of an -ing form; of the first word,
    where it may be a verb, also -ing form and third person (catchesfish); of the last one singular and plural; and
    other spellings of a word (colour, color). A compound with a hyphen is one word, as it is in a hashtag: push-ups is
    pushups and pushup.

    Args:
        seed_label: A phrase, also in snake_case or CamelCase. Parts in parentheses are left out; words joined by "/" or
            "or" are alternatives.
        max_words: Phrases of more words keep their order.

    Raises:
        InputError: The label has no letter.
    """
    slots = _words(seed_label)
    if not any(any(c.isalpha() for c in word) for slot in slots for word in slot):
        raise InputError(f"seed label {seed_label!r} has no word to make a hashtag of")
    content = [slot for slot in slots[:-1] if not FUNCTION_WORDS.issuperset(slot)] + slots[-1:]
    hashtags: set[str] = set()
    left_out = 0
    for variant in {tuple(slots), tuple(content)}:
        left_out += len(variant) > max_words
        forms = [{form for word in slot for form in word_forms(word)} for slot in variant]
        forms[0] |= {form for word in variant[0] for form in _verbs(word)}
        forms[-1] |= {form for word in variant[-1] for form in _numbers(word)}
        spelled = [sorted({other for form in slot for other in spellings(form)}) for slot in forms]
        hashtags |= set(_joined(spelled, permute=len(variant) <= max_words))
    usable = {tag for hashtag in hashtags if (tag := normalise_tag(hashtag)) is not None}
    return Expansion(hashtags=tuple(sorted(usable)), num_orders_left_out=left_out)


def expand_labels(label_space: LabelSpace) -> Hashtags:
    """Return the hashtags of every label of a space, as ``expand_label`` gives them."""
    expansions = [expand_label(name) for name in label_space.names]
    return hashtags_of(
        label_space,
        [expansion.hashtags for expansion in expansions],
        num_orders_left_out=sum(expansion.num_orders_left_out for expansion in expansions),
    )


def hashtags_of(label_space: LabelSpace, tags: Sequence[Iterable[str]], *, num_orders_left_out: int = 0) -> Hashtags:
    """Return the hashtags of a label space from those of each label, without repeats, sorted."""
    rows = [(tag, label) for label, some in enumerate(tags) for tag in sorted(set(some))]
    columns = [[tag for tag, _ in rows], [label for _, label in rows]]
    table = pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, HASHTAGS_SCHEMA)], schema=HASHTAGS_SCHEMA
    )
    return Hashtags(label_space=label_space, table=table, num_orders_left_out=num_orders_left_out)


def verb_forms(verb: str) -> frozenset[str]:
    """Return a verb as it is given, its infinitive and -ing form: "burning" gives burning, burn. Words are joined."""
    words = _plain_words(verb)
    rest, base = "".join(words[1:]), base_form(words[0])
    return frozenset(form + rest for form in (words[0], base, ing_form(base)))


def noun_forms(noun: str) -> frozenset[str]:
    """Return a noun as it is given, its singular and plural: "candle" gives candle, candles. Words are joined."""
    words = _plain_words(noun)
    return frozenset("".join(words[:-1]) + form for form in {words[-1], *numbers(words[-1])})


def canonical_verb(verb: str) -> str:
    """Return the infinitive of a verb, of several words of the first: "cleaning up" gives "clean up"."""
    words = _plain_words(verb)
    return " ".join((base_form(words[0]), *words[1:]))


def canonical_noun(noun: str) -> str:
    """Return the singular of a noun, of several words of the last: "rain boots" gives "rain boot"."""
    words = _plain_words(noun)
    return " ".join((*words[:-1], singular(words[-1])))


def word_forms(word: str) -> set[str]:
    """Return a word, its Snowball stem, and the infinitive if it is an -ing form; function words only as they are."""
    if word in FUNCTION_WORDS:
        return {word}
    return {word, _stem(word), base_form(word)}


def _verbs(word: str) -> frozenset[str]:
    """Return infinitive, third person and -ing form of a word that may be a verb."""
    base = base_form(word)
    if word in FUNCTION_WORDS or (base == word and word not in read_words().verbs):
        return frozenset()
    return frozenset((base, third_person(base), word if base != word else ing_form(base)))


def _numbers(word: str) -> frozenset[str]:
    """Return singular and plural of a word that may be a noun, so neither of a function word nor of an -ing form."""
    return frozenset() if word in FUNCTION_WORDS or base_form(word) != word else numbers(word)


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))


def _joined(forms: Sequence[Sequence[str]], *, permute: bool) -> Iterable[str]:
    orders = permutations(forms) if permute else [tuple(forms)]
    for order in orders:
        for words in product(*order):
            yield "".join(words)


def _words(label: str) -> list[tuple[str, ...]]:
    """Return the slots of a label, each with its alternatives: "playing squash or racquetball (indoors)" has two."""
    if not re.search(r"\s", label):
        label = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)  # "ApplyEyeMakeup"
    text = re.sub("[_:]", " ", folded(label))  # snake_case; "board:chopping" in EPIC-Kitchens
    text = re.sub(r"\([^()]*\)|\[[^\[\]]*\]", " ", text)
    text = re.sub(r"\s+or\s+", "/", text)
    text = re.sub(r"\s*/\s*", "/", text)
    text = re.sub(r"\s*&\s*", " and ", text)
    slots = []
    for token in text.split():
        alternatives = tuple(dict.fromkeys(word for part in token.split("/") if (word := letters(part))))
        if alternatives:
            slots.append(alternatives)
    return slots


def _plain_words(text: str) -> list[str]:
    """Return the words of a phrase without alternatives.

    Raises:
        InputError: There is none.
    """
    words = [slot[0] for slot in _words(text)]
    if not words:
        raise InputError(f"{text!r} has no word to make a hashtag of")
    return words
