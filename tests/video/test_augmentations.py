import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tubelet.video.augmentations import (
    COLOUR_OPERATIONS,
    LEVELS,
    MOVES,
    BatchAugment,
    _beta,
    augment_batch,
    cutmix,
    mixup,
)

SSV2 = BatchAugment(colour_probability=0.8, rand_augment=(2, 20), mixup=0.3)


def batch(size: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (size, 3, 2, 16, 16), generator=generator, dtype=torch.uint8)
    return video, torch.eye(size)


def strength(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1, 1), value)


def flat(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1, 1).expand(1, 3, 1, 8, 8).clone()


def changed_batch(
    video: Tensor, targets: Tensor, settings: BatchAugment, seeds: Sequence[int], *, has_boxes: bool
) -> tuple[Tensor, Tensor]:
    """Change a whole step's batch."""
    return augment_batch(video, targets, settings, seeds, range(len(video)), has_boxes=has_boxes)


def test_the_same_seeds_change_a_batch_alike_and_others_do_not() -> None:
    video, targets = batch()
    first, first_targets = changed_batch(video, targets, SSV2, [1, 2, 3, 4], has_boxes=False)
    again, again_targets = changed_batch(video, targets, SSV2, [1, 2, 3, 4], has_boxes=False)
    other, _ = changed_batch(video, targets, SSV2, [5, 6, 7, 8], has_boxes=False)
    assert torch.equal(first, again)
    assert torch.equal(first_targets, again_targets)
    assert not torch.equal(first, other)
    assert first.dtype == torch.uint8
    assert first.shape == video.shape


def test_a_sample_changes_by_its_own_seed_wherever_it_stands() -> None:
    settings = BatchAugment(colour_probability=0.8, rand_augment=(2, 20))
    video, targets = batch()
    whole, _ = changed_batch(video, targets, settings, [1, 2, 3, 4], has_boxes=False)
    order = [2, 0, 3, 1]
    shuffled, _ = changed_batch(video[order], targets, settings, [3, 1, 4, 2], has_boxes=False)
    assert torch.equal(shuffled, whole[order])


def test_nothing_is_done_by_default() -> None:
    video, targets = batch()
    changed, same = changed_batch(video, targets, BatchAugment(), [0] * 4, has_boxes=True)
    assert torch.equal(changed, video)
    assert torch.equal(same, targets)


def test_the_input_is_left_alone_and_frames_of_a_clip_change_alike() -> None:
    still = torch.randint(0, 256, (3, 3, 1, 12, 12), dtype=torch.uint8).expand(3, 3, 4, 12, 12).clone()
    before = still.clone()
    settings = BatchAugment(colour_probability=1.0, rand_augment=(2, 15))
    changed, _ = changed_batch(still, torch.eye(3), settings, [7, 8, 9], has_boxes=False)
    assert torch.equal(still, before)
    assert torch.equal(changed, changed[:, :, :1].expand_as(changed))
    assert not torch.equal(changed, still)


def test_pixels_do_not_move_where_there_are_boxes() -> None:
    """A bright square stays where it is: columns and rows without it stay uniform."""
    video = torch.full((64, 3, 1, 16, 16), 60, dtype=torch.uint8)
    video[..., 4:9, 5:11] = 190
    settings = BatchAugment(rand_augment=(2, 30), colour_probability=0.5)
    changed, _ = changed_batch(video, torch.zeros(64, 1), settings, list(range(64)), has_boxes=True)
    outside = torch.ones(16, 16, dtype=torch.bool)
    outside[2:11, 3:13] = False  # sharpening twice may touch two pixels around it
    values = changed[..., outside]
    assert (values == values[..., :1]).all()
    with pytest.raises(ValueError, match="do not go with boxes"):
        changed_batch(video, torch.zeros(64, 1), BatchAugment(mixup=0.2), list(range(64)), has_boxes=True)


def test_brightness_contrast_and_saturation_by_hand() -> None:
    frame = flat(100, 50, 20)
    assert torch.allclose(COLOUR_OPERATIONS["brightness"](frame, strength(1.0)), 1.9 * frame)
    grey = 0.299 * 100 + 0.587 * 50 + 0.114 * 20
    assert torch.allclose(COLOUR_OPERATIONS["saturation"](frame, strength(-1.0)), grey + 0.1 * (frame - grey))
    half = frame.clone()
    half[..., 4:] = 0
    changed = COLOUR_OPERATIONS["contrast"](half, strength(1.0))
    assert torch.allclose(changed, grey / 2 + 1.9 * (half - grey / 2))


def test_posterize_solarize_and_autocontrast_by_hand() -> None:
    levels = torch.tensor([0.0, 15, 16, 127, 128, 255]).view(1, 1, 1, 1, 6).expand(1, 3, 1, 1, 6)
    assert COLOUR_OPERATIONS["posterize"](levels, strength(1.0))[0, 0, 0, 0].tolist() == [0, 0, 16, 112, 128, 240]
    assert COLOUR_OPERATIONS["solarize"](levels, strength(0.5))[0, 0, 0, 0].tolist() == [0, 15, 16, 127, 127, 0]
    narrow = levels / 2 + 20
    assert torch.allclose(COLOUR_OPERATIONS["autocontrast"](narrow, strength(1.0)), levels, atol=1e-3)


def test_hue_turns_around_grey() -> None:
    video = flat(200, 60, 30).to(torch.uint8)
    settings = BatchAugment(colour_probability=1.0, brightness=0, contrast=0, saturation=0, hue=0.5)
    seen = set()
    for seed in range(6):
        changed, _ = changed_batch(video, torch.zeros(1, 1), settings, [seed], has_boxes=True)
        red, green, blue = changed[0, :, 0, 0, 0].tolist()
        seen.add((red, green, blue))
        if max(red, green, blue) < 255 and min(red, green, blue) > 0:  # else it was cut to the range
            assert abs(0.299 * red + 0.587 * green + 0.114 * blue - 98.44) < 1.5
    assert len(seen) > 3
    grey = torch.full_like(video, 90)
    changed, _ = changed_batch(grey, torch.zeros(1, 1), settings, [3], has_boxes=True)
    assert (changed.int() - 90).abs().max() <= 1


