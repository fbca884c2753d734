"""A mirrored clip carries the label of what it shows, or there are no mirrored clips."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tubelet.data.dataset import ClipDataset
from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.labels import LabelSpace, mirror_columns
from tubelet.playground.sets import CLIP_SETS
from tubelet.recipes.ava import cofinetune_ava
from tubelet.recipes.playground import cofinetune, localise_only, transfer_moments
from tubelet.types import ClipSample, InputError, Preprocess
from tubelet.video.augmentations import Augment
from tubelet.video.write import VideoWriter

SIDES = LabelSpace(name="sides", names=("light on the left", "something upright", "light on the right"))
PREPROCESS = Preprocess(size=32, num_frames=2, frame_stride=1, fps=10)
SEEDS = range(40)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``left.mp4`` is white on its left half, ``right.mp4`` on its right half."""
    folder = tmp_path_factory.mktemp("sides")
    for name, columns in (("left", slice(0, 16)), ("right", slice(16, 32))):
        frame = np.zeros((32, 32, 3), dtype=np.uint8)
        frame[:, columns] = 255
        with VideoWriter(folder / f"{name}.mp4", width=32, height=32, fps=10) as writer:
            for _ in range(6):
                writer.write(frame)
    return folder


def write(folder: Path, media: Path, space: LabelSpace, *, boxes: bool) -> Manifest:
    """Label column 0 belongs to ``left.mp4``, column 2 to ``right.mp4``; column 1 holds as well in both."""
    clips, rows = [], []
    for video, label in (("left", 0), ("right", 2)):
        labels = [label, 1]
        clips.append(
            {
                "clip_id": video,
                "video": f"{video}.mp4",
                "start_seconds": 0.0,
                "end_seconds": 0.6,
                "split": "train",
                "labels": [] if boxes else labels,
            }
        )
        box = {"x1": 0.3, "y1": 0.3, "x2": 0.7, "y2": 0.7}
        rows.append({"clip_id": video, "pts_seconds": 0.3, **box, "labels": labels})
    return write_manifest(
        folder,
        name="sides",
        kind="localise" if boxes else "classify",
        multi_label=True,
        label_space=space,
        media_root=media,
        licence="",
        source="",
        clips=clips,
        boxes=rows if boxes else None,
    )


def dataset(manifest: Manifest, *, flip: bool) -> ClipDataset:
    augment = Augment(scale_range=(1.0, 1.0), box_jitter=0.0, flip=flip)
    return ClipDataset(manifest, "train", preprocess=PREPROCESS, augment=augment)


def shown(sample: ClipSample) -> int:
    """Return the column of the label that the pixels say."""
    light = sample.frames.float().mean(dim=(0, 1, 2))
    return 0 if light[:16].mean() > light[16:].mean() else 2


@pytest.mark.parametrize("boxes", [False, True])
def test_no_direction_label_is_mirrored_without_its_swap(media: Path, tmp_path: Path, boxes: bool) -> None:
    data = dataset(write(tmp_path, media, SIDES, boxes=boxes), flip=True)
    seen = {0: 0, 2: 0}
    for seed in SEEDS:
        sample = data.sample(0, seed)
        expected = [0.0, 1.0, 0.0]
        expected[shown(sample)] = 1.0
        assert sample.targets.tolist() == [expected]
        seen[shown(sample)] += 1
    assert min(seen.values()) >= 10  # both ways are shown: the test has seen flips


def test_without_flips_nothing_is_mirrored(media: Path, tmp_path: Path) -> None:
    data = dataset(write(tmp_path, media, SIDES, boxes=False), flip=False)
    samples = [data.sample(0, seed) for seed in SEEDS]
    assert {shown(sample) for sample in samples} == {0}
    assert all(sample.targets.tolist() == [[1.0, 1.0, 0.0]] for sample in samples)


def test_a_direction_without_its_mirror_image_cannot_be_flipped(media: Path, tmp_path: Path) -> None:
    space = LabelSpace(name="half", names=("light on the left", "b", "c"))
    manifest = write(tmp_path, media, space, boxes=False)
    with pytest.raises(InputError, match="class 'light on the left' depends on direction") as caught:
        dataset(manifest, flip=True)
    assert "\n" not in str(caught.value)
    assert len(dataset(manifest, flip=False)) == 2


def test_what_a_label_space_states_goes_before_its_names(media: Path, tmp_path: Path) -> None:
    space = LabelSpace(name="other words", names=("gauche", "upright", "droite"), mirrored=(2, 1, 0))
    manifest = write(tmp_path, media, space, boxes=False)
    for seed in SEEDS:
        sample = dataset(manifest, flip=True).sample(1, seed)
        assert torch.nonzero(sample.targets[0, [0, 2]]).item() == shown(sample) // 2


def test_the_playground_swaps_the_ways_people_go() -> None:
    space = LabelSpace(name="direction", names=tuple(CLIP_SETS["direction"]))
    pairs = {space.names[k]: space.names[j] for k, j in enumerate(mirror_columns(space)) if k != j}
    assert len(pairs) == 2 * 8
    assert all(b == a.replace("left", "x").replace("right", "left").replace("x", "right") for a, b in pairs.items())
    unmoved = [name for name in space.names if name not in pairs]
    assert unmoved == ["picking something up", "putting something down"]


def test_paper_a_trains_without_flips(squares: Path) -> None:
    """A.1 lists the augmentation, and flips are not in the list."""
    playground = [recipe(squares, size="tiny") for recipe in (cofinetune, transfer_moments, localise_only)]
    runs = [*playground, cofinetune_ava([squares / "manifests" / "kinetics", squares / "manifests" / "localise"])]
    assert [task.augment.flip for run in runs for task in run.tasks] == [False] * sum(len(run.tasks) for run in runs)
