"""Keep a small training set decoded: each video once, at one frame rate and size, as a memory-mapped array."""

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tubelet.types import Clip, VideoError
from tubelet.video.container import probe
from tubelet.video.convert import FrameSize
from tubelet.video.decode import WantedTimes, iter_frames, wanted_times
from tubelet.video.media import Media
from tubelet.video.sampling import nearest, num_clamped

VERSION = 6


@dataclass(frozen=True)
class FrameCache:
    """Answer ``clip`` from arrays on disk, which all workers share through the page cache.

    An entry is keyed by the video's path, size and modification time and by the settings, so a changed video is decoded
    again. Of a video with a higher rate than ``fps`` only the frames nearest to that grid are kept; otherwise all of
    them, and the answer is that of ``read_frames``.
    """

    root: Path
    """Folder of the entries; created when needed, safe to delete."""
    size: FrameSize
    """Of the frames kept; ``transforms.read_size`` says which is needed."""
    fps: float
    """Frames per second kept; 0 = all, and a stride in frames of the file is one."""

    def clip(self, path: Media | str | Path, pts_seconds: WantedTimes) -> Clip:
        """Return the kept frames nearest to the wanted times; as ``read_frames``, ties to the earlier.

        Raises:
            VideoError: The video cannot be read, or it is cut short before a wanted time.
        """
        frames, header = self._entry(Media.of(path))
        wanted = wanted_times(pts_seconds, header["fps"])
        times = np.asarray(header["pts_seconds"], dtype=np.float64)
        if header["broken"] is not None and max(wanted) > times[-1]:
            raise VideoError(path, header["broken"], max(wanted))
        index = nearest(times, np.array(wanted))
        clamped = num_clamped(wanted, times[index].tolist(), times[0], times[-1], frame_seconds=header["frame_seconds"])
        return Clip(
            frames=torch.from_numpy(frames[index]).permute(0, 3, 1, 2),
            pts_seconds=times[index],
            num_clamped=clamped,
        )

    def _entry(self, media: Media) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the entry of a video, made now if there is none or it was damaged."""
        where = media.location if media.is_uri else str(Path(media.location).resolve())
        settings = (VERSION, where, media.fps, *media.version(), self.size, self.fps)
        key = hashlib.sha256(repr(settings).encode()).hexdigest()[:32]
        base = self.root / key[:2] / key
        try:
            return _load(base)
        except (OSError, ValueError, KeyError):
            self._decode(media, base)
            return _load(base)

    def _decode(self, media: Media, base: Path) -> None:
        """Decode a video into its entry; the array is published last. Two workers at once write the same bytes."""
        base.parent.mkdir(parents=True, exist_ok=True)
        unique = f".{os.getpid()}.{threading.get_ident()}.tmp"
        temporary, temporary_header = base.with_name(base.name + unique), base.with_name(base.name + ".json" + unique)
        try:
            header = self._write_frames(media, temporary)
            temporary_header.write_text(json.dumps(header))
            temporary_header.replace(base.with_suffix(".json"))
            temporary.replace(base.with_suffix(".npy"))
        finally:
            temporary.unlink(missing_ok=True)
            temporary_header.unlink(missing_ok=True)

    def _write_frames(self, media: Media, temporary: Path) -> dict[str, Any]:
        fps = probe(media).fps
        times: list[float] = []
        broken: str | None = None
        shape: tuple[int, ...] = ()
        grid = 0  # next instant, in frames of fps, that waits for its nearest frame
        previous: tuple[float, np.ndarray] | None = None
        intervals = 0
        with temporary.open("wb") as file:

            def keep(time: float, frame: np.ndarray) -> None:
                nonlocal shape
                if times and times[-1] == time:
                    return
                if not times:
                    shape = frame.shape
                    _write_header(file, (0, *shape))
                times.append(time)
                file.write(np.ascontiguousarray(frame).data)

            try:
                for time, frame in iter_frames(media, size=self.size):
                    intervals += 1
                    if self.fps == 0:
                        keep(time, frame)
                    while self.fps and grid / self.fps <= time + 1e-9:
                        target = grid / self.fps
                        near = previous is not None and target - previous[0] <= time - target
                        keep(*(previous if near and previous is not None else (time, frame)))
                        grid += 1
                    previous = (time, frame)
            except VideoError as error:
                broken = error.reason  # what came before is served, what lies behind is refused with this reason
                if previous is None:
                    raise
            if previous is None:
                raise VideoError(media, "the video stream has no frame")
            keep(*previous)
            file.seek(0)
            _write_header(file, (len(times), *shape))
        frame_seconds = (previous[0] - times[0]) / max(intervals - 1, 1) or 1 / fps
        return {"pts_seconds": times, "broken": broken, "frame_seconds": frame_seconds, "fps": fps}


def _load(base: Path) -> tuple[np.ndarray, dict[str, Any]]:
    frames = np.load(base.with_suffix(".npy"), mmap_mode="r")
    header: dict[str, Any] = json.loads(base.with_suffix(".json").read_text())
    if len(header["pts_seconds"]) != len(frames):
        raise ValueError("entry is damaged")
    return frames, header


def _write_header(file: Any, shape: tuple[int, ...]) -> None:
    """Write an npy header; numpy leaves room for the first axis to grow, so it can be rewritten in place."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
