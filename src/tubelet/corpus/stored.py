"""Videos with their labels in one parquet file, so that posts are matched once."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tubelet.corpus.hashtags import HASHTAGS_SCHEMA, Hashtags, VerbNouns
from tubelet.corpus.join import JoinSettings, Labelled
from tubelet.corpus.rules import RuleCount
from tubelet.corpus.shards import key_of, write_shard
from tubelet.labels import LabelSpace

VERSION = 1
_KEY = b"tubelet"


def labelled_path(
    folder: Path, posts: list[tuple[str, int, int]], seeds: Hashtags | VerbNouns, settings: JoinSettings
) -> Path:
    """Return the file for these posts and hashtags; its name says what it is made from.

    Args:
        folder: Of the file.
        posts: Of ``posts_version``.
        seeds: Hashtags of labels.
        settings: How the posts are read.
    """
    if isinstance(seeds, VerbNouns):
        words = [sorted((form, sorted(some)) for form, some in words.items()) for words in (seeds.verbs, seeds.nouns)]
        made: list[Any] = [seeds.name, words]
    else:
        made = [asdict(seeds.label_space), seeds.num_orders_left_out, seeds.table.to_pydict()]
    chosen = [asdict(settings.columns), settings.max_seconds, settings.needs_duration, settings.stop_at_malformed]
    return folder / f"labelled-{key_of(VERSION, posts, made, chosen)}.parquet"


def write_labelled(path: Path, labelled: Labelled) -> None:
    """Write videos with their labels, hashtags and rules."""
    facts = {
        "name": labelled.hashtags.label_space.name,
        "names": labelled.hashtags.label_space.names,
        "num_orders_left_out": labelled.hashtags.num_orders_left_out,
        "hashtags": labelled.hashtags.table.to_pydict(),
        "tag_posts": labelled.tag_posts,
        "rules": [asdict(rule) for rule in labelled.rules],
        "sources": labelled.sources,
    }
    write_shard(path, labelled.videos.replace_schema_metadata({_KEY: json.dumps(facts)}))


def read_labelled(path: Path) -> Labelled:
    """Read what ``write_labelled`` wrote."""
    table = pq.read_table(path)
    facts = json.loads(table.schema.metadata[_KEY])
    return Labelled(
        videos=table.replace_schema_metadata(None),
        hashtags=Hashtags(
            label_space=LabelSpace(name=facts["name"], names=tuple(facts["names"])),
            table=pa.table(facts["hashtags"], schema=HASHTAGS_SCHEMA),
            num_orders_left_out=facts["num_orders_left_out"],
        ),
        tag_posts=facts["tag_posts"],
        rules=tuple(RuleCount(**rule) for rule in facts["rules"]),
        sources=tuple((name, size) for name, size in facts["sources"]),
    )
