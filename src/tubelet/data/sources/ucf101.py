"""UCF101: 101 actions in 13,320 clips, three splits.

Source: <https://www.crcv.ucf.edu/data/UCF101.php>, ``UCF101TrainTestSplits-RecognitionTask``. Licence: none stated;
research use, cite Soomro et al. 2012.
Files: ``trainlist0N.txt`` with ``Class/v_Class_gGG_cCC.avi number`` and ``testlist0N.txt`` with the path alone; the
class is the folder, the number (from 1) is its line of ``classInd.txt``.
Quirks: the lists call the videos of *HandstandPushups* ``v_HandStandPushups_...``, copies of the set also
``v_HandstandPushups_...``; both are found.
Expected: train / test 9,537 / 3,783 (split 1), 9,586 / 3,734 (2), 9,624 / 3,696 (3).
"""

from pathlib import Path
from typing import Literal

from tubelet.data.manifest import Manifest
from tubelet.data.sources.annotation_files import ClassNames, packaged_label_space, plain_lines
from tubelet.data.sources.clip_rows import ClipRow, write_clips
from tubelet.data.sources.media_folder import MediaFolder, without_suffix
from tubelet.types import InputError


def import_ucf101(
    *,
    annotations: Path,
    media_root: Path,
    out: Path,
    fold: Literal["1", "2", "3"] = "1",
    frames_fps: float = 25.0,
    name: str = "ucf101",
) -> Manifest:
    """Turn one of UCF101's three splits into a manifest; its test list becomes the split ``test``.

    Args:
        annotations: Folder ``ucfTrainTestlist``.
        media_root: Folder of the videos, in folders of classes or all in one.
        out: Folder of the manifest.
        fold: Which of the three splits.
        frames_fps: Rate of the media that are folders of frames.
        name: Of the data set.

    Raises:
        InputError: A mistake in the files, with file and line; or no video found.
    """
    space = packaged_label_space("ucf101")
    names = ClassNames(space)
    rows = []
    for split, file in (("train", f"trainlist0{fold}.txt"), ("test", f"testlist0{fold}.txt")):
        for place, line in plain_lines(annotations / file):
            path, _, number = line.partition(" ")
            folder, slash, video = path.rpartition("/")
            if not slash:
                raise InputError(f"{place}: {line!r} has no class; expected Class/v_Class_g01_c01.avi")
            label = names.column(place, folder)
            if number and number.strip() != str(space.published_ids[label]):
                raise InputError(f"{place}: number {number} for {folder}, expected {space.published_ids[label]}")
            clip_id = without_suffix(video)
            other = video.replace("HandStand", "Handstand")
            rows.append(ClipRow(names=(path, video, other), clip_id=clip_id, split=split, labels=(label,)))
    return write_clips(
        out,
        rows=rows,
        media=MediaFolder(media_root),
        frames_fps=frames_fps,
        name=name,
        label_space=space,
        multi_label=False,
        licence="none stated: research use",
        source="https://www.crcv.ucf.edu/data/UCF101.php",
    )
