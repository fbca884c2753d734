"""The ways to run a network that ``benchmarks/models.py`` compares, each in a process of its own.

A process of its own because memory belongs to what is compared: the plain way leaves malloc as it is, the default keeps
what it frees (``tubelet.models.memory``), which holds for all of a process.
"""

import importlib
import multiprocessing
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

import torch
from torch import Tensor, nn

from tubelet.losses import softmax_cross_entropy
from tubelet.models.compiled import compile_where_it_pays
from tubelet.models.memory import keep_freed_memory
from tubelet.models.model import HeadConfig, VideoModel
from tubelet.models.names import backbone_config
from tubelet.models.precision import compute_dtype, default_autocast
from tubelet.models.resnet3d import Conv, ResNet3D

NUM_CLASSES = 400
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A network and its input."""

    name: str
    num_frames: int
    size: int
    clips: int

    @property
    def label(self) -> str:
        """Of rows: name, clips x frames x pixels."""
        return f"{self.name} {self.clips}x{self.num_frames}x{self.size}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How a network is run; as it stands, the default."""

    plain: bool = False
    """As one first writes it down: ``nn.Conv3d`` in the default memory layout."""
    autocast: bool = True
    memory_kept: bool = True
    compiled: bool = True
    """Where that pays."""
    recompute: bool = False
    bfloat16_weights: bool = False
    """Trains other numbers."""
    peer: str = ""
    """The library whose network it is."""
    tuned: bool = False
    """One that the default should not lose to."""

    def dtype(self, device: torch.device) -> torch.dtype:
        """Return the precision of its matrix products."""
        if self.bfloat16_weights:
            return torch.bfloat16
        return compute_dtype(device) if self.autocast else torch.float32


WAYS: dict[str, Way] = {
    "plain": Way(plain=True, autocast=False, memory_kept=False, compiled=False),
    "default": Way(),
    "tuned: float32, our layout": Way(autocast=False, compiled=False, tuned=True),
    "tuned: autocast, plain layout": Way(plain=True, compiled=False, tuned=True),
    "tuned: memory given back": Way(memory_kept=False, tuned=True),
    "tuned: not compiled": Way(compiled=False, tuned=True),
    "bfloat16 weights": Way(bfloat16_weights=True, autocast=False, compiled=False),
    "recomputed": Way(recompute=True),
    "torchvision": Way(peer="torchvision", autocast=False, memory_kept=False),
    "torchvision, our settings": Way(peer="torchvision"),
    "transformers": Way(peer="transformers", autocast=False, memory_kept=False),
    "transformers, our settings": Way(peer="transformers"),
}
PEERS = {"r2plus1d_18": "torchvision", "vivit_b16x2": "transformers"}


def ways_of(case: Case, device: torch.device) -> dict[str, Way]:
    """Return the ways that say something about this case on this device."""
    only_cpu, only_gpu = ("tuned: memory given back",), ("tuned: not compiled",)
    left_out = only_cpu if device.type == "cuda" else only_gpu
    return {n: way for n, way in WAYS.items() if n not in left_out and way.peer in ("", PEERS.get(case.name))}


class PlainResNet3D(ResNet3D):
    """The same network in the default memory layout."""

    def forward(self, video: Tensor) -> Tensor:
        """As the original's, without its conversion."""
        x: Tensor = self.stem(video)
        for stage in self.stages:
            x = stage(x)
        return x.permute(0, 2, 3, 4, 1)


def build(case: Case, *, plain: bool = False) -> VideoModel:
    """Return the model with a head; the plain one as a reader would first write it."""
    config = replace(backbone_config(case.name), num_frames=case.num_frames, size=case.size)
    model = VideoModel(config, {"task": HeadConfig(kind="classify", num_classes=NUM_CLASSES)})
    if plain and isinstance(model.backbone, ResNet3D):
        model.backbone.__class__ = PlainResNet3D
        for module in model.modules():
            if isinstance(module, Conv):
                module.__class__ = nn.Conv3d  # type: ignore[assignment]  # its parent: only forward is another
        for parameter in model.parameters():
            parameter.data = parameter.data.contiguous()
    return model


def import_torchvision() -> None:
    """Import torchvision, or raise ImportError or RuntimeError.

    Its wheel's compiled operators are made for CUDA builds of torch. Beside another its models and the Python
    definition of ROI-Align work once the two operators that it asks for while it is imported are declared.
    """
    if not torch.version.cuda and not hasattr(torch.ops.torchvision, "nms"):
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    importlib.import_module("torchvision")


