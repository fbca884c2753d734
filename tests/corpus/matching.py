"""Posts matched or built in one call, with few options said."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tubelet.corpus.hashtags import Hashtags, VerbNouns
from tubelet.corpus.join import JoinSettings, join_posts
from tubelet.corpus.match import Matches, choose_labels, keep_present
from tubelet.corpus.pipeline import CorpusConfig, build_recipe
from tubelet.data.manifest import Manifest
from tubelet.labels import LabelSpace


def match_posts(
    posts: str | Path,
    seeds: Hashtags | VerbNouns,
    *,
    min_videos: int = 50,
    seed: int = 0,
    all_labels: bool = False,
    is_present: Callable[[str], bool] | None = None,
    settings: JoinSettings | None = None,
) -> Matches:
    """Give videos the labels whose hashtags their posts carry."""
    with tempfile.TemporaryDirectory() as folder:
        labelled = join_posts(posts, seeds, settings or JoinSettings(), Path(folder) / "labelled.parquet")
        if is_present is not None:
            labelled = keep_present(labelled, is_present)
        return choose_labels(labelled, min_videos=min_videos, seed=seed, all_labels=all_labels)


def build_corpus(posts: Path, seeds: LabelSpace, out: Path, *, media_root: Path, **options: Any) -> Manifest:
    """Build a corpus of posts, which are compared with nothing; what is done lies beside ``out``."""
    file = out.parent / f"{out.name}_seeds.txt"
    file.write_text("\n".join(seeds.names))
    config = CorpusConfig(name="posts", posts=str(posts), seed_labels=str(file), media_root=media_root, **options)
    return build_recipe(config, out, work=out.parent / "work").manifest
