"""Forward and training step per clip of the video networks, and ROI-Align: how near to the machine's limit they run.

    python benchmarks/models.py [--device cuda] [--rounds 5] [--threads N] [--clock processor] [--only NAME ...]

Every part compares, in one run and interleaved, the *plain* float32 implementation as one writes it down (default
memory layout, ``nn.Conv3d``, no autocast, no compilation) with the *default*: the autocast of ``models/precision.py``,
channels last for convolutions, ``models/memory.py`` on a CPU and ``models/compiled.py`` on a GPU. Each runs in its own
process (``model_ways.py``). ``peak`` is the best rate of a square matrix product in the way's precision, measured in
the same run; ``fraction`` is the share of it that the network's own multiply-accumulates reach (a training step counts
three forwards; on a GPU this is the model-FLOPs utilisation).

Ways named *tuned* are what one would try by hand; ``default_of_best`` is the speed of the default over the best of
them (0.95 is the aim). ``bfloat16 weights`` is listed and does not count: it trains other numbers. *Recomputed* is
activation checkpointing, ``kept_mib`` what autograd keeps for the backward pass. Other libraries' networks run where
they can be imported: as their users build them, and with our precision and memory.

On a GPU the same command times paper-sized cases, and ROI-Align against torchvision's kernel. This was written without
a GPU and has not been run on one; ``--tiny`` runs all of it on small inputs, on any device, and writes nothing.
"""

import argparse
import gc
import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import torch
from machine import RESULTS, facts, median_seconds, print_table, write_result
from model_ways import CLOCKS, Case, Runner, import_torchvision, ways_of
from torch import Tensor

from tubelet.models.cost import measure_cost
from tubelet.models.names import backbone_config
from tubelet.models.precision import compute_dtype
from tubelet.models.roi_align import roi_align

CPU_CASES = (
    Case(name="r2plus1d_18", num_frames=8, size=112, clips=2),
    Case(name="r2plus1d_18", num_frames=8, size=112, clips=8),
    Case(name="vivit_fe_b16x2", num_frames=8, size=224, clips=1),
    Case(name="vivit_b16x2", num_frames=8, size=224, clips=1),
)
GPU_CASES = (
    Case(name="r2plus1d_34", num_frames=32, size=112, clips=16),
    Case(name="r2plus1d_152", num_frames=32, size=112, clips=8),
    Case(name="vivit_fe_b16x2", num_frames=32, size=224, clips=16),
    Case(name="vivit_fe_l16x2", num_frames=32, size=224, clips=8),
    Case(name="vivit_b16x2", num_frames=32, size=224, clips=8),
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
    for side in (1024, 2048, 3072) if device.type == "cpu" else (4096, 8192, 16384):
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


def model_rows(
    case: Case, device: torch.device, *, only: list[str] | None, rounds: int, threads: int, clock: str
) -> list[dict[str, Any]]:
    """Time one network in all its ways, each in a process of its own, one call at a time."""
    config = replace(backbone_config(case.name), num_frames=case.num_frames, size=case.size)
    flops = measure_cost(config).forward_gmacs * 2e9
    ways = ways_of(case, device)
    if only is not None:
        ways = {label: way for label, way in ways.items() if label == "plain" or label in only}
    runners = {label: Runner(case, way, device, threads=threads, clock=clock) for label, way in ways.items()}
    runners = {label: runner for label, runner in runners.items() if runner.available}
    rows = []
    for what, passes in (("forward", 1), ("training", 3)):
        times: dict[str, list[float]] = {label: [] for label in runners}
        for number in range(rounds + 1):
            for label, runner in runners.items():
                spent = runner.ask(what)
                if number:  # the first allocates, and compiles
                    times[label].append(spent)
        seconds = {label: median(each) for label, each in times.items()}
        tuned = [spent for label, spent in seconds.items() if ways[label].tuned]
        for label, spent in seconds.items():
            row = {
                "what": case.label, "step": what, "variant": label,
                "ms_per_clip": spent / case.clips * 1e3, "times_plain": seconds["plain"] / spent,
                "tflops": flops * passes * case.clips / spent / 1e12,
                "precision": str(ways[label].dtype(device)).removeprefix("torch."),
            }  # fmt: skip
            if label == "default":
                row |= {"default_of_best": min(tuned) / spent} if tuned else {}
                row |= {f"times_{ways[n].peer}" + ("_tuned" if ways[n].autocast else ""): seconds[n] / spent
                        for n in runners if ways[n].peer}  # fmt: skip
            if what == "training" and label in ("default", "recomputed"):
                row["kept_mib"] = runners[label].ask("kept_mib")
            rows.append(row)
    for runner in runners.values():
        runner.close()
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
    """Torchvision's operator, or where that is not compiled for this torch its definition in Python."""
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
            import_torchvision()
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
    """Time the cases of this kind of device; rows of parts that are not asked for stay in the result as they were."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: for a machine that is shared")
    parser.add_argument("--only", nargs="*", default=None, help="parts: names of models, or one's what, or roi_align")
    parser.add_argument("--ways", nargs="*", default=None, help="plain and these; the others' rows are left out")
    parser.add_argument("--tiny", action="store_true", help="the GPU's cases on small inputs; writes nothing")
    options = parser.parse_args()
    device = torch.device(options.device)
    clock = CLOCKS[options.clock]
    torch.set_num_threads(options.threads)
    cases: tuple[Case, ...] = GPU_CASES if device.type == "cuda" or options.tiny else CPU_CASES
    if options.tiny:
        cases = tuple(replace(case, num_frames=4, size=32, clips=1) for case in cases)
    rows: list[dict[str, Any]] = []
    # Measured before, between and after the models: neighbours on a shared machine lower a single measurement.
    peaks = measure_peaks(device, {}, clock)
    for case in cases:
        if options.only is None or {case.name, case.label} & set(options.only):
            rows += model_rows(
                case,
                device,
                only=options.ways,
                rounds=options.rounds,
                threads=options.threads,
                clock=options.clock,
            )
            peaks = measure_peaks(device, peaks, clock)
            gc.collect()
    for row in rows:
        row["peak_tflops"] = peaks[row["precision"]] / 1e12
        row["fraction"] = row["tflops"] / row["peak_tflops"]
    if options.only is None or "roi_align" in options.only:
        rows += roi_rows(device, rounds=options.rounds, clock=clock)
    if options.tiny:
        print_table(rows)
        return
    measured = facts()
    name = "models" if device.type == "cpu" else f"models_{device.type}"
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    new = {row["what"] for row in rows}
    now = {"threads": options.threads, "clock": options.clock, "rounds": options.rounds}
    now |= {key: measured[key] for key in ("time", "load_1_minute")}
    write_result(name, [row for row in before if row["what"] not in new] + [row | now for row in rows])


if __name__ == "__main__":
    main()
