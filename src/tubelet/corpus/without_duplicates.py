"""``tubelet corpus dedup``: a manifest without the videos that targets show too, and pictures that say why."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from tubelet.corpus.build import is_present
from tubelet.corpus.comparison import (
    CompareSettings,
    Comparison,
    Engine,
    cells_of,
    code_shards,
    compare,
    named,
    pairs_of,
)
from tubelet.corpus.rules import RuleCount
from tubelet.corpus.shards import write_shard
from tubelet.corpus.strips import NUM_FRAMES, Row, strips
from tubelet.corpus.unfinished import remove_left
from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import rewrite_manifest
from tubelet.records import to_json, write_json
from tubelet.types import InputError, did_you_mean
from tubelet.video.media import MediaRoot

REPORT_VERSION = 1
CAPTION = 16
"""Pixels of the line above each strip."""
MOST_SHOWN = 3
"""Pairs that ``explain`` returns at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Distinct:
    """A manifest without duplicates, and what was left out."""

    manifest: Manifest
    comparison: Comparison
    rules: tuple[RuleCount, ...]


def drop_duplicates(
    source: Manifest, targets: Sequence[Manifest], out: Path, settings: CompareSettings, engine: Engine
) -> Distinct:
    """Write a manifest's clips of videos that can be decoded and are no duplicates; goes on where it was stopped.

    ``report.json`` says what every rule dropped, ``duplicates.parquet`` each pair, ``quarantine.parquet`` each video
    that could not be decoded and why; ``out/work`` holds what is done and may be deleted afterwards.

    Args:
        source: The manifest.
        targets: Data sets whose videos must not be in it.
        out: Folder of the new one.
        settings: What is a duplicate.
        engine: Who does the work.

    Raises:
        InputError: There is nothing to compare with, or nothing is left.
    """
    if not targets and not settings.within:
        raise InputError("nothing to compare with; expected --targets, --within or both")
    remove_left(out, out / "work")
    found = compare(
        cells_of(source),
        media_root=source.media_root,
        targets=targets,
        settings=settings,
        work=out.absolute() / "work",
        engine=engine,
    )
    clips, rules = source.clips, []
    for what, gone in (
        ("its video can be decoded to its end", found.unreadable()),
        ("no duplicate of a target's video", found.of_targets.column("source").to_pylist()),
        ("no duplicate of another video that stays", found.of_each_other.column("source").to_pylist()),
    ):
        left = clips.filter(pc.invert(pc.is_in(clips.column("video"), value_set=pa.array(gone, pa.string()))))
        rules.append(RuleCount(rule=what, unit="clips", before=clips.num_rows, after=left.num_rows))
        clips = left
    if not clips.num_rows:
        raise InputError(f"{source.root}: no clip is left; {out}/work has what was found")
    boxes = None if source.boxes is None else _of(source.boxes, clips)
    keyframes = _of(source.keyframes, clips) if source.kind == "localise" else None
    manifest = rewrite_manifest(source, out, clips=clips, boxes=boxes, keyframes=keyframes, extra_counts={})
    write_shard(out / "quarantine.parquet", found.quarantine)
    write_shard(out / "duplicates.parquet", pa.concat_tables([found.of_targets, found.of_each_other]))
    report = {
        "version": REPORT_VERSION,
        "manifest": str(source.root),
        "targets": [str(manifest.root) for manifest in targets],
        "settings": to_json(settings),
        "rules": [rule.to_json() for rule in rules],
    }
    write_json(out / "report.json", report)
    return Distinct(manifest=manifest, comparison=found, rules=tuple(rules))


