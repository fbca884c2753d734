"""``tubelet info`` and ``tubelet train --dry-run``: what a thing is, as tables in the terminal."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from tubelet.data.manifest import Manifest, read_manifest
from tubelet.models.cost import measure_cost
from tubelet.models.model import BackboneConfig, HeadConfig, VideoModel
from tubelet.models.names import BACKBONES, NAMES_ARE
from tubelet.models.precision import compute_dtype, pick_device
from tubelet.models.resnet3d import RESNET_DEPTHS, ResNet3DConfig
from tubelet.models.saved import load_model
from tubelet.models.vivit import ViViTConfig
from tubelet.train.config import PREVIOUS, RunConfig
from tubelet.train.data import open_data
from tubelet.train.estimate import estimate_run
from tubelet.train.folder import check_same_run
from tubelet.train.replay import Replay
from tubelet.train.schedule import RatePlan
from tubelet.train.start import initialise
from tubelet.types import InputError
from tubelet.video.container import probe


def describe_installation(console: Console) -> None:
    """Print versions, the hardware and what can be named."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = compute_dtype(device)
    table = _facts_table()
    for package in ("tubelet", "torch", "av", "numpy", "pyarrow"):
        table.add_row(package, version(package))
    table.add_row("python", platform.python_version())
    table.add_row("device", f"{device} ({os.cpu_count()} cores, {torch.get_num_threads()} torch threads)")
    table.add_row("matrix products in", str(dtype).removeprefix("torch."))
    table.add_row("models", NAMES_ARE)
    console.print(table)


def describe_thing(thing: str, console: Console) -> None:
    """Print what a run folder, a manifest, a video or a model name is.

    Raises:
        InputError: It is none of these.
    """
    path = Path(thing)
    if (path / "meta.json").exists():
        _describe_run_folder(path, console)
    elif (path / "manifest.json").exists():
        _describe_manifest(read_manifest(path), console)
    elif path.is_file():
        meta = probe(path)
        table = _facts_table()
        table.add_row("size", f"{meta.width} x {meta.height} pixels")
        table.add_row("frame rate", f"{meta.fps:.3f} frames/s")
        table.add_row("duration (claimed)", f"{meta.duration_seconds:.2f} s")
        console.print(table)
    elif thing in BACKBONES:
        _describe_model(BACKBONES[thing], console)
    else:
        raise InputError(f"{thing}: not a run folder, manifest, video file or model name ({NAMES_ARE})")


def describe_run(run: RunConfig, out: Path, console: Console) -> None:
    """Print a run as it would be trained in ``out``: every option, the mixture, the rates, its start, what it takes.

    Weights to start from that are not there, or do not fit, are said and are no error: they may come later.

    Raises:
        InputError: Its data cannot be used, or the folder holds another run.
    """
    data = open_data(run)
    check_same_run(run, out)
    rates = run.rate_plan(data.num_examples)
    console.print_json(json.dumps(run.to_json()))
    title = f"{run.name}: {rates.num_steps} steps of {run.batch_size} clips, {run.mixture} mixture"
    table = Table("task", "size", "weight", "expected passes", title=title, title_justify="left")
    for row in data.mixture.table():
        table.add_row(row.task, str(row.size), f"{row.weight:.3f}", f"{row.expected_passes:.2f}")
    console.print(table)
    facts = _facts_table()
    heads = {name: task.head for name, task in data.tasks.items()}
    facts.add_row("weights", _start_fact(run, heads))
    for fact, value in (_rate_facts(rates) | _cost_facts(run, heads, rates)).items():
        facts.add_row(fact, value)
    console.print(facts)


def describe_replay(replay: Replay, console: Console) -> None:
    """Print what every sample did in a step that was done again, and which gradients are no finite numbers."""
    title = f"step {replay.step}, from the checkpoint of step {replay.first_step}"
    table = Table("slot", "task", "sample", "examples", "loss", title=title, title_justify="left")
    for sample in replay.samples:
        table.add_row(str(sample.slot), sample.task, sample.sample_id, str(sample.num_examples), f"{sample.loss:.6g}")
    console.print(table)
    losses = ", ".join(f"{task} {loss:.6g}" for task, loss in replay.losses.items())
    console.print(f"loss: {losses}; gradient norm {replay.gradient_norm:.6g}", highlight=False)
    if replay.bad_parameters:
        console.print(f"not finite: the gradient of {', '.join(replay.bad_parameters)}", highlight=False)


def _start_fact(run: RunConfig, heads: dict[str, HeadConfig]) -> str:
    if run.init_from == PREVIOUS:
        return f"those of {PREVIOUS}"
    if run.init_from is None:
        return "begin at random"
    try:
        model = VideoModel(run.backbone, heads)
        return initialise(model, resuming=False, init_from=run.init_from, init_skip=run.init_skip)
    except InputError as error:
        return f"CANNOT BE USED: {error}"


def _rate_facts(rates: RatePlan) -> dict[str, str]:
    first, last = rates.at(0), rates.at(rates.num_steps - 1)
    return {
        "learning rate": f"{first:.3g}, from step {rates.warmup_steps + 1} on {rates.peak:.3g}, {last:.3g} at the end",
        "schedule": f"{rates.schedule} after {rates.warmup_steps} steps of warm-up",
    }


