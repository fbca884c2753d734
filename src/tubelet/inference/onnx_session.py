"""Open a graph with onnxruntime, an optional package."""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from tubelet.types import InputError, first_line


def open_session(path: Path, device: torch.device | None = None) -> Any:
    """Return an ``onnxruntime.InferenceSession``; the package has no types.

    Args:
        path: The onnx file.
        device: The CPU when None; a GPU needs onnxruntime's build for it, and without it the CPU is used.

    Raises:
        InputError: onnxruntime is not installed, or the file is not there or no graph that it runs.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected an ONNX graph")
    try:
        runtime: Any = import_module("onnxruntime")
    except ModuleNotFoundError:
        raise InputError(f'{path}: needs onnxruntime; pip install "tubelet[onnx]"') from None
    on_gpu = device is not None and device.type == "cuda"
    providers = [*(["CUDAExecutionProvider"] if on_gpu else []), "CPUExecutionProvider"]
    try:
        return runtime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # its errors share no class
        raise InputError(f"{path}: not a graph that onnxruntime can run ({first_line(error)})") from error