def build_peer(case: Case, library: str) -> Callable[[Tensor], Tensor] | None:
    """Return another library's network as its users build it, video to logits, or None where it cannot be imported."""
    try:
        if library == "torchvision":
            import_torchvision()
            video = importlib.import_module("torchvision.models.video")
            network: nn.Module = video.r2plus1d_18(num_classes=NUM_CLASSES)
            return network
        transformers = importlib.import_module("transformers")
    except (ImportError, RuntimeError):
        return None
    config = transformers.VivitConfig(num_frames=case.num_frames, image_size=case.size, num_labels=NUM_CLASSES)
    return _FramesFirst(transformers.VivitForVideoClassification(config))


class _FramesFirst(nn.Module):
    """Transformers' ViViT, given (B, 3, T, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, video: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=video.transpose(1, 2)).logits
        return logits


class Network:
    """A network, made to run one way on a fixed batch."""

    def __init__(self, case: Case, way: Way, device: torch.device) -> None:
        torch.manual_seed(0)
        model = build_peer(case, way.peer) if way.peer else build(case, plain=way.plain)
        if not isinstance(model, nn.Module):
            raise ImportError(way.peer)
        self.way, self.device, self.model = way, device, model.to(device).train()
        if isinstance(model, VideoModel):
            model.recompute_activations(recompute=way.recompute)
            if way.compiled:
                compile_where_it_pays(model, device)
        if way.bfloat16_weights:
            self.model.to(torch.bfloat16)
        self.video = torch.randn(case.clips, 3, case.num_frames, case.size, case.size, device=device)
        self.video = self.video.to(next(self.model.parameters()).dtype)
        self.targets = nn.functional.one_hot(torch.arange(case.clips) % NUM_CLASSES, NUM_CLASSES).to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)

    def logits(self) -> Tensor:
        """Return the batch's logits."""
        with self._context():
            result: Tensor = self.model(self.video, *(() if self.way.peer else ("task",)))
        return result.float()

    def forward(self) -> None:
        """Compute logits only."""
        with torch.no_grad():
            self.logits()

    def training(self) -> None:
        """Do a whole step."""
        torch.autograd.backward(softmax_cross_entropy(self.logits(), self.targets).mean())
        self.optimizer.step()
        self.optimizer.zero_grad()

    def kept_mib(self) -> float:
        """Return the MiB that autograd keeps of a forward pass, the weights themselves aside."""
        if self.device.type == "cuda":
            before = torch.cuda.memory_allocated(self.device)
            logits = self.logits()  # held: it holds what is kept
            return (torch.cuda.memory_allocated(self.device) - before - logits.untyped_storage().nbytes()) / 2**20
        weights = {tensor.untyped_storage().data_ptr() for tensor in self.model.state_dict().values()}
        kept: dict[int, Tensor] = {}

        def note(tensor: Tensor) -> Tensor:
            if tensor.untyped_storage().data_ptr() not in weights:
                kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no later one gets its address
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            self.logits()
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / 2**20

    def _context(self) -> AbstractContextManager[None]:
        if self.way.autocast:
            return default_autocast(self.device)
        return torch.autocast(self.device.type, enabled=False)


class Runner:
    """A process in which a network runs one way, a call at a time."""

    def __init__(self, case: Case, way: Way, device: torch.device, *, threads: int, clock: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, case, way, device, threads, clock), daemon=True)
        self._process.start()
        theirs.close()
        self.available = bool(self._pipe.recv())
        """Whether the network could be built: False where a peer's library is not there."""

    def ask(self, what: str) -> float:
        """Return the seconds of a ``forward`` or ``training`` call, or ``kept_mib``."""
        self._pipe.send(what)
        return float(self._pipe.recv())

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, case: Case, way: Way, device: torch.device, threads: int, clock_name: str) -> None:
    """Build a network and answer what the other end of the pipe asks, until that is closed."""
    torch.set_num_threads(threads)
    if way.memory_kept:
        keep_freed_memory(device)
    try:
        network = Network(case, way, device)
    except ImportError:
        pipe.send(False)
        return
    pipe.send(True)
    clock = CLOCKS[clock_name]
    while True:
        try:
            what = pipe.recv()
        except EOFError:
            return
        if what == "kept_mib":
            pipe.send(network.kept_mib())
            continue
        call = {"forward": network.forward, "training": network.training}[what]
        pipe.send(_seconds(call, device, clock))


def _seconds(call: Callable[[], None], device: torch.device, clock: Callable[[], float]) -> float:
    if device.type != "cuda":
        start = clock()
        call()
        return clock() - start
    call()  # the memory of last time was given back to the other ways' processes
    torch.cuda.synchronize(device)
    start = clock()
    call()
    torch.cuda.synchronize(device)
    seconds = clock() - start
    torch.cuda.empty_cache()
    return seconds
