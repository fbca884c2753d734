"""JHMDB: 21 of HMDB51's classes, one person boxed in every frame of short clips.

Source: ``JHMDB-GT.pkl`` of the ACT and MOC detectors, made from <http://jhmdb.is.tue.mpg.de>'s silhouettes.
Licence of the annotation: none stated; HMDB51 is CC BY 4.0.
Layout: as in ``tubes``; videos are called ``brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0``; three splits.
Files: ``Frames/<class>/<video>/00001.png`` at 30 frames per second, or HMDB51's avi.
Quirks: mAP is reported as the mean of the three splits, each trained by itself; names hold characters such as ``#`` and
``(``.
Expected: 928 videos in each split, 15 to 40 frames long, 320x240.
"""

from pathlib import Path
from typing import Literal

from tubelet.data.manifest import Manifest
from tubelet.data.sources.act_tubes import read_tubes, write_tubes


def import_jhmdb(
    *,
    annotations: Path,
    media_root: Path,
    out: Path,
    fold: Literal["1", "2", "3"] = "1",
    frames_fps: float = 30.0,
    keyframe_every: int = 1,
    name: str = "jhmdb",
) -> Manifest:
    """Turn one of JHMDB's three splits into a manifest of splits train and test.

    Args:
        annotations: JHMDB-GT.pkl.
        media_root: Folder of the folders of frames, or of the videos.
        out: Folder of the manifest.
        fold: Which of the three splits.
        frames_fps: Rate of folders of frames.
        keyframe_every: Use each n-th annotated frame.
        name: Of the data set, its task and head.

    Raises:
        InputError: A mistake in the file; or no video found.
    """
    return write_tubes(
        annotations,
        read_tubes(annotations, split=int(fold)),
        media_root=media_root,
        out=out,
        name=name,
        test_split="test",
        frames_fps=frames_fps,
        keyframe_every=keyframe_every,
        licence="none stated; HMDB51 is CC BY 4.0",
        source="http://jhmdb.is.tue.mpg.de",
    )
