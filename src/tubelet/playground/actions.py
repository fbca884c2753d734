"""The vocabulary: what an actor can do, what it is called in each label space, and with which objects.

An activity carries the labels of the localisation set, so every video of every set can be annotated in it.
"""

from dataclasses import dataclass, field

POSE = ("stand", "walk", "sit", "run", "bend", "crouch", "dance", "lie", "jump", "get up", "crawl", "roll", "cartwheel")
PERSON_OBJECT = ("carry", "talk on phone", "touch", "drink", "read", "pick up", "throw", "sweep")
PERSON_PERSON = ("watch", "wave", "follow", "shake hands", "punch", "push", "hug", "kick")

LOCALISE_NAMES: tuple[str, ...] = POSE + PERSON_OBJECT + PERSON_PERSON
LOCALISE_GROUPS: tuple[str, ...] = (
    ("pose",) * len(POSE) + ("person-object",) * len(PERSON_OBJECT) + ("person-person",) * len(PERSON_PERSON)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """Something one actor does for a while."""

    lower: tuple[str, ...]
    """Motions for the whole body; with two, the first is the training take and the last the held-out one."""
    labels: tuple[str, ...]
    """Classes of the localisation set; the first is the pose."""
    upper: str | None = None
    """Motion for chest, neck and arms."""
    attach: str | None = None
    """How the object moves, a key of ``objects.ATTACHMENTS``."""
    nouns: tuple[str, ...] = ()
    """Objects it may be done with."""
    travels: bool = False
    """Moves along, so the actor needs somewhere to go."""
    seconds: tuple[float, float] = (2.2, 4.0)
    """Shortest and longest duration."""
    before: str | None = None
    """Motion that has to come first, for about a second (lying before getting up)."""
    speed: float = 1.0
    """Nominal speed-up of the motion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairActivity:
    """Something one actor does to, with or because of another."""

    first: Activity
    second: Activity
    reach: str | None = None
    """``palm`` or ``sole``: how far the one who hits gets decides the distance; None = ``distance``."""
    distance: tuple[float, float] = (1.5, 2.6)
    """Metres between the two, where ``reach`` does not decide."""
    flinches: bool = False
    """Who is hit reacts: the second actor, or the first where the second comes from behind."""
    follows: bool = False
    """The second goes behind the first; otherwise they face each other."""
    seconds: tuple[float, float] = (2.6, 4.2)


SOLO: dict[str, Activity] = {
    "stand": Activity(lower=("stand",), labels=("stand",)),
    "look around": Activity(lower=("look_around",), labels=("stand",)),
    "walk": Activity(lower=("walk",), labels=("walk",), travels=True),
    "run": Activity(lower=("run",), labels=("run",), travels=True, speed=0.7),
    "crawl": Activity(lower=("crawl",), labels=("crawl",), travels=True, speed=1.2),
    "sit": Activity(lower=("sit",), labels=("sit",), attach="seat", nouns=("chair",)),
    "bend": Activity(lower=("bend",), labels=("bend",)),
    "crouch": Activity(lower=("crouch", "kneel"), labels=("crouch",)),
    "lie": Activity(lower=("lie",), labels=("lie",)),
    "dance": Activity(lower=("dance_a", "dance_b"), labels=("dance",)),
    "jump": Activity(lower=("jump",), labels=("jump",), seconds=(1.7, 1.9)),
    "roll": Activity(lower=("roll",), labels=("roll",), seconds=(1.9, 2.1)),
    "cartwheel": Activity(lower=("cartwheel",), labels=("cartwheel",), seconds=(2.6, 2.8)),
    "backflip": Activity(lower=("backflip",), labels=("jump",), seconds=(1.7, 1.9)),
    "spin": Activity(lower=("spin",), labels=("dance",), seconds=(2.5, 4.4)),
    "get up": Activity(
        lower=("getup_faceup", "getup_facedown"), labels=("get up",), seconds=(2.6, 3.4), before="lie", speed=1.1
    ),
    "clap": Activity(lower=("stand",), upper="clap", labels=("stand",)),
    "wave alone": Activity(lower=("stand",), upper="wave", labels=("stand", "wave")),
    "punch the air": Activity(lower=("punch",), labels=("stand",), seconds=(1.9, 2.2)),
    "shadow box": Activity(lower=("punch_straight",), labels=("stand",)),
    "high kick": Activity(lower=("kick", "spinkick"), labels=("stand",), seconds=(1.4, 2.4)),
    "walk and phone": Activity(
        lower=("walk",), upper="phone", labels=("walk", "talk on phone"), attach="hand", nouns=("phone",), travels=True
    ),
    "sit and phone": Activity(
        lower=("sit",), upper="phone", labels=("sit", "talk on phone"), attach="hand", nouns=("phone",)
    ),
    "sit and read": Activity(lower=("sit",), upper="read", labels=("sit", "read"), attach="hands", nouns=("book",)),
    "sit and drink": Activity(lower=("sit",), upper="drink", labels=("sit", "drink"), attach="hand", nouns=("cup",)),
    "walk and wave": Activity(lower=("walk",), upper="wave", labels=("walk", "wave"), travels=True),
}
"""Activities that need no other person and name no object (a chair or phone may still be seen)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """A verb of posts and of the kitchen set, done with an object."""

    gerund: str
    activity: Activity
    third: str = field(default="")
    """Third person; empty = add s."""


def _verb(gerund: str, lower: str, labels: str, attach: str, nouns: tuple[str, ...], **extra: object) -> Verb:
    """Spell a verb compactly: labels separated by commas."""
    third = str(extra.pop("third", ""))
    activity = Activity(lower=(lower,), labels=tuple(labels.split(",")), attach=attach, nouns=nouns, **extra)  # type: ignore[arg-type]
    return Verb(gerund=gerund, activity=activity, third=third)


_FLOOR = ("box", "ball", "bag", "bottle", "book", "hat", "stick", "pillow", "suitcase", "chair")
_SMALL = ("ball", "book", "hat", "cup", "bottle", "plate", "bag", "pillow")

VERBS: dict[str, Verb] = {
    "throw": _verb("throwing", "throw", "stand,throw", "throw", (*_SMALL, "box", "stick")),
    "carry": _verb("carrying", "walk", "walk,carry", "hands", ("box", "ball", "bag", "chair", "pillow", "bowl", "plate",
        "crate"), upper="carry", travels=True, third="carries"),
    "kick": _verb("kicking", "kick_forward", "stand", "kick", ("ball", "box", "bottle", "bag", "pillow", "hat",
        "suitcase")),
    "push": _verb("pushing", "walk", "walk,touch", "push", ("trolley", "crate", "box", "chair", "suitcase", "table"),
        upper="push", travels=True, third="pushes", speed=0.75),
    "hold": _verb("holding", "stand", "stand,carry", "hands", ("box", "ball", "bag", "pillow", "chair", "guitar",
        "bowl"),
        upper="carry"),
    "lift": _verb("lifting", "lift", "stand,carry", "hands", ("dumbbell", "box", "ball", "chair", "suitcase",
        "crate", "bag")),
    "grab": _verb("grabbing", "pick_up", "bend,pick up", "pick", _FLOOR),
    "drop": _verb("dropping", "put_down", "bend,touch", "put", _FLOOR),
    "swing": _verb("swinging", "swing", "stand", "swing", ("bat", "racket", "stick", "umbrella", "guitar", "broom")),
    "catch": _verb("catching", "catch", "stand", "catch", ("ball", "hat", "bag", "book", "bottle", "pillow"),
        third="catches"),
    "read": _verb("reading", "stand", "stand,read", "hands", ("book", "paper", "phone"), upper="read"),
    "drink": _verb("drinking", "stand", "stand,drink", "hand", ("cup", "bottle", "bowl"), upper="drink"),
    "sweep": _verb("sweeping", "stand", "stand,sweep", "tool", ("broom", "stick", "racket"), upper="sweep"),
    "open": _verb("opening", "open", "stand,touch", "reach", ("door", "box", "bag", "suitcase", "book")),
    "pull": _verb("pulling", "walk", "walk,touch", "drag", ("suitcase", "trolley", "crate", "box", "chair", "rope"),
        upper="carry_one_arm", travels=True, speed=0.75),
    "wave": _verb("waving", "stand", "stand,wave", "hand", ("hat", "flower", "paper", "umbrella", "stick", "book"),
        upper="wave"),
    "sit": _verb("sitting", "sit", "sit", "seat", ("chair", "bench", "crate", "box", "suitcase", "big_ball")),
    "stir": _verb("stirring", "stand", "stand,touch", "table", ("bowl", "pan", "cup"), upper="stir"),
    "wash": _verb("washing", "stand", "stand,touch", "table", ("plate", "pan", "bowl", "cup", "bottle"),
        upper="wash", third="washes"),
    "cut": _verb("cutting", "stand", "stand,touch", "table", ("paper", "plate", "flower", "box", "hat"), upper="cut"),
    "jump": _verb("jumping", "jump", "jump", "front", ("box", "rope", "ball", "bag", "pillow", "stick"),
        seconds=(1.7, 1.9)),
    "climb": _verb("climbing", "climb", "stand,touch", "wall", ("ladder", "rope", "door")),
    "punch": _verb("punching", "punch_straight", "stand", "target", ("bag", "pillow", "big_ball", "box"),
        third="punches"),
    "hit": _verb("hitting", "hit", "stand,touch", "target", ("ball", "pillow", "box", "table", "big_ball")),
    "wear": _verb("wearing", "walk", "walk", "head", ("hat", "box", "bowl", "pan", "bag"), travels=True),
    "eat": _verb("eating", "stand", "stand,touch", "left_hand", ("plate", "bowl", "pan", "cup"), upper="eat"),
    "point": _verb("pointing", "point", "stand", "far", ("ball", "box", "chair", "door", "bag", "table")),
    "run": _verb("running", "run", "run,carry", "hands", ("ball", "bag", "box", "pillow", "racket"), upper="carry",
        travels=True, speed=0.7),
    "walk": _verb("walking", "walk", "walk,carry", "hand_up", ("umbrella", "flower", "stick", "broom"), upper="carry",
        travels=True),
    "touch": _verb("touching", "bend", "bend,touch", "front", _FLOOR, third="touches"),
    "call": _verb("calling", "stand", "stand,talk on phone", "hand", ("phone",), upper="phone"),
    "play": _verb("playing", "play_guitar", "stand,touch", "guitar", ("guitar",)),
    "write": _verb("writing", "write", "stand,touch", "wall", ("paper", "door")),
}  # fmt: skip
"""Verb (stem) -> how it is done, and the objects it is done with, likeliest first."""

_WATCH = Activity(lower=("stand",), labels=("stand", "watch"))
_WAVE = Activity(lower=("stand",), upper="wave", labels=("stand", "wave", "watch"))

PAIRS: dict[str, PairActivity] = {
    "watch": PairActivity(first=Activity(lower=("look_around",), labels=("stand",)), second=_WATCH),
    "wave": PairActivity(first=_WAVE, second=_WATCH),
    "greet": PairActivity(first=_WAVE, second=_WAVE),
    "show dance": PairActivity(
        first=Activity(lower=("dance_a", "dance_b"), labels=("dance",)),
        second=Activity(lower=("stand",), upper="clap", labels=("stand", "watch")),
        distance=(2.0, 2.8),
    ),
    "show cartwheel": PairActivity(
        first=Activity(lower=("cartwheel",), labels=("cartwheel",)), second=_WATCH, distance=(2.4, 3.0),
        seconds=(2.6, 2.7),
    ),
    "follow": PairActivity(
        first=Activity(lower=("walk",), labels=("walk",), travels=True),
        second=Activity(lower=("walk",), labels=("walk", "follow"), travels=True),
        follows=True, seconds=(3.0, 5.0),
    ),
    "chase": PairActivity(
        first=Activity(lower=("run",), labels=("run",), travels=True, speed=0.7),
        second=Activity(lower=("run",), labels=("run", "follow"), travels=True, speed=0.7),
        follows=True, seconds=(2.5, 4.0),
    ),
    "walk and punch": PairActivity(
        first=Activity(lower=("walk",), labels=("walk",), travels=True),
        second=Activity(lower=("walk",), upper="punch_straight", labels=("walk", "punch"), travels=True),
        follows=True, reach="palm", flinches=True, seconds=(2.6, 4.2),
    ),
    "shake hands": PairActivity(
        first=Activity(lower=("shake_hands",), labels=("stand", "shake hands")),
        second=Activity(lower=("shake_hands",), labels=("stand", "shake hands")),
        reach="handshake",
    ),
    "hug": PairActivity(
        first=Activity(lower=("hug",), labels=("stand", "hug")),
        second=Activity(lower=("hug",), labels=("stand", "hug")), distance=(0.34, 0.4),
    ),
    "punch": PairActivity(
        first=Activity(lower=("punch_straight",), labels=("stand", "punch")), second=_WATCH, reach="palm", flinches=True
    ),
    "kick": PairActivity(
        first=Activity(lower=("kick_forward",), labels=("stand", "kick")), second=_WATCH, reach="sole", flinches=True
    ),
    "push": PairActivity(
        first=Activity(lower=("push",), labels=("stand", "push")), second=_WATCH, reach="palm", flinches=True
    ),
}  # fmt: skip
"""What two people do with each other."""
