"""Who does what when: turns activities into performances with labels and objects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from tubelet.playground import choreography, motions, objects, skeleton
from tubelet.playground.actions import Activity, PairActivity
from tubelet.playground.choreography import Aim, Performance, Step, Style
from tubelet.playground.scene import Actor, Prop

_WALK_SPEED = 1.0
"""Metres per second of a body of unit size at speed 1; only used to time an approach."""
_BEHIND_SECONDS = 0.7
"""A follower walks to where the leader was this long ago."""
_BENT_SHARE = 0.78
"""Somebody bends while the head is below this share of the body's height; upright it is at about 0.93."""
_PROP_COLOURS = ((196, 60, 48), (52, 104, 186), (58, 146, 82), (226, 178, 52), (120, 78, 152), (230, 120, 40),
                 (70, 160, 170), (210, 205, 195))  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Cast:
    """One actor, before anything happens."""

    body: int
    outfit_seed: int
    style: Style
    held_out: bool
    """Uses the held-out take where a motion has two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One activity of one actor."""

    activity: Activity
    num_frames: int
    noun: str | None = None
    start_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Labels of the localisation set that hold from frame ``first`` to ``last`` - 1."""

    first: int
    last: int
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """One actor's part in a scene, finished."""

    actor: Actor
    performance: Performance
    spans: tuple[Span, ...]
    props: tuple[Prop, ...]


def take(activity: Activity, *, held_out: bool) -> str:
    """Return which take of an activity's motion a split uses."""
    return activity.lower[-1] if held_out else activity.lower[0]


def _steps(turns: Sequence[Turn], cast: Cast, aim: Aim | None, fps: float) -> tuple[list[Step], list[Turn]]:
    """Return the steps, and the turns that match them one to one (what comes before a turn becomes one of its own)."""
    steps, matching = [], []
    for turn in turns:
        activity, frames = turn.activity, turn.num_frames
        if activity.before is not None and frames > 2 * fps:
            lying = Turn(
                activity=Activity(lower=(activity.before,), labels=(activity.before,)), num_frames=round(0.8 * fps)
            )
            steps.append(Step(lower=activity.before, num_frames=lying.num_frames))
            matching.append(lying)
            frames -= lying.num_frames
        matching.append(replace(turn, num_frames=frames))
        steps.append(replace(_step(matching[-1], cast), aim=aim))
    return steps, matching


def solo_role(
    turns: Sequence[Turn],
    *,
    cast: Cast,
    start: tuple[float, float],
    heading: float,
    fps: float,
    rng: np.random.Generator,
    aim: Aim | None = None,
) -> Role:
    """Let one actor do one thing after the other.

    Args:
        turns: What to do.
        cast: Who.
        start: Metres.
        heading: Radians from +x.
        fps: Frames per second.
        rng: Decides colours of objects.
        aim: Where travelling turns go; None = straight on. Other turns keep their heading.
    """
    steps, turns = _steps(turns, cast, aim, fps)
    steps = [s if t.activity.travels else replace(s, aim=None) for s, t in zip(steps, turns, strict=True)]
    part = choreography.perform(steps, body=cast.body, start=start, heading=heading, fps=fps, style=cast.style)
    return _finish(cast, part, turns, fps=fps, rng=rng)


def _finish(cast: Cast, part: Performance, turns: Sequence[Turn], *, fps: float, rng: np.random.Generator) -> Role:
    """Add labels and objects to a performance."""
    marks = skeleton.landmark_positions(part.track, cast.body)
    spans: list[Span] = []
    at = 0
    for turn in turns:
        last = at + turn.num_frames
        active = _active(turn, cast, marks[at:last, skeleton.HEAD, 2], fps)
        # Between two bends one stands, still at it; between two jumps one only stands.
        idle = ("stand", *turn.activity.labels[1:]) if turn.activity.labels[0] == "bend" else ("stand",)
        spans += split_spans(active, turn.activity.labels, idle, at)
        at = last
    props = _props(cast, part, marks, turns, fps=fps, rng=rng)
    actor = Actor(body=cast.body, outfit_seed=cast.outfit_seed, track=part.track)
    return Role(actor=actor, performance=part, spans=tuple(spans), props=tuple(props))


def _active(turn: Turn, cast: Cast, head_heights: np.ndarray, fps: float) -> np.ndarray:
    """Return in which frames (m,) of a turn its pose really holds."""
    if turn.activity.labels[0] == "bend":
        return np.asarray(head_heights < _BENT_SHARE * skeleton.body_height(cast.body))
    once = motions.once_seconds(take(turn.activity, held_out=cast.held_out))
    if once is None or turn.activity.upper is not None:
        return np.ones(turn.num_frames, dtype=bool)
    clock = turn.start_seconds + np.arange(turn.num_frames) * (turn.activity.speed * cast.style.speed / fps)
    return np.asarray(np.mod(clock, once[1]) < once[0])


