"""Choose among a manifest's clips (paper B, 4.1-4.3); a subset is an ordinary manifest that says how it was made."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.corpus.build import portable_media_root
from tubelet.corpus.choose import (
    I64,
    U64,
    draw,
    proportional_order,
    random_order,
    rank_in_label,
    rarest_label,
    tail_preserving_order,
    water_level,
    within_hours,
)
from tubelet.corpus.rules import RuleCount
from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace
from tubelet.records import read_json, to_json, write_json
from tubelet.types import InputError
from tubelet.video.media import PICTURE_SUFFIXES

REPORT_VERSION = 1
CHOSEN_SPLIT = "train"


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoLengths:
    """What is a short video, what a long one, and how much of a long one's middle is as long as a short one."""

    short: tuple[float, float] = (1.0, 5.0)
    long: tuple[float, float] = (55.0, 60.0)
    centre: float = 4.0


PAPER_LENGTHS = VideoLengths()


@dataclass(frozen=True, kw_only=True, slots=True)
class SubsetRules:
    """What a subset keeps; the rules hold in the order of the fields."""

    media: Literal["any", "videos", "pictures"] = "any"
    """Keep clips of videos or of pictures only."""
    num_labels: int | None = None
    """Keep this many labels, drawn at random; fewer labels of one seed are among more."""
    min_seconds: float = 0.0
    """Keep training clips at least this long."""
    max_seconds: float = float("inf")
    """Keep training clips at most this long."""
    sampling: Literal["random", "tail"] = "random"
    """Which training clips come first: at random, or tail labels whole and head labels capped (4.1.1)."""
    num_videos: int | None = None
    """Keep exactly this many training clips."""
    hours: float | None = None
    """Keep as many training clips as last this long together."""
    centre_seconds: float | None = None
    """Of each clip the middle only; clips that are shorter stay whole."""
    frame: Literal["none", "centre", "random"] = "none"
    """Of each clip one frame: a clip without length, for frame-based pre-training (4.3.2)."""
    seed: int = 0
    """Decides every draw."""


@dataclass(slots=True)
class _Working:
    """Clips on their way through the rules."""

    clips: pa.Table
    space: LabelSpace
    seed: int
    rules: list[RuleCount] = field(default_factory=list)

    @property
    def chosen(self) -> np.ndarray:
        """Whether each clip is of the split that is chosen from."""
        return np.asarray(pc.equal(self.clips.column("split"), CHOSEN_SPLIT).to_numpy(zero_copy_only=False))

    @property
    def seconds(self) -> np.ndarray:
        return np.asarray(pc.subtract(self.clips.column("end_seconds"), self.clips.column("start_seconds")).to_numpy())

    def keep(self, rule: str, mask: np.ndarray) -> None:
        """Keep clips and say what that dropped."""
        before = self.clips.num_rows
        self.clips = self.clips.filter(pa.array(mask))
        self.rules.append(RuleCount(rule=rule, unit="clips", before=before, after=self.clips.num_rows))


def subset_manifest(source: Manifest, out: Path, rules: SubsetRules) -> Manifest:
    """Write the clips of a classification manifest that the rules keep; splits other than train are not thinned out.

    Args:
        source: The manifest.
        out: Folder of the new one; ``report.json`` in it has the input, the rules, the seed and the counts.
        rules: What is kept.

    Raises:
        InputError: The manifest has boxes, a rule asks for more than there is, or nothing is left.
    """
    _check(source, rules)
    work = _Working(source.clips, source.label_space, rules.seed)
    _keep_media(work, rules.media)
    if rules.num_labels is not None:
        _keep_labels(work, rules.num_labels)
    if rules.min_seconds > 0 or np.isfinite(rules.max_seconds):
        _keep_length(work, rules.min_seconds, rules.max_seconds)
    _cut(work, rules)
    _shorten(work, rules)
    return _write(source, out, work, settings=to_json(_finite(rules)))


