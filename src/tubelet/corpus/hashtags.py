"""From labels to hashtags and from what people type to comparable tags (paper B, 3.1 and A.1)."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from typing import Any

import snowballstemmer

from tubelet.corpus.inflection import base_form, ing_form, plural, singular, third_person
from tubelet.types import InputError

# Words that people leave out of a hashtag: "catching a fish" is tagged catchfish. Not at the end of a label, where
# they belong to the verb: "getting up" is not "getting".
FUNCTION_WORDS = frozenset([
    "a", "an", "the", "his", "her", "its", "their", "your", "my", "of", "in", "on", "at", "to", "into", "onto",
    "with", "without", "for", "from", "by", "and", "as", "up", "down", "over", "under", "through", "off", "out",
    "around", "across", "along",
])  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Expansion:
    """The hashtags of one seed label."""

    seed_label: str
    hashtags: tuple[str, ...]
    """Sorted, unique, as ``normalise_tag`` spells them."""
    num_orders_left_out: int
    """Variants too long to permute: they are kept in the given order of words only."""


def expand_label(seed_label: str, *, max_words: int = 5) -> Expansion:
    """Return the hashtags of a seed label: "catching a fish" gives catchingafish, catchfish, fishcatching, ...

    Every word in its original and stemmed form, joined in every order, with function words kept and dropped (paper B,
    3.1). Beyond the paper, because people write words and not stems: the infinitive of an -ing form, of the first word
    also the third person (catchesfish), and of the last one singular and plural.

    Args:
        seed_label: A phrase. Parts in parentheses are left out; words joined by "/" or "or" are alternatives.
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
        forms[0] |= {third_person(base_form(word)) for word in variant[0] if base_form(word) != word}
        forms[-1] |= {form for word in variant[-1] for form in _numbers(word)}
        hashtags |= set(_joined([sorted(slot) for slot in forms], permute=len(variant) <= max_words))
    usable = {tag for hashtag in hashtags if (tag := normalise_tag(hashtag)) is not None}
    return Expansion(seed_label=seed_label, hashtags=tuple(sorted(usable)), num_orders_left_out=left_out)


def verb_noun_hashtags(verb: str, noun: str) -> list[str]:
    """Return the hashtags of a verb and a noun, both in canonical and inflected form, in both orders (paper B, A.1).

    ("burning", "candle") gives burncandle, burncandles, burningcandle, burningcandles, candleburn, candlesburn,
    candleburning, candlesburning. Of several words the first of the verb and the last of the noun are inflected.
    """
    verbs, nouns = _plain_words(verb), _plain_words(noun)
    if not verbs or not nouns:
        raise InputError(f"verb {verb!r} and noun {noun!r}: each needs at least one word")
    verb_rest, noun_rest = "".join(verbs[1:]), "".join(nouns[:-1])
    base, one = base_form(verbs[0]), singular(nouns[-1])
    verb_spellings = {form + verb_rest for form in (verbs[0], base, ing_form(base))}
    noun_spellings = {noun_rest + form for form in (nouns[-1], one, plural(one))}
    pairs = product(verb_spellings, noun_spellings)
    return sorted({spelling for v, n in pairs for spelling in (v + n, n + v)})


def word_forms(word: str) -> set[str]:
    """Return a word, its Snowball stem, and the infinitive if it is an -ing form; function words only as they are."""
    if word in FUNCTION_WORDS:
        return {word}
    return {word, _stem(word), base_form(word)}


def _numbers(word: str) -> set[str]:
    """Return singular and plural of a word that may be a noun, so neither of a function word nor of an -ing form."""
    if word in FUNCTION_WORDS or base_form(word) != word:
        return set()
    return {singular(word), plural(word)}


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
    text = _folded(label)
    text = re.sub(r"\([^()]*\)|\[[^\[\]]*\]", " ", text)
    text = re.sub(r"\s+or\s+", "/", text)
    text = re.sub(r"\s*/\s*", "/", text)
    slots = []
    for token in text.split():
        alternatives = tuple(dict.fromkeys(word for part in token.split("/") if (word := _letters(part))))
        if alternatives:
            slots.append(alternatives)
    return slots


def _plain_words(text: str) -> list[str]:
    """Return the words of a phrase without alternatives."""
    return [slot[0] for slot in _words(text)]


def normalise_tag(raw: str) -> str | None:
    """Return a tag as it is compared, or None if it is no tag.

    NFKC (full-width letters and #), case folded, without #, emoji, punctuation and underscores. A tag without a single
    letter ("2019", "!!!") is none.
    """
    tag = _letters(_folded(raw))
    return tag if any(unicodedata.category(c).startswith("L") for c in tag) else None


def _folded(text: str) -> str:
    """Return the text in NFKC without case; twice, since folding a letter can leave a form NFKC would change."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _letters(text: str) -> str:
    """Keep letters, digits and the marks that belong to letters; a mark after anything else (an emoji) goes too."""
    kept: list[str] = []
    before_is_kept = False
    for c in text:
        kind = unicodedata.category(c)[0]
        before_is_kept = kind in "LN" or (kind == "M" and before_is_kept and not 0xFE00 <= ord(c) <= 0xFE0F)
        if before_is_kept:
            kept.append(c)
    return "".join(kept)


def tags_from_text(caption: str) -> list[str]:
    """Return the raw hashtags of a caption, in order, without #, as platforms parse them.

    A hashtag starts at a # that does not follow a letter, digit, & or / (so neither "C#", "&#39;" nor a link's "/#top"
    starts one; "#a#b" is two) and goes on over letters, digits, marks and underscores. Tags without a letter are left
    out.
    """
    text = unicodedata.normalize("NFKC", caption)
    tags: list[str] = []
    place, end_of_last = 0, -1
    while (place := text.find("#", place)) != -1:
        before = text[place - 1] if place else " "
        start = place + 1
        end = start
        while end < len(text) and (text[end] == "_" or unicodedata.category(text[end])[0] in "LNM"):
            end += 1
        if place == end_of_last or not (before.isalnum() or before in "&/_"):
            tag = text[start:end]
            if normalise_tag(tag) is not None:
                tags.append(tag)
            end_of_last = end
        place = max(end, start)
    return tags
