"""Decode every video of a manifest once and say which clips cannot be used, and why.

A video is decoded in a worker process, so one that crashes the decoder is a line of the report. What is known is kept
in a journal beside the report, line by line: a killed check goes on, and a later one decodes only what has changed.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import rewrite_manifest
from tubelet.data.validate import TIME_TOLERANCE, validate_manifest
from tubelet.records import whole_file, write_json
from tubelet.types import InputError, VideoError
from tubelet.video.container import probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import iter_frames
from tubelet.video.media import Media, resolve_media
from tubelet.video.pictures import open_pictures
from tubelet.worker_pool import WorkerPool

PROBLEMS = ("missing", "broken", "short", "duplicate")
SLACK_SECONDS = 0.25
"""A video may end so much before its clip: containers claim more than they show, by a few frames or their sound. One
that cannot be read on may not: training would meet the place."""
LOOK_PIXELS = 32
"""Videos are compared at this long side."""
WORKER_MODULES = ("tubelet.data.verify",)
VIDEO_SECONDS = 3600.0
"""A video whose decoding takes longer is given up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoCheck:
    """What decoding a whole video came to."""

    num_frames: int
    until_seconds: float
    """End of the last frame that came out; 0 if none did."""
    digest: str
    """Of all frames and their times; equal for videos that show the same."""
    error: str | None
    """Why decoding ended early."""
    missing: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A clip that should not be used."""

    clip_id: str
    video: str
    split: str
    problem: str
    """One of ``PROBLEMS``."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What is wrong with a manifest's media."""

    num_videos: int
    num_clips: int
    num_frames: int
    items: tuple[Item, ...]
    """In the order of the clips table; one line a clip, the gravest problem."""
    damaged_elsewhere: tuple[str, ...]
    """Videos with an error behind the last of their clips; no clip is lost."""
    at_import: Mapping[str, int]
    """What the manifest says was left out, or changed, before its clips were written."""

    @property
    def counts(self) -> dict[str, int]:
        """Clips by problem; 0 is told too."""
        found = Counter(item.problem for item in self.items)
        return {problem: found[problem] for problem in PROBLEMS}

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return {"schema": "tubelet.verify/1", "counts": self.counts, **asdict(self)}


def check_video(_: None, location: str, fps: float) -> VideoCheck:
    """Decode a whole video; every failure is an answer. Runs in a worker."""
    media = Media(location, fps)
    try:
        media.version()
    except VideoError as error:
        return VideoCheck(num_frames=0, until_seconds=0.0, digest="", error=error.reason, missing=True)
    digest = hashlib.blake2b(digest_size=16)
    number, last, before = 0, 0.0, 0.0
    failed = None
    try:
        for time, frame in iter_frames(media, size=FrameSize(long_side=LOOK_PIXELS, shrink_only=True)):
            number, before, last = number + 1, last, time
            digest.update(f"{time:.4f}".encode() + frame.tobytes())
    except VideoError as error:
        place = "" if error.pts_seconds is None else f" at {error.pts_seconds:.3f} s"
        failed = error.reason + place
    shown = last - before if number > 1 else _one_frame_seconds(media) if number and failed is None else 0.0
    until = last + shown
    return VideoCheck(num_frames=number, until_seconds=until, digest=digest.hexdigest(), error=failed)


def _one_frame_seconds(media: Media) -> float:
    """Return how long the frame is shown of a medium that has one."""
    return 1 / (open_pictures(media).fps if media.is_pictures else probe(media).fps)


def verify_manifest(
    manifest: Manifest,
    report: Path,
    *,
    num_workers: int,
    on_video: Callable[[int, int], None] | None = None,
) -> Report:
    """Check every video of a manifest and write what is wrong.

    Args:
        manifest: Any.
        report: JSON file for the result. Beside it lies ``<report>.journal``, what is known of each video; what it says
            of one that has changed since (its bytes or time of change, of a folder those of each frame) is not used.
        num_workers: Processes that decode, at least 1.
        on_video: Called with (videos done, videos in all), first with those that are known.

    Returns:
        The report. Clips whose video cannot be read up to their end are ``missing``, ``broken`` (an error) or ``short``
        (it ends before); a clip that shows the same as an earlier one is a ``duplicate``, in whichever split.

    Raises:
        InputError: The manifest's own tables have a mistake.
    """
    validate_manifest(manifest)
    cells = manifest.clips.select(["video", "fps"]).group_by(["video", "fps"], use_threads=False).aggregate([])
    wanted = list(zip(cells.column("video").to_pylist(), cells.column("fps").to_pylist(), strict=True))
    journal = report.with_name(report.name + ".journal")
    versions = {cell: _version(manifest, *cell) for cell in wanted}
    checks = {cell: check for cell, check in _read_journal(journal, versions) if cell in versions}
    left = [cell for cell in wanted if cell not in checks]
    # Written anew: what has changed is forgotten, and a line that a kill cut short.
    with whole_file(journal) as file:
        file.writelines(_line(cell, versions[cell], check) for cell, check in checks.items())
    if on_video is not None:
        on_video(len(checks), len(wanted))
    with journal.open("a") as file:
        for cell, check in _checked(manifest, left, num_workers):
            checks[cell] = check
            file.write(_line(cell, versions[cell], check))
            file.flush()
            if on_video is not None:
                on_video(len(checks), len(wanted))
    result = _judge(manifest, checks)
    write_json(report, result.to_json())
    return result


