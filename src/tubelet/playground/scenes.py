"""Composes the scenes of each set: who is in them, where they stand, what they do when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tubelet.playground import choreography
from tubelet.playground.actions import PAIRS, SOLO, VERBS, Activity, PairActivity
from tubelet.playground.scene import Place, Scene
from tubelet.playground.script import Role, Turn, pair_roles, solo_role
from tubelet.playground.sets import Choice
from tubelet.playground.world import Framing, World, compose, draw_casts, draw_place

_TRAVEL_SPEED = {"walk": 0.95, "run": 3.2, "crawl": 0.27}
"""Metres a second of a grown body at speed 1, to keep a crossing in view."""
_BLOCKING = ("wall", "reach", "table", "target")
"""Attachments that put something large in front of the actor, who is then filmed from the side."""
_PATTERNS = (("pair",), ("pair", "solo"), ("solo", "solo"), ("solo", "solo", "solo"), ("pair", "pair"))
_PATTERN_SHARES = (0.28, 0.36, 0.16, 0.08, 0.12)


@dataclass(frozen=True, kw_only=True, slots=True)
class Staged:
    """A scene with what happens in it."""

    scene: Scene
    roles: tuple[Role, ...]


def deck(
    weights: Mapping[Choice, float], number: int, *, flatten: float, rng: np.random.Generator, least: int = 1
) -> list[Choice]:
    """Deal choices so that each comes as often as its weight says, in random order.

    Args:
        weights: How often, relative to each other.
        number: Cards; at least as many as there are choices.
        flatten: Power of the weights; 1 keeps the long tail, 0 makes all equal.
        rng: Shuffles.
        least: How often the rarest comes at least.
    """
    choices = list(weights)
    share = np.array([weights[c] for c in choices]) ** flatten
    wanted = share / share.sum() * max(number, len(choices))
    counts = np.maximum(least, np.floor(wanted)).astype(int)
    for k in np.argsort(-(wanted - np.floor(wanted)), kind="stable"):
        if counts.sum() >= number:
            break
        counts[k] += 1
    cards = [c for c, count in zip(choices, counts, strict=True) for _ in range(count)]
    return [cards[k] for k in rng.permutation(len(cards))]


def activity_of(choice: Choice) -> Activity:
    """Return the activity of a choice that one actor does alone."""
    kind, key, _ = choice
    return SOLO[key] if kind == "solo" else VERBS[key].activity


def _turn(choice: Choice, num_frames: int, rng: np.random.Generator, *, late: bool = False) -> Turn:
    """Return a turn with an object drawn; ``late`` starts anywhere in a motion that has no beginning."""
    activity = activity_of(choice)
    nouns = choice[2] or activity.nouns
    # The first objects of a verb are the likeliest.
    noun = nouns[min(int(rng.exponential(1.6)), len(nouns) - 1)] if nouns else None
    start = float(rng.uniform(0, 1.2)) if late and activity.travels else 0.0
    return Turn(activity=activity, num_frames=num_frames, noun=noun, start_seconds=start)


def _fill(choices: Sequence[Choice], num_frames: int, fps: float, rng: np.random.Generator) -> list[tuple[Choice, int]]:
    """Take choices until a video is full, stretched or squeezed to fit exactly."""
    taken: list[Choice] = []
    frames: list[int] = []
    for choice in choices:
        low, high = PAIRS[choice[1]].seconds if choice[0] == "pair" else activity_of(choice).seconds
        taken.append(choice)
        frames.append(round(float(rng.uniform(low, high)) * fps))
        if sum(frames) >= num_frames - fps:
            break
    ends = np.round(np.cumsum(frames) / sum(frames) * num_frames).astype(int)
    lengths = np.diff(ends, prepend=0)
    return [(c, int(n)) for c, n in zip(taken, lengths, strict=True) if n > 0]


def _solo_in_area(
    choices: Sequence[Choice], area: tuple[float, float, float, float], *, num_frames: int, fps: float, world: World,
    rng: np.random.Generator, away_from: float | None,
) -> Role:  # fmt: skip
    """Let somebody do several things in a part of the stage."""
    (cast,) = draw_casts(world, 1, rng)
    turns = [_turn(c, n, rng, late=True) for c, n in _fill(choices, num_frames, fps, rng)]
    start = (float(rng.uniform(area[0], area[2])), float(rng.uniform(area[1], area[3])))
    # Nobody who stands alone should happen to face the others: that would be watching them.
    heading = float(rng.uniform(-np.pi, 0.15)) if away_from is None else away_from + float(rng.uniform(-1.2, 1.2))
    return solo_role(
        turns, cast=cast, start=start, heading=heading, fps=fps, rng=rng, aim=choreography.wander(area, rng)
    )


def _order(filled: Sequence[tuple[Choice, int]]) -> list[tuple[Choice, int]]:
    """Order a pair's activities from far to near; what travels comes last, once.

    A show moves the first actor about, so nothing near can follow it: it is the last thing before they walk off, and
    the near ones are left out.
    """

    def pair(entry: tuple[Choice, int]) -> PairActivity:
        return PAIRS[entry[0][1]]

    def distance(entry: tuple[Choice, int]) -> float:
        return pair(entry).distance[0] if pair(entry).reach is None else 0.9

    shows = [e for e in filled if e[0][1].startswith("show")][:1]
    walks = [e for e in filled if pair(e).follows][:1]
    if walks and pair(walks[0]).reach is not None:
        return walks  # who is to be hit on the walk must not have got far away before
    still = [e for e in filled if not pair(e).follows and not e[0][1].startswith("show")]
    if shows:
        still = [e for e in still if distance(e) > 1.0]
    return sorted(still, key=lambda e: -distance(e)) + shows + walks


def _pair_in_area(
    choices: Sequence[Choice], area: tuple[float, float, float, float], *, num_frames: int, fps: float, world: World,
    rng: np.random.Generator,
) -> tuple[Role, Role]:  # fmt: skip
    """Let two people do several things with each other in a part of the stage."""
    first, second = draw_casts(world, 2, rng)
    entries = _order(_fill(choices, num_frames, fps, rng))
    if entries[0][0][1].startswith("show"):
        entries.insert(0, (("pair", "watch", ()), 0))  # nobody shows off for the whole video
    elif entries[0][0][1] == "walk and punch":
        entries.insert(0, (("pair", "follow", ()), 0))  # nor is anybody hit for the whole of it
    scenes = [(PAIRS[c[1]], n) for c, n in entries]
    scenes[0] = (scenes[0][0], scenes[0][1] + num_frames - sum(n for _, n in scenes))
    scenes = [(pair, n) for pair, n in scenes if n > 0]
    centre = ((area[0] + area[2]) / 2, float(rng.uniform(area[1] + 0.4, area[3] - 0.2)))
    axis = float(rng.uniform(-0.6, 0.6)) + (np.pi if rng.random() < 0.5 else 0.0)
    return pair_roles(
        scenes, casts=(first, second), centre=centre, axis=axis, fps=fps, rng=rng, aim=choreography.wander(area, rng)
    )


def stage_localise(
    solo_cards: Sequence[Choice], pair_cards: Sequence[Choice], *, num_frames: int, fps: float, size: tuple[int, int],
    world: World, rng: np.random.Generator,
) -> Staged:  # fmt: skip
    """Compose a scene of the localisation set: one to three groups side by side.

    Args:
        solo_cards: What single actors may do; dealt from the front.
        pair_cards: What pairs may do.
        num_frames: Length.
        fps: Frames per second.
        size: Width and height in pixels.
        world: The split's part of the world.
        rng: The only source of randomness.
    """
    pattern = _PATTERNS[int(rng.choice(len(_PATTERNS), p=_PATTERN_SHARES))]
    extent = 3.3 + 0.8 * (len(pattern) - 1) + 0.3 * pattern.count("pair")
    half = extent / 2 - 0.45
    edges = np.linspace(-half, half, len(pattern) + 1)
    roles: list[Role] = []
    solo_at = pair_at = 0
    for k, kind in enumerate(pattern):
        low = float(rng.uniform(-0.9, -0.2))
        gap = 0.12 if len(pattern) > 1 else 0.0
        area = (float(edges[k]) + gap, low, float(edges[k + 1]) - gap, low + 1.9)
        if kind == "pair":
            cards = pair_cards[pair_at : pair_at + 3]
            roles += _pair_in_area(cards, area, num_frames=num_frames, fps=fps, world=world, rng=rng)
            pair_at += 3
        else:
            centre = (edges[k] + edges[k + 1]) / 2
            away = None if len(pattern) == 1 else (np.pi if centre < -0.1 else 0.0 if centre > 0.1 else -np.pi / 2)
            cards = solo_cards[solo_at : solo_at + 6]
            roles.append(
                _solo_in_area(cards, area, num_frames=num_frames, fps=fps, world=world, rng=rng, away_from=away)
            )
            solo_at += 6
    framing = Framing(width=size[0], height=size[1], fps=fps, extent=extent, follow=0.0, pan=0.3)
    scene = compose(roles, world=world, framing=framing, place=draw_place(world, rng), rng=rng)
    return Staged(scene=scene, roles=tuple(roles))


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """How a clip of one action is set up."""

    num_frames: int
    fps: float
    size: tuple[int, int]
    side: str | None = None
    """A member of ``sets.SIDES``: which way it goes on the screen."""
    active: tuple[int, int] | None = None
    """Frames in which the action happens; the actor idles before and after."""
    bystander: float = 0.0
    """Chance that somebody else stands by."""
    place: Place | None = None


def stage_clip(choice: Choice, shot: Shot, *, world: World, rng: np.random.Generator) -> Staged:
    """Compose a clip in which one actor or pair does one thing.

    Args:
        choice: What.
        shot: Length, size and so on.
        world: The split's part of the world.
        rng: The only source of randomness.
    """
    blocks = choice[0] != "pair" and activity_of(choice).attach in _BLOCKING
    heading = _heading(shot.side, rng, sideways=blocks)
    roles = _pair_clip(choice, shot, heading, world, rng) if choice[0] == "pair" else [
        _solo_clip(choice, shot, heading, world, rng)]  # fmt: skip
    if choice[0] != "pair" and rng.random() < shot.bystander:
        roles.append(_bystander(shot, world, rng))
    leads = roles[:2] if choice[0] == "pair" else roles[:1]
    travels = PAIRS[choice[1]].follows if choice[0] == "pair" else activity_of(choice).travels
    follow = float(rng.uniform(0.7, 1.0)) if travels and shot.side is None else float(rng.uniform(0.0, 0.5))
    follow = follow if travels else 0.0
    extent = float(rng.uniform(2.5, 3.1)) + (0.5 if len(roles) > 1 or travels else 0.0)
    extent = max(extent * shot.size[0] / shot.size[1] * 0.75, _spread(leads, follow) + 1.1)
    framing = Framing(
        width=shot.size[0], height=shot.size[1], fps=shot.fps, extent=extent, follow=follow,
        pan=0.0 if shot.side else 0.25, level=shot.side is not None,
    )  # fmt: skip
    place = shot.place or draw_place(world, rng)
    staged = compose(roles, world=world, framing=framing, place=place, rng=rng, leads=leads)
    return Staged(scene=staged, roles=tuple(roles))


def _spread(roles: Sequence[Role], follow: float) -> float:
    """Return how many metres of the width the actors need: how far apart they get, and how far the camera lets them go.

    A long way is not shown whole: who walks out of the picture has been seen long enough.
    """
    paths = np.stack([role.performance.xy for role in roles])
    apart = float(np.abs(paths[0] - paths[-1]).max(axis=0)[0])
    way = float(np.ptp(paths.mean(axis=0)[:, 0])) * (1 - follow)
    return apart + min(way, 2.4)


def _heading(side: str | None, rng: np.random.Generator, *, sideways: bool) -> float:
    """Return where an actor faces, or the way a pair's axis points."""
    if side is None and not sideways:
        # Mostly seen from the side or the front; from behind little can be told.
        return float(rng.uniform(-np.pi - 0.6, 0.6))
    left = rng.random() < 0.5 if side is None else side.endswith("left")
    return float(rng.uniform(-0.3, 0.3)) + (np.pi if left else 0.0)


