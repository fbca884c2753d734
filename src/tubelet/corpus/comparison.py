"""Hold videos against those of target data sets and against each other (paper B, A.2), shard by shard.

Every shard is kept in a folder under a name that says what it is made from: what was stopped goes on.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tubelet.corpus.dedup import PAIRS, DedupSettings
from tubelet.corpus.fingerprint import TARGET_CROPS, FingerprintSettings
from tubelet.corpus.limits import SHARD_VIDEOS, VIDEO_SECONDS
from tubelet.corpus.shards import CodesJob, Job, codes_jobs, pairs_jobs, run_jobs
from tubelet.data.manifest import Manifest
from tubelet.types import InputError
from tubelet.video.media import MediaRoot, absolute_root

QUARANTINE = pa.schema([("role", pa.string()), ("video", pa.string()), ("reason", pa.string())])
"""``role``: ``source``, or the name of the target data set whose video could not be compared with."""
Progress = Callable[[str, int, int], None]
"""Called with (what is done, how much of it, in all)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What became of videos that were compared."""

    quarantine: pa.Table
    """``QUARANTINE``: videos that could not be decoded to their end."""
    of_targets: pa.Table
    """``PAIRS`` of a video and a target's, which is named after its data set."""
    of_each_other: pa.Table
    """``PAIRS`` of a video and one that stays instead of it."""

    def unreadable(self) -> list[str]:
        """Return the videos themselves that could not be decoded."""
        rows = self.quarantine.filter(pc.equal(self.quarantine.column("role"), "source"))
        found: list[str] = rows.column("video").to_pylist()
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareSettings:
    """How videos are compared."""

    dedup: DedupSettings
    within: bool = False
    """Of near-duplicates among the videos themselves keep the first by name."""
    video_seconds: float = VIDEO_SECONDS
    """A video whose decoding takes longer is given up."""
    shard_videos: int = SHARD_VIDEOS
    """Videos of one shard."""

    def __post_init__(self) -> None:
        if self.shard_videos < 1 or not self.video_seconds > 0:
            raise InputError(
                f"shard_videos is {self.shard_videos} and video_seconds {self.video_seconds:g}, "
                "expected at least 1 and more than 0"
            )


@dataclass(frozen=True, slots=True)
class Engine:
    """Who makes the shards."""

    name: str = "local"
    """Or ``ray``."""
    num_workers: int = 2
    """Processes that decode; with ``ray`` those of each task."""
    on_progress: Progress = lambda what, done, total: None

    def run(self, what: str, jobs: Sequence[Job]) -> None:
        """Make the shards that are missing."""
        run_jobs(
            jobs,
            engine=self.name,
            num_workers=self.num_workers,
            on_done=lambda done, total: self.on_progress(what, done, total),
        )


def compare(
    videos: Iterable[tuple[str, float]],
    *,
    media_root: MediaRoot,
    targets: Sequence[Manifest],
    settings: CompareSettings,
    work: Path,
    engine: Engine,
) -> Comparison:
    """Decode videos and targets to codes and find the duplicates.

    Args:
        videos: Cells of a manifest, and the frame rate of a folder or tar of frames (0 = the file's own).
        media_root: Folder they lie in.
        targets: Data sets whose videos are looked for.
        settings: What is a duplicate.
        work: Folder of the shards.
        engine: Who makes them.

    Raises:
        InputError: Two targets have one name.
    """
    ours, theirs = code_shards(
        videos, media_root=media_root, targets=targets, settings=settings, work=work, engine=engine
    )
    quarantine = pa.concat_tables(
        [QUARANTINE.empty_table(), *(_failed(role, job) for role, job in [*theirs, *(("source", job) for job in ours)])]
    )
    none = PAIRS.empty_table()
    found = Comparison(quarantine=quarantine, of_targets=none, of_each_other=none)
    if targets:
        pairs = pairs_of(ours, named(theirs), settings, work, engine)
        found = Comparison(quarantine=quarantine, of_targets=_duplicates(pairs), of_each_other=none)
    if settings.within:
        gone = {*found.unreadable(), *found.of_targets.column("source").to_pylist()}
        pairs = _duplicates(pairs_of(ours, [("", job) for job in ours], settings, work, engine))
        later = later_ones(pairs, gone)
        found = Comparison(quarantine=quarantine, of_targets=found.of_targets, of_each_other=later)
    return found


