"""Posts to labels and labels to subsets: seconds, processor seconds and memory, on generated posts with a Zipf tail.

    python benchmarks/corpus.py --posts 1e7 --rounds 3     # 10^7 posts, 4 x 10^7 tags, 10^5 hashtag spellings
    python benchmarks/corpus.py                            # a tenth of it

Posts are written once into --folder. ``join`` is DuckDB's bare join of the same file, without any rule. ``tags`` and
``captions`` are everything up to one label a video. ``in 1 GiB`` gives the database a GiB, once for the same posts and
once for three times as many: what grows is the result. Measured in processes of their own, so that each has its own
peak of memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import machine
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tubelet.corpus.choose import draw, tail_preserving_order
from tubelet.corpus.hashtags import HASHTAGS_SCHEMA, Hashtags
from tubelet.corpus.join import JoinSettings
from tubelet.corpus.match import match_posts
from tubelet.labels import LabelSpace

VOCABULARY = 1_000_000
SPELLINGS = 100_000
LABELS = 400
TAGS_A_POST = 4
BATCH = 250_000
PLAIN = "what a lovely day it was today, see you"
EMOJI = "\U0001f41f\U0001f3a3 was für ein Tag \u2026 see you"
KINDS = ("join", "tags", "captions", "subset", "tags in 1 GiB", "3 x tags in 1 GiB")
TIMES = 3


def main() -> None:
    """Run each measurement in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=float, default=1e6)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("out/bench-corpus"))
    parser.add_argument("--memory-gib", type=float, default=3.0)
    parser.add_argument("--only", choices=KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    number = int(arguments.posts)
    path = arguments.folder / f"posts-{number}.parquet"
    if arguments.only:
        print(json.dumps(measure(arguments.only, path, arguments.folder / "hashtags.parquet", arguments.memory_gib)))
        return
    if not path.exists():
        write_posts(path, arguments.folder / "hashtags.parquet", number)
    rounds = []
    for _ in range(arguments.rounds):
        given = [sys.executable, __file__, "--posts", str(number), "--folder", str(arguments.folder)]
        given += ["--memory-gib", str(arguments.memory_gib)]
        lines = [subprocess.check_output([*given, "--only", kind], text=True) for kind in KINDS]
        rounds.append({kind: json.loads(line.splitlines()[-1]) for kind, line in zip(KINDS, lines)})
    rows = []
    for kind in KINDS:
        median = {what: round(float(np.median([r[kind][what] for r in rounds])), 3) for what in rounds[0][kind]}
        ratio = float(np.median([r[kind]["cpu_seconds"] / r["join"]["cpu_seconds"] for r in rounds]))
        posts = number * (TIMES if kind.startswith(str(TIMES)) else 1)
        rows.append({"posts": posts, "kind": kind, **median, "x processor of the bare join": round(ratio, 2)})
    if number >= 10**7:
        machine.write_result("corpus", rows)
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


def measure(kind: str, path: Path, hashtags: Path, memory_gib: float) -> dict[str, float]:
    """Return seconds, processor seconds and peak memory of one measurement."""
    table = pq.read_table(hashtags).cast(HASHTAGS_SCHEMA)
    seeds = Hashtags(label_space=LabelSpace(name="bench", names=tuple(map(str, range(LABELS)))), table=table)
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
        wanted = one_kind(path, "text" if kind == "captions" else "tags")
        if kind.startswith(str(TIMES)):
            wanted = several(wanted)
        memory_gib = 1.0 if "1 GiB" in kind else memory_gib
        began, busy = time.perf_counter(), _cpu()
        match_posts(wanted, seeds, settings=JoinSettings(memory_gib=memory_gib, num_threads=2))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": time.perf_counter() - began, "cpu_seconds": _cpu() - busy, "gib": peak}


def one_kind(path: Path, column: str) -> Path:
    """Return the posts with their tags or their captions alone."""
    only = path.with_name(f"{column}-{path.name}")
    if not only.exists():
        wanted = ["video", column, "duration_seconds"]
        with pq.ParquetWriter(only, pa.schema([pq.read_schema(path).field(name) for name in wanted])) as writer:
            for batch in pq.ParquetFile(path).iter_batches(columns=wanted):
                writer.write_batch(batch)
    return only


def several(path: Path) -> Path:
    """Return a folder with the posts ``TIMES`` times, each time under other names of videos."""
    folder = path.with_suffix(f".{TIMES}x")
    folder.mkdir(exist_ok=True)
    for number in range(TIMES):
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