def _crossing(activity: Activity, shot: Shot, heading: float) -> tuple[float, float]:
    """Return where to start so that the way leads through the middle."""
    speed = _TRAVEL_SPEED.get(activity.lower[0], 0.0) * activity.speed
    back = 0.5 * speed * shot.num_frames / shot.fps if activity.travels else 0.0
    back = min(back, 3.0)
    return (-back * float(np.cos(heading)), -back * float(np.sin(heading)))


def _solo_clip(choice: Choice, shot: Shot, heading: float, world: World, rng: np.random.Generator) -> Role:
    (cast,) = draw_casts(world, 1, rng)
    first, last = shot.active or (0, shot.num_frames)
    turn = _turn(choice, last - first, rng, late=shot.active is None)
    idle = Activity(lower=("stand",), labels=("stand",))
    turns = [Turn(activity=idle, num_frames=first)] if first else []
    turns.append(turn)
    if last < shot.num_frames:
        turns.append(Turn(activity=idle, num_frames=shot.num_frames - last))
    aim = choreography.wander((-1.6, -1.0, 1.6, 1.2), rng, leg=1.5) if (last - first) / shot.fps > 4 else None
    start = (0.0, 0.0) if aim else _crossing(turn.activity, shot, heading)
    return solo_role(turns, cast=cast, start=start, heading=heading, fps=shot.fps, rng=rng, aim=aim)


