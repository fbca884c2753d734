"""Posts to labels and labels to subsets: seconds, processor seconds and memory, on generated posts with a Zipf tail.

    python benchmarks/corpus.py --posts 1e7 --rounds 3            # 10^7 posts, 4 x 10^7 tags, 10^5 hashtag spellings
    python benchmarks/corpus.py                                   # a tenth of it
    python benchmarks/corpus.py --posts 1e7 --kinds tags --times 1 3 10     # memory only: 10^7, 3 x 10^7 and 10^8 posts

Posts are written once into --folder. ``join`` is DuckDB's bare join of the same file, without any rule. ``tags`` and
``captions`` are everything up to one label a video. ``--times`` takes the posts so many times, each time under other
names of videos. Measured in processes of their own, so that each has its own peak of memory; ``anonymous gib`` is what
of it is no file that the system may take back.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import machine
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tubelet.corpus.choose import draw, tail_preserving_order
from tubelet.corpus.hashtags import HASHTAGS_SCHEMA, Hashtags
from tubelet.corpus.join import JoinSettings, join_posts
from tubelet.corpus.match import choose_labels
from tubelet.labels import LabelSpace

VOCABULARY = 1_000_000
SPELLINGS = 100_000
LABELS = 400
TAGS_A_POST = 4
BATCH = 250_000
PLAIN = "what a lovely day it was today, see you"
EMOJI = "\U0001f41f\U0001f3a3 was für ein Tag \u2026 see you"
KINDS = ("join", "tags", "captions", "subset")


def main() -> None:
    """Run each measurement in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=float, default=1e6)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("out/bench-corpus"))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--times", type=int, nargs="+", default=[1])
    parser.add_argument("--result", default="", help="name of the file below results/")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    number = int(arguments.posts)
    path, hashtags = arguments.folder / f"posts-{number}.parquet", arguments.folder / "hashtags.parquet"
    if arguments.only:
        print(json.dumps(measure(arguments.only[0], path, hashtags, int(arguments.only[1]))))
        return
    if not path.exists():
        write_posts(path, hashtags, number)
    wanted = [(kind, times) for kind in arguments.kinds for times in arguments.times]
    rounds = []
    for _ in range(arguments.rounds):
        given = [sys.executable, __file__, "--posts", str(number), "--folder", str(arguments.folder), "--only"]
        lines = [subprocess.check_output([*given, kind, str(times)], text=True) for kind, times in wanted]
        rounds.append([json.loads(line.splitlines()[-1]) for line in lines])
    rows: list[dict[str, Any]] = []
    for place, (kind, times) in enumerate(wanted):
        median = {what: round(float(np.median([r[place][what] for r in rounds])), 3) for what in rounds[0][place]}
        rows.append({"posts": number * times, "kind": kind, **median})
    if arguments.result:
        machine.write_result(arguments.result, rows)
    else:
        machine.print_table(rows)


