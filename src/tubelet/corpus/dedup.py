"""Which source videos show what a target video shows (paper B, A.2), from the codes of their frames.

``comparison.compare`` does the whole of it. One shard of the work is::

    codes = fingerprint_shard(videos, media_root=root, settings=FingerprintSettings())      # a row for each video
    targets = index_targets([target_codes], settings)                                       # once
    pairs = find_duplicates(codes, targets, settings)                                       # a row for each pair

``target_codes`` come from the same function with ``FingerprintSettings(crops=TARGET_CROPS)``; ``settings`` is one of
``OPERATING_POINTS``. A source goes if a pair of it has ``duplicate``. Shards of sources are independent of each other,
and so are shards of targets: ``find_duplicates`` with each, and the tables put together, is the whole
(``shards.pairs_jobs``).

Codes near each other come from an index of the targets, exactly; the share of a source's frames that have one is A.2's
overlap. For every pair with enough of them the longest run of frames in step is looked for as well, which tells a
short target in a long source, and a copy from a scene that only looks alike.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tubelet.corpus.alignment import Run, longest_run
from tubelet.corpus.code_index import BITS, PARTS, CodeIndex, build_index
from tubelet.corpus.fingerprint import NOTHING, code_runs, mirrored_codes
from tubelet.types import InputError

U64 = NDArray[np.uint64]
PART_MALUS = 0.1
"""A run of parts of frames must score so much more for each frame than one of whole frames."""

PAIRS = pa.schema(
    [
        ("source", pa.string()),
        ("target", pa.string()),
        ("overlap", pa.float64()),
        ("run_seconds", pa.float64()),
        ("run_bits", pa.float64()),
        ("source_start_seconds", pa.float64()),
        ("target_start_seconds", pa.float64()),
        ("target_run_seconds", pa.float64()),
        ("crop", pa.float64()),
        ("mirrored", pa.bool_()),
        ("duplicate", pa.bool_()),
    ]
)
"""``overlap``: share of the source's frames that match the target. ``run_seconds``: longest run of frames in step, in
the source, and ``target_run_seconds`` in the target; it begins at the two times. ``run_bits``: in which its codes
differ, on average. ``crop``: share of each border of the target that the source lacks. ``duplicate``: whether the
settings call the pair so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DedupSettings:
    """When a source video is a duplicate of a target: by overlap, or by the longest run in step."""

    min_overlap: float
    """Share of the source's frames that match (A.2)."""
    min_run_seconds: float
    """Or so much of the source in step,"""
    min_run_share: float = 0.5
    """or so much of the shorter of the two, where that is less,"""
    max_run_bits: float
    """with codes that differ in no more bits on average."""
    radius: int = 4
    """Bits in which codes of frames that match may differ."""
    part_radius: int = 3
    """Or in which the upper or the lower six rows of their eight may (``code_index``); -1 = they are compared whole."""
    loose_radius: int = 6
    """Videos with frames so near are looked at for a run in step, though these do not count as overlap."""
    near_bits: float = 12.0
    """Bits in which codes of frames in step may differ (``alignment``)."""
    mirrored: bool = False
    """Look for mirror images of the targets too."""