def split_spans(active: np.ndarray, labels: tuple[str, ...], idle: tuple[str, ...], at: int) -> list[Span]:
    """Return spans from frame ``at`` on that carry ``labels`` while active (m,) and ``idle`` between."""
    edges = [0, *(int(k) + 1 for k in np.flatnonzero(active[1:] != active[:-1])), len(active)]
    return [Span(first=at + a, last=at + b, labels=labels if active[a] else idle) for a, b in pairwise(edges)]


def _props(
    cast: Cast,
    part: Performance,
    marks: np.ndarray,
    turns: Sequence[Turn],
    *,
    fps: float,
    rng: np.random.Generator,
) -> list[Prop]:
    """Return every object an actor uses, each as long as the scene."""
    found: list[Prop] = []
    at = 0
    for turn in turns:
        span = slice(at, at + turn.num_frames)
        at += turn.num_frames
        wanted = [(turn.activity.attach, turn.noun)] if turn.activity.attach and turn.noun else []
        if turn.activity.lower[0] == "sit" and turn.activity.attach != "seat":
            wanted.append(("seat", "chair"))
        if not wanted:
            continue
        grip = _grip(cast, part, marks, span, turn, fps)
        for attach, noun in wanted:
            colour = _PROP_COLOURS[int(rng.integers(len(_PROP_COLOURS)))]
            for placed in objects.ATTACHMENTS[str(attach)](grip, str(noun)):
                found.append(_extend(placed, span, len(part.xy), colour))
    return found


def _grip(cast: Cast, part: Performance, marks: np.ndarray, span: slice, turn: Turn, fps: float) -> objects.Grip:
    order = [1, 0] if cast.style.mirrored else [0, 1]
    rate = turn.activity.speed * cast.style.speed / fps
    return objects.Grip(
        xy=part.xy[span],
        heading=part.heading[span],
        palms=marks[span][:, [skeleton.RIGHT_PALM, skeleton.LEFT_PALM]][:, order],
        soles=marks[span][:, [skeleton.RIGHT_SOLE, skeleton.LEFT_SOLE]][:, order],
        head=marks[span][:, skeleton.HEAD],
        clock=turn.start_seconds + np.arange(turn.num_frames) * rate,
        scale=part.scale,
    )


def _extend(placed: objects.Placed, span: slice, num_frames: int, colour: tuple[int, int, int]) -> Prop:
    """Make an object as long as the scene: where it was left if it stays, away otherwise."""
    position = np.tile(objects.AWAY, (num_frames, 1))
    yaw = np.zeros(num_frames)
    if placed.stays:
        position[: span.start], position[span.stop :] = placed.position[0], placed.position[-1]
        yaw[: span.start], yaw[span.stop :] = placed.yaw[0], placed.yaw[-1]
    position[span], yaw[span] = placed.position, placed.yaw
    return Prop(
        kind=placed.kind,
        colour=colour,
        position=position.astype(np.float32),
        yaw=yaw.astype(np.float32),
        size=float(placed.size),
    )


def pair_distance(pair: PairActivity, casts: Sequence[Cast], *, fps: float, rng: np.random.Generator) -> float:
    """Return how far apart two actors stand, from what the first can reach where that matters."""
    drawn = float(rng.uniform(*pair.distance))
    if pair.reach is None:
        return 1.1 if pair.follows else drawn
    first, second = casts

    def reach(cast: Cast, activity: Activity, part: str) -> float:
        lower = take(activity, held_out=cast.held_out)
        return choreography.reach(lower, activity.upper, part=part, body=cast.body, fps=fps, style=cast.style)

    if pair.reach == "handshake":
        return 0.97 * (reach(first, pair.first, "palm") + reach(second, pair.second, "palm"))
    hitter, activity = (second, pair.second) if pair.follows else (first, pair.first)
    return reach(hitter, activity, pair.reach) + 0.06


