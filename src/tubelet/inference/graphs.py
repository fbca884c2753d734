"""Models as graphs that run without Tubelet: ONNX and ``torch.export``, from frames as bytes to scores.

Inputs ``frames`` uint8 (B, 3, T, S, S), ``boxes`` float32 (N, 4) xyxy in pixels of the canvas and ``box_clip`` int64
(N,); output ``scores`` float32 (N, K) in [0, 1]. B and N are free; normalising and the last sigmoid are inside. What a
user of the weights could get wrong (preprocessing, label space, thresholds) is in the file, under ``METADATA``.
"""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from tubelet.inference.action_model import FrameKeys, TorchActionModel
from tubelet.inference.detections_file import THRESHOLD
from tubelet.inference.onnx_session import open_session
from tubelet.labels import LabelSpace
from tubelet.models.model import VideoModel
from tubelet.models.saved import LoadedModel, ScoreKind, probabilities
from tubelet.records import from_json, to_json
from tubelet.types import InputError, Preprocess, first_line
from tubelet.video.normalise import normalise

METADATA = "tubelet"
GRAPH_SUFFIXES = (".onnx", ".pt2")
INPUTS, OUTPUT = ("frames", "boxes", "box_clip"), "scores"
OPSET = 18


class _Scores(nn.Module):
    """From bytes to scores, in float32."""

    def __init__(self, model: VideoModel, task: str, preprocess: Preprocess, kind: ScoreKind) -> None:
        super().__init__()
        self.model, self._task, self._preprocess = model, task, preprocess
        self._kind: ScoreKind = kind

    def forward(self, frames: Tensor, boxes: Tensor, box_clip: Tensor) -> Tensor:
        """Return scores (N, K)."""
        logits: Tensor = self.model(normalise(frames, self._preprocess), self._task, boxes, box_clip)
        return probabilities(logits, self._kind)


def export_graph(loaded: LoadedModel, path: Path, *, task: str | None = None) -> None:
    """Write the graph of a model with its localisation head; whole or not at all.

    Args:
        loaded: The model.
        path: The file; its ending says which kind, ``.onnx`` or ``.pt2``.
        task: Name of the head; None = the first localisation head.

    Raises:
        InputError: Another ending, or a package that the kind needs is not installed.
    """
    if path.suffix not in GRAPH_SUFFIXES:
        raise InputError(f"{path}: expected a file that ends in {' or '.join(GRAPH_SUFFIXES)}")
    actions = TorchActionModel(loaded, task=task, device="cpu")
    module = _Scores(actions.model, actions.task, actions.preprocess, loaded.score_kinds[actions.task]).eval()
    about = json.dumps(
        {
            "task": actions.task,
            "label_space": actions.label_space.to_json(),
            "preprocess": to_json(actions.preprocess),
            "thresholds": [float(value) for value in actions.thresholds],
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.incomplete{path.suffix}")
    try:
        write = _write_onnx if path.suffix == ".onnx" else _write_program
        write(module, _example(actions.preprocess), about, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _example(preprocess: Preprocess) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs of three clips and four boxes: numbers of one would be taken for constants."""
    size = preprocess.size
    frames = torch.zeros(3, 3, preprocess.num_frames, size, size, dtype=torch.uint8)
    return frames, torch.tensor([[0.0, 0.0, size / 2, size / 2]] * 4), torch.tensor([0, 1, 1, 2])


def _shapes() -> tuple[dict[int, Any], ...]:
    people = Dim("N", min=0, max=2**16)
    return {0: Dim("B", min=1, max=2**12)}, {0: people}, {0: people}


def _write_onnx(module: nn.Module, example: tuple[Tensor, ...], about: str, path: Path) -> None:
    try:
        onnx: Any = import_module("onnx")
        import_module("onnxscript")
    except ModuleNotFoundError as error:
        raise InputError(f"writing ONNX needs {error.name}; pip install onnx onnxscript") from None
    with warnings.catch_warnings(), _without_warnings("torch.onnx"), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            dynamic_shapes=_shapes(),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    proto: Any = program.model_proto
    onnx.helper.set_model_props(proto, {METADATA: about})
    path.write_bytes(proto.SerializeToString())


@contextmanager
def _without_warnings(name: str) -> Iterator[None]:
    """Keep a logger to errors: the exporter tells everybody that torchvision is not installed."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _write_program(module: nn.Module, example: tuple[Tensor, ...], about: str, path: Path) -> None:
    with torch.no_grad():
        program = torch.export.export(module, example, dynamic_shapes=_shapes())
    torch.export.save(program, path, extra_files={METADATA: about})


class GraphActionModel:
    """Scores people by a graph that ``export_graph`` wrote.

    Args:
        path: An ``.onnx`` (run by onnxruntime) or ``.pt2``.
        device: Where it runs; the CPU when None.

    Raises:
        InputError: It cannot be run, or is not one of these.
    """

    def __init__(self, path: Path, *, device: torch.device | None = None) -> None:
        if not path.is_file():
            raise InputError(f"{path}: no such file; expected what tubelet export wrote")
        open_graph = _open_onnx if path.suffix == ".onnx" else _open_program
        self._run, about = open_graph(path, device or torch.device("cpu"))
        if about is None:
            raise InputError(f"{path}: has no entry {METADATA!r}; expected a graph that tubelet export wrote")
        known: Mapping[str, Any] = json.loads(about)
        self.task: str = known["task"]
        self.label_space = LabelSpace.from_json(known["label_space"])
        self.preprocess = from_json(Preprocess, known["preprocess"], where=str(path))
        chosen = known["thresholds"] or [THRESHOLD] * len(self.label_space)
        self.thresholds = np.array(chosen, dtype=np.float32)

    def __call__(self, clips: Tensor, boxes: Tensor, box_clip: Tensor, keys: Sequence[FrameKeys]) -> Tensor:
        """Return float32 scores (N, K), as ``ActionModel`` says."""
        scores: Tensor = self._run(clips, boxes, box_clip)
        return scores


def _open_onnx(path: Path, device: torch.device) -> tuple[Any, str | None]:
    session = open_session(path, device)

    def run(*given: Tensor) -> Tensor:
        feeds = {name: value.numpy() for name, value in zip(INPUTS, given, strict=True)}
        return torch.from_numpy(session.run([OUTPUT], feeds)[0])

    return run, session.get_modelmeta().custom_metadata_map.get(METADATA)


def _open_program(path: Path, device: torch.device) -> tuple[Any, str | None]:
    extra = {METADATA: ""}
    try:
        module = torch.export.load(path, extra_files=extra).module().to(device)
    except Exception as error:  # its errors share no class
        raise InputError(f"{path}: not a program that torch.export wrote ({first_line(error)})") from error

    def run(*given: Tensor) -> Tensor:
        with torch.inference_mode():
            scores: Tensor = module(*(value.to(device) for value in given))
        return scores.cpu()

    return run, extra[METADATA] or None
