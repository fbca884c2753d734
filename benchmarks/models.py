"""Forward and training step per clip of the video networks, and ROI-Align: how near to the machine's limit they run.

    python benchmarks/models.py [--device cuda] [--rounds 5] [--threads N] [--cpu-time] [--only NAME ...]

Every row compares, in one run and interleaved, the *plain* float32 implementation as one writes it down (default
memory layout, ``nn.Conv3d``, no autocast, no compilation) with the *default*: the autocast of ``models/precision.py``,
channels last for convolutions, on a GPU ``models/compiled.py``. ``peak`` is the best rate of a square matrix product in
the variant's precision, measured in the same run; ``fraction`` is the share of it that the model's own
multiply-accumulates reach (a training step counts three forwards; on a GPU this is the model-FLOPs utilisation).

Rows named *tuned* are what one would try by hand; ``default_of_best`` is the speed of the default over the best of
them (0.95 is the aim). ``bfloat16 weights`` is listed and does not count: it trains other numbers. *Recomputed* is
activation checkpointing, ``kept_mib`` what autograd keeps for the backward pass. Peers run where they can be imported.

On a GPU the same command times paper-sized cases, and ROI-Align against torchvision's kernel where that imports. This
part was written without a GPU and has not been run.
"""

import argparse
import copy
import dataclasses
import gc
import importlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from machine import median_seconds, write_result
from torch import Tensor, nn

from tubelet.losses import softmax_cross_entropy
from tubelet.models.compiled import compile_where_it_pays
from tubelet.models.model import HeadConfig, VideoModel, measure_cost
from tubelet.models.names import backbone_config
from tubelet.models.precision import compute_dtype, default_autocast
from tubelet.models.resnet3d import Conv, ResNet3D
from tubelet.models.roi_align import roi_align

NUM_CLASSES = 400
CPU_CASES = (("r2plus1d_18", 8, 112, 2), ("vivit_fe_b16x2", 8, 224, 1), ("vivit_b16x2", 8, 224, 1))
"""Name, frames, pixels, clips in a batch."""
GPU_CASES = (
    ("r2plus1d_34", 32, 112, 16),
    ("r2plus1d_152", 32, 112, 8),
    ("vivit_fe_b16x2", 32, 224, 16),
    ("vivit_fe_l16x2", 32, 224, 8),
    ("vivit_b16x2", 32, 224, 8),
)
ROI_CASES = ((768, 14, 8, 24), (2048, 14, 8, 24))
"""Channels, side of the map, maps, boxes."""


def sync(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_peak(device: torch.device, dtype: torch.dtype, clock: Callable[[], float]) -> float:
    """Return the best FLOP/s of a square matrix product: of the fastest of several, because a peak is what is free."""
    best = 0.0
    for side in (1024, 2048, 4096) if device.type == "cpu" else (4096, 8192, 16384):
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

        def product(a: Tensor = a, b: Tensor = b) -> None:
            torch.mm(a, b)
            sync(device)

        product()
        best = max(
            best, 2 * side**3 / min(median_seconds({"mm": product}, rounds=1, clock=clock)["mm"] for _ in range(5))
        )
    return best


def measure_peaks(device: torch.device, before: dict[str, float], clock: Callable[[], float]) -> dict[str, float]:
    """Return precision to the best rate of a matrix product, of now and ``before``."""
    names = {str(dtype).removeprefix("torch."): dtype for dtype in (torch.float32, compute_dtype(device))}
    return {name: max(before.get(name, 0.0), matmul_peak(device, dtype, clock)) for name, dtype in names.items()}


class PlainResNet3D(ResNet3D):
    """The same network in the default memory layout."""

    def forward(self, video: Tensor) -> Tensor:
        """As the original's, without its conversion."""
        x: Tensor = self.stem(video)
        for stage in self.stages:
            x = stage(x)
        return x.permute(0, 2, 3, 4, 1)


def build(name: str, num_frames: int, size: int, device: torch.device, *, plain: bool) -> VideoModel:
    """Return the model with a head; the plain one as a reader would first write it."""
    config = dataclasses.replace(backbone_config(name), num_frames=num_frames, size=size)
    model = VideoModel(config, {"task": HeadConfig(kind="classify", num_classes=NUM_CLASSES)})
    if plain and isinstance(model.backbone, ResNet3D):
        model.backbone.__class__ = PlainResNet3D
        for module in model.modules():
            if isinstance(module, Conv):
                module.__class__ = nn.Conv3d  # type: ignore[assignment]  # its parent: only forward is another
        for parameter in model.parameters():
            parameter.data = parameter.data.contiguous()
    return model.to(device)


def calls(
    logits_of: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], video: Tensor, context: Callable[[], Any]
) -> dict[str, Callable[[], None]]:
    """Return the forward call and the training step of a model on a fixed batch."""
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9)
    targets = nn.functional.one_hot(torch.arange(len(video)) % NUM_CLASSES, NUM_CLASSES).to(video.device)

    def forward() -> None:
        with torch.no_grad(), context():
            logits_of(video)
        sync(video.device)

    def training() -> None:
        with context():
            loss = softmax_cross_entropy(logits_of(video), targets).mean()
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        sync(video.device)

    return {"forward": forward, "training": training}


