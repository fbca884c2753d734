"""Damaged annotation files give a manifest or one clear line, never another error or a half-written folder."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from layout_builder import Builder, Layout, write_video
from published_layouts import LAYOUTS

from tubelet.data.sources.importers import IMPORTERS
from tubelet.types import InputError

NUM_TRIES = 60
STRANGE = [
    b"\x00",
    b"\xff",
    b'"',
    b",",
    b";",
    b"\n",
    b"\r",
    b"[",
    b"{",
    b" ",
    b"9" * 400,
    b"-1",
    b"nan",
    b"\xef\xbb\xbf",
]


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("fuzz") / "video.mp4")


def files_of(layout: Layout) -> list[Path]:
    values = [v for value in layout.options.values() for v in (value if isinstance(value, list) else [value])]
    media = layout.options["media_root"]
    found = [v for v in values if isinstance(v, Path) and v != media]
    return [f for path in found for f in (sorted(path.iterdir()) if path.is_dir() else [path])]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    where = int(rng.integers(len(data) + 1))
    length = int(rng.integers(1, 9))
    match int(rng.integers(4)):
        case 0:
            return data[:where]
        case 1:
            return data[:where] + data[where + length :]
        case 2:
            return data[:where] + STRANGE[int(rng.integers(len(STRANGE)))] + data[where:]
        case _:
            return data[:where] + rng.bytes(length) + data[where + length :]


@pytest.mark.parametrize("source", [name for name in LAYOUTS if name != "class-folders"])
def test_damaged_files(source: str, video: Path, tmp_path: Path) -> None:
    layout = LAYOUTS[source](Builder(tmp_path, video))
    files = files_of(layout)
    rng = np.random.default_rng(sum(map(ord, source)))
    refused = 0
    for number in range(NUM_TRIES):
        path = files[number % len(files)]
        good = path.read_bytes()
        path.write_bytes(damaged(good, rng))
        out = tmp_path / "out"
        message = None
        try:
            manifest = IMPORTERS[layout.source](out=out, **layout.options)
        except InputError as error:
            message = str(error)
        path.write_bytes(good)
        if message is None:
            assert manifest.clips.num_rows == manifest.counts["clips"]
            shutil.rmtree(out)
        else:
            refused += 1
            assert "\n" not in message
            assert not out.exists()
    assert 0 < refused < NUM_TRIES
