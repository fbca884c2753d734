"""R2D, R3D, R(2+1)D: published sizes, shapes, an independent forward pass, keys, extremes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tubelet.losses import softmax_cross_entropy
from tubelet.models.cost import measure_cost
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.resnet3d import Conv, ResNet3D, ResNet3DConfig, mid_planes_of
from tubelet.types import InputError


def r2plus1d(depth: int = 18, **changes) -> ResNet3DConfig:
    return ResNet3DConfig(**({"depth": depth, "convolution": "2plus1d"} | changes))


@pytest.mark.parametrize(
    ("depth", "table_2", "millions", "gmacs"),
    [
        (18, (83, 33), (33.35, 33.37, 33.42), 82.99),
        (34, (152, 64), (63.68, 63.70, 63.74), 152.36),
        (101, (176, 86), (85.97, 86.05, 86.23), 176.47),
        (152, (252, 118), (118.14, 118.23, 118.41), 252.00),
    ],
)
def test_costs_of_paper_b(depth: int, table_2: tuple, millions: tuple, gmacs: float) -> None:
    """Table 2 (GFLOPS, parameters) and the analytic count with heads of 359, 400 and 487 classes."""
    for num_classes, expected in zip((359, 400, 487), millions, strict=True):
        cost = measure_cost(r2plus1d(depth), {"task": HeadConfig(kind="classify", num_classes=num_classes)})
        assert (cost.num_parameters + cost.num_head_parameters) / 1e6 == pytest.approx(expected, abs=0.005)
    assert cost.forward_gmacs == pytest.approx(gmacs, abs=0.01)
    assert round(cost.forward_gmacs) == table_2[0]
    assert round(millions[1]) == table_2[1]


def test_torchvisions_variant_is_another_network() -> None:
    """31.5 M and 61.8 M parameters with 400 classes: once the mid-planes of a block's first convolution for both."""
    for depth, millions in ((18, 31.505), (34, 61.832), (101, 99.913), (152, 137.770)):
        cost = measure_cost(
            r2plus1d(depth, mid_planes="per_block"), {"k400": HeadConfig(kind="classify", num_classes=400)}
        )
        assert (cost.num_parameters + cost.num_head_parameters) / 1e6 == pytest.approx(millions, abs=0.001)
    with torch.device("meta"):
        ours, theirs = ResNet3D(r2plus1d()), ResNet3D(r2plus1d(mid_planes="per_block"))
    second = [(m.stages[k][0].conv2.norm.num_features) for m in (ours, theirs) for k in range(4)]
    assert second == [144, 288, 576, 1152, 144, 230, 460, 921]
    assert all(m.stages[k][1].conv1.norm.num_features == 144 * 2**k for m in (ours, theirs) for k in range(4))


def test_mid_planes_keep_the_weights_of_a_3d_convolution() -> None:
    """3 x 3 x 3 x i x o weights in 9 i m + 3 m o: m by hand for the shapes of the four stages."""
    wanted = {(64, 64): 144, (64, 128): 230, (128, 128): 288, (128, 256): 460, (256, 256): 576, (512, 512): 1152}
    assert {pair: mid_planes_of(*pair) for pair in wanted} == wanted


