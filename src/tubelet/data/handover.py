"""How a sample crosses from a worker: its frames through shared memory, once, into their place in the batch."""

import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tubelet.data.dataset import ClipDataset
from tubelet.data.examples import Examples
from tubelet.types import ClipSample

MakeSample = Callable[[ClipDataset, int], ClipSample]
"""From a data set and an example's number to its sample."""


@dataclass(frozen=True, kw_only=True)
class SharedVideo:
    """Memory for the frames of a batch. It is freed with the last tensor that looks into it."""

    video: Tensor
    """uint8 (B, 3, T, S, S)."""
    fd: int
    """Of the memory, to be handed to workers; close it when all of them have answered."""


def share_video(shape: tuple[int, ...]) -> SharedVideo:
    """Return memory that workers can write into; nothing of it takes room before they do."""
    num_bytes = math.prod(shape)
    # Not /dev/shm, which containers keep small; without memfd (macOS) a file that has no name.
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("tubelet-batch")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, num_bytes)
    # Unlike mmap's, this mapping holds no descriptor open: somebody may keep thousands of batches.
    video = torch.from_file(f"/dev/fd/{fd}", shared=True, size=num_bytes, dtype=torch.uint8)
    return SharedVideo(video=video.view(shape), fd=fd)


def make_sample(
    datasets: Mapping[str, ClipDataset],
    task: str,
    example: Examples,
    make: MakeSample,
    shape: tuple[int, ...],
    row: int,
    fd: int,
) -> dict[str, Any]:
    """Make one sample and write its frames into shared memory; runs in a worker.

    Args:
        datasets: Their settings; the rows they hold are not used.
        task: Which of them.
        example: The row.
        make: From both to the sample.
        shape: (3, T, S, S), of every sample in the batch.
        row: The sample's in the batch, from 0.
        fd: Of the batch's memory.

    Returns:
        The sample's other fields, tensors as arrays.
    """
    sample = make(datasets[task].holding(example), 0)
    _write_frames(fd, row * math.prod(shape), _placed(sample, shape))
    rest = {field.name: getattr(sample, field.name) for field in fields(sample) if field.name != "frames"}
    return {name: value.numpy() if isinstance(value, Tensor) else value for name, value in rest.items()}


def place_sample(sample: ClipSample, room: Tensor) -> None:
    """Copy frames (T, 3, S, S) into their room in a batch, (3, T, S, S)."""
    room.copy_(_placed(sample, tuple(room.shape)))


def _placed(sample: ClipSample, shape: tuple[int, ...]) -> Tensor:
    frames = sample.frames.transpose(0, 1)
    if frames.shape != shape:  # copy_ would stretch a single frame over all
        raise ValueError(f"sample {sample.sample_id} is {tuple(frames.shape)}, its batch takes {shape}")
    return frames


def _write_frames(fd: int, offset: int, frames: Tensor) -> None:
    """Write frames (3, T, S, S) into a file from ``offset`` on.

    Not copied into a mapping of it: there each new page costs a fault, and is cleared before it is filled.
    """
    for plane in chain.from_iterable(frames.numpy()):
        rest = np.ascontiguousarray(plane).data.cast("B")
        while rest:
            written = os.pwrite(fd, rest, offset)
            rest, offset = rest[written:], offset + written


def rebuilt(rest: Mapping[str, Any], room: Tensor) -> ClipSample:
    """Return the sample that ``make_sample`` took apart; its frames stay in their room in the batch."""
    values: dict[str, Any] = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in rest.items()}
    return ClipSample(frames=room.transpose(0, 1), **values)
