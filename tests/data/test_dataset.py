import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_rows import CLIPS, SPACE, box, clip, dataset, numbers
from numbered_video import write_numbered

from tubelet.data.manifest import Manifest
from tubelet.data.manifest_writer import write_manifest
from tubelet.types import InputError, VideoError
from tubelet.video.augmentations import Augment
from tubelet.video.cache import FrameCache
from tubelet.video.convert import FrameSize
from tubelet.video.decode import read_frames
from tubelet.video.transforms import canvas_boxes, placement, read_size, to_canvas


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    write_numbered(folder / "a.mp4", num_frames=100)
    write_numbered(folder / "b.mp4", num_frames=100, first=200)
    return folder


@pytest.fixture(scope="module")
def classify(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_manifest(
        tmp_path_factory.mktemp("classify"),
        name="c",
        kind="classify",
        multi_label=True,
        label_space=SPACE,
        media_root=media,
        licence="",
        source="",
        clips=[
            clip("one", "a.mp4", 1.0, 3.0, "train", 0, 2),
            clip("two", "b.mp4", 0.0, 4.0, "train", 1),
            clip("val", "b.mp4", 0.0, 2.0, "val", 3),
        ],
    )


@pytest.fixture(scope="module")
def localise(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_manifest(
        tmp_path_factory.mktemp("localise"),
        name="l",
        kind="localise",
        multi_label=True,
        label_space=SPACE,
        media_root=media,
        licence="",
        source="",
        clips=[
            clip("B", "b.mp4", 0.0, 4.0, "train"),
            clip("A", "a.mp4", 0.0, 4.0, "train"),
            clip("V", "a.mp4", 0, 4, "val"),
        ],
        boxes=[  # rows of one keyframe do not lie together
            box("A", 2.0, 0.5, 1),
            box("B", 1.0, 0.25, 2, person_id=7),
            box("A", 1.0, 0.0, 0, 3),
            box("A", 2.0, 0.125, 0, origin="detected", score=0.9),
            box("A", 2.0, 0.25),
            box("A", 3.0, 0.25, 1, origin="detected", score=0.5),
            box("V", 2.0, 0.75, 2),
        ],
    )


def test_a_view_is_the_centre_of_the_segment(classify: Manifest) -> None:
    sample = dataset(classify).view(0)
    # Frames 25..74; five frames two apart (8 intervals) leave 41 places: the centre begins at 25 + 20.5.
    assert numbers(sample) == [45, 47, 49, 51, 53] or numbers(sample) == [46, 48, 50, 52, 54]
    assert sample.frames.shape == (5, 3, 80, 80)
    assert sample.targets.tolist() == [[1, 0, 1, 0]]
    assert sample.sample_id == "one"
    assert (sample.boxes, sample.boxes_norm, sample.box_scores) == (None, None, None)
    first, last = (dataset(classify).view(0, view=i, num_views=2) for i in (0, 1))
    assert (numbers(first)[0], numbers(last)[-1]) == (25, 74)


def test_training_clips_are_random_and_inside(classify: Manifest) -> None:
    data = dataset(classify, augment=None)
    starts = set()
    for seed in range(30):
        read = numbers(data.sample(0, seed))
        assert 25 <= read[0] <= read[-1] <= 74
        assert read == list(range(read[0], read[0] + 10, 2))
        starts.add(read[0])
    assert len(starts) > 12


def test_a_keyframe_with_all_its_boxes_is_an_example(localise: Manifest) -> None:
    data = dataset(localise)
    assert [data.sample_id(i) for i in range(len(data))] == ["b.mp4,1.000000", "a.mp4,1.000000", "a.mp4,2.000000"]
    sample = data.view(2)
    assert numbers(sample) == [46, 48, 50, 52, 54]
    assert sample.boxes_norm is not None
    assert sample.boxes_norm[:, 0].tolist() == [0.5, 0.25]
    assert sample.targets.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert sample.boxes is not None
    # 80x48 pixels of canvas from row 16: x 0.5..0.75, y 0.25..0.75.
    assert sample.boxes[0].tolist() == [40, 28, 60, 52]
    assert data.view(1).targets.tolist() == [[1, 0, 0, 1]]


@pytest.mark.parametrize(
    ("boxes", "threshold", "rows", "skipped"),
    [
        ("annotated", 0.95, {"b.mp4,1.000000": 1, "a.mp4,1.000000": 1, "a.mp4,2.000000": 2}, 0),  # knows no detection
        ("detected", 0.0, {"a.mp4,2.000000": 1, "a.mp4,3.000000": 1}, 2),
        ("detected", 0.8, {"a.mp4,2.000000": 1}, 3),
        ("both", 0.8, {"b.mp4,1.000000": 1, "a.mp4,1.000000": 1, "a.mp4,2.000000": 3}, 1),
    ],
)
def test_which_boxes_are_used(
    localise: Manifest, boxes: str, threshold: float, rows: dict[str, int], skipped: int
) -> None:
    data = dataset(localise, boxes=boxes, box_score_threshold=threshold)
    views = [data.view(i) for i in range(len(data))]
    assert {v.sample_id: v.targets.shape[0] for v in views} == rows
    assert data.num_skipped_keyframes == skipped
    if boxes == "detected" and threshold == 0.8:
        assert views[0].box_scores is not None
        assert views[0].box_scores.tolist() == pytest.approx([0.9])


def test_detected_boxes_take_labels_by_overlap_and_keyframes_without_a_box_are_counted(
    media: Path, tmp_path: Path
) -> None:
    box = {"clip_id": "c", "pts_seconds": 1.0, "x1": 0.0, "y1": 0.0, "x2": 0.5, "y2": 1.0, "labels": [1, 2]}
    found = box | {"labels": [], "origin": "detected", "score": 0.9}
    manifest = write_manifest(
        tmp_path,
        name="l",
        kind="localise",
        multi_label=True,
        label_space=SPACE,
        media_root=media,
        licence="",
        source="",
        clips=[clip("c", "a.mp4", 0.0, 4.0, "train")],
        boxes=[box, found | {"y2": 0.92}, found | {"y2": 0.85}, found | {"pts_seconds": 3.0}],
        keyframes=[{"clip_id": "c", "pts_seconds": 2.0}, {"clip_id": "c", "pts_seconds": 3.0}],
    )
    data = dataset(manifest, boxes="detected", box_score_threshold=0.8)
    assert data.targets(0).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]
    assert data.targets(1).tolist() == [[0, 0, 0, 0]]
    assert (data.num_unlabelled_boxes, data.num_skipped_keyframes) == (2, 1)  # somebody is found at 3, nobody at 2
    assert dataset(manifest, boxes="detected", label_iou=0.8).num_unlabelled_boxes == 1
    annotated = dataset(manifest)
    assert (annotated.num_unlabelled_boxes, annotated.num_skipped_keyframes) == (0, 2)
    with pytest.raises(InputError, match=r"label_iou must be in \(0, 1\], got 0"):
        dataset(manifest, boxes="detected", label_iou=0)


def test_a_sample_is_a_function_of_index_and_seed(localise: Manifest, classify: Manifest) -> None:
    for manifest in (localise, classify):
        data = dataset(manifest, augment=Augment(flip=True))
        again = pickle.loads(pickle.dumps(data))
        torch.manual_seed(1)
        first = data.sample(1, 77)
        torch.manual_seed(2)
        for other in (data.sample(1, 77), again.sample(1, 77)):
            assert torch.equal(first.frames, other.frames)
            assert torch.equal(first.targets, other.targets)
            assert first.boxes is None or (other.boxes is not None and torch.equal(first.boxes, other.boxes))
        assert not torch.equal(first.frames, data.sample(1, 78).frames)


def test_augmented_boxes_follow_the_canvas(localise: Manifest) -> None:
    data = dataset(localise, augment=Augment(scale_range=(0.5, 0.5), box_jitter=0.0))
    sample = data.sample(1, 0)
    assert sample.boxes is not None
    width, height = (sample.boxes[0, 2:] - sample.boxes[0, :2]).tolist()
    assert (width, height) == pytest.approx((10, 12), abs=0.6)  # a quarter and a half of 40x24
    # What evaluation reports does not move.
    assert sample.boxes_norm is not None
    assert sample.boxes_norm.tolist() == [[0.0, 0.25, 0.25, 0.75]]


def test_boxes_that_leave_the_canvas_take_their_targets_along(media: Path, tmp_path: Path) -> None:
    manifest = write_manifest(
        tmp_path,
        name="edge",
        kind="localise",
        multi_label=True,
        label_space=SPACE,
        media_root=media,
        licence="",
        source="",
        clips=[clip("A", "a.mp4", 0.0, 4.0, "train")],
        boxes=[
            {**box("A", 1.0, 0.0, 0), "x2": 0.02},  # at the left edge
            {**box("A", 1.0, 0.45, 1), "x2": 0.55},  # in the middle
            {**box("A", 1.0, 0.98, 2), "x2": 1.0},  # at the right edge
        ],
    )
    data = dataset(manifest, augment=Augment(scale_range=(2.0, 2.0), box_jitter=0.0))
    seen = set()
    for seed in range(20):
        sample = data.sample(0, seed)
        kept = sample.targets.argmax(dim=1).tolist()
        assert sample.boxes is not None
        assert sample.boxes_norm is not None
        assert sample.box_scores is not None
        assert len(sample.boxes) == len(sample.boxes_norm) == len(sample.box_scores) == len(kept)
        assert sample.num_dropped_boxes == 3 - len(kept) > 0
        assert [round(float(x), 2) for x in sample.boxes_norm[:, 0]] == [[0.0, 0.45, 0.98][k] for k in kept]
        seen.add(tuple(kept))
    assert {(1,), (0, 1), (1, 2)} & seen


def test_a_clip_never_loses_all_its_boxes(media: Path, tmp_path: Path) -> None:
    manifest = write_manifest(
        tmp_path,
        name="corner",
        kind="localise",
        multi_label=True,
        label_space=SPACE,
        media_root=media,
        licence="",
        source="",
        clips=[clip("A", "a.mp4", 0.0, 4.0, "train")],
        boxes=[{**box("A", 1.0, 0.0, 0), "x2": 0.02, "y1": 0.0, "y2": 0.03}],
    )
    data = dataset(manifest, augment=Augment(scale_range=(3.0, 3.0), box_jitter=0.0))
    samples = [data.sample(0, seed) for seed in range(15)]
    assert all(sample.boxes is not None and len(sample.boxes) == 1 for sample in samples)
    assert all(sample.num_dropped_boxes == 0 for sample in samples)  # a draw that was made again drops nothing


def test_clamped_frames_are_counted(localise: Manifest) -> None:
    wide = replace(CLIPS, num_frames=5, frame_stride=25)  # 2 s before to 2 s after
    sample = dataset(localise, preprocess=wide).view(1)  # keyframe at 1 s: -1, 0, 1, 2, 3
    assert numbers(sample) == [0, 0, 25, 50, 75]
    assert sample.num_clamped == 1


def test_evaluation_is_letterbox_of_what_the_reader_gives(localise: Manifest, media: Path) -> None:
    data = dataset(localise, "val")
    sample = data.view(0)
    read = read_frames(media / "a.mp4", [2.0 + i * 0.08 for i in range(-2, 3)], size=FrameSize(long_side=80))
    expected, _ = to_canvas(read.frames, None, fit=CLIPS.fit)
    assert torch.equal(sample.frames, expected)
    assert sample.boxes_norm is not None
    assert sample.boxes is not None
    assert torch.allclose(sample.boxes, canvas_boxes(sample.boxes_norm, placement(96, 160, fit=CLIPS.fit)))


def test_the_cache_gives_the_same_samples(localise: Manifest, classify: Manifest, tmp_path: Path) -> None:
    cache = FrameCache(tmp_path, read_size(CLIPS.fit, 1.1), fps=25.0)  # as training reads it
    for manifest in (localise, classify):
        augment = Augment(scale_range=(0.65, 1.1))
        direct, cached = dataset(manifest, augment=augment), dataset(manifest, augment=augment, cache=cache)
        for index in range(len(direct)):
            a, b = direct.sample(index, 5), cached.sample(index, 5)
            assert torch.equal(a.frames, b.frames)
            assert a.boxes is None or (b.boxes is not None and torch.equal(a.boxes, b.boxes))


SQUARES = replace(CLIPS, size=40, exact_hw=(48, 64))


def test_paper_b_in_training_and_scoring(classify: Manifest, media: Path) -> None:
    data = dataset(classify, preprocess=SQUARES)
    whole = FrameSize(exact_hw=(48, 64))
    read = read_frames(media / "a.mp4", [1.98], size=whole).frames[0]  # 1.98 is near the middle frame
    for crops, cut in (
        ("centre", [(4, 12)]),
        ("three", [(4, 0), (4, 12), (4, 24)]),
    ):
        for crop, (top, left) in enumerate(cut):
            frames = data.view(0, crop=crop, crops=crops).frames  # type: ignore[arg-type]
            assert frames.shape == (5, 3, 40, 40)
            assert torch.equal(frames[2], read[:, top : top + 40, left : left + 40])
    whole = data.view(0, crops="whole").frames
    assert torch.equal(whole[2], read)
    assert (data.view_hw("whole"), data.view_hw("centre")) == ((48, 64), (40, 40))
    places = set()
    for seed in range(12):
        sample = data.sample(0, seed)
        assert sample.frames.shape == (5, 3, 40, 40)
        assert (sample.frames[:, :, 10:] > 0).any(dim=1).all()  # below the painted bits nothing is black
        places.add(sample.frames[:, :, -1].float().mean().item())
    assert len(places) > 8


def test_squares_and_boxes(localise: Manifest) -> None:
    data = dataset(localise, preprocess=SQUARES)
    sample = data.view(1)  # a box at x 0..0.25, y 0.25..0.75: on 48x64, 0..16 and 12..36; the square begins at (4, 12)
    assert sample.boxes is not None
    assert sample.boxes.tolist() == [[0, 8, 4, 32]]
    assert sample.num_dropped_boxes == 0
    edge = dataset(localise, preprocess=replace(SQUARES, exact_hw=(48, 96))).view(1)  # 0..24, the square begins at 28
    assert edge.boxes is not None
    assert edge.boxes.tolist() == [[0, 8, 1, 32]]
    assert edge.num_dropped_boxes == 1
    whole = data.view(1, crops="whole")
    assert whole.boxes is not None
    assert whole.boxes.tolist() == [[0, 12, 16, 36]]


def test_squares_that_do_not_fit_are_refused(classify: Manifest) -> None:
    expected = (
        r"scale_range \(0.65, 1.1\): frames of 48 pixels scaled by 0.65 .* square of 40 .* expected 0.833 or more"
    )
    with pytest.raises(InputError, match=expected):
        dataset(classify, preprocess=SQUARES, augment=Augment())
    short = dataset(classify, preprocess=replace(CLIPS, size=40, short_side=48))
    assert short.view(0).frames.shape == (5, 3, 40, 40)
    with pytest.raises(InputError, match="crops 'whole': frames scaled by their shorter side differ in size"):
        short.view_hw("whole")


def test_mistakes_are_told(classify: Manifest, localise: Manifest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no clip is in split 'test'; the manifest has train, val"):
        dataset(classify, "test")
    with pytest.raises(InputError, match="boxes='all' is not one of annotated, detected, both"):
        dataset(localise, boxes="all")
    with pytest.raises(InputError, match="has no detected boxes of score"):
        dataset(localise, boxes="detected", box_score_threshold=0.99)
    with pytest.raises(VideoError, match="no such file"):
        dataset(replace(classify, media_root=tmp_path)).sample(0, 0)
    with pytest.raises(InputError, match="scale_range"):
        Augment(scale_range=(1.1, 0.65))


def test_a_large_set_is_small_to_send(tmp_path: Path, media: Path) -> None:
    n = 20_000
    clips = [clip(f"clip_{i}", f"videos/{i // 10}.mp4", 0.0, 10.0, "train", i % 4) for i in range(n)]
    manifest = write_manifest(
        tmp_path,
        name="large",
        kind="classify",
        multi_label=False,
        label_space=SPACE,
        media_root=media,
        licence="",
        source="",
        clips=clips,
    )
    data = dataset(manifest)
    assert len(pickle.dumps(data)) < 100 * n  # columns, not a dictionary per row
    assert np.array_equal(data.targets(19_999).argmax(dim=1), [3])


def test_class_turns_read_the_labels_of_clips_and_of_boxes(classify: Manifest, localise: Manifest) -> None:
    """Groups by the rarest class, each with max(1, sqrt(threshold / share)) turns; none for a box without a label."""
    assert dataset(classify).class_turns("uniform", 0.001) is None
    turns = dataset(classify).class_turns("repeat_factor", 1.0)
    assert turns is not None
    # "one" (walk, jump) stands under walk, which is as rare as jump and comes first; "two" under run; sqrt(2) turns.
    assert (turns.order.tolist(), turns.sizes.tolist(), turns.turns.tolist()) == ([0, 1], [1, 1], [1, 1])
    turns = dataset(localise).class_turns("repeat_factor", 1.0)
    assert turns is not None
    # Three keyframes: jump; walk and sit; run (and a box of nothing): sqrt(3) turns each.
    assert (turns.order.tolist(), turns.turns.tolist()) == ([1, 2, 0], [2, 2, 2])
