"""What training changes at random, and those of the changes that are made to whole batches, on the device they lie on.

Colour, RandAugment, mixup and CutMix; scale, box jitter and flip are made sample by sample (``transforms.augment``).
Everything random is drawn on the CPU from one seed per sample, a function of (run seed, step, place in the batch)
(``data.mixture.sample_seed``), so a batch changes in the same way whatever the device and the number of workers.
Frames of a clip change alike. Videos are uint8 (B, 3, T, H, W) in and out; boxes stay where they are, for what moves
pixels is left out where there are boxes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample

from tubelet.types import InputError

GREY = (0.299, 0.587, 0.114)
LEVELS = 30
"""RandAugment's scale of magnitudes (Cubuk et al. 2020, as in the ImageNet code)."""
STREAM = 0x5DEECE66D5DEECE6
"""Changes a sample's seed, so that its colours do not follow from its place and time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchAugment:
    """Which changes are made; the defaults make none. They change the whole canvas, a letterbox's border too.

    Published, ViViT's public configs (Scenic): Kinetics takes colour with probability 0.8 (and none at all with 0.1,
    which is not here); SSv2 no colour, RandAugment 2 x 20 and mixup 0.3; EPIC-Kitchens no colour, RandAugment 2 x 15
    and mixup 0.1. CutMix: 1.0 (Yun et al. 2019). The ranges of colour are those of their reader (DMVR,
    ``color_default_augm``); its contrast turns around each channel's mean in each frame, ours around the clip's grey
    mean.
    """

    colour_probability: float = 0.0
    """Share of clips whose colours are changed."""
    brightness: float = 32 / 255
    """Largest shift as a share of the range."""
    contrast: float = 0.4
    """Largest change of the factor around 1: 0.6 to 1.4."""
    saturation: float = 0.4
    """Largest change of the factor around 1."""
    hue: float = 0.2
    """Largest turn, as a share of the circle."""
    rand_augment: tuple[int, int] = (0, 0)
    """Operations for each clip, and their magnitude in 0..30."""
    mixup: float = 0.0
    """Alpha of the Beta distribution (Zhang et al. 2018); 0 = off. Clips are mixed in pairs, slots 2i and 2i + 1 of the
    step's global batch, each pair by its own draw: the same clips mix however many processes share the batch."""
    cutmix: float = 0.0
    """Alpha of the Beta distribution (Yun et al. 2019); 0 = off. With both on, each pair takes one, by a coin."""

    def __post_init__(self) -> None:
        if not 0 <= self.colour_probability <= 1:
            raise InputError(f"colour_probability must be in 0..1, got {self.colour_probability}")
        if not (0 <= self.brightness <= 1 and 0 <= self.contrast <= 1 and 0 <= self.saturation <= 1):
            raise InputError("brightness, contrast and saturation must be in 0..1")
        if not 0 <= self.hue <= 0.5:
            raise InputError(f"hue must be in 0..0.5, got {self.hue}")
        if self.rand_augment[0] < 0 or not 0 <= self.rand_augment[1] <= LEVELS:
            raise InputError(f"rand_augment must be (operations, magnitude in 0..{LEVELS}), got {self.rand_augment}")
        if self.mixup < 0 or self.cutmix < 0:
            raise InputError("mixup and cutmix must be 0 or above")

    @property
    def mixes_clips(self) -> bool:
        """Whether pairs of clips are mixed."""
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    """What training changes at random; the defaults are paper A's (A.1).

    Settings only: ``transforms.augment`` scales, places, jitters and flips a sample by them, ``augment_batch``
    does what ``batch`` says.
    """

    scale_range: tuple[float, float] = (0.65, 1.1)
    """Uniform range of the frame's scale, 1 = as in scoring. Where a square is cut out of the frame (``types.Fit``) the
    smallest must hold it; paper B: (1, 1)."""
    box_jitter: float = 0.15
    """Largest move of a box side as a share of its length."""
    flip: bool = False
    """Mirror half of the clips; labels that depend on direction are swapped (``labels.mirror_columns``)."""
    batch: BatchAugment = field(default_factory=BatchAugment)
    """What changes whole batches on the device: colours, RandAugment, mixup, CutMix; the default: nothing."""

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if not 0 < low <= high:
            raise InputError(f"scale_range must be 0 < low <= high, got {self.scale_range}")
        if not 0 <= self.box_jitter < 0.5:
            raise InputError(f"box_jitter must be in [0, 0.5), got {self.box_jitter}")


