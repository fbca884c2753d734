"""Read a person detector's proposals as mmaction2 publishes them."""

from pathlib import Path

import numpy as np

from tubelet.data.ava_table import AvaTable
from tubelet.foreign_pickle import read_foreign_pickle
from tubelet.types import InputError


def read_proposals(path: Path) -> AvaTable:
    """Read mmaction2's proposals: ``"video,0902"`` to an array (N, 5) of x1, y1, x2, y2, score, or (N, 4).

    Raises:
        InputError: Anything else is in it.
    """
    held = read_foreign_pickle(path)
    if not isinstance(held, dict):
        raise InputError(f"{path}: holds a {type(held).__name__}, expected a dict of 'video,seconds' to boxes")
    videos, times, boxes = [], [], [np.zeros((0, 5))]
    for key, rows in held.items():
        video, _, seconds = str(key).rpartition(",")
        try:
            time, found = float(seconds), np.asarray(rows, dtype=np.float64)
        except (ValueError, TypeError):
            raise InputError(f"{path}: {key!r}: expected 'video,seconds' and an array of boxes") from None
        if not video or (found.size and (found.ndim != 2 or found.shape[1] not in (4, 5))):
            raise InputError(f"{path}: {key!r}: array {found.shape}, expected (N, 5): x1, y1, x2, y2, score")
        if found.size == 0:
            continue
        found = found if found.shape[1] == 5 else np.hstack([found, np.ones((len(found), 1))])
        videos += [video] * len(found)
        times += [time] * len(found)
        boxes.append(found)
    every = np.concatenate(boxes)
    if not np.isfinite(every).all():
        raise InputError(f"{path}: boxes that are not finite numbers")
    return AvaTable(
        video=np.array(videos, dtype=object),
        pts_seconds=np.array(times, dtype=np.float64),
        boxes_norm=every[:, :4],
        label_ids=np.full(len(every), -1, dtype=np.int32),
        scores=every[:, 4],
    )
