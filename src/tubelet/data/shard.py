"""Many small files as a few large ones: tar shards in WebDataset's layout, read with random access.

A shard's index says where each member's bytes lie (``video.media`` reads them), so shuffling stays global and a resumed
run exact, and other programs can stream the same tars: each video has a ``.json`` beside it with its name and clips.
A folder of frames becomes a tar of its own, with an index too, for a member of a shard is one video or one picture.
"""

import io
import json
import posixpath
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import rewrite_manifest
from tubelet.records import write_json
from tubelet.types import InputError
from tubelet.video.media import INDEX_SUFFIXES, PICTURE_SUFFIXES, Media, members, open_container, resolve_media
from tubelet.video.pictures import open_pictures

SHARDS = "shards"
BLOCK = 512
"""Tar pads members to this many bytes."""
Index = dict[str, list[int]]
"""Name to [offset, size] of what is read in a tar."""


def shard_manifest(manifest: Manifest, out: Path, *, shard_bytes: int = 2**30) -> Manifest:
    """Write a manifest's videos into tars, and a manifest whose ``video`` cells are ``shard-000000.tar#00000000.mp4``.

    A folder of frames becomes ``frames-00000000.tar`` and a tar of frames is copied as it is; their ``fps`` stays.
    The same manifest gives the same bytes. ``out`` can be moved as a whole, or its shards copied to a store.

    Args:
        manifest: Its media may also be members of other shards, or URIs.
        out: New folder. What a killed call left there is written again.
        shard_bytes: A new shard begins when one holds as much.

    Returns:
        The new manifest; its counts have ``shards`` and ``tars_of_frames``.

    Raises:
        InputError: A video cannot be read; or ``out`` holds a manifest.
    """
    if (out / "manifest.json").exists():
        raise InputError(f"{out}: holds a manifest; give a new folder")
    rates = dict(zip(manifest.clips["video"].to_pylist(), manifest.clips["fps"].to_pylist(), strict=True))
    # All are looked at before the first byte is written.
    media = {video: _looked_at(manifest, video, fps) for video, fps in rates.items()}
    folder = out / SHARDS
    folder.mkdir(parents=True, exist_ok=True)
    frames = {video: f"frames-{i:08d}.tar" for i, video in enumerate(media) if _is_frames(media[video])}
    for video, name in frames.items():
        _write_frames(folder / name, media[video])
    members_of = {
        video: f"{i:08d}{posixpath.splitext(video)[1].lower()}" for i, video in enumerate(media) if video not in frames
    }
    described = _described(manifest)
    cells = dict(frames)
    shards = _shards([(video, media[video]) for video in members_of], shard_bytes)
    for number, videos in enumerate(shards):
        name = f"shard-{number:06d}.tar"
        _write_shard(folder / name, [(members_of[video], media[video], described[video]) for video in videos])
        cells |= {video: f"{name}#{members_of[video]}" for video in videos}
    column = pa.array([cells[video] for video in manifest.clips.column("video").to_pylist()], type=pa.string())
    clips = manifest.clips.set_column(manifest.clips.schema.get_field_index("video"), "video", column)
    counts = {"shards": len(shards), "tars_of_frames": len(frames)}
    return rewrite_manifest(manifest, out, clips=clips, media_root=SHARDS, extra_counts=counts)


def _looked_at(manifest: Manifest, video: str, fps: float) -> Media:
    media = resolve_media(manifest.media_root, video, fps)
    if _is_frames(media):
        open_pictures(media)  # it is there, with frames and a rate
    else:
        media.version()
    return media


def _is_frames(media: Media) -> bool:
    """Say whether it is a folder or tar of frames; one picture is a file as a video is."""
    return media.is_pictures and media.member is None and not media.location.lower().endswith(PICTURE_SUFFIXES)


def _described(manifest: Manifest) -> dict[str, list[dict[str, Any]]]:
    """Return the clips of each video with their classes' names, for programs that read the tars alone."""
    names = manifest.label_space.names
    found: dict[str, list[dict[str, Any]]] = {}
    for clip in manifest.clips.select(
        ["clip_id", "video", "start_seconds", "end_seconds", "split", "labels"]
    ).to_pylist():
        video = clip.pop("video")
        found.setdefault(video, []).append(clip | {"labels": [names[k] for k in clip["labels"]]})
    return found


def _shards(files: list[tuple[str, Media]], shard_bytes: int) -> list[list[str]]:
    """Return the videos of each shard, in their order."""
    shards: list[list[str]] = []
    size = shard_bytes
    for video, media in files:
        if size >= shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(video)
        size += _size(media)
    return shards


def _size(media: Media) -> int:
    with media.open() as file:
        return file.seek(0, io.SEEK_END)


def _write_shard(path: Path, videos: list[tuple[str, Media, list[dict[str, Any]]]]) -> None:
    """Write a shard with its index; a video comes with its name in the shard and what its ``.json`` says."""
    index: Index = {}
    with _new_tar(path) as temporary, tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, media, clips in videos:
            index[name] = _add_file(tar, name, media)
            text = json.dumps({"video": media.location.rsplit("/", 1)[-1], "clips": clips}).encode()
            _add(tar, posixpath.splitext(name)[0] + ".json", len(text), io.BytesIO(text))
    _write_index(path, index)


def _write_frames(path: Path, media: Media) -> None:
    """Write a folder of frames as a tar with its index, or copy a tar of frames and write its index."""
    pictures = open_pictures(media)
    if pictures.places is not None:
        with _new_tar(path) as temporary, open_container(media) as source, temporary.open("wb") as target:
            shutil.copyfileobj(source, target)
        _write_index(path, {name: list(place) for name, place in members(media).items()})
        return
    index: Index = {}
    with _new_tar(path) as temporary, tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in pictures.names:
            index[name] = _add_file(tar, name, Media(str(Path(media.location) / name)))
    _write_index(path, index)


@contextmanager
def _new_tar(path: Path) -> Iterator[Path]:
    """Give a temporary name, which becomes ``path`` when all is written."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_index(path: Path, index: Index) -> None:
    write_json(path.with_name(path.name + INDEX_SUFFIXES[0]), index)


def _add_file(tar: tarfile.TarFile, name: str, media: Media) -> list[int]:
    """Add a file's bytes; return [offset, size] of them."""
    with media.open() as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        _add(tar, name, size, file)
    return [tar.offset - -(-size // BLOCK) * BLOCK, size]


def _add(tar: tarfile.TarFile, name: str, size: int, file: Any) -> None:
    # Owner and time left at 0: the same videos give the same bytes.
    entry = tarfile.TarInfo(name)
    entry.size = size
    tar.addfile(entry, file)
