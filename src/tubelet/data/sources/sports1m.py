"""Sports-1M: 487 sports, several at once.

Source: <https://github.com/gtoderici/sports-1m-dataset>. Licence of the annotation: CC BY 3.0 (Karpathy et al., 2014).
Lines: ``URL<blank>label,label`` with labels as line numbers (from 0) of ``labels.txt``.
Files: the YouTube id of the URL with any video suffix, in any folder.
Quirks: labels came from YouTube's topics, not from people; a video may be in both partitions of the cross-validation
folds with different labels; most videos have vanished.
Expected: 1,133,158 URLs in both partitions together.
"""

import re
from pathlib import Path

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import column_of_id, given, id_columns, packaged_label_space, plain_lines
from tubelet.data.sources.clip_rows import ClipRow, write_clips
from tubelet.data.sources.media_folder import MediaFolder
from tubelet.types import InputError

YOUTUBE_ID = re.compile(r"(?:[?&]v=|youtu\.be/)([\w-]+)(?:&|$)", re.ASCII)


def import_sports1m(
    *, train: Path, test: Path | None = None, media_root: Path, out: Path, name: str = "sports1m"
) -> Manifest:
    """Turn the partitions of Sports-1M into a multi-label manifest.

    Args:
        train: ``original/train_partition.txt``.
        test: ``original/test_partition.txt``.
        media_root: Folder of the videos, named by their YouTube ids.
        out: Folder of the manifest.
        name: Of the data set.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    space = packaged_label_space("sports1m")
    columns = id_columns(space)
    rows = []
    for split, path in given(train=train, test=test):
        for place, line in plain_lines(path):
            url, _, numbers = line.partition(" ")
            video = _youtube_id(place, url)
            if not numbers.strip():
                raise InputError(f"{place}: no labels; expected URL label,label")
            labels = {column_of_id(place, space, columns, text) for text in numbers.split(",")}
            rows.append(ClipRow(names=(video,), clip_id=video, split=split, labels=tuple(sorted(labels))))
    return write_clips(
        out,
        rows=rows,
        media=MediaFolder(media_root),
        frames_fps=0.0,
        name=name,
        label_space=space,
        multi_label=True,
        licence="CC BY 3.0 (annotation; the videos are their uploaders')",
        source="https://github.com/gtoderici/sports-1m-dataset",
    )


def _youtube_id(place: str, url: str) -> str:
    found = YOUTUBE_ID.search(url)
    if found is None:
        raise InputError(f"{place}: {url!r} has no video id, expected https://www.youtube.com/watch?v=ID")
    return found[1]
