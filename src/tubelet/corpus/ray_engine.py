"""The functions of ``shards.py`` as tasks of Ray Data on a cluster that is there.

Every node must see the videos and the folder of the shards under the same paths. A task makes one shard and answers
with its name; videos that fail are rows inside it. Ray repeats a task whose worker process or node is gone, a few times
only (its default is for ever); a shard that nobody could make is then made video by video, and a video that ends every
task it is in becomes a row with that reason.
"""

import logging
import os
import pickle
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tubelet.corpus.fingerprint import failed_row
from tubelet.corpus.shards import CodesJob, Job, run_job, write_shard
from tubelet.corpus.unfinished import unfinished
from tubelet.types import InputError

MAX_RETRIES = 2
"""Of a task whose process or node is gone."""
LOST = f"ended every process that tried it ({1 + MAX_RETRIES} tasks)"


def run_on_ray(jobs: Sequence[Job], num_workers: int) -> Iterator[Job]:
    """Make shards on a cluster; yield each that is done.

    Args:
        jobs: Missing shards.
        num_workers: Processes that decode in each task; a task takes as many cores.

    Raises:
        InputError: There is no cluster, Ray is not installed, or shards of pairs cannot be made.
    """
    _connect()
    for job in _run(jobs, num_workers):
        yield job
    for job in [job for job in jobs if not job.out.exists()]:
        if not isinstance(job, CodesJob):
            raise InputError(f"{job.out}: Ray lost every task that made it; see its logs")
        _one_by_one(job)
        yield job


def _connect() -> None:
    try:
        import ray
    except ImportError as error:
        raise InputError("Ray is not installed; pip install 'tubelet[ray]'") from error
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS", "auto")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"no Ray cluster at {address!r} (RAY_ADDRESS); `ray start --head` starts one") from error


def _run(jobs: Sequence[Job], num_workers: int) -> Iterator[Job]:
    """Run tasks of one shard each; yield those that were made, in the order in which they are done."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1  # a task that fails to the end is told by its missing file
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    items = [{"place": place, "job": pickle.dumps(job)} for place, job in enumerate(jobs)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray will drop this argument in 2.64 and has no other for retries yet
        made = ray.data.from_items(items, override_num_blocks=len(items)).map(
            _task, fn_args=(num_workers,), num_cpus=num_workers, ray_remote_args_fn=_task_arguments
        )
    try:
        for row in made.iter_rows():
            yield jobs[row["place"]]
    except ray.exceptions.RayError:
        # All of its tasks failed: what was made is found by its file.
        return


def _task_arguments() -> dict[str, Any]:
    return {"max_retries": MAX_RETRIES}  # not for ever, which is Ray Data's default


def _task(row: dict[str, Any], num_workers: int) -> dict[str, Any]:
    job: Job = pickle.loads(row["job"])
    if not job.out.exists():  # a task that Ray thought lost may have been done
        run_job(job, num_workers)
    return {"place": row["place"]}


def _one_by_one(job: CodesJob) -> None:
    """Make a shard from tasks of a single video, as rows of those that cannot be done."""
    folder = unfinished(job.out.with_suffix(".singles"))
    try:
        singles = [
            replace(
                job, out=folder / f"{place}.parquet", videos=job.videos.slice(place, 1), fps=job.fps.slice(place, 1)
            )
            for place in range(len(job.videos))
        ]
        for _ in _run(singles, 1):
            pass
        rows = [
            pq.read_table(single.out)
            if single.out.exists()
            else failed_row(single.videos[0].as_py(), LOST, job.settings)
            for single in singles
        ]
        write_shard(job.out, pa.concat_tables(rows))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
