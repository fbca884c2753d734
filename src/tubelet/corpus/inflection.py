"""Small rules of English inflection: what a person would write instead of a participle or a singular noun.

The Snowball stemmer gives keys for matching ("danc"), not words; hashtags are written in words ("dance"). A form that
is not a word does no harm here, since nobody tags a video with it.
"""

import re

VOWELS = "aeiou"
# Where spelling does not tell: what stands before -ing, and the verb.
ENDING_IN_E = ("change", "arrange", "exchange", "breathe", "bathe", "paste", "taste", "waste")
IRREGULAR_BASES = {verb[:-1]: verb for verb in ENDING_IN_E} | {"add": "add"}
IRREGULAR_PLURALS = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "knife": "knives",
    "leaf": "leaves",
    "loaf": "loaves",
    "shelf": "shelves",
    "wolf": "wolves",
    "fish": "fish",
    "sheep": "sheep",
}
SINGULARS = {plural: noun for noun, plural in IRREGULAR_PLURALS.items()}


def base_form(verb: str) -> str:
    """Return the infinitive of an -ing form ("dancing": "dance", "running": "run"); other words as they are."""
    stem = verb[:-3]
    if not verb.endswith("ing") or not re.search("[aeiouy]", stem) or len(stem) < 2:
        return verb  # "sing", "king"
    if stem in IRREGULAR_BASES:
        return IRREGULAR_BASES[stem]
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
    if re.fullmatch(r"([^aeiou]|qu)*[aeiou][^aeiouwxy]", verb):
        return verb + verb[-1] + "ing"
    return verb + "ing"


def plural(noun: str) -> str:
    """Return the plural of a singular noun ("candle": "candles", "box": "boxes"); a known plural as it is."""
    if noun in SINGULARS:
        return noun
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    return noun if singular(noun) != noun else _with_s(noun)


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
    if re.search(r"[^aeiou]ies$", noun) and len(noun) > 4:
        return noun[:-3] + "y"
    if re.search(r"(ss|x|z|ch|sh)es$", noun):
        return noun[:-2]
    if noun.endswith("s") and not noun.endswith(("ss", "us", "is")) and len(noun) > 3:
        return noun[:-1]
    return noun
