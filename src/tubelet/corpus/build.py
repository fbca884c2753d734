"""Matched posts as a weakly labelled training set: split, manifest, and what every rule did."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tubelet.corpus.match import Matches
from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.records import write_json
from tubelet.types import InputError, VideoError
from tubelet.video.media import MediaRoot, is_uri, resolve_media

REPORT_VERSION = 2  # 2: posts may be several files


def write_corpus(
    out: Path,
    matches: Matches,
    *,
    name: str,
    media_root: Path,
    licence: str,
    val_share: float,
    chosen: Mapping[str, Any],
) -> Manifest:
    """Write matched videos as a manifest, and ``report.json``: where they come from and what every rule dropped.

    A clip is the whole video: where in it the label holds is not known (paper B, 3.1.1). A picture has no length.

    Args:
        out: Folder of the manifest.
        matches: The videos.
        name: Of the data set and its label space.
        media_root: Folder that the posts' ``video`` cells are relative to.
        licence: Of the posts.
        val_share: Share of the videos in split ``val``, by a hash of the video's name; at least one.
        chosen: Further settings, for the report.
    """
    splits = _splits(matches.videos.column("video"), val_share)
    posts = ", ".join(file for file, _ in matches.report.sources[:3])
    manifest = write_manifest(
        out,
        name=name,
        kind="classify",
        multi_label=matches.all_labels,
        label_space=replace(matches.label_space, name=name),
        media_root=portable_media_root(media_root, out),
        licence=licence,
        source=f"hashtags of {posts} matched with {len(matches.report.labels)} seed labels",
        clips=_clips(matches, splits),
    )
    settings = {"all_labels": matches.all_labels, "val_share": val_share, **chosen}
    write_json(out / "report.json", _report(settings, matches, splits))
    return manifest


def check_build(media_root: Path, val_share: float) -> None:
    """Raise unless a corpus can be built with these."""
    if not media_root.is_dir():
        raise InputError(f"{media_root}: no such folder; expected the one that the posts' videos lie in")
    if not 0 <= val_share < 1:
        raise InputError(f"val_share is {val_share}, expected 0 <= val_share < 1")


def is_present(media_root: MediaRoot, video: str) -> bool:
    """Say whether a post's video is a file below the media root, or an address that is followed (not looked at)."""
    try:
        media = resolve_media(media_root, video)
        return media.is_uri or Path(media.location).is_file()
    except (VideoError, OSError, ValueError):  # outside the root, a name too long, a NUL
        return False


def _splits(videos: pa.ChunkedArray, val_share: float) -> pa.Array:
    """Return ``train`` or ``val`` by a hash of each video's name; where none is small enough, the smallest is val."""
    names = (name for chunk in videos.chunks for name in chunk.to_pylist())
    places = np.fromiter(
        (
            int(hashlib.md5(f"split\x1f{name}".encode(), usedforsecurity=False).hexdigest()[:8], 16) / 2**32
            for name in names
        ),
        np.float64,
        len(videos),
    )
    is_val = (places < val_share) | ((places == places.min()) & (val_share > 0))
    return pa.DictionaryArray.from_arrays(pa.array(is_val, pa.int8()), ["train", "val"]).cast(pa.string())


def _clips(matches: Matches, splits: pa.Array) -> pa.Table:
    videos = matches.videos
    return pa.table(
        {
            "clip_id": videos.column("video"),
            "video": videos.column("video"),
            "start_seconds": pa.array(np.zeros(len(videos))),
            "end_seconds": videos.column("duration_seconds"),
            "split": splits,
            "labels": videos.column("labels"),
        }
    )


def portable_media_root(media_root: MediaRoot, out: Path) -> str:
    """Return the media folder relative to ``out`` where both can be moved together, else as it is."""
    if is_uri(media_root):
        return str(media_root)
    media, folder = Path(media_root).resolve(), out.resolve()
    together = folder.is_relative_to(media) or media.is_relative_to(folder.parent)
    return os.path.relpath(media, folder) if together else str(media)


def _report(settings: dict[str, Any], matches: Matches, splits: pa.Array) -> dict[str, Any]:
    """Return where the set comes from and what every rule dropped."""
    report = matches.report
    return {
        "version": REPORT_VERSION,
        "posts": [{"file": name, "num_bytes": num_bytes} for name, num_bytes in report.sources],
        "settings": settings,
        "num_seed_labels": len(report.labels),
        "num_labels": len(matches.label_space),
        "num_videos": {split: pc.sum(pc.equal(splits, split)).as_py() for split in ("train", "val")},
        "rules": [rule.to_json() for rule in report.rules],
        "labels": [asdict(label) for label in report.labels],
        "num_ambiguous_hashtags": report.num_ambiguous_hashtags,
        "num_orders_left_out": report.num_orders_left_out,
        "num_videos_several_labels": report.num_videos_several_labels,
    }