def _pair_clip(choice: Choice, shot: Shot, heading: float, world: World, rng: np.random.Generator) -> list[Role]:
    first, second = draw_casts(world, 2, rng)
    pair = PAIRS[choice[1]]
    if not pair.follows:
        heading = float(rng.uniform(-0.7, 0.7)) + (np.pi if rng.random() < 0.5 else 0.0)
    begin, end = shot.active or (0, shot.num_frames)
    scenes = [(pair, end - begin)]
    watch = PAIRS["watch"]
    if begin and not pair.follows:
        scenes.insert(0, (watch, begin))
    scenes[-1] = (pair, shot.num_frames - (begin if begin and not pair.follows else 0))
    aim = choreography.wander((-1.8, -1.0, 1.8, 1.2), rng, leg=1.8) if shot.num_frames / shot.fps > 4 else None
    centre = (0.0, 0.0) if aim or not pair.follows else _crossing(pair.first, shot, heading)
    return list(pair_roles(scenes, casts=(first, second), centre=centre, axis=heading, fps=shot.fps, rng=rng, aim=aim))


def _bystander(shot: Shot, world: World, rng: np.random.Generator) -> Role:
    (cast,) = draw_casts(world, 1, rng)
    side = -1.0 if rng.random() < 0.5 else 1.0
    turn = Turn(activity=Activity(lower=("stand",), labels=("stand",)), num_frames=shot.num_frames)
    return solo_role(
        [turn], cast=cast, start=(side * float(rng.uniform(0.9, 1.3)), float(rng.uniform(0.6, 1.6))),
        heading=float(rng.uniform(-2.4, -0.7)), fps=shot.fps, rng=rng,
    )  # fmt: skip
