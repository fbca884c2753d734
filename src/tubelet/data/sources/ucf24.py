"""UCF101-24: people in 24 of UCF101's classes, boxed in every frame.

Source: ``UCF101v2-GT.pkl`` (<https://github.com/gurkirt/corrected-UCF101-Annots>, packed for the ACT detector).
Licence of the annotation: none stated; UCF101 is for research.
Layout: as in ``tubes``; videos are called ``Basketball/v_Basketball_g01_c01``; one split.
Files: UCF101's avi, or ``rgb-images/<class>/<video>/00001.jpg`` at 25 frames per second.
Quirks: boxes leave the frame here and there (cut, counted); everybody boxed in a video does its one action; the first,
uncorrected annotation differs, and numbers on it cannot be compared.
Expected: 3,207 videos, 2,293 training and 914 test, 320x240.
"""

from pathlib import Path

from tubelet.data.manifest import Manifest
from tubelet.data.sources.act_tubes import read_tubes, write_tubes


def import_ucf24(
    *,
    annotations: Path,
    media_root: Path,
    out: Path,
    frames_fps: float = 25.0,
    keyframe_every: int = 1,
    name: str = "ucf24",
) -> Manifest:
    """Turn UCF101-24 into a manifest of splits train and test.

    Args:
        annotations: UCF101v2-GT.pkl.
        media_root: Folder of the videos or of the folders of frames.
        out: Folder of the manifest.
        frames_fps: Rate of folders of frames.
        keyframe_every: Use each n-th annotated frame.
        name: Of the data set, its task and head.

    Raises:
        InputError: A mistake in the file; or no video found.
    """
    return write_tubes(
        annotations,
        read_tubes(annotations),
        media_root=media_root,
        out=out,
        name=name,
        test_split="test",
        frames_fps=frames_fps,
        keyframe_every=keyframe_every,
        licence="none stated; UCF101 is for research",
        source="https://github.com/gurkirt/corrected-UCF101-Annots",
    )
