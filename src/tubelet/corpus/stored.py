"""Videos with their labels in a parquet file: posts are matched once, and few videos stand in memory."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tubelet.corpus.hashtags import HASHTAGS_SCHEMA, Hashtags
from tubelet.corpus.rules import RuleCount
from tubelet.corpus.unfinished import whole_shard
from tubelet.labels import LabelSpace

VERSION = 2  # 2: read a few rows at a time
ROWS = 2**20
"""Videos that are read or written together."""
SCHEMA = pa.schema([("video", pa.string()), ("duration_seconds", pa.float64()), ("labels", pa.list_(pa.int32()))])
"""Seconds are 0 for a picture; labels are sorted places in the label space of the hashtags."""
_KEY = b"tubelet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Matched:
    """What matching says beside the videos."""

    hashtags: Hashtags
    tag_posts: dict[str, int]
    """Posts that carry each hashtag."""
    rules: tuple[RuleCount, ...]
    """Those that were applied."""
    sources: tuple[tuple[str, int], ...]
    """Name and bytes of each file of posts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """Videos with every label whose hashtags their posts carry."""

    path: Path
    """Parquet of ``SCHEMA``, in the order of video, none twice."""
    keep: NDArray[np.bool_]
    """(N,), which of its videos the rules have left."""
    matched: Matched

    @property
    def num_videos(self) -> int:
        """Videos that are left."""
        return int(self.keep.sum())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the videos that are left, as of ``SCHEMA``, in their order, some at a time."""
        first = 0
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(ROWS, use_threads=False):  # threads that decode make DuckDB complain at exit
                here = self.keep[first : first + len(batch)]
                first += len(batch)
                yield batch if here.all() else batch.filter(pa.array(here))


def keep_videos(labelled: Labelled, keep: NDArray[np.bool_], rule: str) -> Labelled:
    """Drop videos, and say by which rule.

    Args:
        labelled: Before.
        keep: Which of those that are left stay, (num_videos,).
        rule: What is true of them.
    """
    left = labelled.keep.copy()
    left[left] = keep
    count = RuleCount(rule=rule, unit="videos", before=len(keep), after=int(keep.sum()))
    matched = replace(labelled.matched, rules=(*labelled.matched.rules, count))
    return replace(labelled, keep=left, matched=matched)


def write_labelled(path: Path, videos: Iterable[pa.RecordBatch], matched: Matched) -> Labelled:
    """Write videos with their labels, hashtags and rules, whole or not at all; the same ones give the same bytes.

    Args:
        path: The file.
        videos: Columns of ``SCHEMA``, in the order of video.
        matched: All else.
    """
    facts = {
        "name": matched.hashtags.label_space.name,
        "names": matched.hashtags.label_space.names,
        "num_orders_left_out": matched.hashtags.num_orders_left_out,
        "hashtags": matched.hashtags.table.to_pydict(),
        "tag_posts": matched.tag_posts,
        "rules": [asdict(rule) for rule in matched.rules],
        "sources": matched.sources,
    }
    schema = SCHEMA.with_metadata({_KEY: json.dumps(facts)})
    num_videos = 0
    with whole_shard(path) as file, _writer(file, schema) as writer:
        for table in _even(videos):
            num_videos += len(table)
            writer.write_table(table.cast(SCHEMA).replace_schema_metadata(schema.metadata))
    return Labelled(path=path, keep=np.ones(num_videos, np.bool_), matched=matched)


def read_labelled(path: Path) -> Labelled:
    """Open what ``write_labelled`` wrote."""
    metadata = pq.read_metadata(path)
    facts = json.loads(metadata.metadata[_KEY])
    matched = Matched(
        hashtags=Hashtags(
            label_space=LabelSpace(name=facts["name"], names=tuple(facts["names"])),
            table=pa.table(facts["hashtags"], schema=HASHTAGS_SCHEMA),
            num_orders_left_out=facts["num_orders_left_out"],
        ),
        tag_posts=facts["tag_posts"],
        rules=tuple(RuleCount(**rule) for rule in facts["rules"]),
        sources=tuple((name, size) for name, size in facts["sources"]),
    )
    return Labelled(path=path, keep=np.ones(metadata.num_rows, np.bool_), matched=matched)


def _writer(file: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """Return a writer that is fast rather than thrifty: the file is read twice and belongs to ``work``."""
    return pq.ParquetWriter(file, schema, compression="lz4", use_dictionary=False)


def _even(videos: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield ``ROWS`` at a time whatever comes: where a database cuts its answer depends on its threads."""
    waiting: list[pa.RecordBatch] = []
    number = 0
    for batch in videos:
        while number + len(batch) >= ROWS:
            taken = ROWS - number
            yield pa.Table.from_batches([*waiting, batch.slice(0, taken)])
            waiting, number, batch = [], 0, batch.slice(taken)
        if len(batch):
            waiting.append(batch)
            number += len(batch)
    if waiting:
        yield pa.Table.from_batches(waiting)