def _cost_facts(run: RunConfig, heads: dict[str, HeadConfig], rates: RatePlan) -> dict[str, str]:
    """Return what a run takes on this machine, of all its processes together."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    device = pick_device(run.device)
    cost = measure_cost(run.backbone, heads)
    run.check_batch(ranks)
    at_once = run.batch_size // (ranks * run.accumulation_steps)
    taken = estimate_run(run, num_ranks=ranks, device=device)
    step = taken.clip_seconds * run.batch_size / ranks
    weights_gib = taken.weights_gib / (ranks if run.parallel == "fsdp" else 1)
    return {
        "backbone": f"{cost.num_parameters:,} parameters, {cost.forward_gmacs:.2f} GMACs a clip",
        "memory": f"{weights_gib:.2f} GiB of weights, gradients and optimizer + {taken.activations_gib:.2f} GiB "
        f"of activations for {at_once} clips at once, in each process; data comes on top",
        "time": f"{_duration(step)} a step, {_duration(rates.num_steps * step)} of computing on {device} "
        f"({taken.how}); what reading videos takes beyond that comes on top",
    }


def _duration(seconds: float) -> str:
    unit, name = next((u, n) for u, n in ((3600, "hours"), (60, "minutes"), (0, "seconds")) if seconds >= 2 * u)
    return f"{seconds / max(unit, 1):.3g} {name}"


def _facts_table() -> Table:
    table = Table(show_header=False)
    table.add_column(style="bold")
    return table


def _describe_run_folder(folder: Path, console: Console) -> None:
    loaded = load_model(folder)
    table = _facts_table()
    table.add_row("recipe", str(loaded.meta["recipe"]))
    table.add_row("backbone", json.dumps(loaded.meta["backbone"]))
    table.add_row("input", json.dumps(loaded.meta["preprocess"]))
    for task, head in loaded.heads.items():
        table.add_row(f"head {task}", f"{head.kind}, {head.num_classes} classes of {loaded.label_spaces[task].name}")
    for metric, value in sorted((loaded.meta.get("metrics") or {}).items()):
        table.add_row(metric, f"{value:.4f}")
    console.print(table)


def _describe_manifest(manifest: Manifest, console: Console) -> None:
    table = _facts_table()
    table.add_row("name", manifest.name)
    table.add_row("kind", manifest.kind + (", several labels at once" if manifest.multi_label else ""))
    table.add_row("media root", str(manifest.media_root))
    table.add_row("licence", manifest.licence)
    table.add_row("source", manifest.source)
    table.add_row("classes", f"{len(manifest.label_space)} of {manifest.label_space.name}")
    for what, count in manifest.counts.items():
        table.add_row(what, str(count))
    console.print(table)


def _describe_model(config: BackboneConfig, console: Console) -> None:
    cost = measure_cost(config)
    table = _facts_table()
    for fact, value in (_resnet_facts(config) if isinstance(config, ResNet3DConfig) else _vivit_facts(config)).items():
        table.add_row(fact, value)
    table.add_row("input", f"3 x {config.num_frames} x {config.size} x {config.size}; other lengths and sizes run too")
    table.add_row("features", f"{' x '.join(map(str, cost.grid))} places of width {cost.dim}")
    table.add_row("parameters", f"{cost.num_parameters:,}")
    table.add_row("GMACs a clip", f"{cost.forward_gmacs:.1f}")
    console.print(table)
    layers = Table("weights", "blocks", "output of a clip", "parameters", "GMACs")
    for part in cost.parts:
        shape = " x ".join(map(str, part.output))
        layers.add_row(
            part.name, str(part.num_blocks or ""), shape, f"{part.num_parameters:,}", f"{part.forward_gmacs:.2f}"
        )
    console.print(layers)


def _vivit_facts(config: ViViTConfig) -> dict[str, str]:
    joint = config.aggregation == "joint"
    layers = f"{config.spatial_layers} spatial + {config.temporal_layers} temporal"
    return {
        "architecture": "ViViT, all tokens attend to each other" if joint else "ViViT Factorised Encoder",
        "aggregation": config.aggregation,
        "tubelets": f"{config.patch} x {config.patch} pixels x {config.tubelet} frames",
        "width, heads": f"{config.dim}, {config.num_heads}",
        "layers": str(config.spatial_layers) if joint else layers,
    }


def _resnet_facts(config: ResNet3DConfig) -> dict[str, str]:
    depth = RESNET_DEPTHS[config.depth]
    kinds = {"2d": "R2D: 1x3x3", "3d": "R3D: 3x3x3", "2plus1d": "R(2+1)D: 1x3x3, then 3x1x1"}
    blocks = "bottlenecks" if depth.bottleneck else "simple blocks"
    return {
        "architecture": f"residual network, {kinds[config.convolution]}",
        "layers": f"{config.depth}: {' + '.join(map(str, depth.blocks))} {blocks}",
    }
