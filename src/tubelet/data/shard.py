"""Many small files as a few large ones: tar shards in WebDataset's layout, read with random access.

A shard's index says where each member's bytes lie (``video.media`` reads them), so shuffling stays global and a resumed
run exact, and other programs can stream the same tars: each video has a ``.json`` beside it with its name and clips.
"""

import io
import json
import posixpath
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import rewrite_manifest
from tubelet.records import write_json
from tubelet.types import InputError
from tubelet.video.media import Media, resolve_media

SHARDS = "shards"
BLOCK = 512
"""Tar pads members to this many bytes."""


def shard_manifest(manifest: Manifest, out: Path, *, shard_bytes: int = 2**30) -> Manifest:
    """Write a manifest's videos into tars, and a manifest whose ``video`` cells are ``shard-000000.tar#00000000.mp4``.

    The same manifest gives the same bytes. ``out`` can be moved or copied to a store as a whole.

    Args:
        manifest: Its media are files (or members of other shards, or URIs); folders and tars of frames are not taken.
        out: New folder. What a killed call left there is written again.
        shard_bytes: A new shard begins when one holds as much.

    Raises:
        InputError: A video cannot be read or is a folder of frames; or ``out`` holds a manifest.
    """
    if (out / "manifest.json").exists():
        raise InputError(f"{out}: holds a manifest; give a new folder")
    videos = manifest.clips.column("video").unique().to_pylist()
    media = [_whole_file(manifest, video) for video in videos]  # all are looked at before the first byte is written
    folder = out / SHARDS
    folder.mkdir(parents=True, exist_ok=True)
    described = _described(manifest)
    cells: dict[str, str] = {}
    number, first = 0, 0
    while first < len(videos):
        name = f"shard-{number:06d}.tar"
        last = _last_of_shard(media, first, shard_bytes)
        members = [
            (f"{i:08d}{posixpath.splitext(videos[i])[1].lower()}", media[i], described[videos[i]])
            for i in range(first, last)
        ]
        write_json(folder / f"{name}.index.json", _write_tar(folder / name, members))
        cells |= {videos[i]: f"{name}#{member}" for i, (member, _, _) in zip(range(first, last), members, strict=True)}
        number, first = number + 1, last
    column = pa.array([cells[video] for video in manifest.clips.column("video").to_pylist()], type=pa.string())
    clips = manifest.clips.set_column(manifest.clips.schema.get_field_index("video"), "video", column)
    return rewrite_manifest(manifest, out, clips=clips, media_root=SHARDS, extra_counts={"shards": number})


def _whole_file(manifest: Manifest, video: str) -> Media:
    media = resolve_media(manifest.media_root, video)
    if media.is_pictures:
        raise InputError(f"{media}: is made of pictures; shards take video files (a tar of frames is one file already)")
    media.version()  # it is there
    return media


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


def _last_of_shard(media: list[Media], first: int, shard_bytes: int) -> int:
    size, last = 0, first
    while last < len(media) and (last == first or size < shard_bytes):
        size += _size(media[last])
        last += 1
    return last


def _size(media: Media) -> int:
    with media.open() as file:
        return file.seek(0, io.SEEK_END)


def _write_tar(path: Path, members: list[tuple[str, Media, list[dict[str, Any]]]]) -> dict[str, list[int]]:
    """Write a tar under a temporary name, then rename; return name to [offset, size] of each video."""
    index: dict[str, list[int]] = {}
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, media, clips in members:
                with media.open() as file:
                    size = file.seek(0, io.SEEK_END)
                    file.seek(0)
                    _add(tar, name, size, file)
                index[name] = [tar.offset - -(-size // BLOCK) * BLOCK, size]
                text = json.dumps({"video": media.location.rsplit("/", 1)[-1], "clips": clips}).encode()
                _add(tar, posixpath.splitext(name)[0] + ".json", len(text), io.BytesIO(text))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return index


def _add(tar: tarfile.TarFile, name: str, size: int, file: Any) -> None:
    # Owner and time left at 0: the same videos give the same bytes.
    entry = tarfile.TarInfo(name)
    entry.size = size
    tar.addfile(entry, file)