def pair_roles(
    scenes: Sequence[tuple[PairActivity, int]],
    *,
    casts: tuple[Cast, Cast],
    centre: tuple[float, float],
    axis: float,
    fps: float,
    rng: np.random.Generator,
    aim: Aim | None = None,
) -> tuple[Role, Role]:
    """Let two actors do one thing after the other with each other.

    Between activities the first actor walks up to the second where they have to be nearer. An activity in which they
    travel must be the last; those before it should come from far to near.

    Args:
        scenes: (activity, frames).
        casts: Who acts and who reacts.
        centre: Metres, half-way between them at first.
        axis: Radians, direction from the first to the second.
        fps: Frames per second.
        rng: Draws distances and colours.
        aim: Where travelling leads; None = straight on.
    """
    unit = np.array([np.cos(axis), np.sin(axis)])
    gaps = [pair_distance(p, casts, fps=fps, rng=rng) for p, _ in scenes]
    leads = scenes[0][0].follows
    if leads:  # nobody catches up at the same pace, so they start as near as they will have to be
        gaps[0] = min(gaps)
    second_at = np.array(centre) + unit * gaps[0] / 2 * (-1 if leads else 1)
    first_at = second_at + unit * gaps[0] * (1 if leads else -1)
    plan = _pair_turns(scenes, gaps, casts[0], fps)
    steps = []
    for gap, turn, _, follows in plan:
        x, y = second_at - unit * (gap or 0.0)
        spot = None if gap is None or follows else (float(x), float(y))
        target = aim if follows else choreography.towards(second_at)
        steps.append(replace(_step(turn, casts[0]), aim=target, glide_to=spot))
    one = choreography.perform(
        steps, body=casts[0].body, start=(float(first_at[0]), float(first_at[1])), heading=axis, fps=fps,
        style=casts[0].style,
    )  # fmt: skip
    two = choreography.perform(
        _second_steps(plan, one, casts, fps), body=casts[1].body, start=(float(second_at[0]), float(second_at[1])),
        heading=axis if leads else axis + np.pi, fps=fps, style=casts[1].style,
    )  # fmt: skip
    one, two = _react(scenes, plan, (one, two), casts, fps)
    parts = zip(casts, (one, two), ([row[1] for row in plan], [row[2] for row in plan]), strict=True)
    first, second = (_finish(cast, part, turns, fps=fps, rng=rng) for cast, part, turns in parts)
    return first, second


def _step(turn: Turn, cast: Cast) -> Step:
    return Step(
        lower=take(turn.activity, held_out=cast.held_out),
        upper=turn.activity.upper,
        num_frames=turn.num_frames,
        speed=turn.activity.speed,
        start_seconds=turn.start_seconds,
    )


def _second_steps(plan: Sequence["_Row"], one: Performance, casts: tuple[Cast, Cast], fps: float) -> list[Step]:
    """Return the second actor's steps: facing the first, or after her at her pace, whatever the legs."""
    pace = casts[0].style.speed * skeleton.body_scale(casts[0].body)
    pace /= casts[1].style.speed * skeleton.body_scale(casts[1].body)
    steps = []
    for _, _, turn, follows in plan:
        step = _step(turn, casts[1])
        aim = choreography.along(one.xy, delay=round(_BEHIND_SECONDS * fps) if follows else 0)
        steps.append(replace(step, aim=aim, speed=step.speed * (pace if follows else 1.0)))
    return steps


_Row = tuple[float | None, Turn, Turn, bool]
"""(distance to keep, first actor's turn, second's turn, they travel)."""


def _pair_turns(
    scenes: Sequence[tuple[PairActivity, int]], gaps: Sequence[float], first: Cast, fps: float
) -> list[_Row]:
    """Return the turns of both, with an approach before every activity that needs them nearer by half a metre."""
    walk = Activity(lower=("walk",), labels=("walk",), travels=True)
    wait = Activity(lower=("stand",), labels=("stand", "watch"))
    speed = _WALK_SPEED * first.style.speed * skeleton.body_scale(first.body)
    rows: list[_Row] = []
    now = gaps[0]
    for (pair, frames), gap in zip(scenes, gaps, strict=True):
        nearer = now - gap
        if nearer > 0.5 and not pair.follows:
            count = min(round((nearer - 0.1) / speed * fps), frames - round(1.2 * fps))
            if count > 2:
                rows.append((None, Turn(activity=walk, num_frames=count), Turn(activity=wait, num_frames=count), False))
                frames -= count
        acts, reacts = (Turn(activity=a, num_frames=frames) for a in (pair.first, pair.second))
        rows.append((gap, acts, reacts, pair.follows))
        now = gap
    return rows


def _react(
    scenes: Sequence[tuple[PairActivity, int]],
    plan: Sequence[_Row],
    parts: tuple[Performance, Performance],
    casts: tuple[Cast, Cast],
    fps: float,
) -> tuple[Performance, Performance]:
    """Let an actor flinch where the other one's hits land: thrown back from the front, forward from behind."""
    flinching = {id(p.first): p for p, _ in scenes if p.flinches}
    hits: tuple[list[int], list[int]] = ([], [])
    at = 0
    for _, turn, _, _ in plan:
        pair = flinching.get(id(turn.activity))
        if pair is not None and pair.reach is not None:
            hitter, victim = (1, 0) if pair.follows else (0, 1)
            span = slice(at, at + turn.num_frames)
            marks = choreography.contact_points(parts[hitter].track, casts[hitter].body, pair.reach)[span]
            gap = np.linalg.norm(marks[..., :2] - parts[victim].xy[span][:, None], axis=2).min(axis=1)
            hits[victim].extend(at + k for k in choreography.impacts(gap, fps=fps))
        at += turn.num_frames
    one, two = (
        choreography.flinch(part, frames, fps=fps, strength=strength) if frames else part
        for part, frames, strength in zip(parts, hits, (-0.7, 1.0), strict=True)
    )
    return one, two