def length_manifests(
    source: Manifest, out: Path, *, num_videos: int, lengths: VideoLengths = PAPER_LENGTHS, seed: int = 0
) -> dict[str, Manifest]:
    """Write paper B's sets of short and long videos (4.3.1), all with the same label space and distribution.

    ``short`` (1-5 s), ``long`` (55-60 s) and ``long-center`` (the central 4 s of the same long videos) have the same
    number of videos of each label (F1: a fixed number of videos); heads are capped where short or long videos are few.
    ``long-hours`` is the part of ``long`` that lasts as long as ``short`` does, labels in proportion (F2: fixed hours).

    Args:
        source: A classification manifest.
        out: Folder of the four manifests.
        num_videos: Training clips of each of the first three.
        lengths: In seconds; other than the paper's for sets that have no videos of a minute.
        seed: Decides every draw.

    Raises:
        InputError: There are fewer such videos whose labels can be matched.
    """
    _check(source, SubsetRules(num_videos=num_videos))
    pools = {"short": lengths.short, "long": lengths.long}
    works = {name: _Working(source.clips, source.label_space, seed) for name in pools}
    counts = []
    for name, (low, high) in pools.items():
        _keep_length(works[name], low, high)
        counts.append(np.bincount(_labels(works[name]), minlength=len(source.label_space)))
    both = np.minimum(*counts)
    if int(both.sum()) < num_videos:
        found = ", ".join(f"{name} {int(n.sum())}" for name, n in zip(pools, counts))
        raise InputError(
            f"{source.root}: {num_videos} short and {num_videos} long videos with the same labels were asked for, "
            f"at most {int(both.sum())} can be had ({found})"
        )
    wanted = water_level(both, num_videos, _label_draw(works["short"]))
    for work in works.values():
        ranks = rank_in_label(_labels(work), _clip_draw(work))
        _keep_chosen(work, "the same number of each label in every set", ranks < wanted[_labels(work)])
    settings: dict[str, Any] = {"num_videos": num_videos, "seed": seed, "lengths": to_json(lengths)}
    made = {name: _write(source, out / name, work, settings | {"set": name}) for name, work in works.items()}
    hours = float(works["short"].seconds[works["short"].chosen].sum()) / 3600
    center, long_hours = (_copy(works["long"]) for _ in range(2))
    _shorten(center, SubsetRules(centre_seconds=lengths.centre))
    order = proportional_order(_labels(long_hours), _clip_draw(long_hours), _label_draw(long_hours))
    number = within_hours(long_hours.seconds[long_hours.chosen][order], hours)
    _keep_first(long_hours, f"together no longer than short, {hours:.4g} hours, labels in proportion", order, number)
    for name, work in (("long-center", center), ("long-hours", long_hours)):
        made[name] = _write(source, out / name, work, settings | {"set": name})
    return made


def label_counts(manifest: Manifest) -> list[int]:
    """Return how many training clips each label of a classification manifest has."""
    _check(manifest, SubsetRules())
    training = manifest.clips.filter(pc.equal(manifest.clips.column("split"), CHOSEN_SPLIT))
    values = pc.list_flatten(training.column("labels")).to_numpy()
    return [int(number) for number in np.bincount(values, minlength=len(manifest.label_space))]


def _copy(work: _Working) -> _Working:
    return _Working(work.clips, work.space, work.seed, list(work.rules))


def _check(source: Manifest, rules: SubsetRules) -> None:
    if source.kind != "classify":
        raise InputError(f"{source.root}: a manifest with boxes, expected one of whole clips (classify)")
    for name in ("num_labels", "num_videos", "hours", "centre_seconds"):
        value = getattr(rules, name)
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} is {value}, expected more than 0")
    if not 0 <= rules.min_seconds <= rules.max_seconds:
        raise InputError(f"clips of {rules.min_seconds} to {rules.max_seconds} seconds, expected 0 <= min <= max")
    if rules.num_videos is not None and rules.hours is not None:
        raise InputError("give one of num_videos and hours")


