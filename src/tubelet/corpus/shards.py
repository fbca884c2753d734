"""Work on millions of videos in shards: each a file named after what it is made from, so that what is there is done.

``make_codes`` and ``make_pairs`` are the functions of one shard; every engine calls the same ones, so what comes out
depends on nothing else. A shard is written whole or not at all; a run that was killed makes the missing ones.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tubelet.corpus.dedup import DedupSettings, TargetIndex, find_duplicates, index_targets
from tubelet.corpus.fingerprint import FingerprintSettings, failed_row, fingerprint_shard
from tubelet.corpus.unfinished import whole_shard
from tubelet.records import to_json
from tubelet.types import VideoError, first_line
from tubelet.video.media import MediaRoot, resolve_media
from tubelet.worker_pool import WorkerPool

WORKER_MODULES = ("tubelet.corpus.fingerprint", "tubelet.video.ready")
INDEX_CODES = 2**24
"""Codes of targets that are indexed together: a GiB in every process, 25,000 videos of 10 s with their crops."""
VideoCall = Callable[..., pa.Table]
"""As ``fingerprint_shard``, of a module that workers can import."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodesJob:
    """Codes of some videos."""

    out: Path
    """The shard's file."""
    media_root: MediaRoot
    videos: pa.StringArray
    """In Arrow, because one process holds all of them: a fifth of what texts of Python take."""
    fps: pa.DoubleArray
    """Of folders or tars of frames, 0 = the file's own."""
    settings: FingerprintSettings
    video_seconds: float
    """A video that takes longer is given up."""
    call: VideoCall = field(default=fingerprint_shard)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsJob:
    """Pairs of the videos of one shard of codes and those of some shards of targets."""

    out: Path
    sources: Path
    targets: tuple[tuple[str, Path], ...]
    """Those that are indexed together: what is put before the names of a shard's videos, and the shard."""
    settings: DedupSettings


Job = CodesJob | PairsJob


def run_job(job: Job, num_workers: int) -> None:
    """Make one shard.

    Args:
        job: Which.
        num_workers: Processes that decode.
    """
    if isinstance(job, PairsJob):
        make_pairs(job)
    else:
        make_codes(job, num_workers)


def run_here(jobs: Sequence[Job], num_workers: int) -> Iterator[Job]:
    """Make shards on this machine; yield each that is done."""
    for job in jobs:
        run_job(job, num_workers)
        yield job


def make_codes(job: CodesJob, num_workers: int) -> None:
    """Write the codes of a shard's videos; one that crashes, hangs or cannot be read is a row with the reason.

    A call that ends its worker process is repeated in another one, twice at most (``WorkerPool``).
    """
    rows: dict[int, pa.Table] = {}
    root, settings, videos = job.media_root, job.settings, job.videos.to_pylist()
    with WorkerPool(num_workers, setup=None, modules=WORKER_MODULES, call_seconds=job.video_seconds) as pool:
        for place, (video, fps) in enumerate(zip(videos, job.fps.to_pylist(), strict=True)):
            pool.submit(place, _one_video, job.call, video, fps, root, settings)
        for _ in videos:
            done = pool.result()
            rows[done.key] = failed_row(videos[done.key], str(done.error), settings) if done.error else done.value
    write_shard(job.out, pa.concat_tables([rows[place] for place in range(len(videos))]))


def _one_video(
    _: None, call: VideoCall, video: str, fps: float, media_root: MediaRoot, settings: FingerprintSettings
) -> pa.Table:
    try:
        return call([video], media_root=media_root, settings=settings, fps=[fps])
    except Exception as error:  # a mistake of ours in one video of millions is told in its row, and ends nothing
        return failed_row(video, f"{type(error).__name__}: {first_line(error)}", settings)


def make_pairs(job: PairsJob) -> None:
    """Write which videos of a shard share frames with a target."""
    targets = _index(job.targets, job.settings)
    write_shard(job.out, find_duplicates(pq.read_table(job.sources), targets, job.settings))


@lru_cache(maxsize=1)
def _index(shards: tuple[tuple[str, Path], ...], settings: DedupSettings) -> TargetIndex:
    """Return the index; a process makes it once for all its shards, whose names say what is in them."""
    return index_targets([_named(pq.read_table(path), before) for before, path in shards], settings)


def _named(codes: pa.Table, before: str) -> pa.Table:
    """Put something before the names of videos: two sets may both have a 1.mp4, which is not one video."""
    names = pa.array([before + video for video in codes.column("video").to_pylist()], pa.string())
    return codes.set_column(0, codes.schema.field("video"), names)


def write_shard(path: Path, table: pa.Table) -> None:
    """Write a table, whole and durably or not at all; the same table gives the same bytes."""
    with whole_shard(path) as file:
        pq.write_table(table, file, compression="zstd")


