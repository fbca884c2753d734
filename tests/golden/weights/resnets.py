"""Make resnet_layouts.json and resnet_outputs.npz: published residual networks on random weights.

    python tests/golden/weights/resnets.py FOLDER_WITH_TORCHVISION_AND_IG65M

torchvision's networks (0.28.0) and ig65m-pytorch's R(2+1)D-34 run from their own code (the folder holds the unpacked
``torchvision`` package and ``ig65m/models.py``; torchvision's compiled part is not needed and not loaded). Caffe2
cannot be installed any more: VMZ's R(2+1)D is stated again below, operator by operator after
``c2/lib/models/r3d_model.py`` and ``builder/video_model.py``, reading blobs by their published names; it knows nothing
of our modules. The JSON holds name and shape of every published tensor; values are made of the name
(``random_tensors``), so that 250 MB of weights need not be kept.
"""

import json
import sys
import types
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

HERE = Path(__file__).parent
CLASSES = 7
CAFFE2_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}


def video() -> np.ndarray:
    """Return the input (1, 3, 8, 36, 44) float32."""
    return np.random.RandomState(3).standard_normal((1, 3, 8, 36, 44)).astype(np.float32)


def random_tensors(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Return float32 values that keep activations near 1 through any number of layers; counters are 0."""
    tensors = {}
    for name, shape in shapes.items():
        values = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape)
        if name.endswith("num_batches_tracked"):
            tensors[name] = np.zeros((), np.int64)
            continue
        if len(shape) > 1:
            values = (values - 0.5) * np.sqrt(12 * 0.6 / np.prod(shape[1:]))
        elif name.endswith(("running_var", "_riv", "weight", "_s")):
            values = values + 0.5
        else:
            values = values - 0.5
        tensors[name] = values.astype(np.float32)
    return tensors


def caffe2_layout(depth: int) -> dict[str, list[int]]:
    """Return names and shapes of the blobs of R(2+1)D with CLASSES classes."""
    shapes: dict[str, list[int]] = {}

    def norm(name: str, planes: int) -> None:
        shapes.update({f"{name}_{part}": [planes] for part in ("s", "b", "rm", "riv")})

    def factorised(conv: str, bn: str, planes_in: int, planes: int) -> None:
        middle = int(3 * planes_in * planes * 9 / (planes_in * 9 + 3 * planes))
        shapes[f"{conv}_middle_w"] = [middle, planes_in, 1, 3, 3]
        norm(f"{bn}_middle", middle)
        shapes[f"{conv}_w"] = [planes, middle, 3, 1, 1]
        norm(bn, planes)

    def plain(conv: str, bn: str, planes_in: int, planes: int) -> None:
        shapes[f"{conv}_w"] = [planes, planes_in, 1, 1, 1]
        norm(bn, planes)

    shapes["conv1_middle_w"], shapes["conv1_w"] = [45, 3, 1, 7, 7], [64, 45, 3, 1, 1]
    norm("conv1_middle_spatbn_relu", 45)
    norm("conv1_spatbn_relu", 64)
    planes_in, count = 64, 0
    for stage, (base, blocks) in enumerate(zip((64, 128, 256, 512), CAFFE2_BLOCKS[depth])):
        for block in range(blocks):
            conv, bn = f"comp_{count}_conv_%d", f"comp_{count}_spatbn_%d"
            if depth <= 34:
                out = base
                factorised(conv % 1, bn % 1, planes_in, base)
                factorised(conv % 2, bn % 2, base, base)
            else:
                out = 4 * base
                plain(conv % 1, bn % 1, planes_in, base)
                factorised(conv % 2, bn % 2, base, base)
                plain(conv % 3, bn % 3, base, out)
            if planes_in != out or (block == 0 and stage > 0):
                plain(f"shortcut_projection_{count}", f"shortcut_projection_{count}_spatbn", planes_in, out)
            planes_in, count = out, count + 1
    shapes[f"last_out_L{CLASSES}_w"], shapes[f"last_out_L{CLASSES}_b"] = [CLASSES, planes_in], [CLASSES]
    return shapes


def caffe2_forward(blobs: dict[str, np.ndarray], depth: int, data: np.ndarray) -> np.ndarray:
    """Run VMZ's network at test time: ConvNd, SpatialBN (epsilon 1e-3), Relu, Sum, AveragePool, FC."""
    b = {name: torch.from_numpy(value) for name, value in blobs.items()}

    def bn(x: torch.Tensor, name: str) -> torch.Tensor:
        s, bias, rm, riv = (b[f"{name}_{part}"][None, :, None, None, None] for part in ("s", "b", "rm", "riv"))
        return s * (x - rm) / torch.sqrt(riv + 1e-3) + bias

    def factorised(x: torch.Tensor, conv: str, norm: str, stride: int) -> torch.Tensor:
        x = F.conv3d(x, b[f"{conv}_middle_w"], stride=(1, stride, stride), padding=(0, 1, 1))
        x = F.relu(bn(x, f"{norm}_middle"))
        return bn(F.conv3d(x, b[f"{conv}_w"], stride=(stride, 1, 1), padding=(1, 0, 0)), norm)

    x = F.conv3d(torch.from_numpy(data), b["conv1_middle_w"], stride=(1, 2, 2), padding=(0, 3, 3))
    x = F.relu(bn(x, "conv1_middle_spatbn_relu"))
    x = F.relu(bn(F.conv3d(x, b["conv1_w"], padding=(1, 0, 0)), "conv1_spatbn_relu"))
    count = 0
    for stage, blocks in enumerate(CAFFE2_BLOCKS[depth]):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            conv, norm, kept = f"comp_{count}_conv_%d", f"comp_{count}_spatbn_%d", x
            if depth <= 34:
                x = F.relu(factorised(x, conv % 1, norm % 1, stride))
                x = factorised(x, conv % 2, norm % 2, 1)
            else:
                x = F.relu(bn(F.conv3d(x, b[f"{conv % 1}_w"]), norm % 1))
                x = F.relu(factorised(x, conv % 2, norm % 2, stride))
                x = bn(F.conv3d(x, b[f"{conv % 3}_w"]), norm % 3)
            shortcut = f"shortcut_projection_{count}"
            if f"{shortcut}_w" in b:
                kept = bn(F.conv3d(kept, b[f"{shortcut}_w"], stride=stride), f"{shortcut}_spatbn")
            x, count = F.relu(x + kept), count + 1
    pooled = F.avg_pool3d(x, x.shape[2:]).flatten(1)
    return (pooled @ b[f"last_out_L{CLASSES}_w"].T + b[f"last_out_L{CLASSES}_b"]).numpy()


def main() -> None:
    folder = sys.argv[1]
    sys.path.insert(0, folder)
    package = types.ModuleType("torchvision")
    package.__path__ = [f"{folder}/torchvision"]
    sys.modules["torchvision"] = package
    from ig65m.models import r2plus1d_34
    from torchvision.models.resnet import resnet18, resnet50
    from torchvision.models.video.resnet import r2plus1d_18, r3d_18

    torch.set_grad_enabled(False)
    builders = {
        "torchvision_r2plus1d_18": r2plus1d_18,
        "torchvision_r3d_18": r3d_18,
        "ig65m_r2plus1d_34": r2plus1d_34,
        "torchvision_resnet18": resnet18,
        "torchvision_resnet50": resnet50,
    }
    layouts, outputs = {}, {}
    for name, builder in builders.items():
        model = builder(num_classes=CLASSES).eval()
        layouts[name] = {key: list(value.shape) for key, value in model.state_dict().items()}
        given = random_tensors(layouts[name])
        model.load_state_dict({key: torch.from_numpy(np.asarray(value)) for key, value in given.items()})
        clip = torch.from_numpy(video())
        outputs[name] = model(clip[:, :, 0] if "resnet" in name else clip).numpy()
    for depth in (18, 50):
        layouts[f"caffe2_r2plus1d_{depth}"] = caffe2_layout(depth)
        blobs = random_tensors(caffe2_layout(depth))
        outputs[f"caffe2_r2plus1d_{depth}"] = caffe2_forward(blobs, depth, video())
    for depth in (34, 152):
        layouts[f"caffe2_r2plus1d_{depth}"] = caffe2_layout(depth)
    (HERE / "resnet_layouts.json").write_text(json.dumps(layouts, separators=(",", ":")) + "\n")
    np.savez(HERE / "resnet_outputs.npz", **outputs)
    for name, logits in outputs.items():
        print(f"{name:28} {logits.std():.3f}  {logits.ravel()[:3]}")


if __name__ == "__main__":
    main()
