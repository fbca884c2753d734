"""Frame lists: which pictures AVA's films were cut into (``frame_lists/train.csv`` of LFB and PySlowFast).

Source: <https://dl.fbaipublicfiles.com/video-long-term-feature-banks/data/ava/frame_lists/>.
Columns, with a header, separated by blanks: ``original_vido_id`` (so spelt) ``video_id frame_id path labels``; a row
for each picture, ``-5KQ66BBWC4 0 0 -5KQ66BBWC4/-5KQ66BBWC4_000001.jpg ""``. ``labels`` is empty.
Quirks: 27,000 rows a film, six million in the training list; frames are those from 900 s on, 30 a second.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from tubelet.types import InputError, first_line

FILM = "original_vido_id"
COLUMNS = (FILM, "video_id", "frame_id", "path", "labels")


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedFrames:
    """The pictures of a film."""

    folder: str
    """As the list has it: relative, or absolute on the machine that wrote it."""
    num_frames: int


def read_frame_lists(paths: Iterable[Path]) -> dict[str, ListedFrames]:
    """Return the films of frame lists; six million rows take a few seconds.

    Raises:
        InputError: A mistake in a file; a film whose pictures lie in two folders or are not numbered from 0 on.
    """
    films: dict[str, ListedFrames] = {}
    for path in paths:
        for name, (least, largest, number, first, last) in _read(path).items():
            if first != last:
                raise InputError(f"{path}: pictures of {name!r} lie in {first!r} and {last!r}")
            if (least, largest) != (0, number - 1):
                numbers = f"{number} pictures numbered {least} to {largest}"
                raise InputError(f"{path}: {name!r} has {numbers}; expected each number from 0 on")
            if name in films:
                raise InputError(f"{path}: {name!r} is in another of the frame lists as well")
            films[name] = ListedFrames(folder=first, num_frames=number)
    return films


def folder_names(films: Mapping[str, ListedFrames], video: str) -> tuple[str, ...]:
    """Return the names that a film's folder may have below the media root, best first."""
    folder = films[video].folder.strip("/") if video in films else ""
    return tuple(dict.fromkeys(name for name in (folder, folder.rsplit("/", 1)[-1], video) if name))


def _read(path: Path) -> dict[str, tuple[int, int, int, str, str]]:
    """Return for each film the least and largest frame number, the rows, and its first and last folder by name."""
    films: dict[str, tuple[int, int, int, str, str]] = {}
    try:
        with csv.open_csv(
            path,
            # No threads: those of Arrow may end a process that stops on a mistake with an abort.
            read_options=csv.ReadOptions(use_threads=False, block_size=16 * 2**20),
            parse_options=csv.ParseOptions(delimiter=" "),
            convert_options=csv.ConvertOptions(
                include_columns=[FILM, "frame_id", "path"],
                column_types={FILM: pa.string(), "frame_id": pa.int32(), "path": pa.string()},
            ),
        ) as blocks:
            for block in blocks:
                for film, *found in _films_of(block):
                    least, largest, number, first, last = films.get(film, (found[0], found[1], 0, found[3], found[4]))
                    films[film] = (
                        min(least, found[0]),
                        max(largest, found[1]),
                        number + found[2],
                        min(first, found[3]),
                        max(last, found[4]),
                    )
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        expected = f"expected a header and rows {' '.join(COLUMNS)}"
        raise InputError(f"{path}: {first_line(error)}; {expected}") from None
    return films


def _films_of(block: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    folder = pc.replace_substring_regex(block.column("path"), r"/?[^/]*$", "")
    rows = pa.table({"film": block.column(FILM), "frame": block.column("frame_id"), "folder": folder})
    wanted = [("frame", "min"), ("frame", "max"), ("frame", "count"), ("folder", "min"), ("folder", "max")]
    grouped = rows.group_by("film", use_threads=False).aggregate(wanted)
    columns = ("film", "frame_min", "frame_max", "frame_count", "folder_min", "folder_max")
    return zip(*(grouped.column(name).to_pylist() for name in columns), strict=True)