def key_of(*parts: Any) -> str:
    """Return the name of what is made from these: half of a SHA-256 of them as JSON."""
    return hashlib.sha256(json.dumps(to_json(list(parts)), sort_keys=True).encode()).hexdigest()[:32]


def codes_jobs(
    videos: Iterable[tuple[str, float]],
    folder: Path,
    *,
    media_root: MediaRoot,
    settings: FingerprintSettings,
    shard_videos: int,
    video_seconds: float,
    call: VideoCall = fingerprint_shard,
) -> list[CodesJob]:
    """Return the shards of some videos, in their order.

    Args:
        videos: Cells of a manifest, and the frame rate of a folder or tar of frames (0 = the file's own); taken one
            after another.
        folder: For the shards' files.
        media_root: Folder the videos lie in.
        settings: Of the codes.
        shard_videos: Videos of one shard.
        video_seconds: A video that takes longer is given up.
        call: What is done with a video.
    """
    made = {key.decode(): value.decode() for key, value in settings.schema.metadata.items()}
    jobs, coming = [], iter(videos)
    while some := list(islice(coming, shard_videos)):
        versions = [_version(media_root, video, fps) for video, fps in some]
        key = key_of("codes", made, video_seconds, [*some], versions)
        jobs.append(
            CodesJob(
                out=folder / f"{key}.parquet",
                media_root=media_root,
                videos=pa.array([video for video, _ in some], pa.string()),
                fps=pa.array([fps for _, fps in some], pa.float64()),
                settings=settings,
                video_seconds=video_seconds,
                call=call,
            )
        )
    return jobs


def _version(media_root: MediaRoot, video: str, fps: float) -> tuple[int, int]:
    """Return bytes and time of change of a video's file, so that one that was replaced is decoded again."""
    try:
        media = resolve_media(media_root, video, fps)
        return (-1, -1) if media.is_uri else media.version()
    except VideoError:
        return -2, -2


def pairs_jobs(
    sources: Sequence[CodesJob],
    targets: Sequence[tuple[str, CodesJob]],
    folder: Path,
    settings: DedupSettings,
    *,
    index_codes: int = INDEX_CODES,
) -> list[PairsJob]:
    """Return the shards of pairs: one for each shard of sources and each group of shards of targets, group by group.

    Args:
        sources: Shards of codes.
        targets: What is put before the names of a shard's videos, and the shard; all of them are made.
        folder: For the shards' files.
        settings: Which pairs are duplicates.
        index_codes: Codes of targets that are indexed together at most, but for a single shard with more.
    """
    jobs = []
    for group in _groups([(before, job.out) for before, job in targets], index_codes):
        names = [(before, path.name) for before, path in group]
        jobs += [
            PairsJob(
                out=folder / f"{key_of('pairs', job.out.name, names, settings)}.parquet",
                sources=job.out,
                targets=group,
                settings=settings,
            )
            for job in sources
        ]
    return jobs


def _groups(shards: Sequence[tuple[str, Path]], index_codes: int) -> list[tuple[tuple[str, Path], ...]]:
    groups: list[list[tuple[str, Path]]] = []
    room = 0
    for before, path in shards:
        codes = _num_codes(path)
        if not groups or codes > room:
            groups.append([])
            room = index_codes
        groups[-1].append((before, path))
        room -= codes
    return [tuple(group) for group in groups]


def _num_codes(shard: Path) -> int:
    """Return how many codes a shard has; its last column holds them."""
    metadata = pq.read_metadata(shard)
    groups = (metadata.row_group(place) for place in range(metadata.num_row_groups))
    return sum(group.column(metadata.num_columns - 1).num_values for group in groups)


def run_jobs(
    jobs: Sequence[Job],
    *,
    engine: str,
    num_workers: int,
    on_done: Callable[[int, int], None] | None = None,
) -> None:
    """Make the shards that are missing.

    Args:
        jobs: All shards.
        engine: ``local`` or ``ray``; what comes out is the same.
        num_workers: Processes that decode; of ``ray`` those of each task.
        on_done: Called with (shards there, shards in all), first with those that are there already.

    Raises:
        InputError: There is no Ray cluster, or Ray is not installed.
    """
    left = [job for job in jobs if not job.out.exists()]
    if on_done is not None:
        on_done(len(jobs) - len(left), len(jobs))
    if engine == "ray" and left:
        from tubelet.corpus.ray_engine import run_on_ray  # only who has a cluster needs it

        done = run_on_ray(left, num_workers)
    else:
        done = run_here(left, num_workers)
    for number, _ in enumerate(done, start=1):
        if on_done is not None:
            on_done(len(jobs) - len(left) + number, len(jobs))
