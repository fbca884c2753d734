from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_video import write_numbered
from torch import Tensor

from tubelet.types import Fit, InputError, Preprocess
from tubelet.video.convert import Crop, FrameSize
from tubelet.video.decode import read_frames
from tubelet.video.normalise import normalise
from tubelet.video.transforms import (
    augment,
    canvas_boxes,
    check_crops,
    crop_offsets,
    placement,
    read_size,
    shown_boxes,
    to_canvas,
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(height: int, width: int, box: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """A grey frame with one white rectangle, and the rectangle's box."""
    frames = torch.full((2, 3, height, width), 60, dtype=torch.uint8)
    x1, y1, x2, y2 = box
    frames[:, :, y1:y2, x1:x2] = 255
    return frames, torch.tensor([box], dtype=torch.float32)


def extent(frames: Tensor) -> tuple[int, int, int, int]:
    """xyxy of the white pixels."""
    rows, columns = np.nonzero(frames[0, 0].numpy() > 157)  # half-way between grey and white
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_letterbox_of_a_wide_frame() -> None:
    # 40x80 on a canvas of 40: scaled to 20x40, ten rows of zeros above and below.
    frames, boxes = scene(40, 80, (20, 10, 60, 30))
    canvas, moved = to_canvas(frames, boxes, fit=Fit(size=40))
    assert canvas.shape == (2, 3, 40, 40)
    assert canvas.dtype == torch.uint8
    assert (canvas[:, :, :10] == 0).all()
    assert (canvas[:, :, 30:] == 0).all()
    assert (canvas[:, :, 10:30] > 0).all()
    assert moved is not None
    assert moved.tolist() == [[10, 15, 30, 25]]


def test_letterbox_of_a_frame_that_fits_changes_nothing() -> None:
    frames = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(to_canvas(frames, None, fit=Fit(size=32))[0], frames)


def test_offset_places_small_frames_and_crops_large_ones() -> None:
    frames = torch.full((1, 3, 20, 20), 9, dtype=torch.uint8)
    small, _ = to_canvas(frames, None, fit=Fit(size=20), scale=0.5, offset=(0.0, 1.0))  # y at the top, x at the right
    assert small[0, 0].nonzero().min(dim=0).values.tolist() == [0, 10]
    assert int((small[0, 0] > 0).sum()) == 100
    assert placement(20, 20, fit=Fit(size=20), scale=1.5, offset=(0.0, 1.0)).top == 0
    assert placement(20, 20, fit=Fit(size=20), scale=1.5, offset=(0.0, 1.0)).left == -10


@pytest.mark.parametrize("scale", [0.65, 0.9, 1.0, 1.1])
@pytest.mark.parametrize("size_hw", [(96, 128), (128, 72), (100, 100)])
def test_boxes_move_with_the_pixels(scale: float, size_hw: tuple[int, int]) -> None:
    frames, boxes = scene(*size_hw, (30, 32, 52, 60))
    for offset in ((0.5, 0.5), (0.2, 0.8), (1.0, 0.0)):
        canvas, moved = to_canvas(frames, boxes, fit=Fit(size=112), scale=scale, offset=offset)
        assert moved is not None
        assert np.allclose(moved[0], extent(canvas), atol=1.0)


def test_flip_moves_boxes_with_the_pixels_and_is_half_of_the_clips() -> None:
    frames, boxes = scene(96, 128, (30, 32, 52, 60))
    options = {"fit": Fit(size=112), "scale_range": (0.8, 1.0), "box_jitter": 0.0}
    changed = 0
    for seed in range(60):
        plain = augment(frames, boxes, flip=False, generator=generator(seed), **options)  # type: ignore[arg-type]
        maybe = augment(frames, boxes, flip=True, generator=generator(seed), **options)  # type: ignore[arg-type]
        assert maybe.boxes is not None
        assert plain.boxes is not None
        assert np.allclose(maybe.boxes[0], extent(maybe.frames), atol=1.0)
        flipped = torch.equal(maybe.frames, plain.frames.flip(-1))
        assert flipped or torch.equal(maybe.frames, plain.frames)
        changed += flipped
    assert 18 <= changed <= 42


def test_augment_is_decided_by_the_generator() -> None:
    frames, boxes = scene(96, 128, (30, 32, 52, 60))
    options = {"fit": Fit(size=64), "scale_range": (0.65, 1.1), "box_jitter": 0.15, "flip": True}
    a, b, c = (augment(frames, boxes, generator=generator(s), **options) for s in (1, 1, 2))  # type: ignore[arg-type]
    assert torch.equal(a.frames, b.frames)
    assert a.boxes is not None
    assert b.boxes is not None
    assert torch.equal(a.boxes, b.boxes)
    assert not torch.equal(a.frames, c.frames)


def test_scales_are_uniform_over_the_range() -> None:
    frames = torch.full((1, 3, 50, 100), 200, dtype=torch.uint8)
    widths = []
    for seed in range(300):
        options = {"scale_range": (0.5, 1.0), "box_jitter": 0.0, "flip": False}
        canvas = augment(frames, None, fit=Fit(size=100), generator=generator(seed), **options).frames  # type: ignore[arg-type]
        widths.append(int((canvas[0, 0].amax(dim=0) > 0).sum()))
    assert min(widths) >= 50
    assert max(widths) <= 100
    assert np.mean(widths) == pytest.approx(75, abs=2.5)
    assert np.std(widths) == pytest.approx(50 / 12**0.5, abs=1.5)  # of a uniform distribution


def test_box_jitter_is_bounded_and_spread() -> None:
    frames, boxes = scene(100, 100, (40, 40, 60, 80))
    seen = []
    for seed in range(300):
        options = {"scale_range": (1.0, 1.0), "box_jitter": 0.15, "flip": False}
        changed = augment(frames, boxes, fit=Fit(size=100), generator=generator(seed), **options)  # type: ignore[arg-type]
        assert changed.boxes is not None
        seen.append((changed.boxes[0] - boxes[0]).tolist())
    moves = np.abs(np.array(seen)).max(axis=0)
    assert (moves <= [3.0, 6.0, 3.0, 6.0]).all()  # 0.15 of 20 and 40 pixels
    assert (moves > [2.8, 5.6, 2.8, 5.6]).all()


def test_boxes_off_the_canvas_are_dropped_and_counted() -> None:
    # At scale 2 a canvas of 100 shows half of the frame: one of the corner boxes at least is outside.
    frames = torch.zeros((1, 3, 100, 100), dtype=torch.uint8)
    boxes = torch.tensor([[0, 0, 10, 10], [90, 90, 100, 100], [45, 45, 55, 55.0]])
    options = {"scale_range": (2.0, 2.0), "box_jitter": 0.0, "flip": False}
    changed = augment(frames, boxes, fit=Fit(size=100), generator=generator(0), **options)  # type: ignore[arg-type]
    assert changed.boxes is not None
    assert changed.keep is not None
    assert changed.num_dropped == 3 - len(changed.boxes) >= 1
    assert int(changed.keep.sum()) == len(changed.boxes)
    assert changed.boxes.min() >= 0
    assert changed.boxes.max() <= 100


def test_no_boxes_stay_no_boxes() -> None:
    frames = torch.zeros((1, 3, 10, 10), dtype=torch.uint8)
    options = {"fit": Fit(size=10), "scale_range": (0.7, 1.1), "box_jitter": 0.1, "flip": True}
    empty = augment(frames, torch.zeros(0, 4), generator=generator(0), **options)  # type: ignore[arg-type]
    assert empty.boxes is not None
    assert empty.boxes.shape == (0, 4)
    assert augment(frames, None, generator=generator(0), **options).boxes is None  # type: ignore[arg-type]


def test_normalise_by_hand() -> None:
    video = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    size = {"size": 1, "num_frames": 1, "frame_stride": 1, "fps": 25.0}
    out = normalise(video, Preprocess(**size, mean=(0.5, 0.5, 0.0), std=(0.5, 0.25, 1.0)))
    assert out.dtype == torch.float32
    assert out.flatten().tolist() == pytest.approx([-1.0, 2.0, 0.2])
    assert normalise(video, Preprocess(**size), torch.bfloat16).dtype == torch.bfloat16


def test_what_moves_can_weigh_more_than_what_stays() -> None:
    video = torch.tensor([[0, 255], [255, 255], [255, 0]], dtype=torch.uint8).view(1, 3, 2, 1, 1)
    weights = {"still_weight": 0.5, "motion_weight": 3.0}
    out = normalise(video, Preprocess(size=1, num_frames=2, frame_stride=1, fps=25.0, **weights))
    # Channel 0 goes from -1 to 1: mean 0, differences -1 and 1. Channel 1 stays at 1.
    assert out.flatten().tolist() == pytest.approx([-3.0, 3.0, 0.5, 0.5, 3.0, -3.0])


@pytest.mark.parametrize("frame_hw", [(240, 320), (320, 240), (256, 341), (97, 53)])
@pytest.mark.parametrize("fit", [Fit(size=112), Fit(size=112, exact_hw=(128, 171)), Fit(size=112, short_side=128)])
def test_canvas_boxes_are_where_the_pixels_are(frame_hw: tuple[int, int], fit: Fit) -> None:
    height, width = frame_hw
    box = (3 * width // 8, 3 * height // 8, width // 2, 5 * height // 8)
    frames, boxes = scene(height, width, box)
    norm = boxes / torch.tensor([width, height, width, height])
    for offset in crop_offsets(height, width, "centre"):
        canvas, moved = to_canvas(frames, boxes, fit=fit, offset=offset)
        on_canvas = canvas_boxes(norm, placement(height, width, fit=fit, offset=offset))
        assert moved is not None
        assert torch.allclose(on_canvas, moved, atol=1e-4)
        assert np.allclose(on_canvas[0], extent(canvas), atol=1.0)


def test_paper_b_scales_to_128x171_and_cuts_a_square_out() -> None:
    # 240x320 to 128x171; top = (128 - 112) / 2 = 8, left = (171 - 112) / 2 = 29.5, up to 30.
    fit = Fit(size=112, exact_hw=(128, 171))
    frames, boxes = scene(240, 320, (120, 90, 200, 150))
    out, moved = to_canvas(frames, boxes, fit=fit)
    assert out.shape == (2, 3, 112, 112)
    assert moved is not None
    expected = [120 * 171 / 320 - 30, 90 * 128 / 240 - 8, 200 * 171 / 320 - 30, 150 * 128 / 240 - 8]
    assert moved[0].tolist() == pytest.approx(expected, abs=1e-4)
    assert extent(out) == pytest.approx(expected, abs=1)
    whole, moved = to_canvas(frames, boxes, fit=fit, whole=True)
    assert whole.shape == (2, 3, 128, 171)
    assert moved is not None
    assert moved[0].tolist() == pytest.approx([120 * 171 / 320, 48, 200 * 171 / 320, 80], abs=1e-4)


def test_squares_are_cut_as_the_decoder_cuts_them(tmp_path: Path) -> None:
    video = write_numbered(tmp_path / "a.mp4", num_frames=3)  # 160x96
    for fit in (Fit(size=48, exact_hw=(64, 85)), Fit(size=48, short_side=53)):
        size = read_size(fit)
        read = read_frames(video, [0.04], size=size).frames
        for offset in crop_offsets(96, 160, "three"):
            crop = Crop(48, 48, y=offset[0], x=offset[1])
            there = read_frames(video, [0.04], size=replace(size, crop=crop)).frames
            assert torch.equal(to_canvas(read, None, fit=fit, offset=offset)[0], there)


def test_short_edge_scaling_keeps_the_aspect() -> None:
    frames, boxes = scene(240, 320, (120, 90, 200, 150))
    fit = Fit(size=100, short_side=120)
    out, moved = to_canvas(frames, boxes, fit=fit, whole=True)
    assert out.shape[-2:] == (120, 160)
    assert moved is not None
    assert moved[0].tolist() == [60, 45, 100, 75]
    assert to_canvas(frames, None, fit=fit)[0].shape[-2:] == (100, 100)
    assert (to_canvas(frames, None, fit=fit)[0] > 0).all()  # nothing of the canvas is empty


def test_three_squares_lie_along_the_longer_side() -> None:
    fit = Fit(size=256, short_side=256)
    wide = [placement(256, 340, fit=fit, offset=o) for o in crop_offsets(256, 340, "three")]
    assert [(p.top, p.left) for p in wide] == [(0, 0), (0, -42), (0, -84)]
    tall = [placement(340, 256, fit=fit, offset=o) for o in crop_offsets(340, 256, "three")]
    assert [(p.top, p.left) for p in tall] == [(0, 0), (-42, 0), (-84, 0)]
    assert crop_offsets(256, 340, "centre") == crop_offsets(256, 340, "whole") == [(0.5, 0.5)]
    assert [check_crops(fit, crops) for crops in ("centre", "three", "whole")] == [1, 3, 1]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="crops 'three': letterboxed frames are shown whole"):
        check_crops(Fit(size=256), "three")


def test_a_random_square_stays_inside_the_frame_and_takes_its_boxes_along() -> None:
    frames, boxes = scene(240, 320, (120, 90, 200, 150))
    fit = Fit(size=112, exact_hw=(128, 171))
    places = set()
    for seed in range(40):
        changed = augment(
            frames, boxes, fit=fit, scale_range=(1.0, 1.2), box_jitter=0.0, flip=False, generator=generator(seed)
        )
        assert (changed.frames > 0).all()
        if changed.boxes is not None and len(changed.boxes):
            assert np.allclose(changed.boxes[0], extent(changed.frames), atol=1.0)
            places.add(tuple(changed.boxes[0].round().tolist()))
    assert len(places) > 30


def test_scoring_keeps_the_boxes_that_a_square_leaves_out() -> None:
    boxes = torch.tensor([[10.0, 10, 30, 30], [-20, 10, 8, 30], [-40, 5, -10, 20], [120, 110, 130, 140]])
    shown, off = shown_boxes(boxes, (112, 112))
    assert off == 2
    assert shown.tolist() == [[10, 10, 30, 30], [0, 10, 8, 30], [0, 5, 1, 20], [111, 110, 112, 112]]


def test_frames_are_read_as_large_as_the_largest_scale_needs() -> None:
    assert read_size(Fit(size=112), 1.1) == FrameSize(long_side=124, shrink_only=True)  # 123.2
    assert read_size(Fit(size=100), 0.9) == FrameSize(long_side=100, shrink_only=True)  # scoring shows the whole frame
    assert read_size(Fit(size=112, exact_hw=(128, 171))) == FrameSize(exact_hw=(128, 171))
    assert read_size(Fit(size=112, short_side=128), 1.25) == FrameSize(short_side=160, shrink_only=True)


def test_a_fit_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"a square of 112 pixels does not fit a frame of exact_hw \(100, 171\)"):
        Fit(size=112, exact_hw=(100, 171))
    with pytest.raises(InputError, match="does not fit a frame of short_side 64"):
        Fit(size=112, short_side=64)
    with pytest.raises(InputError, match="one of exact_hw and short_side"):
        Fit(size=112, short_side=128, exact_hw=(128, 171))
