"""English inflection: what a person would write instead of a participle or a singular noun.

The Snowball stemmer gives keys for matching ("danc"), not words; hashtags are written in words ("dance"). WordNet's
verbs and its lists of irregular forms decide where they know the word, rules of spelling where they do not; a form that
is not a word does no harm, since nobody tags a video with it.
"""

import re
from functools import lru_cache

from tubelet.corpus.words import read_words

VOWELS = "aeiou"
IRREGULAR_PLURALS = {"person": "people", "fish": "fish", "sheep": "sheep", "aircraft": "aircraft", "bison": "bison"}
"""Where WordNet's list has none, or another sense's."""
SINGULARS = {plural: noun for noun, plural in IRREGULAR_PLURALS.items()}
PARTICIPLES = {"bathing": "bathe"}
"""Where two verbs have the same -ing form: the one that people film."""
NOT_PARTICIPLES = frozenset(["during", "evening", "morning", "nothing", "something", "anything", "everything"])


@lru_cache(maxsize=65536)
def base_form(verb: str) -> str:
    """Return the infinitive of an -ing form ("dancing": "dance", "running": "run"); other words as they are."""
    stem = verb[:-3]
    if not verb.endswith("ing") or not re.search("[aeiouy]", stem) or len(stem) < 2 or verb in NOT_PARTICIPLES:
        return verb  # "sing", "king"
    if verb in PARTICIPLES:
        return PARTICIPLES[verb]
    words, by_rule = read_words(), _base_by_rule(stem)
    if by_rule not in words.verbs and verb in words.participles:
        return words.participles[verb]
    doubled = stem[-1] == stem[-2] and stem[-1] not in VOWELS
    known = [form for form in (by_rule, stem + "e", stem, *([stem[:-1]] if doubled else [])) if form in words.verbs]
    return known[0] if known else by_rule


def _base_by_rule(stem: str) -> str:
    """Return the infinitive as the spelling of what stands before -ing tells it."""
    if re.fullmatch(r"[a-z]y", stem):
        return stem[0] + "ie"  # "tying", "lying"
    if stem[-1] == stem[-2] and stem[-1] not in VOWELS + "lszf":
        return stem[:-1]  # "running", but not "falling", "passing"
    return stem + "e" if _lost_its_e(stem) else stem


def _lost_its_e(stem: str) -> bool:
    """Say whether the infinitive ends in e: otherwise English would have spelt the -ing form differently."""
    if re.search(r"([cvu]|[^z]z|[aeiou]g|[dlr]g|[^aeioulrwy]l|[^s]s)$", stem):
        return not stem.endswith(
            ("ous", "ocus")
        )  # "dancing", "judging", "massaging", "juggling", "rinsing"; not "focusing"
    if re.search(r"[^aeiou]at$", stem):
        return True  # "celebrating", but not "eating"
    # One short syllable ending in a single consonant would have been doubled: "riding" is not from "rid".
    return re.fullmatch(r"([^aeiouy]|qu)*[aeiouy][^aeiouywx]", stem) is not None


def ing_form(verb: str) -> str:
    """Return the -ing form of an infinitive ("dance": "dancing", "run": "running"); an -ing form as it is."""
    if verb.endswith("ing") and base_form(verb) != verb:
        return verb
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    if verb.endswith("ic"):
        return verb + "king"
    if verb in _doubled() or re.fullmatch(r"([^aeiou]|qu)*[aeiou][^aeiouwxy]", verb):
        return verb + verb[-1] + "ing"
    return verb + "ing"


@lru_cache(maxsize=1)
def _doubled() -> frozenset[str]:
    """Return the verbs of which WordNet knows a participle with the last letter twice: "admit", "begin"."""
    pairs = read_words().participles.items()
    return frozenset(verb for participle, verb in pairs if participle == f"{verb}{verb[-1]}ing")


def plural(noun: str) -> str:
    """Return the plural of a singular noun ("candle": "candles", "box": "boxes"); a known plural as it is."""
    if noun in SINGULARS:
        return noun
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if singular(noun) != noun:
        return noun
    return _plurals().get(noun, _with_s(noun))


@lru_cache(maxsize=1)
def _plurals() -> dict[str, str]:
    """Return irregular plurals by their singular; of several (cherubim, cherubs) the first in the alphabet."""
    return {noun: many for many, noun in sorted(read_words().plurals.items(), reverse=True)}


def numbers(noun: str) -> frozenset[str]:
    """Return singular and plural of a noun, an irregular plural (octopi) also as people write it (octopuses)."""
    one = singular(noun)
    regular = {_with_s(one)} if plural(one) not in SINGULARS else set()
    return frozenset({one, plural(one)} | regular)


def third_person(verb: str) -> str:
    """Return what he or she does, of an infinitive ("carry": "carries", "catch": "catches", "go": "goes")."""
    return verb + "es" if re.search(r"[^aeiou]o$", verb) else _with_s(verb)


def _with_s(word: str) -> str:
    if re.search(r"(s|x|z|ch|sh)$", word):
        return word + "es"
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + "s"


def singular(noun: str) -> str:
    """Return the singular of a plural noun ("candles": "candle"); a singular as it is."""
    if noun in SINGULARS:
        return SINGULARS[noun]
    words = read_words()
    if noun in words.plurals and noun not in words.verbs:  # "dive" is no plural of "diva"
        return words.plurals[noun]
    if re.search(r"[^aeiou]ies$", noun) and len(noun) > 4:
        return noun[:-3] + "y"
    if re.search(r"(ss|x|z|ch|sh)es$", noun):
        return noun[:-2]
    if noun.endswith("s") and not noun.endswith(("ss", "us", "is")) and len(noun) > 3:
        return noun[:-1]
    return noun