def _finite(rules: SubsetRules) -> dict[str, Any]:
    """Return the rules for JSON, which has no infinity."""
    values = {name: getattr(rules, name) for name in rules.__slots__}
    return values | {"max_seconds": rules.max_seconds if np.isfinite(rules.max_seconds) else None}


def _keep_media(work: _Working, media: str) -> None:
    if media == "any":
        return
    suffixes = "|".join(suffix.removeprefix(".") for suffix in PICTURE_SUFFIXES)
    is_picture = pc.match_substring_regex(pc.utf8_lower(work.clips.column("video")), rf"\.({suffixes})$")
    mask = np.asarray(is_picture.to_numpy(zero_copy_only=False))
    work.keep(f"clips of {media}", mask if media == "pictures" else ~mask)


def _keep_labels(work: _Working, num_labels: int) -> None:
    """Keep labels at random; a clip keeps those of its labels that are kept, and goes when it has none."""
    total = len(work.space)
    if num_labels > total:
        raise InputError(f"{num_labels} labels were asked for, the label space has {total}")
    kept = np.sort(np.argsort(_label_draw(work), kind="stable")[:num_labels])
    place = np.full(total, -1, dtype=np.int32)
    place[kept] = np.arange(num_labels, dtype=np.int32)
    lists = work.clips.column("labels").combine_chunks()
    values, parents = place[lists.flatten().to_numpy()], pc.list_parent_indices(lists).to_numpy()
    stays = values >= 0
    counts = np.bincount(parents[stays], minlength=len(lists))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    labels = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[stays], pa.int32()))
    column = work.clips.column_names.index("labels")
    work.clips = work.clips.set_column(column, work.clips.schema.field(column), labels)
    given = [getattr(work.space, name) for name in ("names", "ids", "groups", "buckets")]
    names, ids, groups, buckets = (tuple(some[k] for k in kept) if some else () for some in given)
    images = [int(place[work.space.mirrored[k]]) for k in kept] if work.space.mirrored else []
    # Where a label's mirror image is not kept, the names decide again, and a direction without one is an error there.
    mirrored = tuple(images) if all(image >= 0 for image in images) else ()
    work.space = LabelSpace(
        name=work.space.name, names=names, ids=ids, groups=groups, buckets=buckets, mirrored=mirrored
    )
    work.rules.append(RuleCount(rule="drawn at random", unit="labels", before=total, after=num_labels))
    work.keep("clips of these labels", counts > 0)


def _keep_length(work: _Working, low: float, high: float) -> None:
    seconds = work.seconds[work.chosen]
    _keep_chosen(work, f"from {low:g} to {high:g} seconds long", (seconds >= low) & (seconds <= high))


def _cut(work: _Working, rules: SubsetRules) -> None:
    """Keep the first training clips of an order."""
    if rules.num_videos is None and rules.hours is None:
        return
    orders: dict[str, Callable[[], I64]] = {
        "random": lambda: random_order(_clip_draw(work)),
        "tail": lambda: tail_preserving_order(_labels(work), _clip_draw(work), _label_draw(work)),
    }
    order = orders[rules.sampling]()
    how = "at random" if rules.sampling == "random" else "tail labels whole, head labels capped"
    if rules.num_videos is not None:
        if rules.num_videos > len(order):
            raise InputError(f"{rules.num_videos} training clips were asked for, the rules before leave {len(order)}")
        _keep_first(work, f"{rules.num_videos}, {how}", order, rules.num_videos)
    elif rules.hours is not None:
        seconds = work.seconds[work.chosen][order]
        if seconds.sum() < rules.hours * 3600:
            there = seconds.sum() / 3600
            raise InputError(f"{rules.hours:g} hours were asked for, the training clips last {there:.4g} hours")
        number = within_hours(seconds, rules.hours)
        _keep_first(work, f"together no longer than {rules.hours:g} hours, {how}", order, number)


def _keep_first(work: _Working, rule: str, order: I64, number: int) -> None:
    mask = np.zeros(len(order), dtype=bool)
    mask[order[:number]] = True
    _keep_chosen(work, rule, mask)