def huggingface_vivit(num_frames: int, size: int, device: torch.device) -> nn.Module | None:
    """Return transformers' ViViT-B (joint) as users build it, or None where it cannot be imported."""
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        return None
    config = transformers.VivitConfig(num_frames=num_frames, image_size=size, num_labels=NUM_CLASSES)
    peer: nn.Module = transformers.VivitForVideoClassification(config).to(device)
    return peer


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """A way to run a model."""

    calls: dict[str, Callable[[], None]]
    """``forward`` and ``training``."""
    dtype: torch.dtype
    """Of its matrix products."""
    tuned: bool = False
    """Whether it is one that the default should not lose to."""
    kept_mib: Callable[[], float] | None = None
    """What autograd keeps of a forward pass."""


def variants_of(case: tuple[str, int, int, int], device: torch.device) -> dict[str, Variant]:
    """Return the plain and the default way to run a model, those tuned by hand, recomputing, and its peer's."""
    name, num_frames, size, batch = case
    torch.manual_seed(0)
    video = torch.randn(batch, 3, num_frames, size, size, device=device)
    plain, fast = (build(name, num_frames, size, device, plain=plain) for plain in (True, False))
    eager = copy.deepcopy(fast) if device.type == "cuda" else fast
    rounded = copy.deepcopy(eager).to(torch.bfloat16)
    saving = copy.deepcopy(eager)
    saving.recompute_activations()
    for model in (fast, saving):
        compile_where_it_pays(model, device)
    fast_dtype = compute_dtype(device)
    off, on = lambda: torch.autocast(device.type, enabled=False), lambda: default_autocast(device)

    def variant(model: VideoModel, context: Callable[[], Any], dtype: torch.dtype, *, tuned: bool = False) -> Variant:
        given = video.to(torch.bfloat16) if model is rounded else video
        steps = calls(lambda v: model(v, "task").float(), list(model.parameters()), given, context)

        def logits() -> Tensor:
            with context():
                result: Tensor = model(given, "task")
            return result

        return Variant(calls=steps, dtype=dtype, tuned=tuned, kept_mib=lambda: kept_mib(logits, model))

    made = {
        "plain": variant(plain, off, torch.float32),
        "default": variant(fast, on, fast_dtype),
        "tuned: float32, our layout": variant(eager, off, torch.float32, tuned=True),
        "tuned: autocast, plain layout": variant(copy.deepcopy(plain), on, fast_dtype, tuned=True),
        "bfloat16 weights": variant(rounded, off, torch.bfloat16),
        "recomputed": variant(saving, on, fast_dtype),
    }
    if device.type == "cuda":
        made["tuned: not compiled"] = variant(copy.deepcopy(eager), on, fast_dtype, tuned=True)
    if name == "vivit_b16x2" and (peer := huggingface_vivit(num_frames, size, device)) is not None:
        frames_first = video.transpose(1, 2).contiguous()
        for label, context, dtype in (
            ("transformers", off, torch.float32), ("transformers, our precision", on, fast_dtype)
        ):  # fmt: skip
            of = lambda v: peer(pixel_values=v).logits.float()  # noqa: E731  # one line is clearer here
            made[label] = Variant(calls=calls(of, list(peer.parameters()), frames_first, context), dtype=dtype)
    return made


