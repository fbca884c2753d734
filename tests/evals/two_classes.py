"""Two classes in one video, as small tables whose scores can be worked out by hand."""

import numpy as np

from tubelet.data.ava_table import AvaTable
from tubelet.labels import LabelSpace

SPACE = LabelSpace(name="two", names=("stand", "hug"), ids=(12, 64))


def table(rows: list[tuple[float, tuple[float, ...], int]], scores: list[float] | None = None) -> AvaTable:
    """Return rows of (seconds, box in 0..1, action's number), with a score each where they are detections."""
    return AvaTable(
        video=np.array(["v"] * len(rows), dtype=object),
        pts_seconds=np.array([row[0] for row in rows], dtype=np.float64),
        boxes_norm=np.array([row[1] for row in rows], dtype=np.float64),
        label_ids=np.array([row[2] for row in rows], dtype=np.int32),
        scores=None if scores is None else np.array(scores),
    )