def _keep_chosen(work: _Working, rule: str, mask: np.ndarray) -> None:
    """Keep training clips; the other splits stay as they are."""
    every = ~work.chosen
    every[work.chosen] = mask
    before = float(work.seconds[work.chosen].sum()) / 3600
    work.keep(f"training clips {rule}", every)
    after = float(work.seconds[work.chosen].sum()) / 3600
    work.rules.append(RuleCount(rule=f"training clips {rule}", unit="hours", before=before, after=after))


def _shorten(work: _Working, rules: SubsetRules) -> None:
    """Take the middle, or one frame, of each training clip."""
    start = work.clips.column("start_seconds").to_numpy().copy()
    end = work.clips.column("end_seconds").to_numpy().copy()
    chosen = work.chosen
    if rules.centre_seconds is not None:
        margin = np.maximum(0.0, (end - start - rules.centre_seconds) / 2)
        start, end = np.where(chosen, start + margin, start), np.where(chosen, end - margin, end)
        _note_change(work, f"the central {rules.centre_seconds:g} seconds of longer training clips", start, end)
    if rules.frame != "none":
        drawn = draw(work.clips.column("clip_id"), rules.seed, "frame") / 2.0**64
        share = drawn if rules.frame == "random" else np.full(len(start), 0.5)
        instant = start + share * (end - start)
        start, end = np.where(chosen, instant, start), np.where(chosen, instant, end)
        _note_change(work, f"one frame of each training clip ({rules.frame})", start, end)


def _note_change(work: _Working, rule: str, start: np.ndarray, end: np.ndarray) -> None:
    before = float(work.seconds[work.chosen].sum()) / 3600
    for name, values in (("start_seconds", start), ("end_seconds", end)):
        column = work.clips.column_names.index(name)
        work.clips = work.clips.set_column(column, name, pa.array(values))
    after = float(work.seconds[work.chosen].sum()) / 3600
    work.rules.append(RuleCount(rule=rule, unit="hours", before=before, after=after))


def _labels(work: _Working) -> I64:
    """Return one label for each training clip: its only one, or of several the rarest."""
    lists = work.clips.column("labels").filter(pa.array(work.chosen)).combine_chunks()
    if num_without := int(pc.sum(pc.equal(pc.list_value_length(lists), 0)).as_py() or 0):
        raise InputError(f"{num_without} training clips have no label, expected one at least to choose by label")
    return rarest_label(lists, len(work.space))


def _clip_draw(work: _Working) -> U64:
    return draw(work.clips.column("clip_id").filter(pa.array(work.chosen)), work.seed, "clip")


def _label_draw(work: _Working) -> U64:
    return draw(pa.array(work.space.names), work.seed, "label")


def _write(source: Manifest, out: Path, work: _Working, settings: dict[str, Any]) -> Manifest:
    if work.clips.num_rows == 0 or not work.chosen.any():
        steps = "; ".join(f"{r.rule}: {r.after:g} of {r.before:g} {r.unit}" for r in work.rules)
        raise InputError(f"{source.root}: no training clip is left ({steps})")
    made = write_manifest(
        out,
        name=source.name,
        kind=source.kind,
        multi_label=source.multi_label,
        label_space=work.space,
        media_root=portable_media_root(source.media_root, out),
        licence=source.licence,
        source=f"subset of {source.name}: {source.source}",
        clips=work.clips,
    )
    report = {
        "version": REPORT_VERSION,
        "input": {
            "manifest": str(source.root),
            "clips_sha256": hashlib.sha256((source.root / "clips.parquet").read_bytes()).hexdigest(),
            "report": read_json(source.root / "report.json") if (source.root / "report.json").exists() else None,
        },
        "settings": settings,
        "rules": [rule.to_json() for rule in work.rules],
        "hours": float(work.seconds[work.chosen].sum()) / 3600,
        "num_videos": {"train": int(work.chosen.sum()), "others": int((~work.chosen).sum())},
    }
    write_json(out / "report.json", report)
    return made
