"""The word lists that come with Tubelet (``assets/words.json``; licences beside them) and spellings of one word."""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """English words by what they are."""

    imagenet_nouns: dict[str, tuple[str, ...]]
    """All lemmas of each of ImageNet-1K's 1,000 synsets, by its id (n01440764)."""
    verbnet_verbs: tuple[str, ...]
    """VerbNet 3.4; some of several words ("clean up")."""
    verbs: frozenset[str]
    """Infinitives of one word: VerbNet's and WordNet's."""
    participles: dict[str, str]
    """Irregular -ing forms: "abetting": "abet"."""
    plurals: dict[str, str]
    """Irregular plurals: "geese": "goose"."""


@lru_cache(maxsize=1)
def read_words() -> Words:
    """Read the lists, once."""
    lists = json.loads(files("tubelet.corpus").joinpath("assets/words.json").read_text(encoding="utf-8"))
    single = {verb for verb in lists["verbnet_verbs"] if " " not in verb}
    return Words(
        imagenet_nouns={synset: tuple(lemmas) for synset, lemmas in lists["imagenet_nouns"].items()},
        verbnet_verbs=tuple(lists["verbnet_verbs"]),
        verbs=frozenset(single | set(lists["other_verbs"])),
        participles=lists["participles"],
        plurals=lists["plurals"],
    )


_SAME_WORD = (
    "aeroplane airplane", "aluminium aluminum", "armour armor", "barbecue barbeque bbq", "cancelling canceling",
    "catalogue catalog", "centre center", "chequer checker", "colour color", "cosy cozy", "counselling counseling",
    "cypher cipher", "defence defense", "dialogue dialog", "disc disk", "doughnut donut", "draught draft",
    "favourite favorite", "fibre fiber", "flavour flavor", "fuelling fueling", "grey gray", "harbour harbor",
    "honour honor", "jewellery jewelry", "ketchup catsup", "kerb curb", "labour labor", "licence license",
    "litre liter", "manoeuvre maneuver", "mould mold", "moustache mustache", "neighbour neighbor",
    "omelette omelet", "paediatric pediatric", "plough plow", "practise practice", "programme program",
    "pyjamas pajamas", "rumour rumor", "saviour savior", "sceptic skeptic", "shovelling shoveling",
    "signalling signaling", "snorkelling snorkeling", "snowplough snowplow", "sulphur sulfur", "teeshirt tshirt",
    "theatre theater", "towelling toweling", "travelling traveling", "tumour tumor", "tyre tire", "vapour vapor",
    "whisky whiskey", "woollen woolen", "yoghurt yogurt",
)  # fmt: skip
SAME_WORD = tuple(tuple(line.split()) for line in _SAME_WORD)
"""Spellings of one word, British and American above all."""


ENDINGS = frozenset(["", "s", "es", "d", "ed", "ing", "er", "ers", "ful", "hood"])
"""What may follow: "disco" is no "disc"."""


@lru_cache(maxsize=65536)
def spellings(word: str) -> frozenset[str]:
    """Return the word and its other spellings: "colouring" and "coloring", "organise" and "organize".

    A spelling that nobody uses (of "exercise" with a z) does no harm: nobody tags a video with it.
    """
    found = {word}
    for group in SAME_WORD:
        for spelling in group:
            if word.startswith(spelling) and word[len(spelling) :] in ENDINGS:
                found |= {other + word[len(spelling) :] for other in group}
    for british, american in (("is", "iz"), ("ys", "yz")):
        for one, other in ((british, american), (american, british)):
            match = re.fullmatch(rf"(\w{{4,}}){one}(e|es|ed|ing|er|ers|ation)", word)
            if match:
                found.add(match[1] + other + match[2])
    return frozenset(found)
