"""Inflation: a still video keeps its image's features, names and shapes are strict."""

import dataclasses

import pytest
import torch

from tubelet.models.inflate import image_config, inflate, inflate_kernel
from tubelet.models.model import build_backbone
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.vivit import ViViTConfig
from tubelet.types import InputError

R3D = ResNet3DConfig(depth=18, convolution="3d", size=32, num_frames=8)
VIVIT = ViViTConfig(size=16, num_frames=8, patch=4, tubelet=4, dim=12, spatial_layers=2, temporal_layers=1, num_heads=2)


def test_kernels_by_hand() -> None:
    kernel = torch.tensor([[[[6.0]]]])
    assert inflate_kernel(kernel, 3, how="average").flatten().tolist() == [2.0, 2.0, 2.0]
    assert inflate_kernel(kernel, 3, how="centre").flatten().tolist() == [0.0, 6.0, 0.0]
    assert inflate_kernel(kernel, 2, how="centre").flatten().tolist() == [0.0, 6.0]  # frame 2 // 2
    assert inflate_kernel(kernel[:, :, None], 1, how="average").flatten().tolist() == [6.0]
    with pytest.raises(ValueError, match=r"kernel has shape \(1, 1, 2, 1, 1\)"):
        inflate_kernel(torch.zeros(1, 1, 2, 1, 1), 3, how="average")


def random_image(config) -> torch.nn.Module:
    torch.manual_seed(0)
    model = build_backbone(image_config(config))
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.05, 0.15)
    return model.double().eval()


@pytest.mark.parametrize("how", ["average", "centre"])
def test_r3d_sees_a_still_video_as_r2d_sees_its_image(how) -> None:
    """Away from the clip's ends, where padding shows: with the centre kernel nowhere."""
    image, video = random_image(R3D), build_backbone(R3D).double().eval()
    inflated = inflate(image.state_dict(), R3D, how=how)
    assert inflated.untouched == ()
    video.load_state_dict(inflated.tensors)
    still = torch.randn(1, 3, 1, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        expected, found = image(still)[:, 0], video(still.expand(-1, -1, 160, -1, -1))
    if how == "centre":
        torch.testing.assert_close(found, expected[:, None].expand_as(found), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[:, 10], expected, rtol=1e-9, atol=1e-9)
    assert torch.allclose(found[:, 0], expected, rtol=1e-3) == (how == "centre")


def test_a_vivit_without_time_sees_a_clips_central_frames() -> None:
    config = dataclasses.replace(VIVIT, aggregation="spatial_only")
    image, video = random_image(config), build_backbone(config).double().eval()
    inflated = inflate(image.state_dict(), config, how="centre")
    assert inflated.untouched == ()
    video.load_state_dict(inflated.tensors)
    clip = torch.randn(1, 3, 8, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        for step, frame in enumerate((2, 6)):
            torch.testing.assert_close(video(clip)[:, step], image(clip[:, :, frame : frame + 1])[:, 0])


def test_what_an_image_cannot_give_is_named() -> None:
    inflated = inflate(random_image(VIVIT).state_dict(), VIVIT, how="centre")
    assert {name.split(".")[0] for name in inflated.untouched} == {"time_positions", "temporal"}
    released = dataclasses.replace(VIVIT, aggregation="frame_token")
    inflated = inflate(random_image(released).state_dict(), released, how="centre")
    assert {name.split(".")[0] for name in inflated.untouched} == {"time_positions", "temporal", "time_class_token"}
    assert "class_token" in inflated.tensors


def test_joint_vivit_repeats_positions_and_other_sizes_resize_them() -> None:
    joint = dataclasses.replace(VIVIT, aggregation="joint", size=32)
    image = random_image(VIVIT).state_dict()
    image["space_positions"] = torch.arange(4.0)[:, None, None].expand(4, 4, 12)
    inflated = inflate(image, joint, how="average")
    assert inflated.untouched == ()
    assert inflated.tensors["positions"].shape == (2, 8, 8, 12)
    assert torch.equal(inflated.tensors["positions"][0], inflated.tensors["positions"][1])
    assert inflated.tensors["positions"][0, 3, 0, 0].item() == pytest.approx(1.29688, abs=1e-4)
    build_backbone(joint).load_state_dict(inflated.tensors)


def test_what_does_not_fit_is_named() -> None:
    image = random_image(VIVIT).state_dict()
    broken = {k: v for k, v in image.items() if k != "spatial.norm.bias"} | {"class_token": torch.zeros(12)}
    with pytest.raises(InputError, match=r"missing \['spatial.norm.bias'\], unexpected \['class_token'\]"):
        inflate(broken, VIVIT, how="centre")
    with pytest.raises(InputError, match=r"shapes \['spatial.norm.bias \(3,\) for \(12,\)'\]"):
        inflate(image | {"spatial.norm.bias": torch.zeros(3)}, VIVIT, how="centre")
    with pytest.raises(InputError, match=r"cannot be inflated to R\(2\+1\)D"):
        inflate({}, dataclasses.replace(R3D, convolution="2plus1d"), how="average")
