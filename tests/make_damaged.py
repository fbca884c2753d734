"""Damaged videos made from a good one, and what reading each must give.

python tests/make_damaged.py GOOD.mp4 FOLDER writes them all and prints the table of what reading them gives.
"""

import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numbered_video import faststart, write_at, write_numbered

CUTS = 10


def make_damaged(good: Path, folder: Path) -> dict[str, Path]:
    """Write every damaged file; the names say what is wrong with it."""
    folder.mkdir(parents=True, exist_ok=True)
    data = faststart(good, folder / "whole.mp4").read_bytes()
    made: dict[str, Path] = {}

    def write(name: str, content: bytes, suffix: str = ".mp4") -> None:
        made[name] = folder / f"{name}{suffix}"
        made[name].write_bytes(content)

    for k in range(1, CUTS + 1):
        write(f"cut at {100 * k // (CUTS + 1)} percent", data[: len(data) * k // (CUTS + 1)])
    write("cut without index", good.read_bytes()[: good.stat().st_size // 2])
    write("zero length", b"")
    write("header only", data[:800])
    write("zeros in the middle", _patched(data, len(data) // 2, bytes(6000)))
    write("random bytes in the middle", _patched(data, len(data) // 2, np.random.default_rng(0).bytes(6000)))
    write("wrong extension", data, suffix=".avi")
    write("text with a video's name", b"this is no video\n" * 300)
    write("0x0 claimed", _replaced_sizes(data, 0, 0))
    write("65535x65535 claimed", _replaced_sizes(data, 65535, 65535))
    write("100000 frames claimed", _claimed_frames(data, 100_000))
    write("line\nbreak", data)
    write("ünï 影片 🎬", data)
    made["10 days claimed"] = write_at(folder / "days.mkv", [0.0, 0.04, 10 * 24 * 3600.0])
    made["one frame"] = write_numbered(folder / "one.mp4", num_frames=1)
    made["no video stream"] = write_sound(folder / "sound.mp4")
    made["pipe"] = folder / "pipe.mp4"
    os.mkfifo(made["pipe"])
    made["directory"] = folder / "directory.mp4"
    made["directory"].mkdir()
    write("no permission", data)
    made["no permission"].chmod(0)
    made["missing"] = folder / "missing.mp4"
    made["loop of links"] = folder / "loop.mp4"
    made["loop of links"].symlink_to(made["loop of links"])
    return made


def _patched(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


def _body(data: bytes, kind: bytes) -> int:
    """Return where the first box of this kind has its contents."""
    at = data.index(kind)
    return at + 4


def _replaced_sizes(data: bytes, width: int, height: int) -> bytes:
    """Write another size into the track's sample entry."""
    out = bytearray(data)
    struct.pack_into(">HH", out, _body(data, b"avc1") + 24, width, height)
    return bytes(out)


def _claimed_frames(data: bytes, count: int) -> bytes:
    """Claim more samples in the sizes' and times' tables than there are."""
    out = bytearray(data)
    times = _body(data, b"stts")
    struct.pack_into(">I", out, times + 8, count)  # first entry: samples of one duration
    sizes = _body(data, b"stsz")
    struct.pack_into(">II", out, sizes + 4, 1000, count)  # all samples of 1000 bytes
    return bytes(out)


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as box:
        stream = box.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        for i in range(5):
            frame.pts = i * 1024
            box.mux(stream.encode(frame))
        box.mux(stream.encode(None))
    return path


def outcome(read: Callable[[], object]) -> str:
    """Return what a call gives: ``ok``, or the typed error's line."""
    from tubelet.types import VideoError

    try:
        read()
    except VideoError as error:
        return str(error)
    return "ok"


def main() -> None:
    from tubelet.video.decode import iter_frames, read_frames

    good, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for name, path in make_damaged(good, folder).items():
        early = outcome(lambda path=path: read_frames(path, [0.2]))
        late = outcome(lambda path=path: read_frames(path, [3.8]))
        whole = outcome(lambda path=path: list(iter_frames(path)))
        print(f"{name!r}\n  a frame at 0.2 s: {early}\n  a frame at 3.8 s: {late}\n  every frame: {whole}")


if __name__ == "__main__":
    main()