OPERATING_POINTS: Mapping[str, DedupSettings] = {
    "paper": DedupSettings(min_overlap=0.05, min_run_seconds=0.5, min_run_share=0.25, max_run_bits=10.0),
    "balanced": DedupSettings(min_overlap=0.5, min_run_seconds=1.0, max_run_bits=9.5),
}
"""``paper``: everything above a low threshold goes, as in A.2. ``balanced``: what only looks alike stays. How they
were chosen is in docs/log.md."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetIndex:
    """The codes of target videos, to be held against any number of sources."""

    videos: tuple[str, ...]
    views: tuple[U64, ...]
    """Of each video (1 + crops, T)."""
    crops: tuple[float, ...]
    """The first is 0."""
    schema: pa.Schema
    """Says how the codes were made."""
    index: CodeIndex
    """Owners are video * number of views + view."""

    @property
    def fps(self) -> float:
        """Codes a second."""
        return float(_made(self.schema)["fps"])


def index_targets(targets: Iterable[pa.Table], settings: DedupSettings) -> TargetIndex:
    """Index tables of codes; runs of equal codes become one entry.

    Args:
        targets: Tables as ``fingerprint_shard`` gives them, with the same crops; 60 bytes are held for each entry.
        settings: Only the radius is used.

    Raises:
        InputError: There is no table, or they were made differently.
    """
    tables = list(targets)
    if not tables:
        raise InputError("no codes of targets")
    for table in tables:
        if table.schema.metadata != tables[0].schema.metadata:
            raise InputError(f"codes made differently: {_made(tables[0].schema)} and {_made(table.schema)}")
    crops = (0.0, *(float(crop) for crop in _made(tables[0].schema)["crops"].split()))
    videos = [video for table in tables for video in table.column("video").to_pylist()]
    views = [view for table in tables for view in codes_of(table)]
    codes, owners = [], []
    for video, every in enumerate(views):
        for view, one in enumerate(every):
            entries = np.unique(code_runs(one).codes)
            entries = entries[entries != NOTHING]
            codes.append(entries)
            owners.append(np.full(len(entries), video * len(crops) + view, dtype=np.int32))
    index = build_index(
        np.concatenate([np.zeros(0, dtype=np.uint64), *codes]),
        np.concatenate([np.zeros(0, dtype=np.int32), *owners]),
        num_owners=len(videos) * len(crops),
        radius=settings.radius,
        part_radius=settings.part_radius,
    )
    return TargetIndex(videos=tuple(videos), views=tuple(views), crops=crops, schema=tables[0].schema, index=index)


def find_duplicates(sources: pa.Table, targets: TargetIndex, settings: DedupSettings) -> pa.Table:
    """Return the pairs of a source and a target that share frames.

    Args:
        sources: Table as ``fingerprint_shard`` gives it.
        targets: See ``index_targets``; made with the same radius.
        settings: Which pairs are called duplicates.

    Returns:
        A table of ``PAIRS``, sources in their order, targets of one in theirs.

    Raises:
        InputError: The codes were not made in the same way.
    """
    for name in ("codes", "fps", "side"):
        ours, theirs = _made(sources.schema)[name], _made(targets.schema)[name]
        if ours != theirs:
            raise InputError(f"codes of sources and targets do not go together: {name} {ours} and {theirs}")
    rows: list[dict[str, object]] = []
    for video, views in zip(sources.column("video").to_pylist(), codes_of(sources), strict=True):
        for target, shared in _shared(views, targets, settings).items():
            rows.append({"source": video} | _pair(views, target, shared, targets, settings))
    return pa.Table.from_pylist(rows, schema=PAIRS)


def codes_of(table: pa.Table) -> list[U64]:
    """Return the codes of each video of a table, (1 + crops, T)."""
    views = 1 + len(_made(table.schema)["crops"].split())
    column = table.column("codes").combine_chunks()
    values = column.values.to_numpy()
    ends = column.offsets.to_numpy()
    return [values[first:last].reshape(views, -1) for first, last in pairwise(ends)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shared:
    """How a source and a target share most frames."""

    frames: int
    source_view: int
    target_view: int
    mirrored: bool


def _shared(views: U64, targets: TargetIndex, settings: DedupSettings) -> dict[int, _Shared]:
    """Return by target, ascending, how many frames of the source match one of it, in the views that share most."""
    best: dict[int, _Shared] = {}
    for turned in (False, True) if settings.mirrored else (False,):
        for source_view, plain in enumerate(views):
            runs = code_runs(mirrored_codes(plain) if turned else plain)
            seen = runs.codes != NOTHING
            owners, counts = targets.index.count(
                runs.codes[seen], runs.length[seen], loose_radius=settings.loose_radius
            )
            for owner, frames in zip(owners.tolist(), counts.tolist(), strict=True):
                video, view = divmod(owner, len(targets.crops))
                if video not in best or frames > best[video].frames:
                    best[video] = _Shared(frames=frames, source_view=source_view, target_view=view, mirrored=turned)
    return dict(sorted(best.items()))


def _pair(views: U64, target: int, shared: _Shared, targets: TargetIndex, settings: DedupSettings) -> dict[str, object]:
    """Return the row of one pair, but for the source's name."""
    source = views[shared.source_view]
    source = mirrored_codes(source) if shared.mirrored else source
    theirs = targets.views[target][shared.target_view]
    run = _best_run(source, theirs, settings)
    overlap = shared.frames / max(len(source), 1)
    return {
        "target": targets.videos[target],
        "overlap": overlap,
        "run_seconds": (run.source[1] - run.source[0]) / targets.fps,
        "run_bits": run.bits,
        "source_start_seconds": run.source[0] / targets.fps,
        "target_start_seconds": run.target[0] / targets.fps,
        "target_run_seconds": (run.target[1] - run.target[0]) / targets.fps,
        "crop": targets.crops[shared.target_view],
        "mirrored": shared.mirrored,
        "duplicate": _is_duplicate(overlap, run, min(len(source), len(theirs)), targets.fps, settings),
    }


def _best_run(source: U64, target: U64, settings: DedupSettings) -> Run:
    """Return the longest run of whole frames, or of one part of them."""
    best = longest_run(source, target, near_bits=settings.near_bits)
    for part in PARTS if settings.part_radius >= 0 else ():
        share = part.bit_count() / BITS
        run = longest_run(source & np.uint64(part), target & np.uint64(part), near_bits=settings.near_bits * share)
        if run.score > best.score + PART_MALUS * (run.source[1] - run.source[0]):
            best = replace(run, bits=run.bits / share)
    return best


def _is_duplicate(overlap: float, run: Run, frames: int, fps: float, settings: DedupSettings) -> bool:
    """Decide on a pair, of which the shorter video has so many frames."""
    enough = min(settings.min_run_seconds * fps, settings.min_run_share * frames)
    in_step = run.source[1] - run.source[0] >= max(enough, 1) and run.bits <= settings.max_run_bits
    return overlap >= settings.min_overlap or in_step


def _made(schema: pa.Schema) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