@pytest.mark.parametrize("name", sorted(MOVES))
def test_moves_move_and_keep_the_centre(name: str) -> None:
    frames = torch.full((1, 3, 1, 33, 33), 128.0)
    frames[..., 14:19, 14:19] = 250
    frames[..., 16, :] = 200
    moved = MOVES[name](frames, strength(0.3))
    assert not torch.allclose(moved, frames, atol=1)
    assert torch.allclose(MOVES[name](frames, strength(0.0)), frames, atol=1e-3)
    if "shift" not in name:
        assert moved[0, 0, 0, 16, 16] == pytest.approx(frames[0, 0, 0, 16, 16].item(), abs=1)


def test_a_shift_is_in_pixels_of_the_side() -> None:
    frames = torch.full((1, 3, 1, 20, 20), 128.0)
    frames[..., 10] = 255
    moved = MOVES["shift x"](frames, strength(20 / 90))  # 0.45 * 20/90 of 20 columns = 2
    assert moved[0, 0, 0, 5].argmax() == 8


def test_mixup_by_hand() -> None:
    video = torch.stack([torch.full((3, 1, 2, 2), v, dtype=torch.uint8) for v in (100, 200)])
    mixed, targets = mixup(video, torch.eye(2), 0.75)
    assert mixed[0].unique().tolist() == [125]
    assert mixed[1].unique().tolist() == [175]
    assert targets.tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_cutmix_by_hand() -> None:
    video = torch.stack([torch.full((3, 1, 8, 8), v, dtype=torch.uint8) for v in (1, 2)])
    mixed, targets = cutmix(video, torch.eye(2), 0.75, (0.5, 0.5))  # a window of half the side
    assert (mixed[0] == 2).sum() == 3 * 16
    assert (mixed[0, :, :, 2:6, 2:6] == 2).all()
    assert targets.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    corner, targets = cutmix(video, torch.eye(2), 0.75, (0.0, 0.0))  # three quarters of the window are outside
    assert (corner[0] == 2).sum() == 3 * 4
    assert targets[0].tolist() == [1 - 4 / 64, 4 / 64]


def test_the_beta_draw_has_its_moments() -> None:
    for alpha in (0.3, 1.0):
        draws = torch.tensor([_beta(alpha, torch.Generator().manual_seed(s)) for s in range(2000)])
        assert abs(draws.mean() - 0.5) < 0.03
        assert abs(draws.var() - 1 / (4 * (2 * alpha + 1))) < 0.01


def test_mixing_takes_one_way_for_each_pair() -> None:
    video, targets = batch()
    settings = BatchAugment(mixup=0.3, cutmix=1.0)
    kinds = set()
    for seed in range(12):
        mixed, mixed_targets = changed_batch(video, targets, settings, [seed, 0, seed + 50, 0], has_boxes=False)
        from_either = (mixed == video) | (mixed == video[[1, 0, 3, 2]])
        kinds.add((bool(from_either[:2].all()), bool(from_either[2:].all())))
        assert torch.allclose(mixed_targets.sum(dim=1), torch.ones(4))
        assert (mixed_targets[:2, 2:] == 0).all()
        assert (mixed_targets[2:, :2] == 0).all()
    assert len(kinds) == 4


def test_pairs_mix_alike_in_any_piece_of_the_batch() -> None:
    """Slots 2i and 2i + 1, by the seed of the first; who has lost its partner stays as it is."""
    video, targets = batch()
    settings = BatchAugment(colour_probability=0.5, mixup=0.3, cutmix=1.0)
    whole, whole_targets = augment_batch(video, targets, settings, [1, 2, 3, 4], [4, 5, 6, 7], has_boxes=False)
    for first in (0, 2):
        piece = slice(first, first + 2)
        seeds, slots = [1, 2, 3, 4][piece], [4, 5, 6, 7][piece]
        part, part_targets = augment_batch(video[piece], targets[piece], settings, seeds, slots, has_boxes=False)
        assert torch.equal(part, whole[piece])
        assert torch.equal(part_targets, whole_targets[piece])
    mixes = BatchAugment(mixup=1.0)
    short, short_targets = augment_batch(video[1:], targets[1:], mixes, [2, 3, 4], [5, 6, 7], has_boxes=False)
    assert torch.equal(short[0], video[1])
    assert torch.equal(short_targets[0], targets[1])
    assert ((short_targets[1:] > 0) & (short_targets[1:] < 1)).sum() == 4
    odd, odd_targets = augment_batch(video[1:3], targets[1:3], mixes, [2, 3], [5, 6], has_boxes=False)
    assert torch.equal(odd, video[1:3])
    assert torch.equal(odd_targets, targets[1:3])
    nothing, _ = augment_batch(video[:0], targets[:0], settings, [], [], has_boxes=False)
    assert len(nothing) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"colour_probability": 1.5},
        {"hue": 0.6},
        {"rand_augment": (2, LEVELS + 1)},
        {"mixup": -1.0},
        {"brightness": math.inf},
    ],
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        BatchAugment(**wrong)  # type: ignore[arg-type]


def test_seeds_must_fit_the_batch() -> None:
    with pytest.raises(ValueError, match="2 seeds and 4 slots for a batch of 4"):
        changed_batch(*batch(), BatchAugment(), [1, 2], has_boxes=False)