def kept_mib(logits: Callable[[], Tensor], model: VideoModel) -> float:
    """Return the MiB that autograd keeps of a forward pass, the weights themselves aside."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no later one gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / 2**20


def model_rows(
    case: tuple[str, int, int, int], device: torch.device, *, rounds: int, clock: Callable[[], float]
) -> list[dict[str, Any]]:
    """Time one model in all its ways."""
    name, num_frames, size, batch = case
    variants = variants_of(case, device)
    config = dataclasses.replace(backbone_config(name), num_frames=num_frames, size=size)
    flops = measure_cost(config).forward_gmacs * 2e9
    rows = []
    for what, passes in (("forward", 1), ("training", 3)):
        steps = {label: variant.calls[what] for label, variant in variants.items()}
        for step in steps.values():
            step()
        seconds = median_seconds(steps, rounds=rounds, clock=clock)
        best = min(seconds[label] for label, variant in variants.items() if variant.tuned)
        for label, spent in seconds.items():
            variant = variants[label]
            row = {
                "what": f"{name} {num_frames}x{size}", "clips": batch, "step": what, "variant": label,
                "ms_per_clip": spent / batch * 1e3, "times_plain": seconds["plain"] / spent,
                "tflops": flops * passes * batch / spent / 1e12,
                "precision": str(variant.dtype).removeprefix("torch."),
            }  # fmt: skip
            if label == "default":
                row["default_of_best"] = best / spent
            if what == "training" and label in ("default", "recomputed") and variant.kept_mib is not None:
                row["kept_mib"] = variant.kept_mib()
            rows.append(row)
    return rows


def gathered_roi_align(features: Tensor, boxes: Tensor, box_map: Tensor, *, spatial_scale: float) -> Tensor:
    """ROI-Align by its definition, as torch code without an operator has it: four gathered neighbours per sample."""
    bins, samples, (height, width) = 7, 2, features.shape[2:]
    corners = boxes * spatial_scale - 0.5
    steps = (torch.arange(bins * samples, device=boxes.device) + 0.5) / (bins * samples)
    where = corners[:, None, :2] + (corners[:, 2:] - corners[:, :2])[:, None] * steps[:, None]  # (R, 14, xy)
    x, y = where[..., 0].clamp(0, width - 1), where[..., 1].clamp(0, height - 1)
    left, top = x.floor().long(), y.floor().long()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    across, down = (x - left)[:, None, None, :], (y - top)[:, None, :, None]

    def pick(rows: Tensor, columns: Tensor) -> Tensor:
        planes = torch.arange(features.shape[1], device=boxes.device)[None, :, None, None]
        return features[box_map[:, None, None, None], planes, rows[:, None, :, None], columns[:, None, None, :]]

    upper = pick(top, left) * (1 - across) + pick(top, right) * across
    lower = pick(bottom, left) * (1 - across) + pick(bottom, right) * across
    mixed = upper * (1 - down) + lower * down
    inside = ((where >= -1) & (where <= where.new_tensor([width, height]))).to(mixed.dtype)
    mixed = mixed * inside[:, None, :, 1, None] * inside[:, None, None, :, 0]
    pooled: Tensor = mixed.view(*mixed.shape[:2], bins, samples, bins, samples).mean(dim=(3, 5))
    return pooled


def torchvision_roi_align(features: Tensor, boxes: Tensor, box_map: Tensor, *, spatial_scale: float) -> Tensor:
    """Torchvision's operator."""
    theirs = importlib.import_module("torchvision.ops").roi_align
    rois = torch.cat([box_map[:, None].to(boxes.dtype), boxes], dim=1)
    pooled: Tensor = theirs(features, rois, 7, spatial_scale, 2, True)
    return pooled


def roi_rows(device: torch.device, *, rounds: int, clock: Callable[[], float]) -> list[dict[str, Any]]:
    """Time forward and backward of ROI-Align against the gathering definition and, where it loads, torchvision."""
    rows = []
    for channels, side, maps, count in ROI_CASES:
        torch.manual_seed(0)
        features = torch.randn(maps, channels, side, side, device=device, requires_grad=True)
        ends = torch.rand(count, 2, 2, device=device).sort(dim=1).values * side * 16
        boxes, box_map = ends.flatten(1), torch.arange(count, device=device) % maps
        ways: dict[str, Callable[..., Tensor]] = {"plain": gathered_roi_align, "default": roi_align}
        try:
            torchvision_roi_align(features, boxes, box_map, spatial_scale=1 / 16)
            ways["torchvision"] = torchvision_roi_align
        except (ImportError, RuntimeError):
            pass  # it does not load beside a CPU build of torch
        expected = gathered_roi_align(features, boxes, box_map, spatial_scale=1 / 16)

        def step(way: Callable[..., Tensor], args: tuple[Tensor, ...] = (features, boxes, box_map)) -> None:
            torch.autograd.backward(way(*args, spatial_scale=1 / 16).sum())
            sync(device)

        for way in ways.values():
            torch.testing.assert_close(way(features, boxes, box_map, spatial_scale=1 / 16), expected)
            step(way)
        seconds = median_seconds({label: partial(step, way) for label, way in ways.items()}, rounds=rounds, clock=clock)
        rows += [
            {
                "what": f"ROI-Align {channels} channels, {count} boxes", "step": "training", "variant": label,
                "ms": spent * 1e3, "times_plain": seconds["plain"] / spent,
            }
            for label, spent in seconds.items()
        ]  # fmt: skip
    return rows


def main() -> None:
    """Time the cases of this kind of device and write ``benchmarks/results/models_<device>[_<only>].json``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None, help="of torch")
    parser.add_argument(
        "--cpu-time", action="store_true", help="seconds of the processor, for a machine that is shared"
    )
    parser.add_argument("--only", nargs="*", default=None, help="names of models, or roi_align")
    options = parser.parse_args()
    device = torch.device(options.device)
    clock = time.process_time if options.cpu_time else time.perf_counter
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    cases = GPU_CASES if device.type == "cuda" else CPU_CASES
    rows: list[dict[str, Any]] = []
    # Measured before, between and after the models: neighbours on a shared machine lower a single measurement.
    peaks = measure_peaks(device, {}, clock)
    for case in cases:
        if options.only is None or case[0] in options.only:
            rows += model_rows(case, device, rounds=options.rounds, clock=clock)
            peaks = measure_peaks(device, peaks, clock)
            gc.collect()
    for row in rows:
        row["peak_tflops"] = peaks[row["precision"]] / 1e12
        row["fraction"] = row["tflops"] / row["peak_tflops"]
    if options.only is None or "roi_align" in options.only:
        rows += roi_rows(device, rounds=options.rounds, clock=clock)
    # A file per choice of models: ratios hold within a run, so runs are not mixed.
    write_result("_".join([f"models_{device.type}", *(options.only or ())]), rows)


if __name__ == "__main__":
    main()