def explain(
    video: str,
    source: Manifest,
    targets: Sequence[Manifest],
    out: Path,
    settings: CompareSettings,
    engine: Engine,
) -> tuple[list[dict[str, Any]], bytes | None]:
    """Return ``MOST_SHOWN`` pairs of one video, the likeliest duplicates first, and a PNG of their frames side by side.

    Of each pair the picture has frames of the run in step, the video's above the target's.

    Args:
        video: A video of ``source``, or one beside its videos: which a build has left out as a duplicate, say.
        source: A manifest.
        targets: Data sets it is held against.
        out: As of ``drop_duplicates``; shards that are there are used.
        settings: What is a duplicate.
        engine: Who does the work.

    Raises:
        InputError: There is no such video, or it cannot be decoded.
    """
    cells = [cell for cell in cells_of(source) if cell[0] == video]
    if not cells and is_present(source.media_root, video):
        cells = [(video, 0.0)]
    if not cells:
        known = source.clips.column("video").unique().to_pylist()
        raise InputError(f"{source.root}: has no video {video!r}{did_you_mean(video, known)}")
    if not targets:
        raise InputError("nothing to compare with; expected --targets")
    work = out.absolute() / "work"
    ours, theirs = code_shards(
        cells, media_root=source.media_root, targets=targets, settings=settings, work=work, engine=engine
    )
    codes = pq.read_table(ours[0].out).to_pylist()[0]
    if codes["reason"]:
        raise InputError(f"{video}: {codes['reason']}")
    shards = pairs_of(ours, named(theirs), settings, work, engine)
    pairs = [pair for path in shards for pair in pq.read_table(path).to_pylist()]
    pairs.sort(key=lambda pair: (not pair["duplicate"], -pair["run_seconds"] * (1 - pair["run_bits"] / 32)))
    shown = pairs[:MOST_SHOWN]
    roots = {manifest.name: manifest.media_root for manifest in targets}
    rows = [_rows(pair, source.media_root, roots) for pair in shown]
    pictures = strips(rows, engine.num_workers)
    parts = [_captioned(pair, picture) for pair, picture in zip(shown, pictures, strict=True) if picture is not None]
    return shown, _stacked(parts) if parts else None


def pair_line(pair: dict[str, Any]) -> str:
    """Return what was found of a pair, in one line."""
    call = "duplicate" if pair["duplicate"] else "not called a duplicate"
    mirrored = ", mirrored" if pair["mirrored"] else ""
    crop = f", {100 * pair['crop']:g} % of each border cut off" if pair["crop"] else ""
    return (
        f"{pair['target']}: {call}; overlap {100 * pair['overlap']:.0f} %, {pair['run_seconds']:.2f} s in step from "
        f"{pair['source_start_seconds']:.2f} s (target {pair['target_start_seconds']:.2f} s), "
        f"{pair['run_bits']:.1f} bits apart{crop}{mirrored}"
    )


def _of(table: pa.Table, clips: pa.Table) -> pa.Table:
    return table.filter(pc.is_in(table.column("clip_id"), value_set=clips.column("clip_id").combine_chunks()))


def _rows(pair: dict[str, Any], media_root: MediaRoot, roots: dict[str, MediaRoot]) -> list[Row]:
    """Return frames of both videos along the run."""
    name, _, target = pair["target"].partition(": ")
    places = [(k + 0.5) / NUM_FRAMES for k in range(NUM_FRAMES)]
    ours = tuple(pair["source_start_seconds"] + place * pair["run_seconds"] for place in places)
    theirs = tuple(pair["target_start_seconds"] + place * pair["target_run_seconds"] for place in places)
    return [Row(media_root, pair["source"], ours), Row(roots[name], target, theirs)]


def _captioned(pair: dict[str, Any], picture: bytes) -> Image.Image:
    strip = Image.open(io.BytesIO(picture)).convert("RGB")
    text = pair_line(pair)
    width = max(strip.width, round(ImageDraw.Draw(strip).textlength(text)) + 8)
    out = Image.new("RGB", (width, strip.height + CAPTION), "white")
    ImageDraw.Draw(out).text((4, 2), text, fill="black")
    out.paste(strip, (0, CAPTION))
    return out


def _stacked(parts: Sequence[Image.Image]) -> bytes:
    width = max(part.width for part in parts)
    padded = [
        np.pad(np.asarray(part), ((0, 0), (0, width - part.width), (0, 0)), constant_values=255) for part in parts
    ]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(padded)).save(file, "PNG")
    return file.getvalue()