def write_clean(manifest: Manifest, report: Report, out: Path) -> Manifest:
    """Write the manifest without the clips of a report; what is left out is added to ``counts``.

    Raises:
        InputError: Nothing would be left, or ``out`` is the manifest itself.
    """
    if out.absolute() == manifest.root:
        raise InputError(f"{out}: is the manifest itself; give another folder")
    bad = pa.array([item.clip_id for item in report.items], type=pa.string())
    if len(bad) == manifest.clips.num_rows:
        raise InputError(f"{manifest.root}: no clip can be used, nothing to write")

    def kept(table: pa.Table) -> pa.Table:
        return table.filter(pc.invert(pc.is_in(table.column("clip_id"), value_set=bad)))

    removed = {f"clips_{problem}_removed": number for problem, number in report.counts.items()}
    return rewrite_manifest(
        manifest,
        out,
        clips=kept(manifest.clips),
        boxes=None if manifest.boxes is None else kept(manifest.boxes),
        keyframes=kept(manifest.keyframes) if manifest.kind == "localise" else None,
        extra_counts=removed,
    )


def _version(manifest: Manifest, video: str, fps: float) -> list[int]:
    """Return numbers that change when the video does."""
    try:
        media = resolve_media(manifest.media_root, video, fps)
        known = list(media.version())
    except InputError:
        return []
    if media.is_pictures and not media.is_uri and Path(media.location).is_dir():
        # A folder's own time does not change when a frame in it is written again.
        entries = sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in os.scandir(media.location))
        known.append(int.from_bytes(hashlib.blake2b(repr(entries).encode(), digest_size=6).digest()))
    return known


def _line(cell: tuple[str, float], version: list[int], check: VideoCheck) -> str:
    return json.dumps({"video": cell[0], "fps": cell[1], "version": version, "check": asdict(check)}) + "\n"


def _read_journal(
    path: Path, versions: Mapping[tuple[str, float], list[int]]
) -> Iterator[tuple[tuple[str, float], VideoCheck]]:
    """Yield what is known of videos that are as they were; a line cut short by a kill is none."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line)
            cell, check = (entry["video"], entry["fps"]), VideoCheck(**entry["check"])
        except (ValueError, KeyError, TypeError):
            continue
        if versions.get(cell) == entry.get("version"):
            yield cell, check


def _checked(
    manifest: Manifest, cells: list[tuple[str, float]], num_workers: int
) -> Iterator[tuple[tuple[str, float], VideoCheck]]:
    """Yield each video's check as it comes."""
    if not cells:
        return
    ahead = 0
    with WorkerPool(num_workers, setup=None, modules=WORKER_MODULES, call_seconds=VIDEO_SECONDS) as pool:
        for done in range(len(cells)):
            while ahead < min(len(cells), done + 4 * num_workers):
                video, fps = cells[ahead]
                pool.submit(ahead, check_video, resolve_media(manifest.media_root, video, fps).location, fps)
                ahead += 1
            answer = pool.result()
            check = answer.value
            if answer.error is not None:
                check = VideoCheck(num_frames=0, until_seconds=0.0, digest="", error=str(answer.error))
            yield cells[answer.key], check


def _judge(manifest: Manifest, checks: Mapping[tuple[str, float], VideoCheck]) -> Report:
    """Compare what came out of each video with what its clips need."""
    needed = _last_keyframes(manifest)
    items: list[Item] = []
    seen: dict[tuple[str, float, float], tuple[str, str]] = {}
    broken_clips: set[str] = set()
    for clip in manifest.clips.to_pylist():
        check = checks[clip["video"], clip["fps"]]
        until = needed.get(clip["clip_id"], clip["end_seconds"] if manifest.kind == "classify" else 0.0)
        problem, reason = _problem(check, until)
        if not problem:
            key = (check.digest, round(clip["start_seconds"], 3), round(clip["end_seconds"], 3))
            first = seen.setdefault(key, (clip["clip_id"], clip["split"]))
            if first[0] != clip["clip_id"]:
                problem, reason = "duplicate", f"shows the same as clip {first[0]!r} of split {first[1]!r}"
        if problem:
            names = {name: clip[name] for name in ("clip_id", "video", "split")}
            items.append(Item(**names, problem=problem, reason=reason))
            broken_clips.add(clip["video"])
    elsewhere = sorted({video for (video, _), c in checks.items() if c.error is not None} - broken_clips)
    return Report(
        num_videos=len(checks),
        num_clips=manifest.clips.num_rows,
        num_frames=sum(check.num_frames for check in checks.values()),
        items=tuple(items),
        damaged_elsewhere=tuple(elsewhere),
        at_import=_at_import(manifest),
    )


def _problem(check: VideoCheck, until: float) -> tuple[str, str]:
    if check.missing:
        return "missing", check.error or ""
    slack = SLACK_SECONDS if check.error is None else TIME_TOLERANCE
    enough = check.num_frames > 0 and check.until_seconds >= until - slack
    if check.error is not None and not enough:
        return "broken", check.error
    if not enough:
        return "short", f"the video ends at {check.until_seconds:.2f} s, the clip needs it up to {until:.2f} s"
    return "", ""


def _at_import(manifest: Manifest) -> dict[str, int]:
    """Return the manifest's counts other than 0 of what is not in its tables."""
    held = {"clips", "videos", "boxes", "boxes_detected", "keyframes", "rows", "shards"}
    held |= {f"clips_{split}" for split in manifest.clips.column("split").unique().to_pylist()}
    return {what: number for what, number in manifest.counts.items() if number and what not in held}


def _last_keyframes(manifest: Manifest) -> dict[str, float]:
    """Return the time of each clip's last box; a classification set has none."""
    if manifest.boxes is None:
        return {}
    last = manifest.boxes.group_by("clip_id").aggregate([("pts_seconds", "max")])
    return dict(zip(last.column("clip_id").to_pylist(), last.column("pts_seconds_max").to_pylist(), strict=True))
