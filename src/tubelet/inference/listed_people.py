"""People whose boxes a file lists: found elsewhere, or drawn by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tubelet.boxes import pixel_boxes
from tubelet.data.ava_csv import read_ava_csv
from tubelet.types import InputError, PersonBoxes
from tubelet.video.sampling import nearest


class ListedPeople:
    """Person boxes of one or several videos, as ``tubelet data detect`` writes them.

    Args:
        path: A csv in AVA's layout: video, seconds of that file, x1, y1, x2, y2 (0..1), action (not read), score. The
            video is the file's name, with or without its ending and folders before it (``Basketball/v_1``, as clips of
            UCF101-24 are called); the score may be missing (then it is 1).

    Raises:
        InputError: The first mistake, with file and line, or a score outside 0..1.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._table = read_ava_csv(self._path, detections=True, boxes="near")
        assert self._table.scores is not None
        wrong = (self._table.scores < 0) | (self._table.scores > 1)
        if wrong.any():
            found = float(self._table.scores[wrong][0])
            raise InputError(f"{path}: a box has the score {found:g}, expected 0 to 1 in the eighth column")

    def of_video(self, video: Path, within_seconds: float) -> Callable[[float, np.ndarray], PersonBoxes]:
        """Return what finds the people of a video's frame, given its time and its pixels.

        Args:
            video: The video.
            within_seconds: A frame shows the boxes listed for the instant nearest to it, if it is at most so far away.

        Raises:
            InputError: The file lists nobody in this video.
        """
        listed = sorted(set(self._table.video.tolist()))
        whole = video.absolute()
        paths = [f"/{path.as_posix()}" for path in (whole, whole.with_suffix(""))]
        mine = np.isin(self._table.video, [name for name in listed if any(p.endswith(f"/{name}") for p in paths)])
        if not mine.any():
            names = f"{video.stem!r}, with or without its ending and folders before it"
            shown = ", ".join(listed[:3]) or "nothing"
            raise InputError(f"{self._path}: lists no box of {video.name}; expected {names}; it begins with {shown}")
        assert self._table.scores is not None
        rows = np.column_stack((self._table.pts_seconds[mine], self._table.boxes_norm[mine], self._table.scores[mine]))
        # One row a box and action in AVA's files; its best score counts.
        rows = rows[np.lexsort(rows.T[::-1])][::-1]
        rows = rows[np.unique(rows[:, :5], axis=0, return_index=True)[1]]
        instants = np.unique(rows[:, 0])

        def found(pts_seconds: float, frame: np.ndarray) -> PersonBoxes:
            instant = instants[nearest(instants, np.array([pts_seconds]))[0]]
            shown = rows[rows[:, 0] == instant] if abs(instant - pts_seconds) <= within_seconds else rows[:0]
            boxes = pixel_boxes(shown[:, 1:5].clip(0, 1), (frame.shape[0], frame.shape[1]))
            return PersonBoxes(boxes=boxes.astype(np.float32), scores=shown[:, 5].astype(np.float32))

        return found
