"""Folders of frames for tests that read annotation: the smallest real pictures, all alike."""

import struct
import zlib
from pathlib import Path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_ROWS = (b"\0" + b"\x80" * 16) * 16  # 16 x 16, grey
PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(_ROWS))
    + _chunk(b"IEND", b"")
)


def write_pictures(folder: Path, number: int) -> None:
    """Write ``00001.png`` and so on into a new folder."""
    folder.mkdir(parents=True)
    for i in range(1, number + 1):
        (folder / f"{i:05d}.png").write_bytes(PNG)