def later_ones(pairs: pa.Table, dropped: set[str]) -> pa.Table:
    """Return of each duplicate one pair with an earlier video that stays; the first by name of several stays.

    Args:
        pairs: ``PAIRS`` of videos with each other.
        dropped: Videos that other rules dropped.
    """
    chosen: list[int] = []
    gone = set(dropped)
    order = sorted(zip(pairs.column("source").to_pylist(), pairs.column("target").to_pylist(), range(pairs.num_rows)))
    for source, target, place in order:
        if target < source and target not in gone and source not in gone:
            gone.add(source)
            chosen.append(place)
    return pairs.take(pa.array(chosen, pa.int64()))


def code_shards(
    videos: Iterable[tuple[str, float]],
    *,
    media_root: MediaRoot,
    targets: Sequence[Manifest],
    settings: CompareSettings,
    work: Path,
    engine: Engine,
) -> tuple[list[CodesJob], list[tuple[str, CodesJob]]]:
    """Make the shards of codes; return those of the videos, and those of the targets with their data set's name.

    Args:
        videos: As of ``compare``, like all others.
        media_root: See there.
        targets: See there.
        settings: See there.
        work: See there.
        engine: See there.
    """
    names = [manifest.name for manifest in targets]
    if len(set(names)) < len(names):
        raise InputError(f"targets are named {', '.join(names)}; expected different names")
    theirs = [
        (manifest.name, job)
        for manifest in targets
        for job in codes_jobs(
            cells_of(manifest),
            work / "target-codes",
            media_root=manifest.media_root,
            settings=FingerprintSettings(crops=TARGET_CROPS),
            shard_videos=settings.shard_videos,
            video_seconds=settings.video_seconds,
        )
    ]
    engine.run("codes of the targets' videos", [job for _, job in theirs])
    ours = codes_jobs(
        videos,
        work / "codes",
        media_root=absolute_root(media_root),
        settings=FingerprintSettings(),
        shard_videos=settings.shard_videos,
        video_seconds=settings.video_seconds,
    )
    engine.run("codes of the videos", ours)
    return ours, theirs


def cells_of(manifest: Manifest) -> list[tuple[str, float]]:
    """Return the videos of a manifest with their frame rates, by name."""
    cells = manifest.clips.select(["video", "fps"]).group_by(["video", "fps"]).aggregate([]).sort_by("video")
    return list(zip(cells.column("video").to_pylist(), cells.column("fps").to_pylist(), strict=True))


def pairs_of(
    ours: Sequence[CodesJob],
    theirs: Sequence[tuple[str, CodesJob]],
    settings: CompareSettings,
    work: Path,
    engine: Engine,
) -> list[Path]:
    """Make the shards of pairs (``PAIRS``) and return their files, those of the first shard of videos first.

    Args:
        ours: Shards of codes of the videos.
        theirs: What is put before the names of a shard's videos, and the shard.
        settings: What is a duplicate.
        work: Folder of the shards.
        engine: Who makes them.
    """
    jobs = pairs_jobs(ours, theirs, work / "pairs", settings.dedup)
    engine.run("videos compared", jobs)
    return [job.out for place in range(len(ours)) for job in jobs[place :: len(ours)]]


def named(theirs: Sequence[tuple[str, CodesJob]]) -> list[tuple[str, CodesJob]]:
    """Return shards of targets with what is put before the names of their videos, the data set's name."""
    return [(f"{name}: ", job) for name, job in theirs]


def _duplicates(shards: Sequence[Path]) -> pa.Table:
    tables = [pq.read_table(path, filters=[("duplicate", "=", True)]) for path in shards]
    return pa.concat_tables([PAIRS.empty_table(), *tables])


def _failed(role: str, job: CodesJob) -> pa.Table:
    """Return the videos of a shard that could not be decoded to their end."""
    table = pq.read_table(job.out, columns=["video", "reason"])
    bad = table.filter(pc.not_equal(table.column("reason"), ""))
    roles = pa.array([role] * bad.num_rows, pa.string())
    return pa.table([roles, bad.column("video"), bad.column("reason")], schema=QUARANTINE)
