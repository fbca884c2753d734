"""Published residual networks: torchvision's and ig65m's own outputs, Caffe2's forward pass stated again; key lists."""

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_weights import FOLDER, outputs, script

from tubelet.models.convert import LAYOUTS, LayoutName, convert_file
from tubelet.models.convert_files import read_file
from tubelet.models.convert_rules import apply_rules
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.resnet3d import ResNet3DConfig
from tubelet.models.saved import load_all
from tubelet.types import InputError

GOLDEN = script("resnets")
CLASSES = GOLDEN.CLASSES
LAYOUT_OF = json.loads((FOLDER / "resnet_layouts.json").read_text())
VIDEO = torch.from_numpy(GOLDEN.video())


def config(depth: int, convolution: str = "2plus1d", **changes: object) -> ResNet3DConfig:
    return ResNet3DConfig(depth=depth, convolution=convolution, **changes)  # type: ignore[arg-type]


def torch_file(path: Path, name: str, *, old_format: bool = False) -> Path:
    given = {key: torch.from_numpy(np.asarray(value)) for key, value in GOLDEN.random_tensors(LAYOUT_OF[name]).items()}
    torch.save(given, path, _use_new_zipfile_serialization=not old_format)
    return path


def caffe2_file(path: Path, name: str, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps({"blobs": GOLDEN.random_tensors(LAYOUT_OF[name])}, protocol=protocol))
    return path


def logits(path: Path, layout: LayoutName, backbone: ResNet3DConfig, clip: torch.Tensor) -> np.ndarray:
    made = convert_file(path, layout, backbone, {"x": CLASSES})
    model = VideoModel(backbone, {"x": HeadConfig(kind="classify", num_classes=CLASSES)}).eval()
    model.load_state_dict(made.tensors)
    with torch.no_grad():
        return model(clip, "x").numpy()


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("torchvision_r2plus1d_18", config(18, mid_planes="per_block", norm_eps=1e-5)),
        ("torchvision_r3d_18", config(18, "3d", norm_eps=1e-5)),
    ],
)
def test_agrees_with_torchvision_video(tmp_path: Path, name: str, backbone: ResNet3DConfig) -> None:
    found = logits(torch_file(tmp_path / "x.pth", name), "torchvision_video", backbone, VIDEO)
    np.testing.assert_allclose(found, outputs("resnet")[name], atol=1e-4, rtol=0)


def test_agrees_with_the_ig65m_release_in_the_file_format_of_2019(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "x.pth", "ig65m_r2plus1d_34", old_format=True)
    found = logits(path, "torchvision_video", config(34), VIDEO)
    np.testing.assert_allclose(found, outputs("resnet")["ig65m_r2plus1d_34"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("depth", [18, 50])
def test_agrees_with_torchvision_image(tmp_path: Path, depth: int) -> None:
    backbone = config(depth, "2d", pool1=True, norm_eps=1e-5, num_frames=1)
    path = torch_file(tmp_path / "x.pth", f"torchvision_resnet{depth}")
    found = logits(path, "torchvision_image", backbone, VIDEO[:, :, :1])
    np.testing.assert_allclose(found, outputs("resnet")[f"torchvision_resnet{depth}"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("depth", [18, 50])  # simple blocks, and bottlenecks as at 152
def test_agrees_with_caffe2(tmp_path: Path, depth: int) -> None:
    path = caffe2_file(tmp_path / "x.pkl", f"caffe2_r2plus1d_{depth}")
    found = logits(path, "caffe2", config(depth), VIDEO)
    np.testing.assert_allclose(found, outputs("resnet")[f"caffe2_r2plus1d_{depth}"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("depth", [34, 152])
def test_every_blob_of_the_deep_networks_has_its_place_and_shape(depth: int) -> None:
    """34 and 152 hold 250 and 470 MB, so without values: names, and the shapes of what is made."""
    rules = LAYOUTS["caffe2"].rules(config(depth))
    with torch.device("meta"):
        given = {name: torch.empty(shape) for name, shape in LAYOUT_OF[f"caffe2_r2plus1d_{depth}"].items()}
        made, left_out = apply_rules(rules, given, ignored=(LAYOUTS["caffe2"].head_names,), where="x")
        wanted = VideoModel(config(depth), {}).state_dict()
    assert {name: tensor.shape for name, tensor in made.items()} == {n: t.shape for n, t in wanted.items()}
    assert sorted(left_out) == [f"last_out_L{CLASSES}_b", f"last_out_L{CLASSES}_w"]


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    """VMZ wrote with Python 2's cPickle, protocol 2: text and the bytes of arrays are both its ``str``."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    array = np.arange(6, dtype="<f4").reshape(2, 3)
    pickled = (
        b"\x80\x02}" + text(b"blobs") + b"}" + text(b"conv1_w")
        + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        + b"(K\x01K\x02K\x03\x86cnumpy\ndtype\n" + text(b"f4") + b"K\x00K\x01\x87R"
        + b"(K\x03" + text(b"<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89" + text(array.tobytes()) + b"tb" + b"ss."
    )  # fmt: skip
    path = tmp_path / "x.pkl"
    path.write_bytes(pickled)
    np.testing.assert_array_equal(read_file(path, "caffe2")["conv1_w"].numpy(), array)


def test_shared_mid_planes_are_never_taken_for_the_papers_network(tmp_path: Path) -> None:
    """torchvision's r2plus1d_18 has the papers' names; what differs is the shape of three layers."""
    made = convert_file(
        torch_file(tmp_path / "x.pth", "torchvision_r2plus1d_18"), "torchvision_video", config(18), {"x": CLASSES}
    )
    model = VideoModel(config(18), {"x": HeadConfig(kind="classify", num_classes=CLASSES)})
    with pytest.raises(InputError, match=r"other shape: .*\(230, 128, 1, 3, 3\) for \(288, 128, 1, 3, 3\)"):
        load_all(model, made.tensors, where="x.pth")


def test_both_lists_are_printed_when_something_is_left_over(tmp_path: Path) -> None:
    shapes = dict(LAYOUT_OF["torchvision_r3d_18"])
    shapes["surplus.weight"] = shapes.pop("layer3.1.conv2.0.weight")
    given = {name: torch.zeros(shape) for name, shape in shapes.items()}
    torch.save(given, tmp_path / "x.pth")
    with pytest.raises(
        InputError, match=r"missing \['layer3\.1\.conv2\.0\.weight'\], unexpected \['surplus\.weight'\]"
    ):
        convert_file(tmp_path / "x.pth", "torchvision_video", config(18, "3d"), {"x": CLASSES})


def test_the_number_of_classes_must_be_the_entrys(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "x.pth", "torchvision_r3d_18")
    with pytest.raises(InputError, match="the last layer has 7 classes, expected 400"):
        convert_file(path, "torchvision_video", config(18, "3d"), {"kinetics400": 400})
    made = convert_file(path, "torchvision_video", config(18, "3d"), {"unknown": 0})
    assert made.num_classes == (7,)
    two = convert_file(path, "torchvision_video", config(18, "3d"), {"noun": 4, "verb": 3})
    whole = made.tensors["heads.unknown.linear.weight"]
    assert torch.equal(two.tensors["heads.noun.linear.weight"], whole[:4])
    assert torch.equal(two.tensors["heads.verb.linear.weight"], whole[4:])
