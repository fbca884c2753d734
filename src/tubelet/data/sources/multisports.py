"""MultiSports: actions of players in basketball, volleyball, football and aerobics, boxed in every frame.

Source: <https://github.com/MCG-NJU/MultiSports> (``trainval/multisports_GT.pkl``). Licence: CC BY-NC 4.0.
Layout: as in ``tubes``; videos are called ``aerobic_gymnastics/v_crsi07chcV8_c004``; one split, whose *test* videos are
the validation set: the labels of the test set are not published.
Files: ``trainval/<sport>/<video>.mp4``, 25 frames per second.
Quirks: a tube is an action, not a person; 6 of the 66 classes are not evaluated (aerobic kick jump, off axis jump,
butterfly jump and balance turn; basketball save and jump ball).
Expected: 1,574 training and 555 validation videos, 66 classes.
"""

from pathlib import Path

from tubelet.data.manifest import Manifest
from tubelet.data.sources.act_tubes import read_tubes, write_tubes


def import_multisports(
    *,
    annotations: Path,
    media_root: Path,
    out: Path,
    frames_fps: float = 25.0,
    keyframe_every: int = 1,
    name: str = "multisports",
) -> Manifest:
    """Turn MultiSports into a manifest of splits train and val.

    Args:
        annotations: trainval/multisports_GT.pkl.
        media_root: Folder of the videos, or of folders of frames.
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
        test_split="val",
        frames_fps=frames_fps,
        keyframe_every=keyframe_every,
        licence="CC BY-NC 4.0: not for commercial use",
        source="https://github.com/MCG-NJU/MultiSports",
    )