def write_posts(path: Path, hashtags: Path, number: int) -> None:
    """Write posts whose tags follow Zipf's law; three captions in ten and one tag in a hundred are not ASCII."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(letters[rng.integers(0, 26, length)]) for length in rng.integers(5, 18, VOCABULARY)]
    vocabulary = pa.array([f"{word}é" if k % 100 == 99 else word for k, word in enumerate(words)])
    chance = np.cumsum(1 / np.arange(1, VOCABULARY + 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    chosen = rng.permutation(VOCABULARY)[:SPELLINGS]
    labels = pa.array(np.arange(SPELLINGS) * LABELS // SPELLINGS, pa.int32())
    pq.write_table(pa.table({"tag": vocabulary.take(pa.array(chosen)), "label": labels}), hashtags)
    writer = None
    for first in range(0, number, BATCH):
        size = min(BATCH, number - first)
        offsets = np.concatenate([[0], np.cumsum(rng.poisson(TAGS_A_POST, size))]).astype(np.int32)
        places = np.searchsorted(chance / chance[-1], rng.random(offsets[-1]))
        tags = pa.ListArray.from_arrays(pa.array(offsets), vocabulary.take(pa.array(places)))
        typed = pc.binary_join_element_wise(pa.scalar("#"), tags.values, pa.scalar(""))
        typed = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), typed), " ")
        opening = pa.array(np.where(rng.random(size) < 0.3, EMOJI, PLAIN))
        columns = {
            "video": pa.array([f"{k:09d}.mp4" for k in range(first, first + size)]),
            "tags": tags,
            "text": pc.binary_join_element_wise(opening, typed, " "),
            "duration_seconds": rng.uniform(1, 60, size),
        }
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def measure(kind: str, path: Path, hashtags: Path, times: int) -> dict[str, float]:
    """Return seconds, processor seconds and peak memory of one measurement."""
    table = pq.read_table(hashtags).cast(HASHTAGS_SCHEMA)
    seeds = Hashtags(label_space=LabelSpace(name="bench", names=tuple(map(str, range(LABELS)))), table=table)
    wanted = path
    if kind in ("tags", "captions"):
        wanted = one_kind(path, "text" if kind == "captions" else "tags")
        wanted = several(wanted, times) if times > 1 else wanted
    done, peak = threading.Event(), [0.0]
    watch = threading.Thread(target=_watch, args=(done, peak))
    watch.start()
    began, busy = time.perf_counter(), _cpu()
    if kind == "join":
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.register("hashtags", table)
            connection.execute(
                f"CREATE TABLE found AS SELECT DISTINCT row, label FROM (SELECT file_row_number AS row, unnest(tags) "
                f"AS tag FROM read_parquet('{path}', file_row_number = true)) JOIN hashtags USING (tag)"
            )
    elif kind == "subset":
        names = pq.read_table(path, columns=["video"]).column("video")
        labels = np.random.default_rng(0).zipf(1.5, len(names)) % LABELS
        tail_preserving_order(labels, draw(names, 0, "clip"), draw(pa.array(seeds.label_space.names), 0, "label"))
    else:
        with tempfile.TemporaryDirectory() as folder:
            labelled = join_posts(wanted, seeds, JoinSettings(num_threads=2), Path(folder) / "labelled.parquet")
            choose_labels(labelled, min_videos=50, seed=0, all_labels=False)
    seconds, busy = time.perf_counter() - began, _cpu() - busy
    done.set()
    watch.join()
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "cpu_seconds": busy, "gib": gib, "anonymous gib": peak[0]}


def _watch(done: threading.Event, peak: list[float]) -> None:
    """Keep the most anonymous memory that this process has had, in GiB; looks ten times a second."""
    while not done.wait(0.1):
        status = Path("/proc/self/status").read_text()
        peak[0] = max(peak[0], int(status.partition("RssAnon:")[2].split()[0]) / 2**20)


def one_kind(path: Path, column: str) -> Path:
    """Return the posts with their tags or their captions alone."""
    only = path.with_name(f"{column}-{path.name}")
    if not only.exists():
        wanted = ["video", column, "duration_seconds"]
        with pq.ParquetWriter(only, pa.schema([pq.read_schema(path).field(name) for name in wanted])) as writer:
            for batch in pq.ParquetFile(path).iter_batches(columns=wanted):
                writer.write_batch(batch)
    return only


def several(path: Path, times: int) -> Path:
    """Return a folder with the posts so many times, each time under other names of videos."""
    folder = path.with_suffix(f".{times}x")
    folder.mkdir(exist_ok=True)
    for number in range(times):
        copy = folder / f"{number}.parquet"
        if copy.exists():
            continue
        with pq.ParquetWriter(copy, pq.read_schema(path), compression="zstd") as writer:
            for batch in pq.ParquetFile(path).iter_batches(BATCH):
                names = pc.binary_join_element_wise(pa.scalar(str(number)), batch.column("video"), pa.scalar("/"))
                writer.write_batch(batch.set_column(0, "video", names))
    return folder


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
