"""Residual networks over video: R2D, R3D and R(2+1)D.

Papers: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition" (CVPR 2018), Table 1 and 3.5;
paper B (Table 2, A.3): depths 18 and 34 with simple blocks, above with bottlenecks "consisting of 1x1x1 convolution
before and after the factorized convolutions". Public code: VMZ, ``c2/lib/models`` (Apache-2.0). As there: no pooling
after the stem (112 x 112 pixels end as 7 x 7), strides in the spatial part of a block's first 3x3x3 convolution (its
middle one in a bottleneck), no temporal stride in R2D, batch norm with eps 1e-3, no bias in convolutions.

Two traps. (2+1)D's mid-planes follow from each convolution's own input and output planes; torchvision computes them
once per block, which is another network (``mid_planes="per_block"``, for its weights). Caffe2's batch-norm momentum 0.9
keeps 0.9 of the old average, which PyTorch writes 0.1; ports that set 0.9 ruin the averages when fine-tuned.

Shape letters: B clips, T frames, H x W pixels, t x h x w feature grid, C planes, D width of the last stage.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tubelet.models.recompute import run_block
from tubelet.types import InputError

Convolution = Literal["2d", "3d", "2plus1d"]
MidPlanes = Literal["per_convolution", "per_block"]

BATCH_NORM_MOMENTUM = 0.1
SMALL_SIDE = 2
"""Frames or pixels up to which a side is padded before a convolution on a CPU, not in it."""
STAGE_FACTORS = (1, 2, 4, 8)
"""Planes of a stage, in those of the stem."""
STEM_PLANES, STEM_MID_PLANES = 64, 45
BOTTLENECK_EXPANSION = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNetDepth:
    """What the name's number stands for."""

    blocks: tuple[int, int, int, int]
    """Residual blocks of each stage."""
    bottleneck: bool


