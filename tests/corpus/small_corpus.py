"""A corpus small enough to be built in a second, in which every rule has something to drop."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from shard_calls import write_video

from tubelet.corpus.pipeline import CorpusConfig
from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace


def small_corpus(folder: Path) -> CorpusConfig:
    """Return a corpus to build; its posts and videos are written where they are not there yet.

    Posts of eight videos: one of a target, one twice, one broken, one not there, one of a label of its own.
    """
    if not (folder / "kinetics/manifest.json").exists():
        _write(folder)
    return CorpusConfig(
        name="posts",
        posts=str(folder / "posts.parquet"),
        seed_labels=str(folder / "labels.txt"),
        media_root=folder / "media",
        min_videos=2,
        targets=(folder / "kinetics",),
        dedup="balanced",
        within=True,
        shard_videos=3,
    )


def _write(folder: Path) -> None:
    media, target = folder / "media", folder / "target"
    media.mkdir()
    target.mkdir()
    for k in range(4):
        write_video(media / f"{k}.mp4", k)
    write_video(media / "again.mp4", 0)
    write_video(media / "rare.mp4", 9)
    write_video(target / "0.mp4", 1)
    (target / "damaged.mp4").write_bytes(b"nothing")
    (media / "broken.mp4").write_bytes(b"no video")
    names = ["0", "1", "2", "3", "again", "broken", "gone", "rare"]
    tags = [["catchfish"]] * 7 + [["ridebike"]]
    posts = {"video": [f"{name}.mp4" for name in names], "tags": tags, "duration_seconds": [1.5] * 8}
    pq.write_table(pa.table(posts), folder / "posts.parquet")
    (folder / "labels.txt").write_text("catching a fish\nriding a bike\n")
    write_manifest(
        folder / "kinetics",
        name="kinetics",
        kind="classify",
        multi_label=False,
        label_space=LabelSpace(name="kinetics", names=("a",)),
        media_root=target,
        licence="none",
        source="a test",
        clips=[
            {"clip_id": v, "video": v, "start_seconds": 0.0, "end_seconds": 1.5, "split": "train", "labels": [0]}
            for v in ("0.mp4", "damaged.mp4")
        ],
    )


def contents(out: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