@pytest.mark.parametrize("convolution", ["2d", "3d", "2plus1d"])
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 1, 1), (1, 112, 112), (3, 33, 50), (9, 64, 48)])
def test_any_clip_length_and_frame_size(convolution: str, frames: int, height: int, width: int) -> None:
    with torch.device("meta"):
        model = ResNet3D(r2plus1d(convolution=convolution))
        shape = model(torch.empty(2, 3, frames, height, width)).shape
    time = frames if convolution == "2d" else -(-frames // 8)
    assert shape == (2, time, -(-height // 16), -(-width // 16), 512)


def test_deep_and_pooled_networks_have_their_grids() -> None:
    with torch.device("meta"):
        image = ResNet3D(ResNet3DConfig(depth=50, convolution="2d", pool1=True))
        assert image(torch.empty(1, 3, 1, 224, 224)).shape == (1, 1, 7, 7, 2048)
    assert (image.dim, image.stride) == (2048, 32)
    # torchvision's resnet50 has 25.557 M parameters with its head of 1,000 classes, 23.508 M without.
    assert sum(p.numel() for p in image.parameters()) == 23_508_032


def fill(model: nn.Module) -> nn.Module:
    """Random weights and averages, so that every part counts."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.1)
    return model.eval()


def plain_r2plus1d(x: torch.Tensor, w: dict[str, torch.Tensor], blocks: tuple[int, ...], eps: float) -> torch.Tensor:
    """R(2+1)D of simple blocks written down once more, from tensors, over a frame's and over a place's axes only."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var = (w[f"{name}.running_{kind}"].view(-1, 1, 1, 1) for kind in ("mean", "var"))
        scale, shift = (w[f"{name}.{kind}"].view(-1, 1, 1, 1) for kind in ("weight", "bias"))
        return (x - mean) / (var + eps).sqrt() * scale + shift

    def factorised(x: torch.Tensor, name: str, time: int, side: int, pad: int) -> torch.Tensor:
        b = x.shape[0]
        frames = x.transpose(1, 2).flatten(0, 1)
        frames = F.conv2d(frames, w[f"{name}.spatial.weight"][:, :, 0], stride=side, padding=pad)
        x = norm(frames.unflatten(0, (b, -1)).transpose(1, 2), f"{name}.norm").relu()
        places = x.permute(0, 3, 4, 1, 2)
        series = F.conv1d(places.flatten(0, 2), w[f"{name}.temporal.weight"][..., 0, 0], stride=time, padding=1)
        return series.unflatten(0, places.shape[:3]).permute(0, 3, 4, 1, 2)

    x = norm(factorised(x, "stem.conv", 1, 2, 3), "stem.norm").relu()
    for stage, count in enumerate(blocks):
        for block in range(count):
            name, stride = f"stages.{stage}.{block}", 2 if stage and not block else 1
            kept = x
            if stride == 2:
                kept = torch.einsum(
                    "oc,bcthw->bothw", w[f"{name}.shortcut.conv.weight"][..., 0, 0, 0], x[..., ::2, ::2, ::2]
                )
                kept = norm(kept, f"{name}.shortcut.norm")
            x = norm(factorised(x, f"{name}.conv1", stride, stride, 1), f"{name}.norm1").relu()
            x = (norm(factorised(x, f"{name}.conv2", 1, 1, 1), f"{name}.norm2") + kept).relu()
    return x.permute(0, 2, 3, 4, 1)


def test_against_a_forward_pass_of_2d_and_1d_convolutions() -> None:
    model = fill(ResNet3D(r2plus1d())).double()
    video = torch.randn(1, 3, 5, 21, 18, dtype=torch.float64)
    with torch.no_grad():
        expected = plain_r2plus1d(video, model.state_dict(), (2, 2, 2, 2), 1e-3)
        torch.testing.assert_close(model(video), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 1, 1), (3, 3, 3), (1, 7, 7), (1, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_gradients_are_right_on_the_smallest_clips(kernel: tuple[int, int, int], dtype: torch.dtype) -> None:
    """Against ``nn.Conv3d`` in float64. What is freed before is what uninitialised memory would hold."""
    torch.manual_seed(0)
    space = 2 if kernel[1] > 1 else 1
    for stride in ((1, 1, 1), (2 if kernel[0] == 3 else 1, space, space), (2, 2, 2)):
        for sides in ((1, 1, 1), (2, 1, 1), (2, 2, 2), (2, 5, 1), (2, 7, 7), (4, 3, 2)):
            conv = Conv(16, 32, kernel, stride).to(dtype=dtype, memory_format=torch.channels_last_3d)
            plain = nn.Conv3d(16, 32, kernel, stride, conv.padding, bias=False, dtype=torch.float64)
            plain.load_state_dict(conv.state_dict())
            x = torch.randn(2, 16, *sides).to(dtype=dtype, memory_format=torch.channels_last_3d).requires_grad_()
            exact = x.detach().double().requires_grad_()
            outputs = conv(x), plain(exact)
            grad = torch.randn_like(outputs[0])
            junk = torch.full((1_000_000,), 1e30)
            del junk
            for y, g in zip(outputs, (grad, grad.double()), strict=True):
                y.backward(g)
            pairs = (outputs, (x.grad, exact.grad), (conv.weight.grad, plain.weight.grad))
            for found, expected in pairs:
                tolerance = (2e-2 if dtype == torch.bfloat16 else 1e-5) * expected.abs().max().item()
                torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance + 1e-12)


@pytest.mark.parametrize("num_clips", [1, 2])
@pytest.mark.parametrize("convolution", ["2d", "2plus1d"])
def test_channels_stay_last_in_both_directions(num_clips: int, convolution: str) -> None:
    """A tensor in the other layout is converted, which made a training step on one clip a third slower."""
    model = ResNet3D(r2plus1d(convolution=convolution))
    found = []

    def note(tensor: torch.Tensor) -> None:
        # By every stride, also of sides of 1, from which torch guesses the layout.
        _, c, t, h, w = tensor.shape
        found.append(tensor.stride() == (c * t * h * w, 1, c * h * w, c * w, c))

    def watch(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        note(output)
        output.register_hook(note)

    for module in model.modules():
        if isinstance(module, Conv | nn.BatchNorm3d):
            module.register_forward_hook(watch)
    model(torch.randn(num_clips, 3, 16, 64, 64)).square().sum().backward()
    assert len(found) > 60
    assert all(found)


def test_r2d_keeps_frames_apart() -> None:
    model = fill(ResNet3D(r2plus1d(convolution="2d")))
    video = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        one_by_one = torch.cat([model(video[:, :, t : t + 1]) for t in range(4)], dim=1)
        torch.testing.assert_close(model(video), one_by_one, rtol=1e-4, atol=1e-5)


def test_batch_norm_forgets_a_tenth_per_step() -> None:
    """Caffe2's momentum 0.9 keeps 0.9 of the old average."""
    model = ResNet3D(r2plus1d()).train()
    assert {(m.momentum, m.eps) for m in model.modules() if isinstance(m, nn.BatchNorm3d)} == {(0.1, 1e-3)}
    video = torch.randn(2, 3, 2, 16, 16)
    with torch.no_grad():
        first = model.stem.conv.spatial(video)
        model(video)
    torch.testing.assert_close(model.stem.conv.norm.running_mean, 0.1 * first.mean(dim=(0, 2, 3, 4)))


def test_state_dict_keys_are_stable() -> None:
    with torch.device("meta"):
        simple, deep = ResNet3D(r2plus1d(18)), ResNet3D(r2plus1d(50, convolution="3d"))
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    factorised = ["spatial.weight", *(f"norm.{n}" for n in norm), "temporal.weight"]
    expected = {f"stem.conv.{n}" for n in factorised} | {f"stem.norm.{n}" for n in norm}
    for stage in range(4):
        for block in range(2):
            name = f"stages.{stage}.{block}"
            expected |= {f"{name}.conv{k}.{n}" for k in (1, 2) for n in factorised}
            expected |= {f"{name}.norm{k}.{n}" for k in (1, 2) for n in norm}
            if stage and not block:
                expected |= {f"{name}.shortcut.conv.weight", *(f"{name}.shortcut.norm.{n}" for n in norm)}
    assert set(simple.state_dict()) == expected
    first = {key.removeprefix("stages.0.0.") for key in deep.state_dict() if key.startswith("stages.0.0.")}
    assert first == {f"{part}.weight" for part in ("conv1", "conv2", "conv3", "shortcut.conv")} | {
        f"{part}.{n}" for part in ("norm1", "norm2", "norm3", "shortcut.norm") for n in norm
    }


@pytest.mark.parametrize("shape", [(1, 1, 8, 32, 32), (3, 8, 32, 32), (1, 3, 0, 32, 32), (1, 3, 8, 0, 32)])
def test_wrong_shapes_are_named(shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model, video = ResNet3D(r2plus1d()), torch.zeros(shape)
    with pytest.raises(ValueError, match=rf"video has shape \({', '.join(map(str, shape))}\), expected \(B, 3, T"):
        model(video)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 19}, r"depth is 19, expected one of \[18, 34, 50, 101, 152\]"),
        ({"convolution": "4d"}, "convolution is '4d'"),
        ({"mid_planes": "shared"}, "mid_planes is 'shared'"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"norm_eps": 0.0}, "norm_eps is 0.0"),
    ],
)
def test_wrong_configs_are_named(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        r2plus1d(**change)


@pytest.mark.parametrize("convolution", ["2plus1d", "3d"])
@pytest.mark.parametrize(("dtype", "largest"), [(torch.bfloat16, 1e4), (torch.float16, 4.0)])
def test_half_precision_stays_finite(convolution: str, dtype: torch.dtype, largest: float) -> None:
    """Black, white and noise; a normalised pixel is below 3, and bfloat16 stands what is far beyond."""
    torch.manual_seed(0)
    model = fill(ResNet3D(r2plus1d(convolution=convolution)))
    still = torch.ones(1, 3, 2, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
        for video in (0 * still, -largest * still, largest * still, largest * torch.randn(1, 3, 2, 16, 16)):
            assert model(video).isfinite().all()


def test_one_network_serves_both_heads_and_learns() -> None:
    torch.manual_seed(0)
    heads = {"what": HeadConfig(kind="classify", num_classes=2), "who": HeadConfig(kind="localise", num_classes=2)}
    model = VideoModel(r2plus1d(), heads)
    video = torch.randn(2, 3, 2, 16, 32)
    boxes, box_clip = torch.tensor([[0.0, 0.0, 16.0, 16.0], [16.0, 0.0, 32.0, 16.0]]), torch.tensor([1, 1])
    assert model(video, "who", boxes, box_clip).shape == (2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    losses = []
    for _ in range(8):
        loss = softmax_cross_entropy(model(video, "what"), torch.eye(2)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert model.backbone.stem.conv.spatial.weight.grad.abs().sum() > 0