def augment_batch(
    video: Tensor,
    targets: Tensor,
    settings: BatchAugment,
    seeds: Sequence[int],
    slots: Sequence[int],
    *,
    has_boxes: bool,
) -> tuple[Tensor, Tensor]:
    """Return the batch changed by ``settings``.

    Args:
        video: uint8 (B, 3, T, H, W).
        targets: float32 (B, K); returned as they are unless clips are mixed.
        settings: What is done.
        seeds: Of the samples, one each: what changed them before was drawn from it too, in another stream.
        slots: Place of each sample in the step's global batch, ascending. A clip whose partner in mixing is missing
            (unreadable, or the batch is odd) stays as it is.
        has_boxes: The targets belong to boxes: pixels do not move.

    Raises:
        ValueError: Clips with boxes would be mixed, or the seeds or slots are not B.
    """
    if not len(seeds) == len(slots) == len(video):
        raise ValueError(f"{len(seeds)} seeds and {len(slots)} slots for a batch of {len(video)}")
    if has_boxes and (settings.mixup or settings.cutmix):
        raise ValueError("mixup and CutMix mix whole clips: they do not go with boxes")
    if settings == BatchAugment() or len(video) == 0:
        return video, targets
    generators = [torch.Generator().manual_seed(seed ^ STREAM) for seed in seeds]
    if settings.colour_probability:
        video = colour_jitter(video, settings, generators)
    if settings.rand_augment[0]:
        video = rand_augment(video, *settings.rand_augment, generators, moves=not has_boxes)
    if settings.mixup or settings.cutmix:
        firsts = [i for i, slot in enumerate(slots[:-1]) if slot % 2 == 0 and slots[i + 1] == slot + 1]
        video, targets = video.clone(), targets.clone()
        for i in firsts:
            pair = slice(i, i + 2)
            video[pair], targets[pair] = _mix(video[pair], targets[pair], settings, generators[i])
    return video, targets


def colour_jitter(video: Tensor, settings: BatchAugment, generators: Sequence[torch.Generator]) -> Tensor:
    """Change brightness, saturation, contrast and hue of whole clips, in this order."""
    draws = torch.stack([torch.rand(5, generator=g, dtype=torch.float64) for g in generators])
    chosen = (draws[:, 0] < settings.colour_probability).nonzero()[:, 0]
    if len(chosen) == 0:
        return video
    signed = (2 * draws[chosen, 1:] - 1).float()
    frames = video[chosen.to(video.device)].float()
    limits = (settings.brightness, settings.saturation, settings.contrast, settings.hue)
    shift, saturation, contrast, turn = (
        (signed[:, i] * limit).to(video.device).view(-1, 1, 1, 1, 1) for i, limit in enumerate(limits)
    )
    frames = frames + 255 * shift
    frames = _towards(frames, _grey(frames), 1 + saturation)
    frames = _towards(frames, _grey(frames).mean(dim=(2, 3, 4), keepdim=True), 1 + contrast)
    return _put(video, chosen, _turned(frames, turn))