RESNET_DEPTHS: dict[int, ResNetDepth] = {
    18: ResNetDepth(blocks=(2, 2, 2, 2), bottleneck=False),
    34: ResNetDepth(blocks=(3, 4, 6, 3), bottleneck=False),
    # Not in paper B; a common size of image networks, whose weights can be inflated.
    50: ResNetDepth(blocks=(3, 4, 6, 3), bottleneck=True),
    101: ResNetDepth(blocks=(3, 4, 23, 3), bottleneck=True),
    152: ResNetDepth(blocks=(3, 8, 36, 3), bottleneck=True),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNet3DConfig:
    """Everything that decides the parameters of a :class:`ResNet3D`."""

    depth: int
    """Key of ``RESNET_DEPTHS``."""
    convolution: Convolution
    """``2d``: 1x3x3, frames meet only in the head. ``3d``: 3x3x3. ``2plus1d``: 1x3x3, batch norm, ReLU, 3x1x1."""
    size: int = 112
    """Side of the square canvas in pixels that the network is trained on; it runs on any."""
    num_frames: int = 32
    """Frames of a clip that the network is trained on; it runs on any number."""
    mid_planes: MidPlanes = "per_convolution"
    """Of (2+1)D. ``per_block`` is torchvision's variant, not the papers' network."""
    planes: int = STEM_PLANES
    """Of the stem; every stage, and the stem's mid-planes, in proportion. The papers' networks have 64, a quarter of
    the channels is 16."""
    pool1: bool = False
    """Max-pool 1x3x3, stride 2, after the stem, as networks for 224 pixels have."""
    norm_eps: float = 1e-3
    """Of batch norm; 1e-5 for torchvision's weights."""
    family: Literal["resnet3d"] = "resnet3d"
    """Tells the config from other backbones' in a file."""

    def __post_init__(self) -> None:
        if self.depth not in RESNET_DEPTHS:
            raise InputError(f"ResNet3DConfig.depth is {self.depth}, expected one of {list(RESNET_DEPTHS)}")
        for name, known in (("convolution", get_args(Convolution)), ("mid_planes", get_args(MidPlanes))):
            if getattr(self, name) not in known:
                raise InputError(f"ResNet3DConfig.{name} is {getattr(self, name)!r}, expected one of {known}")
        for name in ("size", "num_frames", "planes"):
            if getattr(self, name) < 1:
                raise InputError(f"ResNet3DConfig.{name} is {getattr(self, name)}, expected at least 1")
        if not self.norm_eps > 0:
            raise InputError(f"ResNet3DConfig.norm_eps is {self.norm_eps}, expected more than 0")


def mid_planes_of(in_planes: int, out_planes: int) -> int:
    """Return the mid-planes with which (2+1)D has as many weights as 3x3x3: floor(27 i o / (9 i + 3 o))."""
    return 27 * in_planes * out_planes // (9 * in_planes + 3 * out_planes)


def _norm(planes: int, eps: float) -> nn.BatchNorm3d:
    return nn.BatchNorm3d(planes, eps=eps, momentum=BATCH_NORM_MOMENTUM)


class Conv(nn.Conv3d):
    """A convolution without bias that keeps unstrided sizes; over frames or over places alone it is computed in 2D.

    In channels-last memory a clip is also B*T images of H x W, and B images of T x (H*W): both are views. PyTorch's 2D
    kernels are right where oneDNN's 3D one is not: with bfloat16 products (torch 2.13, AVX512-BF16) the weights of
    three frames got uninitialised memory for a gradient wherever a clip was 2 frames long, as those of 8 and 16 frames
    become. The same holds for sides of 1 pixel with a stride, in 2D too (``_padded``).
    """

    def __init__(
        self, in_planes: int, out_planes: int, kernel: tuple[int, int, int], stride: tuple[int, int, int] = (1, 1, 1)
    ) -> None:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        super().__init__(in_planes, out_planes, kernel, stride, padding, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C', t, h, w)."""
        stride_time, stride_y, stride_x = self.stride
        if self.kernel_size[1:] == (1, 1):
            # Channels are brought to the end to merge pixels: for a single clip torch would lose the layout else. And
            # the weight without dimension 3, not 4, has a gradient with the weight's strides, which is not copied.
            places = x[..., ::stride_y, ::stride_x].permute(0, 2, 3, 4, 1)
            sides = places.shape[2:4]
            places = places.flatten(2, 3).permute(0, 3, 1, 2)
            y = F.conv2d(places, self.weight.squeeze(3), None, (stride_time, 1), (self.kernel_size[0] // 2, 0))
            return torch.unflatten(y.permute(0, 2, 3, 1), 2, sides).permute(0, 4, 1, 2, 3)
        x, (pad_time, pad_y, pad_x) = self._padded(x)
        if self.kernel_size[0] == stride_time == 1:
            frames = x.transpose(1, 2).flatten(0, 1)
            y = F.conv2d(frames, self.weight.squeeze(2), None, (stride_y, stride_x), (pad_y, pad_x))
            return torch.unflatten(y, 0, (x.shape[0], x.shape[2])).transpose(1, 2)
        return F.conv3d(x, self.weight, None, self.stride, (pad_time, pad_y, pad_x))

    def _padded(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """Return the input, padded along its small sides, and the padding that is left to do."""
        sides = zip(x.shape[2:], self.kernel_size, strict=True)
        done = [k // 2 if n <= SMALL_SIDE and x.device.type == "cpu" else 0 for n, k in sides]
        if any(done):
            x = F.pad(x, [pad for pad in reversed(done) for _ in range(2)])
        return x, [k // 2 - pad for k, pad in zip(self.kernel_size, done, strict=True)]


class FactorisedConv(nn.Module):
    """(2+1)D: a spatial convolution, batch norm, ReLU, a temporal convolution; the spatial stride is in the first."""

    def __init__(
        self, in_planes: int, mid_planes: int, out_planes: int, *, side: int, stride: tuple[int, int, int], eps: float
    ) -> None:
        super().__init__()
        self.spatial = Conv(in_planes, mid_planes, (1, side, side), (1, *stride[1:]))
        self.norm = _norm(mid_planes, eps)
        self.temporal = Conv(mid_planes, out_planes, (3, 1, 1), (stride[0], 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C', t, h, w)."""
        result: Tensor = self.temporal(F.relu(self.norm(self.spatial(x))))
        return result


def build_conv(
    kind: Convolution,
    in_planes: int,
    out_planes: int,
    *,
    stride: tuple[int, int, int] = (1, 1, 1),
    side: int = 3,
    mid_planes: int,
    eps: float,
) -> nn.Module:
    """Return a convolution of ``side`` x ``side`` pixels and, unless 2D, 3 frames, that keeps unstrided sizes."""
    if kind == "2plus1d":
        return FactorisedConv(in_planes, mid_planes, out_planes, side=side, stride=stride, eps=eps)
    return Conv(in_planes, out_planes, (1 if kind == "2d" else 3, side, side), stride)


class Stem(nn.Module):
    """The first convolution, 7 x 7 pixels with stride 2, batch norm, ReLU, and the optional pooling."""

    def __init__(self, config: ResNet3DConfig) -> None:
        super().__init__()
        self.pool1 = config.pool1
        self.conv = build_conv(
            config.convolution,
            3,
            config.planes,
            stride=(1, 2, 2),
            side=7,
            mid_planes=max(1, STEM_MID_PLANES * config.planes // STEM_PLANES),
            eps=config.norm_eps,
        )
        self.norm = _norm(config.planes, config.norm_eps)

    def forward(self, video: Tensor) -> Tensor:
        """Map (B, 3, T, H, W) to (B, planes, T, H/2, W/2), or a quarter of the side with ``pool1``."""
        x = F.relu(self.norm(self.conv(video)))
        return F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1)) if self.pool1 else x


class Shortcut(nn.Module):
    """Projection of a block's input where planes or sizes change."""

    def __init__(self, in_planes: int, out_planes: int, stride: tuple[int, int, int], eps: float) -> None:
        super().__init__()
        self.conv = Conv(in_planes, out_planes, (1, 1, 1), stride)
        self.norm = _norm(out_planes, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C', t, h, w)."""
        result: Tensor = self.norm(self.conv(x))
        return result


class SimpleBlock(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, config: ResNet3DConfig, in_planes: int, planes: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        kind, eps = config.convolution, config.norm_eps
        first = mid_planes_of(in_planes, planes)
        second = first if config.mid_planes == "per_block" else mid_planes_of(planes, planes)
        self.conv1 = build_conv(kind, in_planes, planes, stride=stride, mid_planes=first, eps=eps)
        self.norm1 = _norm(planes, eps)
        self.conv2 = build_conv(kind, planes, planes, mid_planes=second, eps=eps)
        self.norm2 = _norm(planes, eps)
        changes = in_planes != planes or stride != (1, 1, 1)
        self.shortcut = Shortcut(in_planes, planes, stride, eps) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C', t, h, w)."""
        kept = x if self.shortcut is None else self.shortcut(x)
        x = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(x)) + kept)


class BottleneckBlock(nn.Module):
    """1x1x1 to fewer planes, one convolution there, 1x1x1 to four times as many, and a shortcut."""

    def __init__(self, config: ResNet3DConfig, in_planes: int, planes: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        kind, eps = config.convolution, config.norm_eps
        shared = config.mid_planes == "per_block"
        middle = mid_planes_of(in_planes if shared else planes, planes)
        out_planes = BOTTLENECK_EXPANSION * planes
        self.conv1 = Conv(in_planes, planes, (1, 1, 1))
        self.norm1 = _norm(planes, eps)
        self.conv2 = build_conv(kind, planes, planes, stride=stride, mid_planes=middle, eps=eps)
        self.norm2 = _norm(planes, eps)
        self.conv3 = Conv(planes, out_planes, (1, 1, 1))
        self.norm3 = _norm(out_planes, eps)
        changes = in_planes != out_planes or stride != (1, 1, 1)
        self.shortcut = Shortcut(in_planes, out_planes, stride, eps) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, 4 planes, t, h, w)."""
        kept = x if self.shortcut is None else self.shortcut(x)
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        return F.relu(self.norm3(self.conv3(x)) + kept)


class ResNet3D(nn.Module):
    """Video to a grid of features: stem and four stages; each later stage halves the sides, and the time unless 2D."""

    drop_rates: tuple[float, ...] = ()
    """No residual is dropped (paper B trains all of them)."""

    def __init__(self, config: ResNet3DConfig) -> None:
        super().__init__()
        self.config = config
        depth = RESNET_DEPTHS[config.depth]
        block = BottleneckBlock if depth.bottleneck else SimpleBlock
        expansion = BOTTLENECK_EXPANSION if depth.bottleneck else 1
        self.stem = Stem(config)
        self.stages = nn.ModuleList()
        in_planes = config.planes
        for stage, (factor, num_blocks) in enumerate(zip(STAGE_FACTORS, depth.blocks, strict=True)):
            planes = factor * config.planes
            halve_time = 1 if config.convolution == "2d" or stage == 0 else 2
            halve_side = 1 if stage == 0 else 2
            blocks = nn.Sequential()
            for index in range(num_blocks):
                stride = (halve_time, halve_side, halve_side) if index == 0 else (1, 1, 1)
                blocks.append(block(config, in_planes, planes, stride))
                in_planes = planes * expansion
            self.stages.append(blocks)
        self.dim = in_planes
        self.stride = 32 if config.pool1 else 16
        self.recompute = False
        """``VideoModel.recompute_activations``."""
        self.reset_parameters()
        # The layout in which convolutions are fastest: with bfloat16 3 times float32 on CPUs that have it.
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # the stub lacks the 3D format

    def reset_parameters(self) -> None:
        """Initialise for training from scratch: He's normal weights over the fan-out (Caffe2's ``MSRAFill``)."""
        for module in self.modules():
            if isinstance(module, Conv):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def grid_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Return t, h and w of the features of a clip: every stride rounds up."""
        time = 1 if self.config.convolution == "2d" else 8
        return -(-num_frames // time), -(-height // self.stride), -(-width // self.stride)

    def forward(self, video: Tensor) -> Tensor:
        """Encode a batch of clips.

        Args:
            video: float (B, 3, T, H, W), normalised; any T, H and W of at least 1.

        Returns:
            Features (B, t, h, w, D): sides rounded up of H/16 and W/16 (32 with ``pool1``), time of T/8 (T for 2D).

        Raises:
            ValueError: Another shape.
        """
        if video.ndim != 5 or video.shape[1] != 3 or 0 in video.shape[2:]:
            raise ValueError(f"video has shape {tuple(video.shape)}, expected (B, 3, T, H, W) of at least one pixel")
        x = video.contiguous(memory_format=torch.channels_last_3d)
        x = run_block(self.stem, x, recompute=self.recompute)
        for stage in self.stages:
            for block in stage.children():
                x = run_block(block, x, recompute=self.recompute)
        return x.permute(0, 2, 3, 4, 1)

    def clip_tokens(self, video: Tensor) -> Tensor:
        """Encode a batch of clips into the features whose mean they are classified on: all of ``forward``'s."""
        features: Tensor = self(video)
        return features
