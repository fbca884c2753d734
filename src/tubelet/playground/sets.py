"""The playground's data sets: label spaces, how often each class occurs, and how many videos of which length.

Thousands of frames per size (``tiny`` to ``study`` counted in ``playground.json``, ``full`` planned). Localisation
videos are about 320 x 240, all others about 112 x 112:

=====  ========  ========  =======  =========  =======  =====  ====  ==================
size   localise  kinetics  moments  direction  kitchen  posts  all   CPU seconds
=====  ========  ========  =======  =========  =======  =====  ====  ==================
tiny        1.1       2.0      1.2        0.7      1.0    2.0     8    26
small      10.6      23.6     16.5        4.7      5.6   27.5    88    200
study      27.0      66.1     47.6        5.5      5.6   52.9   205    395
full        156       202      138         40       50   1300  1900  about 3800
=====  ========  ========  =======  =========  =======  =====  ====  ==================

CPU seconds are divided by the cores; they include encoding, and compiling and importing once per worker. On two
cores of an AMD EPYC ``small`` took 109 s and ``study`` 187 s.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tubelet.playground.actions import PAIRS, SOLO, VERBS

Choice = tuple[str, str, tuple[str, ...]]
"""(``solo`` | ``verb`` | ``pair``, key of that table, objects it is restricted to; none = all it may have)."""


def _solo(*keys: str) -> tuple[Choice, ...]:
    return tuple(("solo", key, ()) for key in keys)


def _verb(key: str, *nouns: str) -> Choice:
    return ("verb", key, nouns)


def _pair(*keys: str) -> tuple[Choice, ...]:
    return tuple(("pair", key, ()) for key in keys)


KINETICS: dict[str, tuple[Choice, ...]] = {
    "backflip": _solo("backflip"),
    "carrying box": (_verb("carry", "box", "crate"),),
    "cartwheeling": _solo("cartwheel"),
    "catching ball": (_verb("catch", "ball"),),
    "clapping": _solo("clap"),
    "crawling on floor": _solo("crawl"),
    "dancing": _solo("dance"),
    "drinking": (_verb("drink", "cup", "bottle"), *_solo("sit and drink")),
    "getting up": _solo("get up"),
    "hugging": _pair("hug"),
    "high kick": _solo("high kick"),
    "jogging": _solo("run"),
    "kickboxing": _pair("kick"),
    "kicking ball": (_verb("kick", "ball"),),
    "playing guitar": (_verb("play"),),
    "punching bag": (_verb("punch", "bag"),),
    "pushing cart": (_verb("push", "trolley"),),
    "reading book": (_verb("read", "book"), *_solo("sit and read")),
    "shaking hands": _pair("shake hands"),
    "shoving person": _pair("push"),
    "slapping": _pair("punch"),
    "somersaulting": _solo("roll"),
    "spinning": _solo("spin"),
    "sweeping floor": (_verb("sweep", "broom"),),
    "talking on phone": (_verb("call"), *_solo("walk and phone", "sit and phone")),
    "throwing ball": (_verb("throw", "ball"),),
    "tailing someone": _pair("follow"),
    "waving hand": (*_solo("wave alone"), *_pair("wave")),
}
"""Near in domain to the localisation set: one person or a pair does one thing."""

MOMENTS: dict[str, tuple[Choice, ...]] = {
    "bending": (*_solo("bend"), _verb("touch")),
    "boxing": (*_solo("shadow box", "punch the air"), *_pair("punch")),
    "calling": (_verb("call"), *_solo("walk and phone")),
    "chasing": _pair("chase"),
    "crawling": _solo("crawl"),
    "dropping": (_verb("drop"),),
    "embracing": _pair("hug"),
    "flipping": _solo("cartwheel", "backflip"),
    "greeting": _pair("shake hands", "greet"),
    "grabbing": (_verb("grab"),),
    "jumping": (*_solo("jump"), _verb("jump")),
    "kicking": (_verb("kick"), *_pair("kick"), *_solo("high kick")),
    "opening": (_verb("open"),),
    "pushing": (_verb("push"), *_pair("push")),
    "rising": _solo("get up"),
    "rolling": _solo("roll"),
    "sitting": (*_solo("sit"), _verb("sit")),
    "sweeping": (_verb("sweep"),),
    "throwing": (_verb("throw"),),
    "walking": (*_solo("walk"), _verb("carry")),
}
"""Short clips of single verbs, each done in several ways."""

_SIDEWAYS: dict[str, Choice] = {
    "walking": _solo("walk")[0],
    "running": _solo("run")[0],
    "crawling": _solo("crawl")[0],
    "pushing something": _verb("push"),
    "pulling something": _verb("pull"),
    "carrying something": _verb("carry"),
    "throwing something": _verb("throw", "ball", "hat", "box", "pillow", "bag"),
    "kicking something": _verb("kick", "ball", "box", "pillow", "bag"),
}
SIDES = ("from left to right", "from right to left")
DIRECTION: dict[str, tuple[Choice, ...]] = {
    **{f"{what} {side}": (choice,) for what, choice in _SIDEWAYS.items() for side in SIDES},
    "picking something up": (_verb("grab"),),
    "putting something down": (_verb("drop"),),
}
"""The appearance never decides; which way it goes does."""

KITCHEN_VERBS: dict[str, str] = {
    "stir": "stir", "wash": "wash", "cut": "cut", "open": "open", "drink": "drink from", "eat": "eat from",
    "grab": "take", "drop": "put", "hold": "hold", "carry": "carry", "sweep": "sweep with",
}  # fmt: skip
"""Verb of ``actions.VERBS`` -> what the kitchen set calls it."""
_KITCHEN_NOUNS: dict[str, tuple[str, ...]] = {
    **{verb: VERBS[verb].activity.nouns for verb in ("stir", "wash", "drink", "eat")},
    "cut": ("paper", "plate", "flower"), "open": ("box", "bag", "door"), "grab": ("bottle", "box", "bag", "ball"),
    "drop": ("bottle", "box", "bag", "book"), "hold": ("bowl", "box"), "carry": ("plate", "bowl", "box"),
    "sweep": ("broom",),
}  # fmt: skip
KITCHEN: dict[str, tuple[Choice, ...]] = {
    f"{name} {noun}": (_verb(verb, noun),) for verb, name in KITCHEN_VERBS.items() for noun in _KITCHEN_NOUNS[verb]
}
"""Actions are a verb and a noun."""

LOCALISE_SOLO: dict[Choice, float] = {
    **{("solo", key, ()): weight for key, weight in {
        "stand": 10, "walk": 11, "sit": 6, "look around": 3, "walk and phone": 2.2, "sit and phone": 1.8, "bend": 2.4,
        "crouch": 2.2, "run": 2.2, "sit and read": 1.1, "dance": 1.3, "sit and drink": 0.9, "lie": 1.1, "get up": 0.6,
        "jump": 0.9, "walk and wave": 0.5, "crawl": 0.7, "roll": 0.7, "cartwheel": 0.6,
    }.items()},
    **{("verb", key, ()): weight for key, weight in {
        "carry": 4.0, "hold": 2.0, "push": 1.2, "wash": 1.0, "open": 0.8, "drink": 0.8, "read": 0.6, "grab": 0.9,
        "throw": 0.9, "sweep": 0.7,
    }.items()},
}  # fmt: skip
"""What single actors of the localisation set do, and how often: long-tailed, as life is."""

LOCALISE_PAIR: dict[Choice, float] = {
    ("pair", key, ()): weight for key, weight in {
        "watch": 5.0, "wave": 2.0, "greet": 0.6, "follow": 3.0, "chase": 0.5, "shake hands": 1.2, "show dance": 0.9,
        "show cartwheel": 0.2, "punch": 0.55, "push": 0.45, "hug": 0.4, "kick": 0.5,
        "walk and punch": 0.3,
    }.items()
}  # fmt: skip
"""What pairs do."""


def held_out_classes() -> tuple[str, ...]:
    """Return the classes of the localisation set whose motion has a take that training never shows, sorted."""
    acts = [SOLO[key] for kind, key, _ in LOCALISE_SOLO if kind == "solo"]
    acts += [act for _, key, _ in LOCALISE_PAIR for act in (PAIRS[key].first, PAIRS[key].second)]
    return tuple(sorted({act.labels[0] for act in acts if len(act.lower) > 1}))


@dataclass(frozen=True, kw_only=True, slots=True)
class SetSize:
    """How much of one set there is."""

    clips: Mapping[str, int]
    """Videos per split."""
    seconds: tuple[float, float]
    """Shortest and longest video."""


def _size(train: int, val: int, test: int, seconds: tuple[float, float]) -> SetSize:
    return SetSize(clips={"train": train, "val": val, "test": test}, seconds=seconds)


def _kitchen(train: int, val: int, test: int, seconds: tuple[float, float]) -> SetSize:
    clips = {"train": train, "val": val, "test_seen": test, "test_unseen": test}
    return SetSize(clips=clips, seconds=seconds)


def _posts(number: int, longest: float) -> SetSize:
    return SetSize(clips={"train": number}, seconds=(1.0, longest))


SIZES: dict[str, dict[str, SetSize]] = {
    "tiny": {
        "localise": _size(10, 4, 6, (3.5, 4.5)),
        "kinetics": _size(56, 10, 28, (1.5, 2.0)),
        "moments": _size(40, 10, 20, (1.2, 1.6)),
        "direction": _size(18, 6, 18, (1.2, 1.6)),
        "kitchen": _kitchen(30, 8, 8, (1.2, 1.6)),
        "posts": _posts(70, 5.0),
    },
    "small": {
        "localise": _size(60, 12, 24, (8.0, 10.0)),
        "kinetics": _size(784, 56, 112, (1.6, 2.4)),
        "moments": _size(600, 60, 100, (1.5, 2.0)),
        "direction": _size(144, 18, 54, (1.5, 2.0)),
        "kitchen": _kitchen(150, 25, 40, (1.5, 2.0)),
        "posts": _posts(800, 8.0),
    },
    "study": {
        "localise": _size(80, 40, 80, (10.0, 12.0)),
        "kinetics": _size(2240, 140, 280, (1.6, 2.4)),
        "moments": _size(1800, 140, 240, (1.5, 2.0)),
        "direction": _size(144, 36, 72, (1.5, 2.0)),
        "kitchen": _kitchen(150, 25, 40, (1.5, 2.0)),
        "posts": _posts(6000, 6.0),
    },
    "full": {
        "localise": _size(700, 120, 240, (10.0, 15.0)),
        "kinetics": _size(4200, 560, 1120, (2.0, 3.5)),
        "moments": _size(4000, 500, 1000, (1.5, 2.5)),
        "direction": _size(1080, 180, 360, (1.5, 2.5)),
        "kitchen": _kitchen(1200, 200, 300, (1.5, 2.5)),
        "posts": _posts(10_000, 60.0),
    },
}
"""Posts last 1-60 s. In the smaller sizes all but one in fifty end earlier, so that rendering keeps its budget."""

CLIP_SETS: dict[str, dict[str, tuple[Choice, ...]]] = {
    "kinetics": KINETICS,
    "moments": MOMENTS,
    "direction": DIRECTION,
    "kitchen": KITCHEN,
}
"""Classification sets: class -> ways to do it."""