def rand_augment(
    video: Tensor, operations: int, magnitude: int, generators: Sequence[torch.Generator], *, moves: bool
) -> Tensor:
    """Apply ``operations`` random operations of ``magnitude`` to each clip (RandAugment; Cubuk et al. 2020).

    Args:
        video: uint8 (B, 3, T, H, W).
        operations: How many for each clip.
        magnitude: 0..30.
        generators: One for each clip.
        moves: Shearing, shifting and turning are among the operations.
    """
    known = [*COLOUR_OPERATIONS.values(), *(MOVES.values() if moves else ())]
    for _ in range(operations):
        draws = torch.stack([torch.rand(2, generator=g, dtype=torch.float64) for g in generators])
        which = (draws[:, 0] * len(known)).long()
        signs = torch.where(draws[:, 1] < 0.5, -1.0, 1.0).float()
        for number in sorted(set(which.tolist())):
            chosen = (which == number).nonzero()[:, 0]
            frames = video[chosen.to(video.device)].float()
            strength = (signs[chosen] * magnitude / LEVELS).to(video.device).view(-1, 1, 1, 1, 1)
            video = _put(video, chosen, known[number](frames, strength))
    return video


def mixup(video: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return ``share`` of each of two clips plus the rest of the other; targets likewise."""
    mixed = share * video.float() + (1 - share) * video.float().flip(0)
    return mixed.round_().to(torch.uint8), share * targets + (1 - share) * targets.flip(0)


def cutmix(video: Tensor, targets: Tensor, share: float, centre: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return each of two clips with a window of the other pasted in; targets by the area that is left.

    Args:
        video: uint8 (2, 3, T, H, W).
        targets: (2, K).
        share: Wanted share of the clip that stays.
        centre: (y, x) of the window in 0..1; a part outside the frame is cut off.
    """
    height, width = video.shape[-2:]
    side = math.sqrt(1 - share)
    (top, bottom), (left, right) = (
        (round(min(max((c - side / 2) * n, 0), n)), round(min(max((c + side / 2) * n, 0), n)))
        for c, n in zip(centre, (height, width), strict=True)
    )
    mixed = video.clone()
    mixed[..., top:bottom, left:right] = video.flip(0)[..., top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, kept * targets + (1 - kept) * targets.flip(0)


def _mix(video: Tensor, targets: Tensor, settings: BatchAugment, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    coin, y, x, seed = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    cut = settings.cutmix > 0 and (settings.mixup == 0 or coin < 0.5)
    alpha = settings.cutmix if cut else settings.mixup
    share = _beta(alpha, torch.Generator().manual_seed(int(seed * 2**53)))
    return cutmix(video, targets, share, (y, x)) if cut else mixup(video, targets, share)


def _beta(alpha: float, generator: torch.Generator) -> float:
    """Draw from Beta(alpha, alpha) by Joehnk's method, which needs only uniform numbers."""
    while True:
        u, v = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        x, y = (math.exp(math.log(max(n, 1e-300)) / alpha) for n in (u, v))
        if 0 < x + y <= 1:
            return x / (x + y)


def _put(video: Tensor, chosen: Tensor, frames: Tensor) -> Tensor:
    changed = frames.round_().clamp_(0, 255).to(torch.uint8)
    if len(chosen) == len(video):
        return changed
    result = video.clone()
    result[chosen.to(video.device)] = changed
    return result


def _grey(frames: Tensor) -> Tensor:
    weights = torch.tensor(GREY, device=frames.device).view(1, 3, 1, 1, 1)
    return (frames * weights).sum(dim=1, keepdim=True)


def _towards(frames: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Blend: 0 gives ``other``, 1 the frames, more goes beyond them."""
    return other + (frames - other) * factor


def _turned(frames: Tensor, turn: Tensor) -> Tensor:
    """Turn hues by a share of the circle around the grey axis, in YIQ as TensorFlow's ``adjust_hsv_in_yiq``."""
    to_yiq = frames.new_tensor([GREY, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])
    angle = 2 * math.pi * turn.view(-1)
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    rows = [one, zero, zero, zero, cos, -sin, zero, sin, cos]
    rotation = torch.stack(rows, dim=1).view(-1, 3, 3)
    matrix = torch.linalg.inv(to_yiq) @ rotation @ to_yiq
    return torch.einsum("bij,bjthw->bithw", matrix, frames)


def _sharpened(frames: Tensor, strength: Tensor) -> Tensor:
    b, c, t, h, w = frames.shape
    kernel = frames.new_tensor([[1, 1, 1], [1, 5, 1], [1, 1, 1]]).view(1, 1, 3, 3) / 13
    smooth = frames.clone()
    blurred = conv2d(frames.reshape(b * c * t, 1, h, w), kernel)
    smooth[..., 1:-1, 1:-1] = blurred.view(b, c, t, h - 2, w - 2)  # Pillow's filter leaves the border alone
    return _towards(frames, smooth, 1 + 0.9 * strength)


def _stretched(frames: Tensor, strength: Tensor) -> Tensor:
    low, high = frames.amin(dim=(2, 3, 4), keepdim=True), frames.amax(dim=(2, 3, 4), keepdim=True)
    return torch.where(high > low, (frames - low) * 255 / (high - low).clamp(min=1), frames)


def _posterized(frames: Tensor, strength: Tensor) -> Tensor:
    step = 2.0 ** (strength.abs() * 4).round()  # 8 bits down to 4
    return (frames / step).floor() * step


def _solarized(frames: Tensor, strength: Tensor) -> Tensor:
    return torch.where(frames >= 256 * (1 - strength.abs()), 255 - frames, frames)


def _moved(frames: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """Sample by an affine map given as its six numbers for each clip; grey comes in from outside."""
    b, c, t, h, w = frames.shape
    theta = torch.stack([row.reshape(-1) for row in rows], dim=1).view(b, 2, 3)
    grid = affine_grid(theta, [b, c * t, h, w], align_corners=False)
    # Grey outside, as RandAugment's fill: sampling subtracts it so that zeros stand for it.
    moved = grid_sample(frames.reshape(b, c * t, h, w) - 128, grid, mode="bilinear", align_corners=False)
    return (moved + 128).view_as(frames)


def _constants(strength: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(strength), torch.zeros_like(strength)


def _sheared_x(frames: Tensor, strength: Tensor) -> Tensor:
    one, zero = _constants(strength)
    return _moved(frames, [one, 0.3 * strength, zero, zero, one, zero])


def _sheared_y(frames: Tensor, strength: Tensor) -> Tensor:
    one, zero = _constants(strength)
    return _moved(frames, [one, zero, zero, 0.3 * strength, one, zero])


def _shifted_x(frames: Tensor, strength: Tensor) -> Tensor:
    one, zero = _constants(strength)
    return _moved(frames, [one, zero, 0.9 * strength, zero, one, zero])  # 0.45 of the side


def _shifted_y(frames: Tensor, strength: Tensor) -> Tensor:
    one, zero = _constants(strength)
    return _moved(frames, [one, zero, zero, zero, one, 0.9 * strength])


def _rotated(frames: Tensor, strength: Tensor) -> Tensor:
    angle = math.radians(30) * strength
    _, zero = _constants(strength)
    ratio = frames.shape[-2] / frames.shape[-1]  # grid units differ where the frame is not square
    return _moved(frames, [angle.cos(), -angle.sin() * ratio, zero, angle.sin() / ratio, angle.cos(), zero])


Operation = Callable[[Tensor, Tensor], Tensor]
COLOUR_OPERATIONS: Mapping[str, Operation] = {
    "identity": lambda frames, _: frames,
    "brightness": lambda frames, s: frames * (1 + 0.9 * s),
    "contrast": lambda frames, s: _towards(frames, _grey(frames).mean(dim=(2, 3, 4), keepdim=True), 1 + 0.9 * s),
    "saturation": lambda frames, s: _towards(frames, _grey(frames), 1 + 0.9 * s),
    "sharpness": _sharpened,
    "autocontrast": _stretched,
    "posterize": _posterized,
    "solarize": _solarized,
}
MOVES: Mapping[str, Operation] = {
    "shear x": _sheared_x,
    "shear y": _sheared_y,
    "shift x": _shifted_x,
    "shift y": _shifted_y,
    "rotate": _rotated,
}
