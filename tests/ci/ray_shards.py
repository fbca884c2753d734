"""Make shards on a Ray cluster of two workers, of which one is killed in the middle; run in a process of its own.

    PYTHONPATH=tests/corpus python tests/ci/ray_shards.py MEDIA OUT CORPUS

The shards of the videos of MEDIA go to OUT; then the corpus of ``small_corpus`` in CORPUS is built on what is left.
Ray warns of things that are none of ours, and what it starts ends with this process.
"""

import os
import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from shard_calls import slow_call
from small_corpus import small_corpus

from tubelet.corpus.fingerprint import FingerprintSettings
from tubelet.corpus.pipeline import build_recipe
from tubelet.corpus.shards import CodesJob, codes_jobs, run_jobs


def jobs_of(media: Path, out: Path) -> list[CodesJob]:
    """Return shards of all videos of a folder."""
    return codes_jobs(
        [(path.name, 0.0) for path in sorted(media.glob("*.mp4"))],
        out,
        media_root=media,
        settings=FingerprintSettings(fps=8.0, side=32),
        shard_videos=2,
        video_seconds=60.0,
        call=slow_call,
    )


def main(media: Path, out: Path, corpus: Path) -> None:
    """Run everything; say when a worker was killed and how many are left at the end."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 10**8})
    workers = [cluster.add_node(num_cpus=1, object_store_memory=10**8) for _ in range(2)]
    cluster.wait_for_nodes()
    os.environ["RAY_ADDRESS"] = cluster.address

    def kill_one() -> None:
        while not list(out.glob("*.parquet")):
            time.sleep(0.02)
        print("killing one when shards are there:", len(list(out.glob("*.parquet"))), flush=True)
        cluster.remove_node(workers[0], allow_graceful=False)

    threading.Thread(target=kill_one, daemon=True).start()
    began = time.monotonic()
    run_jobs(jobs_of(media, out), engine="ray", num_workers=1)
    print(f"seconds: {time.monotonic() - began:.1f}", flush=True)
    print("workers alive:", sum(node["Alive"] for node in ray.nodes()) - 1, flush=True)
    build_recipe(small_corpus(corpus), corpus / "on-ray", engine="ray", num_workers=1)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
